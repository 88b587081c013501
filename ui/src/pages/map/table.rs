//! The map's twin: its edges as a table, by keyboard and for those who do not see the canvas.

use leptos::prelude::*;
use orrery_api::Edge;

use super::{Shared, choose, node_name};
use crate::context::use_app;
use crate::format;
use crate::map_view::{Hit, by_id};
use crate::parts::alert::service_badge;
use crate::parts::icon::{Icon, icon};
use crate::parts::service::of_node;
use crate::parts::sort::{self, Header};

#[component]
pub fn Table(shared: Shared) -> impl IntoView {
    let app = use_app();
    let sort = sort::current(app, "-calls");
    let window = app.window.get_untracked().length();
    let rows = move || {
        shared.graph.with_value(|g| {
            let names = by_id(g);
            let name = |id: &str| match (of_node(id), names.get(id)) {
                (Some(service), _) => service.to_owned(),
                (None, Some(node)) => node.name.clone(),
                (None, None) => id.to_owned(),
            };
            let (shown, near) = (shared.shown.get(), shared.near.get());
            let chosen_edge = matches!(shared.chosen.get(), Some(Hit::Edge(_)));
            let stays = |e: &&Edge| {
                let focused =
                    chosen_edge || near.as_ref().is_none_or(|n| n.contains(&e.source) || n.contains(&e.target));
                focused && shown.contains(&e.source) && shown.contains(&e.target)
            };
            let mut edges: Vec<(String, String, Edge)> =
                g.edges.iter().filter(stays).map(|e| (name(&e.source), name(&e.target), e.clone())).collect();
            sort.with(|(by, down)| {
                edges.sort_by(|a, b| {
                    let order = match by.as_str() {
                        "source" => a.0.cmp(&b.0),
                        "target" => a.1.cmp(&b.1),
                        "errors" => (a.2.errors * b.2.calls.max(1)).cmp(&(b.2.errors * a.2.calls.max(1))),
                        "p50" => a.2.p50_ns.cmp(&b.2.p50_ns),
                        "p95" => a.2.p95_ns.cmp(&b.2.p95_ns),
                        "p99" => a.2.p99_ns.cmp(&b.2.p99_ns),
                        _ => a.2.calls.cmp(&b.2.calls),
                    };
                    if *down { order.reverse() } else { order }
                });
            });
            edges
        })
    };
    view! {
        <div class="table-wrap map-table">
            <table class="grid">
                <thead><tr>
                    <Header sort column="source" title="From"/><Header sort column="target" title="To"/><th scope="col">"Kind"</th>
                    <Header sort column="calls" title="Calls" figure=true/><th scope="col" class="figure">"Rate"</th><Header sort column="errors" title="Errors" figure=true/>
                    <Header sort column="p50" title="p50" figure=true/><Header sort column="p95" title="p95" figure=true/><Header sort column="p99" title="p99" figure=true/>
                </tr></thead>
                <tbody>{move || rows().into_iter().map(|(from, to, e)| {
                    let hit = Hit::Edge(e.id.clone());
                    let (chosen, mine) = (shared.chosen, hit.clone());
                    view! {
                        <tr class:chosen=move || chosen.with(|c| c.as_ref() == Some(&mine))>
                            <th scope="row"><button type="button" class="link" title=from on:click=move |_| choose(app, Some(&hit))>{named(shared, &e.source)}</button>{badge(&e.source)}</th>
                            <td class="wide-cell" title=to>{named(shared, &e.target)}{badge(&e.target)}</td>
                            <td class="muted">{format!("{:?}", e.kind).to_lowercase()}</td>
                            <td class="figure" title=format::grouped(e.calls as i64)>{format::count(e.calls)}</td>
                            <td class="figure">{format::rate(e.calls, window)}</td>
                            <td class="figure" class:error-text=e.errors != 0 class:faint=e.errors == 0>{(e.errors > 0).then(|| icon(Icon::Error))}{format::error_share(e.errors, e.calls)}</td>
                            <td class="figure">{format::duration(e.p50_ns)}</td>
                            <td class="figure">{format::duration(e.p95_ns)}</td>
                            <td class="figure">{format::duration(e.p99_ns)}</td>
                        </tr>
                    }
                }).collect_view()}</tbody>
            </table>
        </div>
    }
}

/// What fires for a node that is a service.
fn badge(id: &str) -> impl IntoView + use<> {
    of_node(id).map(service_badge)
}

fn named(shared: Shared, id: &str) -> Option<AnyView> {
    shared.graph.with_value(|g| by_id(g).get(id).map(|n| node_name(n)))
}
