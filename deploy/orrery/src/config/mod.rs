//! The configuration: defaults, under one TOML file, under `ORRERY_*` variables, under flags. Read once at the start and
//! passed on; never read again, and never shown with a secret in it.

mod check;
mod file;
mod lake;
mod layers;
mod notifiers;
mod units;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

pub use lake::{Compaction, Retention};
pub use layers::{ConfigError, load, settings};
pub use notifiers::Notifier;
pub use units::{ByteSize, Span};

/// Everything that can be set. Unknown keys are errors.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The folder of the lake: write-ahead log, catalog and Parquet files.
    pub data_dir: PathBuf,
    /// Dashboard and API.
    pub http: SocketAddr,
    pub otlp_grpc: SocketAddr,
    pub otlp_http: SocketAddr,
    /// Host names, beside IP addresses and localhost, under which the dashboard is reached.
    pub allowed_hosts: Vec<String>,
    /// Where people reach the dashboard, for the links in alerts; the address of `http` where it is not set.
    pub external_url: Option<String>,
    /// Listen on public addresses without tokens or without TLS.
    pub insecure_public_bind: bool,
    /// How long a stop waits for requests that are under way.
    pub drain_timeout: Span,
    /// Connections open at once on each address; more wait to be accepted.
    pub max_connections: usize,
    pub tls: Option<Tls>,
    pub tokens: Vec<Token>,
    /// Rule files, as patterns; relative ones begin at the configuration file's folder.
    pub rules: Vec<String>,
    /// Where alerts are told of.
    pub notifiers: Vec<Notifier>,
    pub log: Log,
    pub storage: Storage,
    pub compaction: Compaction,
    pub retention: Retention,
    pub ingest: Ingest,
    pub query: Query,
    pub alerting: Alerting,
    /// The folder of the configuration file, empty without one.
    #[serde(skip)]
    pub base: PathBuf,
}

/// Certificate chain and key, PEM, for all three addresses.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// A bearer token, kept as its hash.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// What logs call it.
    pub name: String,
    /// SHA-256 of the token, 64 hex digits; `orrery config hash-token` prints it.
    pub sha256: String,
    pub role: TokenRole,
    /// The tenant whose data it reaches.
    #[serde(default = "main_tenant")]
    pub tenant: String,
}

fn main_tenant() -> String {
    "main".to_owned()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenRole {
    Ingest,
    Read,
    Admin,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    pub format: LogFormat,
    /// A level, or `tracing` directives such as `info,orrery_storage=debug`.
    pub level: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// Rows in memory beyond this size are written to Parquet.
    pub memtable: ByteSize,
    /// Rows in memory older than this are written to Parquet: how old the newest row may be that DuckDB sees.
    pub flush_age: Span,
    /// Size of a segment of the write-ahead log.
    pub wal_segment: ByteSize,
    /// Ingest is refused while the disk has less than this free.
    pub min_free: ByteSize,
    /// How long a byte-identical copy of a request is absorbed.
    pub absorb_window: Span,
    /// Whether attribute keys that are dense in the newest files get columns without being asked for.
    pub learn_keys: bool,
    /// How often the newest files are looked at for that.
    pub learn_every: Span,
    /// The share of a table's rows that must have such a key.
    pub learn_share: f64,
    /// With fewer rows in the newest files of a table nothing is learned.
    pub learn_rows: u64,
    /// Columns of a table that are learned so at most.
    pub learn_columns: usize,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ingest {
    /// The largest request, decompressed.
    pub max_request: ByteSize,
    /// Bytes of all requests that are under way at once.
    pub memory: ByteSize,
    /// Different hours that the times of one request may lie in; records in others are rejected.
    pub max_hours: usize,
    /// Different attribute keys that a tenant may send within an hour or two; records with others are rejected.
    pub max_keys: usize,
    /// Different metric series of the same; data points of others are rejected.
    pub max_series: usize,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Query {
    /// Memory of all queries at once; what does not fit is spilled to disk or refused.
    pub memory: ByteSize,
    /// The longest a query may take.
    pub deadline: Span,
    /// Queries at once; more wait.
    pub max_concurrent: usize,
    /// Memory for the filters of trace ids, one a file; those beyond are read from the catalog when asked.
    pub trace_filters: ByteSize,
    /// Memory for the filters of words and of values; those beyond are read from the files when asked.
    pub token_filters: ByteSize,
    /// Whether hours of spans are counted beforehand, and answer where they hold.
    pub rollups: bool,
    /// How long no span of an hour must have come before the hour is counted.
    pub rollup_settle: Span,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Alerting {
    /// How often groups of rules are evaluated that do not say.
    pub interval: Span,
    /// Memory of all rules' queries at once, apart from that of other queries.
    pub memory: ByteSize,
    /// The longest a rule's query may take.
    pub deadline: Span,
    /// Rules' queries at once, apart from other queries; more wait.
    pub max_concurrent: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./data"),
            http: SocketAddr::from(([127, 0, 0, 1], 8080)),
            otlp_grpc: SocketAddr::from(([127, 0, 0, 1], 4317)),
            otlp_http: SocketAddr::from(([127, 0, 0, 1], 4318)),
            allowed_hosts: Vec::new(),
            external_url: None,
            insecure_public_bind: false,
            drain_timeout: Span(Duration::from_secs(15)),
            max_connections: 4096,
            tls: None,
            tokens: Vec::new(),
            rules: Vec::new(),
            notifiers: Vec::new(),
            log: Log::default(),
            storage: Storage::default(),
            compaction: Compaction::default(),
            retention: Retention::default(),
            ingest: Ingest::default(),
            query: Query::default(),
            alerting: Alerting::default(),
            base: PathBuf::new(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            memtable: ByteSize(96 << 20),
            flush_age: Span(Duration::from_secs(30)),
            wal_segment: ByteSize(64 << 20),
            min_free: ByteSize(1 << 30),
            absorb_window: Span(Duration::from_secs(600)),
            learn_keys: true,
            learn_every: Span(Duration::from_secs(600)),
            learn_share: 0.3,
            learn_rows: 20_000,
            learn_columns: 100,
        }
    }
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            max_request: ByteSize(64 << 20),
            memory: ByteSize(256 << 20),
            max_hours: 100,
            max_keys: 10_000,
            max_series: 1_000_000,
        }
    }
}

impl Default for Query {
    fn default() -> Self {
        Self {
            memory: ByteSize(512 << 20),
            deadline: Span(Duration::from_secs(60)),
            max_concurrent: 16,
            trace_filters: ByteSize(128 << 20),
            token_filters: ByteSize(64 << 20),
            rollups: true,
            rollup_settle: Span(Duration::from_secs(60)),
        }
    }
}

impl Default for Alerting {
    fn default() -> Self {
        Self {
            interval: Span(orrery_alert::evaluate::DEFAULT_INTERVAL),
            memory: ByteSize(256 << 20),
            deadline: Span(Duration::from_secs(30)),
            max_concurrent: 2,
        }
    }
}
