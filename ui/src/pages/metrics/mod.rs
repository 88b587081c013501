//! `/metrics`: the catalogue of the window, and one metric's series as charts and a table.

mod series;

use leptos::prelude::*;
use orrery_api::{MetricInfo, Metrics as Answer};

use crate::context::use_app;
use crate::fetch::{Fetched, fetch};
use crate::format;
use crate::parts::receipt::receipt;
use crate::parts::state::{NothingHere, answer, nothing};

#[component]
pub fn Metrics() -> impl IntoView {
    let app = use_app();
    let catalogue = fetch::<Answer>(move || Some(app.ask(None).href("/api/v1/metrics")));
    let name = app.param("name");
    let filtered = Signal::derive(move || app.environment.get().is_some() || app.namespace.get().is_some());
    view! {
        <header class="page-head row">
            <h1>"Metrics"</h1>
            <span class="count">{move || catalogue.data.get().map(|c| c.metrics.len().to_string())}</span>
        </header>
        {move || match catalogue.data.get() {
            Some(data) if data.metrics.is_empty() => view! { <NothingHere table="metrics" filtered/> {receipt(&data.receipt)} }.into_any(),
            _ => view! {
                <div class="split">
                    <Catalogue catalogue/>
                    <div class="split-main">
                        {move || match name.get() {
                            Some(name) => view! { <series::One name/> }.into_any(),
                            None => nothing("Choose a metric", "Its series over the window are drawn here.").into_any(),
                        }}
                    </div>
                </div>
            }.into_any(),
        }}
    }
}

#[component]
fn Catalogue(catalogue: Fetched<Answer>) -> impl IntoView {
    let app = use_app();
    let find = app.param("find");
    view! {
        <aside class="split-side" aria-label="Catalogue">
            <input class="search" type="search" aria-label="Find a metric" placeholder="Find a metric" prop:value=move || find.get().unwrap_or_default()
                on:input=move |event| app.replace(&[("find", Some(&event_target_value(&event)))])/>
            {answer(catalogue, move |data| view! {
                <ul class="catalogue">
                    {move || {
                        let wanted = find.get().unwrap_or_default().to_lowercase();
                        let shown: Vec<MetricInfo> = data.metrics.iter().filter(|m| m.name.to_lowercase().contains(&wanted)).cloned().collect();
                        if shown.is_empty() {
                            return view! { <li class="faint pad">"No metric has that in its name."</li> }.into_any();
                        }
                        shown.into_iter().map(entry).collect_view().into_any()
                    }}
                </ul>
            })}
        </aside>
    }
}

fn entry(metric: MetricInfo) -> impl IntoView {
    let app = use_app();
    let chosen = app.param("name");
    let name = metric.name.clone();
    let here = move || chosen.get().as_deref() == Some(name.as_str());
    let target = metric.name.clone();
    let find = app.param("find");
    let title = metric.description.clone().unwrap_or_else(|| metric.name.clone());
    view! {
        <li>
            <a class:here=here.clone() aria-current=move || here().then_some("true") title=title
                href=move || app.link("/metrics", &[("name", &target), ("find", &find.get().unwrap_or_default())])>
                <span class="clip">{metric.name.clone()}</span>
                <span class="faint">{kind(&metric.metric_type)}{metric.unit.clone().map(|u| format!(" · {u}"))}</span>
                <span class="figure muted" title=format!("{} series, {} points", format::grouped(metric.series as i64), format::grouped(metric.points as i64))>{format!("{} series", format::count(metric.series))}</span>
            </a>
        </li>
    }
}

fn kind(word: &str) -> String {
    word.to_lowercase().replace('_', " ")
}
