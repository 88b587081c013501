//! The numbers of one service over a window: added up from its spans, a part of the traces at a time. Holds histograms and
//! never a span.

use hashbrown::HashMap;
use orrery_api::{Operation, Service};

use super::empty;
use super::facts::Facts;
use crate::histogram::Histogram;
use crate::spans::gather::in_parts;
use crate::spans::load::{Selection, Want};
use crate::spans::{Kind, SpanSet, Symbol, Symbols};
use crate::{QueryError, Session, Window};

/// Operations that are shown at most, those with the most calls.
const MAX_OPERATIONS: usize = 500;

pub struct Numbers {
    symbols: Symbols,
    pub copies: u64,
    pub step_ns: i64,
    sums: Sums,
}

struct Sums {
    window: Window,
    step_ns: i64,
    spans: u64,
    /// SERVER and CONSUMER spans.
    served: Calls,
    /// Other spans whose parent is not a span of the service: its calls where it serves none.
    entering: Calls,
}

#[derive(Clone)]
struct Calls {
    errors_over_time: Vec<u64>,
    latency_over_time: Vec<Histogram>,
    /// Errors and latency.
    operations: HashMap<(Symbol, Kind), (u64, Histogram)>,
}

impl Calls {
    fn new(steps: usize) -> Self {
        Self {
            errors_over_time: vec![0; steps],
            latency_over_time: vec![Histogram::default(); steps],
            operations: HashMap::new(),
        }
    }
}

impl Sums {
    fn add(&mut self, s: &SpanSet) {
        let lineage = s.lineage();
        for i in 0..s.len() {
            self.spans += 1;
            let calls = if matches!(s.kind[i], Kind::Server | Kind::Consumer) {
                &mut self.served
            } else if lineage.parent(i).is_none_or(|parent| s.service[parent] != s.service[i]) {
                &mut self.entering
            } else {
                continue;
            };
            let offset = s.start_ns[i].saturating_sub(self.window.start_ns).max(0);
            let last = calls.errors_over_time.len() - 1;
            let step = usize::try_from(offset / self.step_ns).unwrap_or(usize::MAX).min(last);
            calls.errors_over_time[step] += u64::from(s.error[i]);
            calls.latency_over_time[step].record(s.duration_ns[i]);
            let (errors, latency) = calls.operations.entry((s.name[i], s.kind[i])).or_default();
            *errors += u64::from(s.error[i]);
            latency.record(s.duration_ns[i]);
        }
    }

    fn calls(&self) -> &Calls {
        if self.served.operations.is_empty() { &self.entering } else { &self.served }
    }
}

impl Numbers {
    /// Reads the spans that meet an SQL condition, which takes in those of one service within a window.
    pub async fn of(session: &Session, condition: &str, window: Window, steps: usize) -> Result<Self, QueryError> {
        let asked = Selection { condition, counted: "true", want: Want { names: true, ..Want::default() } };
        let step_ns = (window.width_ns() / steps as i64).max(1);
        let mut sums = Sums { window, step_ns, spans: 0, served: Calls::new(steps), entering: Calls::new(steps) };
        let mut copies = 0;
        let words = in_parts(session, asked, window, |spans| {
            copies += spans.copies;
            sums.add(spans);
        })
        .await?;
        Ok(Self { symbols: words.symbols, copies, step_ns, sums })
    }

    /// `None` where it has no spans.
    pub fn service(&self, id: &str, facts: Option<&Facts>) -> Option<Service> {
        let calls = self.sums.calls();
        let mut latency = Histogram::default();
        calls.latency_over_time.iter().for_each(|step| latency.merge(step));
        let service = Service {
            spans: self.sums.spans,
            calls: latency.count(),
            errors: calls.errors_over_time.iter().sum(),
            sum_ns: latency.sum(),
            p50_ns: latency.quantile(0.5),
            p95_ns: latency.quantile(0.95),
            p99_ns: latency.quantile(0.99),
            calls_over_time: calls.latency_over_time.iter().map(Histogram::count).collect(),
            errors_over_time: calls.errors_over_time.clone(),
            ..empty(id, 0, facts)
        };
        (self.sums.spans > 0).then_some(service)
    }

    /// The median and the 95th percentile of each step, `None` where nothing was called.
    pub fn latency_over_time(&self) -> (Vec<Option<i64>>, Vec<Option<i64>>) {
        let steps = &self.sums.calls().latency_over_time;
        let of = |q| steps.iter().map(|h| (h.count() > 0).then(|| h.quantile(q))).collect();
        (of(0.5), of(0.95))
    }

    pub fn operations(&self) -> Vec<Operation> {
        let operation = |((name, kind), (errors, latency)): (&(Symbol, Kind), &(u64, Histogram))| Operation {
            name: self.symbols.text(*name).to_owned(),
            kind: kind.word().to_owned(),
            calls: latency.count(),
            errors: *errors,
            p50_ns: latency.quantile(0.5),
            p95_ns: latency.quantile(0.95),
            p99_ns: latency.quantile(0.99),
        };
        let mut all: Vec<Operation> = self.sums.calls().operations.iter().map(operation).collect();
        all.sort_by(|a, b| b.calls.cmp(&a.calls).then_with(|| (&a.name, &a.kind).cmp(&(&b.name, &b.kind))));
        all.truncate(MAX_OPERATIONS);
        all
    }
}
