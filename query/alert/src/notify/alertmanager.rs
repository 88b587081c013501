//! Alertmanager's own API, version 2: `POST /api/v2/alerts`. Grouping, silences and routes are Alertmanager's.

use async_trait::async_trait;
use orrery_api::Labels;
use serde::Serialize;

use super::Alert;
use super::channel::Channel;
use super::config::HttpConfig;
use super::failure::SendError;
use super::http::Http;
use super::queue::Notification;
use super::time::rfc3339;

const PATH: &str = "/api/v2/alerts";

pub struct Alertmanager {
    http: Http,
}

impl Alertmanager {
    pub fn new(config: &HttpConfig) -> Result<Self, String> {
        Ok(Self { http: Http::new(config)? })
    }
}

#[async_trait]
impl Channel for Alertmanager {
    async fn send(&self, notification: &Notification) -> Result<(), SendError> {
        self.http.post_json(PATH, payload(notification)).await
    }
}

fn payload(notification: &Notification) -> Vec<u8> {
    let alerts: Vec<PostableAlert<'_>> = notification.alerts.iter().map(|alert| PostableAlert::new(alert)).collect();
    serde_json::to_vec(&alerts).expect("text is JSON")
}

/// `postableAlert` of Alertmanager's `api/v2/openapi.yaml`.
#[derive(Serialize)]
struct PostableAlert<'a> {
    labels: &'a Labels,
    annotations: &'a Labels,
    #[serde(rename = "startsAt")]
    starts_at: String,
    /// Of a firing alert: when it ends unless it is sent again.
    #[serde(rename = "endsAt")]
    ends_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "str::is_empty")]
    generator_url: &'a str,
}

impl<'a> PostableAlert<'a> {
    fn new(alert: &'a Alert) -> Self {
        Self {
            labels: &alert.labels,
            annotations: &alert.annotations,
            starts_at: rfc3339(alert.starts_at_ns),
            ends_at: rfc3339(alert.ends_at_ns),
            generator_url: &alert.generator_url,
        }
    }
}
