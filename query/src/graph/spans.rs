//! The very spans that one edge counts: the same reading and the same classification as the graph, then the rows.

use std::cmp::Reverse;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use futures::StreamExt;
use hashbrown::{HashMap, HashSet};
use orrery_api::{EdgeSpans, SpanNode};
use orrery_model::Identity;

use super::aggregate::{edge_id, is_edge_id};
use super::classify::Class;
use super::counted::Counted;
use crate::asked::Asked;
use crate::columns::Columns;
use crate::http::Caller;
use crate::spans::load::{MAX_NAMED_TRACES, in_traces};
use crate::spans::node::{Nodes, columns};
use crate::spans::{Kind, SpanKey, parse_span_id, parse_trace_id, span_id_hex, trace_id_hex};
use crate::time::timestamp_sql;
use crate::{Engine, QueryError, Session, Window};

const LIMIT: usize = 1_000;
const MAX_LIMIT: usize = 100_000;
/// Up to this many spans the receipt names them one by one.
const MAX_NAMED: usize = 200;

/// `GET /api/v1/service-graph/spans`.
pub async fn edge_spans(
    State(engine): State<Arc<Engine>>,
    Caller(identity): Caller,
    mut asked: Asked,
) -> Result<Json<EdgeSpans>, QueryError> {
    let window = asked.window(engine.clock().now_ns())?;
    let filter = asked.take("filter")?;
    let edge = asked.take("edge")?;
    let limit = asked.limit("limit", LIMIT, MAX_LIMIT)?;
    asked.finish()?;
    let hint = "edge is the id of an edge as service-graph gives it";
    let Some(edge) = edge else { return Err(QueryError::bad_request("edge is missing").with_hint(hint)) };
    if !is_edge_id(&edge) {
        return Err(QueryError::bad_request(format!(
            "edge: {:?} is no edge id",
            edge.chars().take(80).collect::<String>()
        ))
        .with_hint(hint));
    }
    let work = Arc::clone(&engine);
    engine.run(async move { find(&work, &identity, window, filter.as_deref(), edge, limit).await }).await.map(Json)
}

async fn find(
    engine: &Engine,
    identity: &Identity,
    window: Window,
    filter: Option<&str>,
    edge: String,
    limit: usize,
) -> Result<EdgeSpans, QueryError> {
    let session = engine.session(identity).await?;
    let Counted { prepared, .. } = Counted::of(&session, window, filter, false, engine.clock().now_ns()).await?;
    let classifier = prepared.classifier();
    let s = &prepared.spans;
    let mut ids: HashMap<super::classify::EdgeKey, bool> = HashMap::new();
    let mut found: Vec<usize> = (0..s.len())
        .filter(|&i| s.counted[i])
        .filter(|&i| match classifier.classify(i, &prepared.known) {
            Class::Counted { edge: key, .. } => *ids.entry(key).or_insert_with(|| edge_id(&s.symbols, &key) == edge),
            _ => false,
        })
        .collect();
    let total = found.len() as u64;
    found.sort_unstable_by_key(|&i| (Reverse(s.start_ns[i]), s.trace_id(i), s.span[i], s.kind[i]));
    found.truncate(limit);
    let keys: Vec<SpanKey> = found.iter().map(|&i| (s.trace_id(i), s.span[i], s.kind[i])).collect();
    let times: Vec<(i64, i64)> = found.iter().map(|&i| (s.start_ns[i], s.duration_ns[i])).collect();
    let copies = s.copies;
    drop(classifier);
    drop(prepared);
    let spans = read(&session, &keys, &times).await?;
    let mut receipt = session.receipt();
    receipt.copies = copies;
    receipt.sql = (keys.len() <= MAX_NAMED && !keys.is_empty()).then(|| sql(&keys));
    if total > spans.len() as u64 {
        receipt.partial = Some(format!("the newest {} of {total} spans", spans.len()));
    }
    Ok(EdgeSpans { edge, total, spans, receipt })
}

fn sql(keys: &[SpanKey]) -> String {
    let list = |mut texts: Vec<String>| {
        texts.sort_unstable();
        texts.dedup();
        texts.join(", ")
    };
    format!(
        "SELECT * FROM spans WHERE trace_id IN ({}) AND span_id IN ({}) AND kind IN ({}) ORDER BY timestamp DESC",
        list(keys.iter().map(|k| format!("'{}'", trace_id_hex(k.0))).collect()),
        list(keys.iter().map(|k| format!("'{}'", span_id_hex(k.1))).collect()),
        list(keys.iter().map(|k| format!("'{}'", k.2.word())).collect()),
    )
}

/// The rows of the spans, in the order of the keys.
async fn read(session: &Session, keys: &[SpanKey], times: &[(i64, i64)]) -> Result<Vec<SpanNode>, QueryError> {
    let (Some(first), Some(last)) = (times.iter().map(|t| t.0).min(), times.iter().map(|t| t.0).max()) else {
        return Ok(Vec::new());
    };
    let within = format!("timestamp >= {} AND timestamp <= {}", timestamp_sql(first), timestamp_sql(last));
    let traces: HashSet<u128> = keys.iter().map(|k| k.0).collect();
    let those = if traces.len() > MAX_NAMED_TRACES { "true".to_owned() } else { in_traces(&traces, "") };
    let query = format!("SELECT {} FROM spans WHERE {within} AND {those}", columns());
    let mut places: HashMap<SpanKey, usize> = keys.iter().enumerate().map(|(at, key)| (*key, at)).collect();
    let mut spans: Vec<Option<SpanNode>> = keys.iter().map(|_| None).collect();
    let mut stream = session.sql(&query).await?;
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        let nodes = Nodes::of(Columns(&batch))?;
        for i in 0..batch.num_rows() {
            let ids = parse_trace_id(nodes.trace_id(i)).zip(parse_span_id(nodes.span_id(i)));
            let Some((trace, span)) = ids else { continue };
            let key = (trace, span, Kind::from_word(nodes.kind(i)));
            // Of copies the one that was counted: it has the same times.
            if let Some(&at) = places.get(&key).filter(|&&at| times[at] == (nodes.start_ns(i), nodes.duration_ns(i))) {
                places.remove(&key);
                spans[at] = Some(nodes.node(i, nodes.start_ns(i))?);
            }
        }
    }
    Ok(spans.into_iter().flatten().collect())
}
