//! The very spans that one edge counts: the same reading and the same classification as the graph, then the rows.

use std::cmp::Reverse;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use futures::StreamExt;
use hashbrown::{HashMap, HashSet};
use orrery_api::{EdgeKind, EdgeSpans, SpanNode};
use orrery_model::Identity;

use super::aggregate::{edge_id, is_edge_id, kind_word};
use super::classify::{Flow, Found};
use super::counted::Counted;
use super::prepare::Prepared;
use super::sums::Sums;
use crate::asked::Asked;
use crate::columns::Columns;
use crate::http::Caller;
use crate::records::select_list;
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
    let behind = Behind { edge, limit, flows: HashMap::new() };
    let counted = Counted::of(&session, window, filter, false, engine.clock().now_ns(), behind).await?;
    let (found, total) = found(&counted);
    let copies = counted.copies();
    let edge = counted.sums.edge;
    let spans = read(&session, &found).await?;
    let mut receipt = session.receipt();
    receipt.copies = copies;
    let keys: Vec<SpanKey> = found.iter().map(|behind| behind.key).collect();
    receipt.sql = (keys.len() <= MAX_NAMED && !keys.is_empty()).then(|| sql(&keys));
    if total > spans.len() as u64 {
        receipt.partial = Some(format!("the newest {} of {total} spans", spans.len()));
    }
    Ok(EdgeSpans { edge, total, spans, receipt })
}

/// A span that may be behind the edge, the newest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct SpanBehind {
    start_ns: Reverse<i64>,
    key: SpanKey,
    duration_ns: i64,
}

/// The newest spans of the flows that may be an edge: of a peer's, which edge they are is said when all are counted.
struct Behind {
    edge: String,
    limit: usize,
    /// `None` where a flow is another edge for sure.
    flows: HashMap<Flow, Option<Newest>>,
}

#[derive(Default)]
struct Newest {
    total: u64,
    /// Up to twice as many as are wanted.
    spans: Vec<SpanBehind>,
}

impl Newest {
    fn add(&mut self, span: SpanBehind, limit: usize) {
        self.total += 1;
        self.spans.push(span);
        if self.spans.len() >= limit.saturating_mul(2).max(2) {
            self.spans.select_nth_unstable(limit.saturating_sub(1));
            self.spans.truncate(limit);
        }
    }
}

impl Sums for Behind {
    fn add(&mut self, prepared: &Prepared) {
        let (s, classifier) = (&prepared.spans, prepared.classifier());
        let Self { edge, limit, flows } = self;
        let is_kind = |kind| edge.starts_with(kind_word(kind));
        let of = |flow: &Flow| {
            let may_be = match flow {
                Flow::Edge(key) => edge_id(s.symbols(), key) == *edge,
                Flow::Peer(_) => is_kind(EdgeKind::Call) || is_kind(EdgeKind::External),
                Flow::Caller(_) => is_kind(EdgeKind::Entry),
            };
            may_be.then(Newest::default)
        };
        for i in (0..s.len()).filter(|&i| s.counted[i]) {
            let Found::Flow(flow, _) = classifier.flow(i) else { continue };
            if let Some(newest) = flows.entry(flow).or_insert_with_key(of) {
                let key = (s.trace_id(i), s.span[i], s.kind[i]);
                newest.add(SpanBehind { start_ns: Reverse(s.start_ns[i]), key, duration_ns: s.duration_ns[i] }, *limit);
            }
        }
    }

    fn flows(&self) -> impl Iterator<Item = Flow> {
        self.flows.keys().copied()
    }
}

/// The newest spans behind the edge, and how many there are.
fn found(counted: &Counted<Behind>) -> (Vec<SpanBehind>, u64) {
    let Behind { edge, limit, flows } = &counted.sums;
    let symbols = &counted.whole.words.symbols;
    let (mut found, mut total) = (Vec::new(), 0);
    for (flow, newest) in flows.iter().filter_map(|(flow, newest)| Some((flow, newest.as_ref()?))) {
        if counted.resolve(*flow).is_some_and(|(key, _)| edge_id(symbols, &key) == *edge) {
            found.extend_from_slice(&newest.spans);
            total += newest.total;
        }
    }
    found.sort_unstable();
    found.truncate(*limit);
    (found, total)
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

/// The rows of the spans, in their order.
async fn read(session: &Session, found: &[SpanBehind]) -> Result<Vec<SpanNode>, QueryError> {
    let times = || found.iter().map(|span| span.start_ns.0);
    let (Some(first), Some(last)) = (times().min(), times().max()) else {
        return Ok(Vec::new());
    };
    let within = format!("timestamp >= {} AND timestamp <= {}", timestamp_sql(first), timestamp_sql(last));
    let traces: HashSet<u128> = found.iter().map(|span| span.key.0).collect();
    let those = if traces.len() > MAX_NAMED_TRACES { "true".to_owned() } else { in_traces(&traces, "") };
    let query = format!("SELECT {} FROM spans WHERE {within} AND {those}", select_list(columns()));
    let mut places: HashMap<SpanKey, usize> = found.iter().enumerate().map(|(at, span)| (span.key, at)).collect();
    let mut spans: Vec<Option<SpanNode>> = found.iter().map(|_| None).collect();
    let mut stream = session.sql(&query).await?;
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        let nodes = Nodes::of(Columns(&batch))?;
        for i in 0..batch.num_rows() {
            let ids = parse_trace_id(nodes.trace_id(i)).zip(parse_span_id(nodes.span_id(i)));
            let Some((trace, span)) = ids else { continue };
            let key = (trace, span, Kind::from_word(nodes.kind(i)));
            // Of copies the one that was counted: it has the same times.
            let times = (Reverse(nodes.start_ns(i)), nodes.duration_ns(i));
            if let Some(&at) = places.get(&key).filter(|&&at| (found[at].start_ns, found[at].duration_ns) == times) {
                places.remove(&key);
                spans[at] = Some(nodes.node(i, nodes.start_ns(i))?);
            }
        }
    }
    Ok(spans.into_iter().flatten().collect())
}
