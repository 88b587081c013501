//! What several tests of the notifiers need: alerts, notifications, a clock that stands still until it is moved, and a
//! state in memory.

mod alertmanager;
mod email;
mod groups;
mod http;
mod outbox;
mod script;
mod sink;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use orrery_api::Labels;
use orrery_model::Clock;
use parking_lot::Mutex;

use super::queue::{Change, Notification};
use super::state::{NotifyState, StateError};
use super::{Alert, State};

/// 2023-11-14T22:13:20Z.
pub const START_NS: i64 = 1_700_000_000_000_000_000;
pub const SECOND: i64 = 1_000_000_000;

pub fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A firing alert that began at [`START_NS`] and is valid for four minutes; its labels are its fingerprint.
pub fn alert(pairs: &[(&str, &str)]) -> Alert {
    let values: Vec<&str> = pairs.iter().map(|(_, value)| *value).collect();
    Alert {
        fingerprint: values.join("-"),
        labels: labels(pairs),
        annotations: labels(&[("summary", "it is broken")]),
        value: 0.25,
        state: State::Firing,
        starts_at_ns: START_NS,
        ends_at_ns: START_NS + 240 * SECOND,
        generator_url: "http://orrery.example.com/alerts?rule=Errors".to_owned(),
        trace_ids: vec!["0af7651916cd43dd8448eb211c80319c".to_owned()],
    }
}

/// The same, ended a minute after it began.
pub fn ended(alert: &Alert) -> Alert {
    Alert { state: State::Resolved, ends_at_ns: START_NS + 60 * SECOND, ..alert.clone() }
}

/// A notification of alerts that are grouped by the named labels.
pub fn notification(by: &[&str], alerts: &[&Alert]) -> Notification {
    let first = &alerts[0].labels;
    let group_labels = by.iter().map(|name| ((*name).to_owned(), first[*name].clone())).collect();
    let alerts: Vec<Arc<Alert>> = alerts.iter().map(|alert| Arc::new((*alert).clone())).collect();
    let named = |state: State| -> BTreeSet<String> {
        alerts.iter().filter(|alert| alert.state == state).map(|alert| alert.fingerprint.clone()).collect()
    };
    let (firing, resolved) = (named(State::Firing), named(State::Resolved));
    Notification { key: "key".to_owned(), at_ns: START_NS, group_labels, alerts, firing, resolved }
}

/// Shows the time it is set to.
pub struct SetClock(AtomicI64);

impl SetClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(START_NS)))
    }

    pub fn back(&self, by: Duration) {
        self.0.fetch_sub(super::time::ns(by), SeqCst);
    }

    pub fn forward(&self, by: Duration) {
        self.0.fetch_add(super::time::ns(by), SeqCst);
    }
}

impl Clock for SetClock {
    fn now_ns(&self) -> i64 {
        self.0.load(SeqCst)
    }
}

/// Keeps in memory what a database would, and fails when it is told to.
#[derive(Default)]
pub struct MemoryState {
    pub rows: Mutex<BTreeMap<String, String>>,
    pub broken: Mutex<bool>,
}

#[async_trait]
impl NotifyState for MemoryState {
    async fn load(&self) -> Result<Vec<(String, String)>, StateError> {
        Ok(self.rows.lock().clone().into_iter().collect())
    }

    async fn save(&self, changes: Vec<Change>) -> Result<(), StateError> {
        if *self.broken.lock() {
            return Err(StateError("disk full".to_owned()));
        }
        let mut rows = self.rows.lock();
        for (key, value) in changes {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        Ok(())
    }
}
