//! Alertmanager's generic webhook, version 4 of its payload (`notify/webhook/webhook.go`, `template/template.go`): every
//! receiver made for it takes it.

use async_trait::async_trait;
use orrery_api::Labels;
use serde::Serialize;

use super::channel::Channel;
use super::config::WebhookConfig;
use super::failure::SendError;
use super::http::Http;
use super::queue::Notification;
use super::time::rfc3339;
use super::wording::{common, group_key};
use super::{Alert, State};

/// Go's zero time: what `endsAt` is while an alert fires.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

pub struct Webhook {
    http: Http,
    receiver: String,
    external_url: String,
    max_alerts: usize,
}

impl Webhook {
    pub fn new(receiver: &str, config: &WebhookConfig, external_url: &str) -> Result<Self, String> {
        Ok(Self {
            http: Http::new(&config.http)?,
            receiver: receiver.to_owned(),
            external_url: external_url.to_owned(),
            max_alerts: if config.max_alerts == 0 { usize::MAX } else { config.max_alerts },
        })
    }

    fn payload(&self, notification: &Notification) -> Vec<u8> {
        let sent = &notification.alerts[..notification.alerts.len().min(self.max_alerts)];
        let payload = Payload {
            receiver: &self.receiver,
            status: status(sent.iter().any(|alert| alert.state == State::Firing)),
            alerts: sent.iter().map(|alert| PayloadAlert::new(alert)).collect(),
            group_labels: &notification.group_labels,
            common_labels: common(sent, |alert| &alert.labels),
            common_annotations: common(sent, |alert| &alert.annotations),
            external_url: &self.external_url,
            version: "4",
            group_key: group_key(&notification.group_labels),
            truncated_alerts: notification.alerts.len() - sent.len(),
        };
        serde_json::to_vec(&payload).expect("text and numbers are JSON")
    }
}

#[async_trait]
impl Channel for Webhook {
    async fn send(&self, notification: &Notification) -> Result<(), SendError> {
        self.http.post_json("", self.payload(notification)).await
    }
}

/// In the order of Alertmanager's fields.
#[derive(Serialize)]
struct Payload<'a> {
    receiver: &'a str,
    status: &'static str,
    alerts: Vec<PayloadAlert<'a>>,
    #[serde(rename = "groupLabels")]
    group_labels: &'a Labels,
    #[serde(rename = "commonLabels")]
    common_labels: Labels,
    #[serde(rename = "commonAnnotations")]
    common_annotations: Labels,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
    version: &'static str,
    #[serde(rename = "groupKey")]
    group_key: String,
    #[serde(rename = "truncatedAlerts")]
    truncated_alerts: usize,
}

#[derive(Serialize)]
struct PayloadAlert<'a> {
    status: &'static str,
    labels: &'a Labels,
    annotations: &'a Labels,
    #[serde(rename = "startsAt")]
    starts_at: String,
    #[serde(rename = "endsAt")]
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
    fingerprint: &'a str,
}

impl<'a> PayloadAlert<'a> {
    fn new(alert: &'a Alert) -> Self {
        let firing = alert.state == State::Firing;
        Self {
            status: status(firing),
            labels: &alert.labels,
            annotations: &alert.annotations,
            starts_at: rfc3339(alert.starts_at_ns),
            ends_at: if firing { NO_TIME.to_owned() } else { rfc3339(alert.ends_at_ns) },
            generator_url: &alert.generator_url,
            fingerprint: &alert.fingerprint,
        }
    }
}

const fn status(firing: bool) -> &'static str {
    if firing { "firing" } else { "resolved" }
}
