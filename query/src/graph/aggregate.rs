//! From classified spans to nodes and edges with their numbers. Holds one accumulator an edge and never a span.

use hashbrown::HashMap;
use orrery_api::{Edge, EdgeKind, Node, NodeKind};

use super::classify::{Class, Classifier, EdgeKey, NodeKey};
use crate::histogram::Histogram;
use crate::spans::{Lineage, SpanSet, trace_id_hex};

/// Trace ids that an edge shows.
const EXEMPLARS: usize = 5;
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

#[derive(Default)]
struct Totals {
    calls: u64,
    errors: u64,
    unpaired: u64,
    estimated: f64,
    latency: Histogram,
    client: Histogram,
    exemplars: Exemplars,
}

/// The few spans worth opening: errors first, then the slowest.
#[derive(Default)]
struct Exemplars(Vec<(bool, i64, u128)>);

impl Exemplars {
    fn offer(&mut self, error: bool, duration_ns: i64, trace: u128) {
        let entry = (error, duration_ns, trace);
        if self.0.len() == EXEMPLARS && self.0.last().is_some_and(|last| *last >= entry) {
            return;
        }
        if let Some(same) = self.0.iter_mut().find(|e| e.2 == trace) {
            *same = (*same).max(entry);
        } else {
            self.0.push(entry);
        }
        self.0.sort_unstable_by(|a, b| b.cmp(a));
        self.0.truncate(EXEMPLARS);
    }
}

/// Counts every span that the request takes in. Services without an edge are nodes too.
pub fn aggregate(spans: &SpanSet, lineage: &Lineage, classifier: &Classifier<'_>) -> Aggregated {
    let mut totals: HashMap<EdgeKey, Totals> = HashMap::new();
    let (mut pending, mut children, mut parents_seen) = (0, 0_u64, 0_u64);
    let mut services = vec![false; 0];
    for i in (0..spans.len()).filter(|&i| spans.counted[i]) {
        if !lineage.is_root(i) {
            children += 1;
            parents_seen += u64::from(!lineage.is_missing(i));
        }
        let service = spans.service[i] as usize;
        if service >= services.len() {
            services.resize(service + 1, false);
        }
        services[service] = true;
        match classifier.classify(i) {
            Class::Pending => pending += 1,
            Class::Uncounted => {}
            Class::Counted { edge, client, unpaired } => {
                count(spans, totals.entry(edge).or_default(), i, client, unpaired)
            }
        }
    }
    let mut nodes: HashMap<NodeKey, Node> = HashMap::new();
    let seen = services.iter().enumerate().filter(|(_, seen)| **seen).map(|(s, _)| NodeKey::Service(s as u32));
    for key in seen.chain(totals.keys().flat_map(|e| [e.source, e.target])) {
        nodes.entry(key).or_insert_with(|| node(spans, key));
    }
    for (edge, t) in &totals {
        if let Some(node) = nodes.get_mut(&edge.target) {
            node.calls += t.calls;
            node.errors += t.errors;
        }
    }
    let mut edges: Vec<Edge> = totals.iter().map(|(key, t)| edge(spans, key, t)).collect();
    edges.sort_by(|a, b| (&a.source, &a.target, a.kind).cmp(&(&b.source, &b.target, b.kind)));
    let mut nodes: Vec<Node> = nodes.into_values().collect();
    nodes.sort_by(|a, b| a.id.cmp(&b.id));
    let completeness = if children == 0 { 1.0 } else { parents_seen as f64 / children as f64 };
    Aggregated { nodes, edges, completeness, pending }
}

fn count(spans: &SpanSet, t: &mut Totals, i: usize, client: Option<usize>, unpaired: bool) {
    let error = spans.error[i] || client.is_some_and(|c| spans.error[c]);
    t.calls += 1;
    t.errors += u64::from(error);
    t.unpaired += u64::from(unpaired);
    t.estimated += f64::from(spans.weight[i]);
    t.latency.record(spans.duration_ns[i]);
    if let Some(client) = client {
        t.client.record(spans.duration_ns[client]);
    }
    t.exemplars.offer(error, spans.duration_ns[i], spans.trace_id(i));
}

fn edge(spans: &SpanSet, key: &EdgeKey, t: &Totals) -> Edge {
    let client = |q| (t.client.count() > 0).then(|| t.client.quantile(q));
    Edge {
        id: edge_id(spans, key),
        source: node_id(spans, key.source),
        target: node_id(spans, key.target),
        kind: key.kind,
        calls: t.calls,
        errors: t.errors,
        unpaired: t.unpaired,
        estimated_calls: t.estimated,
        sum_ns: t.latency.sum(),
        p50_ns: t.latency.quantile(0.5),
        p95_ns: t.latency.quantile(0.95),
        p99_ns: t.latency.quantile(0.99),
        client_p50_ns: client(0.5),
        client_p95_ns: client(0.95),
        exemplars: t.exemplars.0.iter().map(|e| trace_id_hex(e.2)).collect(),
    }
}

/// The id of an edge: its kind and a hash of kind, source and target (FNV-1a, 64 bits), so that it is the same in every
/// window, and in a URL as it stands.
pub fn edge_id(spans: &SpanSet, key: &EdgeKey) -> String {
    let kind = kind_word(key.kind);
    let text = [kind, &node_id(spans, key.source), &node_id(spans, key.target)].join("\n");
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

const fn kind_word(kind: EdgeKind) -> &'static str {
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

pub fn node_id(spans: &SpanSet, key: NodeKey) -> String {
    let text = |s| spans.symbols.text(s);
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

fn node(spans: &SpanSet, key: NodeKey) -> Node {
    let text = |s| spans.symbols.text(s);
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
        id: node_id(spans, key),
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
