//! Puts the layers over each other: flags over `ORRERY_*` variables over the file over the defaults. One list says what
//! can be set from outside of the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use orrery_alert::spelling::edits;

use super::{Config, Tls, file, notifiers};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("config file {}: {message}", path.display())]
    File { path: PathBuf, message: String },
    #[error("{}:{line}:{column}: {message}", path.display())]
    Line { path: PathBuf, line: usize, column: usize, message: String },
    /// A variable or flag whose value cannot be read.
    #[error("{source_name}: {message}")]
    Value { source_name: String, message: String },
    /// The values make no sense together.
    #[error("{0}")]
    Invalid(String),
}

/// One setting that variables and flags can give.
pub struct Setting {
    /// As in the file: `storage.flush_age`.
    pub key: &'static str,
    set: fn(&mut Config, &str) -> Result<(), String>,
}

impl Setting {
    /// The variable: `ORRERY_STORAGE_FLUSH_AGE`.
    pub fn variable(&self) -> String {
        format!("ORRERY_{}", self.key.replace('.', "_").to_uppercase())
    }
}

/// Variables that are not settings but what the command line's client reads.
const CLIENT_VARIABLES: [&str; 4] = ["ORRERY_CONFIG", "ORRERY_TOKEN", "ORRERY_ENDPOINT", "ORRERY_OTLP_ENDPOINT"];

/// How many letters apart a variable may be from one of ours to be taken for it.
const MAX_SLIPS: usize = 3;

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| format!("{text:?}: {error}"))
}

/// Every setting but tokens, notifiers and what is kept of single tables, which only a file can hold.
pub fn settings() -> &'static [Setting] {
    macro_rules! setting {
        ($key:literal, $config:ident, $text:ident, $set:expr) => {
            Setting {
                key: $key,
                set: |$config, $text| {
                    $set;
                    Ok(())
                },
            }
        };
    }
    const SETTINGS: &[Setting] = &[
        setting!("data_dir", c, text, c.data_dir = text.into()),
        setting!("http", c, text, c.http = parse(text)?),
        setting!("otlp_grpc", c, text, c.otlp_grpc = parse(text)?),
        setting!("otlp_http", c, text, c.otlp_http = parse(text)?),
        setting!("allowed_hosts", c, text, c.allowed_hosts = list(text)),
        setting!("external_url", c, text, c.external_url = Some(text.to_owned())),
        setting!("insecure_public_bind", c, text, c.insecure_public_bind = parse(text)?),
        setting!("drain_timeout", c, text, c.drain_timeout = text.parse()?),
        setting!("max_connections", c, text, c.max_connections = parse(text)?),
        setting!("tls.cert", c, text, tls(c).cert = text.into()),
        setting!("tls.key", c, text, tls(c).key = text.into()),
        setting!("log.format", c, text, c.log.format = word(text)?),
        setting!("log.level", c, text, c.log.level = text.to_owned()),
        setting!("storage.memtable", c, text, c.storage.memtable = text.parse()?),
        setting!("storage.flush_age", c, text, c.storage.flush_age = text.parse()?),
        setting!("storage.wal_segment", c, text, c.storage.wal_segment = text.parse()?),
        setting!("storage.min_free", c, text, c.storage.min_free = text.parse()?),
        setting!("storage.absorb_window", c, text, c.storage.absorb_window = text.parse()?),
        setting!("storage.learn_keys", c, text, c.storage.learn_keys = parse(text)?),
        setting!("storage.learn_every", c, text, c.storage.learn_every = text.parse()?),
        setting!("storage.learn_share", c, text, c.storage.learn_share = parse(text)?),
        setting!("storage.learn_rows", c, text, c.storage.learn_rows = parse(text)?),
        setting!("storage.learn_columns", c, text, c.storage.learn_columns = parse(text)?),
        setting!("compaction.enabled", c, text, c.compaction.enabled = parse(text)?),
        setting!("compaction.memory", c, text, c.compaction.memory = text.parse()?),
        setting!("compaction.target_size", c, text, c.compaction.target_size = text.parse()?),
        setting!("compaction.max_size", c, text, c.compaction.max_size = text.parse()?),
        setting!("compaction.min_files", c, text, c.compaction.min_files = parse(text)?),
        setting!("compaction.settle", c, text, c.compaction.settle = text.parse()?),
        setting!("compaction.keep_replaced", c, text, c.compaction.keep_replaced = text.parse()?),
        setting!("retention.max_age", c, text, c.retention.max_age = Some(text.parse()?)),
        setting!("retention.max_size", c, text, c.retention.max_size = Some(text.parse()?)),
        setting!("retention.max_disk", c, text, c.retention.max_disk = text.parse()?),
        setting!("ingest.max_request", c, text, c.ingest.max_request = text.parse()?),
        setting!("ingest.memory", c, text, c.ingest.memory = text.parse()?),
        setting!("ingest.max_hours", c, text, c.ingest.max_hours = parse(text)?),
        setting!("ingest.max_keys", c, text, c.ingest.max_keys = parse(text)?),
        setting!("ingest.max_series", c, text, c.ingest.max_series = parse(text)?),
        setting!("query.memory", c, text, c.query.memory = text.parse()?),
        setting!("query.deadline", c, text, c.query.deadline = text.parse()?),
        setting!("query.max_concurrent", c, text, c.query.max_concurrent = parse(text)?),
        setting!("query.trace_filters", c, text, c.query.trace_filters = text.parse()?),
        setting!("query.token_filters", c, text, c.query.token_filters = text.parse()?),
        setting!("query.rollups", c, text, c.query.rollups = parse(text)?),
        setting!("query.rollup_settle", c, text, c.query.rollup_settle = text.parse()?),
        setting!("rules", c, text, c.rules = list(text)),
        setting!("alerting.interval", c, text, c.alerting.interval = text.parse()?),
        setting!("alerting.memory", c, text, c.alerting.memory = text.parse()?),
        setting!("alerting.deadline", c, text, c.alerting.deadline = text.parse()?),
        setting!("alerting.max_concurrent", c, text, c.alerting.max_concurrent = parse(text)?),
    ];
    SETTINGS
}

fn tls(config: &mut Config) -> &mut Tls {
    config.tls.get_or_insert_with(|| Tls { cert: PathBuf::new(), key: PathBuf::new() })
}

/// A list with commas between its elements.
fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|element| !element.is_empty()).map(str::to_owned).collect()
}

/// A value that the file takes as one of a few words.
fn word<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    use serde::de::IntoDeserializer;
    let deserializer: serde::de::value::StrDeserializer<'_, serde::de::value::Error> = text.into_deserializer();
    T::deserialize(deserializer).map_err(|error| error.to_string())
}

/// Reads all layers and checks the whole. `flags` are (key, value), as [`Setting::key`] names them.
pub fn load(
    path: Option<&Path>,
    variables: &BTreeMap<String, String>,
    flags: &[(&'static str, String)],
) -> Result<Config, ConfigError> {
    let mut config = match path {
        Some(path) => {
            let mut config = file::read(path)?;
            config.base = path.parent().map(Path::to_owned).unwrap_or_default();
            notifiers::check_private(path, &config.notifiers)?;
            config
        }
        None => Config::default(),
    };
    for (name, value) in variables.iter().filter(|(name, _)| name.starts_with("ORRERY_")) {
        match settings().iter().find(|setting| setting.variable() == *name) {
            Some(setting) => apply(setting, &mut config, name, value)?,
            None => unknown_variable(name)?,
        }
    }
    for (key, value) in flags {
        let setting = settings().iter().find(|s| s.key == *key).expect("every flag is in the list of settings");
        apply(setting, &mut config, &format!("--{}", key.replace(['_', '.'], "-")), value)?;
    }
    for notifier in &mut config.notifiers {
        notifier.resolve(variables)?;
    }
    config.check()?;
    Ok(config)
}

fn apply(setting: &Setting, config: &mut Config, source: &str, value: &str) -> Result<(), ConfigError> {
    (setting.set)(config, value).map_err(|message| ConfigError::Value { source_name: source.to_owned(), message })
}

/// A slip of the pen is an error; a variable like none of ours belongs to something else.
fn unknown_variable(name: &str) -> Result<(), ConfigError> {
    let known: Vec<String> = settings().iter().map(Setting::variable).collect();
    match file::nearest(name, known.iter().map(String::as_str)) {
        Some(near) if !CLIENT_VARIABLES.contains(&name) && edits(name, near) <= MAX_SLIPS => {
            let message = format!("unknown variable; did you mean {near}?");
            Err(ConfigError::Value { source_name: name.to_owned(), message })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn flags_win_over_variables_over_the_file_over_defaults() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("orrery.toml");
        std::fs::write(&path, "http = \"127.0.0.1:1\"\notlp_http = \"127.0.0.1:2\"\n[storage]\nflush_age = \"1m\"\n")
            .expect("written");
        let env = variables(&[("ORRERY_HTTP", "127.0.0.1:3"), ("ORRERY_OTLP_HTTP", "127.0.0.1:4"), ("HOME", "/")]);
        let config = load(Some(&path), &env, &[("http", "127.0.0.1:5".to_owned())]).expect("valid");
        assert_eq!(config.http.port(), 5, "flag");
        assert_eq!(config.otlp_http.port(), 4, "variable");
        assert_eq!(config.storage.flush_age.to_string(), "1m", "file");
        assert_eq!(config.otlp_grpc.port(), 4317, "default");
    }

    #[test]
    fn bad_variables_are_named() {
        let cases = [
            ("ORRERY_HTTP", "8080", "ORRERY_HTTP: \"8080\": invalid socket address syntax"),
            (
                "ORRERY_STORAGE_MEMTABEL",
                "1MiB",
                "ORRERY_STORAGE_MEMTABEL: unknown variable; did you mean ORRERY_STORAGE_MEMTABLE?",
            ),
            (
                "ORRERY_QUERY_DEADLINE",
                "soon",
                "ORRERY_QUERY_DEADLINE: \"soon\" is not a span of time; write for example \"30s\"",
            ),
            ("ORRERY_LOG_FORMAT", "xml", "ORRERY_LOG_FORMAT: unknown variant `xml`, expected `text` or `json`"),
        ];
        for (name, value, message) in cases {
            let error = load(None, &variables(&[(name, value)]), &[]).expect_err(name);
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn every_setting_but_lists_of_sections_can_be_set_from_outside() {
        let message = toml::from_str::<Config>("no_such_key = 1").expect_err("unknown").message().to_owned();
        for key in message.split('`').skip(3).step_by(2) {
            let section = format!("{key}.");
            let covered = settings().iter().any(|s| s.key == key || s.key.starts_with(&section));
            assert!(covered || key == "tokens" || key == "notifiers", "{key} has no variable");
        }
    }
}
