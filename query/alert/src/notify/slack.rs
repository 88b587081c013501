//! Slack's incoming webhooks, which Mattermost, Rocket.Chat, Discord (`…/slack`) and others take too. What comes from
//! labels and annotations is text: it makes no links and mentions nobody.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::channel::Channel;
use super::config::SlackConfig;
use super::failure::SendError;
use super::http::Http;
use super::queue::Notification;
use super::time::readable;
use super::wording::{labels, summary, title, trace_links};
use super::{Alert, State};

/// Alerts that are written out; the others are counted.
const MAX_ALERTS: usize = 20;
/// Characters of one alert's summary.
const MAX_SUMMARY: usize = 500;
const FIRING_COLOR: &str = "#c62828";
const RESOLVED_COLOR: &str = "#2e7d32";

pub struct Slack {
    http: Http,
    channel: Option<String>,
    username: Option<String>,
    external_url: String,
}

impl Slack {
    pub fn new(config: &SlackConfig, external_url: &str) -> Result<Self, String> {
        Ok(Self {
            http: Http::new(&config.http)?,
            channel: config.channel.clone(),
            username: config.username.clone(),
            external_url: external_url.to_owned(),
        })
    }

    fn payload(&self, notification: &Notification) -> Value {
        let title = title(notification);
        let mut lines: Vec<String> =
            notification.alerts.iter().take(MAX_ALERTS).map(|alert| line(alert, &self.external_url)).collect();
        if let Some(more) = notification.alerts.len().checked_sub(MAX_ALERTS).filter(|more| *more > 0) {
            lines.push(format!("and {more} more"));
        }
        let mut payload = json!({
            "attachments": [{
                "fallback": escaped(&title),
                "color": if notification.is_firing() { FIRING_COLOR } else { RESOLVED_COLOR },
                "title": escaped(&title),
                "title_link": format!("{}/alerts", self.external_url),
                "text": lines.join("\n"),
            }],
        });
        for (key, value) in [("channel", &self.channel), ("username", &self.username)] {
            if let Some(value) = value {
                payload[key] = json!(value);
            }
        }
        payload
    }
}

#[async_trait]
impl Channel for Slack {
    async fn send(&self, notification: &Notification) -> Result<(), SendError> {
        self.http.post_json("", self.payload(notification).to_string().into_bytes()).await
    }
}

/// An alert in a few lines: its state and what it says, its labels and times, its traces.
fn line(alert: &Alert, external_url: &str) -> String {
    let firing = alert.state == State::Firing;
    let summary: String = summary(alert).chars().take(MAX_SUMMARY).collect();
    let mut line = format!("{}: {}", if firing { "Firing" } else { "Resolved" }, escaped(&summary));
    let labels = labels(alert);
    if !labels.is_empty() {
        line += &format!("\n{}", escaped(&labels));
    }
    line += &match firing {
        true => format!("\nsince {}", readable(alert.starts_at_ns)),
        false => format!("\nfrom {} to {}", readable(alert.starts_at_ns), readable(alert.ends_at_ns)),
    };
    if let Some(value) = Some(alert.value).filter(|value| firing && value.is_finite()) {
        line += &format!(", value {value}");
    }
    let links = trace_links(alert, external_url);
    let links: Vec<String> = links.iter().enumerate().map(|(i, url)| format!("<{url}|trace {}>", i + 1)).collect();
    if !links.is_empty() {
        line += &format!("\n{}", links.join(" · "));
    }
    line
}

/// Slack's three control characters as entities, so that nothing becomes a link or a mention; and a space of no width
/// after `@`, which others than Slack read as a mention.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '@' => escaped.push_str("@\u{200b}"),
            c => escaped.push(c),
        }
    }
    escaped
}
