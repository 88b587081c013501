//! What leaves: the alerts that a notifier is told of, and how. The evaluator hands over, it never waits and never knows
//! whom it tells; a notifier groups, repeats, retries and remembers.
//!
//! Handing over is by level, not by edge, as Prometheus does it: a firing alert is given again every
//! [`RESEND_DELAY_NS`] for as long as it fires, a resolved one until [`RESOLVED_RETENTION_NS`] after its end. So what
//! is lost on the way comes again, and a notifier has to recognise what it has told already (by the fingerprint and
//! the state). Each time `ends_at_ns` moves on: a firing alert that has not been given again by its `ends_at_ns` (its
//! rule fails, was cleared by its group's limit, or the server was stopped) counts as resolved at that time, as it does
//! in Alertmanager.
//!
//! A notifier is a [`worker`] of its own. Its [`queue`] says what is due: groups as Alertmanager forms them, or, for an
//! Alertmanager, what it has not got yet. Its [`channel`] brings one notification to one destination. What the queue
//! holds and what was said of it is kept in [`NotifyState`], so that a restart neither forgets nor repeats.

mod address;
mod alertmanager;
mod backoff;
mod channel;
pub mod config;
mod email;
mod failure;
mod groups;
mod http;
mod inbox;
mod metrics;
mod notifiers;
mod outbox;
mod queue;
mod secret;
mod slack;
mod state;
mod status;
#[cfg(test)]
mod testing;
mod time;
mod webhook;
mod wording;
mod worker;

use orrery_api::{Labels, NotifierStatus};
use serde::{Deserialize, Serialize};

pub use config::NotifierConfig;
pub use metrics::{Metric, Sample};
pub use notifiers::{Notifiers, NotifyError};
pub use queue::Change;
pub use secret::{Secret, SecretError};
pub use state::{NotifyState, StateError};

const SECOND_NS: i64 = 1_000_000_000;

/// A firing or lately resolved alert is given again after this.
pub const RESEND_DELAY_NS: i64 = 60 * SECOND_NS;

/// For so long after its end a resolved alert is given again.
pub const RESOLVED_RETENTION_NS: i64 = 15 * 60 * SECOND_NS;

/// Pending alerts never leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Firing,
    Resolved,
}

/// One alert as it leaves. Times are nanoseconds since the Unix epoch, UTC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// 16 hexadecimal digits made from all labels; the same as long as the labels are.
    pub fingerprint: String,
    pub state: State,
    /// All labels, `alertname` among them. Names match `[a-zA-Z_][a-zA-Z0-9_]*`, no value is empty.
    pub labels: Labels,
    pub annotations: Labels,
    /// When it began to fire, that is after `for`, as Prometheus sends it (`FiredAt`).
    pub starts_at_ns: i64,
    /// Of a resolved alert its end; of a firing one the time until which it is valid without being given again: four
    /// times the longer of the group's interval and the resend delay from the evaluation on.
    pub ends_at_ns: i64,
    /// The alert's place in the dashboard.
    pub generator_url: String,
    /// Of the last evaluation that gave the row; may be NaN or infinite, so that its JSON is its text.
    #[serde(with = "number_as_text")]
    pub value: f64,
    /// Example traces, the worst first; at most ten.
    pub trace_ids: Vec<String>,
}

/// Whom the evaluator tells. One a process; it fans out to the notifiers of the configuration.
pub trait Notify: Send + Sync + 'static {
    /// Takes the alerts of one rule's evaluation, never empty. Called from asynchronous tasks: it must return at once,
    /// queue within a limit of its own, and say in a metric and in [`Notify::status`] what it could not take.
    fn take(&self, alerts: Vec<Alert>);

    /// Each notifier's state, in the order of the configuration.
    fn status(&self) -> Vec<NotifierStatus>;
}

/// Tells nobody: a server without notifiers, whose alerts are on the dashboard and in the table `alerts` only.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

impl Notify for Nobody {
    fn take(&self, _alerts: Vec<Alert>) {}

    fn status(&self) -> Vec<NotifierStatus> {
        Vec::new()
    }
}

/// JSON has no NaN and no infinity.
pub(crate) mod number_as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_of_any_value_comes_back_from_its_json() {
        for value in [0.25, -1e300, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            let alert = Alert {
                fingerprint: "00000000000000ff".to_owned(),
                state: State::Firing,
                labels: [("alertname".to_owned(), "Down".to_owned())].into(),
                annotations: Labels::new(),
                starts_at_ns: 1,
                ends_at_ns: 2,
                generator_url: "http://127.0.0.1:8080/alerts".to_owned(),
                value,
                trace_ids: vec!["0af7651916cd43dd8448eb211c80319c".to_owned()],
            };
            let json = serde_json::to_string(&alert).expect("it has a JSON");
            let back: Alert = serde_json::from_str(&json).expect("it is read back");
            assert_eq!(back.value.to_bits(), value.to_bits());
            assert_eq!(back.labels, alert.labels);
        }
    }
}
