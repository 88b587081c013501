//! The traces of a window: those of which a span matches, each counted whole. Ordered; never the first that happen to be
//! found. Of more traces than can be named one by one, the order but by time is that of the spans around the window.

use std::cmp::Reverse;
use std::ops::Range;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use futures::StreamExt;
use orrery_api::{TraceSummary, Traces};
use orrery_model::{Identity, Signal};

use crate::asked::Asked;
use crate::columns::Columns;
use crate::http::Caller;
use crate::spans::gather::{Held, SPANS_A_LOOK, in_parts};
use crate::spans::lineage::REACH_NS;
use crate::spans::load::{MAX_NAMED_TRACES, Selection, Want, in_traces, load};
use crate::spans::{ROOT, SpanSet, Symbol, ranges, trace_id_hex, trace_runs};
use crate::table::Reads;
use crate::time::rfc3339;
use crate::{Engine, QueryError, Session, Window};

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
        None => inside,
    };
    let held = Held::of(&session);
    let matched = Matched::find(&session, &matching, &held).await?;
    let total = matched.0.len();
    let mut best = Best { order, limit, traces: Vec::new() };
    let mut partial = None;
    let named = session.spans_at_once().map_or(MAX_NAMED_TRACES, |spans| spans.min(MAX_NAMED_TRACES));
    match order {
        Order::Newest => {
            // A trace starts no later than the first of its spans that match.
            let all = matched.newest();
            let (mut left, mut at_once) = (&all[..], limit + limit / 4);
            while !left.is_empty() && best.may_be_beaten_at(left[0].start_ns) {
                let (first, rest) = left.split_at(left.len().min(at_once).min(named));
                best.add_whole(&session, first).await?;
                // Where the window lies within long traces, many are looked at.
                (left, at_once) = (rest, 2 * at_once);
            }
        }
        _ if total <= named => best.add_whole(&session, &matched.0).await?,
        _ => {
            drop(matched);
            held.resize(0)?;
            let around = Window {
                start_ns: window.start_ns.saturating_sub(REACH_NS),
                end_ns: window.end_ns.saturating_add(REACH_NS),
            };
            let found = rank(&session, around, &matching, &best).await?;
            for traces in found.chunks(named) {
                best.add_whole(&session, traces).await?;
            }
            let is_outside = |first_ns: i64, last_ns: i64| first_ns < around.start_ns || last_ns >= around.end_ns;
            let table = session.snapshot().table(Signal::Spans);
            if table.files.iter().any(|f| is_outside(f.min_timestamp_ns, f.max_timestamp_ns))
                || table.memory.iter().any(|b| is_outside(b.min_timestamp_ns, b.max_timestamp_ns))
            {
                partial = Some(format!(
                    "the order is by what spans within {} s of the window say; the numbers are of whole traces",
                    REACH_NS / 1_000_000_000
                ));
            }
        }
    }
    let mut receipt = session.receipt();
    receipt.sql = Some(sql(&matching, order, limit));
    let exact = partial.is_none();
    receipt.partial = partial;
    Ok(Traces { traces: best.traces.into_iter().map(|t| t.summary).collect(), exact, total: total as u64, receipt })
}

/// A trace and its first span that matches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Match {
    trace: u128,
    start_ns: i64,
}

/// The traces of which a span matches, each once.
struct Matched(Vec<Match>);

impl Matched {
    async fn find(session: &Session, matching: &str, held: &Held) -> Result<Self, QueryError> {
        let query = format!("SELECT timestamp, trace_id FROM spans WHERE {matching}");
        let mut batches = session.sql_mapped(&query, Reads::All, || |batch| matches(Columns(&batch))).await?;
        let mut all = Self(Vec::new());
        let mut sort_at = SPANS_A_LOOK;
        while let Some(batch) = batches.next().await {
            all.0.append(&mut batch?);
            if all.0.len() >= sort_at {
                all.sort();
                sort_at = 2 * all.0.len().max(SPANS_A_LOOK);
                held.resize(sort_at * size_of::<Match>())?;
            }
        }
        all.sort();
        Ok(all)
    }

    fn sort(&mut self) {
        self.0.sort_unstable();
        self.0.dedup_by_key(|found| found.trace);
    }

    /// The newest first.
    fn newest(self) -> Vec<Match> {
        let mut all = self.0;
        all.sort_unstable_by_key(|found| (Reverse(found.start_ns), found.trace));
        all
    }
}

/// Neighbours of one trace are told once.
fn matches(batch: Columns<'_>) -> Result<Vec<Match>, QueryError> {
    let times = batch.integers("timestamp")?.all_or_zero();
    let runs = trace_runs(&batch.text("trace_id")?, times.len());
    let earliest = |(trace, rows): (Option<u128>, Range<usize>)| {
        Some(Match { trace: trace?, start_ns: *times[rows].iter().min()? })
    };
    Ok(ranges(&runs, times.len()).filter_map(earliest).collect())
}

/// The best traces by what their spans within a window say; the window's spans are read once.
async fn rank(session: &Session, around: Window, matching: &str, best: &Best) -> Result<Vec<Match>, QueryError> {
    let condition = around.sql("timestamp");
    let asked = Selection { condition: &condition, counted: matching, want: Want::default() };
    let mut found: Vec<(Key, Match)> = Vec::new();
    in_parts(session, asked, around, |spans| {
        let mut is_in = vec![false; spans.traces.len()];
        (0..spans.len()).filter(|&i| spans.counted[i]).for_each(|i| is_in[spans.trace[i] as usize] = true);
        spans.counted_copies.iter().for_each(|&(of, _)| is_in[spans.trace[of as usize] as usize] = true);
        for t in whole(spans).iter().filter(|t| is_in[t.trace]) {
            let trace = spans.traces[t.trace];
            found.push((best.order.key(t, trace), Match { trace, start_ns: t.start_ns }));
            if found.len() >= 2 * best.limit.max(SPANS_A_LOOK) {
                found.select_nth_unstable(best.limit);
                found.truncate(best.limit);
            }
        }
    })
    .await?;
    found.sort_unstable();
    found.truncate(best.limit);
    Ok(found.into_iter().map(|(_, found)| found).collect())
}

/// What traces are ordered by, the best first. Ties go to the newer trace and then to the smaller id, so that a page is the
/// same each time.
type Key = (Reverse<i64>, Reverse<i64>, u128);

impl Order {
    fn key(self, t: &Whole, trace: u128) -> Key {
        let by = match self {
            Self::Newest => 0,
            Self::Slowest => t.end_ns.saturating_sub(t.start_ns),
            Self::Spans => i64::from(t.spans),
            Self::Errors => i64::from(t.errors),
        };
        (Reverse(by), Reverse(t.start_ns), trace)
    }
}

/// The best traces so far, in order.
struct Best {
    order: Order,
    limit: usize,
    traces: Vec<Found>,
}

struct Found {
    key: Key,
    summary: TraceSummary,
}

impl Best {
    /// Whether a trace that starts then or earlier may be among the newest.
    fn may_be_beaten_at(&self, start_ns: i64) -> bool {
        self.traces.len() < self.limit || self.traces.last().is_none_or(|last| last.key.1.0 <= start_ns)
    }

    /// Adds traces with all of their spans, wherever they are stored.
    async fn add_whole(&mut self, session: &Session, traces: &[Match]) -> Result<(), QueryError> {
        if traces.is_empty() {
            return Ok(());
        }
        let condition = in_traces(&traces.iter().map(|found| found.trace).collect(), "false");
        let want = Want { names: true, ..Want::default() };
        let mut spans = SpanSet::default();
        load(session, &mut spans, Selection { condition: &condition, counted: "true", want }).await?;
        for t in whole(&spans) {
            self.traces.push(Found { key: self.order.key(&t, spans.traces[t.trace]), summary: summary(&spans, &t) });
        }
        self.traces.sort_unstable_by_key(|found| found.key);
        self.traces.truncate(self.limit);
        Ok(())
    }
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
