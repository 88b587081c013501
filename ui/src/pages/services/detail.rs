//! `/services/:name`: one service: its calls, errors and latency over the window, operations, neighbours, failing
//! traces and resource.

use std::sync::Arc;

use leptos::prelude::*;
use leptos_router::hooks::use_params_map;
use orrery_api::{Edge, Operation, ServiceDetail, ServiceGraph, Traces};

use super::health;
use crate::address;
use crate::context::use_app;
use crate::fetch::{Fetched, fetch};
use crate::filter;
use crate::format;
use crate::pages::traces::trace_table;
use crate::parts::alert::service_badge;
use crate::parts::attributes::attributes;
use crate::parts::chart::{Chart, Line, Plot, Shape, legend, steps};
use crate::parts::icon::{Icon, icon};
use crate::parts::receipt::receipt;
use crate::parts::service::{of_node, service_link, service_name};
use crate::parts::sort::{self, Header};
use crate::parts::state::{NothingHere, answer};
use crate::range::Window;
use crate::unit::Unit;

/// Operations that are shown before all of them are asked for.
const FEW: usize = 12;

#[component]
pub fn Detail() -> impl IntoView {
    let app = use_app();
    let params = use_params_map();
    let name = Memo::new(move |_| params.with(|p| address::decode(&p.get("name").unwrap_or_default())));
    let detail = fetch::<ServiceDetail>(move || {
        Some(app.ask(None).href(&format!("/api/v1/services/{}", address::encode(&name.get()))))
    });
    let own = Memo::new(move |_| match detail.data.get() {
        Some(d) => filter::service(&d.service.name, d.service.namespace.as_deref()),
        None => filter::service_id(&name.get()),
    });
    view! {
        <header class="page-head row">
            <a class="muted" href=move || app.link("/services", &[])>"Services"</a>
            <span class="faint">"/"</span>
            <h1>{move || service_name(&name.get())}</h1>
            {move || service_badge(&name.get())}
            <span class="grow"></span>
            <a class="button" href=move || app.link("/traces", &[("filter", &own.get())])>{icon(Icon::Traces)}"Traces"</a>
            <a class="button" href=move || app.link("/logs", &[("filter", &own.get())])>{icon(Icon::Logs)}"Logs"</a>
            <a class="button" href=move || app.link("/map", &[("node", &format!("service:{}", name.get()))])>{icon(Icon::Map)}"Map"</a>
        </header>
        {move || match detail.failure.get() {
            // A service that sent nothing in the window is not an error of the reader's.
            Some(failure) if failure.status == 404 => view! { <NothingHere table="spans" filtered=Signal::derive(|| false)/> }.into_any(),
            _ => answer(detail, move |data| view! { <Body data own/> }).into_any(),
        }}
    }
}

#[component]
fn Body(data: Arc<ServiceDetail>, own: Memo<String>) -> impl IntoView {
    let app = use_app();
    let window = app.window.get_untracked();
    let service = &data.service;
    let id = service.id.clone();
    let (class, which, word) = health(service.errors, service.calls);
    let failing = fetch::<Traces>(move || {
        let errors = format!("{} AND status_code = 'ERROR'", own.get());
        Some(app.ask(Some(errors)).with("limit", Some("8")).href("/api/v1/traces"))
    });
    let graph = fetch::<ServiceGraph>(move || Some(app.ask(None).href("/api/v1/service-graph")));
    let facts = [
        ("Version", service.versions.join(", ")),
        ("Environment", service.environments.join(", ")),
        ("Language", service.language.clone().unwrap_or_default()),
        ("Instances", service.instances.to_string()),
    ];
    view! {
        <div class="tiles">
            <div class="tile"><span>"Health"</span><b class=format!("health {class}")>{icon(which)}{word.split(':').next().unwrap_or(word).to_owned()}</b></div>
            <div class="tile"><span>"Rate"</span><b title=format::grouped(service.calls as i64)>{format::rate(service.calls, window.length())}</b></div>
            <div class="tile"><span>"Errors"</span><b class:error-text=service.errors != 0 title=format::grouped(service.errors as i64)>{format::error_share(service.errors, service.calls)}</b></div>
            <div class="tile"><span>"p50"</span><b title=format::duration_exact(service.p50_ns)>{format::duration(service.p50_ns)}</b></div>
            <div class="tile"><span>"p95"</span><b title=format::duration_exact(service.p95_ns)>{format::duration(service.p95_ns)}</b></div>
            <div class="tile"><span>"p99"</span><b title=format::duration_exact(service.p99_ns)>{format::duration(service.p99_ns)}</b></div>
            {facts.into_iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| view! { <div class="tile quiet"><span>{k}</span><b class="clip" title=v.clone()>{v.clone()}</b></div> }).collect_view()}
        </div>
        <div class="charts">
            <section class="panel"><h2>"Calls"{legend(&[("--bar", "calls"), ("--error", "errors")])}</h2><Chart plot=Signal::stored(Arc::new(calls(&data, window))) label="Calls and errors over time"/></section>
            <section class="panel"><h2>"Latency"{legend(&[("--accent", "p95"), ("--muted", "p50")])}</h2><Chart plot=Signal::stored(Arc::new(latency(&data, window))) label="Percentiles of latency over time"/></section>
        </div>
        <section class="panel"><h2>"Operations"</h2><Operations list=data.operations.clone() own window/></section>
        <div class="charts">
            <section class="panel"><h2>"Called by"</h2>{neighbours(graph, id.clone(), true)}</section>
            <section class="panel"><h2>"Calls to"</h2>{neighbours(graph, id, false)}</section>
        </div>
        <section class="panel"><h2>"Failing traces"</h2>
            {answer(failing, move |data| if data.traces.is_empty() {
                view! { <p class="faint pad">"No span of this service has failed in the window."</p> }.into_any()
            } else {
                view! { {trace_table(&data.traces)} {receipt(&data.receipt)} }.into_any()
            })}
        </section>
        <section class="panel"><h2>"Resource"</h2>{attributes(&data.resource_attributes, "/traces", "resource_attributes")}</section>
        {receipt(&data.receipt)}
    }
}

fn calls(data: &ServiceDetail, window: Window) -> Plot {
    let (all, errors) = (&data.service.calls_over_time, &data.service.errors_over_time);
    let fine = all.iter().zip(errors).map(|(a, e)| Some(a.saturating_sub(*e) as f64));
    Plot {
        window,
        shape: Shape::Bars(window.length() / (all.len().max(1) as i64)),
        unit: Unit::NUMBER,
        lines: vec![
            Line {
                label: "errors".into(),
                colour: "--error".into(),
                points: steps(window, errors.iter().map(|e| Some(*e as f64))),
            },
            Line { label: "without error".into(), colour: "--bar".into(), points: steps(window, fine) },
        ],
    }
}

fn latency(data: &ServiceDetail, window: Window) -> Plot {
    let line = |label: &str, colour: &str, values: &[Option<i64>]| Line {
        label: label.to_owned(),
        colour: colour.to_owned(),
        points: steps(window, values.iter().map(|v| v.map(|v| v as f64))),
    };
    Plot {
        window,
        shape: Shape::Lines,
        unit: Unit::DURATION,
        lines: vec![line("p95", "--accent", &data.p95_over_time), line("p50", "--muted", &data.p50_over_time)],
    }
}

#[component]
fn Operations(list: Vec<Operation>, own: Memo<String>, window: Window) -> impl IntoView {
    let app = use_app();
    let sort = sort::current(app, "-calls");
    let total = list.len();
    let all = RwSignal::new(total <= FEW);
    let sorted = move || {
        let mut rows = list.clone();
        sort.with(|(by, down)| {
            rows.sort_by(|a, b| {
                let order = match by.as_str() {
                    "name" => a.name.cmp(&b.name),
                    "errors" => (a.errors * b.calls.max(1)).cmp(&(b.errors * a.calls.max(1))),
                    "p50" => a.p50_ns.cmp(&b.p50_ns),
                    "p95" => a.p95_ns.cmp(&b.p95_ns),
                    "p99" => a.p99_ns.cmp(&b.p99_ns),
                    _ => a.calls.cmp(&b.calls),
                };
                if *down { order.reverse() } else { order }
            });
        });
        if !all.get() {
            rows.truncate(FEW);
        }
        rows
    };
    view! {
        <div class="table-wrap">
            <table class="grid">
                <thead><tr>
                    <Header sort column="name" title="Operation"/><th scope="col">"Kind"</th>
                    <Header sort column="calls" title="Rate" figure=true/><Header sort column="errors" title="Errors" figure=true/>
                    <Header sort column="p50" title="p50" figure=true/><Header sort column="p95" title="p95" figure=true/><Header sort column="p99" title="p99" figure=true/>
                </tr></thead>
                <tbody>{move || sorted().into_iter().map(|o| {
                    let name = o.name.clone();
                    let href = move || app.link("/traces", &[("filter", &format!("{} AND name = {}", own.get(), filter::quote(&name)))]);
                    view! {
                        <tr>
                            <th scope="row"><a class="clip" href=href title=o.name.clone()>{o.name.clone()}</a></th>
                            <td class="muted">{o.kind.clone()}</td>
                            <td class="figure" title=format::grouped(o.calls as i64)>{format::rate(o.calls, window.length())}</td>
                            <td class="figure" class:error-text=o.errors != 0 class:faint=o.errors == 0>{format::error_share(o.errors, o.calls)}</td>
                            <td class="figure">{format::duration(o.p50_ns)}</td>
                            <td class="figure">{format::duration(o.p95_ns)}</td>
                            <td class="figure">{format::duration(o.p99_ns)}</td>
                        </tr>
                    }
                }).collect_view()}</tbody>
            </table>
        </div>
        <Show when=move || !all.get()><button type="button" class="button small" on:click=move |_| all.set(true)>{format!("All {total} operations")}</button></Show>
    }
}

/// The other ends of the edges into or out of a service.
fn neighbours(graph: Fetched<ServiceGraph>, id: String, into: bool) -> impl IntoView {
    let app = use_app();
    answer(graph, move |graph| {
        let node = format!("service:{id}");
        let wanted = |e: &&Edge| if into { e.target == node } else { e.source == node };
        let mut edges: Vec<&Edge> = graph.edges.iter().filter(wanted).collect();
        edges.sort_by_key(|e| std::cmp::Reverse(e.calls));
        if edges.is_empty() {
            let text = if into { "Nothing calls it in the window." } else { "It calls nothing in the window." };
            return view! { <p class="faint pad">{text}</p> }.into_any();
        }
        let window = app.window.get_untracked().length();
        let rows = edges.into_iter().map(|e| {
            let other = if into { &e.source } else { &e.target };
            let edge = e.id.clone();
            let name = match of_node(other) {
                Some(service) => service_link(service).into_any(),
                None => other.split_once(':').map_or(other.as_str(), |(_, name)| name).to_owned().into_any(),
            };
            view! {
                <tr>
                    <th scope="row">{name}</th>
                    <td class="figure"><a href=move || app.link("/map", &[("edge", &edge)]) title="Show the edge on the map">{format::rate(e.calls, window)}</a></td>
                    <td class="figure" class:error-text=e.errors != 0 class:faint=e.errors == 0>{format::error_share(e.errors, e.calls)}</td>
                    <td class="figure">{format::duration(e.p95_ns)}</td>
                </tr>
            }
        });
        view! {
            <table class="grid neighbours">
                <thead><tr><th scope="col">"Name"</th><th scope="col" class="figure">"Rate"</th><th scope="col" class="figure">"Errors"</th><th scope="col" class="figure">"p95"</th></tr></thead>
                <tbody>{rows.collect_view()}</tbody>
            </table>
        }
        .into_any()
    })
}
