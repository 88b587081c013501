//! What is added up of counted spans, part by part: flows, of the whole window or minute by minute. Never holds a span, and
//! knows no service by name: which one a flow's peer is can only be said when all parts are counted.

use hashbrown::{HashMap, HashSet};

use super::aggregate::{call, is_error};
use super::classify::{Flow, Found};
use super::prepare::Prepared;
use super::totals::{Call, Totals};
use crate::histogram::Tally;
use crate::rollup::MINUTE_NS;
use crate::spans::{Latest, SpanSet, Symbol};

/// Counted spans, added up by their flows.
pub trait Sums: Send {
    fn add(&mut self, prepared: &Prepared);

    /// The flows that there are, some of them more than once.
    fn flows(&self) -> impl Iterator<Item = Flow>;
}

/// All of a window.
#[derive(Default)]
pub struct Flows {
    numbers: HashMap<Flow, u32>,
    /// By number.
    pub totals: Vec<(Flow, Totals)>,
    sorter: Sorter,
    tally: Tally,
    pub services: HashSet<Symbol>,
    /// Spans that name a parent, and how many of these parents are missing.
    pub children: u64,
    pub missing: u64,
    pub pending: u64,
}

impl Sums for Flows {
    fn add(&mut self, prepared: &Prepared) {
        let (spans, classifier) = (&prepared.spans, prepared.classifier());
        let Self { numbers, totals, sorter, tally, .. } = self;
        let (mut latest_services, mut latest_flows) = (Latest::default(), Latest::default());
        for i in (0..spans.len()).filter(|&i| spans.counted[i]) {
            if !prepared.lineage.is_root(i) {
                self.children += 1;
                self.missing += u64::from(prepared.lineage.is_missing(i));
            }
            latest_services.get(Some(spans.service[i]), spans.service[i], |_| {
                self.services.insert(spans.service[i]);
                0
            });
            match classifier.flow(i) {
                Found::Flow(flow, client) => {
                    let number = latest_flows.get(Some(flow), flow.mixed(), |_| {
                        *numbers.entry(flow).or_insert_with(|| {
                            totals.push((flow, Totals::default()));
                            u32::try_from(totals.len() - 1).expect("fewer flows than spans")
                        })
                    });
                    sorter.calls.push(FlowCall::of(number, spans, i, client));
                }
                Found::Pending => self.pending += 1,
                Found::Nothing => {}
            }
        }
        for calls in sorter.sorted(totals.len()) {
            let flow = calls[0].flow as usize;
            let trace = |span| spans.trace_id(span as usize);
            totals[flow].1.add_all(calls.iter().map(FlowCall::call), trace, tally);
        }
        sorter.calls.clear();
    }

    fn flows(&self) -> impl Iterator<Item = Flow> {
        self.totals.iter().map(|(flow, _)| *flow)
    }
}

/// A call of a flow, with all that is added up of it: flow by flow, spans are not beside one another.
#[derive(Clone, Copy, Default)]
struct FlowCall {
    duration_ns: i64,
    /// Where it has a CLIENT.
    client_ns: i64,
    flow: u32,
    span: u32,
    weight: f32,
    error: bool,
    has_client: bool,
}

impl FlowCall {
    fn of(flow: u32, spans: &SpanSet, i: usize, client: Option<usize>) -> Self {
        Self {
            duration_ns: spans.duration_ns[i],
            client_ns: client.map_or(0, |c| spans.duration_ns[c]),
            flow,
            span: i as u32,
            weight: spans.weight[i],
            error: is_error(spans, i, client),
            has_client: client.is_some(),
        }
    }

    fn call(&self) -> Call<u32> {
        let client_ns = self.has_client.then_some(self.client_ns);
        let Self { duration_ns, span, weight, error, .. } = *self;
        Call { error, duration_ns, client_ns, weight, trace: span }
    }
}

/// The calls of a part, flow by flow: a flow's histograms are larger than what the processor keeps of all of them.
#[derive(Default)]
struct Sorter {
    calls: Vec<FlowCall>,
    sorted: Vec<FlowCall>,
}

impl Sorter {
    /// The calls of one flow after the other.
    fn sorted(&mut self, flows: usize) -> impl Iterator<Item = &[FlowCall]> {
        // Where the next call of each flow belongs.
        let mut places = vec![0_usize; flows + 1];
        self.calls.iter().for_each(|call| places[call.flow as usize + 1] += 1);
        (1..places.len()).for_each(|flow| places[flow] += places[flow - 1]);
        self.sorted.resize(self.calls.len(), FlowCall::default());
        for &call in &self.calls {
            let place = &mut places[call.flow as usize];
            self.sorted[*place] = call;
            *place += 1;
        }
        self.sorted.chunk_by(|a, b| a.flow == b.flow)
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
