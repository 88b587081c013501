//! Alertmanager's rules of grouping, by a table of cases.

use std::sync::Arc;
use std::time::Duration;

use super::super::config::{GroupBy, Grouping};
use super::super::groups::Groups;
use super::super::inbox::MAX_ALERTS;
use super::super::queue::Queue;
use super::script::{Script, arrivals, play};
use super::{SECOND, START_NS, alert, ended};

fn by(names: &[&str]) -> GroupBy {
    GroupBy::Labels(names.iter().map(|name| (*name).to_owned()).collect())
}

/// By service, 30 s, 5 min and 1 h.
fn grouping() -> Grouping {
    Grouping {
        by: by(&["service"]),
        wait: Duration::from_secs(30),
        interval: Duration::from_secs(300),
        repeat: Duration::from_secs(3600),
        send_resolved: true,
    }
}

struct Case<'a> {
    name: &'a str,
    grouping: Grouping,
    script: Script<'a>,
    until_s: i64,
    arrivals: &'a [(i64, &'a str)],
}

fn case<'a>(name: &'a str, script: Script<'a>, until_s: i64, arrivals: &'a [(i64, &'a str)]) -> Case<'a> {
    Case { name, grouping: grouping(), script, until_s, arrivals }
}

#[test]
fn groups_speak_when_alertmanagers_do() {
    let none = Grouping { by: by(&[]), ..grouping() };
    let all = Grouping { by: GroupBy::All, ..grouping() };
    let missing = Grouping { by: by(&["service", "cluster"]), ..grouping() };
    let silent = Grouping { send_resolved: false, ..grouping() };
    let uneven = Grouping { repeat: Duration::from_secs(400), ..grouping() };
    let cases = [
        case("a new group waits for more alerts", &[(0, "+x.a"), (10, "+x.b")], 329, &[(30, "x.a x.b")]),
        case("each group waits for itself", &[(0, "+x.a"), (10, "+y.a")], 329, &[(30, "x.a"), (40, "y.a")]),
        case(
            "a further alert waits for the interval",
            &[(0, "+x.a"), (60, "+x.b")],
            629,
            &[(30, "x.a"), (330, "x.a x.b")],
        ),
        case("the end waits for the interval", &[(0, "+x.a"), (100, "-x.a")], 5000, &[(30, "x.a"), (330, "-x.a")]),
        case(
            "one end among others is told once",
            &[(0, "+x.a +x.b"), (100, "-x.a")],
            3000,
            &[(30, "x.a x.b"), (330, "-x.a x.b")],
        ),
        case("what ends before it is told is not told", &[(0, "+x.a"), (20, "-x.a")], 5000, &[]),
        case("the end of what was never known is not told", &[(0, "-x.a")], 5000, &[]),
        case("what has not changed is repeated", &[(0, "+x.a")], 7500, &[(30, "x.a"), (3630, "x.a"), (7230, "x.a")]),
        case(
            "a change begins the time to the repetition anew",
            &[(0, "+x.a"), (700, "+x.b")],
            4600,
            &[(30, "x.a"), (930, "x.a x.b"), (4530, "x.a x.b")],
        ),
        Case {
            grouping: uneven,
            ..case("a repetition waits for a round", &[(0, "+x.a")], 1300, &[(30, "x.a"), (630, "x.a"), (1230, "x.a")])
        },
        case(
            "one that ends and fires again in between is not told",
            &[(0, "+x.a"), (100, "-x.a"), (200, "+x.a")],
            3000,
            &[(30, "x.a")],
        ),
        case(
            "one that fires again after its end was told is news",
            &[(0, "+x.a"), (100, "-x.a"), (400, "+x.a")],
            3000,
            &[(30, "x.a"), (330, "-x.a"), (430, "x.a")],
        ),
        case("one that has fired for longer than the wait does not wait", &[(5, "++x.a")], 300, &[(5, "x.a")]),
        case(
            "one that has fired for long ends the wait of its group",
            &[(0, "+x.a"), (5, "++x.b")],
            300,
            &[(5, "x.a x.b")],
        ),
        case(
            "one that has fired for long does not hurry a group that was told of",
            &[(0, "+x.a"), (60, "++x.b")],
            600,
            &[(30, "x.a"), (330, "x.a x.b")],
        ),
        Case {
            grouping: none,
            ..case("without labels all is one group", &[(0, "+x.a"), (10, "+y.b")], 300, &[(30, "x.a y.b")])
        },
        Case {
            grouping: all,
            ..case("by all labels each alert is a group", &[(0, "+x.a +x.b")], 300, &[(30, "x.a"), (30, "x.b")])
        },
        Case {
            grouping: missing,
            ..case(
                "a label that is not there does not divide",
                &[(0, "+x.a +x.b +y.a")],
                300,
                &[(30, "x.a x.b"), (30, "y.a")],
            )
        },
        Case {
            grouping: silent.clone(),
            ..case("ends are not told where they are not wanted", &[(0, "+x.a"), (100, "-x.a")], 5000, &[(30, "x.a")])
        },
        Case {
            grouping: silent.clone(),
            ..case(
                "an end that was not told is known all the same",
                &[(0, "+x.a"), (100, "-x.a"), (400, "+x.a")],
                3000,
                &[(30, "x.a"), (430, "x.a")],
            )
        },
        Case {
            grouping: silent,
            ..case(
                "an end is no news where it is not wanted",
                &[(0, "+x.a +x.b"), (100, "-x.a")],
                4000,
                &[(30, "x.a x.b"), (3630, "x.b")],
            )
        },
        case("what failed is tried again", &[(0, "+x.a down"), (95, "up")], 600, &[(100, "x.a")]),
        case(
            "what is tried again is what holds by then",
            &[(0, "+x.a +x.c down"), (50, "+x.b -x.c"), (95, "up")],
            600,
            &[(100, "x.a x.b -x.c")],
        ),
        case("what ended before it arrived is not told", &[(0, "+x.a down"), (50, "-x.a"), (95, "up")], 5000, &[]),
        case(
            "an end is tried again",
            &[(0, "+x.a"), (50, "down"), (100, "-x.a"), (395, "up")],
            5000,
            &[(30, "x.a"), (400, "-x.a")],
        ),
        case(
            "rounds keep their times after a failure",
            &[(0, "+x.a down"), (95, "up"), (150, "+x.b")],
            600,
            &[(100, "x.a"), (330, "x.a x.b")],
        ),
        case("what is refused waits for the next round", &[(0, "+x.a refuse"), (40, "up")], 600, &[(330, "x.a")]),
        case(
            "one that nobody speaks of any more has ended",
            &[(0, "+x.a"), (61, "?x.a")],
            5000,
            &[(30, "x.a"), (330, "-x.a")],
        ),
        case("a restart forgets nothing that waits", &[(0, "+x.a"), (10, "restart")], 300, &[(40, "x.a")]),
        case("a restart repeats nothing", &[(0, "+x.a"), (100, "restart")], 3700, &[(30, "x.a"), (3630, "x.a")]),
        case("a restart keeps what failed", &[(0, "+x.a down"), (55, "restart"), (57, "up")], 300, &[(60, "x.a")]),
        case(
            "a restart keeps an end that failed",
            &[(0, "+x.a"), (40, "down"), (100, "-x.a"), (350, "restart"), (355, "up")],
            5000,
            &[(30, "x.a"), (360, "-x.a")],
        ),
        case(
            "an end that came before a restart is told after it",
            &[(0, "+x.a"), (100, "-x.a"), (200, "restart")],
            5000,
            &[(30, "x.a"), (330, "-x.a")],
        ),
    ];
    for case in cases {
        let new = || Box::new(Groups::new(case.grouping.clone())) as Box<dyn Queue>;
        let played = play(&new, case.script, case.until_s);
        assert_eq!(played.arrivals, arrivals(case.arrivals), "{}", case.name);
        assert_eq!(played.expired, 0, "{}", case.name);
    }
}

#[test]
fn an_end_that_cannot_be_told_for_a_day_is_given_up_and_counted() {
    let new = || Box::new(Groups::new(grouping())) as Box<dyn Queue>;
    let played = play(&new, &[(0, "+x.a"), (50, "down"), (100, "-x.a"), (86_600, "up")], 87_000);
    assert_eq!(played.arrivals, arrivals(&[(30, "x.a")]));
    assert_eq!(played.expired, 1);
    assert_eq!((played.queue.waiting(i64::MAX), played.queue.next_ns()), (0, None));
}

#[test]
fn what_comes_while_a_notification_is_under_way_is_told_in_the_next_round() {
    let mut groups = Groups::new(grouping());
    let at = |second: i64| START_NS + second * SECOND;
    let a = alert(&[("service", "x"), ("alertname", "a")]);
    groups.update(Arc::new(a.clone()), at(0));
    let first = groups.take(at(30)).expect("it is due");
    assert_eq!((groups.take(at(30)), groups.waiting(at(30))), (None, 1), "one at a time");
    groups.update(Arc::new(ended(&a)), at(31));
    groups.delivered(&first, at(32));
    assert_eq!(groups.take(at(329)), None);
    let second = groups.take(at(330)).expect("the end is news");
    assert_eq!((second.firing.len(), second.resolved.len()), (0, 1));
}

#[test]
fn alerts_beyond_the_limit_find_no_room() {
    let mut groups = Groups::new(grouping());
    for n in 0..MAX_ALERTS {
        assert!(groups.update(Arc::new(alert(&[("service", &n.to_string())])), START_NS));
    }
    assert!(!groups.update(Arc::new(alert(&[("service", "one more")])), START_NS));
    assert!(groups.update(Arc::new(alert(&[("service", "7")])), START_NS), "it is there already");
}

#[test]
fn groups_are_formed_anew_where_the_labels_they_are_formed_by_have_changed() {
    let mut before = Groups::new(grouping());
    for name in ["a", "b"] {
        before.update(Arc::new(alert(&[("service", "x"), ("alertname", name)])), START_NS);
    }
    let rows = before.take_changes().into_iter().map(|(key, row)| (key, row.expect("a row"))).collect();
    let mut after = Groups::new(Grouping { by: by(&["alertname"]), ..grouping() });
    after.restore(rows, START_NS);
    let said: Vec<usize> = std::iter::from_fn(|| after.take(START_NS + 30 * SECOND)).map(|n| n.alerts.len()).collect();
    assert_eq!(said, [1, 1]);
    let changes = after.take_changes();
    assert!(changes.iter().any(|(key, row)| key == "{}:{service=\"x\"}" && row.is_none()), "{changes:?}");
}
