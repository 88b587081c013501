//! The numbers of an edge, an operation or a service, and how they are added up: in any order and in any parts the same
//! sums, so that spans and what was counted of them beforehand can be added to one another.

use crate::histogram::{Histogram, Tally};

/// Trace ids that an edge shows.
pub const EXEMPLARS: usize = 5;
/// Weights are summed as multiples of 2^-23, which every weight from 1 upwards is.
const WEIGHT_UNIT: f64 = (1_u32 << 23) as f64;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals {
    pub errors: u64,
    pub weight: Weight,
    pub latency: Histogram,
    /// As the caller saw it.
    pub client: Histogram,
    pub exemplars: Exemplars,
}

/// One call, of a trace or of what it is found by.
#[derive(Clone, Copy, Debug)]
pub struct Call<Trace = u128> {
    pub error: bool,
    pub duration_ns: i64,
    pub client_ns: Option<i64>,
    /// How many calls it stands for, after sampling; from 1 upwards.
    pub weight: f32,
    pub trace: Trace,
}

impl Totals {
    pub fn add(&mut self, call: Call) {
        self.errors += u64::from(call.error);
        self.weight.add(call.weight);
        self.latency.record(call.duration_ns);
        if let Some(client_ns) = call.client_ns {
            self.client.record(client_ns);
        }
        self.exemplars.offer(call.error, call.duration_ns, || call.trace);
    }

    /// Adds calls as if one by one, in less time. Few of them are asked for their trace.
    pub fn add_all<T>(
        &mut self,
        calls: impl Iterator<Item = Call<T>> + Clone,
        trace: impl Fn(T) -> u128,
        tally: &mut Tally,
    ) {
        self.latency.record_all(calls.clone().map(|call| call.duration_ns), tally);
        self.client.record_all(calls.clone().filter_map(|call| call.client_ns), tally);
        for call in calls {
            self.errors += u64::from(call.error);
            self.weight.add(call.weight);
            self.exemplars.offer(call.error, call.duration_ns, || trace(call.trace));
        }
    }

    pub fn merge(&mut self, other: &Self) {
        self.errors += other.errors;
        self.weight.0 = self.weight.0.saturating_add(other.weight.0);
        self.latency.merge(&other.latency);
        self.client.merge(&other.client);
        for exemplar in &other.exemplars.0 {
            self.exemplars.offer(exemplar.error, exemplar.duration_ns, || exemplar.trace);
        }
    }

    pub const fn calls(&self) -> u64 {
        self.latency.count()
    }
}

/// A sum of weights, exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight(pub u128);

impl Weight {
    #[inline]
    fn add(&mut self, weight: f32) {
        // Of what was not sampled; the conversion takes longer than all else that is done of a call.
        let units = if weight == 1.0 { WEIGHT_UNIT as u128 } else { (f64::from(weight) * WEIGHT_UNIT) as u128 };
        self.0 = self.0.saturating_add(units);
    }

    pub fn value(self) -> f64 {
        self.0 as f64 / WEIGHT_UNIT
    }
}

/// A call that an edge shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exemplar {
    pub error: bool,
    pub duration_ns: i64,
    pub trace: u128,
}

/// The few traces worth opening, the best first: errors first, then the slowest; of a trace its best call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exemplars(pub Vec<Exemplar>);

impl Exemplars {
    #[inline]
    fn offer(&mut self, error: bool, duration_ns: i64, trace: impl FnOnce() -> u128) {
        let may_be_better = |last: &Exemplar| (last.error, last.duration_ns) <= (error, duration_ns);
        if self.0.len() < EXEMPLARS || self.0.last().is_none_or(may_be_better) {
            self.take(Exemplar { error, duration_ns, trace: trace() });
        }
    }

    fn take(&mut self, entry: Exemplar) {
        if let Some(same) = self.0.iter_mut().find(|e| e.trace == entry.trace) {
            *same = (*same).max(entry);
        } else {
            self.0.push(entry);
        }
        self.0.sort_unstable_by(|a, b| b.cmp(a));
        self.0.truncate(EXEMPLARS);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn call() -> impl Strategy<Value = Call> {
        let duration = prop_oneof![any::<i64>(), 0..100_i64, 0..10_000_000_000_i64];
        let weight = prop_oneof![Just(1.0_f32), 1.0..1e6_f32];
        (any::<bool>(), duration, proptest::option::of(0..1_000_i64), weight, 0..12_u128).prop_map(
            |(error, duration_ns, client_ns, weight, trace)| Call { error, duration_ns, client_ns, weight, trace },
        )
    }

    proptest! {
        #[test]
        fn parts_add_up_to_the_whole_in_any_order(
            calls in proptest::collection::vec(call(), 0..60),
            cuts in proptest::collection::vec(0..4_usize, 60),
        ) {
            let mut whole = Totals::default();
            let mut parts = vec![Totals::default(); 4];
            for (call, part) in calls.iter().zip(&cuts) {
                whole.add(*call);
                parts[*part].add(*call);
            }
            for (number, part) in parts.iter().enumerate() {
                let mut at_once = Totals::default();
                let of_part = calls.iter().zip(&cuts).filter(|(_, of)| **of == number);
                at_once.add_all(of_part.map(|(call, _)| *call), |trace| trace, &mut Tally::default());
                prop_assert_eq!(&at_once, part);
            }
            let mut sum = Totals::default();
            for part in parts.iter().rev() {
                sum.merge(part);
            }
            prop_assert_eq!(sum, whole);
        }
    }
}
