//! A notifier at work: takes what the evaluator handed over, sends what is due, waits after failures, and keeps what has
//! to survive. One task; it ends when it is told to.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use orrery_model::Clock;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::backoff;
use super::channel::Channel;
use super::failure::{Remedy, SendError};
use super::inbox::Inbox;
use super::queue::{Change, Notification, Queue};
use super::state::{NotifyState, key};
use super::status::Counters;
use super::time::ns;

/// Notifications under way to one destination.
const MAX_UNDER_WAY: usize = 4;
/// The longest sleep: a clock that was set is noticed after this.
const MAX_SLEEP: Duration = Duration::from_secs(15);
/// A turn that comes later than this after the one before was not the scheduler's doing: the machine or the process
/// slept, or the clock was set.
const PAUSE: Duration = Duration::from_secs(75);
/// How long the stop waits for what is under way.
const FINISH_WITHIN: Duration = Duration::from_secs(5);
/// One line of the log in this time for a destination that keeps failing.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// What a worker is made of.
pub struct Parts {
    pub name: String,
    pub queue: Box<dyn Queue>,
    pub channel: Arc<dyn Channel>,
    pub inbox: Arc<Inbox>,
    pub counters: Arc<Counters>,
    pub state: Arc<dyn NotifyState>,
    pub clock: Arc<dyn Clock>,
}

pub struct Worker {
    parts: Parts,
    gate: Gate,
    /// What could not be kept yet.
    unsaved: Vec<Change>,
    logged: Option<Instant>,
    unlogged: u64,
    /// When it last looked around.
    turn_ns: i64,
    rng: SmallRng,
}

/// Whether the destination is given a rest. After a failure that waiting can mend, one notification at a time tries
/// whether it is back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Gate {
    failures: u32,
    closed_until_ns: i64,
    failing_since_ns: Option<i64>,
}

/// What became of a notification.
struct Outcome {
    notification: Notification,
    result: Result<(), SendError>,
    took: Duration,
}

impl Worker {
    pub fn new(parts: Parts) -> Self {
        let turn_ns = parts.clock.now_ns();
        Self {
            parts,
            gate: Gate::default(),
            unsaved: Vec::new(),
            logged: None,
            unlogged: 0,
            turn_ns,
            rng: SmallRng::from_os_rng(),
        }
    }

    /// Takes up the entries that were kept.
    pub fn restore(mut self, rows: Vec<(String, String)>) -> Self {
        let (own, queued): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(entry, _)| entry.is_empty());
        if let Some(gate) = own.first().and_then(|(_, row)| serde_json::from_str::<Gate>(row).ok()) {
            let latest_ns = self.parts.clock.now_ns().saturating_add(ns(backoff::LONGEST_ASKED));
            self.gate = Gate { closed_until_ns: gate.closed_until_ns.min(latest_ns), ..gate };
            self.parts.counters.set_failing_since(self.gate.failing_since_ns);
        }
        self.parts.queue.restore(queued, self.parts.clock.now_ns());
        self
    }

    pub async fn run(mut self, stop: CancellationToken) {
        let mut sending = Sending::default();
        loop {
            self.notice_jump();
            self.take_in();
            // What is told of is kept beforehand: its end has to be told too, whatever happens in between.
            self.save().await;
            self.send_due(&mut sending);
            self.publish();
            let sleep = self.sleep(sending.under_way.len());
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.parts.inbox.filled() => {}
                Some(outcome) = sending.ended() => self.ended(outcome),
                () = tokio::time::sleep(sleep) => {}
            }
        }
        let finish = async {
            while let Some(outcome) = sending.ended().await {
                self.ended(outcome);
            }
        };
        if tokio::time::timeout(FINISH_WITHIN, finish).await.is_err() {
            tracing::info!(
                notifier.name = self.parts.name,
                "notifications under way were cut short and are sent again"
            );
        }
        self.take_in();
        self.save().await;
    }

    /// Alerts that nobody spoke of because everything slept have not ended, and where the clock was set back nothing waits
    /// until it is as late again.
    fn notice_jump(&mut self) {
        let now_ns = self.parts.clock.now_ns();
        let since_ns = now_ns.saturating_sub(std::mem::replace(&mut self.turn_ns, now_ns));
        if since_ns > ns(PAUSE) {
            self.parts.queue.extend(since_ns);
        } else if since_ns < 0 {
            self.parts.queue.turn_back(since_ns.saturating_neg());
            self.gate.closed_until_ns = self.gate.closed_until_ns.saturating_add(since_ns);
        }
    }

    fn take_in(&mut self) {
        let now_ns = self.parts.clock.now_ns();
        let refused =
            self.parts.inbox.take().into_iter().filter(|alert| !self.parts.queue.update(Arc::clone(alert), now_ns));
        let refused = refused.count() as u64;
        self.parts.counters.count_full(refused);
    }

    fn send_due(&mut self, sending: &mut Sending) {
        let now_ns = self.parts.clock.now_ns();
        while sending.under_way.len() < self.width(now_ns) {
            let Some(notification) = self.parts.queue.take(now_ns) else { break };
            sending.start(Arc::clone(&self.parts.channel), notification);
        }
        self.parts.counters.count_expired(self.parts.queue.take_expired());
    }

    /// Notifications that may be under way at once.
    fn width(&self, now_ns: i64) -> usize {
        match self.gate.failures {
            0 => MAX_UNDER_WAY,
            _ if now_ns < self.gate.closed_until_ns => 0,
            _ => 1,
        }
    }

    fn ended(&mut self, outcome: Outcome) {
        let now_ns = self.parts.clock.now_ns();
        match outcome.result {
            Ok(()) => self.succeeded(&outcome.notification, outcome.took, now_ns),
            Err(error) => self.failed(&outcome.notification, &error, outcome.took, now_ns),
        }
    }

    fn succeeded(&mut self, notification: &Notification, took: Duration, now_ns: i64) {
        self.parts.queue.delivered(notification, now_ns);
        if let Some(since_ns) = self.parts.counters.succeeded(took, now_ns) {
            let failing_s = now_ns.saturating_sub(since_ns) / 1_000_000_000;
            tracing::info!(notifier.name = self.parts.name, notifier.failing_s = failing_s, "the notifier works again");
            self.logged = None;
        }
        self.set_gate(Gate::default());
    }

    fn failed(&mut self, notification: &Notification, error: &SendError, took: Duration, now_ns: i64) {
        self.parts.counters.failed(took, now_ns, &error.message);
        let failing_since_ns = self.parts.counters.failing_since_ns();
        let (retry_ns, gate) = match error.remedy {
            Remedy::Wait(asked) => {
                let failures = self.parts.queue.failures(&notification.key).saturating_add(1);
                let mut after = |failures| now_ns.saturating_add(ns(backoff::delay(failures, asked, &mut self.rng)));
                let retry_ns = after(failures);
                let failures = self.gate.failures.saturating_add(1);
                (Some(retry_ns), Gate { failures, closed_until_ns: after(failures), failing_since_ns })
            }
            // It was reached, so others can be.
            Remedy::Change => (None, Gate { failing_since_ns, ..Gate::default() }),
        };
        self.parts.queue.failed(notification, retry_ns, now_ns);
        self.set_gate(gate);
        self.log(error);
    }

    fn set_gate(&mut self, gate: Gate) {
        if self.gate != gate {
            let row = (gate != Gate::default()).then(|| serde_json::to_string(&gate).expect("numbers are JSON"));
            self.unsaved.push((String::new(), row));
            self.gate = gate;
        }
    }

    fn log(&mut self, error: &SendError) {
        if self.logged.is_some_and(|logged| logged.elapsed() < LOG_EVERY) {
            self.unlogged += 1;
            return;
        }
        self.logged = Some(Instant::now());
        tracing::warn!(
            notifier.name = self.parts.name,
            notifier.kind = self.parts.counters.kind,
            error = error.message,
            unlogged = std::mem::take(&mut self.unlogged),
            "a notification could not be sent"
        );
    }

    /// Keeps what has changed. What cannot be kept is tried again with the next change.
    async fn save(&mut self) {
        self.unsaved.extend(self.parts.queue.take_changes());
        if self.unsaved.is_empty() {
            return;
        }
        let name = &self.parts.name;
        let changes = self.unsaved.iter().map(|(entry, row)| (key(name, entry), row.clone())).collect();
        match self.parts.state.save(changes).await {
            Ok(()) => self.unsaved.clear(),
            Err(error) => {
                self.parts.counters.count_state_failure();
                tracing::warn!(notifier.name = self.parts.name, %error, "what was sent could not be kept");
                // Only the last state of each entry counts.
                let mut latest = std::collections::BTreeMap::new();
                latest.extend(self.unsaved.drain(..));
                self.unsaved.extend(latest);
            }
        }
    }

    fn publish(&self) {
        self.parts.counters.set_queued(self.parts.queue.waiting(self.parts.clock.now_ns()));
    }

    /// Until something can be done that nothing else wakes it up for.
    fn sleep(&self, under_way: usize) -> Duration {
        let now_ns = self.parts.clock.now_ns();
        let width = self.width(now_ns);
        if width > 0 && under_way >= width {
            return MAX_SLEEP;
        }
        let next_ns = self.parts.queue.next_ns().map(|next_ns| next_ns.max(self.gate.closed_until_ns));
        let wait_ns = next_ns.map_or(i64::MAX, |next_ns| next_ns.saturating_sub(now_ns));
        Duration::from_nanos(u64::try_from(wait_ns).unwrap_or(0)).clamp(Duration::from_millis(1), MAX_SLEEP)
    }
}

/// Notifications under way.
#[derive(Default)]
struct Sending {
    tasks: JoinSet<(Result<(), SendError>, Duration)>,
    under_way: HashMap<tokio::task::Id, Notification>,
}

impl Sending {
    fn start(&mut self, channel: Arc<dyn Channel>, notification: Notification) {
        let sent = notification.clone();
        let task = self.tasks.spawn(async move {
            let started = Instant::now();
            let result = channel.send(&sent).await;
            (result, started.elapsed())
        });
        self.under_way.insert(task.id(), notification);
    }

    /// The next one that ended; `None` where none is under way.
    async fn ended(&mut self) -> Option<Outcome> {
        let (id, (result, took)) = match self.tasks.join_next_with_id().await? {
            Ok(ended) => ended,
            Err(error) => (error.id(), (Err(SendError::change("sending it failed within Orrery")), Duration::ZERO)),
        };
        let notification = self.under_way.remove(&id).expect("every task has its notification");
        Some(Outcome { notification, result, took })
    }
}
