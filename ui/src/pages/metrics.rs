//! `/metrics`: the catalogue of the window, and one metric's series as a chart and a table.

use std::sync::Arc;

use leptos::prelude::*;
use orrery_api::{Attribute, MetricInfo, MetricSeries, Metrics as Answer, Series};

use crate::context::use_app;
use crate::fetch::{Fetched, fetch};
use crate::parts::chart::{Chart, Line, Plot, Shape, Unit};
use crate::parts::filter_bar::FilterBar;
use crate::parts::receipt::receipt;
use crate::parts::service::service_name;
use crate::parts::state::{NothingHere, answer, nothing};
use crate::range::Window;
use crate::{colour, format, instant};

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
                            Some(name) => view! { <One name/> }.into_any(),
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
                <span class="figure muted" title=format!("{} series, {} points", format::grouped(metric.series as i64), format::grouped(metric.points as i64))>{format::count(metric.series)}</span>
            </a>
        </li>
    }
}

fn kind(word: &str) -> String {
    word.to_lowercase().replace('_', " ")
}

#[component]
fn One(name: String) -> impl IntoView {
    let app = use_app();
    let filter = app.param("filter");
    let asked = name.clone();
    let series =
        fetch::<MetricSeries>(move || Some(app.ask(filter.get()).with("name", Some(&asked)).href("/api/v1/metrics")));
    view! {
        <h2 class="metric-name mono">{name}</h2>
        <FilterBar table="metrics" placeholder="service_name = 'cart' AND attributes['state'] = 'used'"/>
        {answer(series, move |data| {
            if data.series.is_empty() {
                return view! { {nothing("No series match in this window", "Widen the time range, or change the filter.")} {receipt(&data.receipt)} }.into_any();
            }
            view! { <Shown data=data.clone()/> {receipt(&data.receipt)} }.into_any()
        })}
    }
}

#[component]
fn Shown(data: Arc<MetricSeries>) -> impl IntoView {
    let app = use_app();
    let window = app.window.get_untracked();
    let unit = unit_of(&data);
    // The label of a series is what sets it apart from the others.
    let differing = differing_keys(&data.series);
    let labels: Vec<String> = data.series.iter().map(|s| label(s, &differing)).collect();
    let hidden = RwSignal::new(std::collections::HashSet::<usize>::new());
    let (for_plot, names) = (data.clone(), labels.clone());
    let plot = Signal::derive(move || Arc::new(plot(&for_plot, &names, window, unit, &hidden.get())));
    let more = (data.total as usize).saturating_sub(data.series.len());
    let metric = &data.metric;
    let facts = [
        Some(kind(&metric.metric_type)),
        metric.temporality.as_ref().map(|t| t.to_lowercase()),
        metric.is_monotonic.filter(|m| *m).map(|_| "monotonic".to_owned()),
        metric.unit.clone().map(|u| format!("unit {u}")),
        Some(format!("{} points of {}", format::count(metric.points), format::duration(data.step_ns))),
    ];
    view! {
        <p class="muted">{metric.description.clone()}</p>
        <p class="muted">{facts.into_iter().flatten().collect::<Vec<_>>().join(" · ")}</p>
        <section class="panel"><h2>{data.shown.clone()}</h2><Chart plot label=format!("{} over time", metric.name) class="high"/></section>
        <div class="table-wrap">
            <table class="grid">
                <thead><tr><th scope="col"><span class="hidden">"Shown"</span></th><th scope="col">"Series"</th><th scope="col">"Service"</th><th scope="col" class="figure">"Last"</th><th scope="col" class="figure">"Least"</th><th scope="col" class="figure">"Mean"</th><th scope="col" class="figure">"Largest"</th><th scope="col" class="figure">"NaN"</th></tr></thead>
                <tbody>{data.series.iter().zip(labels).enumerate().map(|(i, (s, label))| series_row(i, s, label, unit, hidden)).collect_view()}</tbody>
            </table>
        </div>
        {(more > 0).then(|| view! { <p class="muted">{format!("{} of {} series: those with the largest values. A filter shows others.", data.series.len(), data.total)}</p> })}
    }
}

fn series_row(
    i: usize,
    s: &Series,
    label: String,
    unit: Unit,
    hidden: RwSignal<std::collections::HashSet<usize>>,
) -> impl IntoView + use<> {
    let values: Vec<f64> = s.points.iter().filter_map(|p| p.value).collect();
    let missing = s.points.len() - values.len();
    let text = |v: Option<f64>| v.map_or_else(|| "–".to_owned(), |v| unit.text(v));
    let mean = (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
    let all = s.attributes.iter().map(pair).collect::<Vec<_>>().join(", ");
    let toggle = move |_| {
        hidden.update(|h| {
            if !h.remove(&i) {
                h.insert(i);
            }
        })
    };
    view! {
        <tr>
            <td><input type="checkbox" aria-label=format!("Show {label}") prop:checked=move || !hidden.with(|h| h.contains(&i)) on:change=toggle/></td>
            <th scope="row"><span class="service" title=all><span class="swatch" style:background=colour::of_series(i)></span><span class="clip mono">{label}</span></span></th>
            <td>{service_name(&s.service_name)}</td>
            <td class="figure">{text(values.last().copied())}</td>
            <td class="figure">{text(values.iter().copied().reduce(f64::min))}</td>
            <td class="figure">{text(mean)}</td>
            <td class="figure">{text(values.iter().copied().reduce(f64::max))}</td>
            <td class="figure muted">{missing}</td>
        </tr>
    }
}

fn pair(a: &Attribute) -> String {
    format!("{}={}", a.key, a.value.clone().unwrap_or_default())
}

/// Attribute keys whose values are not the same in all series.
fn differing_keys(series: &[Series]) -> Vec<String> {
    let mut keys: Vec<String> = series.iter().flat_map(|s| s.attributes.iter().map(|a| a.key.clone())).collect();
    keys.sort();
    keys.dedup();
    let value = |s: &Series, key: &str| s.attributes.iter().find(|a| a.key == key).and_then(|a| a.value.clone());
    keys.retain(|key| series.windows(2).any(|w| value(&w[0], key) != value(&w[1], key)));
    keys
}

fn label(s: &Series, keys: &[String]) -> String {
    let parts: Vec<String> = s.attributes.iter().filter(|a| keys.contains(&a.key)).map(pair).collect();
    if parts.is_empty() { s.service_name.clone() } else { parts.join(" ") }
}

fn unit_of(data: &MetricSeries) -> Unit {
    let rate = data.shown.contains("per second") || data.shown.contains("/s");
    match data.metric.unit.as_deref() {
        _ if rate => Unit::PerSecond,
        Some("By") => Unit::Bytes,
        _ => Unit::Number,
    }
}

fn plot(
    data: &MetricSeries,
    labels: &[String],
    window: Window,
    unit: Unit,
    hidden: &std::collections::HashSet<usize>,
) -> Plot {
    let lines =
        data.series.iter().zip(labels).enumerate().filter(|(i, _)| !hidden.contains(i)).map(|(i, (s, label))| Line {
            label: label.clone(),
            colour: colour::of_series(i),
            points: s.points.iter().filter_map(|p| Some((instant::parse(&p.time)?, p.value))).collect(),
        });
    Plot { window, shape: Shape::Lines, unit, lines: lines.collect() }
}
