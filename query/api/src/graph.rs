//! `GET /api/v1/service-graph` and `GET /api/v1/service-graph/spans`.

use serde::{Deserialize, Serialize};

use crate::{Receipt, SpanNode};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceGraph {
    pub nodes: Vec<Node>,
    pub edges: Vec<Edge>,
    /// The share of non-root spans whose parent was seen, 0 to 1; 1 where there are none.
    pub completeness: f64,
    /// CLIENT spans younger than 30 s that have no answer yet.
    #[serde(default)]
    pub pending: u64,
    pub receipt: Receipt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    Service,
    Database,
    Messaging,
    External,
    User,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// `service:…`, `database:system/namespace-or-address`, `messaging:system/destination`, `external:host`, `user`.
    pub id: String,
    pub kind: NodeKind,
    pub name: String,
    /// The service's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// `postgresql`, `kafka` and the like, of databases and messaging.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Sums over the node's incoming edges.
    pub calls: u64,
    pub errors: u64,
    /// Layered layout, left to right: the layer from 0, and the position in units of a node's height and a layer's width.
    pub x: f64,
    pub y: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EdgeKind {
    Call,
    Messaging,
    Database,
    External,
    Entry,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Edge {
    /// Stable over time: made from kind, source and target. The `edge` parameter of `service-graph/spans`.
    pub id: String,
    /// Node ids.
    pub source: String,
    pub target: String,
    pub kind: EdgeKind,
    /// Stored spans that the edge counts.
    pub calls: u64,
    pub errors: u64,
    /// Of `calls`, the CLIENT spans whose peer is a known service that sent no span of its own.
    pub unpaired: u64,
    /// `calls` weighed by the sampling threshold (`ot=th`) of each span's trace state.
    pub estimated_calls: f64,
    /// Of the callee's spans, of the caller's where the callee has none.
    pub sum_ns: i64,
    pub p50_ns: i64,
    pub p95_ns: i64,
    pub p99_ns: i64,
    /// Latency as the caller saw it, where CLIENT spans of it are stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_p50_ns: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_p95_ns: Option<i64>,
    /// A few trace ids, those with errors first, then the slowest.
    pub exemplars: Vec<String>,
}

/// The very spans that an edge counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EdgeSpans {
    pub edge: String,
    /// All of them, however many `spans` holds.
    pub total: u64,
    /// Newest first; `depth`, `self_ns` and `critical` are not filled in. At most `limit` (1,000 by default, 100,000 at most).
    pub spans: Vec<SpanNode>,
    pub receipt: Receipt,
}
