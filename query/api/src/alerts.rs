//! `GET /api/v1/alerts` (what is wrong at this moment, and the rules that say so) and `GET /api/v1/alerts/history`
//! (every change of state in a window).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Receipt;

/// Names and values, in the order of the names.
pub type Labels = BTreeMap<String, String>;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Alerts {
    /// Firing ones first, then pending, then those resolved within the last 15 minutes; of one state the latest change
    /// first.
    pub alerts: Vec<Alert>,
    /// In the order of their files and of their places in them.
    pub groups: Vec<RuleGroup>,
    /// Every file that the configuration's patterns name, the refused ones too.
    pub files: Vec<RuleFile>,
    pub notifiers: Vec<NotifierStatus>,
}

/// Where an alert, or the most urgent alert of a rule, stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// Nothing is wrong. Of rules and as the start of a transition only.
    #[default]
    Inactive,
    /// Wrong, but not for as long as the rule's `for` asks.
    Pending,
    Firing,
    /// It fired, and does no more.
    Resolved,
}

/// One instance of a rule: a row of its query, told from the others by its labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// 16 hexadecimal digits made from all labels; the same as long as the labels are.
    pub fingerprint: String,
    /// The rule's name, also the label `alertname`.
    pub alert: String,
    pub group: String,
    /// The rule's file, as it was found by the configuration's patterns.
    pub file: String,
    /// Never `inactive`.
    pub state: AlertState,
    pub labels: Labels,
    pub annotations: Labels,
    /// Of the last evaluation that gave the row. `None` where it is no finite number.
    pub value: Option<f64>,
    /// When the row was first there.
    pub active_since: String,
    /// When it went from pending to firing.
    pub fired_at: Option<String>,
    pub resolved_at: Option<String>,
    /// Set while the row is gone and `keep_firing_for` keeps the alert firing: since when it is gone.
    pub keep_firing_since: Option<String>,
    /// The service's id (`name`, or `namespace/name`), where the labels name one.
    pub service: Option<String>,
    /// Examples, the worst first; at most ten.
    pub trace_ids: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleGroup {
    pub name: String,
    pub file: String,
    pub interval_ms: u64,
    /// How far behind the clock the group evaluates.
    pub query_offset_ms: u64,
    /// Alerts a rule may have before it counts as failed; 0 is no limit.
    pub limit: u64,
    /// The time the last evaluation was for.
    pub last_evaluation: Option<String>,
    /// How long the whole group took, the last time.
    pub evaluation_ms: Option<f64>,
    /// Evaluations that were left out since the start, because the one before took too long or the machine slept.
    pub missed: u64,
    /// In the order in which they are evaluated.
    pub rules: Vec<Rule>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleHealth {
    /// Not evaluated since the start or the last change of its file.
    #[default]
    Unknown,
    Ok,
    /// The last evaluation failed; its alerts are as they were before.
    Error,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    pub alert: String,
    pub sql: String,
    /// From `$start` to `$end`.
    pub window_ms: u64,
    pub for_ms: u64,
    pub keep_firing_for_ms: u64,
    /// As the file has them, templates and all, the group's among the labels.
    pub labels: Labels,
    pub annotations: Labels,
    pub health: RuleHealth,
    pub error: Option<String>,
    /// The time the last evaluation was for.
    pub last_evaluation: Option<String>,
    /// How long the last evaluation took.
    pub evaluation_ms: Option<f64>,
    /// Where the rule begins in its file, from 1.
    pub line: u64,
    /// Its most urgent alert's, `inactive` where it has none; never `resolved`.
    pub state: AlertState,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleFile {
    pub path: String,
    /// Why the file was refused. Its rules of before, if it had any, go on.
    pub error: Option<RuleFileError>,
}

/// The first thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleFileError {
    pub message: String,
    /// From 1; 0 where the file as a whole is meant.
    pub line: u64,
    pub column: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NotifierStatus {
    pub name: String,
    /// `alertmanager`, `webhook`, `slack` or `email`.
    pub kind: String,
    /// Notifications since the start.
    pub sent: u64,
    pub failed: u64,
    pub last_success: Option<String>,
    pub last_error: Option<String>,
    /// Set from the first failure after a success to the next success.
    pub failing_since: Option<String>,
    /// Notifications that wait to be sent.
    pub queued: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertHistory {
    /// Newest first; at most `limit` (1,000 by default, 10,000 at most).
    pub transitions: Vec<Transition>,
    pub receipt: Receipt,
}

/// A change of an alert's state: a row of the table `alerts`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// The evaluation's time.
    pub timestamp: String,
    pub alert: String,
    pub group: String,
    pub fingerprint: String,
    pub from: AlertState,
    pub to: AlertState,
    /// `None` where it is no finite number.
    pub value: Option<f64>,
    pub labels: Labels,
}
