//! The alerts of one rule and how their states change, as Prometheus specifies it
//! (<https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/>): rows in, transitions and what is to be
//! sent out. Pure: it does no I/O and knows no clock but the times of evaluations that it is given.

mod alert;
mod restored;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use alert::{Alert, Sample, State};
pub use restored::{FOR_GRACE_NS, OUTAGE_TOLERANCE_NS};

use crate::labels::Fingerprint;
use crate::notify::{RESEND_DELAY_NS, RESOLVED_RETENTION_NS};

/// What a rule asks of its alerts. Durations in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// A row has to be there for so long before its alert fires.
    pub for_ns: i64,
    /// A firing alert goes on for so long without its row.
    pub keep_firing_for_ns: i64,
    /// Pending and firing alerts that the rule may have; 0 is no limit.
    pub limit: u64,
    /// Of the rule's group.
    pub interval_ns: i64,
}

/// A change of state.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    pub fingerprint: Fingerprint,
    /// `None` is inactive.
    pub from: Option<State>,
    pub to: Option<State>,
    /// As it is after the change.
    pub alert: Alert,
}

/// What an evaluation changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// In the order of the fingerprints.
    pub transitions: Vec<Transition>,
    /// Alerts to be kept as they are for the next start.
    pub changed: Vec<Fingerprint>,
    /// Alerts that are gone.
    pub removed: Vec<Fingerprint>,
    /// Alerts that notifiers are to be told of.
    pub send: Vec<Fingerprint>,
}

/// Why rows are no alerts. The alerts are as they were, but for [`Refused::Limit`], which clears them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("two rows have the same labels: {labels}")]
    SameLabels { labels: String },
    #[error("{found} alerts, and the group's limit is {limit}: all alerts of the rule are cleared")]
    Limit { found: u64, limit: u64 },
}

/// The alerts of one rule.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alerts {
    alerts: BTreeMap<Fingerprint, Alert>,
    /// The time of the last evaluation, of a process before this one until `restored` has been dealt with.
    last_ns: Option<i64>,
    restored: bool,
}

impl Alerts {
    /// The alerts as they were kept when their rule was last evaluated. The first evaluation makes up for the time in
    /// between.
    pub fn restored(alerts: BTreeMap<Fingerprint, Alert>, last_ns: Option<i64>) -> Self {
        Self { alerts, last_ns, restored: true }
    }

    pub fn iter(&self) -> impl Iterator<Item = (Fingerprint, &Alert)> {
        self.alerts.iter().map(|(fingerprint, alert)| (*fingerprint, alert))
    }

    pub fn get(&self, fingerprint: Fingerprint) -> Option<&Alert> {
        self.alerts.get(&fingerprint)
    }

    /// Adds example traces to an alert that is there.
    pub fn set_trace_ids(&mut self, fingerprint: Fingerprint, trace_ids: Vec<String>) {
        if let Some(alert) = self.alerts.get_mut(&fingerprint) {
            alert.trace_ids = trace_ids;
        }
    }

    /// The most urgent state of all, `None` where nothing is wrong.
    pub fn state(&self) -> Option<State> {
        self.alerts.values().map(|alert| alert.state).filter(|state| *state != State::Resolved).max()
    }

    /// The result of an evaluation that was for `now_ns`. Where the clock went back, the alerts' times go back with it,
    /// so that what has been waited for counts, and no more.
    pub fn evaluate(&mut self, terms: &Terms, now_ns: i64, samples: Vec<Sample>) -> (Outcome, Option<Refused>) {
        let mut found = BTreeMap::new();
        for sample in samples {
            let fingerprint = Fingerprint::of(&sample.labels);
            if let Some(twice) = found.insert(fingerprint, sample) {
                return (Outcome::default(), Some(Refused::SameLabels { labels: in_braces(&twice) }));
            }
        }
        let mut outcome = Outcome::default();
        self.adjust(terms, now_ns, &mut outcome);
        let (limit, active) = (terms.limit, self.would_be_active(terms, now_ns, &found));
        if limit > 0 && active > limit {
            return (self.clear(outcome), Some(Refused::Limit { found: active, limit }));
        }
        let mut next = BTreeMap::new();
        let gone = std::mem::take(&mut self.alerts);
        for (fingerprint, before) in gone {
            let sample = found.remove(&fingerprint);
            step(terms, now_ns, fingerprint, Some(before), sample, &mut next, &mut outcome);
        }
        for (fingerprint, sample) in found {
            step(terms, now_ns, fingerprint, None, Some(sample), &mut next, &mut outcome);
        }
        self.alerts = next;
        outcome.transitions.sort_by_key(|transition| transition.fingerprint);
        for (fingerprint, alert) in &mut self.alerts {
            if alert.needs_sending(now_ns) {
                alert.last_sent_ns = Some(now_ns);
                outcome.send.push(*fingerprint);
            }
        }
        outcome.changed.sort_unstable();
        outcome.changed.dedup();
        (outcome, None)
    }

    /// Ends all alerts, since their rule is no more. What was firing resolves and is to be sent one last time.
    pub fn retire(&mut self, now_ns: i64) -> Outcome {
        let mut outcome = Outcome::default();
        for (fingerprint, alert) in &mut self.alerts {
            let from = alert.state;
            outcome.removed.push(*fingerprint);
            let to = match from {
                State::Resolved => continue,
                State::Pending => None,
                State::Firing => {
                    alert.resolve(now_ns);
                    outcome.send.push(*fingerprint);
                    Some(State::Resolved)
                }
            };
            outcome.transitions.push(Transition {
                fingerprint: *fingerprint,
                from: Some(from),
                to,
                alert: alert.clone(),
            });
        }
        outcome
    }

    fn clear(&mut self, mut outcome: Outcome) -> Outcome {
        outcome.changed.clear();
        for (fingerprint, alert) in std::mem::take(&mut self.alerts) {
            outcome.removed.push(fingerprint);
            if alert.state != State::Resolved {
                outcome.transitions.push(Transition { fingerprint, from: Some(alert.state), to: None, alert });
            }
        }
        outcome
    }

    /// How many alerts would be pending or firing.
    fn would_be_active(&self, terms: &Terms, now_ns: i64, found: &BTreeMap<Fingerprint, Sample>) -> u64 {
        let kept = self.alerts.iter().filter(|(fingerprint, alert)| {
            !found.contains_key(fingerprint) && alert.state == State::Firing && alert.is_kept(terms, now_ns)
        });
        (found.len() + kept.count()) as u64
    }
}

/// What becomes of one alert, by whether its row is there.
fn step(
    terms: &Terms,
    now_ns: i64,
    fingerprint: Fingerprint,
    before: Option<Alert>,
    sample: Option<Sample>,
    next: &mut BTreeMap<Fingerprint, Alert>,
    outcome: &mut Outcome,
) {
    // A resolved alert whose row is back is a new one.
    let from = before.as_ref().map(|alert| alert.state).filter(|state| *state != State::Resolved);
    let after = match (before, sample) {
        (Some(mut alert), Some(sample)) if from.is_some() => {
            if alert.keep_firing_since_ns.take().is_some() {
                outcome.changed.push(fingerprint);
            }
            alert.update(sample);
            Some(alert)
        }
        (_, Some(sample)) => Some(Alert::new(sample, now_ns)),
        (Some(alert), None) => without_row(terms, now_ns, fingerprint, alert, outcome),
        (None, None) => None,
    };
    let Some(mut alert) = after else {
        outcome.removed.push(fingerprint);
        return;
    };
    if alert.state == State::Pending && now_ns.saturating_sub(alert.active_since_ns) >= terms.for_ns {
        alert.state = State::Firing;
        alert.fired_at_ns = Some(now_ns);
    }
    let was_resolved = from.is_none() && alert.state == State::Resolved;
    if from != Some(alert.state) && !was_resolved {
        outcome.changed.push(fingerprint);
        let transition = Transition { fingerprint, from, to: Some(alert.state), alert: alert.clone() };
        outcome.transitions.push(transition);
    }
    next.insert(fingerprint, alert);
}

/// An alert whose row is not there: pending ones go, firing ones are kept for a while or resolve, resolved ones stay for
/// as long as notifiers have to be told.
fn without_row(
    terms: &Terms,
    now_ns: i64,
    fingerprint: Fingerprint,
    mut alert: Alert,
    outcome: &mut Outcome,
) -> Option<Alert> {
    match alert.state {
        State::Pending => {
            outcome.transitions.push(Transition { fingerprint, from: Some(State::Pending), to: None, alert });
            None
        }
        State::Firing if alert.is_kept(terms, now_ns) => {
            if alert.keep_firing_since_ns.is_none() {
                alert.keep_firing_since_ns = Some(now_ns);
                outcome.changed.push(fingerprint);
            }
            Some(alert)
        }
        State::Firing => {
            alert.resolve(now_ns);
            Some(alert)
        }
        State::Resolved => {
            let since = alert.resolved_at_ns.unwrap_or(now_ns);
            (now_ns.saturating_sub(since) <= RESOLVED_RETENTION_NS).then_some(alert)
        }
    }
}

/// Until when a firing alert that is sent at `now_ns` is valid.
pub fn valid_until(terms: &Terms, now_ns: i64) -> i64 {
    now_ns.saturating_add(4 * terms.interval_ns.max(RESEND_DELAY_NS))
}

fn in_braces(sample: &Sample) -> String {
    let pairs: Vec<String> = sample.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}
