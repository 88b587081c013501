//! What the notifiers count, under the names that a scrape has. Labels are the notifiers' names, which the configuration
//! bounds. Never formats or serves anything.

use super::status::{Counters, Counts};

/// The names of the notifiers' metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    Sent,
    Failed,
    Dropped,
    SendSeconds,
    StateFailures,
    Queued,
    Failing,
}

impl Metric {
    pub const ALL: [Self; 7] =
        [Self::Sent, Self::Failed, Self::Dropped, Self::SendSeconds, Self::StateFailures, Self::Queued, Self::Failing];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Sent => "orrery_notifier_sent_total",
            Self::Failed => "orrery_notifier_failed_total",
            Self::Dropped => "orrery_notifier_dropped_total",
            Self::SendSeconds => "orrery_notifier_send_seconds_total",
            Self::StateFailures => "orrery_notifier_state_failures_total",
            Self::Queued => "orrery_notifier_queued",
            Self::Failing => "orrery_notifier_failing",
        }
    }

    pub const fn help(self) -> &'static str {
        match self {
            Self::Sent => "notifications that arrived",
            Self::Failed => "attempts to send a notification that failed",
            Self::Dropped => {
                "what was given up: alerts for which there was no room (full), notifications that came too late (expired)"
            }
            Self::SendSeconds => "time spent sending, successful or not",
            Self::StateFailures => "times that what was sent could not be kept for the next start",
            Self::Queued => "notifications that wait to be sent or to be tried again",
            Self::Failing => "1 from the first failure after a success to the next success",
        }
    }

    /// A gauge; the others are counters.
    pub const fn is_gauge(self) -> bool {
        matches!(self, Self::Queued | Self::Failing)
    }
}

/// One value with its labels, as a scrape has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub metric: Metric,
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
}

pub fn samples(notifiers: &[&Counters]) -> Vec<Sample> {
    let counts: Vec<(&Counters, Counts)> = notifiers.iter().map(|counters| (*counters, counters.counts())).collect();
    let mut samples = Vec::new();
    for metric in Metric::ALL {
        for (counters, counts) in &counts {
            let labels = vec![("notifier", counters.name.clone()), ("kind", counters.kind.to_owned())];
            let mut push = |labels, value| samples.push(Sample { metric, labels, value });
            match metric {
                Metric::Sent => push(labels, counts.sent as f64),
                Metric::Failed => push(labels, counts.failed as f64),
                Metric::Dropped => {
                    for (reason, value) in [("full", counts.full), ("expired", counts.expired)] {
                        push([labels.clone(), vec![("reason", reason.to_owned())]].concat(), value as f64);
                    }
                }
                Metric::SendSeconds => push(labels, counts.send_ns as f64 / 1e9),
                Metric::StateFailures => push(labels, counts.state_failures as f64),
                Metric::Queued => push(labels, counts.queued as f64),
                Metric::Failing => push(labels, f64::from(u8::from(counts.failing))),
            }
        }
    }
    samples
}
