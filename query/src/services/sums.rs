//! The numbers of every service in a window, added up from spans, part by part, and from operations that were counted
//! beforehand. Holds one histogram a service and never a span.

use hashbrown::HashMap;
use orrery_api::Service;

use super::empty;
use super::facts::{Fact, Facts};
use crate::Window;
use crate::graph::prepare::Prepared;
use crate::graph::totals::Totals;
use crate::histogram::Histogram;
use crate::rollup::{MINUTE_NS, OperationRows, Plan, Used, enters};
use crate::spans::{Kind, Symbol, Symbols};

/// The steps of the small charts. Where a step is a minute or more, a span falls into that of its minute's start.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    window: Window,
    step_ns: i64,
    count: usize,
}

impl Steps {
    pub fn new(window: Window, count: usize) -> Self {
        Self { window, step_ns: (window.width_ns() / count as i64).max(1), count }
    }

    /// Whether whole minutes fall into one step each.
    pub const fn are_of_minutes(&self) -> bool {
        self.step_ns >= MINUTE_NS
    }

    fn of(&self, start_ns: i64) -> usize {
        let begins = if self.are_of_minutes() { start_ns - start_ns.rem_euclid(MINUTE_NS) } else { start_ns };
        let offset = begins.saturating_sub(self.window.start_ns).max(0);
        usize::try_from(offset / self.step_ns).unwrap_or(usize::MAX).min(self.count - 1)
    }
}

/// Of one service.
#[derive(Default)]
struct Sums {
    spans: u64,
    /// SERVER and CONSUMER spans.
    served: Calls,
    /// Other spans that enter the service: its calls where it serves none.
    entering: Calls,
}

#[derive(Default)]
struct Calls {
    errors: u64,
    latency: Histogram,
    /// Step, calls and errors.
    over_time: HashMap<usize, (u64, u64)>,
}

impl Calls {
    fn add(&mut self, step: usize, totals: &Totals) {
        self.errors += totals.errors;
        self.latency.merge(&totals.latency);
        let (calls, errors) = self.over_time.entry(step).or_default();
        *calls += totals.calls();
        *errors += totals.errors;
    }

    fn add_one(&mut self, step: usize, error: bool, duration_ns: i64) {
        self.errors += u64::from(error);
        self.latency.record(duration_ns);
        let (calls, errors) = self.over_time.entry(step).or_default();
        *calls += 1;
        *errors += u64::from(error);
    }
}

/// Services, added up of counted spans.
#[derive(Default)]
pub struct OfSpans(HashMap<Symbol, Sums>);

impl OfSpans {
    pub fn add(&mut self, prepared: &Prepared, steps: Steps) {
        let s = &prepared.spans;
        for i in (0..s.len()).filter(|&i| s.counted[i]) {
            let sums = self.0.entry(s.service[i]).or_default();
            sums.spans += 1;
            let step = steps.of(s.start_ns[i]);
            if is_served(s.kind[i]) {
                sums.served.add_one(step, s.error[i], s.duration_ns[i]);
            } else if enters(prepared, i) {
                sums.entering.add_one(step, s.error[i], s.duration_ns[i]);
            }
        }
    }
}

/// The services of a window, without an order.
pub fn services(
    of_spans: OfSpans,
    symbols: &Symbols,
    plan: &Plan<OperationRows>,
    facts: &HashMap<String, Facts>,
    steps: Steps,
) -> Vec<Service> {
    let mut found: HashMap<String, Sums> = HashMap::new();
    for (service, sums) in of_spans.0 {
        found.insert(symbols.text(service).to_owned(), sums);
    }
    for used in &plan.used {
        add_rows(&mut found, used, steps);
    }
    found.into_iter().map(|(id, sums)| service(&id, sums, facts.get(&id), steps.count)).collect()
}

fn add_rows(found: &mut HashMap<String, Sums>, used: &Used<OperationRows>, steps: Steps) {
    let rows = &used.rows;
    let within = |minute: u8| used.minutes.contains(&minute);
    for row in rows.services.iter().filter(|row| within(row.minute)) {
        found.entry_ref(rows.symbols.text(row.service)).or_default().spans += row.spans;
    }
    for row in rows.operations.iter().filter(|row| within(row.minute)) {
        let sums = found.entry_ref(rows.symbols.text(row.service)).or_default();
        let calls = if is_served(row.kind) { &mut sums.served } else { &mut sums.entering };
        calls.add(steps.of(used.minute_ns(row.minute)), &row.totals);
    }
}

/// The copies that were left out of what was counted beforehand.
pub fn copies_of(plan: &Plan<OperationRows>) -> u64 {
    let rows = plan.used.iter().flat_map(|used| used.rows.services.iter().filter(|r| used.minutes.contains(&r.minute)));
    rows.map(|row| row.copies).sum()
}

/// What the hours that were counted beforehand say of services.
pub fn facts_of(plan: &Plan<OperationRows>) -> impl Iterator<Item = Fact> + '_ {
    plan.used.iter().flat_map(|used| {
        let within = used.rows.facts.iter().filter(|row| used.minutes.contains(&row.minute));
        within.map(|row| Fact {
            words: row.words.map(|word| Some(used.rows.symbols.text(word).to_owned())),
            group: 0,
            first_ns: row.first_ns,
            last_ns: row.last_ns,
        })
    })
}

const fn is_served(kind: Kind) -> bool {
    matches!(kind, Kind::Server | Kind::Consumer)
}

fn service(id: &str, sums: Sums, facts: Option<&Facts>, steps: usize) -> Service {
    let mut service = empty(id, steps, facts);
    let calls = if sums.served.latency.count() > 0 { sums.served } else { sums.entering };
    service.spans = sums.spans;
    service.calls = calls.latency.count();
    service.errors = calls.errors;
    for (step, (calls, errors)) in calls.over_time {
        service.calls_over_time[step] = calls;
        service.errors_over_time[step] = errors;
    }
    service.sum_ns = calls.latency.sum();
    service.p50_ns = calls.latency.quantile(0.5);
    service.p95_ns = calls.latency.quantile(0.95);
    service.p99_ns = calls.latency.quantile(0.99);
    service
}
