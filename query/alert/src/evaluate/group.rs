//! One group while it runs: its rules one after another at each of its slots, each rule's rows through the state machine,
//! what changed kept, and notifiers told. The order within a rule is: query, state, keep, tell. A rule that fails leaves
//! its alerts as they are, and the others alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use orrery_api::RuleHealth;
use orrery_model::Identity;
use orrery_query::{QueryError, Session};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::keep::{self, RuleKey};
use super::query::{self, NoRows};
use super::schedule::Slots;
use super::traces;
use crate::labels::Fingerprint;
use crate::notify;
use crate::rules::{Checked, Group, Rule};
use crate::state::{self, Alerts, Outcome, Refused, State, Terms};

/// The longest sleep, so that a clock that was put back is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);
/// Rules of a group share a session and its snapshot for so long; then other groups have their turn, so that a slow group
/// delays them by a rule and not by all of its rules.
const SHARED_FOR: Duration = Duration::from_secs(1);
/// Waiting is noted so often for a start after a crash.
const NOTE_EVERY_NS: i64 = 30_000_000_000;

/// A group of a file with the state of its rules. Shared by its task and by whoever shows it.
#[derive(Debug)]
pub struct Running {
    pub file: String,
    pub group: Group,
    pub interval: Duration,
    pub slots: Slots,
    pub rules: Vec<RunningRule>,
    pub counts: Counts,
}

/// Since the group's task began, but for `missed`, which goes on over reloads.
#[derive(Debug, Default)]
pub struct Counts {
    pub evaluations: AtomicU64,
    /// Of rules.
    pub rules: AtomicU64,
    pub failures: AtomicU64,
    pub missed: AtomicU64,
    pub busy_ns: AtomicU64,
    /// 0 before the first.
    pub last_evaluation_ns: AtomicI64,
    pub last_took_ns: AtomicU64,
    /// From the slot to the start of its evaluation, the last time.
    pub last_lag_ns: AtomicI64,
    noted_ns: AtomicI64,
}

#[derive(Debug)]
pub struct RunningRule {
    pub key: RuleKey,
    pub rule: Rule,
    pub checked: Checked,
    pub terms: Terms,
    pub now: Mutex<Now>,
}

/// How a rule is.
#[derive(Debug, Default)]
pub struct Now {
    pub alerts: Alerts,
    pub health: RuleHealth,
    pub error: Option<String>,
    pub last_evaluation_ns: Option<i64>,
    pub took: Option<Duration>,
}

impl Running {
    /// Evaluates at every slot until told to stop; what a rule's rows have changed by then is kept first.
    pub async fn run(self: Arc<Self>, context: Arc<Context>, stop: CancellationToken) {
        let mut next_ns = self.slots.after(context.clock.now_ns());
        loop {
            let now_ns = context.clock.now_ns();
            match self.slots.due(next_ns, now_ns) {
                Ok(Some(due)) => {
                    self.counts.missed.fetch_add(due.missed, Ordering::Relaxed);
                    self.counts.last_lag_ns.store(now_ns - due.time_ns, Ordering::Relaxed);
                    self.evaluate(&context, due.time_ns, &stop).await;
                    next_ns = due.time_ns + self.slots.interval_ns();
                }
                Ok(None) => {
                    let wait = Duration::from_nanos((next_ns - now_ns).unsigned_abs()).min(LONGEST_SLEEP);
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(wait) => {}
                    }
                }
                Err(other_ns) => next_ns = other_ns,
            }
            if stop.is_cancelled() {
                return;
            }
        }
    }

    /// All rules in their order, for one slot.
    pub async fn evaluate(&self, context: &Context, time_ns: i64, stop: &CancellationToken) {
        let started = Instant::now();
        let everyone = Identity::default();
        let mut shared: Option<(Instant, Result<Session, QueryError>)> = None;
        for rule in &self.rules {
            if stop.is_cancelled() {
                break;
            }
            if shared.as_ref().is_some_and(|(since, _)| since.elapsed() > SHARED_FOR) {
                shared = None;
            }
            let session = match &shared {
                Some((_, session)) => session,
                None => {
                    let session = tokio::select! {
                        biased;
                        () = stop.cancelled() => break,
                        session = context.engine.session_in(&context.lane, &everyone) => session,
                    };
                    &shared.insert((Instant::now(), session)).1
                }
            };
            self.evaluate_rule(context, rule, session, time_ns, stop).await;
        }
        drop(shared);
        let took = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let counts = &self.counts;
        counts.evaluations.fetch_add(1, Ordering::Relaxed);
        counts.busy_ns.fetch_add(took, Ordering::Relaxed);
        counts.last_took_ns.store(took, Ordering::Relaxed);
        counts.last_evaluation_ns.store(time_ns, Ordering::Relaxed);
        self.note_waiting(context, time_ns).await;
    }

    async fn evaluate_rule(
        &self,
        context: &Context,
        rule: &RunningRule,
        session: &Result<Session, QueryError>,
        time_ns: i64,
        stop: &CancellationToken,
    ) {
        let started = Instant::now();
        let offset_ns = nanoseconds(self.group.query_offset);
        let end_ns = time_ns.saturating_sub(offset_ns);
        let window = (end_ns.saturating_sub(nanoseconds(rule.rule.window)), end_ns);
        let result = tokio::select! {
            biased;
            // A stop waits for no query; what it would have found is found after the next start.
            () = stop.cancelled() => return,
            result = rows(context, rule, session, window) => result,
        };
        self.counts.rules.fetch_add(1, Ordering::Relaxed);
        let error = match result {
            Ok((session, samples)) => {
                let refused = self.take(context, rule, session, time_ns, window, samples).await;
                refused.map(|refused| refused.to_string())
            }
            Err(why) => Some(why.to_string()),
        };
        if let Some(error) = &error {
            self.counts.failures.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(rule = rule.rule.alert, group = self.group.name, file = self.file, error, "a rule failed");
        }
        let mut now = rule.now.lock();
        now.health = if error.is_none() { RuleHealth::Ok } else { RuleHealth::Error };
        now.error = error;
        now.last_evaluation_ns = Some(time_ns);
        now.took = Some(started.elapsed());
    }

    /// Rows through the state machine, and what comes of them to where it belongs.
    async fn take(
        &self,
        context: &Context,
        rule: &RunningRule,
        session: &Session,
        time_ns: i64,
        window: (i64, i64),
        samples: Vec<state::Sample>,
    ) -> Option<Refused> {
        let (mut outcome, refused) = rule.now.lock().alerts.evaluate(&rule.terms, time_ns, samples);
        self.find_traces(rule, session, window, &mut outcome).await;
        let (mut changes, leaving) = {
            let now = rule.now.lock();
            let changes = keep::changes(&rule.key, &now.alerts, &outcome, time_ns);
            (changes, leaving(context, &rule.terms, &now.alerts, &outcome.send, time_ns))
        };
        if !changes.is_empty() {
            changes.evaluated.push((rule.key.group_text(), time_ns));
            self.counts.noted_ns.store(time_ns, Ordering::Relaxed);
            context.keep(changes).await;
        }
        if !leaving.is_empty() {
            context.notify.take(leaving);
        }
        refused
    }

    /// Gives alerts that have just begun to fire example traces, where their rows have none and they name a service.
    async fn find_traces(&self, rule: &RunningRule, session: &Session, window: (i64, i64), outcome: &mut Outcome) {
        let fired = outcome.transitions.iter_mut().filter(|transition| transition.to == Some(State::Firing));
        let wanting = fired.filter(|transition| transition.alert.trace_ids.is_empty());
        for transition in wanting.take(traces::MAX_LOOKED_UP) {
            if crate::labels::service(&transition.alert.labels).is_none() {
                continue;
            }
            match traces::worst(&session.again(), &transition.alert.labels, window.0, window.1).await {
                Ok(ids) => {
                    rule.now.lock().alerts.set_trace_ids(transition.fingerprint, ids.clone());
                    transition.alert.trace_ids = ids;
                }
                Err(error) => tracing::warn!(rule = rule.rule.alert, %error, "no example traces were found"),
            }
        }
    }

    /// Notes now and then that pending alerts have been looked at: after a crash, time that nobody looked does not count.
    async fn note_waiting(&self, context: &Context, time_ns: i64) {
        let pending =
            |rule: &RunningRule| rule.now.lock().alerts.iter().any(|(_, alert)| alert.state == State::Pending);
        let noted_ns = self.counts.noted_ns.load(Ordering::Relaxed);
        if (time_ns - noted_ns).abs() >= NOTE_EVERY_NS && self.rules.iter().any(pending) {
            self.counts.noted_ns.store(time_ns, Ordering::Relaxed);
            let evaluated = vec![(keep::group_text(&self.file, &self.group.name), time_ns)];
            context.keep(orrery_storage::AlertChanges { evaluated, ..Default::default() }).await;
        }
    }
}

async fn rows<'a>(
    context: &Context,
    rule: &RunningRule,
    session: &'a Result<Session, QueryError>,
    window: (i64, i64),
) -> Result<(&'a Session, Vec<state::Sample>), NoRows> {
    let session = session.as_ref().map_err(QueryError::clone)?;
    let rows = query::rows(&session.again(), &rule.checked, window.0, window.1).await?;
    Ok((session, query::samples(&rule.rule, rows, &context.external_url)))
}

/// The alerts as notifiers are told of them.
pub fn leaving(
    context: &Context,
    terms: &Terms,
    alerts: &Alerts,
    send: &[Fingerprint],
    time_ns: i64,
) -> Vec<notify::Alert> {
    let alert = |fingerprint: &Fingerprint| {
        let alert = alerts.get(*fingerprint)?;
        Some(notify::Alert {
            fingerprint: fingerprint.to_string(),
            state: if alert.state == State::Firing { notify::State::Firing } else { notify::State::Resolved },
            labels: alert.labels.clone(),
            annotations: alert.annotations.clone(),
            starts_at_ns: alert.fired_at_ns.unwrap_or(alert.active_since_ns),
            ends_at_ns: alert.resolved_at_ns.unwrap_or_else(|| state::valid_until(terms, time_ns)),
            generator_url: format!("{}/alerts?fingerprint={fingerprint}", context.external_url),
            value: alert.value,
            trace_ids: alert.trace_ids.clone(),
        })
    };
    send.iter().filter_map(alert).collect()
}

pub fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
