//! One log record in a list: a line that opens to all of it.

use leptos::prelude::*;
use orrery_api::LogRecord;

use super::attributes::attributes;
use super::clock::day_and_clock;
use super::copy::Copy;
use super::icon::{Icon, icon};
use super::service::service_name;
use crate::context::use_app;
use crate::{filter, format, instant};

/// The class of a severity number: its CSS class and its word.
pub fn severity(number: i64) -> (&'static str, &'static str) {
    match number {
        1..=4 => ("trace", "TRACE"),
        5..=8 => ("debug", "DEBUG"),
        9..=12 => ("info", "INFO"),
        13..=16 => ("warn", "WARN"),
        17..=20 => ("error", "ERROR"),
        21..=24 => ("error", "FATAL"),
        _ => ("unset", "–"),
    }
}

/// The rows of a list, each with a state of its own.
pub fn log_rows(records: &[LogRecord], in_trace: bool) -> impl IntoView + use<> {
    records.iter().cloned().map(|record| view! { <LogRow record in_trace/> }).collect_view()
}

#[component]
pub fn LogRow(
    record: LogRecord,
    /// Whether the list is of one trace: no link to it then.
    in_trace: bool,
) -> impl IntoView {
    let open = RwSignal::new(false);
    let (class, word) = severity(record.severity_number);
    let at = instant::parse(&record.timestamp).unwrap_or_default();
    let body = record.body.clone().unwrap_or_default();
    let line: String = body.lines().next().unwrap_or_default().chars().take(400).collect();
    let service = record.service_name.clone();
    let record = StoredValue::new(record);
    view! {
        <div class=format!("log {class}") class:open=move || open.get()>
            <button type="button" class="log-line" aria-expanded=move || open.get().to_string() on:click=move |_| open.update(|o| *o = !*o)>
                <span class="twist">{move || icon(if open.get() { Icon::Down } else { Icon::Right })}</span>
                <span class="log-time mono">{day_and_clock(at)}</span>
                <span class="severity">{word}</span>
                <span class="log-service">{service_name(&service)}</span>
                <span class="log-body mono">{line}</span>
            </button>
            <Show when=move || open.get()>{move || record.with_value(|r| details(r, in_trace).into_any())}</Show>
        </div>
    }
}

fn details(record: &LogRecord, in_trace: bool) -> impl IntoView + use<> {
    let app = use_app();
    let body = record.body.clone().unwrap_or_default();
    let trace = record.trace_id.clone().filter(|_| !in_trace).map(|id| {
        let (path, span) = (format!("/trace/{id}"), record.span_id.clone().unwrap_or_default());
        view! { <a class="button small" href=move || app.link(&path, &[("span", &span)])>{icon(Icon::Traces)}{format!("Trace {}", format::short_id(&id))}</a> }
    });
    let same = filter::all(&[
        Some(filter::service_id(&record.service_name)),
        record.scope_name.as_ref().map(|s| format!("scope_name = {}", filter::quote(s))),
    ])
    .unwrap_or_default();
    let facts = [
        ("time", Some(record.timestamp.clone())),
        ("time from", (record.time_source != "sent").then(|| record.time_source.clone())),
        ("observed", record.observed_timestamp.clone()),
        ("severity", Some(format!("{} {}", record.severity_number, record.severity_text.clone().unwrap_or_default()))),
        ("event", record.event_name.clone()),
        ("scope", record.scope_name.clone()),
        ("trace", record.trace_id.clone()),
        ("span", record.span_id.clone()),
    ];
    let facts = facts.into_iter().filter_map(|(name, value)| Some((name, value?)));
    view! {
        <div class="log-detail">
            <div class="log-acts">
                {trace}
                <a class="button small" href=move || app.link("/logs", &[("filter", &same)])>{icon(Icon::Filter)}"Logs like this"</a>
                <Copy text=body.clone() what="body"/>
            </div>
            <pre class="mono body">{body.clone()}</pre>
            <dl class="facts">{facts.map(|(name, value)| view! { <div><dt>{name}</dt><dd class="mono">{value}</dd></div> }).collect_view()}</dl>
            <h2>"Attributes"</h2>
            {attributes(&record.attributes, "/logs", "attributes")}
            <h2>"Resource"</h2>
            {attributes(&record.resource_attributes, "/logs", "resource_attributes")}
        </div>
    }
}
