//! Groups of alerts, and when something is said of them: Alertmanager's dispatcher, notification log and de-duplication
//! (`dispatch/dispatch.go`, `notify/notify.go`). A notification that failed is put together anew for the next attempt, so
//! that what arrives late is not old. Differs from Alertmanager in one thing: the repeat interval counts from one round of
//! the group to another, so that four hours are four hours and not one `group_interval` more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use orrery_api::Labels;
use serde::{Deserialize, Serialize};

use super::backoff;
use super::config::{GroupBy, Grouping};
use super::inbox::MAX_ALERTS;
use super::queue::{Change, Notification, Queue};
use super::time::ns;
use super::wording::group_key;
use super::{Alert, State};

/// How long the end of a group's alerts is worth telling.
const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 3600);

pub struct Groups {
    grouping: Grouping,
    /// By group key.
    groups: BTreeMap<String, Group>,
    /// In all groups; at most [`MAX_ALERTS`].
    alerts: usize,
    /// Groups that were due when they were last looked for, the longest waiting first.
    due: VecDeque<String>,
    changed: BTreeSet<String>,
    expired: u64,
}

struct Group {
    labels: Labels,
    /// By fingerprint.
    alerts: BTreeMap<String, Held>,
    said: Option<Record>,
    /// Whether it has had its first round.
    flushed: bool,
    /// The round that comes or is under way; the one after it is counted from it.
    round_ns: i64,
    /// When to look at it: the round, or another attempt.
    next_ns: i64,
    failures: u32,
    under_way: bool,
}

struct Held {
    alert: Arc<Alert>,
    /// When it counts as ended unless it is heard of again; moved on where nothing could be heard.
    valid_until_ns: i64,
    /// For how long it was valid when it was heard of.
    valid_ns: i64,
}

/// What was last said of a group, by fingerprints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Record {
    at_ns: i64,
    firing: BTreeSet<String>,
    resolved: BTreeSet<String>,
}

/// A group as it is kept over restarts.
#[derive(Serialize, Deserialize)]
struct Kept {
    alerts: Vec<KeptAlert>,
    said: Option<Record>,
    flushed: bool,
    round_ns: i64,
    next_ns: i64,
    failures: u32,
}

#[derive(Serialize, Deserialize)]
struct KeptAlert {
    #[serde(flatten)]
    alert: Alert,
    valid_ns: i64,
}

impl Groups {
    pub fn new(grouping: Grouping) -> Self {
        Self {
            grouping,
            groups: BTreeMap::new(),
            alerts: 0,
            due: VecDeque::new(),
            changed: BTreeSet::new(),
            expired: 0,
        }
    }

    fn group_labels(&self, alert: &Alert) -> Labels {
        match &self.grouping.by {
            GroupBy::All => alert.labels.clone(),
            GroupBy::Labels(names) => {
                let named = names.iter().filter_map(|name| alert.labels.get_key_value(name));
                named.map(|(name, value)| (name.clone(), value.clone())).collect()
            }
        }
    }

    /// Looks at a group whose time has come.
    fn round(&mut self, key: &str, now_ns: i64) -> Option<Notification> {
        let group = self.groups.get_mut(key)?;
        if group.under_way || group.next_ns > now_ns {
            return None;
        }
        group.end_unheard(now_ns);
        if group.is_stale(now_ns) {
            self.expired += 1;
            self.alerts -= group.alerts.len();
            self.groups.remove(key);
            self.changed.insert(key.to_owned());
            return None;
        }
        let (firing, resolved) = group.fingerprints();
        let news = is_news(&self.grouping, group.said.as_ref(), &firing, &resolved, now_ns);
        let alerts = if news { group.say(self.grouping.send_resolved) } else { Vec::new() };
        if !alerts.is_empty() {
            group.under_way = true;
            let (key, group_labels) = (key.to_owned(), group.labels.clone());
            return Some(Notification { key, at_ns: now_ns, group_labels, alerts, firing, resolved });
        }
        if news {
            group.said = Some(Record { at_ns: now_ns, firing, resolved: resolved.clone() });
            self.changed.insert(key.to_owned());
        }
        self.close(key, &resolved, now_ns);
        None
    }

    /// Ends a round: what is over and was told of, or need not be, is forgotten.
    fn close(&mut self, key: &str, resolved: &BTreeSet<String>, now_ns: i64) {
        let Some(group) = self.groups.get_mut(key) else { return };
        let before = group.alerts.len();
        group.alerts.retain(|fingerprint, held| held.is_firing() || !resolved.contains(fingerprint));
        self.alerts -= before - group.alerts.len();
        if before != group.alerts.len() || !group.flushed || group.failures > 0 {
            self.changed.insert(key.to_owned());
        }
        (group.flushed, group.failures, group.under_way) = (true, 0, false);
        group.next_round(ns(self.grouping.interval), now_ns);
        if group.alerts.is_empty() {
            self.groups.remove(key);
        }
    }
}

impl Queue for Groups {
    fn update(&mut self, alert: Arc<Alert>, now_ns: i64) -> bool {
        let labels = self.group_labels(&alert);
        let key = group_key(&labels);
        let known = self.groups.get(&key).and_then(|group| group.alerts.get(&alert.fingerprint));
        match known {
            // It comes for 15 minutes after its end was told.
            None if alert.state == State::Resolved => return true,
            None if self.alerts >= MAX_ALERTS => return false,
            None => self.alerts += 1,
            Some(_) => {}
        }
        if known.is_none_or(|held| held.alert.state != alert.state) {
            self.changed.insert(key.clone());
        }
        let waits_until = now_ns.saturating_add(ns(self.grouping.wait));
        let long_since = alert.starts_at_ns.saturating_add(ns(self.grouping.wait)) < now_ns;
        let group = self.groups.entry(key).or_insert_with(|| Group::new(labels, waits_until));
        group.alerts.insert(alert.fingerprint.clone(), Held::new(alert, now_ns));
        if long_since && !group.flushed && group.failures == 0 && group.next_ns > now_ns {
            (group.round_ns, group.next_ns) = (now_ns, now_ns);
        }
        true
    }

    fn extend(&mut self, by_ns: i64) {
        for held in self.groups.values_mut().flat_map(|group| group.alerts.values_mut()) {
            held.valid_until_ns = held.valid_until_ns.saturating_add(by_ns);
        }
    }

    fn turn_back(&mut self, by_ns: i64) {
        self.extend(by_ns.saturating_neg());
        for group in self.groups.values_mut() {
            group.round_ns = group.round_ns.saturating_sub(by_ns);
            group.next_ns = group.next_ns.saturating_sub(by_ns);
            if let Some(said) = &mut group.said {
                said.at_ns = said.at_ns.saturating_sub(by_ns);
            }
        }
    }

    fn take(&mut self, now_ns: i64) -> Option<Notification> {
        loop {
            while let Some(key) = self.due.pop_front() {
                if let Some(notification) = self.round(&key, now_ns) {
                    return Some(notification);
                }
            }
            // A round moves its group's next one or takes it away, so that this ends.
            self.look_for_due(now_ns);
            if self.due.is_empty() {
                return None;
            }
        }
    }

    fn next_ns(&self) -> Option<i64> {
        self.groups.values().filter(|group| !group.under_way).map(|group| group.next_ns).min()
    }

    fn delivered(&mut self, notification: &Notification, now_ns: i64) {
        let Some(group) = self.groups.get_mut(&notification.key) else { return };
        group.said = Some(Record {
            at_ns: notification.at_ns,
            firing: notification.firing.clone(),
            resolved: notification.resolved.clone(),
        });
        self.changed.insert(notification.key.clone());
        self.close(&notification.key, &notification.resolved, now_ns);
    }

    fn failed(&mut self, notification: &Notification, retry_ns: Option<i64>, now_ns: i64) {
        let Some(group) = self.groups.get_mut(&notification.key) else { return };
        group.under_way = false;
        group.failures = group.failures.saturating_add(1);
        match retry_ns {
            Some(retry_ns) => group.next_ns = retry_ns,
            None => group.next_round(ns(self.grouping.interval), now_ns),
        }
        self.changed.insert(notification.key.clone());
    }

    fn failures(&self, key: &str) -> u32 {
        self.groups.get(key).map_or(0, |group| group.failures)
    }

    fn waiting(&self, now_ns: i64) -> u64 {
        let waits = |group: &&Group| group.under_way || group.failures > 0 || group.next_ns <= now_ns;
        self.groups.values().filter(waits).count() as u64
    }

    fn take_expired(&mut self) -> u64 {
        std::mem::take(&mut self.expired)
    }

    fn take_changes(&mut self) -> Vec<Change> {
        let changed = std::mem::take(&mut self.changed);
        changed
            .into_iter()
            .map(|key| (self.groups.get(&key).map(Group::kept), key))
            .map(|(row, key)| (key, row))
            .collect()
    }

    fn restore(&mut self, rows: Vec<(String, String)>, now_ns: i64) {
        for (key, row) in rows {
            // Written anew, or removed where it cannot be used.
            self.changed.insert(key.clone());
            let kept: Kept = match serde_json::from_str(&row) {
                Ok(kept) => kept,
                Err(error) => {
                    tracing::warn!(%error, "a group of alerts cannot be read back and is forgotten");
                    continue;
                }
            };
            let same_grouping = kept.alerts.iter().all(|kept| group_key(&self.group_labels(&kept.alert)) == key);
            if let (true, Some(first)) = (same_grouping, kept.alerts.first()) {
                let mut group = Group::new(self.group_labels(&first.alert), kept.round_ns);
                // What only repeats waits until the evaluator has said whether it still holds. A time that is too far
                // away was written before the clock was set back.
                let after = |duration| now_ns.saturating_add(ns(duration));
                group.next_ns = match kept.failures {
                    0 => kept
                        .next_ns
                        .max(after(self.grouping.wait))
                        .min(after(self.grouping.interval.max(self.grouping.wait))),
                    _ => kept.next_ns.min(after(backoff::LONGEST_ASKED)),
                };
                group.said = kept.said.map(|said| Record { at_ns: said.at_ns.min(now_ns), ..said });
                (group.flushed, group.failures) = (kept.flushed, kept.failures);
                self.groups.insert(key, group);
            }
            for kept in kept.alerts {
                self.take_back(kept, now_ns);
            }
        }
    }
}

impl Groups {
    fn look_for_due(&mut self, now_ns: i64) {
        let ready = self.groups.iter().filter(|(_, group)| !group.under_way && group.next_ns <= now_ns);
        let mut due: Vec<(i64, &String)> = ready.map(|(key, group)| (group.next_ns, key)).collect();
        due.sort();
        self.due = due.into_iter().map(|(_, key)| key.clone()).collect();
    }

    /// Puts an alert that was kept into its group, which is a new one where `group_by` has changed.
    fn take_back(&mut self, kept: KeptAlert, now_ns: i64) {
        let labels = self.group_labels(&kept.alert);
        let waits_until = now_ns.saturating_add(ns(self.grouping.wait));
        let group = self.groups.entry(group_key(&labels)).or_insert_with(|| Group::new(labels, waits_until));
        let valid_until_ns = now_ns.saturating_add(kept.valid_ns);
        let held = Held { alert: Arc::new(kept.alert), valid_until_ns, valid_ns: kept.valid_ns };
        if group.alerts.insert(held.alert.fingerprint.clone(), held).is_none() {
            self.alerts += 1;
        }
    }
}

impl Group {
    fn new(labels: Labels, round_ns: i64) -> Self {
        Self {
            labels,
            alerts: BTreeMap::new(),
            said: None,
            flushed: false,
            round_ns,
            next_ns: round_ns,
            failures: 0,
            under_way: false,
        }
    }

    /// Ends the alerts that the evaluator has not spoken of for too long.
    fn end_unheard(&mut self, now_ns: i64) {
        for held in self.alerts.values_mut().filter(|held| held.is_firing() && held.valid_until_ns <= now_ns) {
            let alert = Arc::make_mut(&mut held.alert);
            (alert.state, alert.ends_at_ns) = (State::Resolved, held.valid_until_ns);
        }
    }

    /// Whether all of it ended so long ago, in vain attempts to tell, that nobody needs to know.
    fn is_stale(&self, now_ns: i64) -> bool {
        let old = |held: &Held| !held.is_firing() && held.alert.ends_at_ns.saturating_add(ns(GIVE_UP_AFTER)) <= now_ns;
        self.failures > 0 && self.alerts.values().all(old)
    }

    fn fingerprints(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let named = |firing: bool| {
            let of_state = self.alerts.iter().filter(move |(_, held)| held.is_firing() == firing);
            of_state.map(|(fingerprint, _)| fingerprint.clone()).collect()
        };
        (named(true), named(false))
    }

    fn say(&self, send_resolved: bool) -> Vec<Arc<Alert>> {
        let said = self.alerts.values().filter(|held| send_resolved || held.is_firing());
        let mut said: Vec<Arc<Alert>> = said.map(|held| Arc::clone(&held.alert)).collect();
        said.sort_by(|a, b| a.labels.cmp(&b.labels));
        said
    }

    /// Sets the next round after one that ended; rounds that would have been since are left out.
    fn next_round(&mut self, interval_ns: i64, now_ns: i64) {
        let planned = self.round_ns.saturating_add(interval_ns);
        self.round_ns = if planned > now_ns { planned } else { now_ns.saturating_add(interval_ns.max(1)) };
        self.next_ns = self.round_ns;
    }

    fn kept(&self) -> String {
        let kept = Kept {
            alerts: self.alerts.values().map(Held::kept).collect(),
            said: self.said.clone(),
            flushed: self.flushed,
            round_ns: self.round_ns,
            next_ns: self.next_ns,
            failures: self.failures,
        };
        serde_json::to_string(&kept).expect("maps with text keys are JSON")
    }
}

impl Held {
    fn new(alert: Arc<Alert>, now_ns: i64) -> Self {
        let valid_until_ns = alert.ends_at_ns;
        Self { alert, valid_until_ns, valid_ns: valid_until_ns.saturating_sub(now_ns) }
    }

    fn is_firing(&self) -> bool {
        self.alert.state == State::Firing
    }

    fn kept(&self) -> KeptAlert {
        KeptAlert { alert: (*self.alert).clone(), valid_ns: self.valid_ns }
    }
}

/// Whether there is something to say of a group in this round.
fn is_news(
    grouping: &Grouping,
    said: Option<&Record>,
    firing: &BTreeSet<String>,
    resolved: &BTreeSet<String>,
    now_ns: i64,
) -> bool {
    let Some(said) = said else { return !firing.is_empty() };
    if !firing.is_subset(&said.firing) {
        return true;
    }
    if firing.is_empty() {
        // Even where resolved alerts are not sent: what is known to fire has to be cleared.
        return !said.firing.is_empty();
    }
    (grouping.send_resolved && !resolved.is_subset(&said.resolved))
        || said.at_ns.saturating_add(ns(grouping.repeat)) <= now_ns
}
