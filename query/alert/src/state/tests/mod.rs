//! The state machine by a table of cases. A case is a script, a line an evaluation: the time in seconds, the rows that
//! the query gave, and what has to come of it. Times are the test's own; nothing waits.
//!
//! Rows are names (`a`, `a=0.5`), `-` for none, `error` for a query that failed. What comes: `a:pending>firing` a transition
//! (`-` is inactive), `fire:a` and `end:a` what notifiers are told, `gone:a` an alert that is forgotten, `refused:limit` and
//! `refused:same`. Instead of a time: `restart` (the state is written and read again), `retire 5` (the rule is gone), `terms …`.

mod cases;

use std::collections::BTreeMap;

use orrery_api::Labels;

use self::cases::CASES;
use super::*;

const SECOND_NS: i64 = 1_000_000_000;
const START_NS: i64 = 1_700_000_000 * SECOND_NS;

/// Name, terms in seconds, script.
type Case = (&'static str, &'static str, &'static str);

fn labels(name: &str) -> Labels {
    [("alertname".to_owned(), "Rule".to_owned()), ("instance".to_owned(), name.to_owned())].into()
}

fn sample(row: &str) -> Sample {
    let (name, value) = row.split_once('=').unwrap_or((row, "1"));
    Sample {
        labels: labels(name),
        annotations: [("summary".to_owned(), format!("{name} is at {value}"))].into(),
        value: value.parse().expect("a value"),
        trace_ids: Vec::new(),
    }
}

fn terms(text: &str) -> Terms {
    let mut terms = Terms { interval_ns: 15 * SECOND_NS, ..Terms::default() };
    for word in text.split_whitespace() {
        let (name, value) = word.split_once('=').expect("name=value");
        let number: i64 = value.parse().expect("a number");
        match name {
            "for" => terms.for_ns = number * SECOND_NS,
            "keep" => terms.keep_firing_for_ns = number * SECOND_NS,
            "limit" => terms.limit = number.cast_unsigned(),
            "interval" => terms.interval_ns = number * SECOND_NS,
            other => panic!("no term {other}"),
        }
    }
    terms
}

/// The alerts of one rule, written and read as the database does it.
struct Rule {
    alerts: Alerts,
    last_ns: Option<i64>,
    kept: BTreeMap<Fingerprint, String>,
}

impl Rule {
    fn keep(&mut self, outcome: &Outcome) {
        for fingerprint in &outcome.changed {
            if let Some(alert) = self.alerts.get(*fingerprint) {
                self.kept.insert(*fingerprint, serde_json::to_string(alert).expect("JSON"));
            }
        }
        for fingerprint in &outcome.removed {
            self.kept.remove(fingerprint);
        }
    }

    fn restart(&mut self) {
        let read = |json: &String| serde_json::from_str(json).expect("an alert");
        let alerts = self.kept.iter().map(|(fingerprint, json)| (*fingerprint, read(json))).collect();
        self.alerts = Alerts::restored(alerts, self.last_ns);
    }

    fn events(&self, outcome: &Outcome) -> Vec<String> {
        let word = |state: Option<State>| match state {
            None => "-",
            Some(State::Pending) => "pending",
            Some(State::Firing) => "firing",
            Some(State::Resolved) => "resolved",
        };
        let mut events: Vec<String> = outcome
            .transitions
            .iter()
            .map(|t| format!("{}:{}>{}", t.alert.labels["instance"], word(t.from), word(t.to)))
            .collect();
        for fingerprint in &outcome.send {
            let alert = self.alerts.get(*fingerprint).expect("what is sent is there");
            let kind = if alert.state == State::Firing { "fire" } else { "end" };
            events.push(format!("{kind}:{}", alert.labels["instance"]));
        }
        for fingerprint in &outcome.removed {
            if outcome.transitions.iter().all(|t| t.fingerprint != *fingerprint) {
                let names = ["a", "b", "c", "d"];
                let name = names.into_iter().find(|name| Fingerprint::of(&labels(name)) == *fingerprint);
                events.push(format!("gone:{}", name.unwrap_or("?")));
            }
        }
        events.sort();
        events
    }
}

fn run((name, of, script): &Case) {
    let mut terms_of = terms(of);
    let mut rule = Rule { alerts: Alerts::default(), last_ns: None, kept: BTreeMap::new() };
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(changed) = line.strip_prefix("terms ") {
            terms_of = terms(changed);
            continue;
        }
        if line == "restart" {
            rule.restart();
            continue;
        }
        let mut parts = line.split('|').map(str::trim);
        let (time, rows, expected) =
            (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let at = |text: &str| START_NS + text.parse::<i64>().expect("a time") * SECOND_NS;
        let mut expected: Vec<&str> = expected.split_whitespace().collect();
        expected.sort_unstable();
        if let Some(time) = time.strip_prefix("retire ") {
            let outcome = rule.alerts.retire(at(time));
            assert_eq!(rule.events(&outcome), expected, "{name}: {line}");
            continue;
        }
        if rows == "error" {
            // The evaluator asks nothing of the machine when there is no result.
            continue;
        }
        let samples = rows.split_whitespace().filter(|row| *row != "-").map(sample).collect();
        let (outcome, refused) = rule.alerts.evaluate(&terms_of, at(time), samples);
        let mut events = rule.events(&outcome);
        events.extend(refused.as_ref().map(|refused| match refused {
            Refused::SameLabels { .. } => "refused:same".to_owned(),
            Refused::Limit { .. } => "refused:limit".to_owned(),
        }));
        events.sort();
        assert_eq!(events, expected, "{name}: {line}");
        let there = |t: &&Transition| rule.alerts.get(t.fingerprint).is_some();
        for transition in outcome.transitions.iter().filter(there) {
            assert!(outcome.changed.contains(&transition.fingerprint), "{name}: {line}: a change is not kept");
        }
        rule.keep(&outcome);
        rule.last_ns = Some(at(time));
    }
}

#[test]
fn states_change_as_the_table_says() {
    for case in CASES {
        run(case);
    }
    assert!(CASES.len() >= 40, "{}", CASES.len());
}

/// What the table does not show: the data that go with the states.
#[test]
fn alerts_carry_the_newest_value_and_the_times_of_their_life() {
    let terms = terms("for=30 keep=60");
    let mut alerts = Alerts::default();
    let fingerprint = Fingerprint::of(&labels("a"));
    let mut at = |second: i64, rows: &[&str]| {
        let (outcome, refused) =
            alerts.evaluate(&terms, START_NS + second * SECOND_NS, rows.iter().map(|row| sample(row)).collect());
        assert_eq!(refused, None);
        (outcome, alerts.get(fingerprint).cloned().expect("it is there"))
    };
    let since = |alert: &Alert, time: Option<i64>| time.map(|time| (time - alert.active_since_ns) / SECOND_NS);
    let (_, pending) = at(0, &["a=1"]);
    assert_eq!((pending.state, pending.value, pending.fired_at_ns), (State::Pending, 1.0, None));
    let (outcome, firing) = at(30, &["a=2"]);
    assert_eq!((firing.state, firing.value, since(&firing, firing.fired_at_ns)), (State::Firing, 2.0, Some(30)));
    assert_eq!(firing.annotations["summary"], "a is at 2");
    assert_eq!(outcome.transitions[0].alert, Alert { last_sent_ns: None, ..firing });
    let (_, kept) = at(45, &[]);
    assert_eq!((kept.state, kept.value, since(&kept, kept.keep_firing_since_ns)), (State::Firing, 2.0, Some(45)));
    let (_, back) = at(60, &["a=3"]);
    assert_eq!((back.keep_firing_since_ns, back.value), (None, 3.0));
    at(75, &[]);
    let (_, resolved) = at(135, &[]);
    assert_eq!((resolved.state, since(&resolved, resolved.resolved_at_ns)), (State::Resolved, Some(135)));
    assert_eq!((resolved.value, resolved.annotations["summary"].as_str()), (3.0, "a is at 3"));
}

#[test]
fn example_traces_stay_until_there_are_others() {
    let terms = terms("");
    let mut alerts = Alerts::default();
    let fingerprint = Fingerprint::of(&labels("a"));
    let with = |ids: &[&str]| Sample { trace_ids: ids.iter().map(|id| (*id).to_owned()).collect(), ..sample("a") };
    for (second, given, expected) in [(0, &["x"][..], "x"), (15, &[], "x"), (30, &["y"], "y")] {
        alerts.evaluate(&terms, START_NS + second * SECOND_NS, vec![with(given)]);
        assert_eq!(alerts.get(fingerprint).expect("it fires").trace_ids, [expected]);
    }
    alerts.set_trace_ids(fingerprint, vec!["z".to_owned()]);
    assert_eq!(alerts.get(fingerprint).expect("it fires").trace_ids, ["z"]);
}

#[test]
fn a_firing_alert_is_valid_for_four_of_the_longer_interval() {
    for (interval, valid) in [(15, 240), (60, 240), (300, 1200)] {
        let terms = Terms { interval_ns: interval * SECOND_NS, ..Terms::default() };
        assert_eq!(valid_until(&terms, START_NS), START_NS + valid * SECOND_NS);
    }
}
