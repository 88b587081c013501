//! One metric: its series over the window as a chart, for a histogram with its percentile below, and as a table that
//! chooses which of them are drawn.

use std::collections::HashSet;
use std::sync::Arc;

use leptos::prelude::*;
use orrery_api::{Attribute, MetricInfo, MetricSeries, Point, Series};

use super::kind;
use crate::context::use_app;
use crate::fetch::fetch;
use crate::parts::chart::{Chart, Line, Plot, Shape};
use crate::parts::filter_bar::FilterBar;
use crate::parts::receipt::receipt;
use crate::parts::service::service_text;
use crate::parts::state::{NothingHere, answer, nothing};
use crate::range::Window;
use crate::unit::{self, Unit};
use crate::{colour, format, instant};

#[component]
pub fn One(name: String) -> impl IntoView {
    let app = use_app();
    let filter = app.param("filter");
    let asked = name.clone();
    let series =
        fetch::<MetricSeries>(move || Some(app.ask(filter.get()).with("name", Some(&asked)).href("/api/v1/metrics")));
    view! {
        <h2 class="metric-name mono">{name}</h2>
        <FilterBar table="metrics" placeholder="service_name = 'cart' AND attributes['state'] = 'used'"/>
        {move || match series.failure.get() {
            // A metric that sent nothing in the window is not an error of the reader's.
            Some(failure) if failure.status == 404 => view! { <NothingHere table="metrics" filtered=Signal::derive(move || filter.get().is_some())/> }.into_any(),
            _ => answer(series, move |data| {
                if data.series.is_empty() {
                    return view! { {nothing("No series match in this window", "Widen the time range, or change the filter.")} {receipt(&data.receipt)} }.into_any();
                }
                view! { <Shown data=data.clone()/> {receipt(&data.receipt)} }.into_any()
            }).into_any(),
        }}
    }
}

/// How a number of the answer is drawn: in which unit, and multiplied with what.
#[derive(Clone, Copy)]
struct Figure {
    unit: Unit,
    factor: f64,
    of: fn(&Point) -> Option<f64>,
}

impl Figure {
    /// What `value` of a point is.
    fn value(metric: &MetricInfo) -> Figure {
        let of = |p: &Point| p.value;
        let (unit, factor) = unit::of_metric(metric.unit.as_deref());
        match metric.metric_type.as_str() {
            "HISTOGRAM" | "EXPONENTIAL_HISTOGRAM" => Figure { unit: Unit::NUMBER.per_second(), factor: 1.0, of },
            "SUM" if metric.is_monotonic == Some(true) => Figure { unit: unit.per_second(), factor, of },
            _ => Figure { unit, factor, of },
        }
    }

    /// What `p95` of a point is.
    fn p95(metric: &MetricInfo) -> Figure {
        let (unit, factor) = unit::of_metric(metric.unit.as_deref());
        Figure { unit, factor, of: |p| p.p95 }
    }

    fn points(self, series: &Series) -> impl Iterator<Item = (i64, Option<f64>)> {
        series
            .points
            .iter()
            .filter_map(move |p| Some((instant::parse(&p.time)?, (self.of)(p).map(|v| v * self.factor))))
    }
}

#[component]
fn Shown(data: Arc<MetricSeries>) -> impl IntoView {
    let app = use_app();
    let window = app.window.get_untracked();
    // The label of a series is what sets it apart from the others.
    let differing = differing_keys(&data.series);
    let labels: Arc<Vec<String>> = Arc::new(data.series.iter().map(|s| label(s, &differing)).collect());
    let hidden = RwSignal::new(HashSet::<usize>::new());
    let (for_plot, for_labels) = (data.clone(), labels.clone());
    let drawn = move |figure: Figure| {
        let (data, labels) = (for_plot.clone(), for_labels.clone());
        Signal::derive(move || Arc::new(plot(&data, &labels, window, figure, &hidden.get())))
    };
    let more = (data.total as usize).saturating_sub(data.series.len());
    let metric = &data.metric;
    let facts = [
        Some(kind(&metric.metric_type)),
        metric.temporality.as_ref().map(|t| t.to_lowercase()),
        metric.is_monotonic.filter(|m| *m).map(|_| "monotonic".to_owned()),
        metric.unit.clone().filter(|u| !u.is_empty()).map(|u| format!("unit {u}")),
        Some(format!("{} points", format::count(metric.points))),
        Some(format!("drawn in steps of {}", format::duration(data.step_ns))),
    ];
    let value = Figure::value(metric);
    let percentile = data.series.iter().any(|s| s.points.iter().any(|p| p.p95.is_some())).then(|| Figure::p95(metric));
    // `measurements per second; p95 in s` is of two charts.
    let mut titles = data.shown.splitn(2, "; ").map(str::to_owned);
    let (title, second) = (titles.next().unwrap_or_default(), titles.next().unwrap_or_else(|| "p95".to_owned()));
    let columns = Columns {
        // Where no attribute sets the series apart, the label is the service already.
        service: !differing.is_empty(),
        missing: data.series.iter().any(|s| s.points.iter().any(|p| p.value.is_none())),
    };
    view! {
        <p class="muted">{metric.description.clone()}</p>
        <p class="muted">{facts.into_iter().flatten().collect::<Vec<_>>().join(" · ")}</p>
        <section class="panel"><h2>{title}</h2><Chart plot=drawn(value) label=format!("{} over time", metric.name) class="high"/></section>
        {percentile.map(|figure| view! {
            <section class="panel"><h2>{second}</h2><Chart plot=drawn(figure) label=format!("95th percentile of {} over time", metric.name)/></section>
        })}
        <div class="table-wrap">
            <table class="grid series">
                <thead><tr>
                    <th scope="col"><span class="hidden">"Shown"</span></th><th scope="col">"Series"</th>
                    {columns.service.then(|| view! { <th scope="col">"Service"</th> })}
                    <th scope="col" class="figure">"Last"</th><th scope="col" class="figure">"Least"</th><th scope="col" class="figure">"Mean"</th><th scope="col" class="figure">"Largest"</th>
                    {percentile.map(|_| view! { <th scope="col" class="figure">"Last p95"</th> })}
                    {columns.missing.then(|| view! { <th scope="col" class="figure">"NaN"</th> })}
                </tr></thead>
                <tbody>{data.series.iter().zip(labels.iter()).enumerate().map(|(i, (s, label))| series_row(i, s, label.clone(), value, percentile, columns, hidden)).collect_view()}</tbody>
            </table>
        </div>
        {(more > 0).then(|| view! { <p class="muted">{format!("{} of {} series: those with the largest values. A filter shows others.", data.series.len(), data.total)}</p> })}
    }
}

/// Columns that something stands in.
#[derive(Clone, Copy)]
struct Columns {
    service: bool,
    missing: bool,
}

fn series_row(
    i: usize,
    s: &Series,
    label: String,
    value: Figure,
    percentile: Option<Figure>,
    columns: Columns,
    hidden: RwSignal<HashSet<usize>>,
) -> impl IntoView + use<> {
    let values: Vec<f64> = value.points(s).filter_map(|(_, v)| v).collect();
    let missing = s.points.len() - values.len();
    let text = |v: Option<f64>| v.map_or_else(|| "–".to_owned(), |v| value.unit.text(v));
    let mean = (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
    let last_p95 = percentile.map(|figure| {
        let last = figure.points(s).filter_map(|(_, v)| v).last();
        last.map_or_else(|| "–".to_owned(), |v| figure.unit.text(v))
    });
    let all = s.attributes.iter().map(pair).collect::<Vec<_>>().join(", ");
    let name = if columns.service {
        view! { <span class="clip mono">{label.clone()}</span> }.into_any()
    } else {
        service_text(&s.service_name).into_any()
    };
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
            <th scope="row"><span class="service" title=all><span class="swatch" style:background=colour::of_series(i)></span>{name}</span></th>
            {columns.service.then(|| view! { <td class="wide-cell" title=s.service_name.clone()>{service_text(&s.service_name)}</td> })}
            <td class="figure">{text(values.last().copied())}</td>
            <td class="figure">{text(values.iter().copied().reduce(f64::min))}</td>
            <td class="figure">{text(mean)}</td>
            <td class="figure">{text(values.iter().copied().reduce(f64::max))}</td>
            {last_p95.map(|text| view! { <td class="figure">{text}</td> })}
            {columns.missing.then(|| view! { <td class="figure muted">{missing}</td> })}
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

fn plot(data: &MetricSeries, labels: &[String], window: Window, figure: Figure, hidden: &HashSet<usize>) -> Plot {
    let shown = data.series.iter().zip(labels).enumerate().filter(|(i, _)| !hidden.contains(i));
    let lines = shown.map(|(i, (s, label))| Line {
        label: label.clone(),
        colour: colour::of_series(i),
        points: figure.points(s).collect(),
    });
    Plot { window, shape: Shape::Lines, unit: figure.unit, lines: lines.collect() }
}
