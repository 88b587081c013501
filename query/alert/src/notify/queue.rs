//! What a worker asks of a queue: what is due, and what became of it. Never sends and never reads a clock: times are
//! given, so that every rhythm can be tested without waiting.

use std::collections::BTreeSet;
use std::sync::Arc;

use orrery_api::Labels;

use super::config::{ChannelConfig, NotifierConfig};
use super::groups::Groups;
use super::outbox::Outbox;
use super::{Alert, State};

/// One message to one destination.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// What the queue knows it by.
    pub key: String,
    /// When it was put together.
    pub at_ns: i64,
    /// What all alerts of the group are grouped by.
    pub group_labels: Labels,
    /// Never empty; in the order of their labels.
    pub alerts: Vec<Arc<Alert>>,
    /// Both are what the group's alerts are by their fingerprints, whether they are sent or not.
    pub firing: BTreeSet<String>,
    pub resolved: BTreeSet<String>,
}

impl Notification {
    pub fn is_firing(&self) -> bool {
        self.alerts.iter().any(|alert| alert.state == State::Firing)
    }
}

/// A change of what is kept: a key and its new value, `None` where it is kept no more.
pub type Change = (String, Option<String>);

pub trait Queue: Send {
    /// Takes the latest of an alert; false where there is no room for it.
    fn update(&mut self, alert: Arc<Alert>, now_ns: i64) -> bool;

    /// Firing alerts stay valid for so much longer, after everything slept.
    fn extend(&mut self, by_ns: i64);

    /// All that is planned and remembered is so much earlier, after the clock was set back.
    fn turn_back(&mut self, by_ns: i64);

    /// The next notification that is due, which then is under way until `delivered` or `failed` says otherwise.
    fn take(&mut self, now_ns: i64) -> Option<Notification>;

    /// When `take` should be asked again.
    fn next_ns(&self) -> Option<i64>;

    fn delivered(&mut self, notification: &Notification, now_ns: i64);

    /// It did not arrive and is not to be tried before `retry_ns`; `None` where the same would be refused again.
    fn failed(&mut self, notification: &Notification, retry_ns: Option<i64>, now_ns: i64);

    /// How often in a row this notification has failed.
    fn failures(&self, key: &str) -> u32;

    /// Notifications that wait for their destination.
    fn waiting(&self, now_ns: i64) -> u64;

    /// How many notifications were given up since the last call.
    fn take_expired(&mut self) -> u64;

    /// What has to be kept of what happened since the last call.
    fn take_changes(&mut self) -> Vec<Change>;

    /// Takes up what was kept.
    fn restore(&mut self, rows: Vec<(String, String)>, now_ns: i64);
}

pub fn open(config: &NotifierConfig) -> Box<dyn Queue> {
    match &config.channel {
        ChannelConfig::Alertmanager(_) => Box::new(Outbox::default()),
        ChannelConfig::Webhook(_) | ChannelConfig::Slack(_) | ChannelConfig::Email(_) => {
            Box::new(Groups::new(config.grouping.clone()))
        }
    }
}
