//! Counts an hour of spans beforehand: reads it as a graph's request reads its window, and leaves out the traces of which
//! something may still change.

use hashbrown::{HashMap, HashSet};
use orrery_model::Signal;
use orrery_storage::RollupHead;

use super::hours::{Hour, newest_file, rows_of_hours};
use super::rows::{
    FactRow, FlowRow, GraphRows, HOUR_NS, KnownRow, MINUTE_NS, MinuteRow, OperationRow, OperationRows, ServiceRow,
    VERSION, parent_hash,
};
use super::table_rows::enters;
use crate::columns::Columns;
use crate::graph::aggregate::call;
use crate::graph::classify::{Flow, Found, is_minor, messaging_role};
use crate::graph::prepare::{Prepared, Reading, prepare};
use crate::graph::scope::Scope;
use crate::graph::totals::{Call, Totals};
use crate::services::facts::facts;
use crate::spans::lineage::REACH_NS;
use crate::spans::{Kind, LinkTarget, Symbol, Symbols};
use crate::{QueryError, Session};

/// Rows, traces and parents that an hour may have; one with more is answered from its spans.
const MAX_FLOWS: usize = 200_000;
const MAX_OPERATIONS: usize = 200_000;
const MAX_KNOWN: usize = 100_000;
const MAX_FACTS: usize = 200_000;
const MAX_STRAYS: usize = 2_000;
const MAX_ORPHANS: usize = 2_000_000;

/// An hour, counted.
#[derive(Debug)]
pub struct Built {
    pub head: RollupHead,
    /// `None` where there are more rows than are kept.
    pub graph: Option<GraphRows>,
    pub operations: Option<OperationRows>,
    pub spans: u64,
}

/// Counts what the session's snapshot has of an hour. Spans in memory are counted with the files'.
pub async fn build(session: &Session, hour: Hour, now_ns: i64) -> Result<Built, QueryError> {
    let table = session.snapshot().table(Signal::Spans);
    let rows = rows_of_hours(&table.files);
    let of = |hour: Hour| rows.get(&hour).copied().unwrap_or(0);
    let head = RollupHead {
        hour: hour.0,
        version: VERSION,
        through_file: newest_file(&table.files),
        rows: of(hour),
        before_rows: of(Hour(hour.0 - 1)),
    };
    let scope = Scope::whole(hour.window());
    let mut counting = Counting::default();
    let count = |prepared: &Prepared| counting.add(prepared, hour);
    let whole = prepare(session, &scope, None, Reading::GraphAndNames, now_ns, count).await?;
    counting.symbols = whole.words.symbols;
    let known = if counting.is_too_much() { None } else { known(session, hour, &mut counting.symbols).await? };
    let spans = counting.minutes.values().map(|m| m.row.spans).sum();
    let Some(known) = known else { return Ok(Built { head, graph: None, operations: None, spans }) };
    let (graph, operations) = counting.finish(known);
    let operations = match operations {
        Some(operations) => with_facts(session, hour, operations).await?,
        None => None,
    };
    Ok(Built { head, graph: Some(graph), operations, spans })
}

/// The operations with what the hour's spans say of their services; `None` where that is too much.
async fn with_facts(
    session: &Session,
    hour: Hour,
    mut rows: OperationRows,
) -> Result<Option<OperationRows>, QueryError> {
    let window = hour.window();
    let minute = format!("(arrow_cast(timestamp, 'Int64') - {}) / {MINUTE_NS}", window.start_ns);
    let facts = facts(session, &window.sql("timestamp"), &minute).await?;
    if facts.len() > MAX_FACTS {
        return Ok(None);
    }
    for fact in facts {
        rows.facts.push(FactRow {
            words: fact.words.map(|word| rows.symbols.intern(&word.unwrap_or_default())),
            minute: fact.group.clamp(0, HOUR_NS / MINUTE_NS - 1) as u8,
            first_ns: fact.first_ns,
            last_ns: fact.last_ns,
        });
    }
    Ok(Some(rows))
}

/// What is counted so far.
#[derive(Default)]
struct Counting {
    /// What it is written in, once all is counted.
    symbols: Symbols,
    minutes: HashMap<u8, Minute>,
    flows: HashMap<(u8, Flow), Totals>,
    operations: HashMap<(u8, Symbol, Symbol, Kind), Totals>,
    too_many_operations: bool,
    /// A stray trace has a span of which spans of other traces decide whether it counts.
    is_tangled: bool,
    strays: HashSet<u128>,
    orphans: HashSet<u64>,
}

#[derive(Default)]
struct Minute {
    row: MinuteRow,
    services: HashMap<Symbol, OfService>,
}

#[derive(Clone, Copy, Default)]
struct OfService {
    spans: u64,
    copies: u64,
}

impl Counting {
    fn add(&mut self, prepared: &Prepared, hour: Hour) {
        if self.is_too_much() {
            return;
        }
        let (s, lineage) = (&prepared.spans, &prepared.lineage);
        let classifier = prepared.classifier();
        let strays = strays(prepared, hour);
        let minute_of = |start_ns: i64| ((start_ns - hour.window().start_ns) / MINUTE_NS) as u8;
        for i in (0..s.len()).filter(|&i| s.counted[i] && !strays.contains(&s.trace[i])) {
            let number = minute_of(s.start_ns[i]);
            let service = s.service[i];
            let minute = self.minutes.entry(number).or_default();
            minute.row.spans += 1;
            minute.services.entry(service).or_default().spans += 1;
            if !lineage.is_root(i) {
                minute.row.children += 1;
                if lineage.is_missing(i) {
                    minute.row.missing += 1;
                    self.orphans.insert(parent_hash(s.trace_id(i), s.parent[i]));
                }
            }
            if let Found::Flow(flow, client) = classifier.flow(i) {
                self.flows.entry((number, flow)).or_default().add(call(prepared, i, client));
            }
            if !self.too_many_operations && enters(prepared, i) {
                let key = (number, service, s.name[i], s.kind[i]);
                self.operations.entry(key).or_default().add(own_call(prepared, i));
                self.too_many_operations = self.operations.len() > MAX_OPERATIONS;
            }
        }
        for &(of, start_ns) in &s.counted_copies {
            let of = of as usize;
            if !strays.contains(&s.trace[of]) {
                let minute = self.minutes.entry(minute_of(start_ns)).or_default();
                minute.row.copies += 1;
                minute.services.entry(s.service[of]).or_default().copies += 1;
            }
        }
        self.is_tangled |= is_tangled(prepared, &strays);
        self.strays.extend(strays.iter().map(|trace| s.traces[*trace as usize]));
    }

    fn is_too_much(&self) -> bool {
        self.is_tangled
            || self.flows.len() > MAX_FLOWS
            || self.strays.len() > MAX_STRAYS
            || self.orphans.len() > MAX_ORPHANS
    }

    fn finish(self, known: Vec<KnownRow>) -> (GraphRows, Option<OperationRows>) {
        let mut open = super::rows::Open {
            strays: self.strays.into_iter().collect(),
            orphans: self.orphans.into_iter().collect(),
        };
        open.strays.sort_unstable();
        open.orphans.sort_unstable();
        let mut minutes: Vec<MinuteRow> = Vec::with_capacity(self.minutes.len());
        let mut of_services = Vec::new();
        for (minute, Minute { row, services }) in self.minutes {
            of_services.extend(services.iter().map(|(service, of)| ServiceRow {
                minute,
                service: *service,
                spans: of.spans,
                copies: of.copies,
            }));
            let mut services: Vec<Symbol> = services.into_keys().collect();
            services.sort_unstable();
            minutes.push(MinuteRow { minute, services, ..row });
        }
        minutes.sort_unstable_by_key(|m| m.minute);
        let flows = self.flows.into_iter().map(|((minute, flow), totals)| FlowRow { minute, flow, totals }).collect();
        let row = |((minute, service, name, kind), totals)| OperationRow { minute, service, name, kind, totals };
        let operations = (!self.too_many_operations).then(|| OperationRows {
            open: open.clone(),
            symbols: self.symbols.clone(),
            services: of_services,
            facts: Vec::new(),
            operations: self.operations.into_iter().map(row).collect(),
        });
        (GraphRows { open, symbols: self.symbols, minutes, flows, known }, operations)
    }
}

/// A span as a call of its own operation.
pub fn own_call(prepared: &Prepared, i: usize) -> Call {
    Call { client_ns: None, error: prepared.spans.error[i], ..call(prepared, i, None) }
}

/// The traces, by number, of which a counted span depends on what lies beyond the time around the hour, on this moment,
/// or on which of several unlike copies counts.
fn strays(prepared: &Prepared, hour: Hour) -> HashSet<u32> {
    let (s, lineage, classifier) = (&prepared.spans, &prepared.lineage, prepared.classifier());
    let window = hour.window();
    let (first, last) = (window.start_ns.saturating_sub(REACH_NS), window.end_ns.saturating_add(REACH_NS));
    let mut strays = HashSet::new();
    for i in (0..s.len()).filter(|&i| s.counted[i]) {
        let parent_is_far = lineage.parent(i).is_some_and(|p| s.start_ns[p] < first);
        let may_be_answered = s.kind[i] == Kind::Client && !prepared.answered[i] && s.end_ns(i) >= last;
        let asks_links = s.semantics(i).destination == 0 && !s.links(i).is_empty() && messaging_role(s, i).is_some();
        let is_unlike = s.unlike_traces.contains(&s.trace_id(i));
        if parent_is_far || may_be_answered || asks_links || is_unlike || classifier.flow(i) == Found::Pending {
            strays.insert(s.trace[i]);
        }
    }
    strays
}

/// Whether a span of another trace decides that a `create` or `receive` of a stray trace is not counted: who reads the stray
/// trace alone would not see it.
fn is_tangled(prepared: &Prepared, strays: &HashSet<u32>) -> bool {
    let s = &prepared.spans;
    let mut sent: HashMap<LinkTarget, Vec<u32>> = HashMap::new();
    for i in (0..s.len()).filter(|&i| !is_minor(s, i)) {
        for link in s.links(i) {
            let is_decided = |l: usize| is_minor(s, l) && s.trace[l] != s.trace[i] && strays.contains(&s.trace[l]);
            if s.find(*link).any(is_decided) {
                return true;
            }
            sent.entry(*link).or_default().push(s.trace[i]);
        }
    }
    let asks = |i: &usize| s.counted[*i] && is_minor(s, *i) && strays.contains(&s.trace[*i]);
    (0..s.len()).filter(asks).any(|i| {
        let others = s.links(i).iter().filter_map(|link| sent.get(link)).flatten();
        others.into_iter().any(|trace| *trace != s.trace[i])
    })
}

/// The services that were heard of in the hour, whether their spans have ids or not; `None` where there are too many.
async fn known(session: &Session, hour: Hour, symbols: &mut Symbols) -> Result<Option<Vec<KnownRow>>, QueryError> {
    let window = hour.window();
    let query = format!(
        "SELECT DISTINCT (arrow_cast(timestamp, 'Int64') - {}) / {MINUTE_NS} AS minute, service_name, service_namespace, \
         CASE WHEN kind = 'SERVER' THEN \"attributes.server.address\" END AS address, \
         CAST(trace_id IS NOT NULL AND span_id IS NOT NULL AS BIGINT) AS with_ids FROM spans WHERE {}",
        window.start_ns,
        window.sql("timestamp")
    );
    let mut found: HashMap<(Symbol, Symbol, Symbol, bool), u64> = HashMap::new();
    for batch in session.collect(&query).await?.0 {
        let batch = Columns(&batch);
        let (name, namespace) = (batch.text("service_name")?, batch.text("service_namespace")?);
        let (minute, address) = (batch.integers("minute")?, batch.text("address")?);
        let with_ids = batch.integers("with_ids")?;
        for row in 0..batch.0.num_rows() {
            let mut symbol = |text: &str| symbols.intern(text);
            let key = (
                symbol(name.or_empty(row)),
                symbol(namespace.or_empty(row)),
                symbol(address.or_empty(row)),
                with_ids.or_zero(row) != 0,
            );
            *found.entry(key).or_default() |= 1 << minute.or_zero(row).clamp(0, HOUR_NS / MINUTE_NS - 1);
        }
        if found.len() > MAX_KNOWN {
            return Ok(None);
        }
    }
    let row =
        |((name, namespace, address, with_ids), minutes)| KnownRow { name, namespace, address, with_ids, minutes };
    Ok(Some(found.into_iter().map(row).collect()))
}
