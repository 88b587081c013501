//! `GET /api/v1/attributes` and `GET /api/v1/status`.

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
