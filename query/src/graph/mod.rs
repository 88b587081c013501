//! The service graph over a window and a filter, and the spans behind each edge. Computed from stored spans, and for whole
//! minutes without a filter from what was counted of them beforehand, where that holds: both give the same numbers.

pub(crate) mod aggregate;
pub(crate) mod classify;
pub(crate) mod counted;
mod far;
pub(crate) mod known;
mod layout;
mod learn;
pub(crate) mod prepare;
pub(crate) mod scope;
mod spans;
pub(crate) mod sums;
pub(crate) mod totals;

pub use spans::edge_spans;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use orrery_api::ServiceGraph;
use orrery_model::Identity;

use self::counted::Counted;
use self::sums::Flows;
use crate::asked::Asked;
use crate::http::Caller;
use crate::{Engine, QueryError, Window};

/// Edges that an answer holds at most: those with the most calls, and the answer says so.
const MAX_EDGES: usize = 20_000;
/// The words of the parameter `rollups`: whether what was counted beforehand is used where it holds.
pub(crate) const USE_ROLLUPS: [(&str, bool); 2] = [("use", true), ("ignore", false)];

/// `GET /api/v1/service-graph`.
pub async fn service_graph(
    State(engine): State<Arc<Engine>>,
    Caller(identity): Caller,
    mut asked: Asked,
) -> Result<Json<ServiceGraph>, QueryError> {
    let window = asked.window(engine.clock().now_ns())?;
    let filter = asked.take("filter")?;
    let rollups = asked.word("rollups", &USE_ROLLUPS)?;
    asked.finish()?;
    let work = Arc::clone(&engine);
    engine.run(async move { graph(&work, &identity, window, filter.as_deref(), rollups).await }).await.map(Json)
}

async fn graph(
    engine: &Engine,
    identity: &Identity,
    window: Window,
    filter: Option<&str>,
    rollups: bool,
) -> Result<ServiceGraph, QueryError> {
    let session = engine.session(identity).await?;
    let now_ns = engine.clock().now_ns();
    let counted = Counted::of(&session, window, filter, rollups, now_ns, Flows::default()).await?;
    let mut found = counted.aggregate().finish(&counted.whole.words.symbols);
    let mut receipt = session.receipt();
    receipt.copies = counted.copies();
    receipt.minutes = Some(counted.minutes());
    if found.edges.len() > MAX_EDGES {
        receipt.partial = Some(format!("the {MAX_EDGES} edges with the most calls of {}", found.edges.len()));
        found.edges.sort_by_key(|e| std::cmp::Reverse(e.calls));
        found.edges.truncate(MAX_EDGES);
        found.edges.sort_by(|a, b| (&a.source, &a.target, a.kind).cmp(&(&b.source, &b.target, b.kind)));
        let ends: hashbrown::HashSet<&str> = found.edges.iter().flat_map(|e| [e.source.as_str(), &e.target]).collect();
        found.nodes.retain(|n| ends.contains(n.id.as_str()));
    }
    layout::layout(&mut found.nodes, &found.edges);
    receipt.elapsed_ms = session.receipt().elapsed_ms;
    let aggregate::Aggregated { nodes, edges, completeness, pending } = found;
    Ok(ServiceGraph { nodes, edges, completeness, pending, receipt })
}
