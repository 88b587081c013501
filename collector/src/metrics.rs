//! What the receivers count: plain atomics, and one list of names from which the binary renders them. Every label's values
//! are fixed beforehand. Never formats or serves anything.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use orrery_model::Signal;

use crate::decode::{Reason, Rejections};
use crate::refusal::Kind;

/// The doors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Protocol {
    Grpc,
    HttpProtobuf,
    HttpJson,
}

impl Protocol {
    pub const ALL: [Self; 3] = [Self::Grpc, Self::HttpProtobuf, Self::HttpJson];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::HttpProtobuf => "http_protobuf",
            Self::HttpJson => "http_json",
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Accepted,
    /// Accepted, but for some records.
    Partial,
    /// A copy of a request stored shortly before.
    Duplicate,
    Refused(Kind),
}

impl Outcome {
    const COUNT: usize = 3 + Kind::ALL.len();

    const fn index(self) -> usize {
        match self {
            Self::Accepted => 0,
            Self::Partial => 1,
            Self::Duplicate => 2,
            Self::Refused(kind) => 3 + kind as usize,
        }
    }

    fn all() -> impl Iterator<Item = Self> {
        [Self::Accepted, Self::Partial, Self::Duplicate].into_iter().chain(Kind::ALL.into_iter().map(Self::Refused))
    }

    pub const fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Partial => "partial",
            Self::Duplicate => "duplicate",
            Self::Refused(kind) => kind.word(),
        }
    }
}

/// The names of this crate's metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    Requests,
    WireBytes,
    RequestBytes,
    Records,
    RejectedRecords,
    DuplicateKeys,
    Rejections,
    UnroutedRequests,
    InFlightBytes,
    ActiveKeys,
    ActiveSeries,
}

impl Metric {
    pub const ALL: [Self; 11] = [
        Self::Requests,
        Self::WireBytes,
        Self::RequestBytes,
        Self::Records,
        Self::RejectedRecords,
        Self::DuplicateKeys,
        Self::Rejections,
        Self::UnroutedRequests,
        Self::InFlightBytes,
        Self::ActiveKeys,
        Self::ActiveSeries,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "orrery_receiver_requests_total",
            Self::WireBytes => "orrery_receiver_wire_bytes_total",
            Self::RequestBytes => "orrery_receiver_request_bytes_total",
            Self::Records => "orrery_receiver_records_total",
            Self::RejectedRecords => "orrery_receiver_rejected_records_total",
            Self::DuplicateKeys => "orrery_receiver_duplicate_keys_total",
            Self::UnroutedRequests => "orrery_receiver_unrouted_requests_total",
            Self::Rejections => "orrery_receiver_rejections_total",
            Self::InFlightBytes => "orrery_receiver_in_flight_bytes",
            Self::ActiveKeys => "orrery_receiver_active_keys",
            Self::ActiveSeries => "orrery_receiver_active_series",
        }
    }

    pub const fn help(self) -> &'static str {
        match self {
            Self::Requests => "OTLP requests by how they ended",
            Self::WireBytes => "bytes of request bodies as they came in",
            Self::RequestBytes => "bytes of request bodies decompressed and in protobuf",
            Self::Records => "spans, log records and data points accepted",
            Self::RejectedRecords => "spans, log records and data points rejected for good in partial_success",
            Self::DuplicateKeys => "attributes dropped because a later one of the same set has the same key",
            Self::UnroutedRequests => "requests to paths or methods that are not OTLP's",
            Self::Rejections => "records rejected for good, by the reason of each",
            Self::InFlightBytes => "bytes of requests that are being received or stored",
            Self::ActiveKeys => "different attribute keys that all tenants sent within an hour or two",
            Self::ActiveSeries => "different metric series that all tenants sent within an hour or two",
        }
    }

    /// A gauge; the others are counters.
    pub const fn is_gauge(self) -> bool {
        matches!(self, Self::InFlightBytes | Self::ActiveKeys | Self::ActiveSeries)
    }
}

/// One value with its labels, as a scrape has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    pub metric: Metric,
    pub labels: Vec<(&'static str, &'static str)>,
    pub value: u64,
}

/// The counters themselves.
#[derive(Default)]
pub struct Metrics {
    doors: [[Door; Protocol::ALL.len()]; Signal::ALL.len()],
    rejections: [[AtomicU64; Reason::WORDS.len()]; Signal::ALL.len()],
    pub(crate) unrouted: AtomicU64,
}

/// What is so now, all tenants together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gauges {
    pub in_flight_bytes: usize,
    pub keys: usize,
    pub series: usize,
}

/// One signal through one protocol.
#[derive(Default)]
pub(crate) struct Door {
    outcomes: [AtomicU64; Outcome::COUNT],
    pub wire_bytes: AtomicU64,
    pub request_bytes: AtomicU64,
    pub records: AtomicU64,
    pub rejected_records: AtomicU64,
    pub duplicate_keys: AtomicU64,
}

impl Door {
    pub fn count(&self, outcome: Outcome) {
        self.outcomes[outcome.index()].fetch_add(1, Relaxed);
    }
}

impl Metrics {
    pub(crate) fn door(&self, signal: Signal, protocol: Protocol) -> &Door {
        &self.doors[signal as usize - 1][protocol as usize]
    }

    /// The requests of a signal that came in by a protocol and ended so.
    pub fn requests(&self, signal: Signal, protocol: Protocol, outcome: Outcome) -> u64 {
        self.door(signal, protocol).outcomes[outcome.index()].load(Relaxed)
    }

    pub(crate) fn count_rejections(&self, signal: Signal, rejections: &Rejections) {
        for (counter, records) in self.rejections[signal as usize - 1].iter().zip(rejections) {
            counter.fetch_add(*records, Relaxed);
        }
    }

    /// Every value, grouped by metric.
    pub(crate) fn samples(&self, gauges: Gauges) -> Vec<Sample> {
        let mut samples = Vec::new();
        for metric in Metric::ALL {
            match metric {
                Metric::UnroutedRequests => samples.push(sample(metric, vec![], self.unrouted.load(Relaxed))),
                Metric::InFlightBytes => samples.push(sample(metric, vec![], gauges.in_flight_bytes as u64)),
                Metric::ActiveKeys => samples.push(sample(metric, vec![], gauges.keys as u64)),
                Metric::ActiveSeries => samples.push(sample(metric, vec![], gauges.series as u64)),
                Metric::Rejections => {
                    for signal in Signal::ALL {
                        for (reason, counter) in Reason::WORDS.iter().zip(&self.rejections[signal as usize - 1]) {
                            let labels = vec![("signal", signal.table_name()), ("reason", *reason)];
                            samples.push(sample(metric, labels, counter.load(Relaxed)));
                        }
                    }
                }
                _ => self.door_samples(metric, &mut samples),
            }
        }
        samples
    }

    fn door_samples(&self, metric: Metric, samples: &mut Vec<Sample>) {
        for signal in Signal::ALL {
            for protocol in Protocol::ALL {
                let door = self.door(signal, protocol);
                let labels = vec![("signal", signal.table_name()), ("protocol", protocol.word())];
                let value = match metric {
                    Metric::WireBytes => &door.wire_bytes,
                    Metric::RequestBytes => &door.request_bytes,
                    Metric::Records => &door.records,
                    Metric::RejectedRecords => &door.rejected_records,
                    Metric::DuplicateKeys => &door.duplicate_keys,
                    _ => {
                        for outcome in Outcome::all() {
                            let mut labels = labels.clone();
                            labels.push(("outcome", outcome.word()));
                            samples.push(sample(metric, labels, door.outcomes[outcome.index()].load(Relaxed)));
                        }
                        continue;
                    }
                };
                samples.push(sample(metric, labels, value.load(Relaxed)));
            }
        }
    }
}

fn sample(metric: Metric, labels: Vec<(&'static str, &'static str)>, value: u64) -> Sample {
    Sample { metric, labels, value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_a_counter_of_its_own() {
        let metrics = Metrics::default();
        metrics.door(Signal::Logs, Protocol::HttpJson).count(Outcome::Refused(Kind::Internal));
        let samples = metrics.samples(Gauges { in_flight_bytes: 7, keys: 0, series: 0 });
        let moved: Vec<_> = samples.iter().filter(|s| s.value != 0).collect();
        let labels = vec![("signal", "logs"), ("protocol", "http_json"), ("outcome", "internal")];
        assert_eq!(moved, [&sample(Metric::Requests, labels, 1), &sample(Metric::InFlightBytes, vec![], 7)]);
        let distinct: std::collections::HashSet<_> = Outcome::all().map(|o| (o.index(), o.word())).collect();
        assert_eq!(distinct.len(), Outcome::COUNT);
    }
}
