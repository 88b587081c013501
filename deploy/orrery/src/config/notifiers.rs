//! `[[notifiers]]`: where alerts are told of. The keys are flat, so that an error has its place; which of them a kind
//! takes is one table. Secrets are never shown, not even in an error about themselves.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orrery_alert::notify::Secret;
use orrery_alert::notify::config as told;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

use super::{ConfigError, Span};

/// The longest a name may be.
const MAX_NAME: usize = 64;
/// What a destination is given to take a notification, unless said otherwise, and at most.
const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_TIMEOUT: Duration = Duration::from_secs(300);

/// Keys that several kinds take; a secret's three forms are one.
const HTTP: &[&str] = &["ca_file", "allow_private", "timeout"];
const LOGIN: &[&str] = &["token", "username", "password"];
const GROUPING: &[&str] = &["group_by", "group_wait", "group_interval", "repeat_interval", "send_resolved"];

/// One notifier, with its secrets still where they are.
#[derive(Clone, Debug)]
pub struct Notifier {
    written: Written,
    /// Values of the environment variables that it names.
    environment: BTreeMap<String, Hidden>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Alertmanager,
    Webhook,
    Slack,
    Email,
}

/// The keys as the file has them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    kind: Kind,
    url: Option<Hidden>,
    url_file: Option<PathBuf>,
    url_env: Option<String>,
    token: Option<Hidden>,
    token_file: Option<PathBuf>,
    token_env: Option<String>,
    username: Option<String>,
    password: Option<Hidden>,
    password_file: Option<PathBuf>,
    password_env: Option<String>,
    ca_file: Option<PathBuf>,
    allow_private: Option<bool>,
    timeout: Option<Span>,
    group_by: Option<Vec<String>>,
    group_wait: Option<Span>,
    group_interval: Option<Span>,
    repeat_interval: Option<Span>,
    send_resolved: Option<bool>,
    max_alerts: Option<usize>,
    channel: Option<String>,
    display_name: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    tls: Option<Tls>,
    from: Option<String>,
    to: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Tls {
    Starttls,
    Implicit,
    None,
}

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
struct Hidden(String);

impl Notifier {
    pub fn name(&self) -> &str {
        &self.written.name
    }

    pub fn kind(&self) -> &'static str {
        self.written.kind.word()
    }

    /// Takes the environment variables that it names.
    pub(super) fn resolve(&mut self, variables: &BTreeMap<String, String>) -> Result<(), ConfigError> {
        let written = &self.written;
        for (key, name) in
            [("url_env", &written.url_env), ("token_env", &written.token_env), ("password_env", &written.password_env)]
        {
            let Some(name) = name else { continue };
            match variables.get(name).map(|value| value.trim()) {
                Some(value) if !value.is_empty() => {
                    self.environment.insert(name.clone(), Hidden(value.to_owned()));
                }
                _ => {
                    let message = format!("{key}: the environment variable {name} is not set or empty");
                    return Err(ConfigError::Invalid(format!("notifier {:?}: {message}", written.name)));
                }
            }
        }
        Ok(())
    }

    /// The first key that holds a secret in the file itself. An Alertmanager's address is none.
    pub(super) fn inline_secret(&self) -> Option<&'static str> {
        let written = &self.written;
        let url = written.url.is_some() && written.kind != Kind::Alertmanager;
        let found = [("url", url), ("token", written.token.is_some()), ("password", written.password.is_some())];
        found.into_iter().find(|(_, is_there)| *is_there).map(|(key, _)| key)
    }

    /// What the notifier is made from.
    pub fn config(&self) -> told::NotifierConfig {
        let written = &self.written;
        let channel = match written.kind {
            Kind::Alertmanager => told::ChannelConfig::Alertmanager(self.http()),
            Kind::Webhook => {
                let max_alerts = written.max_alerts.unwrap_or_default();
                told::ChannelConfig::Webhook(told::WebhookConfig { http: self.http(), max_alerts })
            }
            Kind::Slack => told::ChannelConfig::Slack(told::SlackConfig {
                http: self.http(),
                channel: written.channel.clone(),
                username: written.display_name.clone(),
            }),
            Kind::Email => told::ChannelConfig::Email(self.email()),
        };
        told::NotifierConfig { name: written.name.clone(), channel, grouping: written.grouping() }
    }

    fn http(&self) -> told::HttpConfig {
        let written = &self.written;
        let credentials = match (self.token(), &written.username, self.password()) {
            (Some(token), ..) => told::Credentials::Bearer(token),
            (None, Some(username), Some(password)) => told::Credentials::Basic { username: username.clone(), password },
            _ => told::Credentials::None,
        };
        told::HttpConfig {
            url: self.secret(&written.url, &written.url_file, &written.url_env).expect("checked when it was read"),
            credentials,
            ca_file: written.ca_file.clone(),
            allow_private: written.allow_private.unwrap_or_default(),
            timeout: written.timeout(),
        }
    }

    fn email(&self) -> told::EmailConfig {
        let written = &self.written;
        let tls = match written.tls.unwrap_or(Tls::Starttls) {
            Tls::Starttls => told::SmtpTls::StartTls,
            Tls::Implicit => told::SmtpTls::Implicit,
            Tls::None => told::SmtpTls::None,
        };
        told::EmailConfig {
            host: written.host.clone().expect("checked when it was read"),
            port: written.port.unwrap_or(tls.default_port()),
            tls,
            credentials: written.username.clone().zip(self.password()),
            from: written.from.clone().expect("checked when it was read"),
            to: written.to.clone().expect("checked when it was read"),
            ca_file: written.ca_file.clone(),
            timeout: written.timeout(),
        }
    }

    fn token(&self) -> Option<Secret> {
        self.secret(&self.written.token, &self.written.token_file, &self.written.token_env)
    }

    fn password(&self) -> Option<Secret> {
        self.secret(&self.written.password, &self.written.password_file, &self.written.password_env)
    }

    fn secret(&self, text: &Option<Hidden>, file: &Option<PathBuf>, variable: &Option<String>) -> Option<Secret> {
        let file = file.as_ref().map(|path| Secret::File(path.clone()));
        let variable = || variable.as_ref().and_then(|name| self.environment.get(name));
        file.or_else(|| text.as_ref().or_else(variable).map(|hidden| Secret::Text(hidden.0.clone())))
    }
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Alertmanager => "alertmanager",
            Self::Webhook => "webhook",
            Self::Slack => "slack",
            Self::Email => "email",
        }
    }

    /// The keys that it cannot do without, beside `name` and `kind`.
    const fn needed(self) -> &'static [&'static str] {
        match self {
            Self::Alertmanager | Self::Webhook | Self::Slack => &["url"],
            Self::Email => &["host", "from", "to"],
        }
    }

    /// The keys that it can have beside those.
    fn optional(self) -> Vec<&'static str> {
        match self {
            Self::Alertmanager => [HTTP, LOGIN].concat(),
            Self::Webhook => [HTTP, LOGIN, GROUPING, &["max_alerts"]].concat(),
            Self::Slack => [HTTP, GROUPING, &["channel", "display_name"]].concat(),
            Self::Email => [GROUPING, &["port", "tls", "username", "password", "ca_file", "timeout"]].concat(),
        }
    }
}

impl Written {
    /// What is wrong with it, without a secret.
    fn check(&self) -> Result<(), String> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if self.name.is_empty() || self.name.len() > MAX_NAME || !self.name.chars().all(is_name) {
            return Err(format!("a name is 1 to {MAX_NAME} of a-z, A-Z, 0-9, `_`, `-` and `.`"));
        }
        let kind = self.kind.word();
        let (needed, optional) = (self.kind.needed(), self.kind.optional());
        let given = self.given()?;
        if let Some(key) = given.iter().find(|key| !needed.contains(key) && !optional.contains(key)) {
            return Err(format!("`{key}` does not belong to {kind}"));
        }
        if let Some(key) = needed.iter().find(|key| !given.contains(key)) {
            let secret = if *key == "url" { ", `url_file` or `url_env`" } else { "" };
            return Err(format!("{kind} needs `{key}`{secret}"));
        }
        let has = |key: &str| given.contains(&key);
        if has("username") != has("password") {
            return Err("`username` and `password` (`password_file`, `password_env`) go together".to_owned());
        }
        if has("token") && has("password") {
            return Err("either `token` or `username` and `password`".to_owned());
        }
        if self.to.as_ref().is_some_and(Vec::is_empty) {
            return Err("`to` names nobody".to_owned());
        }
        let too_short = |span: &Option<Span>| span.is_some_and(|span| span.0 < Duration::from_secs(1));
        for (key, span) in [
            ("group_interval", &self.group_interval),
            ("repeat_interval", &self.repeat_interval),
            ("timeout", &self.timeout),
        ] {
            if too_short(span) {
                return Err(format!("`{key}` is at least 1s"));
            }
        }
        if self.timeout() > MAX_TIMEOUT {
            return Err(format!("`timeout` is at most {}", Span(MAX_TIMEOUT)));
        }
        Ok(())
    }

    /// The keys that are there, a secret's three forms as one.
    fn given(&self) -> Result<Vec<&'static str>, String> {
        let mut given = Vec::new();
        for (key, forms) in [
            ("url", [self.url.is_some(), self.url_file.is_some(), self.url_env.is_some()]),
            ("token", [self.token.is_some(), self.token_file.is_some(), self.token_env.is_some()]),
            ("password", [self.password.is_some(), self.password_file.is_some(), self.password_env.is_some()]),
        ] {
            match forms.into_iter().filter(|is_there| *is_there).count() {
                0 => {}
                1 => given.push(key),
                _ => return Err(format!("only one of `{key}`, `{key}_file` and `{key}_env`")),
            }
        }
        let others = [
            ("username", self.username.is_some()),
            ("ca_file", self.ca_file.is_some()),
            ("allow_private", self.allow_private.is_some()),
            ("timeout", self.timeout.is_some()),
            ("group_by", self.group_by.is_some()),
            ("group_wait", self.group_wait.is_some()),
            ("group_interval", self.group_interval.is_some()),
            ("repeat_interval", self.repeat_interval.is_some()),
            ("send_resolved", self.send_resolved.is_some()),
            ("max_alerts", self.max_alerts.is_some()),
            ("channel", self.channel.is_some()),
            ("display_name", self.display_name.is_some()),
            ("host", self.host.is_some()),
            ("port", self.port.is_some()),
            ("tls", self.tls.is_some()),
            ("from", self.from.is_some()),
            ("to", self.to.is_some()),
        ];
        given.extend(others.into_iter().filter(|(_, is_there)| *is_there).map(|(key, _)| key));
        Ok(given)
    }

    fn timeout(&self) -> Duration {
        self.timeout.map_or(TIMEOUT, |span| span.0)
    }

    fn grouping(&self) -> told::Grouping {
        let default = told::Grouping::default();
        let or = |span: &Option<Span>, default: Duration| span.map_or(default, |span| span.0);
        let by = match &self.group_by {
            None => default.by,
            Some(labels) if labels.iter().any(|label| label == "...") => told::GroupBy::All,
            Some(labels) => told::GroupBy::Labels(labels.clone()),
        };
        told::Grouping {
            by,
            wait: or(&self.group_wait, default.wait),
            interval: or(&self.group_interval, default.interval),
            repeat: or(&self.repeat_interval, default.repeat),
            send_resolved: self.send_resolved.unwrap_or(default.send_resolved),
        }
    }
}

/// Refuses a file with secrets in it that others may read.
pub(super) fn check_private(path: &Path, notifiers: &[Notifier]) -> Result<(), ConfigError> {
    use std::os::unix::fs::PermissionsExt;
    let Some((notifier, key)) = notifiers.iter().find_map(|notifier| Some((notifier, notifier.inline_secret()?)))
    else {
        return Ok(());
    };
    let fail = |message: String| ConfigError::File { path: path.to_owned(), message };
    let mode = std::fs::metadata(path).map_err(|error| fail(error.to_string()))?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(fail(format!(
        "it holds a secret (`{key}` of notifier {:?}) and others may read it (mode {mode:o}): chmod 600 it, or use \
         `{key}_file` or `{key}_env`",
        notifier.name()
    )))
}

impl<'de> Deserialize<'de> for Notifier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        written.check().map_err(|message| D::Error::custom(format!("notifier {:?}: {message}", written.name)))?;
        Ok(Self { written, environment: BTreeMap::new() })
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(HiddenVisitor)
    }
}

/// Serde's own complaint about a wrong type would show the value.
struct HiddenVisitor;

impl HiddenVisitor {
    fn refuse<E: Error>() -> Result<Hidden, E> {
        Err(E::custom("a secret is a text in quotes"))
    }
}

impl<'de> Visitor<'de> for HiddenVisitor {
    type Value = Hidden;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Hidden, E> {
        if text.is_empty() { Err(E::custom("a secret is not empty")) } else { Ok(Hidden(text.to_owned())) }
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Hidden, E> {
        Self::refuse()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Hidden, E> {
        Self::refuse()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Hidden, E> {
        Self::refuse()
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Hidden, E> {
        Self::refuse()
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::parse;
    use super::*;

    const EMAIL: &str = "kind = \"email\"\nhost = \"mail\"\nfrom = \"a@b.c\"\nto = [\"d@e.f\"]\n";

    fn notifier(keys: &str) -> Result<Notifier, String> {
        let text = format!("[[notifiers]]\nname = \"n\"\n{keys}");
        let parsed = parse(Path::new("orrery.toml"), &text).map_err(|error| error.to_string())?;
        Ok(parsed.notifiers.into_iter().next().expect("one notifier"))
    }

    #[test]
    fn what_a_kind_does_not_take_or_lacks_is_an_error_with_its_place() {
        for (keys, message) in [
            ("kind = \"webhook\"\n", "orrery.toml:1:1: notifier \"n\": webhook needs `url`, `url_file` or `url_env`"),
            ("kind = \"email\"\nhost = \"h\"\n", "orrery.toml:1:1: notifier \"n\": email needs `from`"),
            ("kind = \"pager\"\n", "orrery.toml:3:8: unknown variant `pager`"),
            (
                "kind = \"webhook\"\nulr_file = \"x\"\n",
                "orrery.toml:4:1: unknown key `ulr_file`; did you mean `url_file`?",
            ),
            ("kind = \"webhook\"\nurl = 12345678\n", "orrery.toml:4:7: a secret is a text in quotes"),
            ("kind = \"webhook\"\nurl = true\n", "orrery.toml:4:7: a secret is a text in quotes"),
            ("kind = \"webhook\"\nurl = [\"s3cr3t\"]\n", "orrery.toml:4:7: invalid type: sequence, expected a text"),
            ("kind = \"webhook\"\nurl = \"\"\n", "orrery.toml:4:7: a secret is not empty"),
            ("kind = \"slack\"\nurl = \"s3cr3t\"\nmax_alerts = 1\n", "`max_alerts` does not belong to slack"),
            ("kind = \"alertmanager\"\nurl = \"u\"\ngroup_by = []\n", "`group_by` does not belong to alertmanager"),
            ("kind = \"webhook\"\nurl = \"s3cr3t\"\nurl_env = \"U\"\n", "only one of `url`, `url_file` and `url_env`"),
            ("kind = \"webhook\"\nurl = \"u\"\nusername = \"u\"\n", "go together"),
            ("kind = \"webhook\"\nurl = \"u\"\ngroup_interval = \"0s\"\n", "`group_interval` is at least 1s"),
            ("kind = \"webhook\"\nurl = \"u\"\ntimeout = \"10m\"\n", "`timeout` is at most 5m"),
            (
                "kind = \"webhook\"\nurl = \"u\"\ngroup_wait = \"soon\"\n",
                "orrery.toml:5:14: \"soon\" is not a span of time",
            ),
            (
                "kind = \"webhook\"\nurl = \"u\"\ntoken = \"s3cr3t\"\nusername = \"u\"\npassword = \"s3cr3t\"\n",
                "either `token`",
            ),
            (&format!("{EMAIL}tls = \"ssl\"\n"), "unknown variant `ssl`"),
            (&EMAIL.replace("[\"d@e.f\"]", "[]"), "`to` names nobody"),
        ] {
            let error = notifier(keys).expect_err(keys);
            assert!(error.contains(message) && !error.contains("s3cr3t") && !error.contains("12345678"), "{error}");
        }
        let bad_name = parse(Path::new("f"), "[[notifiers]]\nname = \"a b\"\nkind = \"slack\"\nurl = \"u\"\n");
        assert!(bad_name.expect_err("a space").to_string().contains("a name is"));
    }

    #[test]
    fn what_is_not_said_is_alertmanagers_default() {
        let webhook = notifier("kind = \"webhook\"\nurl = \"s3cr3t\"\n").expect("good");
        let shown = format!("{webhook:?} {:?}", webhook.config());
        assert!(shown.contains("[secret]") && !shown.contains("s3cr3t"), "{shown}");
        assert_eq!(webhook.config().grouping, told::Grouping::default());
        let all = notifier("kind = \"webhook\"\nurl = \"u\"\ngroup_by = [\"...\"]\nrepeat_interval = \"1d\"\n")
            .expect("good");
        assert_eq!(all.config().grouping.by, told::GroupBy::All);
        assert_eq!(all.config().grouping.repeat, Duration::from_secs(86_400));
        for (tls, port) in [("", 587), ("tls = \"implicit\"\n", 465), ("tls = \"none\"\n", 25), ("port = 2525\n", 2525)]
        {
            let told::ChannelConfig::Email(email) = notifier(&format!("{EMAIL}{tls}")).expect("good").config().channel
            else {
                panic!("it is mail");
            };
            assert_eq!(email.port, port, "{tls}");
        }
    }

    #[test]
    fn secrets_come_from_files_and_variables_too() {
        let mut slack = notifier("kind = \"slack\"\nurl_env = \"SLACK_URL\"\n").expect("good");
        let error = slack.resolve(&BTreeMap::new()).expect_err("not set").to_string();
        assert_eq!(error, "notifier \"n\": url_env: the environment variable SLACK_URL is not set or empty");
        slack.resolve(&[("SLACK_URL".to_owned(), "https://s3cr3t\n".to_owned())].into()).expect("set");
        let told::ChannelConfig::Slack(config) = slack.config().channel else { panic!("it is Slack") };
        assert_eq!(config.http.url, Secret::Text("https://s3cr3t".to_owned()));
        assert!(!format!("{slack:?}").contains("s3cr3t"));
        let webhook =
            notifier("kind = \"webhook\"\nurl_file = \"/run/url\"\ntoken_file = \"/run/token\"\n").expect("good");
        let told::ChannelConfig::Webhook(config) = webhook.config().channel else { panic!("it is a webhook") };
        assert_eq!(config.http.url, Secret::File("/run/url".into()));
        assert!(matches!(config.http.credentials, told::Credentials::Bearer(Secret::File(_))));
    }

    #[test]
    fn a_file_with_a_secret_in_it_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::NamedTempFile::new().expect("a file");
        for (keys, mode, refused) in [
            ("kind = \"webhook\"\nurl = \"s3cr3t\"\n", 0o644, Some("`url` of notifier \"n\"")),
            ("kind = \"webhook\"\nurl = \"s3cr3t\"\n", 0o640, Some("mode 640")),
            ("kind = \"webhook\"\nurl = \"s3cr3t\"\n", 0o600, None),
            ("kind = \"webhook\"\nurl_file = \"u\"\n", 0o644, None),
            ("kind = \"alertmanager\"\nurl = \"http://am:9093\"\n", 0o644, None),
            ("kind = \"alertmanager\"\nurl = \"http://am:9093\"\ntoken = \"s3cr3t\"\n", 0o644, Some("`token`")),
        ] {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).expect("set");
            let result = check_private(file.path(), &[notifier(keys).expect("good")]);
            match (result, refused) {
                (Ok(()), None) => {}
                (Err(error), Some(part)) => {
                    let error = error.to_string();
                    assert!(error.contains(part) && !error.contains("s3cr3t"), "{error}");
                }
                (result, _) => panic!("{keys} {mode:o}: {result:?}"),
            }
        }
    }
}
