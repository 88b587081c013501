//! The chosen edge or node: its figures, sample traces, and the very spans that an edge counts.

use leptos::prelude::*;
use orrery_api::{Edge, EdgeSpans, Node, NodeKind};

use super::{Shared, choose, kind_icon, node_name};
use crate::context::use_app;
use crate::fetch::fetch;
use crate::format;
use crate::instant;
use crate::map_view::{Hit, by_id};
use crate::parts::alert::service_badge;
use crate::parts::icon::{Icon, icon};
use crate::parts::receipt::receipt;
use crate::parts::service::{of_node, service_link, service_path};
use crate::parts::state::answer;

#[component]
pub fn Panel(shared: Shared, hit: Hit) -> impl IntoView {
    let app = use_app();
    let body = shared.graph.with_value(|g| match &hit {
        Hit::Node(id) => {
            let node = g.nodes.iter().find(|n| n.id == *id).cloned();
            let edges = g.edges.iter().filter(|e| e.source == *id || e.target == *id).cloned().collect();
            node.map(|node| view! { <NodeBody shared node edges/> }.into_any())
        }
        Hit::Edge(id) => {
            g.edges.iter().find(|e| e.id == *id).cloned().map(|edge| view! { <EdgeBody shared edge/> }.into_any())
        }
    });
    view! {
        <aside class="drawer" aria-label="Details" on:keydown=move |event| if event.key() == "Escape" { choose(app, None) }>
            <button type="button" class="button ghost square drawer-close" aria-label="Close" on:click=move |_| choose(app, None)>{icon(Icon::Close)}</button>
            {body}
        </aside>
    }
}

fn end(shared: Shared, id: &str) -> impl IntoView + use<> {
    let app = use_app();
    let node = shared.graph.with_value(|g| by_id(g).get(id).map(|n| (*n).clone()));
    let hit = Hit::Node(id.to_owned());
    node.map(|n| view! { <button type="button" class="link" on:click=move |_| choose(app, Some(&hit))>{icon(kind_icon(&n))}{node_name(&n)}</button> })
}

#[component]
fn NodeBody(shared: Shared, node: Node, edges: Vec<Edge>) -> impl IntoView {
    let app = use_app();
    let service = of_node(&node.id).map(str::to_owned);
    let window = app.window.get_untracked().length();
    let list = |into: bool| {
        let mut found: Vec<Edge> =
            edges.iter().filter(|e| if into { e.target == node.id } else { e.source == node.id }).cloned().collect();
        found.sort_by_key(|e| std::cmp::Reverse(e.calls));
        found
    };
    let table = move |title: &'static str, edges: Vec<Edge>, into: bool| {
        (!edges.is_empty()).then(|| {
            view! {
                <h3>{title}</h3>
                <table class="grid small">
                    <thead><tr><th scope="col">"Name"</th><th scope="col" class="figure">"Rate"</th><th scope="col" class="figure">"Errors"</th><th scope="col" class="figure">"p95"</th></tr></thead>
                    <tbody>{edges.into_iter().map(|e| {
                        let hit = Hit::Edge(e.id.clone());
                        let other = if into { &e.source } else { &e.target };
                        let name = shared.graph.with_value(|g| by_id(g).get(other.as_str()).map(|n| node_name(n)));
                        let title = of_node(other).unwrap_or(other).to_owned();
                        view! {
                            <tr>
                                <th scope="row"><button type="button" class="link" on:click=move |_| choose(app, Some(&hit)) title=title>{name}</button></th>
                                <td class="figure">{format::rate(e.calls, window)}</td>
                                <td class="figure" class:error-text=e.errors != 0 class:faint=e.errors == 0>{format::error_share(e.errors, e.calls)}</td>
                                <td class="figure">{format::duration(e.p95_ns)}</td>
                            </tr>
                        }
                    }).collect_view()}</tbody>
                </table>
            }
        })
    };
    let (incoming, outgoing) = (list(true), list(false));
    let is_user = node.kind == NodeKind::User;
    view! {
        <header class="drawer-head"><h2>{icon(kind_icon(&node))}{node_name(&node)}</h2>{of_node(&node.id).map(service_badge)}</header>
        <div class="drawer-body">
            {(!is_user).then(|| view! {
                <div class="tiles small">
                    <div class="tile"><span>"Rate"</span><b title=format::grouped(node.calls as i64)>{format::rate(node.calls, window)}</b></div>
                    <div class="tile"><span>"Errors"</span><b class:error-text=node.errors != 0>{format::error_share(node.errors, node.calls)}</b></div>
                </div>
            })}
            {node.system.clone().map(|s| view! { <p class="muted">{s}</p> })}
            {service.map(|id| {
                let path = service_path(&id);
                view! { <p><a class="button" href=move || app.link(&path, &[])>{icon(Icon::Services)}"Open the service"</a></p> }
            })}
            {table("Called by", incoming, true)}
            {table("Calls", outgoing, false)}
        </div>
    }
}

#[component]
fn EdgeBody(shared: Shared, edge: Edge) -> impl IntoView {
    let app = use_app();
    let window = app.window.get_untracked().length();
    let filter = app.param("filter");
    let id = edge.id.clone();
    let spans = fetch::<EdgeSpans>(move || {
        let query = app.ask(filter.get()).with("edge", Some(&id)).with("limit", Some("100"));
        Some(query.href("/api/v1/service-graph/spans"))
    });
    let client = edge.client_p50_ns.zip(edge.client_p95_ns);
    let mean = edge.sum_ns / (edge.calls.max(1) as i64);
    let estimated = (edge.estimated_calls - edge.calls as f64).abs() > 0.5;
    view! {
        <header class="drawer-head"><h2 class="edge-title">{end(shared, &edge.source)}{icon(Icon::Right)}{end(shared, &edge.target)}</h2></header>
        <div class="drawer-body">
            <div class="tiles small">
                <div class="tile"><span>"Rate"</span><b>{format::rate(edge.calls, window)}</b></div>
                <div class="tile"><span>"Errors"</span><b class:error-text=edge.errors != 0>{format::error_share(edge.errors, edge.calls)}</b></div>
                <div class="tile"><span>"p50"</span><b title=format::duration_exact(edge.p50_ns)>{format::duration(edge.p50_ns)}</b></div>
                <div class="tile"><span>"p95"</span><b title=format::duration_exact(edge.p95_ns)>{format::duration(edge.p95_ns)}</b></div>
                <div class="tile"><span>"p99"</span><b title=format::duration_exact(edge.p99_ns)>{format::duration(edge.p99_ns)}</b></div>
                <div class="tile"><span>"Mean"</span><b title=format::duration_exact(mean)>{format::duration(mean)}</b></div>
            </div>
            <dl class="facts">
                <div><dt>"Kind"</dt><dd>{format!("{:?}", edge.kind).to_lowercase()}</dd></div>
                <div><dt>"Calls"</dt><dd>{format::grouped(edge.calls as i64)}{estimated.then(|| format!(" stored, about {} made", format::number(edge.estimated_calls)))}</dd></div>
                <div><dt>"Failed"</dt><dd>{format::grouped(edge.errors as i64)}</dd></div>
                {(edge.unpaired > 0).then(|| view! { <div><dt>"Unanswered"</dt><dd title="Calls to a known service that sent no span of its own">{format::grouped(edge.unpaired as i64)}</dd></div> })}
                {client.map(|(p50, p95)| view! { <div><dt>"As the caller saw it"</dt><dd>{format!("p50 {}, p95 {}", format::duration(p50), format::duration(p95))}</dd></div> })}
            </dl>
            {(!edge.exemplars.is_empty()).then(|| view! {
                <h3>"Sample traces"</h3>
                <p class="chips">{edge.exemplars.iter().take(8).map(|id| {
                    let path = format!("/trace/{id}");
                    view! { <a class="button small mono" href=move || app.link(&path, &[])>{format::short_id(id)}</a> }
                }).collect_view()}</p>
            })}
            <h3>"Its spans"</h3>
            {answer(spans, move |data| {
                let rows = data.spans.iter().map(|s| {
                    let (path, span) = (format!("/trace/{}", s.trace_id), s.span_id.clone());
                    let at = instant::parse(&s.start).unwrap_or_default();
                    let failed = s.status_code == "ERROR";
                    view! {
                        <tr>
                            <th scope="row"><a class="clip" title=s.name.clone() href=move || app.link(&path, &[("span", &span)])>{failed.then(|| icon(Icon::Error))}{s.name.clone()}</a></th>
                            <td class="muted nowrap" title=s.start.clone()>{instant::short(at)}</td>
                            <td class="figure">{format::duration(s.duration_ns)}</td>
                        </tr>
                    }
                }).collect_view();
                view! {
                    <p class="muted">{format!("{} of {}, newest first", data.spans.len(), format::grouped(data.total as i64))}</p>
                    <table class="grid small"><thead><tr><th scope="col">"Operation"</th><th scope="col">"Start"</th><th scope="col" class="figure">"Duration"</th></tr></thead><tbody>{rows}</tbody></table>
                    {receipt(&data.receipt)}
                }
            })}
            {of_node(&edge.target).map(|callee| view! { <p class="muted callee">"Callee: "{service_link(callee)}</p> })}
        </div>
    }
}
