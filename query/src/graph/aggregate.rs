//! From counted flows to nodes and edges with their numbers. Holds one accumulator an edge and never a span.

use hashbrown::{HashMap, HashSet};
use orrery_api::{Edge, EdgeKind, Node, NodeKind};

use super::classify::{EdgeKey, Flow, NodeKey, resolve};
use super::known::Known;
use super::prepare::Prepared;
use super::totals::{Call, Totals};
use crate::spans::{SpanSet, Symbol, Symbols, trace_id_hex};

/// Stands for a system, namespace or destination that no span names.
const UNKNOWN: &str = "unknown";

/// The graph without positions.
#[derive(Debug)]
pub struct Aggregated {
    pub nodes: Vec<Node>,
    /// By source, target and kind.
    pub edges: Vec<Edge>,
    pub completeness: f64,
    pub pending: u64,
}

/// The graph while it is added up.
#[derive(Default)]
pub struct Aggregate {
    edges: HashMap<EdgeKey, Counted>,
    /// Services without an edge are nodes too.
    services: HashSet<Symbol>,
    children: u64,
    parents_seen: u64,
    pending: u64,
}

#[derive(Default)]
struct Counted {
    totals: Totals,
    unpaired: u64,
}

impl Aggregate {
    /// Adds the calls of a flow. A [`Flow::Peer`]'s have no client's latency; where the peer is a known service, the calls'
    /// own is that.
    pub fn add_flow(&mut self, flow: Flow, totals: &Totals, known: &Known, symbols: &Symbols) {
        let Some((edge, unpaired)) = resolve(flow, known, symbols) else { return };
        let counted = self.edges.entry(edge).or_default();
        counted.totals.merge(totals);
        if unpaired {
            counted.unpaired += totals.calls();
            counted.totals.client.merge(&totals.latency);
        }
    }

    pub fn add_service(&mut self, service: Symbol) {
        self.services.insert(service);
    }

    /// Spans that name a parent, and how many of these parents are missing.
    pub fn add_children(&mut self, children: u64, missing: u64) {
        self.children += children;
        self.parents_seen += children - missing;
    }

    pub fn add_pending(&mut self, pending: u64) {
        self.pending += pending;
    }

    pub fn finish(self, symbols: &Symbols) -> Aggregated {
        let mut nodes: HashMap<NodeKey, Node> = HashMap::new();
        let seen = self.services.iter().map(|s| NodeKey::Service(*s));
        for key in seen.chain(self.edges.keys().flat_map(|e| [e.source, e.target])) {
            nodes.entry(key).or_insert_with(|| node(symbols, key));
        }
        for (edge, counted) in &self.edges {
            if let Some(node) = nodes.get_mut(&edge.target) {
                node.calls += counted.totals.calls();
                node.errors += counted.totals.errors;
            }
        }
        let mut edges: Vec<Edge> = self.edges.iter().map(|(key, counted)| edge(symbols, key, counted)).collect();
        edges.sort_by(|a, b| (&a.source, &a.target, a.kind).cmp(&(&b.source, &b.target, b.kind)));
        let mut nodes: Vec<Node> = nodes.into_values().collect();
        nodes.sort_by(|a, b| a.id.cmp(&b.id));
        let share = self.parents_seen as f64 / self.children as f64;
        let completeness = if self.children == 0 { 1.0 } else { share };
        Aggregated { nodes, edges, completeness, pending: self.pending }
    }
}

/// A counted span as a call.
pub fn call(prepared: &Prepared, i: usize, client: Option<usize>) -> Call {
    let spans = &prepared.spans;
    Call {
        error: is_error(spans, i, client),
        duration_ns: spans.duration_ns[i],
        client_ns: client.map(|c| spans.duration_ns[c]),
        weight: spans.weight[i],
        trace: spans.trace_id(i),
    }
}

/// Whether a call failed, as one of both sides says.
pub fn is_error(spans: &SpanSet, i: usize, client: Option<usize>) -> bool {
    spans.error[i] || client.is_some_and(|c| spans.error[c])
}

fn edge(symbols: &Symbols, key: &EdgeKey, counted: &Counted) -> Edge {
    let t = &counted.totals;
    let client = |q| (t.client.count() > 0).then(|| t.client.quantile(q));
    Edge {
        id: edge_id(symbols, key),
        source: node_id(symbols, key.source),
        target: node_id(symbols, key.target),
        kind: key.kind,
        calls: t.calls(),
        errors: t.errors,
        unpaired: counted.unpaired,
        estimated_calls: t.weight.value(),
        sum_ns: t.latency.sum(),
        p50_ns: t.latency.quantile(0.5),
        p95_ns: t.latency.quantile(0.95),
        p99_ns: t.latency.quantile(0.99),
        client_p50_ns: client(0.5),
        client_p95_ns: client(0.95),
        exemplars: t.exemplars.0.iter().map(|e| trace_id_hex(e.trace)).collect(),
    }
}

/// The id of an edge: its kind and a hash of kind, source and target (FNV-1a, 64 bits), so that it is the same in every
/// window, and in a URL as it stands.
pub fn edge_id(symbols: &Symbols, key: &EdgeKey) -> String {
    let kind = kind_word(key.kind);
    let text = [kind, &node_id(symbols, key.source), &node_id(symbols, key.target)].join("\n");
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    format!("{kind}-{hash:016x}")
}

/// Whether a text has the form of an edge id.
pub fn is_edge_id(text: &str) -> bool {
    let kinds = [EdgeKind::Call, EdgeKind::Messaging, EdgeKind::Database, EdgeKind::External, EdgeKind::Entry];
    text.split_once('-').is_some_and(|(kind, hash)| {
        kinds.iter().any(|k| kind_word(*k) == kind) && hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

pub const fn kind_word(kind: EdgeKind) -> &'static str {
    match kind {
        EdgeKind::Call => "call",
        EdgeKind::Messaging => "messaging",
        EdgeKind::Database => "database",
        EdgeKind::External => "external",
        EdgeKind::Entry => "entry",
    }
}

fn or_unknown(text: &str) -> &str {
    if text.is_empty() { UNKNOWN } else { text }
}

pub fn node_id(symbols: &Symbols, key: NodeKey) -> String {
    let text = |s| symbols.text(s);
    match key {
        NodeKey::Service(id) => format!("service:{}", text(id)),
        NodeKey::Database(system, place) => {
            format!("database:{}/{}", or_unknown(text(system)), or_unknown(text(place)))
        }
        NodeKey::Messaging(system, to) => format!("messaging:{}/{}", or_unknown(text(system)), or_unknown(text(to))),
        NodeKey::External(host) => format!("external:{}", text(host)),
        NodeKey::User => "user".to_owned(),
    }
}

fn node(symbols: &Symbols, key: NodeKey) -> Node {
    let text = |s| symbols.text(s);
    let (kind, name, namespace, system) = match key {
        NodeKey::Service(id) => match text(id).rsplit_once('/') {
            Some((namespace, name)) => (NodeKind::Service, name, Some(namespace), None),
            None => (NodeKind::Service, text(id), None, None),
        },
        NodeKey::Database(system, place) => {
            (NodeKind::Database, or_unknown(text(place)), None, Some(or_unknown(text(system))))
        }
        NodeKey::Messaging(system, to) => {
            (NodeKind::Messaging, or_unknown(text(to)), None, Some(or_unknown(text(system))))
        }
        NodeKey::External(host) => (NodeKind::External, text(host), None, None),
        NodeKey::User => (NodeKind::User, "user", None, None),
    };
    Node {
        id: node_id(symbols, key),
        kind,
        name: name.to_owned(),
        namespace: namespace.map(str::to_owned),
        system: system.map(str::to_owned),
        calls: 0,
        errors: 0,
        x: 0.0,
        y: 0.0,
    }
}
