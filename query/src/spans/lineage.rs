//! Who is whose child, one rule for the trace tree, the graph and the services: of the spans that carry the parent's
//! id, which one is meant. How far apart two spans may be is the caller's to say: a trace's tree knows no bound, the
//! graph has one ([`REACH_NS`]), so that what it says of a span depends on no window. A clock that is skewed by less
//! changes no edge.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::Kind;

/// The parent of a span that names none.
pub const ROOT: u32 = u32::MAX;
/// The parent of a span that names one that is not here.
pub const MISSING: u32 = u32::MAX - 1;
const END: u32 = u32::MAX;

/// How far after a span its parent may start, how far apart client and server of one id may start, and how long after
/// a CLIENT's end its answer may start. Before a span its parent is looked for without a bound.
pub const REACH_NS: i64 = 120_000_000_000;
/// No bound.
pub const ANY_DISTANCE_NS: i64 = i64::MAX;

/// The columns that say which span a span is.
#[derive(Clone, Copy)]
pub struct Keys<'a> {
    pub trace: &'a [u32],
    pub span: &'a [u64],
    pub kind: &'a [Kind],
}

impl Keys<'_> {
    #[inline]
    fn are(&self, i: u32, trace: u32, span: u64) -> bool {
        self.span[i as usize] == span && self.trace[i as usize] == trace
    }

    #[inline]
    fn hash(&self, i: u32) -> u64 {
        hash(self.trace[i as usize], self.span[i as usize])
    }
}

/// The columns that say whose child a span is.
pub struct Ids<'a> {
    pub keys: Keys<'a>,
    /// 0 for none.
    pub parent: &'a [u64],
    pub service: &'a [u32],
    pub start_ns: &'a [i64],
    /// See [`REACH_NS`].
    pub reach_ns: i64,
}

/// From (trace, span id) to the spans that carry it: mostly one, two where client and server share an id. Holds numbers
/// of spans only; who they are is in the columns.
#[derive(Debug, Default)]
pub struct Index {
    first: HashTable<u32>,
    /// The next span with the same id, by span.
    next: Vec<u32>,
}

impl Index {
    /// Makes room for so many spans more.
    pub fn reserve(&mut self, more: usize, keys: Keys<'_>) {
        self.first.reserve(more, |&i| keys.hash(i));
        self.next.reserve(more);
    }

    /// Adds the span that comes next to the columns. Where one with the same ids and kind is in, gives that one and adds
    /// nothing.
    #[inline]
    pub fn insert(&mut self, keys: Keys<'_>, trace: u32, span: u64, kind: Kind) -> Option<u32> {
        debug_assert_eq!(self.next.len(), keys.span.len());
        let i = u32::try_from(self.next.len()).expect("fewer than 2^32 spans");
        match self.first.entry(hash(trace, span), |&at| keys.are(at, trace, span), |&at| keys.hash(at)) {
            Entry::Vacant(slot) => {
                slot.insert(i);
            }
            Entry::Occupied(slot) => {
                let mut at = *slot.get();
                loop {
                    if keys.kind[at as usize] == kind {
                        return Some(at);
                    }
                    if self.next[at as usize] == END {
                        break;
                    }
                    at = self.next[at as usize];
                }
                self.next[at as usize] = i;
            }
        }
        self.next.push(END);
        None
    }

    /// Adds a span without an id, which nothing finds.
    pub fn insert_unnamed(&mut self) {
        self.next.push(END);
    }

    /// The spans of an id, in the order they were added.
    pub fn all(&self, keys: Keys<'_>, trace: u32, span: u64) -> impl Iterator<Item = u32> + Clone + '_ {
        let first = self.first.find(hash(trace, span), |&at| keys.are(at, trace, span)).copied();
        std::iter::successors(first, |&at| Some(self.next[at as usize]).filter(|&n| n != END))
    }
}

/// Span ids are random mostly; where they are not, this spreads them.
#[inline]
fn hash(trace: u32, span: u64) -> u64 {
    let mixed = (span ^ u64::from(trace).wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ (mixed >> 32)
}

/// The parent of each span: its number, [`ROOT`] or [`MISSING`].
#[derive(Debug)]
pub struct Lineage {
    pub parent: Vec<u32>,
}

impl Lineage {
    pub fn parent(&self, i: usize) -> Option<usize> {
        Some(self.parent[i]).filter(|&p| p < MISSING).map(|p| p as usize)
    }

    pub fn is_root(&self, i: usize) -> bool {
        self.parent[i] == ROOT
    }

    pub fn is_missing(&self, i: usize) -> bool {
        self.parent[i] == MISSING
    }
}

/// Finds each span's parent. A SERVER that has its CLIENT's id is that client's child. Where several spans carry the
/// parent's id, those that started last are looked at, and of them the one in the child's own service is meant, else the
/// SERVER. A span is never its own parent.
pub fn resolve(ids: &Ids<'_>, index: &Index) -> Lineage {
    let parent = (0..ids.keys.span.len()).map(|i| parent_of(ids, index, i)).collect();
    Lineage { parent }
}

/// Whether two starts are within a reach of one another.
pub fn is_near(a_ns: i64, b_ns: i64, reach_ns: i64) -> bool {
    a_ns.abs_diff(b_ns) <= reach_ns.unsigned_abs()
}

fn parent_of(ids: &Ids<'_>, index: &Index, i: usize) -> u32 {
    let keys = ids.keys;
    let (trace, start_ns) = (keys.trace[i], ids.start_ns[i]);
    let starts = |candidate: u32| ids.start_ns[candidate as usize];
    let is_client = |&c: &u32| keys.kind[c as usize] == Kind::Client && is_near(starts(c), start_ns, ids.reach_ns);
    if keys.kind[i] == Kind::Server
        && keys.span[i] != 0
        && let Some(client) = index.all(keys, trace, keys.span[i]).find(is_client)
    {
        return client;
    }
    if ids.parent[i] == 0 {
        return ROOT;
    }
    let until = start_ns.saturating_add(ids.reach_ns);
    let candidates = index.all(keys, trace, ids.parent[i]).filter(|&c| c as usize != i && starts(c) <= until);
    let Some(last) = candidates.clone().map(starts).max() else { return MISSING };
    let rank = |&candidate: &u32| {
        let c = candidate as usize;
        let same_service = ids.service[c] == ids.service[i];
        (same_service, keys.kind[c] == Kind::Server, std::cmp::Reverse(keys.kind[c]), std::cmp::Reverse(candidate))
    };
    candidates.filter(|&c| is_near(starts(c), last, ids.reach_ns)).max_by_key(rank).unwrap_or(MISSING)
}
