//! How alerts are put into words, the same in chat and mail; the titles are those of Alertmanager's default templates.

use std::sync::Arc;

use orrery_api::Labels;

use super::queue::Notification;
use super::{Alert, State};

/// Annotations that say what is wrong, in the order in which they are looked for.
const SUMMARIES: [&str; 3] = ["summary", "description", "message"];
/// Example traces that are linked.
const MAX_TRACES: usize = 3;

/// Alertmanager's key of a group on its root route: `{}:{alertname="Errors"}`.
pub fn group_key(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
    format!("{{}}:{{{}}}", pairs.join(", "))
}

/// As Go's `%q` does it.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            c if c.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// What all alerts of a notification have in common.
pub fn common<'a>(alerts: &'a [Arc<Alert>], of: impl Fn(&'a Alert) -> &'a Labels) -> Labels {
    let Some((first, rest)) = alerts.split_first() else { return Labels::new() };
    let shared = of(first).iter().filter(|(name, value)| rest.iter().all(|alert| of(alert).get(*name) == Some(value)));
    shared.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// `[FIRING:2] HighErrors (checkout, critical)`: how many, what they are grouped by, and what else they share.
pub fn title(notification: &Notification) -> String {
    let firing = notification.alerts.iter().filter(|alert| alert.state == State::Firing).count();
    let state = if firing > 0 { format!("FIRING:{firing}") } else { "RESOLVED".to_owned() };
    let shared = common(&notification.alerts, |alert| &alert.labels);
    let grouped: Vec<&str> = notification.group_labels.values().map(String::as_str).collect();
    let others: Vec<&str> = shared
        .iter()
        .filter(|(name, _)| !notification.group_labels.contains_key(*name))
        .map(|(_, value)| value.as_str())
        .collect();
    let words = match (grouped.is_empty(), others.is_empty()) {
        (true, true) => "alerts".to_owned(),
        (true, false) => others.join(" "),
        (false, true) => grouped.join(" "),
        (false, false) => format!("{} ({})", grouped.join(" "), others.join(" ")),
    };
    format!("[{state}] {words}").chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What an alert says of itself, or its name.
pub fn summary(alert: &Alert) -> &str {
    let said = SUMMARIES.iter().find_map(|name| alert.annotations.get(*name));
    said.or_else(|| alert.labels.get("alertname")).map_or("an alert", String::as_str)
}

/// The labels but the name, `service=checkout, severity=critical`.
pub fn labels(alert: &Alert) -> String {
    let others = alert.labels.iter().filter(|(name, _)| *name != "alertname");
    others.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
}

/// The pages of the example traces.
pub fn trace_links(alert: &Alert, external_url: &str) -> Vec<String> {
    alert.trace_ids.iter().take(MAX_TRACES).map(|id| format!("{external_url}/trace/{id}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{alert, ended, labels, notification};
    use super::*;

    #[test]
    fn group_keys_are_alertmanagers() {
        for (pairs, key) in [
            (&[][..], "{}:{}"),
            (&[("alertname", "Errors")], "{}:{alertname=\"Errors\"}"),
            (&[("b", "2"), ("a", "1")], "{}:{a=\"1\", b=\"2\"}"),
            (&[("a", "say \"no\"\\\n\u{1}é")], "{}:{a=\"say \\\"no\\\"\\\\\\n\\x01é\"}"),
        ] {
            assert_eq!(group_key(&labels(pairs)), key);
        }
    }

    #[test]
    fn titles_say_how_many_and_of_what() {
        let a = alert(&[("alertname", "Errors"), ("service", "cart"), ("severity", "page")]);
        let b = alert(&[("alertname", "Errors"), ("service", "shop"), ("severity", "page")]);
        for (grouped, alerts, title_) in [
            (&["alertname"][..], vec![&a, &b], "[FIRING:2] Errors (page)"),
            (&["alertname"], vec![&a, &ended(&b)], "[FIRING:1] Errors (page)"),
            (&["alertname"], vec![&ended(&a)], "[RESOLVED] Errors (cart page)"),
            (&[], vec![&a, &b], "[FIRING:2] Errors page"),
            (&["alertname", "service", "severity"], vec![&a], "[FIRING:1] Errors cart page"),
        ] {
            assert_eq!(title(&notification(grouped, &alerts)), title_);
        }
        let odd = alert(&[("alertname", "two\nlines\r\nBcc: everyone@example.com")]);
        assert_eq!(title(&notification(&[], &[&odd])), "[FIRING:1] two lines  Bcc: everyone@example.com");
    }
}
