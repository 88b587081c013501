//! `GET /api/v1/traces` and `GET /api/v1/traces/{id}`.

use serde::{Deserialize, Serialize};

use crate::{Attribute, Receipt};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Traces {
    pub traces: Vec<TraceSummary>,
    /// Whether the order and the counts are of all that matches. False only beside `receipt.partial`.
    pub exact: bool,
    /// All traces that match, however many `traces` holds.
    pub total: u64,
    pub receipt: Receipt,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TraceSummary {
    pub trace_id: String,
    /// Of the root span, else of the earliest.
    pub service_name: String,
    pub name: String,
    pub start: String,
    pub duration_ns: i64,
    pub spans: u64,
    pub errors: u64,
    /// Service ids, sorted.
    pub services: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    pub trace_id: String,
    pub start: String,
    pub duration_ns: i64,
    pub services: Vec<String>,
    pub errors: u64,
    /// The share of non-root spans whose parent is in the trace, 0 to 1.
    pub completeness: f64,
    /// Log records that carry the trace's id.
    pub logs: u64,
    /// In preorder; siblings by start.
    pub spans: Vec<SpanNode>,
    pub receipt: Receipt,
}

/// A span in its tree.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SpanNode {
    pub trace_id: String,
    pub span_id: String,
    pub parent_span_id: Option<String>,
    /// The service's id: `name`, or `namespace/name`.
    pub service_name: String,
    pub name: String,
    pub kind: String,
    pub start: String,
    /// From the start of the trace; negative where a clock is skewed.
    pub offset_ns: i64,
    pub duration_ns: i64,
    pub depth: u32,
    /// Spans in the subtree, this one included.
    pub subtree: u32,
    /// Time in which no child was running.
    pub self_ns: i64,
    /// Whether the span is on the critical path, and the parts of it that are: (offset_ns, duration_ns) pairs.
    pub critical: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub critical_parts: Vec<(i64, i64)>,
    /// The parent is not in the trace although the span names one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub missing_parent: bool,
    /// The span starts before its parent or ends after it by more than clocks explain.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub clock_skew: bool,
    /// Log records that carry the span's id.
    #[serde(default)]
    pub logs: u64,
    pub status_code: String,
    pub status_message: Option<String>,
    pub scope_name: Option<String>,
    pub scope_version: Option<String>,
    pub trace_state: Option<String>,
    pub attributes: Vec<Attribute>,
    pub resource_attributes: Vec<Attribute>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scope_attributes: Vec<Attribute>,
    pub events: Vec<SpanEvent>,
    pub links: Vec<Link>,
    /// What the exporter left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped_attributes_count: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped_events_count: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped_links_count: i64,
}

fn is_zero(n: &i64) -> bool {
    *n == 0
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpanEvent {
    pub time: String,
    /// From the start of the trace.
    pub offset_ns: i64,
    pub name: String,
    pub attributes: Vec<Attribute>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    pub trace_id: String,
    pub span_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_state: Option<String>,
    pub attributes: Vec<Attribute>,
}
