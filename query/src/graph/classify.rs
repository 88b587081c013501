//! What a span counts as: the rules of the service graph, each span once, the first rule that fits. The one place that
//! decides, for the graph and for the drill-down alike. Never looks at a window or a filter.

use hashbrown::{HashMap, HashSet};
use orrery_api::EdgeKind;

use super::known::Known;
use crate::spans::{Kind, Lineage, LinkTarget, Operation, SpanSet, Symbol};

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

/// What one span is to the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Counted {
        edge: EdgeKey,
        /// The CLIENT span on the caller's side of a call.
        client: Option<usize>,
        /// The peer is a known service that sent no span of its own.
        unpaired: bool,
    },
    /// A CLIENT whose answer may still come.
    Pending,
    Uncounted,
}

/// The spans with all that the rules ask of their neighbours.
pub struct Classifier<'a> {
    spans: &'a SpanSet,
    lineage: &'a Lineage,
    known: &'a Known,
    now_ns: i64,
    /// Whether a child is in another service, or is a SERVER under this CLIENT.
    answered: Vec<bool>,
    /// `create` beside its `send`, `receive` beside its `process`.
    beside: HashSet<u32>,
}

impl<'a> Classifier<'a> {
    pub fn new(spans: &'a SpanSet, lineage: &'a Lineage, known: &'a Known, now_ns: i64) -> Self {
        let answered = answered(spans, lineage);
        Self { spans, lineage, known, now_ns, answered, beside: beside(spans, lineage) }
    }

    pub fn classify(&self, i: usize) -> Class {
        let s = self.spans;
        let counted = |edge| Class::Counted { edge, client: None, unpaired: false };
        if let Some(role) = messaging_role(s, i) {
            if self.beside.contains(&(i as u32)) {
                return Class::Uncounted;
            }
            return counted(self.messaging_edge(i, role));
        }
        let service = NodeKey::Service(s.service[i]);
        if let Some(parent) = self.lineage.parent(i)
            && is_call(s, parent, i)
        {
            let source = NodeKey::Service(s.service[parent]);
            let client = (s.kind[parent] == Kind::Client).then_some(parent);
            return Class::Counted {
                edge: EdgeKey { kind: EdgeKind::Call, source, target: service },
                client,
                unpaired: false,
            };
        }
        if s.kind[i] == Kind::Client && !self.answered[i] {
            return self.unanswered(i);
        }
        if s.kind[i] == Kind::Server && self.lineage.is_root(i) {
            return counted(EdgeKey { kind: EdgeKind::Entry, source: self.caller(i), target: service });
        }
        Class::Uncounted
    }

    /// A CLIENT with no call child: a database, a peer, or nothing.
    fn unanswered(&self, i: usize) -> Class {
        let s = self.spans;
        let semantics = s.semantics(i);
        let source = NodeKey::Service(s.service[i]);
        let edge = |kind, target| EdgeKey { kind, source, target };
        if semantics.is_database {
            let place = [semantics.db_namespace, semantics.server_address, semantics.url_host, semantics.peer_address];
            let place = place.into_iter().find(|p| *p != 0).unwrap_or(0);
            let edge = edge(EdgeKind::Database, NodeKey::Database(semantics.db_system, place));
            return Class::Counted { edge, client: None, unpaired: false };
        }
        let end = s.start_ns[i].saturating_add(s.duration_ns[i].max(0));
        if self.now_ns.saturating_sub(end) < PENDING_NS {
            return Class::Pending;
        }
        if let Some(service) = peers(semantics).find_map(|peer| self.known.resolve(s, peer, s.service[i])) {
            let edge = edge(EdgeKind::Call, NodeKey::Service(service));
            return Class::Counted { edge, client: Some(i), unpaired: true };
        }
        let host = [semantics.server_address, semantics.url_host, semantics.peer_service, semantics.peer_address];
        match host.into_iter().find(|h| *h != 0) {
            Some(host) => {
                let edge = edge(EdgeKind::External, NodeKey::External(host));
                Class::Counted { edge, client: None, unpaired: false }
            }
            None => Class::Uncounted,
        }
    }

    /// Who called a root SERVER: what its attributes name, else the user.
    fn caller(&self, i: usize) -> NodeKey {
        let s = self.spans;
        let semantics = s.semantics(i);
        let named = [semantics.peer_service, semantics.client];
        let mut named = named.into_iter().filter(|n| *n != 0);
        let Some(first) = named.clone().next() else { return NodeKey::User };
        let service = named.find_map(|n| self.known.resolve(s, n, s.service[i])).filter(|&found| found != s.service[i]);
        service.map_or(NodeKey::External(first), NodeKey::Service)
    }

    fn messaging_edge(&self, i: usize, role: Role) -> EdgeKey {
        let s = self.spans;
        let service = NodeKey::Service(s.service[i]);
        let own = s.semantics(i);
        let (mut system, mut destination) = (own.messaging_system, own.destination);
        if destination == 0 {
            let linked = s.links(i).iter().filter_map(|l| s.find(l.trace, l.span));
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

/// What names a CLIENT's peer, the surest first.
pub fn peers(semantics: &crate::spans::Semantics) -> impl Iterator<Item = Symbol> + use<> {
    [semantics.peer_service, semantics.server_address, semantics.url_host, semantics.peer_address]
        .into_iter()
        .filter(|p| *p != 0)
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

/// Siblings of one destination in one service: (trace, parent id, service, destination).
type SiblingKey = (u32, u64, Symbol, Symbol);

/// The `create` spans beside their `send`, and the `receive` spans beside their `process`: one is the parent of the
/// other, links to it, is its sibling for the same destination, or links to the same message.
fn beside(s: &SpanSet, lineage: &Lineage) -> HashSet<u32> {
    let with =
        |wanted: Operation| (0..s.len()).filter(move |&i| s.semantics(i).operation == wanted).collect::<Vec<usize>>();
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
        let is_minor = |i: usize, of: usize| s.semantics(i).operation == minor && s.service[i] == s.service[of];
        let mut siblings: HashSet<SiblingKey> = HashSet::new();
        let mut messages: HashMap<(Symbol, LinkTarget), ()> = HashMap::new();
        for &m in &majors {
            siblings.extend(sibling(m));
            if let Some(parent) = lineage.parent(m).filter(|&p| is_minor(p, m)) {
                found.insert(parent as u32);
            }
            for link in s.links(m) {
                messages.insert((s.service[m], *link), ());
                if let Some(linked) = s.find(link.trace, link.span).filter(|&l| is_minor(l, m)) {
                    found.insert(linked as u32);
                }
            }
        }
        for &i in &minors {
            let under = lineage.parent(i).is_some_and(|p| {
                minor == Operation::Create && s.semantics(p).operation == major && s.service[p] == s.service[i]
            });
            let same_message = s.links(i).iter().any(|l| messages.contains_key(&(s.service[i], *l)));
            if under || same_message || sibling(i).is_some_and(|key| siblings.contains(&key)) {
                found.insert(i as u32);
            }
        }
    }
    found
}
