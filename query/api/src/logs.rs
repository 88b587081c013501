//! `GET /api/v1/logs`.

use serde::{Deserialize, Serialize};

use crate::{Attribute, Receipt};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Logs {
    /// Newest first.
    pub logs: Vec<LogRecord>,
    /// Passed back as `cursor`, gives the next page; `None` at the end.
    pub cursor: Option<String>,
    /// Counts in equal steps over the window, oldest first, by severity class: trace/debug, info, warn, error/fatal.
    /// Empty on pages after the first.
    #[serde(default)]
    pub histogram: Vec<[u64; 4]>,
    /// All records that match, of the first page.
    #[serde(default)]
    pub total: Option<u64>,
    pub receipt: Receipt,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogRecord {
    pub timestamp: String,
    pub observed_timestamp: Option<String>,
    /// `sent`, `observed` or `received`.
    pub time_source: String,
    pub severity_number: i64,
    pub severity_text: Option<String>,
    /// Of a string its text, else the text form of attributes.
    pub body: Option<String>,
    /// Absent for a string, else `kvlist`, `array`, `int` and so on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_type: Option<String>,
    pub event_name: Option<String>,
    /// The service's id: `name`, or `namespace/name`.
    pub service_name: String,
    pub trace_id: Option<String>,
    pub span_id: Option<String>,
    #[serde(default)]
    pub flags: i64,
    pub scope_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope_version: Option<String>,
    pub attributes: Vec<Attribute>,
    pub resource_attributes: Vec<Attribute>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scope_attributes: Vec<Attribute>,
}
