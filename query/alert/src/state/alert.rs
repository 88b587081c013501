//! One alert: its labels, its state and the times of its life. Times are those of evaluations, in nanoseconds.

use orrery_api::Labels;
use serde::{Deserialize, Serialize};

use super::Terms;
use crate::notify::RESEND_DELAY_NS;

/// What an alert that exists may be; by urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Resolved,
    Pending,
    Firing,
}

/// A row of a rule's result with the rule's templates carried out over it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// All of them, `alertname` and the rule's own among them.
    pub labels: Labels,
    pub annotations: Labels,
    pub value: f64,
    /// Of the row; none where it names none.
    pub trace_ids: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    pub labels: Labels,
    pub annotations: Labels,
    /// JSON has no NaN and no infinity.
    #[serde(with = "crate::notify::number_as_text")]
    pub value: f64,
    pub state: State,
    /// Since when the row has been there without a break.
    pub active_since_ns: i64,
    pub fired_at_ns: Option<i64>,
    pub resolved_at_ns: Option<i64>,
    /// Since when the row of a firing alert has been gone.
    pub keep_firing_since_ns: Option<i64>,
    #[serde(default)]
    pub trace_ids: Vec<String>,
    /// Not kept across restarts: what is sent once too often does no harm.
    #[serde(skip)]
    pub last_sent_ns: Option<i64>,
}

impl Alert {
    pub(super) fn new(sample: Sample, now_ns: i64) -> Self {
        Self {
            labels: sample.labels,
            annotations: sample.annotations,
            value: sample.value,
            state: State::Pending,
            active_since_ns: now_ns,
            fired_at_ns: None,
            resolved_at_ns: None,
            keep_firing_since_ns: None,
            trace_ids: sample.trace_ids,
            last_sent_ns: None,
        }
    }

    pub(super) fn update(&mut self, sample: Sample) {
        self.value = sample.value;
        self.annotations = sample.annotations;
        if !sample.trace_ids.is_empty() {
            self.trace_ids = sample.trace_ids;
        }
    }

    pub(super) fn resolve(&mut self, now_ns: i64) {
        self.state = State::Resolved;
        self.resolved_at_ns = Some(now_ns);
    }

    /// Whether an alert whose row is not there goes on firing.
    pub(super) fn is_kept(&self, terms: &Terms, now_ns: i64) -> bool {
        let gone_for = now_ns.saturating_sub(self.keep_firing_since_ns.unwrap_or(now_ns));
        terms.keep_firing_for_ns > 0 && gone_for < terms.keep_firing_for_ns
    }

    /// Whether notifiers are to be told, at once after a change and then every [`RESEND_DELAY_NS`].
    pub(super) fn needs_sending(&self, now_ns: i64) -> bool {
        if self.state == State::Pending {
            return false;
        }
        let Some(last) = self.last_sent_ns else { return true };
        self.resolved_at_ns.is_some_and(|resolved| resolved > last) || last.saturating_add(RESEND_DELAY_NS) <= now_ns
    }

    /// Moves every time.
    pub(super) fn shift(&mut self, by_ns: i64) {
        self.active_since_ns = self.active_since_ns.saturating_add(by_ns);
        let times =
            [&mut self.fired_at_ns, &mut self.resolved_at_ns, &mut self.keep_firing_since_ns, &mut self.last_sent_ns];
        for time in times.into_iter().flatten() {
            *time = time.saturating_add(by_ns);
        }
    }
}
