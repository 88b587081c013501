//! Who is whose child, one rule for the trace tree, the graph and the services: of the spans that carry the parent's
//! id, which one is meant. How far apart two spans may be is the caller's to say: a trace's tree knows no bound, the
//! graph has one ([`REACH_NS`]), so that what it says of a span depends on no window. A clock that is skewed by less
//! changes no edge.

use hashbrown::HashMap;

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

/// The columns that say who a span is.
pub struct Ids<'a> {
    pub trace: &'a [u32],
    pub span: &'a [u64],
    /// 0 for none.
    pub parent: &'a [u64],
    pub kind: &'a [Kind],
    pub service: &'a [u32],
    pub start_ns: &'a [i64],
    /// See [`REACH_NS`].
    pub reach_ns: i64,
}

/// From (trace, span id) to the spans that carry it: mostly one, two where client and server share an id.
#[derive(Debug, Default)]
pub struct Index {
    first: HashMap<(u32, u64), u32>,
    /// The next span with the same id, by span.
    next: Vec<u32>,
}

impl Index {
    /// Adds span `i`, which must be the number of spans added before it. Where a span with the same ids and kind is in,
    /// gives that one and adds nothing.
    pub fn insert(&mut self, kinds: &[Kind], trace: u32, span: u64, kind: Kind, i: u32) -> Option<u32> {
        debug_assert_eq!(self.next.len(), i as usize);
        match self.first.entry((trace, span)) {
            hashbrown::hash_map::Entry::Vacant(slot) => {
                slot.insert(i);
            }
            hashbrown::hash_map::Entry::Occupied(slot) => {
                let mut at = *slot.get();
                loop {
                    if kinds[at as usize] == kind {
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

    pub fn first(&self, trace: u32, span: u64) -> Option<u32> {
        self.first.get(&(trace, span)).copied()
    }

    fn all(&self, trace: u32, span: u64) -> impl Iterator<Item = u32> + Clone + '_ {
        std::iter::successors(self.first(trace, span), |&at| Some(self.next[at as usize]).filter(|&n| n != END))
    }
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
    let parent = (0..ids.span.len()).map(|i| parent_of(ids, index, i)).collect();
    Lineage { parent }
}

/// Whether two starts are within a reach of one another.
pub fn is_near(a_ns: i64, b_ns: i64, reach_ns: i64) -> bool {
    a_ns.abs_diff(b_ns) <= reach_ns.unsigned_abs()
}

fn parent_of(ids: &Ids<'_>, index: &Index, i: usize) -> u32 {
    let (trace, start_ns) = (ids.trace[i], ids.start_ns[i]);
    let starts = |candidate: u32| ids.start_ns[candidate as usize];
    let is_client = |&c: &u32| ids.kind[c as usize] == Kind::Client && is_near(starts(c), start_ns, ids.reach_ns);
    if ids.kind[i] == Kind::Server
        && ids.span[i] != 0
        && let Some(client) = index.all(trace, ids.span[i]).find(is_client)
    {
        return client;
    }
    if ids.parent[i] == 0 {
        return ROOT;
    }
    let until = start_ns.saturating_add(ids.reach_ns);
    let candidates = index.all(trace, ids.parent[i]).filter(|&c| c as usize != i && starts(c) <= until);
    let Some(last) = candidates.clone().map(starts).max() else { return MISSING };
    let rank = |&candidate: &u32| {
        let c = candidate as usize;
        let same_service = ids.service[c] == ids.service[i];
        (same_service, ids.kind[c] == Kind::Server, std::cmp::Reverse(ids.kind[c]), std::cmp::Reverse(candidate))
    };
    candidates.filter(|&c| is_near(starts(c), last, ids.reach_ns)).max_by_key(rank).unwrap_or(MISSING)
}
