//! `/map`: who calls whom over the window. A canvas, its table twin, and a panel for the chosen node or edge.

mod canvas;
mod compare;
mod panel;
mod table;

use std::collections::HashSet;
use std::sync::Arc;

use leptos::prelude::*;
use orrery_api::{Node, ServiceGraph};

use crate::context::{Context, use_app};
use crate::fetch::{Fetched, fetch};
use crate::format;
use crate::map_compare::{self, Difference};
use crate::map_view::{self, Hit, neighbourhood};
use crate::parts::filter_bar::FilterBar;
use crate::parts::icon::{Icon, icon};
use crate::parts::receipt::receipt;
use crate::parts::service::{of_node, service_text};
use crate::parts::state::{NothingHere, answer};

/// What the parts of the page share.
#[derive(Clone, Copy)]
pub struct Shared {
    pub graph: StoredValue<Arc<ServiceGraph>>,
    pub chosen: Memo<Option<Hit>>,
    /// Ids of the nodes that are drawn.
    pub shown: Memo<Arc<HashSet<String>>>,
    /// Ids of the nodes that stand out; the rest are dimmed. `None` where nothing is chosen or sought.
    pub near: Memo<Option<Arc<HashSet<String>>>>,
    pub figure: Memo<Figure>,
    /// What is not as it was, while an earlier window is compared with.
    pub differences: Memo<Option<Arc<Vec<Difference>>>>,
}

/// What an edge's label says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    Rate,
    Errors,
    P50,
    P95,
}

const FIGURES: [(&str, &str, Figure); 4] = [
    ("rate", "Rate", Figure::Rate),
    ("errors", "Errors", Figure::Errors),
    ("p50", "p50", Figure::P50),
    ("p95", "p95", Figure::P95),
];

pub fn choose(app: Context, hit: Option<&Hit>) {
    match hit {
        Some(Hit::Node(id)) => app.replace(&[("node", Some(id)), ("edge", None)]),
        Some(Hit::Edge(id)) => app.replace(&[("edge", Some(id)), ("node", None)]),
        None => app.replace(&[("node", None), ("edge", None), ("hops", None)]),
    }
}

pub fn kind_icon(node: &Node) -> Icon {
    use orrery_api::NodeKind;
    match node.kind {
        NodeKind::Service => Icon::Services,
        NodeKind::Database => Icon::Database,
        NodeKind::Messaging => Icon::Queue,
        NodeKind::External => Icon::External,
        NodeKind::User => Icon::User,
    }
}

/// A node's name as lists show it.
pub fn node_name(node: &Node) -> AnyView {
    match of_node(&node.id) {
        Some(service) => service_text(service).into_any(),
        None => view! { <span class="clip">{node.name.clone()}</span> }.into_any(),
    }
}

#[component]
pub fn Map() -> impl IntoView {
    let app = use_app();
    let filter = app.param("filter");
    let find = app.param("find");
    let hide = app.param("hide");
    let graph = fetch::<ServiceGraph>(move || Some(app.ask(filter.get()).href("/api/v1/service-graph")));
    let earlier = compare::fetch_earlier(app);
    let view_param = app.param("view");
    let as_table = Memo::new(move |_| view_param.get().as_deref() == Some("table"));
    let by = app.param("by");
    let figure = Memo::new(move |_| {
        let by = by.get().unwrap_or_default();
        FIGURES.iter().find(|(value, ..)| *value == by).map_or(Figure::Rate, |(.., figure)| *figure)
    });
    let filtered = Signal::derive(move || {
        filter.get().is_some() || app.environment.get().is_some() || app.namespace.get().is_some()
    });
    let field = move |name: &'static str, label: &'static str, value: Memo<Option<String>>| {
        view! {
            <input class="search" type="search" aria-label=label placeholder=label prop:value=move || value.get().unwrap_or_default()
                on:input=move |event| app.replace(&[(name, Some(&event_target_value(&event)))])/>
        }
    };
    view! {
        <div class="map-page">
            <header class="page-head row">
                <h1>"Map"</h1>
                {move || graph.data.get().map(|g| completeness(&g))}
                <span class="grow"></span>
                {field("find", "Find", find)}
                {field("hide", "Hide", hide)}
                <compare::Choice/>
                <div class="segments" role="group" aria-label="Label of the edges">
                    {FIGURES.into_iter().map(|(value, title, which)| view! {
                        <button type="button" aria-pressed=move || (figure.get() == which).to_string() on:click=move |_| app.replace(&[("by", (value != "rate").then_some(value))])>{title}</button>
                    }).collect_view()}
                </div>
                <div class="segments" role="group" aria-label="View">
                    <button type="button" aria-pressed=move || (!as_table.get()).to_string() on:click=move |_| app.set(&[("view", None)])>{icon(Icon::Map)}"Map"</button>
                    <button type="button" aria-pressed=move || as_table.get().to_string() on:click=move |_| app.set(&[("view", Some("table"))])>{icon(Icon::Table)}"Table"</button>
                </div>
            </header>
            <FilterBar table="spans" placeholder="deployment_environment = 'prod'  —  counts only the spans that match"/>
            {answer(graph, move |data| {
                let cost = data.receipt.clone();
                if data.nodes.is_empty() {
                    return view! { <NothingHere table="spans" filtered/> {receipt(&cost)} }.into_any();
                }
                let shared = share(app, data, find, hide, figure, earlier);
                view! {
                    <div class="map-area">
                        {move || if as_table.get() { view! { <table::Table shared/> }.into_any() } else { view! { <canvas::Canvas shared/> }.into_any() }}
                        {move || match shared.chosen.get() {
                            Some(hit) => Some(view! { <panel::Panel shared hit/> }.into_any()),
                            None => compare::panel(shared, earlier),
                        }}
                    </div>
                    {receipt(&cost)}
                }.into_any()
            })}
        </div>
    }
}

fn share(
    app: Context,
    data: Arc<ServiceGraph>,
    find: Memo<Option<String>>,
    hide: Memo<Option<String>>,
    figure: Memo<Figure>,
    earlier: Fetched<ServiceGraph>,
) -> Shared {
    let size = |side: Result<wasm_bindgen::JsValue, _>| side.ok().and_then(|s| s.as_f64()).unwrap_or(0.0);
    let mut spread = ServiceGraph::clone(&data);
    // What the rail and the bars leave of the browser's window.
    map_view::fill(&mut spread, size(window().inner_width()) - 130.0, size(window().inner_height()) - 230.0);
    let graph = StoredValue::new(Arc::new(spread));
    let (node, edge, hops) = (app.param("node"), app.param("edge"), app.param("hops"));
    let chosen = Memo::new(move |_| {
        graph.with_value(|g| {
            let edge = edge.get().filter(|id| g.edges.iter().any(|e| e.id == *id)).map(Hit::Edge);
            edge.or_else(|| node.get().filter(|id| g.nodes.iter().any(|n| n.id == *id)).map(Hit::Node))
        })
    });
    let shown = Memo::new(move |_| {
        let hidden = hide.get().unwrap_or_default().to_lowercase();
        let stays = |n: &&Node| hidden.is_empty() || !n.name.to_lowercase().contains(&hidden);
        graph.with_value(|g| Arc::new(g.nodes.iter().filter(stays).map(|n| n.id.clone()).collect()))
    });
    let near = Memo::new(move |_| {
        let hops = hops.get().and_then(|h| h.parse().ok()).unwrap_or(1_usize);
        let sought = find.get().unwrap_or_default().to_lowercase();
        graph.with_value(|g| match chosen.get() {
            Some(Hit::Node(id)) => Some(Arc::new(neighbourhood(&g.edges, &id, hops))),
            Some(Hit::Edge(id)) => {
                let edge = g.edges.iter().find(|e| e.id == id);
                edge.map(|e| Arc::new(HashSet::from([e.source.clone(), e.target.clone()])))
            }
            None if !sought.is_empty() => {
                let found = g.nodes.iter().filter(|n| n.name.to_lowercase().contains(&sought));
                Some(Arc::new(found.map(|n| n.id.clone()).collect()))
            }
            None => None,
        })
    });
    let differences = Memo::new(move |_| {
        let before = earlier.data.get()?;
        Some(Arc::new(graph.with_value(|g| map_compare::compare(&before, g))))
    });
    Shared { graph, chosen, shown, near, figure, differences }
}

/// How much of the traces the map rests on.
fn completeness(graph: &ServiceGraph) -> impl IntoView + use<> {
    let whole = graph.completeness >= 0.995;
    view! {
        <span class="badge" class:warn=!whole title="The share of spans with a parent whose parent was seen. Where it is low, edges are missing: a service does not send, or drops its context.">
            {(!whole).then(|| icon(Icon::Warning))}{format!("{} complete", format::share(graph.completeness))}
        </span>
        {(graph.pending > 0).then(|| view! { <span class="badge" title="Calls younger than 30 seconds that have no answer yet">{format!("{} pending", format::count(graph.pending))}</span> })}
        <span class="count">{format!("{} nodes, {} edges", graph.nodes.len(), graph.edges.len())}</span>
    }
}
