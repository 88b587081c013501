//! E-mail by SMTP: one message a notification, as plain text and as HTML, the messages of a group in one thread. Speaks in
//! plain to this machine only, and logs in over nothing else than TLS or this machine.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use async_trait::async_trait;
use lettre::Message;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters};
use lettre::transport::smtp::extension::ClientId;

use super::address::Reach;
use super::channel::Channel;
use super::config::{EmailConfig, SmtpTls};
use super::failure::SendError;
use super::queue::Notification;
use super::secret::{Cleaner, Secret};
use super::time::readable;
use super::wording::{group_key, labels, summary, title, trace_links};
use super::{Alert, State};

/// How long one address of the server may take to accept the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Alerts that are written out; the others are counted.
const MAX_ALERTS: usize = 100;
/// How much of what the server said is shown, in characters.
const MAX_SHOWN: usize = 400;

pub struct Email {
    host: String,
    port: u16,
    mode: SmtpTls,
    tls: TlsParameters,
    credentials: Option<(String, Secret)>,
    from: Mailbox,
    to: Vec<Mailbox>,
    timeout: Duration,
    external_url: String,
}

impl Email {
    /// Reads the certificates; says what cannot be used.
    pub fn new(config: &EmailConfig, external_url: &str) -> Result<Self, String> {
        let mailbox =
            |address: &String| address.parse().map_err(|error| format!("{address:?} is no mail address: {error}"));
        if let Some((_, password)) = &config.credentials {
            password.read().map_err(|error| error.to_string())?;
        }
        Ok(Self {
            host: config.host.clone(),
            port: config.port,
            mode: config.tls,
            tls: tls(config)?,
            credentials: config.credentials.clone(),
            from: mailbox(&config.from)?,
            to: config.to.iter().map(mailbox).collect::<Result<_, _>>()?,
            timeout: config.timeout,
            external_url: external_url.to_owned(),
        })
    }

    /// The message, complete.
    fn message(&self, notification: &Notification) -> Result<Message, SendError> {
        let mut hasher = DefaultHasher::new();
        group_key(&notification.group_labels).hash(&mut hasher);
        let (thread, domain) = (hasher.finish(), self.from.email.domain());
        let mut builder = Message::builder()
            .from(self.from.clone())
            .subject(title(notification))
            .message_id(Some(format!("<orrery.{thread:016x}.{}@{domain}>", notification.at_ns)))
            .references(format!("<orrery.{thread:016x}@{domain}>"))
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ));
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        let bodies = MultiPart::alternative_plain_html(
            plain(notification, &self.external_url),
            html(notification, &self.external_url),
        );
        builder.multipart(bodies).map_err(|error| SendError::change(format!("the mail cannot be written: {error}")))
    }

    async fn deliver(&self, message: &Message, password: Option<&str>) -> Result<(), SendError> {
        let hello = ClientId::default();
        let mut connection = self.connect(&hello).await?;
        if self.mode == SmtpTls::StartTls {
            connection.starttls(self.tls.clone(), &hello).await.map_err(failure)?;
        }
        if let (Some((username, _)), Some(password)) = (&self.credentials, password) {
            let credentials = Credentials::new(username.clone(), password.to_owned());
            connection.auth(DEFAULT_MECHANISMS, &credentials).await.map_err(failure)?;
        }
        connection.send(message.envelope(), &message.formatted()).await.map_err(failure)?;
        // It has the message; how it says goodbye changes nothing.
        let _ = connection.quit().await;
        Ok(())
    }

    async fn connect(&self, hello: &ClientId) -> Result<AsyncSmtpConnection, SendError> {
        let reach = if self.mode == SmtpTls::None { Reach::Loopback } else { Reach::Private };
        let implicit = (self.mode == SmtpTls::Implicit).then(|| self.tls.clone());
        let mut last = None;
        for address in reach.resolve(&self.host, self.port).await? {
            let tls = implicit.clone();
            match AsyncSmtpConnection::connect_tokio1(address, Some(CONNECT_TIMEOUT), hello, tls, None).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = Some(failure(error)),
            }
        }
        Err(last.expect("resolving gives an address or an error"))
    }
}

#[async_trait]
impl Channel for Email {
    async fn send(&self, notification: &Notification) -> Result<(), SendError> {
        let message = self.message(notification)?;
        let (username, password) = match &self.credentials {
            None => (None, None),
            Some((username, password)) => {
                let password = password.read().map_err(|error| SendError::wait(error.to_string()))?;
                (Some(username.as_str()), Some(password))
            }
        };
        let login = format!("\0{}\0{}", username.unwrap_or_default(), password.as_deref().unwrap_or_default());
        let cleaner = Cleaner::new(password.as_deref().into_iter().chain([login.as_str()]));
        match tokio::time::timeout(self.timeout, self.deliver(&message, password.as_deref())).await {
            Ok(result) => result.map_err(|error| {
                let message = format!("{}:{}: {}", self.host, self.port, error.message);
                SendError { message: cleaner.clean(&message, MAX_SHOWN), ..error }
            }),
            Err(_) => Err(SendError::wait(format!(
                "no answer from {}:{} within {} s",
                self.host,
                self.port,
                self.timeout.as_secs_f64()
            ))),
        }
    }
}

fn tls(config: &EmailConfig) -> Result<TlsParameters, String> {
    let builder = TlsParameters::builder(config.host.clone());
    let builder = match &config.ca_file {
        None => builder.certificate_store(CertificateStore::WebpkiRoots),
        Some(path) => {
            let fail = |error: &dyn std::fmt::Display| format!("ca_file {}: {error}", path.display());
            let pem = std::fs::read(path).map_err(|error| fail(&error))?;
            let certificate = Certificate::from_pem(&pem).map_err(|error| fail(&error))?;
            builder.certificate_store(CertificateStore::None).add_root_certificate(certificate)
        }
    };
    builder.build_rustls().map_err(|error| error.to_string())
}

/// 5xx is final, as is what the library refuses to send; the server may come back from anything else.
fn failure(error: SmtpError) -> SendError {
    if error.is_permanent() || error.is_client() {
        SendError::change(error.to_string())
    } else {
        SendError::wait(error.to_string())
    }
}

/// What is said of an alert, one fact a line: what it is called and what it is.
fn facts(alert: &Alert, external_url: &str) -> Vec<(&'static str, String)> {
    let firing = alert.state == State::Firing;
    let mut facts = vec![("labels", labels(alert))];
    for (name, value) in &alert.annotations {
        if value != summary(alert) {
            facts.push(("", format!("{name}: {value}")));
        }
    }
    match firing {
        true => facts.push(("since", readable(alert.starts_at_ns))),
        false => facts.push(("from", format!("{} to {}", readable(alert.starts_at_ns), readable(alert.ends_at_ns)))),
    }
    if let Some(value) = Some(alert.value).filter(|value| firing && value.is_finite()) {
        facts.push(("value", value.to_string()));
    }
    facts.push(("rule", alert.generator_url.clone()));
    facts.extend(trace_links(alert, external_url).into_iter().map(|url| ("trace", url)));
    facts.retain(|(_, fact)| !fact.is_empty());
    facts
}

/// How many alerts are not written out.
fn left_out(notification: &Notification) -> Option<String> {
    let more = notification.alerts.len().checked_sub(MAX_ALERTS).filter(|more| *more > 0)?;
    Some(format!("and {more} more"))
}

fn state(alert: &Alert) -> &'static str {
    if alert.state == State::Firing { "Firing" } else { "Resolved" }
}

fn plain(notification: &Notification, external_url: &str) -> String {
    let mut text = format!("{}\n", title(notification));
    for alert in notification.alerts.iter().take(MAX_ALERTS) {
        text += &format!("\n{}: {}\n", state(alert), summary(alert));
        for (name, fact) in facts(alert, external_url) {
            text += &if name.is_empty() { format!("  {fact}\n") } else { format!("  {name}: {fact}\n") };
        }
    }
    if let Some(more) = left_out(notification) {
        text += &format!("\n{more}\n");
    }
    text + &format!("\nAll alerts: {external_url}/alerts\n")
}

/// The same with colours and links. Styles are in the elements: mail programs heed no others.
fn html(notification: &Notification, external_url: &str) -> String {
    let mut text = String::from("<!doctype html><html><body style=\"font-family:sans-serif;color:#1b1b1b\">");
    text += &format!("<h2 style=\"font-size:18px\">{}</h2>", escaped(&title(notification)));
    for alert in notification.alerts.iter().take(MAX_ALERTS) {
        let color = if alert.state == State::Firing { "#c62828" } else { "#2e7d32" };
        text += &format!(
            "<div style=\"border-left:4px solid {color};padding:2px 12px;margin:0 0 14px\"><b style=\"color:{color}\">{}</b> {}",
            state(alert),
            escaped(summary(alert))
        );
        for (name, fact) in facts(alert, external_url) {
            let shown = escaped(&fact);
            let is_link =
                matches!(name, "rule" | "trace") && (fact.starts_with("https://") || fact.starts_with("http://"));
            let value = if is_link { format!("<a href=\"{shown}\">{shown}</a>") } else { shown };
            let name = if name.is_empty() { String::new() } else { format!("{name}: ") };
            text += &format!("<br><span style=\"color:#555\">{name}</span>{value}");
        }
        text += "</div>";
    }
    if let Some(more) = left_out(notification) {
        text += &format!("<p>{more}</p>");
    }
    let all = escaped(&format!("{external_url}/alerts"));
    text + &format!("<p><a href=\"{all}\">All alerts</a></p></body></html>")
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}
