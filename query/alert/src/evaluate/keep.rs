//! What is kept of a rule's alerts for the next start, and the changes of state on their way into the lake: as JSON under
//! the rule's key. Reads and writes no database.

use std::collections::{BTreeMap, HashMap};

use orrery_api::Labels;
use orrery_storage::{AlertChanges, KeptAlert};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::labels::Fingerprint;
use crate::rules::Rule;
use crate::state::{Alert, Alerts, Outcome, State};

/// What a rule is recognised by over reloads and restarts, as in Prometheus: its file, its group, its name and its labels
/// as they are written. Other things may change and its alerts go on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleKey {
    pub file: String,
    pub group: String,
    pub alert: String,
    labels: u64,
}

impl RuleKey {
    pub fn of(file: &str, group: &str, rule: &Rule) -> Self {
        let mut texts = String::new();
        for (name, text) in rule.label_texts() {
            texts.push_str(&format!("{}:{name}{}:{text}", name.len(), text.len()));
        }
        let labels = xxh3_64(texts.as_bytes());
        Self { file: file.to_owned(), group: group.to_owned(), alert: rule.alert.clone(), labels }
    }

    pub fn text(&self) -> String {
        serde_json::json!([self.file, self.group, self.alert, format!("{:016x}", self.labels)]).to_string()
    }

    pub fn parse(text: &str) -> Option<Self> {
        let (file, group, alert, labels): (String, String, String, String) = serde_json::from_str(text).ok()?;
        Some(Self { file, group, alert, labels: u64::from_str_radix(&labels, 16).ok()? })
    }

    /// The name under which the group's evaluations are kept.
    pub fn group_text(&self) -> String {
        group_text(&self.file, &self.group)
    }
}

pub fn group_text(file: &str, group: &str) -> String {
    serde_json::json!([file, group]).to_string()
}

/// The alerts of all rules as they were kept. What cannot be read is left out and said.
pub fn read(kept: Vec<KeptAlert>) -> HashMap<RuleKey, BTreeMap<Fingerprint, Alert>> {
    let mut rules: HashMap<RuleKey, BTreeMap<Fingerprint, Alert>> = HashMap::new();
    for KeptAlert { rule, fingerprint, state } in kept {
        let alert = serde_json::from_str::<Alert>(&state);
        match (RuleKey::parse(&rule), Fingerprint::parse(&fingerprint), alert) {
            (Some(key), Some(fingerprint), Ok(alert)) => {
                rules.entry(key).or_default().insert(fingerprint, alert);
            }
            _ => tracing::error!(rule, fingerprint, "the state of an alert cannot be read; it begins anew"),
        }
    }
    rules
}

/// What an evaluation for `now_ns` changed, as it is kept.
pub fn changes(key: &RuleKey, alerts: &Alerts, outcome: &Outcome, now_ns: i64) -> AlertChanges {
    let rule = key.text();
    let put = outcome.changed.iter().filter_map(|fingerprint| {
        let state = serde_json::to_string(alerts.get(*fingerprint)?).expect("an alert has a JSON");
        Some(KeptAlert { rule: rule.clone(), fingerprint: fingerprint.to_string(), state })
    });
    AlertChanges {
        put: put.collect(),
        remove: outcome.removed.iter().map(|fingerprint| (rule.clone(), fingerprint.to_string())).collect(),
        history: HistoryRow::of(key, outcome, now_ns).iter().map(HistoryRow::text).collect(),
        evaluated: Vec::new(),
    }
}

/// A row of the table `alerts`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryRow {
    pub timestamp_ns: i64,
    pub alert: String,
    pub group: String,
    pub file: String,
    pub fingerprint: String,
    /// `None` is inactive.
    pub from: Option<State>,
    pub to: Option<State>,
    pub active_since_ns: i64,
    #[serde(with = "crate::notify::number_as_text")]
    pub value: f64,
    pub labels: Labels,
    pub annotations: Labels,
    pub trace_ids: Vec<String>,
}

impl HistoryRow {
    fn of(key: &RuleKey, outcome: &Outcome, now_ns: i64) -> Vec<Self> {
        let row = |transition: &crate::state::Transition| Self {
            timestamp_ns: now_ns,
            alert: key.alert.clone(),
            group: key.group.clone(),
            file: key.file.clone(),
            fingerprint: transition.fingerprint.to_string(),
            from: transition.from,
            to: transition.to,
            active_since_ns: transition.alert.active_since_ns,
            value: transition.alert.value,
            labels: transition.alert.labels.clone(),
            annotations: transition.alert.annotations.clone(),
            trace_ids: transition.alert.trace_ids.clone(),
        };
        outcome.transitions.iter().map(row).collect()
    }

    fn text(&self) -> String {
        serde_json::to_string(self).expect("a row has a JSON")
    }
}

/// As the table has it.
pub const fn word(state: Option<State>) -> &'static str {
    match state {
        None => "inactive",
        Some(State::Pending) => "pending",
        Some(State::Firing) => "firing",
        Some(State::Resolved) => "resolved",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::file;
    use crate::state::{Sample, Terms};

    fn rule(labels: &str) -> Rule {
        let text = format!("groups: [{{name: g, rules: [{{alert: Down, sql: SELECT 1 AS value, labels: {labels}}}]}}]");
        file::parse(&text).expect("a rule file").groups[0].rules[0].clone()
    }

    #[test]
    fn keys_tell_rules_apart_and_come_back() {
        let key = RuleKey::of("rules/\"a\".yaml", "g", &rule("{severity: page}"));
        assert_eq!(RuleKey::parse(&key.text()), Some(key.clone()));
        assert_eq!(RuleKey::of("rules/\"a\".yaml", "g", &rule("{severity: page}")), key);
        assert_ne!(RuleKey::of("rules/\"a\".yaml", "g", &rule("{severity: ticket}")), key);
        assert_ne!(RuleKey::of("rules/b.yaml", "g", &rule("{severity: page}")), key);
        assert_eq!(RuleKey::parse("[]"), None);
    }

    #[test]
    fn what_is_kept_comes_back_as_it_was() {
        let key = RuleKey::of("a.yaml", "g", &rule("{}"));
        let sample = Sample {
            labels: [("alertname".to_owned(), "Down".to_owned())].into(),
            value: f64::NAN,
            trace_ids: vec!["aa".to_owned()],
            ..Sample::default()
        };
        let mut alerts = Alerts::default();
        let (outcome, _) = alerts.evaluate(&Terms::default(), 5, vec![sample]);
        let changes = changes(&key, &alerts, &outcome, 5);
        assert_eq!((changes.put.len(), changes.remove.len(), changes.history.len()), (1, 0, 1));
        let mut garbled = changes.put.clone();
        garbled.push(KeptAlert { state: "{}".to_owned(), ..changes.put[0].clone() });
        let read = read(garbled);
        let (fingerprint, alert) = read[&key].iter().next().expect("an alert");
        assert_eq!((alert.state, alert.fired_at_ns, alert.trace_ids.len()), (State::Firing, Some(5), 1));
        assert!(alert.value.is_nan());
        let row: HistoryRow = serde_json::from_str(&changes.history[0]).expect("a row");
        assert_eq!((row.timestamp_ns, row.from, row.to), (5, None, Some(State::Firing)));
        assert_eq!(row.fingerprint, fingerprint.to_string());
    }
}
