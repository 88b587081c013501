//! Lanes of the history, and searches.

use super::*;
use crate::instant::{MINUTE, rfc3339};

const START: i64 = 1_674_982_800_000_000_000; // 2023-01-29T09:00:00Z
const WINDOW: Window = Window { start: START, end: START + 60 * MINUTE };

fn minute(n: i64) -> i64 {
    START + n * MINUTE
}

fn alert(fingerprint: &str, state: AlertState, active: i64, fired: Option<i64>) -> Alert {
    Alert {
        fingerprint: fingerprint.to_owned(),
        alert: "Slow".to_owned(),
        group: "shop".to_owned(),
        file: "rules/shop.yaml".to_owned(),
        state,
        labels: Labels::from([
            ("alertname".to_owned(), "Slow".to_owned()),
            ("service_name".to_owned(), "cart".to_owned()),
        ]),
        annotations: Labels::new(),
        value: Some(1.5),
        active_since: rfc3339(active),
        fired_at: fired.map(rfc3339),
        resolved_at: None,
        keep_firing_since: None,
        service: Some("shop/cart".to_owned()),
        trace_ids: Vec::new(),
    }
}

fn change(fingerprint: &str, at: i64, from: AlertState, to: AlertState) -> Transition {
    Transition {
        timestamp: rfc3339(at),
        alert: "Slow".to_owned(),
        group: "shop".to_owned(),
        fingerprint: fingerprint.to_owned(),
        from,
        to,
        value: None,
        labels: Labels::new(),
    }
}

#[test]
fn a_lane_holds_the_stretches_between_changes() {
    use AlertState::{Firing, Inactive, Pending, Resolved};
    // As the server sends them, newest first.
    let history = [
        change("a", minute(50), Inactive, Pending),
        change("a", minute(30), Firing, Resolved),
        change("a", minute(15), Pending, Firing),
        change("a", minute(10), Resolved, Pending),
    ];
    let found = lanes(WINDOW, minute(55), &[], &history);
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].stretches,
        vec![(minute(10), minute(15), Pending), (minute(15), minute(30), Firing), (minute(50), minute(55), Pending)]
    );
    assert_eq!(found[0].state, Pending);
}

#[test]
fn what_was_so_before_the_window_and_what_never_changed_in_it_reach_to_its_edges() {
    use AlertState::{Firing, Pending, Resolved};
    let history = [change("a", minute(20), Firing, Resolved)];
    let unchanged = alert("b", Firing, START - 30 * MINUTE, Some(START - 20 * MINUTE));
    let not_written_yet = alert("c", Firing, minute(40), Some(minute(45)));
    let found = lanes(WINDOW, minute(90), &[unchanged, not_written_yet], &history);
    let of = |fingerprint: &str| found.iter().find(|l| l.fingerprint == fingerprint).unwrap();
    assert_eq!(of("a").stretches, vec![(START, minute(20), Firing)]);
    assert_eq!(of("b").stretches, vec![(START, minute(60), Firing)]);
    assert_eq!(of("c").stretches, vec![(minute(40), minute(45), Pending), (minute(45), minute(60), Firing)]);
    // What fires comes first, the latest change before the earlier.
    assert_eq!(found.iter().map(|l| l.fingerprint.as_str()).collect::<Vec<_>>(), ["c", "b", "a"]);
}

#[test]
fn an_alert_is_found_by_any_of_its_texts() {
    let alert = alert("a", AlertState::Firing, START, None);
    for text in ["", "slow", " CART ", "shop/cart"] {
        assert!(matches(&alert, text), "{text}");
    }
    assert!(!matches(&alert, "payment"));
    assert!(!is_elsewhere(&alert, Some("prod"), Some("shop")));
    assert!(is_elsewhere(&alert, None, Some("post")));
}

#[test]
fn only_what_fires_is_counted_for_a_service() {
    let mut mild = alert("b", AlertState::Firing, START, None);
    mild.labels.insert("severity".to_owned(), "Warning".to_owned());
    let pending = alert("c", AlertState::Pending, START, None);
    assert_eq!(firing_by_service(&[mild.clone(), pending]), BTreeMap::from([("shop/cart".to_owned(), (1, false))]));
    let both = [alert("a", AlertState::Firing, START, None), mild];
    assert_eq!(firing_by_service(&both), BTreeMap::from([("shop/cart".to_owned(), (2, true))]));
    let found = BTreeMap::from([("shop/cart".to_owned(), (2, false)), ("cart".to_owned(), (1, true))]);
    for (service, expected) in [
        ("shop/cart", Some((3, true))),
        ("test/cart", Some((1, true))),
        ("cart", Some((1, true))),
        ("shop/pay", None),
        ("shop", None),
    ] {
        assert_eq!(firing_of(&found, service), expected, "{service}");
    }
}
