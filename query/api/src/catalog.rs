//! What is stored and how: `GET /api/v1/attributes`, `status`, `lake/status` and `lake/columns`.

use serde::{Deserialize, Serialize};

use crate::Receipt;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attributes {
    /// Most frequent first.
    pub attributes: Vec<AttributeKey>,
    pub receipt: Receipt,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttributeKey {
    pub key: String,
    /// `resource`, `scope` or `item`.
    pub scope: String,
    /// Types of the values seen: `string`, `int` and so on.
    pub types: Vec<String>,
    /// Records in the window that have the key.
    pub count: u64,
    /// Distinct values of the records that were counted.
    pub cardinality: u64,
    /// Whether `cardinality` is exact; else the key has more values than that.
    pub cardinality_exact: bool,
    /// Of the values as text, of the records that were counted.
    pub bytes: u64,
    /// Where it lives: `column`, one that the table has from the start; `learned`, one that the table has learned, in the
    /// files that were written since (elsewhere, and for values of another type, in the map); `map`; `both`, a column from
    /// the start and the map, for values of another type.
    pub place: String,
    /// The commonest values with their counts.
    pub top: Vec<(String, u64)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub uptime_s: u64,
    pub data_dir: String,
    /// Where exporters on this machine send to.
    pub otlp_grpc: String,
    pub otlp_http: String,
    pub snapshot: i64,
    pub tables: Vec<TableStatus>,
    pub wal_bytes: u64,
    pub memtable_bytes: u64,
    pub free_bytes: u64,
    /// `ok`, or why ingest is refused.
    pub ingest: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableStatus {
    /// `spans`, `logs`, `metrics` or `alerts`.
    pub name: String,
    pub rows: u64,
    pub rows_in_memory: u64,
    pub files: u64,
    pub file_bytes: u64,
    pub oldest: Option<String>,
    pub newest: Option<String>,
    /// Rows accepted a second, over the last ten seconds.
    pub rows_per_second: f64,
}

/// `GET /api/v1/lake/status`: the lake of all tenants. Counts of what was done are since the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LakeStatus {
    /// `ok`, or why ingest is refused.
    pub ingest: String,
    pub snapshot: i64,
    /// The last request of the log that is in files.
    pub flushed_sequence: u64,
    pub files: u64,
    pub file_rows: u64,
    pub file_bytes: u64,
    pub memory_rows: u64,
    pub memory_bytes: u64,
    pub wal_segments: u64,
    pub wal_bytes: u64,
    /// Of the disk; `None` where the system does not say.
    pub free_bytes: Option<u64>,
    /// Of files that are in no query any more and still on the disk.
    pub pending_bytes: u64,
    /// `off`, `idle`, `merging` or `paused`, which is for ingest.
    pub compaction: String,
    pub merges: u64,
    /// Files that were merged into others.
    pub merged_files: u64,
    pub merged_rows: u64,
    pub merge_failures: u64,
    /// For lack of memory or of disk.
    pub merges_put_off: u64,
    /// What need not be kept any longer.
    pub dropped_files: u64,
    pub dropped_rows: u64,
    pub dropped_bytes: u64,
    pub deleted_files: u64,
    pub deleted_bytes: u64,
    pub upkeep_failures: u64,
}

/// `GET /api/v1/lake/columns`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LearnedColumns {
    pub columns: Vec<LearnedColumn>,
}

/// A column that an attribute key was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LearnedColumn {
    /// `spans`, `logs` or `metrics`.
    pub table: String,
    /// `item`, `resource` or `scope`.
    pub scope: String,
    pub key: String,
    /// Of the values that the column holds.
    #[serde(rename = "type")]
    pub value_type: String,
    pub column: String,
    /// Whether new files get it; in the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_use: Option<bool>,
    /// How many files have it; in the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
}
