//! `POST /api/v1/sql`.

use serde::{Deserialize, Serialize};

use crate::Receipt;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SqlRequest {
    pub query: String,
    #[serde(default)]
    pub format: SqlFormat,
    /// What `$start` and `$end` stand for in a query: times as everywhere in this API, the last hour where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SqlFormat {
    #[default]
    Json,
    /// One JSON object a row.
    Ndjson,
    /// RFC 4180 with a header line.
    Csv,
    /// An Arrow IPC stream.
    Arrow,
    Parquet,
}

/// The answer in the `json` format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SqlResponse {
    pub columns: Vec<SqlColumn>,
    pub rows: Vec<Vec<serde_json::Value>>,
    pub receipt: Receipt,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SqlColumn {
    pub name: String,
    /// The SQL type: `VARCHAR`, `BIGINT`, `TIMESTAMP_NS`, `MAP(VARCHAR, VARCHAR)` and so on.
    #[serde(rename = "type")]
    pub data_type: String,
}
