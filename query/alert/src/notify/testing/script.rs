//! A queue's life as a table: what happens at which second, and what then arrives where.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::queue::Queue;
use super::super::{Alert, RESEND_DELAY_NS, RESOLVED_RETENTION_NS, State};
use super::{SECOND, START_NS, alert};

/// How long after a failure that waiting can mend the next attempt is made.
const RETRY_S: i64 = 10;

/// Seconds and words: `+x.a` alert `a` of service `x` begins to fire, `++x.a` it has fired for 100 s already, `-x.a` it
/// ends, `?x.a` the evaluator speaks of it no more, `down` and `refuse` say what becomes of attempts until `up`,
/// `restart` kills and starts again.
pub type Script<'a> = &'a [(i64, &'a str)];

/// Seconds and the alerts of a notification that arrived, those that ended with a minus.
pub type Arrivals = Vec<(i64, String)>;

pub struct Play {
    pub arrivals: Arrivals,
    pub attempts: u64,
    pub expired: u64,
    pub queue: Box<dyn Queue>,
}

#[derive(Clone, Copy, PartialEq)]
enum Destination {
    Up,
    Down,
    Refuses,
}

/// Plays a script second by second up to and with the last one.
/// The evaluator hands alerts over when they change, and every resend delay after that.
pub fn play(new: &dyn Fn() -> Box<dyn Queue>, script: Script<'_>, until_s: i64) -> Play {
    let mut play = Play { arrivals: Vec::new(), attempts: 0, expired: 0, queue: new() };
    let mut destination = Destination::Up;
    let mut spoken_of: BTreeMap<&str, Spoken> = BTreeMap::new();
    let mut kept: BTreeMap<String, String> = BTreeMap::new();
    for second in 0..=until_s {
        let now_ns = START_NS + second * SECOND;
        for (_, words) in script.iter().filter(|(at, _)| *at == second) {
            for word in words.split_whitespace() {
                let name = word.trim_start_matches(['+', '-', '?']);
                match word {
                    "up" => destination = Destination::Up,
                    "down" => destination = Destination::Down,
                    "refuse" => destination = Destination::Refuses,
                    "restart" => {
                        keep(&mut kept, &mut *play.queue);
                        play.queue = new();
                        play.queue.restore(kept.clone().into_iter().collect(), now_ns);
                    }
                    _ if word.starts_with('?') => drop(spoken_of.remove(name)),
                    _ => drop(spoken_of.insert(name, changed(word, name, spoken_of.get(name), now_ns))),
                }
            }
        }
        spoken_of.retain(|_, spoken| {
            spoken.alert.state == State::Firing || spoken.alert.ends_at_ns + RESOLVED_RETENTION_NS > now_ns
        });
        for spoken in spoken_of.values().filter(|spoken| (now_ns - spoken.changed_ns) % RESEND_DELAY_NS == 0) {
            let mut alert = spoken.alert.clone();
            if alert.state == State::Firing {
                alert.ends_at_ns = now_ns + 4 * RESEND_DELAY_NS;
            }
            assert!(play.queue.update(Arc::new(alert), now_ns), "there is room");
        }
        keep(&mut kept, &mut *play.queue);
        while let Some(notification) = play.queue.take(now_ns) {
            play.attempts += 1;
            match destination {
                Destination::Up => {
                    let said = notification.alerts.iter();
                    let said = said
                        .map(|alert| format!("{}{}", if alert.state == State::Firing { "" } else { "-" }, name(alert)));
                    play.arrivals.push((second, said.collect::<Vec<_>>().join(" ")));
                    play.queue.delivered(&notification, now_ns);
                }
                Destination::Down => play.queue.failed(&notification, Some(now_ns + RETRY_S * SECOND), now_ns),
                Destination::Refuses => play.queue.failed(&notification, None, now_ns),
            }
        }
        assert!(play.queue.next_ns().is_none_or(|next_ns| next_ns > now_ns), "all that is due at {second} s was taken");
        play.expired += play.queue.take_expired();
    }
    keep(&mut kept, &mut *play.queue);
    play
}

struct Spoken {
    alert: Alert,
    changed_ns: i64,
}

fn changed(word: &str, name: &str, before: Option<&Spoken>, now_ns: i64) -> Spoken {
    let (service, alertname) = name.split_once('.').expect("a service and an alert");
    let fresh = Alert {
        starts_at_ns: if word.starts_with("++") { now_ns - 100 * SECOND } else { now_ns },
        ..alert(&[("service", service), ("alertname", alertname)])
    };
    let alert = match word.starts_with('-') {
        true => {
            let before = before.map_or(fresh, |spoken| spoken.alert.clone());
            Alert { state: State::Resolved, ends_at_ns: now_ns, ..before }
        }
        false => fresh,
    };
    Spoken { alert, changed_ns: now_ns }
}

fn keep(kept: &mut BTreeMap<String, String>, queue: &mut dyn Queue) {
    for (key, row) in queue.take_changes() {
        match row {
            Some(row) => kept.insert(key, row),
            None => kept.remove(&key),
        };
    }
}

fn name(alert: &Alert) -> String {
    format!("{}.{}", alert.labels["service"], alert.labels["alertname"])
}

pub fn arrivals(expected: &[(i64, &str)]) -> Arrivals {
    expected.iter().map(|(second, alerts)| (*second, (*alerts).to_owned())).collect()
}
