//! What an Alertmanager has not got yet. Everything that the evaluator hands over is sent once, as it is by the time that
//! it arrives; when it is to be sent again is the evaluator's to say, and grouping and repeating are Alertmanager's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use orrery_api::Labels;

use super::inbox::MAX_ALERTS;
use super::queue::{Change, Notification, Queue};
use super::{Alert, RESEND_DELAY_NS, RESOLVED_RETENTION_NS, State};

/// Alerts in a request.
const BATCH: usize = 64;

#[derive(Default)]
pub struct Outbox {
    /// By fingerprint; at most [`MAX_ALERTS`].
    alerts: BTreeMap<String, Unsent>,
    failures: u32,
    /// What is kept over restarts: alerts that failed once. The others are handed over anew after a restart.
    kept: BTreeSet<String>,
    changed: BTreeSet<String>,
    expired: u64,
}

struct Unsent {
    alert: Arc<Alert>,
    /// Not to be sent before.
    next_ns: i64,
    under_way: bool,
}

impl Unsent {
    /// Whether it no longer holds and its end need not be told.
    fn is_over(&self, now_ns: i64) -> bool {
        let told_for_ns = if self.alert.state == State::Resolved { RESOLVED_RETENTION_NS } else { 0 };
        !self.under_way && self.alert.ends_at_ns.saturating_add(told_for_ns) <= now_ns
    }
}

impl Outbox {
    fn give_up_what_is_over(&mut self, now_ns: i64) {
        let over: Vec<String> =
            self.alerts.iter().filter(|(_, unsent)| unsent.is_over(now_ns)).map(|(key, _)| key.clone()).collect();
        self.expired += over.len() as u64;
        for key in over {
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &str) {
        self.alerts.remove(key);
        if self.kept.remove(key) {
            self.changed.insert(key.to_owned());
        }
    }
}

impl Queue for Outbox {
    fn update(&mut self, alert: Arc<Alert>, now_ns: i64) -> bool {
        let key = alert.fingerprint.clone();
        if let Some(unsent) = self.alerts.get_mut(&key) {
            unsent.alert = alert;
            if self.kept.contains(&key) {
                self.changed.insert(key);
            }
            return true;
        }
        let has_room = self.alerts.len() < MAX_ALERTS;
        if has_room {
            self.alerts.insert(key, Unsent { alert, next_ns: now_ns, under_way: false });
        }
        has_room
    }

    fn extend(&mut self, _by_ns: i64) {}

    fn turn_back(&mut self, by_ns: i64) {
        for unsent in self.alerts.values_mut() {
            unsent.next_ns = unsent.next_ns.saturating_sub(by_ns);
        }
    }

    fn take(&mut self, now_ns: i64) -> Option<Notification> {
        self.give_up_what_is_over(now_ns);
        let due = self.alerts.values_mut().filter(|unsent| !unsent.under_way && unsent.next_ns <= now_ns);
        let mut alerts = Vec::new();
        for unsent in due.take(BATCH) {
            unsent.under_way = true;
            alerts.push(Arc::clone(&unsent.alert));
        }
        let key = alerts.first()?.fingerprint.clone();
        let named = |state: State| -> BTreeSet<String> {
            alerts.iter().filter(|alert| alert.state == state).map(|alert| alert.fingerprint.clone()).collect()
        };
        let (firing, resolved) = (named(State::Firing), named(State::Resolved));
        Some(Notification { key, at_ns: now_ns, group_labels: Labels::new(), alerts, firing, resolved })
    }

    fn next_ns(&self) -> Option<i64> {
        self.alerts.values().filter(|unsent| !unsent.under_way).map(|unsent| unsent.next_ns).min()
    }

    fn delivered(&mut self, notification: &Notification, now_ns: i64) {
        self.failures = 0;
        for sent in &notification.alerts {
            match self.alerts.get_mut(&sent.fingerprint) {
                // It was handed over anew while this one was under way.
                Some(unsent) if !Arc::ptr_eq(&unsent.alert, sent) => {
                    (unsent.under_way, unsent.next_ns) = (false, now_ns);
                }
                _ => self.remove(&sent.fingerprint),
            }
        }
    }

    fn failed(&mut self, notification: &Notification, retry_ns: Option<i64>, now_ns: i64) {
        self.failures = self.failures.saturating_add(1);
        for sent in &notification.alerts {
            let Some(unsent) = self.alerts.get_mut(&sent.fingerprint) else { continue };
            unsent.under_way = false;
            unsent.next_ns = retry_ns.unwrap_or_else(|| now_ns.saturating_add(RESEND_DELAY_NS));
            self.kept.insert(sent.fingerprint.clone());
            self.changed.insert(sent.fingerprint.clone());
        }
    }

    fn failures(&self, _key: &str) -> u32 {
        self.failures
    }

    fn waiting(&self, _now_ns: i64) -> u64 {
        self.alerts.len().div_ceil(BATCH) as u64
    }

    fn take_expired(&mut self) -> u64 {
        std::mem::take(&mut self.expired)
    }

    fn take_changes(&mut self) -> Vec<Change> {
        let row = |unsent: &Unsent| serde_json::to_string(&*unsent.alert).expect("maps with text keys are JSON");
        let mut changes = Vec::new();
        for key in std::mem::take(&mut self.changed) {
            let unsent = self.alerts.get(&key).filter(|_| self.kept.contains(&key));
            let row = unsent.map(row);
            changes.push((key, row));
        }
        changes
    }

    fn restore(&mut self, rows: Vec<(String, String)>, now_ns: i64) {
        for (key, row) in rows {
            match serde_json::from_str::<Alert>(&row) {
                Ok(alert) if alert.fingerprint == key => {
                    self.update(Arc::new(alert), now_ns);
                    self.kept.insert(key);
                }
                _ => {
                    tracing::warn!(alert.fingerprint = key, "an alert cannot be read back and is forgotten");
                    self.changed.insert(key);
                }
            }
        }
    }
}
