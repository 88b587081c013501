//! The chosen span: everything that was sent of it, and the log records written under it.

use leptos::prelude::*;
use orrery_api::{Link, Logs, SpanEvent, SpanNode};

use super::Shared;
use crate::address::Query;
use crate::context::use_app;
use crate::fetch::fetch;
use crate::format;
use crate::parts::attributes::attributes;
use crate::parts::copy::Copy;
use crate::parts::icon::{Icon, icon};
use crate::parts::log_row::log_rows;
use crate::parts::service::{service_link, swatch};
use crate::parts::state::answer;

#[component]
pub fn Drawer(shared: Shared, index: usize) -> impl IntoView {
    let app = use_app();
    let span = shared.trace.with_value(|t| t.spans[index].clone());
    let json = serde_json::to_string_pretty(&span).unwrap_or_else(|e| e.to_string());
    let (events, links) = (span.events.len(), span.links.len());
    view! {
        <aside class="drawer" aria-label="Span" on:keydown=move |event| if event.key() == "Escape" { shared.choose(app, None) }>
            <header class="drawer-head">
                <h2><span class="service">{swatch(&span.service_name)}<span class="clip" title=span.name.clone()>{span.name.clone()}</span></span></h2>
                <button type="button" class="button ghost square" aria-label="Close the span" on:click=move |_| shared.choose(app, None)>{icon(Icon::Close)}</button>
            </header>
            <div class="drawer-body">
                {facts(&span)}
                {span.status_message.clone().map(|message| view! { <p class="message error-text">{icon(Icon::Error)}{message}</p> })}
                <details open=true><summary>{format!("Attributes ({})", span.attributes.len())}</summary>{attributes(&span.attributes, "/traces", "attributes")}</details>
                {(events > 0).then(|| view! { <details open=true><summary>{format!("Events ({events})")}</summary>{span.events.iter().map(event).collect_view()}</details> })}
                {(links > 0).then(|| view! { <details open=true><summary>{format!("Links ({links})")}</summary>{span.links.iter().map(link).collect_view()}</details> })}
                {(span.logs > 0).then(|| view! { <details open=true><summary>{format!("Logs ({})", format::count(span.logs))}</summary><SpanLogs shared span_id=span.span_id.clone()/></details> })}
                <details><summary>{format!("Resource ({})", span.resource_attributes.len())}</summary>{attributes(&span.resource_attributes, "/traces", "resource_attributes")}</details>
                <details><summary>"Raw"</summary><div class="snippet"><pre class="mono" tabindex="0" aria-label="The span as JSON">{json.clone()}</pre><Copy text=json what="JSON"/></div></details>
            </div>
        </aside>
    }
}

fn facts(span: &SpanNode) -> impl IntoView + use<> {
    let status = span.status_code.clone();
    let failed = status == "ERROR";
    let optional = [
        ("Parent", span.parent_span_id.clone()),
        ("Scope", span.scope_name.clone().map(|n| format!("{n} {}", span.scope_version.clone().unwrap_or_default()))),
        ("Trace state", span.trace_state.clone()),
    ];
    view! {
        <dl class="facts">
            <div><dt>"Service"</dt><dd>{service_link(&span.service_name)}</dd></div>
            <div><dt>"Kind"</dt><dd>{span.kind.clone()}</dd></div>
            <div><dt>"Status"</dt><dd class:error-text=failed>{failed.then(|| icon(Icon::Error))}{status}</dd></div>
            <div><dt>"Duration"</dt><dd title=format::duration_exact(span.duration_ns)>{format::duration(span.duration_ns)}</dd></div>
            <div><dt>"Self"</dt><dd title=format::duration_exact(span.self_ns)>{format::duration(span.self_ns)}{span.critical.then_some(" · on the critical path")}</dd></div>
            <div><dt>"Begins"</dt><dd title=span.start.clone()>{format!("{} after the trace", format::duration(span.offset_ns))}</dd></div>
            <div><dt>"Start"</dt><dd class="mono">{span.start.clone()}</dd></div>
            <div><dt>"Span"</dt><dd class="mono">{span.span_id.clone()}<Copy text=span.span_id.clone() what="span id"/></dd></div>
            {optional.into_iter().filter_map(|(k, v)| Some((k, v?))).map(|(k, v)| view! { <div><dt>{k}</dt><dd class="mono">{v}</dd></div> }).collect_view()}
        </dl>
    }
}

/// An event; an exception's type, message and stack stand out from its attributes.
fn event(event: &SpanEvent) -> impl IntoView + use<> {
    let of = |key: &str| event.attributes.iter().find(|a| a.key == key).and_then(|a| a.value.clone());
    let stack = of("exception.stacktrace");
    let thrown = of("exception.type").or_else(|| of("exception.message").map(|_| "exception".to_owned()));
    let failed = thrown.is_some();
    let rest: Vec<_> =
        event.attributes.iter().filter(|a| !a.key.starts_with("exception.") || thrown.is_none()).cloned().collect();
    view! {
        <div class="event-card" class:thrown=failed>
            <div class="row"><b>{event.name.clone()}</b><span class="grow"></span><span class="muted" title=event.time.clone()>{format!("+{}", format::duration(event.offset_ns))}</span></div>
            {thrown.map(|t| view! { <p class="error-text">{icon(Icon::Error)}<code>{t}</code>" "{of("exception.message")}</p> })}
            {stack.map(|s| view! { <div class="snippet"><pre class="mono stack" tabindex="0" aria-label="Stack trace">{s.clone()}</pre><Copy text=s what="stack trace"/></div> })}
            {(!rest.is_empty()).then(|| attributes(&rest, "/traces", "attributes"))}
        </div>
    }
}

fn link(link: &Link) -> impl IntoView + use<> {
    let app = use_app();
    let (path, span) = (format!("/trace/{}", link.trace_id), link.span_id.clone());
    view! {
        <div class="event-card">
            <a class="mono" href=move || app.link(&path, &[("span", &span)])>{icon(Icon::Link)}{format!("{} · {}", format::short_id(&link.trace_id), link.span_id)}</a>
            {(!link.attributes.is_empty()).then(|| attributes(&link.attributes, "/traces", "attributes"))}
        </div>
    }
}

#[component]
fn SpanLogs(shared: Shared, span_id: String) -> impl IntoView {
    let logs = fetch::<Logs>(move || {
        let id = shared.trace.with_value(|t| t.trace_id.clone());
        let query = Query::default().with("trace_id", Some(&id)).with("span_id", Some(&span_id));
        Some(query.href("/api/v1/logs"))
    });
    answer(logs, |data| log_rows(&data.logs, true))
}
