//! The state machine by a table of cases. A case is a script, a line an evaluation: the time in seconds, the rows that
//! the query gave, and what has to come of it. Times are the test's own; nothing waits.
//!
//! Rows are names (`a`, `a=0.5`), `-` for none, `error` for a query that failed. What comes: `a:pending>firing` a transition
//! (`-` is inactive), `fire:a` and `end:a` what notifiers are told, `gone:a` an alert that is forgotten, `refused:limit` and
//! `refused:same`. Instead of a time: `restart` (the state is written and read again), `retire 5` (the rule is gone), `terms …`.

use std::collections::BTreeMap;

use orrery_api::Labels;

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

const CASES: &[Case] = &[
    (
        "nothing is nothing",
        "for=60",
        "
        0 | - |
        15 | - |
    ",
    ),
    (
        "without for a row fires at once",
        "",
        "
        0 | a | a:->firing fire:a
        15 | a |
    ",
    ),
    (
        "for is waited for, its end included",
        "for=60",
        "
        0 | a | a:->pending
        15 | a |
        45 | a |
        60 | a | a:pending>firing fire:a
    ",
    ),
    (
        "for is not waited for longer than needed at a coarse interval",
        "for=60 interval=45",
        "
        0 | a | a:->pending
        45 | a |
        90 | a | a:pending>firing fire:a
    ",
    ),
    (
        "a pending alert whose row goes is forgotten",
        "for=60",
        "
        0 | a | a:->pending
        45 | - | a:pending>-
        60 | - |
    ",
    ),
    (
        "a row that comes back waits anew",
        "for=60",
        "
        0 | a | a:->pending
        45 | - | a:pending>-
        60 | a | a:->pending
        105 | a |
        120 | a | a:pending>firing fire:a
    ",
    ),
    (
        "a firing alert whose row goes resolves",
        "for=30",
        "
        0 | a | a:->pending
        30 | a | a:pending>firing fire:a
        45 | - | a:firing>resolved end:a
    ",
    ),
    (
        "a firing alert is sent every minute",
        "",
        "
        0 | a | a:->firing fire:a
        15 | a |
        30 | a |
        45 | a |
        60 | a | fire:a
        75 | a |
        120 | a | fire:a
    ",
    ),
    (
        "a resolved alert is sent at once, every minute, and forgotten after 15",
        "",
        "
        0 | a | a:->firing fire:a
        15 | - | a:firing>resolved end:a
        30 | - |
        75 | - | end:a
        600 | - | end:a
        900 | - | end:a
        915 | - |
        916 | - | gone:a
        930 | - |
    ",
    ),
    (
        "a pending alert is never sent",
        "for=300",
        "
        0 | a | a:->pending
        60 | a |
        120 | a |
        135 | - | a:pending>-
    ",
    ),
    (
        "a resolved alert whose row is back is a new one",
        "for=30",
        "
        0 | a | a:->pending
        30 | a | a:pending>firing fire:a
        45 | - | a:firing>resolved end:a
        60 | a | a:->pending
        75 | a |
        90 | a | a:pending>firing fire:a
    ",
    ),
    (
        "without for it fires again at once",
        "",
        "
        0 | a | a:->firing fire:a
        15 | - | a:firing>resolved end:a
        30 | a | a:->firing fire:a
    ",
    ),
    (
        "rows are alerts of their own",
        "for=30",
        "
        0 | a | a:->pending
        15 | a b | b:->pending
        30 | a b | a:pending>firing fire:a
        45 | b | a:firing>resolved b:pending>firing end:a fire:b
        60 | - | b:firing>resolved end:b
    ",
    ),
    (
        "a value that changes changes no state",
        "for=30",
        "
        0 | a=1 | a:->pending
        15 | a=100 |
        30 | a=NaN | a:pending>firing fire:a
        45 | a=-inf |
    ",
    ),
    (
        "keep_firing_for keeps it firing",
        "keep=60",
        "
        0 | a | a:->firing fire:a
        15 | - |
        60 | - | fire:a
        74 | - |
        75 | - | a:firing>resolved end:a
    ",
    ),
    (
        "a row that comes back in time starts keep_firing_for anew",
        "keep=60",
        "
        0 | a | a:->firing fire:a
        15 | - |
        60 | a | fire:a
        75 | - |
        120 | - | fire:a
        135 | - | a:firing>resolved end:a
    ",
    ),
    (
        "keep_firing_for is not for pending alerts",
        "for=60 keep=60",
        "
        0 | a | a:->pending
        15 | - | a:pending>-
    ",
    ),
    (
        "keep_firing_for and for together",
        "for=30 keep=30",
        "
        0 | a | a:->pending
        30 | a | a:pending>firing fire:a
        45 | - |
        60 | a |
        75 | - |
        90 | - | fire:a
        105 | - | a:firing>resolved end:a
        120 | a | a:->pending
    ",
    ),
    (
        "kept alerts are sent like others",
        "keep=600",
        "
        0 | a | a:->firing fire:a
        30 | - |
        60 | - | fire:a
        120 | - | fire:a
    ",
    ),
    (
        "two rows with the same labels are refused and change nothing",
        "for=30",
        "
        0 | a | a:->pending
        15 | a a=2 | refused:same
        30 | a | a:pending>firing fire:a
        45 | b b | refused:same
        60 | a |
    ",
    ),
    (
        "the limit counts pending and firing alerts",
        "for=30 limit=2",
        "
        0 | a b | a:->pending b:->pending
        30 | a b | a:pending>firing b:pending>firing fire:a fire:b
    ",
    ),
    (
        "beyond the limit all are cleared, and nothing is sent",
        "for=30 limit=2",
        "
        0 | a b | a:->pending b:->pending
        30 | a b | a:pending>firing b:pending>firing fire:a fire:b
        45 | a b c | a:firing>- b:firing>- refused:limit
        60 | a | a:->pending
    ",
    ),
    (
        "kept alerts count towards the limit",
        "keep=60 limit=2",
        "
        0 | a b | a:->firing b:->firing fire:a fire:b
        15 | b c | a:firing>- b:firing>- refused:limit
    ",
    ),
    (
        "resolved alerts do not count towards the limit",
        "limit=2",
        "
        0 | a b | a:->firing b:->firing fire:a fire:b
        15 | c | a:firing>resolved b:firing>resolved c:->firing end:a end:b fire:c
        30 | c d | d:->firing fire:d
    ",
    ),
    (
        "a query that fails changes nothing",
        "for=60",
        "
        0 | a | a:->pending
        15 | error |
        30 | error |
        60 | a | a:pending>firing fire:a
        75 | error |
        90 | error |
        105 | a |
    ",
    ),
    (
        "a row that was gone while queries failed is not missed",
        "for=60",
        "
        0 | a | a:->pending
        15 | error |
        30 | - | a:pending>-
    ",
    ),
    (
        "a firing alert outlives failing queries, unsent",
        "",
        "
        0 | a | a:->firing fire:a
        60 | error |
        120 | error |
        180 | error |
        195 | a | fire:a
    ",
    ),
    (
        "a slow query leaves evaluations out, and for goes by time",
        "for=60",
        "
        0 | a | a:->pending
        90 | a | a:pending>firing fire:a
    ",
    ),
    (
        "after a pause for has passed",
        "for=300",
        "
        0 | a | a:->pending
        4000 | a | a:pending>firing fire:a
    ",
    ),
    (
        "after a pause an alert without its row resolves",
        "keep=60",
        "
        0 | a | a:->firing fire:a
        15 | - |
        4000 | - | a:firing>resolved end:a
    ",
    ),
    (
        "a clock that is put forward counts as time",
        "for=300",
        "
        0 | a | a:->pending
        15 | a |
        3615 | a | a:pending>firing fire:a
    ",
    ),
    (
        "a clock that is put back keeps what has been waited for",
        "for=60",
        "
        0 | a | a:->pending
        45 | a |
        -3600 | a |
        -3586 | a |
        -3585 | a | a:pending>firing fire:a
    ",
    ),
    (
        "a clock that is put back keeps what keep_firing_for has waited for",
        "keep=60",
        "
        0 | a | a:->firing fire:a
        15 | - |
        60 | - | fire:a
        -1000 | - |
        -986 | - |
        -985 | - | a:firing>resolved end:a
    ",
    ),
    (
        "a clock that is put back does not silence",
        "",
        "
        0 | a | a:->firing fire:a
        30 | a |
        -3600 | a |
        -3570 | a | fire:a
    ",
    ),
    (
        "a clock that is put back and forward again",
        "for=60",
        "
        0 | a | a:->pending
        30 | a |
        -600 | a |
        45 | a | a:pending>firing fire:a
    ",
    ),
    (
        "a firing alert goes on after a restart",
        "for=30",
        "
        0 | a | a:->pending
        30 | a | a:pending>firing fire:a
        restart
        60 | a | fire:a
    ",
    ),
    (
        "a firing alert whose row is gone after a restart resolves",
        "for=30",
        "
        0 | a | a:->pending
        30 | a | a:pending>firing fire:a
        restart
        90 | - | a:firing>resolved end:a
    ",
    ),
    (
        "a resolved alert is sent again after a restart, then forgotten in time",
        "",
        "
        0 | a | a:->firing fire:a
        15 | - | a:firing>resolved end:a
        restart
        30 | - | end:a
        915 | - | end:a
        restart
        916 | - | gone:a
    ",
    ),
    (
        "the time of a restart is not waited for",
        "for=300",
        "
        0 | a | a:->pending
        120 | a |
        restart
        1000 | a |
        1165 | a |
        1179 | a |
        1180 | a | a:pending>firing fire:a
    ",
    ),
    (
        "a long for that is nearly over gets ten minutes after a restart",
        "for=1800",
        "
        0 | a | a:->pending
        1500 | a |
        restart
        1560 | a |
        2159 | a |
        2160 | a | a:pending>firing fire:a
    ",
    ),
    (
        "a long for that is far from over goes on where it was",
        "for=1800",
        "
        0 | a | a:->pending
        600 | a |
        restart
        900 | a |
        2085 | a |
        2099 | a |
        2100 | a | a:pending>firing fire:a
    ",
    ),
    (
        "a for that was over is over",
        "for=60 interval=60",
        "
        0 | a | a:->pending
        restart
        60 | a |
        120 | a | a:pending>firing fire:a
    ",
    ),
    (
        "after an outage of more than an hour pending begins anew",
        "for=120",
        "
        0 | a | a:->pending
        105 | a |
        restart
        3706 | a |
        3720 | a |
        3826 | a | a:pending>firing fire:a
    ",
    ),
    (
        "a pending alert whose row is gone after a restart is forgotten",
        "for=120",
        "
        0 | a | a:->pending
        restart
        30 | - | a:pending>-
    ",
    ),
    (
        "keep_firing_for goes on over a restart",
        "keep=120",
        "
        0 | a | a:->firing fire:a
        15 | - |
        restart
        60 | - | fire:a
        135 | - | a:firing>resolved end:a
    ",
    ),
    (
        "two restarts in a row lose nothing",
        "for=60",
        "
        0 | a | a:->pending
        restart
        restart
        15 | a |
        restart
        30 | a |
        75 | a |
        89 | a |
        90 | a | a:pending>firing fire:a
    ",
    ),
    (
        "a restart with a clock that is put back",
        "for=60",
        "
        0 | a | a:->pending
        30 | a |
        restart
        -300 | a |
        -271 | a |
        -270 | a | a:pending>firing fire:a
    ",
    ),
    (
        "a reload with a longer for leaves firing alerts alone",
        "for=30",
        "
        0 | a | a:->pending
        30 | a | a:pending>firing fire:a
        terms for=600
        45 | a b | b:->pending
        60 | a b |
        90 | a b | fire:a
    ",
    ),
    (
        "a reload with a shorter for fires what has waited so long",
        "for=600",
        "
        0 | a | a:->pending
        60 | a |
        terms for=60
        75 | a | a:pending>firing fire:a
    ",
    ),
    (
        "a reload that drops keep_firing_for resolves",
        "keep=600",
        "
        0 | a | a:->firing fire:a
        15 | - |
        terms keep=0
        30 | - | a:firing>resolved end:a
    ",
    ),
    (
        "a reload with a limit clears what is beyond it",
        "",
        "
        0 | a b | a:->firing b:->firing fire:a fire:b
        terms limit=1
        15 | a b | a:firing>- b:firing>- refused:limit
    ",
    ),
    (
        "a rule that is removed resolves what was firing",
        "for=30",
        "
        0 | a | a:->pending
        30 | a b | a:pending>firing b:->pending fire:a
        retire 40 | | a:firing>resolved b:pending>- end:a
    ",
    ),
    (
        "a rule that is removed says nothing new of what was resolved",
        "",
        "
        0 | a | a:->firing fire:a
        15 | - | a:firing>resolved end:a
        retire 40 | | gone:a
    ",
    ),
    (
        "a rule that is removed while it keeps firing resolves",
        "keep=600",
        "
        0 | a | a:->firing fire:a
        15 | - |
        retire 40 | | a:firing>resolved end:a
    ",
    ),
];
