//! What a notifier is told by the configuration: its destination, its credentials and its rhythm. Reads no file.

use std::path::PathBuf;
use std::time::Duration;

use super::secret::Secret;

/// One notifier.
#[derive(Clone, Debug)]
pub struct NotifierConfig {
    /// Of a-z, A-Z, 0-9, `_`, `-` and `.`; tells its state, its metrics and, for Alertmanager's payload, the receiver.
    pub name: String,
    pub channel: ChannelConfig,
    /// Alertmanager groups by itself and is not asked.
    pub grouping: Grouping,
}

/// Where to, and how.
#[derive(Clone, Debug)]
pub enum ChannelConfig {
    /// The URL is Alertmanager's own, such as `http://127.0.0.1:9093`, with its path prefix if it has one.
    Alertmanager(HttpConfig),
    Webhook(WebhookConfig),
    Slack(SlackConfig),
    Email(EmailConfig),
}

impl ChannelConfig {
    /// As the configuration, the API and the metrics call it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Alertmanager(_) => "alertmanager",
            Self::Webhook(_) => "webhook",
            Self::Slack(_) => "slack",
            Self::Email(_) => "email",
        }
    }
}

/// How alerts become notifications; the words and the rules are those of Alertmanager's `route`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grouping {
    pub by: GroupBy,
    /// How long a new group waits for more alerts.
    pub wait: Duration,
    /// How long a group that was told of waits until it tells of changes.
    pub interval: Duration,
    /// After how long it tells again of what has not changed.
    pub repeat: Duration,
    pub send_resolved: bool,
}

/// The labels that the alerts of a group have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// None named: all alerts are one group.
    Labels(Vec<String>),
    /// `...`: every alert is a group of its own.
    All,
}

impl Default for Grouping {
    fn default() -> Self {
        Self {
            by: GroupBy::Labels(Vec::new()),
            wait: Duration::from_secs(30),
            interval: Duration::from_secs(5 * 60),
            repeat: Duration::from_secs(4 * 3600),
            send_resolved: true,
        }
    }
}

/// How requests are made.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    pub url: Secret,
    pub credentials: Credentials,
    /// Certificates, PEM, that are trusted instead of the public ones.
    pub ca_file: Option<PathBuf>,
    /// Whether private, loopback and link-local addresses may be connected to.
    pub allow_private: bool,
    /// For a request and its answer, from resolving the name on.
    pub timeout: Duration,
}

#[derive(Clone, Debug)]
pub enum Credentials {
    None,
    Bearer(Secret),
    Basic { username: String, password: Secret },
}

#[derive(Clone, Debug)]
pub struct WebhookConfig {
    pub http: HttpConfig,
    /// Alerts in a notification; 0 is all. What is left out is counted in `truncatedAlerts`.
    pub max_alerts: usize,
}

#[derive(Clone, Debug)]
pub struct SlackConfig {
    pub http: HttpConfig,
    /// Instead of those that belong to the webhook; not every service heeds them.
    pub channel: Option<String>,
    pub username: Option<String>,
}

#[derive(Clone, Debug)]
pub struct EmailConfig {
    pub host: String,
    pub port: u16,
    pub tls: SmtpTls,
    pub credentials: Option<(String, Secret)>,
    /// Addresses as in a mail's header: `Orrery <orrery@example.com>`.
    pub from: String,
    pub to: Vec<String>,
    pub ca_file: Option<PathBuf>,
    /// For the whole conversation with the server.
    pub timeout: Duration,
}

/// How the way to the mail server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpTls {
    /// In plain at first, then TLS, which the server must offer; port 587.
    StartTls,
    /// TLS from the start; port 465.
    Implicit,
    /// None, to this machine only; port 25.
    None,
}

impl SmtpTls {
    pub const fn default_port(self) -> u16 {
        match self {
            Self::StartTls => 587,
            Self::Implicit => 465,
            Self::None => 25,
        }
    }
}
