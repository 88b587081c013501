//! The traces of a window: those of which a span matches, each counted whole. Exact and ordered; never the first that
//! happen to be found.

use std::cmp::Reverse;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use hashbrown::HashSet;
use orrery_api::{TraceSummary, Traces};
use orrery_model::{Identity, Signal};

use crate::asked::Asked;
use crate::http::Caller;
use crate::spans::load::{Selection, Want, in_traces, load};
use crate::spans::{ROOT, SpanSet, Symbol, trace_id_hex};
use crate::time::{rfc3339, timestamp_sql};
use crate::{Engine, QueryError, Window};

const LIMIT: usize = 100;
const MAX_LIMIT: usize = 10_000;

#[derive(Clone, Copy, Debug)]
enum Order {
    Newest,
    Slowest,
    Spans,
    Errors,
}

/// `GET /api/v1/traces`.
pub async fn search(
    State(engine): State<Arc<Engine>>,
    Caller(identity): Caller,
    mut asked: Asked,
) -> Result<Json<Traces>, QueryError> {
    let window = asked.window(engine.clock().now_ns())?;
    let filter = asked.take("filter")?;
    let words =
        [("newest", Order::Newest), ("slowest", Order::Slowest), ("spans", Order::Spans), ("errors", Order::Errors)];
    let order = asked.word("order", &words)?;
    let limit = asked.limit("limit", LIMIT, MAX_LIMIT)?;
    asked.finish()?;
    let work = Arc::clone(&engine);
    engine.run(async move { find(&work, &identity, window, filter.as_deref(), order, limit).await }).await.map(Json)
}

async fn find(
    engine: &Engine,
    identity: &Identity,
    window: Window,
    filter: Option<&str>,
    order: Order,
    limit: usize,
) -> Result<Traces, QueryError> {
    let session = engine.session(identity).await?;
    let inside = window.sql("timestamp");
    let matching = match filter {
        Some(text) => format!("{inside} AND {}", session.filter(Signal::Spans, text).await?.sql()),
        None => inside.clone(),
    };
    let want = Want { semantics: false, names: true };
    let mut spans = SpanSet::default();
    // First the spans that match, then all others of their traces, wherever they are stored.
    load(&session, &mut spans, Selection { condition: &matching, counted: "true", want }).await?;
    let traces: HashSet<u128> = spans.traces.iter().copied().collect();
    let more = async |spans: &mut SpanSet, condition: String| {
        load(&session, spans, Selection { condition: &condition, counted: "false", want }).await
    };
    if !traces.is_empty() {
        let those = in_traces(&traces, &matching);
        if filter.is_some() {
            more(&mut spans, format!("{inside} AND {those}")).await?;
        }
        let before = format!("timestamp < {} AND {those}", timestamp_sql(window.start_ns));
        let after = format!("timestamp >= {} AND {those}", timestamp_sql(window.end_ns));
        more(&mut spans, before).await?;
        more(&mut spans, after).await?;
    }
    let mut all = whole(&spans);
    let total = all.len() as u64;
    // Ties go to the newer trace and then to the smaller id, so that a page is the same each time.
    let key = |t: &Whole| {
        let by = match order {
            Order::Newest => 0,
            Order::Slowest => t.end_ns.saturating_sub(t.start_ns),
            Order::Spans => i64::from(t.spans),
            Order::Errors => i64::from(t.errors),
        };
        (Reverse(by), Reverse(t.start_ns), spans.traces[t.trace])
    };
    all.sort_by_cached_key(key);
    all.truncate(limit);
    let mut receipt = session.receipt();
    receipt.sql = Some(sql(&matching, order, limit));
    Ok(Traces { traces: all.iter().map(|t| summary(&spans, t)).collect(), exact: true, total, receipt })
}

/// The statement that gives the same traces where no span was stored twice.
fn sql(matching: &str, order: Order, limit: usize) -> String {
    let by = match order {
        Order::Newest => "start DESC",
        Order::Slowest => "duration_ns DESC, start DESC",
        Order::Spans => "spans DESC, start DESC",
        Order::Errors => "errors DESC, start DESC",
    };
    format!(
        "SELECT trace_id, min(timestamp) AS start, \
         max(CAST(timestamp AS BIGINT) + greatest(coalesce(duration_ns, 0), 0)) - min(CAST(timestamp AS BIGINT)) AS duration_ns, \
         count(*) AS spans, count(*) FILTER (WHERE status_code = 'ERROR') AS errors FROM spans \
         WHERE trace_id IN (SELECT trace_id FROM spans WHERE {matching}) \
         GROUP BY trace_id ORDER BY {by}, trace_id LIMIT {limit}"
    )
}

/// A trace's numbers.
struct Whole {
    trace: usize,
    start_ns: i64,
    end_ns: i64,
    spans: u32,
    errors: u32,
    /// The earliest span without a parent, else the earliest span.
    root: usize,
    services: Vec<Symbol>,
}

fn whole(spans: &SpanSet) -> Vec<Whole> {
    let lineage = spans.lineage();
    let mut all: Vec<Option<Whole>> = (0..spans.traces.len()).map(|_| None).collect();
    let rank = |i: usize| (lineage.parent[i] != ROOT, spans.start_ns[i], spans.span[i], spans.kind[i]);
    for i in 0..spans.len() {
        let trace = spans.trace[i] as usize;
        let start_ns = spans.start_ns[i];
        let end_ns = start_ns.saturating_add(spans.duration_ns[i].max(0));
        let t = all[trace].get_or_insert_with(|| Whole {
            trace,
            start_ns,
            end_ns,
            spans: 0,
            errors: 0,
            root: i,
            services: Vec::new(),
        });
        t.start_ns = t.start_ns.min(start_ns);
        t.end_ns = t.end_ns.max(end_ns);
        t.spans += 1;
        t.errors += u32::from(spans.error[i]);
        if rank(i) < rank(t.root) {
            t.root = i;
        }
        if !t.services.contains(&spans.service[i]) {
            t.services.push(spans.service[i]);
        }
    }
    all.into_iter().flatten().collect()
}

fn summary(spans: &SpanSet, t: &Whole) -> TraceSummary {
    let mut services: Vec<String> = t.services.iter().map(|&s| spans.words.symbols.text(s).to_owned()).collect();
    services.sort_unstable();
    TraceSummary {
        trace_id: trace_id_hex(spans.traces[t.trace]),
        service_name: spans.words.symbols.text(spans.service[t.root]).to_owned(),
        name: spans.words.symbols.text(spans.name[t.root]).to_owned(),
        start: rfc3339(t.start_ns),
        duration_ns: t.end_ns.saturating_sub(t.start_ns),
        spans: u64::from(t.spans),
        errors: u64::from(t.errors),
        services,
    }
}
