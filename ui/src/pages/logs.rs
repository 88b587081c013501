//! `/logs`: log records of the window, newest first: a filter, a text, a severity, the histogram, pages by cursor.

use std::sync::Arc;

use leptos::prelude::*;
use leptos::task::spawn_local;
use orrery_api::Logs as Answer;

use crate::context::{Context, use_app};
use crate::fetch::{self, Failure, fetch};
use crate::filter;
use crate::format;
use crate::parts::chart::{Chart, Line, Plot, Shape, legend};
use crate::parts::facets::{FacetsToggle, WithFacets};
use crate::parts::filter_bar::FilterBar;
use crate::parts::icon::{Icon, icon};
use crate::parts::log_row::log_rows;
use crate::parts::receipt::receipt;
use crate::parts::state::{NothingHere, answer};
use crate::range::Window;
use crate::unit::Unit;

/// Records of a page.
const PAGE: &str = "100";

/// What the records are counted by beside the list.
const FACETS: [(&str, &str); 5] = [
    ("service_name", "Service"),
    ("severity_text", "Severity"),
    ("scope_name", "Scope"),
    ("event_name", "Event"),
    ("deployment_environment", "Environment"),
];
/// The least severity number of each choice.
const SEVERITIES: [(&str, &str, i64); 4] =
    [("", "All", 0), ("info", "Info", 9), ("warn", "Warn", 13), ("error", "Error", 17)];

#[component]
pub fn Logs() -> impl IntoView {
    let app = use_app();
    let (filter_param, text, severity) = (app.param("filter"), app.param("text"), app.param("severity"));
    let typed = RwSignal::new(String::new());
    Effect::new(move |_| typed.set(text.get().unwrap_or_default()));
    let at_least = move || severity.get().unwrap_or_default();
    let least = move || {
        let least = SEVERITIES.iter().find(|(value, ..)| *value == at_least()).map_or(0, |(.., least)| *least);
        (least > 0).then(|| format!("severity_number >= {least}"))
    };
    // The page's own conditions, beside the filter.
    let own = move || filter::all(&[least(), text.get().map(|text| filter::contains("body", &text))]);
    let address = Memo::new(move |_| {
        app.ask(filter::all(&[filter_param.get(), least()]))
            .with("text", text.get().as_deref())
            .with("limit", Some(PAGE))
            .href("/api/v1/logs")
    });
    let logs = fetch::<Answer>(move || Some(address.get()));
    let filtered = Signal::derive(move || {
        filter_param.get().is_some()
            || text.get().is_some()
            || severity.get().is_some()
            || app.environment.get().is_some()
            || app.namespace.get().is_some()
    });
    view! {
        <header class="page-head row">
            <h1>"Logs"</h1>
            <span class="count">{move || logs.data.get().and_then(|l| l.total).map(format::count)}</span>
            <span class="grow"></span>
            <FacetsToggle/>
            <input class="search wide-search" type="search" aria-label="Text in the body" placeholder="Text in the body" prop:value=move || typed.get()
                on:input=move |event| typed.set(event_target_value(&event))
                on:keydown=move |event| if event.key() == "Enter" { app.set(&[("text", Some(typed.get_untracked().trim()))]) }
                on:search=move |_: web_sys::Event| app.set(&[("text", Some(typed.get_untracked().trim()))])/>
            <div class="segments" role="group" aria-label="Least severity">
                {SEVERITIES.into_iter().map(|(value, title, _)| view! {
                    <button type="button" aria-pressed=move || (at_least() == value).to_string() on:click=move |_| app.set(&[("severity", Some(value))])>{title}</button>
                }).collect_view()}
            </div>
        </header>
        <FilterBar table="logs" placeholder="service_name = 'cart' AND attributes['thread.name'] = 'main'"/>
        <WithFacets table="logs" columns=&FACETS condition=Signal::derive(own)>
            {answer(logs, move |data| view! { <Found app data filtered address/> })}
        </WithFacets>
    }
}

#[component]
fn Found(app: Context, data: Arc<Answer>, filtered: Signal<bool>, address: Memo<String>) -> impl IntoView {
    if data.logs.is_empty() {
        return view! { <NothingHere table="logs" filtered/> {receipt(&data.receipt)} }.into_any();
    }
    let window = app.window.get_untracked();
    let plot = Arc::new(histogram(&data, window));
    let first = data.clone();
    // Each page is built once; the next is put under it.
    let pages = RwSignal::new(Vec::<Arc<Answer>>::new());
    let cursor = RwSignal::new(data.cursor.clone());
    let loading = RwSignal::new(false);
    let failure = RwSignal::new(None::<Failure>);
    let more = move |_| {
        let Some(at) = cursor.get_untracked() else { return };
        let next = format!("{}&cursor={}", address.get_untracked(), crate::address::encode(&at));
        loading.set(true);
        failure.set(None);
        spawn_local(async move {
            match fetch::get::<Answer>(&next).await {
                Ok(page) => {
                    cursor.try_set(page.cursor.clone());
                    pages.try_update(|p| p.push(Arc::new(page)));
                }
                Err(why) => {
                    failure.try_set(Some(why));
                }
            }
            loading.try_set(false);
        });
    };
    let shown = move || first.logs.len() + pages.with(|p| p.iter().map(|p| p.logs.len()).sum::<usize>());
    let total = data.total;
    view! {
        {(!data.histogram.is_empty()).then(|| view! { <div class="histogram">{legend(&[("--error", "error"), ("--warn", "warn"), ("--bar", "info"), ("--bar-quiet", "debug and less")])}<Chart plot=Signal::stored(plot) label="Log records over time by severity" class="low"/></div> })}
        <div class="logs">
            {log_rows(&data.logs, false)}
            <For each=move || pages.get().into_iter().enumerate() key=|(i, _)| *i children=|(_, page)| log_rows(&page.logs, false)/>
        </div>
        <div class="more">
            <span class="muted">{move || match total {
                Some(total) => format!("{} of {}, newest first", format::grouped(shown() as i64), format::grouped(total as i64)),
                None => format!("{}, newest first", format::grouped(shown() as i64)),
            }}</span>
            {move || failure.get().map(|f| view! { <span class="error-text">{icon(Icon::Error)}{f.message}</span> })}
            <Show when=move || cursor.get().is_some()>
                <button type="button" class="button" disabled=move || loading.get() on:click=more>{move || if loading.get() { "Loading…" } else { "Older records" }}</button>
            </Show>
        </div>
        {receipt(&data.receipt)}
    }
    .into_any()
}

fn histogram(data: &Answer, window: Window) -> Plot {
    let step = (window.length() / (data.histogram.len().max(1) as i64)).max(1);
    let line = |class: usize, label: &str, colour: &str| Line {
        label: label.to_owned(),
        colour: colour.to_owned(),
        points: data
            .histogram
            .iter()
            .enumerate()
            .map(|(i, counts)| (window.start + step * i as i64, Some(counts[class] as f64)))
            .collect(),
    };
    Plot {
        window,
        shape: Shape::Bars(step),
        unit: Unit::NUMBER,
        lines: vec![
            line(3, "error", "--error"),
            line(2, "warn", "--warn"),
            line(1, "info", "--bar"),
            line(0, "debug and less", "--bar-quiet"),
        ],
    }
}
