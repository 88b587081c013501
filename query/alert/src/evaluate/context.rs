//! What all groups share: where they ask, where state is kept, and whom they tell. Keeps no state of a rule.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use orrery_model::Clock;
use orrery_query::{Engine, Lane};
use orrery_storage::{AlertChanges, AlertState};
use tokio::sync::Mutex;

use crate::notify::Notify;

/// Changes of state that wait for a database that cannot be written; older ones are given up, and that is counted.
const MAX_UNKEPT: usize = 10_000;

pub struct Context {
    pub engine: Arc<Engine>,
    /// Places and memory for rules, which queries of people cannot take.
    pub lane: Arc<Lane>,
    pub clock: Arc<dyn Clock>,
    pub notify: Arc<dyn Notify>,
    /// Where people reach this server, without a slash at its end.
    pub external_url: String,
    pub state: Arc<AlertState>,
    /// Told when the history has something for the lake.
    pub history: Arc<tokio::sync::Notify>,
    pub keep_failures: AtomicU64,
    pub given_up: AtomicU64,
    /// What could not be kept yet.
    unkept: Mutex<AlertChanges>,
}

impl Context {
    pub fn new(
        engine: Arc<Engine>,
        lane: Arc<Lane>,
        clock: Arc<dyn Clock>,
        notify: Arc<dyn Notify>,
        external_url: String,
        state: Arc<AlertState>,
    ) -> Self {
        Self {
            engine,
            lane,
            clock,
            notify,
            external_url,
            state,
            history: Arc::default(),
            keep_failures: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
            unkept: Mutex::default(),
        }
    }

    /// Keeps changes, together with those that could not be kept before. Where that fails the rules go on: an alert is
    /// worth more than its memory.
    pub async fn keep(&self, changes: AlertChanges) {
        let mut unkept = self.unkept.lock().await;
        unkept.extend(changes);
        if unkept.is_empty() {
            return;
        }
        match self.state.apply(&unkept).await {
            Ok(()) => {
                if !unkept.history.is_empty() {
                    self.history.notify_one();
                }
                *unkept = AlertChanges::default();
            }
            Err(error) => {
                self.keep_failures.fetch_add(1, Ordering::Relaxed);
                let excess = unkept.history.len().saturating_sub(MAX_UNKEPT);
                unkept.history.drain(..excess);
                self.given_up.fetch_add(excess as u64, Ordering::Relaxed);
                tracing::error!(%error, "the state of alerts cannot be kept; it is tried again with the next change");
            }
        }
    }
}
