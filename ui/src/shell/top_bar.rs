//! The top bar: scope, window, live, palette, theme.

use std::sync::Arc;

use leptos::prelude::*;
use orrery_api::Services;

use super::time_picker::TimePicker;
use crate::context::{Theme, use_app};
use crate::fetch::{Fetched, fetch};
use crate::parts::icon::{Icon, icon};
use crate::parts::popover::Popover;

#[component]
pub fn TopBar() -> impl IntoView {
    let app = use_app();
    let theme_icon = move || match app.theme.get() {
        Theme::System => icon(Icon::Auto),
        Theme::Dark => icon(Icon::Moon),
        Theme::Light => icon(Icon::Sun),
    };
    let next_theme = move || match app.theme.get() {
        Theme::System => Theme::Dark,
        Theme::Dark => Theme::Light,
        Theme::Light => Theme::System,
    };
    view! {
        <header class="top-bar">
            <Scope/>
            <span class="grow"></span>
            <button type="button" class="button find" aria-label="Find a trace, service or page (Ctrl K)" on:click=move |_| app.palette.set(true)>
                {icon(Icon::Search)}<span class="wide">"Find"</span><kbd class="wide">"Ctrl K"</kbd>
            </button>
            <TimePicker/>
            <button type="button" class="button square" class:on=move || app.live.get()
                aria-pressed=move || app.live.get().to_string()
                title="Live: refresh every five seconds" aria-label="Live"
                on:click=move |_| app.set(&[("live", (!app.live.get_untracked()).then_some("1"))])>
                {move || icon(if app.live.get() { Icon::Pause } else { Icon::Play })}
            </button>
            <button type="button" class="button square" title="Refresh" aria-label="Refresh" on:click=move |_| app.refresh()>{icon(Icon::Refresh)}</button>
            <button type="button" class="button square"
                title=move || format!("Theme: {}", app.theme.get().word())
                aria-label=move || format!("Theme: {}. Switch to {}", app.theme.get().word(), next_theme().word())
                on:click=move |_| app.choose_theme(next_theme())>
                {theme_icon}
            </button>
        </header>
    }
}

/// Namespace and environment, from what the services of the window sent.
#[component]
fn Scope() -> impl IntoView {
    let app = use_app();
    let (ns_open, env_open) = (RwSignal::new(false), RwSignal::new(false));
    // Asked for when first opened; without the scope itself, or nothing else could be chosen.
    let services = fetch::<Services>(move || {
        (ns_open.get() || env_open.get()).then(|| {
            let window = app.window.get();
            format!("/api/v1/services?start={}&end={}", window.start, window.end)
        })
    });
    let namespaces = move |s: &Services| s.services.iter().filter_map(|s| s.namespace.clone()).collect::<Vec<_>>();
    let environments = move |s: &Services| s.services.iter().flat_map(|s| s.environments.clone()).collect::<Vec<_>>();
    view! {
        <div class="scope">
            <Choice param="ns" all="All namespaces" open=ns_open chosen=app.namespace services list=Arc::new(namespaces)/>
            <Choice param="env" all="All environments" open=env_open chosen=app.environment services list=Arc::new(environments)/>
        </div>
    }
}

type List = Arc<dyn Fn(&Services) -> Vec<String> + Send + Sync>;

#[component]
fn Choice(
    param: &'static str,
    all: &'static str,
    open: RwSignal<bool>,
    chosen: Memo<Option<String>>,
    services: Fetched<Services>,
    list: List,
) -> impl IntoView {
    let app = use_app();
    let choose = move |value: Option<&str>| {
        app.set(&[(param, value)]);
        open.set(false);
    };
    let list = StoredValue::new(list);
    let options = move || {
        let mut found = services.data.get().map(|s| list.with_value(|l| l(&s))).unwrap_or_default();
        found.extend(chosen.get());
        found.sort();
        found.dedup();
        found
    };
    view! {
        <Popover open label=Signal::derive(move || format!("{}: {}", all.trim_start_matches("All "), chosen.get().unwrap_or_else(|| "all".to_owned())))
            class="choice" button=move || view! { <span class="clip" class:faint=move || chosen.get().is_none()>{move || chosen.get().unwrap_or_else(|| all.to_owned())}</span>{icon(Icon::Down)} }>
            <div class="menu">
                <button type="button" class="menu-item" class:here=move || chosen.get().is_none() on:click=move |_| choose(None)>{all}</button>
                {move || options().into_iter().map(|option| {
                    let (value, here) = (option.clone(), chosen.get().as_deref() == Some(option.as_str()));
                    view! { <button type="button" class="menu-item" class:here=here on:click=move |_| choose(Some(&value))>{option}</button> }
                }).collect_view()}
                <Show when=move || services.loading.get()><p class="faint pad">"Loading…"</p></Show>
                <Show when=move || services.data.get().is_some() && options().is_empty()>
                    <p class="faint pad">"No service of this window sent one."</p>
                </Show>
            </div>
        </Popover>
    }
}
