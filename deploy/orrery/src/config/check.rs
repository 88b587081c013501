//! What must hold of a configuration as a whole: tokens that can be used, TLS with both files, and no public address
//! that is open to everyone unless that was said. Opens no file.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use orrery_alert::rules::Patterns;
use orrery_model::TenantId;

use super::{Config, ConfigError};

/// Addresses that other machines can reach, and what they lack.
pub struct PublicBind {
    pub addresses: Vec<SocketAddr>,
    pub lacks: &'static str,
}

impl Config {
    /// Refuses what cannot work or would be unsafe.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let mut names = BTreeSet::new();
        for token in &self.tokens {
            let invalid = |what: &str| ConfigError::Invalid(format!("token {:?}: {what}", token.name));
            if !names.insert(&token.name) {
                return Err(invalid("two tokens have this name"));
            }
            if token.sha256.len() != 64 || !token.sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(invalid("sha256 is not 64 hex digits; `orrery config hash-token` prints them"));
            }
            TenantId::new(&token.tenant).map_err(|error| invalid(&error.to_string()))?;
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = self.notifiers.iter().find(|notifier| !names.insert(notifier.name())) {
            return Err(ConfigError::Invalid(format!("notifier {:?}: two notifiers have this name", twice.name())));
        }
        if let Some(url) = &self.external_url
            && !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme) && url.len() > scheme.len())
        {
            return Err(ConfigError::Invalid(format!(
                "external_url {url:?} is not a URL such as https://orrery.example.com"
            )));
        }
        if let Some(tls) = &self.tls
            && (tls.cert.as_os_str().is_empty() || tls.key.as_os_str().is_empty())
        {
            return Err(ConfigError::Invalid("tls needs both `cert` and `key`".to_owned()));
        }
        let positive = [
            ("max_connections", self.max_connections as u64),
            ("storage.memtable", self.storage.memtable.0),
            ("storage.wal_segment", self.storage.wal_segment.0),
            ("ingest.max_request", self.ingest.max_request.0),
            ("ingest.max_hours", self.ingest.max_hours as u64),
            ("ingest.max_keys", self.ingest.max_keys as u64),
            ("ingest.max_series", self.ingest.max_series as u64),
            ("query.memory", self.query.memory.0),
            ("query.max_concurrent", self.query.max_concurrent as u64),
            ("alerting.memory", self.alerting.memory.0),
            ("alerting.max_concurrent", self.alerting.max_concurrent as u64),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(ConfigError::Invalid(format!("{key} must be more than nothing")));
        }
        if self.ingest.memory.0 < self.ingest.max_request.0 {
            return Err(ConfigError::Invalid("ingest.memory must hold at least one ingest.max_request".to_owned()));
        }
        if !(self.storage.learn_share > 0.0 && self.storage.learn_share <= 1.0) {
            return Err(ConfigError::Invalid("storage.learn_share must be more than 0 and at most 1".to_owned()));
        }
        if self.storage.learn_every.0.is_zero() {
            return Err(ConfigError::Invalid("storage.learn_every must be more than nothing".to_owned()));
        }
        self.check_lake()?;
        let least = orrery_alert::rules::file::MIN_INTERVAL;
        if self.alerting.interval.0 < least {
            return Err(ConfigError::Invalid(format!("alerting.interval must be at least {} s", least.as_secs())));
        }
        Patterns::new(&self.base, &self.rules).map_err(|why| ConfigError::Invalid(format!("rules: {why}")))?;
        match self.public_bind() {
            Some(open) if !self.insecure_public_bind => Err(ConfigError::Invalid(refusal(&open))),
            _ => Ok(()),
        }
    }

    /// The addresses beyond this machine that lack tokens or TLS.
    pub fn public_bind(&self) -> Option<PublicBind> {
        let addresses: Vec<SocketAddr> = [self.http, self.otlp_grpc, self.otlp_http]
            .into_iter()
            .filter(|address| !address.ip().to_canonical().is_loopback())
            .collect();
        let lacks = match (self.tokens.is_empty(), self.tls.is_none()) {
            (true, true) => "tokens and TLS",
            (true, false) => "tokens",
            (false, true) => "TLS",
            (false, false) => return None,
        };
        if addresses.is_empty() { None } else { Some(PublicBind { addresses, lacks }) }
    }
}

fn refusal(open: &PublicBind) -> String {
    let addresses: Vec<String> = open.addresses.iter().map(ToString::to_string).collect();
    format!(
        "refusing to listen on {} without {}: other machines could reach it; configure them (README, Security), listen \
         on 127.0.0.1, or say --insecure-public-bind",
        addresses.join(", "),
        open.lacks
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::file::parse;

    fn check(text: &str) -> Result<(), String> {
        parse(Path::new("orrery.toml"), text).expect("the text is well formed").check().map_err(|e| e.to_string())
    }

    const TOKEN: &str = "[[tokens]]\nname = \"a\"\nrole = \"read\"\nsha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"\n";
    const NOTIFIER: &str = "[[notifiers]]\nname = \"n\"\nkind = \"slack\"\nurl_file = \"/run/url\"\n";
    const TLS: &str = "[tls]\ncert = \"c.pem\"\nkey = \"k.pem\"\n";

    #[test]
    fn a_public_address_needs_tokens_and_tls_or_the_word() {
        let public = "http = \"0.0.0.0:8080\"\n";
        assert!(check("").is_ok());
        assert!(check("http = \"[::1]:8080\"\n").is_ok());
        for (text, lacks) in [
            (public.to_owned(), "tokens and TLS"),
            (format!("{public}{TOKEN}"), "without TLS"),
            (format!("{public}{TLS}"), "without tokens"),
            ("otlp_grpc = \"[::]:4317\"\n".to_owned(), "[::]:4317"),
        ] {
            let message = check(&text).expect_err("open to everyone");
            assert!(message.contains(lacks) && message.contains("--insecure-public-bind"), "{message}");
        }
        assert!(check(&format!("{public}{TOKEN}{TLS}")).is_ok());
        assert!(check(&format!("insecure_public_bind = true\n{public}")).is_ok());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, part) in [
            (format!("{TOKEN}{TOKEN}"), "two tokens"),
            (TOKEN.replace("9f86", "xyz"), "64 hex digits"),
            (format!("{TOKEN}tenant = \"No Spaces\"\n"), "tenant name"),
            ("[tls]\ncert = \"\"\nkey = \"k\"\n".to_owned(), "both"),
            ("max_connections = 0\n".to_owned(), "max_connections"),
            ("external_url = \"orrery.example.com\"\n".to_owned(), "external_url"),
            (format!("{NOTIFIER}{NOTIFIER}"), "two notifiers"),
            ("[ingest]\nmemory = \"1MiB\"\n".to_owned(), "ingest.memory"),
            ("[alerting]\ninterval = \"100ms\"\n".to_owned(), "alerting.interval"),
            ("rules = [\"rules/[\"]\n".to_owned(), "rules: \"rules/[\" is no pattern"),
        ] {
            let message = check(&text).expect_err(&text);
            assert!(message.contains(part), "{message}");
        }
    }
}
