//! Who is whose child, one rule for the trace tree, the graph and the services: of the spans that carry the parent's
//! id, which one is meant. How far apart two spans may be is the caller's to say: a trace's tree knows no bound, the
//! graph has one ([`REACH_NS`]), so that what it says of a span depends on no window. A clock that is skewed by less
//! changes no edge.

use super::Kind;
use super::index::{Index, Keys};

/// The parent of a span that names none.
pub const ROOT: u32 = u32::MAX;
/// The parent of a span that names one that is not here.
pub const MISSING: u32 = u32::MAX - 1;

/// How far after a span its parent may start, how far apart client and server of one id may start, and how long after
/// a CLIENT's end its answer may start. Before a span its parent is looked for without a bound.
pub const REACH_NS: i64 = 120_000_000_000;
/// No bound.
pub const ANY_DISTANCE_NS: i64 = i64::MAX;

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

    /// Whether any span's parent is missing.
    pub fn has_missing(&self) -> bool {
        self.parent.contains(&MISSING)
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
    if keys.kind[i] == Kind::Server && keys.span[i] != 0 && index.has_twins(trace) {
        let mut client = None;
        index.each(keys, trace, keys.span[i], |c| {
            if keys.kind[c as usize] == Kind::Client && is_near(starts(c), start_ns, ids.reach_ns) {
                client = Some(c);
            }
        });
        if let Some(client) = client {
            return client;
        }
    }
    if ids.parent[i] == 0 {
        return ROOT;
    }
    let until = start_ns.saturating_add(ids.reach_ns);
    let mut candidates = Candidates::None;
    index.each(keys, trace, ids.parent[i], |c| {
        if c as usize != i && starts(c) <= until {
            candidates.add(c);
        }
    });
    let all = match candidates {
        Candidates::None => return MISSING,
        Candidates::One(candidate) => return candidate,
        Candidates::Several(all) => all,
    };
    let last = all.iter().map(|&c| starts(c)).max().unwrap_or(start_ns);
    let rank = |&candidate: &u32| {
        let c = candidate as usize;
        let same_service = ids.service[c] == ids.service[i];
        (same_service, keys.kind[c] == Kind::Server, std::cmp::Reverse(keys.kind[c]), std::cmp::Reverse(candidate))
    };
    all.into_iter().filter(|&c| is_near(starts(c), last, ids.reach_ns)).max_by_key(rank).unwrap_or(MISSING)
}

/// The spans of one id: seldom more than one.
enum Candidates {
    None,
    One(u32),
    Several(Vec<u32>),
}

impl Candidates {
    fn add(&mut self, candidate: u32) {
        match self {
            Self::None => *self = Self::One(candidate),
            Self::One(one) => *self = Self::Several(vec![*one, candidate]),
            Self::Several(all) => all.push(candidate),
        }
    }
}
