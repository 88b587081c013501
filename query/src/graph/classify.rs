//! What a span counts as: the rules of the service graph, each span once, the first rule that fits. The one place that
//! decides, for the graph, for the drill-down and for roll-ups alike. Never looks at a window or a filter.

use hashbrown::{HashMap, HashSet};
use orrery_api::EdgeKind;

use super::known::Known;
use crate::spans::lineage::{REACH_NS, is_near};
use crate::spans::{Kind, Lineage, LinkTarget, Operation, SpanSet, Symbol, Symbols};

/// A CLIENT without an answer is pending for this long after its end, since the callee's spans may be on their way.
pub const PENDING_NS: i64 = 30_000_000_000;

/// An end of an edge; symbols of the span set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeKey {
    Service(Symbol),
    /// System, namespace or address.
    Database(Symbol, Symbol),
    /// System, destination.
    Messaging(Symbol, Symbol),
    External(Symbol),
    User,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EdgeKey {
    pub kind: EdgeKind,
    pub source: NodeKey,
    pub target: NodeKey,
}

/// A CLIENT without an answer that speaks of no database: which edge it is depends on what services are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    pub service: Symbol,
    /// What names the peer, the surest first: `peer.service`, `server.address`, the URL's host, `network.peer.address`.
    pub named: [Symbol; 4],
}

/// A root SERVER whose attributes name who called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    pub service: Symbol,
    /// `peer.service`, then `client.address`.
    pub named: [Symbol; 2],
}

/// Where a counted span's call goes, as far as the spans around it say. The same in every window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flow {
    Edge(EdgeKey),
    Peer(Peer),
    Caller(Caller),
}

impl Flow {
    /// Bits of what most of them differ in, for a place in a small table.
    #[inline]
    pub fn mixed(&self) -> u32 {
        let node = |node: &NodeKey| match *node {
            NodeKey::Service(a) | NodeKey::External(a) => a,
            NodeKey::Database(a, b) | NodeKey::Messaging(a, b) => a.rotate_left(6) ^ b,
            NodeKey::User => u32::MAX,
        };
        let named = |service: Symbol, named: &[Symbol]| named.iter().fold(service, |mixed, n| mixed.rotate_left(6) ^ n);
        match self {
            Self::Edge(edge) => node(&edge.source) ^ node(&edge.target).rotate_left(12),
            Self::Peer(peer) => named(peer.service, &peer.named),
            Self::Caller(caller) => named(caller.service, &caller.named),
        }
    }
}

/// What services are known decides where some flows go: the edge, and whether it is a call without an answer. `None`
/// where nothing names the peer.
pub fn resolve(flow: Flow, known: &Known, symbols: &Symbols) -> Option<(EdgeKey, bool)> {
    match flow {
        Flow::Edge(edge) => Some((edge, false)),
        Flow::Peer(Peer { service, named }) => {
            let source = NodeKey::Service(service);
            let names = || named.into_iter().filter(|n| *n != 0);
            if let Some(target) = names().find_map(|peer| known.resolve(symbols, peer, service)) {
                return Some((EdgeKey { kind: EdgeKind::Call, source, target: NodeKey::Service(target) }, true));
            }
            let [peer_service, server_address, url_host, peer_address] = named;
            let mut host = [server_address, url_host, peer_service, peer_address].into_iter().filter(|h| *h != 0);
            host.next()
                .map(|host| (EdgeKey { kind: EdgeKind::External, source, target: NodeKey::External(host) }, false))
        }
        Flow::Caller(Caller { service, named }) => {
            let names = || named.into_iter().filter(|n| *n != 0);
            let found = names().find_map(|n| known.resolve(symbols, n, service)).filter(|&found| found != service);
            let source = match (found, names().next()) {
                (Some(service), _) => NodeKey::Service(service),
                (None, Some(first)) => NodeKey::External(first),
                (None, None) => NodeKey::User,
            };
            Some((EdgeKey { kind: EdgeKind::Entry, source, target: NodeKey::Service(service) }, false))
        }
    }
}

/// The spans with all that the rules ask of their neighbours.
pub struct Classifier<'a> {
    spans: &'a SpanSet,
    lineage: &'a Lineage,
    now_ns: i64,
    /// Of each span, whether a child is in another service, or is a SERVER under this CLIENT.
    answered: &'a [bool],
    /// `create` beside its `send`, `receive` beside its `process`.
    beside: &'a HashSet<u32>,
}

/// A span's flow, and the CLIENT on the caller's side of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Flow(Flow, Option<usize>),
    Pending,
    Nothing,
}

impl<'a> Classifier<'a> {
    pub const fn new(
        spans: &'a SpanSet,
        lineage: &'a Lineage,
        answered: &'a [bool],
        beside: &'a HashSet<u32>,
        now_ns: i64,
    ) -> Self {
        Self { spans, lineage, now_ns, answered, beside }
    }

    pub fn flow(&self, i: usize) -> Found {
        let s = self.spans;
        let edge = |kind, source, target| Flow::Edge(EdgeKey { kind, source, target });
        if let Some(role) = messaging_role(s, i) {
            if self.beside.contains(&(i as u32)) {
                return Found::Nothing;
            }
            return Found::Flow(Flow::Edge(self.messaging_edge(i, role)), None);
        }
        let service = NodeKey::Service(s.service[i]);
        if let Some(parent) = self.lineage.parent(i)
            && is_call(s, parent, i)
        {
            let source = NodeKey::Service(s.service[parent]);
            let client = (s.kind[parent] == Kind::Client).then_some(parent);
            return Found::Flow(edge(EdgeKind::Call, source, service), client);
        }
        if s.kind[i] == Kind::Client && !self.answered[i] {
            return self.unanswered(i);
        }
        if s.kind[i] == Kind::Server && self.lineage.is_root(i) {
            let semantics = s.semantics(i);
            let named = [semantics.peer_service, semantics.client];
            let flow = if named == [0, 0] {
                edge(EdgeKind::Entry, NodeKey::User, service)
            } else {
                Flow::Caller(Caller { service: s.service[i], named })
            };
            return Found::Flow(flow, None);
        }
        Found::Nothing
    }

    /// A CLIENT with no call child: a database, a peer, or nothing.
    fn unanswered(&self, i: usize) -> Found {
        let s = self.spans;
        let semantics = s.semantics(i);
        if semantics.is_database {
            let place = [semantics.db_namespace, semantics.server_address, semantics.url_host, semantics.peer_address];
            let place = place.into_iter().find(|p| *p != 0).unwrap_or(0);
            let target = NodeKey::Database(semantics.db_system, place);
            let source = NodeKey::Service(s.service[i]);
            return Found::Flow(Flow::Edge(EdgeKey { kind: EdgeKind::Database, source, target }), None);
        }
        if self.now_ns.saturating_sub(s.end_ns(i)) < PENDING_NS {
            return Found::Pending;
        }
        match peers(semantics) {
            [0, 0, 0, 0] => Found::Nothing,
            named => Found::Flow(Flow::Peer(Peer { service: s.service[i], named }), None),
        }
    }

    fn messaging_edge(&self, i: usize, role: Role) -> EdgeKey {
        let s = self.spans;
        let service = NodeKey::Service(s.service[i]);
        let own = s.semantics(i);
        let (mut system, mut destination) = (own.messaging_system, own.destination);
        if destination == 0 {
            let linked = s.links(i).iter().flat_map(|link| s.find(*link));
            for other in self.lineage.parent(i).into_iter().chain(linked) {
                let other = s.semantics(other);
                if other.destination != 0 {
                    destination = other.destination;
                    system = if system == 0 { other.messaging_system } else { system };
                    break;
                }
            }
        }
        let broker = NodeKey::Messaging(system, destination);
        let (source, target) = if role == Role::Producer { (service, broker) } else { (broker, service) };
        EdgeKey { kind: EdgeKind::Messaging, source, target }
    }
}

/// What names a CLIENT's peer, the surest first; 0 where a name is absent.
pub fn peers(semantics: &crate::spans::Semantics) -> [Symbol; 4] {
    [semantics.peer_service, semantics.server_address, semantics.url_host, semantics.peer_address]
}

/// Whether a child is a call of its parent: it is in another service, or a SERVER under a CLIENT.
pub fn is_call(s: &SpanSet, parent: usize, child: usize) -> bool {
    s.service[parent] != s.service[child] || (s.kind[child] == Kind::Server && s.kind[parent] == Kind::Client)
}

pub fn answered(s: &SpanSet, lineage: &Lineage) -> Vec<bool> {
    let mut answered = vec![false; s.len()];
    for i in 0..s.len() {
        if let Some(parent) = lineage.parent(i)
            && is_call(s, parent, i)
            && s.start_ns[i] <= s.end_ns(parent).saturating_add(REACH_NS)
        {
            answered[parent] = true;
        }
    }
    answered
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Producer,
    Consumer,
}

/// The side of a queue that a span is on, if any. What was sent decides before the kind does: `receive` is sent as a
/// CLIENT by some.
pub fn messaging_role(s: &SpanSet, i: usize) -> Option<Role> {
    match (s.semantics(i).operation, s.kind[i]) {
        (Operation::Settle, _) => None,
        (Operation::Send, _) | (_, Kind::Producer) => Some(Role::Producer),
        (_, Kind::Consumer) | (Operation::Receive | Operation::Process, Kind::Client) => Some(Role::Consumer),
        _ => None,
    }
}

/// Whether a span is one that another may be counted for: [`beside`] it.
pub fn is_minor(s: &SpanSet, i: usize) -> bool {
    matches!(s.semantics(i).operation, Operation::Create | Operation::Receive)
}

/// Whether a span is one that others may be beside.
pub fn is_major(s: &SpanSet, i: usize) -> bool {
    matches!(s.semantics(i).operation, Operation::Send | Operation::Process)
}

/// Siblings of one destination in one service: (trace, parent id, service, destination).
type SiblingKey = (u32, u64, Symbol, Symbol);

/// The `create` spans beside their `send`, and the `receive` spans beside their `process`: one is the parent of the
/// other, links to it, is its sibling for the same destination, or links to the same message; and they start within
/// [`REACH_NS`] of one another.
pub fn beside(s: &SpanSet, lineage: &Lineage) -> HashSet<u32> {
    let with =
        |wanted: Operation| (0..s.len()).filter(move |&i| s.semantics(i).operation == wanted).collect::<Vec<usize>>();
    let near = |a: usize, b: usize| is_near(s.start_ns[a], s.start_ns[b], REACH_NS);
    let mut found = HashSet::new();
    for (minor, major) in [(Operation::Create, Operation::Send), (Operation::Receive, Operation::Process)] {
        let minors = with(minor);
        if minors.is_empty() {
            continue;
        }
        let majors = with(major);
        let sibling = |i: usize| -> Option<SiblingKey> {
            (s.parent[i] != 0).then(|| (s.trace[i], s.parent[i], s.service[i], s.semantics(i).destination))
        };
        let is_minor_of =
            |i: usize, of: usize| s.semantics(i).operation == minor && s.service[i] == s.service[of] && near(i, of);
        let mut siblings: HashMap<SiblingKey, Vec<usize>> = HashMap::new();
        let mut messages: HashMap<(Symbol, LinkTarget), Vec<usize>> = HashMap::new();
        for &m in &majors {
            if let Some(key) = sibling(m) {
                siblings.entry(key).or_default().push(m);
            }
            if let Some(parent) = lineage.parent(m).filter(|&p| is_minor_of(p, m)) {
                found.insert(parent as u32);
            }
            for link in s.links(m) {
                messages.entry((s.service[m], *link)).or_default().push(m);
                found.extend(s.find(*link).filter(|&l| is_minor_of(l, m)).map(|l| l as u32));
            }
        }
        let any_near =
            |i: usize, majors: Option<&Vec<usize>>| majors.is_some_and(|all| all.iter().any(|&m| near(i, m)));
        for &i in &minors {
            let under = lineage.parent(i).is_some_and(|p| {
                minor == Operation::Create
                    && s.semantics(p).operation == major
                    && s.service[p] == s.service[i]
                    && near(p, i)
            });
            let same_message = s.links(i).iter().any(|l| any_near(i, messages.get(&(s.service[i], *l))));
            if under || same_message || sibling(i).is_some_and(|key| any_near(i, siblings.get(&key))) {
                found.insert(i as u32);
            }
        }
    }
    found
}
