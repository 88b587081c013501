//! What is sent to an Alertmanager, by a table of cases.

use std::sync::Arc;

use super::super::outbox::Outbox;
use super::super::queue::Queue;
use super::script::{Script, arrivals, play};
use super::{START_NS, alert, ended};

/// What it shows, the script, its last second, and what arrives.
type Case<'a> = (&'a str, Script<'a>, i64, &'a [(i64, &'a str)]);

fn new() -> Box<dyn Queue> {
    Box::new(Outbox::default())
}

#[test]
fn what_the_evaluator_hands_over_is_sent_until_it_has_arrived() {
    let cases: [Case<'_>; 8] = [
        ("as often as it is handed over", &[(1, "+x.a")], 130, &[(1, "x.a"), (61, "x.a"), (121, "x.a")]),
        (
            "the end at once, and again",
            &[(0, "+x.a"), (20, "-x.a")],
            150,
            &[(0, "x.a"), (20, "-x.a"), (80, "-x.a"), (140, "-x.a")],
        ),
        ("several in one request", &[(0, "+x.a +y.b")], 10, &[(0, "x.a y.b")]),
        ("what failed again and again", &[(0, "+x.a down"), (25, "up")], 60, &[(30, "x.a"), (60, "x.a")]),
        ("what failed as it is by then", &[(0, "+x.a down"), (20, "-x.a"), (25, "up")], 60, &[(30, "-x.a")]),
        ("what is refused after the delay", &[(0, "+x.a ?x.a"), (1, "+x.a refuse"), (5, "up")], 70, &[(61, "x.a")]),
        ("what failed after a restart too", &[(0, "+x.a down"), (15, "?x.a restart"), (25, "up")], 70, &[(25, "x.a")]),
        ("nothing twice after a restart", &[(0, "+x.a"), (15, "?x.a restart")], 70, &[(0, "x.a")]),
    ];
    for (name, script, until_s, expected) in cases {
        let played = play(&new, script, until_s);
        assert_eq!(played.arrivals, arrivals(expected), "{name}");
        assert_eq!(played.expired, 0, "{name}");
    }
}

#[test]
fn what_never_arrived_and_is_over_is_given_up_and_counted() {
    for (what, script) in [("an end", &[(0, "down +x.a"), (20, "-x.a")]), ("silence", &[(0, "down +x.a"), (1, "?x.a")])]
    {
        let played = play(&new, script, 1000);
        assert_eq!((played.arrivals.len(), played.expired, played.queue.waiting(0)), (0, 1, 0), "{what}");
        assert!(played.attempts > 20, "{what}: {}", played.attempts);
    }
}

#[test]
fn requests_are_of_bounded_size() {
    let mut queue = new();
    for n in 0..130 {
        assert!(queue.update(Arc::new(alert(&[("n", &format!("{n:03}"))])), START_NS));
    }
    assert_eq!(queue.waiting(START_NS), 3);
    let requests: Vec<_> = std::iter::from_fn(|| queue.take(START_NS)).collect();
    assert_eq!(requests.iter().map(|request| request.alerts.len()).collect::<Vec<_>>(), [64, 64, 2]);
    for request in &requests {
        queue.delivered(request, START_NS);
    }
    assert_eq!(queue.waiting(START_NS), 0);
}

#[test]
fn what_changes_while_it_is_under_way_is_sent_again() {
    let mut queue = new();
    let a = alert(&[("alertname", "a")]);
    queue.update(Arc::new(a.clone()), START_NS);
    let first = queue.take(START_NS).expect("it is due");
    queue.update(Arc::new(ended(&a)), START_NS);
    assert_eq!(queue.take(START_NS), None, "one at a time");
    queue.delivered(&first, START_NS);
    let second = queue.take(START_NS).expect("the end has not been sent");
    assert_eq!((second.firing.len(), second.resolved.len()), (0, 1));
}
