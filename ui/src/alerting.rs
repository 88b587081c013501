//! What the pages say about alerts, without the document: how urgent one is, which of them a search finds, where its
//! states lie in a window, and which window a rule looks at.

use std::collections::BTreeMap;

use orrery_api::{Alert, AlertState, Labels, Rule, Transition};

use crate::instant;
use crate::range::Window;

/// The label that every alert has, its name.
const NAME: &str = "alertname";

/// The labels beside the name, which stands on its own.
pub fn own_labels(labels: &Labels) -> impl Iterator<Item = (&String, &String)> {
    labels.iter().filter(|(key, _)| key.as_str() != NAME)
}

/// Whether the severity that the rule was given is one that wakes nobody. Without a severity an alert counts as urgent.
pub fn is_mild(labels: &Labels) -> bool {
    let severity = labels.get("severity").map(|s| s.to_ascii_lowercase());
    matches!(severity.as_deref(), Some("warning" | "warn" | "info" | "notice" | "low" | "none"))
}

/// Whether a text occurs in the name, the service, the group, a label or an annotation, whatever its case.
pub fn matches(alert: &Alert, text: &str) -> bool {
    let wanted = text.trim().to_lowercase();
    let has = |s: &str| s.to_lowercase().contains(&wanted);
    wanted.is_empty()
        || has(&alert.alert)
        || has(&alert.group)
        || alert.service.as_deref().is_some_and(has)
        || alert.labels.values().any(|v| has(v))
        || alert.annotations.values().any(|v| has(v))
}

/// Whether an alert says that it is of another environment or namespace than the chosen ones. One that says neither
/// belongs to all: it is better shown once too often.
pub fn is_elsewhere(alert: &Alert, environment: Option<&str>, namespace: Option<&str>) -> bool {
    let says = |key: &str| alert.labels.get(key).map(String::as_str);
    let of_service = alert.service.as_deref().and_then(|s| s.split_once('/')).map(|(namespace, _)| namespace);
    let differs = |said: Option<&str>, chosen: Option<&str>| matches!((said, chosen), (Some(s), Some(c)) if s != c);
    differs(says("deployment_environment"), environment) || differs(says("service_namespace").or(of_service), namespace)
}

/// How many alerts fire for each service, and whether one of them is urgent.
pub fn firing_by_service(alerts: &[Alert]) -> BTreeMap<String, (usize, bool)> {
    let mut found: BTreeMap<String, (usize, bool)> = BTreeMap::new();
    for alert in alerts.iter().filter(|a| a.state == AlertState::Firing) {
        if let Some(service) = &alert.service {
            let (count, urgent) = found.entry(service.clone()).or_default();
            *count += 1;
            *urgent |= !is_mild(&alert.labels);
        }
    }
    found
}

/// Of those the ones of a service, by its id. An alert that names no namespace is of the services of that name in all of
/// them.
pub fn firing_of(found: &BTreeMap<String, (usize, bool)>, service: &str) -> Option<(usize, bool)> {
    let bare = service.split_once('/').and_then(|(_, name)| found.get(name));
    let both = found.get(service).into_iter().chain(bare).copied();
    both.reduce(|(count, urgent), (more, is_urgent)| (count + more, urgent || is_urgent))
}

/// One alert's states over a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Lane {
    pub fingerprint: String,
    pub alert: String,
    pub labels: Labels,
    /// Stretches in which it was pending or firing, in order of time, both ends inside the window.
    pub stretches: Vec<(i64, i64, AlertState)>,
    /// When it last changed, or where the window begins.
    pub changed: i64,
    /// Its state where the lane ends.
    pub state: AlertState,
}

/// The lanes of a window, those that fire at its end first, then pending ones, then the latest change first. `now` ends
/// lanes where the window reaches beyond it.
pub fn lanes(window: Window, now: i64, alerts: &[Alert], transitions: &[Transition]) -> Vec<Lane> {
    let end = window.end.min(now).max(window.start);
    let mut changes: BTreeMap<&str, Vec<(i64, &Transition)>> = BTreeMap::new();
    for transition in transitions {
        if let Some(at) = instant::parse(&transition.timestamp) {
            changes.entry(&transition.fingerprint).or_default().push((at, transition));
        }
    }
    let mut lanes: Vec<Lane> = Vec::new();
    for (fingerprint, mut changes) in changes {
        changes.sort_by_key(|(at, _)| *at);
        let Some((_, first)) = changes.first() else { continue };
        let mut lane = Lane {
            fingerprint: fingerprint.to_owned(),
            alert: first.alert.clone(),
            labels: first.labels.clone(),
            stretches: Vec::new(),
            changed: window.start,
            state: first.from,
        };
        for (at, change) in changes {
            lane.add(lane.changed, at.clamp(window.start, end));
            lane.changed = at.clamp(window.start, end);
            lane.state = change.to;
        }
        lane.add(lane.changed, end);
        lanes.push(lane);
    }
    // What has not changed in the window has no row in the history: it is as it was before.
    for alert in alerts.iter().filter(|a| !lanes.iter().any(|l| l.fingerprint == a.fingerprint)).collect::<Vec<_>>() {
        let at = |text: &Option<String>| text.as_deref().and_then(instant::parse);
        let Some(active) = instant::parse(&alert.active_since) else { continue };
        let mut lane = Lane {
            fingerprint: alert.fingerprint.clone(),
            alert: alert.alert.clone(),
            labels: alert.labels.clone(),
            stretches: Vec::new(),
            changed: active.max(window.start),
            state: AlertState::Pending,
        };
        for (next, to) in [(at(&alert.fired_at), AlertState::Firing), (at(&alert.resolved_at), AlertState::Resolved)] {
            if let Some(next) = next {
                let next = next.clamp(window.start, end);
                lane.add(lane.changed, next);
                lane.changed = next;
                lane.state = to;
            }
        }
        lane.add(lane.changed, end);
        if !lane.stretches.is_empty() {
            lanes.push(lane);
        }
    }
    lanes.sort_by(|a, b| rank(a.state).cmp(&rank(b.state)).then(b.changed.cmp(&a.changed)).then(a.alert.cmp(&b.alert)));
    lanes
}

impl Lane {
    fn add(&mut self, from: i64, to: i64) {
        if from < to && matches!(self.state, AlertState::Pending | AlertState::Firing) {
            self.stretches.push((from, to, self.state));
        }
    }
}

fn rank(state: AlertState) -> u8 {
    match state {
        AlertState::Firing => 0,
        AlertState::Pending => 1,
        AlertState::Resolved | AlertState::Inactive => 2,
    }
}

/// The window that a rule's query is asked for at an evaluation.
pub fn evaluated(rule: &Rule, end: i64) -> Window {
    let length = (rule.window_ms as i64).saturating_mul(instant::MILLISECOND);
    Window { start: end.saturating_sub(length), end }
}

#[cfg(test)]
mod tests;
