//! One trace by its id, whole: spans from wherever they are stored, as a tree. Asks for no time range.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use datafusion::logical_expr::{col, lit};
use futures::StreamExt;
use hashbrown::{HashMap, HashSet};
use orrery_api::{SpanNode, Trace};
use orrery_model::Identity;
use orrery_storage::{DataFile, RECEIVED};

use crate::asked::Asked;
use crate::columns::Columns;
use crate::http::Caller;
use crate::spans::node::{Nodes, columns};
use crate::spans::received::{self, Part, Place, Places};
use crate::spans::{Kind, parse_span_id};
use crate::time::rfc3339;
use crate::trace_tree::{TreeNode, TreeSpan, build};
use crate::{Engine, QueryError, Session};

/// Spans of one trace that are shown at most.
const MAX_SPANS: usize = 200_000;

/// `GET /api/v1/traces/{id}`.
pub async fn trace(
    State(engine): State<Arc<Engine>>,
    Caller(identity): Caller,
    Path(id): Path<String>,
    asked: Asked,
) -> Result<Json<Trace>, QueryError> {
    asked.finish()?;
    let id = id.to_ascii_lowercase();
    if id.len() != 32 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(QueryError::bad_request(format!("{:?} is no trace id", id.chars().take(80).collect::<String>()))
            .with_hint("a trace id is 32 hexadecimal digits"));
    }
    let work = Arc::clone(&engine);
    engine.run(async move { find(&work, &identity, id).await }).await.map(Json)
}

async fn find(engine: &Engine, identity: &Identity, id: String) -> Result<Trace, QueryError> {
    let session = engine.session(identity).await?;
    let Found { tree: tree_spans, spans: mut nodes, partial, .. } = read_ordered(&session, &id).await?;
    if nodes.is_empty() {
        return Err(QueryError::not_found(format!("no span of trace {id} is stored")).with_hint(
            "spans are visible as soon as they are acknowledged; is the exporter still sending, or did it fail?",
        ));
    }
    let logs = log_counts(&session, &id).await?;
    let tree = build(&tree_spans);
    let spans = tree.nodes.iter().map(|n| placed(n, &mut nodes, tree.start_ns, &logs)).collect::<Vec<SpanNode>>();
    let mut services: Vec<String> = spans.iter().map(|s| s.service_name.clone()).collect();
    services.sort_unstable();
    services.dedup();
    let mut receipt = session.receipt();
    receipt.sql = Some(format!("SELECT * FROM spans WHERE trace_id = '{id}' ORDER BY timestamp"));
    receipt.copies = tree.copies;
    receipt.partial = partial;
    Ok(Trace {
        trace_id: id,
        start: rfc3339(tree.start_ns),
        duration_ns: tree.end_ns.saturating_sub(tree.start_ns),
        services,
        errors: spans.iter().filter(|s| s.status_code == "ERROR").count() as u64,
        completeness: tree.completeness,
        logs: logs.values().sum(),
        spans,
        receipt,
    })
}

/// The trace's spans for the tree and, at the same places, for the answer.
#[derive(Default)]
struct Found {
    tree: Vec<TreeSpan>,
    spans: Vec<SpanNode>,
    /// Of the spans of the part that is being read, where it is of files.
    places: Vec<Place>,
    partial: Option<String>,
    services: HashMap<String, u32>,
}

/// All spans of the trace; where copies of one differ, in the order they were received.
async fn read_ordered(session: &Session, id: &str) -> Result<Found, QueryError> {
    let mut found = Found::default();
    read(session, "spans", id, &mut found, None).await?;
    if !copies_differ(&found.spans) {
        return Ok(found);
    }
    let mut found = Found::default();
    for part in received::parts(session, &HashSet::from([id.to_owned()])).await? {
        match part {
            Part::Files(files) => {
                let start = found.spans.len();
                for file in files {
                    received::register_file(session, &file)?;
                    read(session, received::PART, id, &mut found, Some(&file)).await?;
                }
                found.sort_from(start);
            }
            Part::Memory(batch) => {
                received::register_batch(session, batch)?;
                read(session, received::PART, id, &mut found, None).await?;
            }
        }
    }
    Ok(found)
}

impl Found {
    /// Puts the spans of one part, all since `start`, in the order of their places, in which each came with one.
    fn sort_from(&mut self, start: usize) {
        let places = std::mem::take(&mut self.places);
        let tree = self.tree.split_off(start).into_iter();
        let spans = self.spans.split_off(start).into_iter();
        let mut all: Vec<_> = places.into_iter().zip(tree.zip(spans)).collect();
        // Rows of one place keep the order in which the file has them.
        all.sort_by(|a, b| a.0.cmp(&b.0));
        for (_, (tree, span)) in all {
            self.tree.push(tree);
            self.spans.push(span);
        }
    }
}

fn copies_differ(spans: &[SpanNode]) -> bool {
    let mut first: HashMap<(&str, &str), &SpanNode> = HashMap::new();
    spans.iter().any(|span| *first.entry((&span.span_id, &span.kind)).or_insert(span) != span)
}

/// Adds the trace's spans in a table; of a `file` with their places.
async fn read(
    session: &Session,
    table: &'static str,
    id: &str,
    found: &mut Found,
    file: Option<&DataFile>,
) -> Result<(), QueryError> {
    let columns = columns().chain(file.map(|_| RECEIVED.to_owned())).collect();
    let mut stream = session.rows(table, columns, col("trace_id").eq(lit(id))).await?;
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        let nodes = Nodes::of(Columns(&batch))?;
        let places = file.map(|file| Places::of(Columns(&batch), file)).transpose()?;
        for i in 0..batch.num_rows() {
            if found.spans.len() == MAX_SPANS {
                found.partial = Some(format!("the trace has more than {MAX_SPANS} spans; any {MAX_SPANS} of them"));
                return Ok(());
            }
            let next = found.services.len() as u32;
            let service = *found.services.entry(nodes.service_id(i)).or_insert(next);
            found.tree.push(TreeSpan {
                span: parse_span_id(nodes.span_id(i)).unwrap_or(0),
                parent: parse_span_id(nodes.parent_span_id(i)).unwrap_or(0),
                kind: Kind::from_word(nodes.kind(i)),
                service,
                start_ns: nodes.start_ns(i),
                duration_ns: nodes.duration_ns(i),
            });
            found.spans.push(nodes.node(i, 0)?);
            found.places.extend(places.as_ref().map(|places| places.get(i)));
        }
    }
    Ok(())
}

/// Log records of the trace by span id; those without one under the empty one.
async fn log_counts(session: &Session, id: &str) -> Result<HashMap<String, u64>, QueryError> {
    let mut counts = HashMap::new();
    let mut stream = session.rows("logs", vec!["span_id".to_owned()], col("trace_id").eq(lit(id))).await?;
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        let spans = Columns(&batch).text("span_id")?;
        for i in 0..batch.num_rows() {
            *counts.entry_ref(spans.or_empty(i)).or_default() += 1;
        }
    }
    Ok(counts)
}

/// A span with its place in the tree; taken out of `nodes`, since a tree holds each once.
fn placed(at: &TreeNode, nodes: &mut [SpanNode], origin_ns: i64, logs: &HashMap<String, u64>) -> SpanNode {
    let empty = SpanNode { attributes: Vec::new(), ..SpanNode::default() };
    let mut node = std::mem::replace(&mut nodes[at.span], empty);
    // Offsets were read from zero.
    node.offset_ns = node.offset_ns.saturating_sub(origin_ns);
    for event in &mut node.events {
        event.offset_ns = event.offset_ns.saturating_sub(origin_ns);
    }
    node.logs = logs.get(&node.span_id).copied().unwrap_or(0);
    SpanNode {
        depth: at.depth,
        subtree: at.subtree,
        self_ns: at.self_ns,
        critical: !at.critical.is_empty(),
        critical_parts: at.critical.iter().map(|&(start, duration)| (start - origin_ns, duration)).collect(),
        missing_parent: at.missing_parent,
        clock_skew: at.clock_skew,
        ..node
    }
}
