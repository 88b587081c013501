//! `[compaction]` and `[retention]`: how the files of the lake are merged, and what is kept of them. Never touches a file.

use std::fmt;
use std::time::Duration;

use orrery_model::{TableName, TenantId};
use orrery_storage::RetentionConfig;
use orrery_storage::retention::{Limits, TableLimits};
use serde::{Deserialize, Deserializer};

use super::units::Percent;
use super::{ByteSize, Config, ConfigError, Span};

/// The least memory that a merge makes do with.
const LEAST_MEMORY: ByteSize = ByteSize(orrery_storage::compact::LEAST_MEMORY_BYTES as u64);
/// Files that were replaced outlive the longest query by so much at least.
const MARGIN: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Compaction {
    /// Whether files are merged by themselves.
    pub enabled: bool,
    /// Memory of a merge at most, of `query.memory`.
    pub memory: ByteSize,
    /// A file of this size is not merged again.
    pub target_size: ByteSize,
    /// No merged file is larger.
    pub max_size: ByteSize,
    /// So many small files are merged while their hour still grows.
    pub min_files: usize,
    /// An hour that got no rows for so long is merged into as few files as it takes.
    pub settle: Span,
    /// How long files that were merged or dropped stay for those who still read them; the longest query at least.
    pub keep_replaced: Span,
}

impl Default for Compaction {
    fn default() -> Self {
        Self {
            enabled: true,
            memory: ByteSize(256 << 20),
            target_size: ByteSize(256 << 20),
            max_size: ByteSize(512 << 20),
            min_files: 10,
            settle: Span(Duration::from_secs(120)),
            keep_replaced: Span(Duration::from_secs(300)),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Of each table that has no other.
    pub max_age: Option<Span>,
    /// Of all tables and tenants together.
    pub max_size: Option<ByteSize>,
    /// Of all together, as a share of what they take and the disk has free; 100% lets the disk fill up.
    pub max_disk: Percent,
    pub tables: Vec<TableRetention>,
}

impl Default for Retention {
    fn default() -> Self {
        Self { max_age: None, max_size: None, max_disk: Percent(90), tables: Vec::new() }
    }
}

/// What is kept of one table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableRetention {
    #[serde(deserialize_with = "table")]
    pub table: TableName,
    /// Each tenant where it is absent.
    #[serde(default, deserialize_with = "tenant")]
    pub tenant: Option<TenantId>,
    pub max_age: Option<Span>,
    pub max_size: Option<ByteSize>,
    pub max_disk: Option<Percent>,
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_limits(f, self.max_age, self.max_size, Some(self.max_disk))
    }
}

impl fmt::Display for TableRetention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.table)?;
        if let Some(tenant) = &self.tenant {
            write!(f, " of tenant {tenant}")?;
        }
        f.write_str(": ")?;
        write_limits(f, self.max_age, self.max_size, self.max_disk)
    }
}

fn write_limits(
    f: &mut fmt::Formatter<'_>,
    age: Option<Span>,
    size: Option<ByteSize>,
    disk: Option<Percent>,
) -> fmt::Result {
    let age = age.map(|age| age.to_string());
    let size = size.map(|size| size.to_string());
    let disk = disk.map(|disk| format!("{disk} of the disk"));
    f.write_str(&[age, size, disk].into_iter().flatten().collect::<Vec<_>>().join(", "))
}

fn table<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TableName, D::Error> {
    let name = String::deserialize(deserializer)?;
    TableName::from_name(&name).ok_or_else(|| {
        let known = TableName::ALL.map(TableName::as_str).join(", ");
        serde::de::Error::custom(format!("there is no table {name:?}; the tables are {known}"))
    })
}

fn tenant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TenantId>, D::Error> {
    let name = String::deserialize(deserializer)?;
    TenantId::new(&name).map(Some).map_err(serde::de::Error::custom)
}

impl Retention {
    pub fn config(&self, min_free: ByteSize) -> RetentionConfig {
        let limits = |max_age: Option<Span>, max_size: Option<ByteSize>, max_disk: Option<Percent>| Limits {
            max_age: max_age.map(|age| age.0),
            max_bytes: max_size.map(|size| size.0),
            max_disk_percent: max_disk.filter(|share| share.0 < 100).map(|share| share.0),
        };
        let table = |rule: &TableRetention| TableLimits {
            tenant: rule.tenant.clone(),
            table: rule.table,
            limits: limits(rule.max_age, rule.max_size, rule.max_disk),
        };
        RetentionConfig {
            all: limits(self.max_age, self.max_size, Some(self.max_disk)),
            tables: self.tables.iter().map(table).collect(),
            // Ingest stops at `min_free`; it must not come to that.
            free_bytes: min_free.0.saturating_mul(2),
        }
    }
}

impl Config {
    /// How long files that were replaced stay on the disk.
    pub fn grace(&self) -> Duration {
        let longest_query = self.query.deadline.0.max(self.alerting.deadline.0);
        self.compaction.keep_replaced.0.max(longest_query + MARGIN)
    }

    pub(super) fn check_lake(&self) -> Result<(), ConfigError> {
        let refuse = |message: String| Err(ConfigError::Invalid(message));
        let compaction = &self.compaction;
        if compaction.enabled {
            for (key, size) in [("compaction.memory", compaction.memory), ("query.memory", self.query.memory)] {
                if size.0 < LEAST_MEMORY.0 {
                    return refuse(format!(
                        "{key} must be at least {LEAST_MEMORY}, which a merge of files takes, unless compaction.enabled is \
                         false"
                    ));
                }
            }
        }
        if compaction.target_size.0 == 0 || compaction.max_size.0 < compaction.target_size.0 {
            return refuse(
                "compaction.max_size must be at least compaction.target_size, and that more than nothing".into(),
            );
        }
        if compaction.min_files < 2 {
            return refuse("compaction.min_files must be at least 2".into());
        }
        let rules = &self.retention.tables;
        for (i, rule) in rules.iter().enumerate() {
            let name = || match &rule.tenant {
                Some(tenant) => format!("retention.tables: {} of tenant {tenant}", rule.table),
                None => format!("retention.tables: {}", rule.table),
            };
            if rules[..i].iter().any(|other| other.table == rule.table && other.tenant == rule.tenant) {
                return refuse(format!("{}: two rules are for this table", name()));
            }
            if rule.max_age.is_none() && rule.max_size.is_none() && rule.max_disk.is_none() {
                return refuse(format!("{}: say max_age, max_size or max_disk", name()));
            }
        }
        let ages = rules.iter().map(|rule| rule.max_age).chain([self.retention.max_age]);
        if ages.flatten().any(|age| age.0 < Duration::from_secs(3600)) {
            return refuse("retention: max_age must be at least 1h, since whole hours are dropped".into());
        }
        let sizes = rules.iter().map(|rule| rule.max_size).chain([self.retention.max_size]);
        if sizes.flatten().any(|size| size.0 == 0) {
            return refuse("retention: max_size must be more than nothing".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::file::parse;
    use super::*;

    fn checked(text: &str) -> Result<Config, String> {
        let config = parse(Path::new("orrery.toml"), text).map_err(|error| error.to_string())?;
        config.check_lake().map(|()| config).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_kept_is_said_by_table_and_tenant() {
        let text = "[retention]\nmax_age = \"30d\"\n[[retention.tables]]\ntable = \"logs\"\ntenant = \"acme\"\n\
                    max_age = \"7d\"\nmax_size = \"1GiB\"\n[[retention.tables]]\ntable = \"spans\"\nmax_disk = \"40%\"\n";
        let kept = checked(text).expect("valid").retention.config(ByteSize(10));
        let day = Duration::from_secs(86_400);
        let all = Limits { max_age: Some(day * 30), max_bytes: None, max_disk_percent: Some(90) };
        assert_eq!((kept.all, kept.free_bytes), (all, 20));
        let acme = TenantId::new("acme").expect("a name");
        let of_acme = Limits { max_age: Some(day * 7), max_bytes: Some(1 << 30), max_disk_percent: None };
        let spans = Limits { max_disk_percent: Some(40), ..Limits::default() };
        let expected = [
            TableLimits { tenant: Some(acme), table: TableName::Logs, limits: of_acme },
            TableLimits { tenant: None, table: TableName::Spans, limits: spans },
        ];
        assert_eq!(kept.tables, expected);
        let off = checked("[retention]\nmax_disk = \"100%\"\n").expect("valid").retention.config(ByteSize(10));
        assert_eq!(off.all, Limits::default());
    }

    #[test]
    fn files_that_were_replaced_outlive_the_longest_query() {
        assert_eq!(checked("").expect("valid").grace(), Duration::from_secs(300));
        let config = checked("[query]\ndeadline = \"10m\"\n").expect("valid");
        assert_eq!(config.grace(), Duration::from_secs(630));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let table = "[[retention.tables]]\ntable = \"logs\"\n";
        for (text, message) in [
            (
                "[[retention.tables]]\ntable = \"log\"\n".to_owned(),
                "orrery.toml:2:9: there is no table \"log\"; the tables are spans, logs, metrics, alerts",
            ),
            (format!("{table}tenant = \"No\"\n"), "tenant"),
            (format!("{table}keep = \"1d\"\n"), "unknown key `keep`"),
            (table.to_owned(), "retention.tables: logs: say max_age, max_size or max_disk"),
            (format!("{table}max_age = \"2d\"\n{table}max_age = \"2d\"\n"), "two rules"),
            ("[retention]\nmax_age = \"5m\"\n".to_owned(), "at least 1h"),
            ("[retention]\nmax_size = \"0B\"\n".to_owned(), "max_size must be more"),
            ("[retention]\nmax_disk = \"0%\"\n".to_owned(), "\"0%\" is not a share; write for example \"90%\""),
            ("[retention]\nmax_disk = \"101%\"\n".to_owned(), "is not a share"),
            ("[compaction]\nmemory = \"1MiB\"\n".to_owned(), "compaction.memory must be at least 96MiB"),
            ("[query]\nmemory = \"64MiB\"\n".to_owned(), "query.memory must be at least 96MiB"),
            ("[compaction]\nmax_size = \"1MiB\"\n".to_owned(), "compaction.max_size"),
            ("[compaction]\nmin_files = 1\n".to_owned(), "compaction.min_files"),
        ] {
            let error = checked(&text).expect_err(&text);
            assert!(error.contains(message), "{error}");
        }
        assert!(checked("[query]\nmemory = \"64MiB\"\n[compaction]\nenabled = false\n").is_ok());
    }
}
