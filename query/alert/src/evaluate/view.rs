//! The rules and alerts of this moment as the API shows them, and as counters for a scrape. Changes nothing.

use std::sync::atomic::Ordering;
use std::time::Duration;

use orrery_api::{AlertState, RuleFileError, RuleGroup};
use orrery_model::TenantId;
use orrery_query::AlertSource;
use orrery_query::time::rfc3339;

use super::Alerting;
use super::group::{Running, RunningRule};
use crate::labels::{self, Fingerprint};
use crate::metrics::{Metric, Sample};
use crate::rules::Fault;
use crate::state::{Alert, State};

impl AlertSource for Alerting {
    /// Rules are the server's own and see the default tenant's telemetry.
    fn alerts(&self, tenant: &TenantId) -> orrery_api::Alerts {
        if *tenant != TenantId::default() {
            return orrery_api::Alerts::default();
        }
        let groups = self.shown.groups.read().clone();
        let mut alerts: Vec<(State, i64, orrery_api::Alert)> = Vec::new();
        for (group, rule) in groups.iter().flat_map(|group| group.rules.iter().map(move |rule| (group, rule))) {
            let now = rule.now.lock();
            alerts.extend(
                now.alerts.iter().map(|(fingerprint, alert)| {
                    (alert.state, changed_ns(alert), shown(group, rule, fingerprint, alert))
                }),
            );
        }
        alerts.sort_by(|a, b| {
            let urgency = |state: State| match state {
                State::Firing => 0,
                State::Pending => 1,
                State::Resolved => 2,
            };
            (urgency(a.0), b.1, &a.2.fingerprint).cmp(&(urgency(b.0), a.1, &b.2.fingerprint))
        });
        orrery_api::Alerts {
            alerts: alerts.into_iter().map(|(_, _, alert)| alert).collect(),
            groups: groups.iter().map(|group| shown_group(group)).collect(),
            files: self.shown.files.read().clone(),
            notifiers: self.context.notify.status(),
        }
    }
}

impl Alerting {
    /// Every value, grouped by metric.
    pub fn samples(&self) -> Vec<Sample> {
        let groups = self.shown.groups.read().clone();
        let mut samples = Vec::new();
        for metric in Metric::ALL {
            match metric {
                Metric::Alerts => {
                    for (word, state) in [("pending", State::Pending), ("firing", State::Firing)] {
                        let count = |rule: &RunningRule| {
                            rule.now.lock().alerts.iter().filter(|(_, a)| a.state == state).count()
                        };
                        let all: usize = groups.iter().flat_map(|group| &group.rules).map(count).sum();
                        samples.push(Sample { metric, labels: vec![("state", word.to_owned())], value: all as f64 });
                    }
                }
                Metric::Files => {
                    let files = self.shown.files.read();
                    let refused = files.iter().filter(|file| file.error.is_some()).count();
                    for (word, count) in [("good", files.len() - refused), ("refused", refused)] {
                        samples.push(Sample { metric, labels: vec![("state", word.to_owned())], value: count as f64 });
                    }
                }
                Metric::KeepFailures => samples.push(plain(metric, self.context.keep_failures.load(Ordering::Relaxed))),
                Metric::QueryMemory => samples.push(plain(metric, self.context.lane.memory().0 as u64)),
                Metric::RecentRows => samples.push(plain(metric, self.context.lane.memory().1 as u64)),
                Metric::GivenUp => samples.push(plain(metric, self.context.given_up.load(Ordering::Relaxed))),
                of_group => samples.extend(groups.iter().map(|group| group_sample(of_group, group))),
            }
        }
        samples
    }
}

fn plain(metric: Metric, value: u64) -> Sample {
    Sample { metric, labels: Vec::new(), value: value as f64 }
}

fn group_sample(metric: Metric, group: &Running) -> Sample {
    let counts = &group.counts;
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed) as f64;
    let value = match metric {
        Metric::Evaluations => count(&counts.evaluations),
        Metric::RuleEvaluations => count(&counts.rules),
        Metric::RuleFailures => count(&counts.failures),
        Metric::Missed => count(&counts.missed),
        Metric::Seconds => count(&counts.busy_ns) / 1e9,
        Metric::LastSeconds => count(&counts.last_took_ns) / 1e9,
        Metric::Lag => counts.last_lag_ns.load(Ordering::Relaxed) as f64 / 1e9,
        Metric::Interval => group.interval.as_secs_f64(),
        Metric::Alerts
        | Metric::Files
        | Metric::KeepFailures
        | Metric::GivenUp
        | Metric::QueryMemory
        | Metric::RecentRows => {
            unreachable!("these are of no group")
        }
    };
    let labels = vec![("file", group.file.clone()), ("group", group.group.name.clone())];
    Sample { metric, labels, value }
}

/// When its state last changed.
fn changed_ns(alert: &Alert) -> i64 {
    alert.resolved_at_ns.or(alert.fired_at_ns).unwrap_or(alert.active_since_ns)
}

fn shown(group: &Running, rule: &RunningRule, fingerprint: Fingerprint, alert: &Alert) -> orrery_api::Alert {
    orrery_api::Alert {
        fingerprint: fingerprint.to_string(),
        alert: rule.rule.alert.clone(),
        group: group.group.name.clone(),
        file: group.file.clone(),
        state: state(Some(alert.state)),
        labels: alert.labels.clone(),
        annotations: alert.annotations.clone(),
        value: alert.value.is_finite().then_some(alert.value),
        active_since: rfc3339(alert.active_since_ns),
        fired_at: alert.fired_at_ns.map(rfc3339),
        resolved_at: alert.resolved_at_ns.map(rfc3339),
        keep_firing_since: alert.keep_firing_since_ns.map(rfc3339),
        service: labels::service(&alert.labels),
        trace_ids: alert.trace_ids.clone(),
    }
}

fn shown_group(group: &Running) -> RuleGroup {
    let counts = &group.counts;
    let evaluated = counts.evaluations.load(Ordering::Relaxed) > 0;
    RuleGroup {
        name: group.group.name.clone(),
        file: group.file.clone(),
        interval_ms: milliseconds(group.interval),
        query_offset_ms: milliseconds(group.group.query_offset),
        limit: group.group.limit,
        last_evaluation: evaluated.then(|| rfc3339(counts.last_evaluation_ns.load(Ordering::Relaxed))),
        evaluation_ms: evaluated.then(|| counts.last_took_ns.load(Ordering::Relaxed) as f64 / 1e6),
        missed: counts.missed.load(Ordering::Relaxed),
        rules: group.rules.iter().map(shown_rule).collect(),
    }
}

fn shown_rule(running: &RunningRule) -> orrery_api::Rule {
    let (rule, now) = (&running.rule, running.now.lock());
    orrery_api::Rule {
        alert: rule.alert.clone(),
        sql: rule.sql.text.clone(),
        window_ms: milliseconds(rule.window),
        for_ms: milliseconds(rule.hold),
        keep_firing_for_ms: milliseconds(rule.keep_firing_for),
        labels: rule.label_texts(),
        annotations: rule.annotation_texts(),
        health: now.health,
        error: now.error.clone(),
        last_evaluation: now.last_evaluation_ns.map(rfc3339),
        evaluation_ms: now.took.map(|took| took.as_secs_f64() * 1e3),
        line: rule.at.line,
        state: state(now.alerts.state()),
    }
}

/// A file with the first thing that is wrong with it.
pub fn file(path: &str, faults: &[Fault]) -> orrery_api::RuleFile {
    let error = faults.first().map(|fault| RuleFileError {
        message: fault.message.clone(),
        line: fault.at.line,
        column: fault.at.column,
    });
    orrery_api::RuleFile { path: path.to_owned(), error }
}

fn state(state: Option<State>) -> AlertState {
    match state {
        None => AlertState::Inactive,
        Some(State::Pending) => AlertState::Pending,
        Some(State::Firing) => AlertState::Firing,
        Some(State::Resolved) => AlertState::Resolved,
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
