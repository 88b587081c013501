//! A way to a destination. A new kind of notifier is a file with an implementation, its part of the configuration, and a
//! line in [`open`].

use std::sync::Arc;

use async_trait::async_trait;

use super::alertmanager::Alertmanager;
use super::config::{ChannelConfig, NotifierConfig};
use super::email::Email;
use super::failure::SendError;
use super::queue::Notification;
use super::slack::Slack;
use super::webhook::Webhook;

/// Brings one notification to its destination. It ends within its configured timeout, and may be dropped at any time.
#[async_trait]
pub trait Channel: Send + Sync {
    async fn send(&self, notification: &Notification) -> Result<(), SendError>;
}

/// The notifier's channel; says what of its configuration cannot be used. Connects to nothing yet.
pub fn open(config: &NotifierConfig, external_url: &str) -> Result<Arc<dyn Channel>, String> {
    Ok(match &config.channel {
        ChannelConfig::Alertmanager(channel) => Arc::new(Alertmanager::new(channel)?),
        ChannelConfig::Webhook(channel) => Arc::new(Webhook::new(&config.name, channel, external_url)?),
        ChannelConfig::Slack(channel) => Arc::new(Slack::new(channel, external_url)?),
        ChannelConfig::Email(channel) => Arc::new(Email::new(channel, external_url)?),
    })
}
