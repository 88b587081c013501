//! What the evaluator handed over and the worker has not taken yet: the latest of each alert. The evaluator never waits.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Alert;

/// Alerts at once; further ones are counted and come again with the next evaluation.
pub const MAX_ALERTS: usize = 10_000;

#[derive(Default)]
pub struct Inbox {
    alerts: Mutex<HashMap<String, Arc<Alert>>>,
    filled: Notify,
}

impl Inbox {
    /// Keeps the alerts; returns how many found no room.
    pub fn put(&self, alerts: &[Arc<Alert>]) -> u64 {
        let mut held = self.alerts.lock();
        let mut dropped = 0;
        for alert in alerts {
            if held.len() < MAX_ALERTS || held.contains_key(&alert.fingerprint) {
                held.insert(alert.fingerprint.clone(), Arc::clone(alert));
            } else {
                dropped += 1;
            }
        }
        drop(held);
        self.filled.notify_one();
        dropped
    }

    pub fn take(&self) -> Vec<Arc<Alert>> {
        self.alerts.lock().drain().map(|(_, alert)| alert).collect()
    }

    /// Returns when something was put in since the last time.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::alert;
    use super::*;

    #[tokio::test]
    async fn the_latest_of_each_alert_is_kept_up_to_the_limit() {
        let inbox = Inbox::default();
        let first: Vec<Arc<Alert>> = (0..MAX_ALERTS + 3).map(|n| Arc::new(alert(&[("n", &n.to_string())]))).collect();
        assert_eq!(inbox.put(&first), 3);
        let again = Arc::new(Alert { value: 9.0, ..(*first[0]).clone() });
        assert_eq!(inbox.put(std::slice::from_ref(&again)), 0, "there is room for what is there already");
        inbox.filled().await;
        let taken = inbox.take();
        assert_eq!(taken.len(), MAX_ALERTS);
        assert!(taken.contains(&again) && !taken.contains(&first[0]));
        assert!(inbox.take().is_empty());
    }
}
