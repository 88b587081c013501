//! The request and response types of the public HTTP API, shared by the server and the browser. Serde only.
//!
//! Times are RFC 3339 strings in UTC with nine digits of a second, since a JSON number cannot hold nanoseconds;
//! durations are integers in nanoseconds.

pub mod alerts;
pub mod catalog;
pub mod graph;
pub mod logs;
pub mod metrics;
pub mod services;
pub mod sql;
pub mod trace;

pub use alerts::{
    Alert, AlertHistory, AlertState, Alerts, Labels, NotifierStatus, Rule, RuleFile, RuleFileError, RuleGroup,
    RuleHealth, Transition,
};
pub use catalog::{AttributeKey, Attributes, LakeStatus, LearnedColumn, LearnedColumns, Status, TableStatus};
pub use graph::{Edge, EdgeKind, EdgeSpans, Node, NodeKind, ServiceGraph};
pub use logs::{LogRecord, Logs};
pub use metrics::{MetricInfo, MetricSeries, Metrics, Point, Series};
pub use services::{Operation, Service, ServiceDetail, Services};
pub use sql::{SqlColumn, SqlFormat, SqlRequest, SqlResponse};
pub use trace::{Link, SpanEvent, SpanNode, Trace, TraceSummary, Traces};

use serde::{Deserialize, Serialize};

/// Attributes of one scope as `[key, value, type]`, in key order: values in the text form of the tables, `type` absent
/// for strings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attribute {
    pub key: String,
    /// `None` for an OTLP empty value.
    pub value: Option<String>,
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub value_type: Option<String>,
}

/// What an answer cost and how it was made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    pub elapsed_ms: f64,
    /// Rows read from files and memory, before any filter that files could not answer.
    pub rows_scanned: u64,
    pub bytes_scanned: u64,
    /// Data files opened.
    pub files: u64,
    /// Data files left unopened because their statistics or filters rule them out.
    pub files_pruned: u64,
    /// SQL that gives the same rows, where one statement does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// Copies of spans that were left out (one span per trace id, span id and kind is used).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub copies: u64,
    /// How much of the window was answered by what was counted beforehand, and how much span by span; absent where an
    /// answer is never counted beforehand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minutes: Option<Minutes>,
    /// Whether something was left out of the answer, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<String>,
    /// What was left unread, by what ruled it out; absent where all was read.
    #[serde(default, skip_serializing_if = "Pruned::is_empty")]
    pub pruned: Pruned,
}

/// Minutes of a window, by what answered them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Minutes {
    pub rollups: u64,
    /// A begun minute counts.
    pub spans: u64,
}

/// What an answer left unread, by what ruled it out. Each thing is counted once, by the first means that ruled it out;
/// a file that is read in two parts counts twice where its row groups and pages do. Counts of zero are absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pruned {
    /// Files with other times than those asked for.
    #[serde(skip_serializing_if = "is_zero")]
    pub files_by_time: u64,
    /// Files whose filter has none of the trace ids asked for.
    #[serde(skip_serializing_if = "is_zero")]
    pub files_by_trace_id: u64,
    /// Files in which no record has an attribute that is asked for.
    #[serde(skip_serializing_if = "is_zero")]
    pub files_by_attribute: u64,
    /// Files, or parts of them, whose times ruled them out while the query ran: the newest rows were found elsewhere.
    #[serde(skip_serializing_if = "is_zero")]
    pub files_by_statistics: u64,
    /// Row groups whose least and greatest values ruled them out.
    #[serde(skip_serializing_if = "is_zero")]
    pub row_groups_by_statistics: u64,
    /// Row groups of logs without the words asked for.
    #[serde(skip_serializing_if = "is_zero")]
    pub row_groups_by_token_filter: u64,
    /// Row groups without the trace ids or the attribute values asked for.
    #[serde(skip_serializing_if = "is_zero")]
    pub row_groups_by_value_filter: u64,
    /// Row groups that could hold none of the first rows of an ordered or limited answer.
    #[serde(skip_serializing_if = "is_zero")]
    pub row_groups_by_limit: u64,
    /// Sections (8,192 rows) of the row groups of logs without the words asked for.
    #[serde(skip_serializing_if = "is_zero")]
    pub sections_by_token_filter: u64,
    /// Sections (8,192 rows) of row groups without the trace ids or the attribute values asked for.
    #[serde(skip_serializing_if = "is_zero")]
    pub sections_by_value_filter: u64,
    /// Pages whose least and greatest values ruled them out.
    #[serde(skip_serializing_if = "is_zero")]
    pub pages_by_index: u64,
}

impl Pruned {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The counts that are not zero, with what they count.
    pub fn counts(&self) -> impl Iterator<Item = (u64, &'static str)> {
        [
            (self.files_by_time, "files by time"),
            (self.files_by_trace_id, "files by trace ID"),
            (self.files_by_attribute, "files by attribute"),
            (self.files_by_statistics, "files by statistics"),
            (self.row_groups_by_statistics, "row groups by statistics"),
            (self.row_groups_by_token_filter, "row groups by words"),
            (self.row_groups_by_value_filter, "row groups by values"),
            (self.row_groups_by_limit, "row groups by limit"),
            (self.sections_by_token_filter, "sections by words"),
            (self.sections_by_value_filter, "sections by values"),
            (self.pages_by_index, "pages by index"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
    }
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// The body of every 4xx and 5xx answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    pub error: ApiError,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApiError {
    /// A stable word: `bad_request`, `invalid_filter`, `not_found`, `deadline_exceeded`, `memory_exceeded`,
    /// `unauthorized`, `forbidden`, `not_implemented`, `internal`.
    pub code: String,
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}
