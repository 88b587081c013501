//! What stands around every page: the rail, the top bar, the palette, live refresh and the keys that work everywhere.

mod palette;
mod time_picker;
mod top_bar;

use std::time::Duration;

use leptos::prelude::*;

use orrery_api::AlertState;

use crate::alerts::{self, use_alerts};
use crate::context::{self, Context, apply_theme, use_app};
use crate::parts::icon::{Icon, icon};

/// The pages of the rail, in order: a page is one line here and one in `app`.
pub const PAGES: [(&str, &str, Icon); 8] = [
    ("/start", "Start", Icon::Start),
    ("/services", "Services", Icon::Services),
    ("/map", "Map", Icon::Map),
    ("/traces", "Traces", Icon::Traces),
    ("/logs", "Logs", Icon::Logs),
    ("/metrics", "Metrics", Icon::Metrics),
    ("/sql", "SQL", Icon::Sql),
    ("/alerts", "Alerts", Icon::Bell),
];

/// How often live mode settles the window anew.
const LIVE: Duration = Duration::from_secs(5);

#[component]
pub fn Shell(children: Children) -> impl IntoView {
    let app = context::provide();
    alerts::provide(app);
    apply_theme(app.theme.get_untracked());
    keep_live(app);
    title(app);
    let keys = window_event_listener(leptos::ev::keydown, move |event| {
        if (event.ctrl_key() || event.meta_key()) && event.key().eq_ignore_ascii_case("k") {
            event.prevent_default();
            app.palette.update(|open| *open = !*open);
        }
    });
    on_cleanup(move || keys.remove());
    view! {
        <a class="skip" href="#page">"Skip to the page"</a>
        <div class="shell">
            <Rail/>
            <div class="column">
                <top_bar::TopBar/>
                <main id="page" class="page" tabindex="-1">{children()}</main>
            </div>
        </div>
        <Show when=move || app.palette.get()><palette::Palette/></Show>
    }
}

#[component]
fn Rail() -> impl IntoView {
    let app = use_app();
    view! {
        <nav class="rail" aria-label="Pages">
            <a class="mark" href=move || app.link("/", &[]) aria-label="Orrery">
                <svg viewBox="0 0 24 24" width="24" height="24" aria-hidden="true">
                    <circle cx="12" cy="12" r="2.6" class="sun"></circle>
                    <circle cx="12" cy="12" r="6" class="orbit"></circle>
                    <circle cx="12" cy="12" r="10" class="orbit"></circle>
                    <circle cx="17.2" cy="9" r="1.5" class="planet"></circle>
                    <circle cx="4.9" cy="19.1" r="1.8" class="planet"></circle>
                </svg>
            </a>
            {PAGES.into_iter().map(|(path, name, which)| {
                let here = move || app.path.with(|at| is_under(at, path));
                view! {
                    <a class="rail-item" class:here=here href=move || app.link(path, &[]) aria-current=move || here().then_some("page")>
                        {icon(which)}<span>{name}</span>{(path == "/alerts").then(firing_count)}
                    </a>
                }
            }).collect_view()}
        </nav>
    }
}

/// How many alerts fire, on the rail's entry.
fn firing_count() -> impl IntoView {
    let alerts = use_alerts();
    let count = Memo::new(move |_| alerts.count(AlertState::Firing));
    move || {
        (count.get() > 0).then(|| view! { <span class="rail-count" title="firing">{count.get()}<span class="hidden">" firing"</span></span> })
    }
}

/// Whether an address belongs to a page of the rail; a trace belongs to Traces.
fn is_under(at: &str, page: &str) -> bool {
    let at = if at.starts_with("/trace/") { "/traces" } else { at };
    at == page || at.strip_prefix(page).is_some_and(|rest| rest.starts_with('/'))
}

#[component]
pub fn NotFound() -> impl IntoView {
    let app = use_app();
    view! {
        <div class="state">
            <span class="state-icon">{icon(Icon::Search)}</span>
            <h1>"There is no such page"</h1>
            <p>{move || format!("Nothing is at {}.", app.path.get())}</p>
            <div class="state-actions"><a class="button primary" href=move || app.link("/services", &[])>"Go to the services"</a></div>
        </div>
    }
}

/// While live, a relative window moves along.
fn keep_live(app: Context) {
    Effect::new(move |running: Option<Option<IntervalHandle>>| {
        if let Some(Some(handle)) = running {
            handle.clear();
        }
        let moves = app.live.get() && app.range.get().is_relative();
        moves.then(|| set_interval_with_handle(move || app.refresh(), LIVE).ok()).flatten()
    });
}

/// The document's title names the page.
fn title(app: Context) {
    Effect::new(move |_| {
        let path = app.path.get();
        let page = PAGES.iter().find(|(at, ..)| is_under(&path, at)).map_or("Orrery", |(_, name, _)| *name);
        document().set_title(&if page == "Orrery" { page.to_owned() } else { format!("{page} · Orrery") });
    });
}
