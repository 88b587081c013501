//! What is added up of counted spans, part by part: flows, of the whole window or minute by minute. Never holds a span, and
//! knows no service by name: which one a flow's peer is can only be said when all parts are counted.

use hashbrown::{HashMap, HashSet};

use super::aggregate::call;
use super::classify::{Flow, Found};
use super::prepare::Prepared;
use super::totals::Totals;
use crate::rollup::MINUTE_NS;
use crate::spans::Symbol;

/// Counted spans, added up by their flows.
pub trait Sums: Send {
    fn add(&mut self, prepared: &Prepared);

    /// The flows that there are, some of them more than once.
    fn flows(&self) -> impl Iterator<Item = Flow>;
}

/// All of a window.
#[derive(Default)]
pub struct Flows {
    pub totals: HashMap<Flow, Totals>,
    pub services: HashSet<Symbol>,
    /// Spans that name a parent, and how many of these parents are missing.
    pub children: u64,
    pub missing: u64,
    pub pending: u64,
}

impl Sums for Flows {
    fn add(&mut self, prepared: &Prepared) {
        let (spans, classifier) = (&prepared.spans, prepared.classifier());
        let mut last = None;
        for i in (0..spans.len()).filter(|&i| spans.counted[i]) {
            if !prepared.lineage.is_root(i) {
                self.children += 1;
                self.missing += u64::from(prepared.lineage.is_missing(i));
            }
            if last.replace(spans.service[i]) != Some(spans.service[i]) {
                self.services.insert(spans.service[i]);
            }
            match classifier.flow(i) {
                Found::Flow(flow, client) => self.totals.entry(flow).or_default().add(call(prepared, i, client)),
                Found::Pending => self.pending += 1,
                Found::Nothing => {}
            }
        }
    }

    fn flows(&self) -> impl Iterator<Item = Flow> {
        self.totals.keys().copied()
    }
}

/// By the start of their minute.
#[derive(Default)]
pub struct FlowsByMinute(pub HashMap<(i64, Flow), Totals>);

impl Sums for FlowsByMinute {
    fn add(&mut self, prepared: &Prepared) {
        let (spans, classifier) = (&prepared.spans, prepared.classifier());
        for i in (0..spans.len()).filter(|&i| spans.counted[i]) {
            if let Found::Flow(flow, client) = classifier.flow(i) {
                let minute = spans.start_ns[i] - spans.start_ns[i].rem_euclid(MINUTE_NS);
                self.0.entry((minute, flow)).or_default().add(call(prepared, i, client));
            }
        }
    }

    fn flows(&self) -> impl Iterator<Item = Flow> {
        self.0.keys().map(|(_, flow)| *flow)
    }
}
