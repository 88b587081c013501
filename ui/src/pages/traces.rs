//! `/traces`: exact search. A filter expression, an order, spans over time above and the list always in view.

use std::sync::Arc;

use leptos::prelude::*;
use orrery_api::{SqlResponse, TraceSummary, Traces as Answer};
use serde_json::Value;

use crate::context::use_app;
use crate::fetch::{fetch, fetch_sql};
use crate::parts::chart::{Chart, Line, Plot, Shape, legend};
use crate::parts::clock::day_and_clock;
use crate::parts::facets::{FacetsToggle, WithFacets};
use crate::parts::filter_bar::FilterBar;
use crate::parts::icon::{Icon, icon};
use crate::parts::receipt::receipt;
use crate::parts::service::{service_name, swatch};
use crate::parts::state::{NothingHere, answer};
use crate::range::Window;
use crate::unit::Unit;
use crate::{format, instant};

const ORDERS: [(&str, &str); 4] =
    [("newest", "Newest"), ("slowest", "Slowest"), ("spans", "Most spans"), ("errors", "Most errors")];
/// What the spans are counted by beside the list.
const FACETS: [(&str, &str); 5] = [
    ("service_name", "Service"),
    ("name", "Operation"),
    ("status_code", "Status"),
    ("kind", "Kind"),
    ("deployment_environment", "Environment"),
];
/// Traces of a page, and at most.
const PAGE: usize = 50;
const MOST: usize = 1_000;

#[component]
pub fn Traces() -> impl IntoView {
    let app = use_app();
    let filter = app.param("filter");
    let order = app.param("order");
    let limit = app.param("limit");
    let limit = Memo::new(move |_| limit.get().and_then(|l| l.parse().ok()).unwrap_or(PAGE).clamp(1, MOST));
    let order = move || order.get().unwrap_or_else(|| "newest".to_owned());
    let traces = fetch::<Answer>(move || {
        let query = app.ask(filter.get()).with("order", Some(&order())).with("limit", Some(&limit.get().to_string()));
        Some(query.href("/api/v1/traces"))
    });
    let filtered = Signal::derive(move || {
        filter.get().is_some() || app.environment.get().is_some() || app.namespace.get().is_some()
    });
    view! {
        <header class="page-head row">
            <h1>"Traces"</h1>
            <span class="count">{move || traces.data.get().map(|t| format::count(t.total))}</span>
            <span class="grow"></span>
            <FacetsToggle/>
            <div class="segments" role="group" aria-label="Order">
                {ORDERS.into_iter().map(|(value, title)| view! {
                    <button type="button" aria-pressed=move || (order() == value).to_string()
                        on:click=move |_| app.set(&[("order", (value != "newest").then_some(value))])>{title}</button>
                }).collect_view()}
            </div>
        </header>
        <FilterBar table="spans" placeholder="service_name = 'cart' AND attributes['http.route'] = '/pay' AND duration_ns > 1e9"/>
        <WithFacets table="spans" columns=&FACETS condition=Signal::derive(move || None)>
        <Histogram/>
        {answer(traces, move |data| {
            if data.traces.is_empty() {
                return view! { <NothingHere table="spans" filtered/> {receipt(&data.receipt)} }.into_any();
            }
            let (shown, total) = (data.traces.len(), data.total);
            view! {
                {trace_table(&data.traces)}
                <div class="more">
                    <span class="muted">{format!("{shown} of {} traces", format::count(total))}{(!data.exact).then_some(", not exact")}</span>
                    {((shown as u64) < total && shown < MOST).then(|| view! {
                        <button type="button" class="button" on:click=move |_| app.replace(&[("limit", Some(&(limit.get_untracked() * 4).min(MOST).to_string()))])>"Show more"</button>
                    })}
                </div>
                {receipt(&data.receipt)}
            }.into_any()
        })}
        </WithFacets>
    }
}

/// Summaries as rows, each leading to its trace. The bar compares durations within the list.
pub fn trace_table(list: &[TraceSummary]) -> impl IntoView + use<> {
    let longest = list.iter().map(|t| t.duration_ns).max().unwrap_or(1).max(1);
    view! {
        <div class="table-wrap">
            <table class="grid traces">
                <thead><tr>
                    <th scope="col">"Started"</th><th scope="col">"Root"</th><th scope="col" class="quiet-cell">"Trace"</th>
                    <th scope="col" class="figure">"Duration"</th><th scope="col" class="bar-cell quiet-cell"><span class="hidden">"Compared"</span></th>
                    <th scope="col" class="figure">"Spans"</th><th scope="col" class="figure">"Errors"</th><th scope="col" class="quiet-cell">"Services"</th>
                </tr></thead>
                <tbody>{list.iter().map(|t| trace_row(t, longest)).collect_view()}</tbody>
            </table>
        </div>
    }
}

fn trace_row(t: &TraceSummary, longest: i64) -> impl IntoView + use<> {
    let app = use_app();
    let path = format!("/trace/{}", t.trace_id);
    let href = move || app.link(&path, &[]);
    let start = instant::parse(&t.start).unwrap_or_default();
    let width = format!("{:.1}%", (t.duration_ns.max(0) as f64 / longest as f64 * 100.0).max(0.5));
    let few: Vec<&String> = t.services.iter().take(6).collect();
    let more = t.services.len() - few.len();
    view! {
        <tr>
            <td class="nowrap muted mono" title=t.start.clone()>{day_and_clock(start)}</td>
            <th scope="row"><a class="root" href=href.clone()>{service_name(&t.service_name)}<span class="clip op" title=t.name.clone()>{t.name.clone()}</span></a></th>
            <td class="mono quiet-cell"><a class="faint" href=href tabindex="-1" title=t.trace_id.clone()>{format::short_id(&t.trace_id)}</a></td>
            <td class="figure" title=format::duration_exact(t.duration_ns)>{format::duration(t.duration_ns)}</td>
            <td class="bar-cell quiet-cell"><div class="bar" class:error=t.errors != 0 style:width=width></div></td>
            <td class="figure">{format::count(t.spans)}</td>
            <td class="figure" class:error-text=t.errors != 0 class:faint=t.errors == 0>{(t.errors > 0).then(|| icon(Icon::Error))}{format::count(t.errors)}</td>
            <td class="quiet-cell"><span class="swatches" title=t.services.join(", ")>{few.iter().map(|s| swatch(s)).collect_view()}{(more > 0).then(|| format!("+{more}"))}</span></td>
        </tr>
    }
}

/// Spans and errors of the filter over time, by one statement of SQL.
#[component]
fn Histogram() -> impl IntoView {
    let app = use_app();
    let filter = app.param("filter");
    let answer = fetch_sql(move || {
        let window = app.window.get();
        Some(histogram_sql(window, step_of(window), app.filter(filter.get())))
    });
    let plot = Signal::derive(move || {
        let window = app.window.get();
        Arc::new(match answer.data.get() {
            Some(answer) => plot(&answer, window, step_of(window)),
            None => Plot { window, shape: Shape::Lines, unit: Unit::NUMBER, lines: Vec::new() },
        })
    });
    view! {
        <div class="histogram">
            {legend(&[("--bar", "spans"), ("--error", "errors")])}
            <Chart plot label="Spans over time, errors among them" class="low"/>
            {move || match answer.failure.get() {
                // A filter that cannot be read is said once, by the list below.
                Some(failure) if failure.status >= 500 || failure.status == 0 => Some(view! { <span class="histogram-note muted">{failure.message}</span> }),
                _ => None,
            }}
        </div>
    }
}

/// About a hundred bars, of whole milliseconds.
fn step_of(window: Window) -> i64 {
    (window.length() / 96 / instant::MILLISECOND).max(1) * instant::MILLISECOND
}

fn histogram_sql(window: Window, step: i64, filter: Option<String>) -> String {
    let (start, end) = (instant::rfc3339(window.start), instant::rfc3339(window.end));
    let filter = filter.map(|f| format!("\n  AND ({f})")).unwrap_or_default();
    format!(
        "SELECT date_bin(INTERVAL '{} milliseconds', timestamp, TIMESTAMP '{start}') AS bin,\n  count(*) AS spans, count(*) FILTER (WHERE status_code = 'ERROR') AS errors\nFROM spans\nWHERE timestamp >= TIMESTAMP '{start}' AND timestamp < TIMESTAMP '{end}'{filter}\nGROUP BY bin ORDER BY bin",
        step / instant::MILLISECOND
    )
}

fn plot(answer: &SqlResponse, window: Window, step: i64) -> Plot {
    let number = |v: Option<&Value>| v.and_then(Value::as_f64).unwrap_or(0.0);
    let rows = answer.rows.iter().filter_map(|row| {
        let at = instant::parse(row.first()?.as_str()?)?;
        Some((at, number(row.get(1)), number(row.get(2))))
    });
    let (mut fine, mut errors) = (Vec::new(), Vec::new());
    for (at, all, failed) in rows {
        errors.push((at, Some(failed)));
        fine.push((at, Some(all - failed)));
    }
    Plot {
        window,
        shape: Shape::Bars(step),
        unit: Unit::NUMBER,
        lines: vec![
            Line { label: "errors".into(), colour: "--error".into(), points: errors },
            Line { label: "without error".into(), colour: "--bar".into(), points: fine },
        ],
    }
}
