//! How a notifier does: what it counted and when it last succeeded or failed. Read by the API and the metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use orrery_api::NotifierStatus;
use parking_lot::Mutex;

use super::time::api_time;

pub struct Counters {
    pub name: String,
    pub kind: &'static str,
    sent: AtomicU64,
    failed: AtomicU64,
    /// Alerts that found no room.
    full: AtomicU64,
    /// Notifications that nobody needed any more when they could have been sent.
    expired: AtomicU64,
    queued: AtomicU64,
    send_ns: AtomicU64,
    state_failures: AtomicU64,
    health: Mutex<Health>,
}

#[derive(Clone, Default)]
pub struct Health {
    pub last_success_ns: Option<i64>,
    /// Cleaned of secrets.
    pub last_error: Option<String>,
    pub failing_since_ns: Option<i64>,
}

/// The numbers of one notifier at one time.
pub struct Counts {
    pub sent: u64,
    pub failed: u64,
    pub full: u64,
    pub expired: u64,
    pub queued: u64,
    pub send_ns: u64,
    pub state_failures: u64,
    pub failing: bool,
}

impl Counters {
    pub fn new(name: &str, kind: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            sent: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            full: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            queued: AtomicU64::new(0),
            send_ns: AtomicU64::new(0),
            state_failures: AtomicU64::new(0),
            health: Mutex::new(Health::default()),
        }
    }

    pub fn count_full(&self, alerts: u64) {
        self.full.fetch_add(alerts, Relaxed);
    }

    pub fn count_expired(&self, notifications: u64) {
        self.expired.fetch_add(notifications, Relaxed);
    }

    pub fn count_state_failure(&self) {
        self.state_failures.fetch_add(1, Relaxed);
    }

    pub fn set_queued(&self, notifications: u64) {
        self.queued.store(notifications, Relaxed);
    }

    /// Takes over since when it was failing before a restart.
    pub fn set_failing_since(&self, failing_since_ns: Option<i64>) {
        self.health.lock().failing_since_ns = failing_since_ns;
    }

    /// Returns since when it had been failing.
    pub fn succeeded(&self, took: Duration, now_ns: i64) -> Option<i64> {
        self.count_sending(&self.sent, took);
        let mut health = self.health.lock();
        health.last_success_ns = Some(now_ns);
        health.failing_since_ns.take()
    }

    pub fn failed(&self, took: Duration, now_ns: i64, message: &str) {
        self.count_sending(&self.failed, took);
        let mut health = self.health.lock();
        health.last_error = Some(message.to_owned());
        health.failing_since_ns.get_or_insert(now_ns);
    }

    fn count_sending(&self, counter: &AtomicU64, took: Duration) {
        counter.fetch_add(1, Relaxed);
        self.send_ns.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    pub fn failing_since_ns(&self) -> Option<i64> {
        self.health.lock().failing_since_ns
    }

    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        Counts {
            sent: read(&self.sent),
            failed: read(&self.failed),
            full: read(&self.full),
            expired: read(&self.expired),
            queued: read(&self.queued),
            send_ns: read(&self.send_ns),
            state_failures: read(&self.state_failures),
            failing: self.failing_since_ns().is_some(),
        }
    }

    pub fn status(&self) -> NotifierStatus {
        let (counts, health) = (self.counts(), self.health.lock().clone());
        NotifierStatus {
            name: self.name.clone(),
            kind: self.kind.to_owned(),
            sent: counts.sent,
            failed: counts.failed,
            last_success: health.last_success_ns.map(api_time),
            last_error: health.last_error,
            failing_since: health.failing_since_ns.map(api_time),
            queued: counts.queued,
        }
    }
}
