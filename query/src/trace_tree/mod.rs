//! One trace as a tree: preorder, depth, subtree sizes, self time, critical path, what is missing and whose clock is
//! wrong. Pure: takes spans, never reads a table, and recurses nowhere, since a trace may be a chain of any length.

mod critical;
#[cfg(test)]
mod tests;

use crate::spans::index::{Index, Keys};
use crate::spans::lineage::{ANY_DISTANCE_NS, Ids, resolve};
use crate::spans::{Kind, Lineage};

/// Clocks of two machines, and times of millisecond resolution, may differ by this much without being called skewed.
pub const CLOCK_TOLERANCE_NS: i64 = 1_000_000;

/// A span as the tree needs it.
#[derive(Clone, Copy, Debug)]
pub struct TreeSpan {
    /// 0 where none was sent.
    pub span: u64,
    /// 0 for none.
    pub parent: u64,
    pub kind: Kind,
    /// Any number that tells services apart.
    pub service: u32,
    pub start_ns: i64,
    /// 0 where no end was sent.
    pub duration_ns: i64,
}

/// A node of the tree, in preorder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeNode {
    /// Into the spans that the tree was made from.
    pub span: usize,
    pub depth: u32,
    /// Spans in the subtree, this one included.
    pub subtree: u32,
    /// Time in which no child was running.
    pub self_ns: i64,
    /// The parts on the critical path as (start, duration), in time order; absolute times.
    pub critical: Vec<(i64, i64)>,
    pub missing_parent: bool,
    pub clock_skew: bool,
}

/// The tree of a trace.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Roots first to last: those that name no parent, then those whose parent is missing, each by start. Siblings by
    /// start.
    pub nodes: Vec<TreeNode>,
    /// The earliest start and the latest end.
    pub start_ns: i64,
    pub end_ns: i64,
    /// The share of spans that name a parent whose parent is there; 1 where none does.
    pub completeness: f64,
    /// Spans left out because one with the same id and kind came before.
    pub copies: u64,
}

const NONE: u32 = u32::MAX;

/// Builds the tree of one trace's spans, the earliest received first.
pub fn build(all: &[TreeSpan]) -> Tree {
    let (kept, lineage) = distinct(all);
    let spans: Vec<TreeSpan> = kept.iter().map(|&i| all[i]).collect();
    let copies = (all.len() - kept.len()) as u64;
    let start_ns = spans.iter().map(|s| s.start_ns).min().unwrap_or(0);
    let end_ns = spans.iter().map(end).max().unwrap_or(0);
    let forest = Forest::of(&spans, &lineage);
    let order = forest.preorder();
    let mut subtree = vec![1_u32; spans.len()];
    for &(i, _) in order.iter().rev() {
        let parent = forest.parent[i as usize];
        if parent != NONE {
            subtree[parent as usize] += subtree[i as usize];
        }
    }
    let mut critical = critical::path(&spans, &forest);
    let nodes = order
        .iter()
        .map(|&(i, depth)| {
            let i = i as usize;
            let parent = forest.parent[i];
            TreeNode {
                span: kept[i],
                depth,
                subtree: subtree[i],
                self_ns: self_ns(&spans, &forest, i),
                critical: std::mem::take(&mut critical[i]),
                missing_parent: lineage.is_missing(i),
                clock_skew: parent != NONE && is_skewed(&spans[parent as usize], &spans[i]),
            }
        })
        .collect();
    let named = (0..spans.len()).filter(|&i| !lineage.is_root(i)).count();
    let missing = (0..spans.len()).filter(|&i| lineage.is_missing(i)).count();
    let completeness = if named == 0 { 1.0 } else { (named - missing) as f64 / named as f64 };
    Tree { nodes, start_ns, end_ns, completeness, copies }
}

/// The spans without copies, and each one's parent. Spans without an id are no copies of each other.
fn distinct(all: &[TreeSpan]) -> (Vec<usize>, Lineage) {
    let mut index = Index::default();
    let (mut kept, mut span, mut kind, mut trace) = (vec![], vec![], vec![], vec![]);
    for (i, s) in all.iter().enumerate() {
        let keys = Keys { trace: &trace, span: &span, kind: &kind };
        let is_new = if s.span == 0 {
            index.insert_unnamed();
            true
        } else {
            index.insert(keys, 0, s.span, s.kind).is_none()
        };
        if is_new {
            kept.push(i);
            span.push(s.span);
            kind.push(s.kind);
            trace.push(0);
        }
    }
    let parent: Vec<u64> = kept.iter().map(|&i| all[i].parent).collect();
    let service: Vec<u32> = kept.iter().map(|&i| all[i].service).collect();
    let start_ns: Vec<i64> = kept.iter().map(|&i| all[i].start_ns).collect();
    let ids = Ids {
        keys: Keys { trace: &trace, span: &span, kind: &kind },
        parent: &parent,
        service: &service,
        start_ns: &start_ns,
        reach_ns: ANY_DISTANCE_NS,
    };
    let lineage = resolve(&ids, &index);
    (kept, lineage)
}

pub(crate) fn end(span: &TreeSpan) -> i64 {
    span.start_ns.saturating_add(span.duration_ns.max(0))
}

/// Parents and children, without cycles.
pub(crate) struct Forest {
    pub(crate) parent: Vec<u32>,
    /// All children, those of one span together and by start.
    children: Vec<u32>,
    /// Where the children of span `i` begin, and at `i + 1` end.
    offsets: Vec<u32>,
    pub(crate) roots: Vec<u32>,
}

impl Forest {
    fn of(spans: &[TreeSpan], lineage: &Lineage) -> Self {
        let n = spans.len();
        let mut parent: Vec<u32> = (0..n).map(|i| lineage.parent(i).map_or(NONE, |p| p as u32)).collect();
        let mut by_start: Vec<u32> = (0..n as u32).collect();
        by_start.sort_by_key(|&i| {
            let s = &spans[i as usize];
            (s.start_ns, std::cmp::Reverse(s.duration_ns), s.span, s.kind, i)
        });
        cut_cycles(&mut parent, &by_start);
        let mut offsets = vec![0_u32; n + 1];
        for &p in parent.iter().filter(|p| **p != NONE) {
            offsets[p as usize + 1] += 1;
        }
        for i in 0..n {
            offsets[i + 1] += offsets[i];
        }
        let mut next = offsets.clone();
        let mut children = vec![0; offsets[n] as usize];
        let mut roots = Vec::new();
        for &i in &by_start {
            match parent[i as usize] {
                NONE => roots.push(i),
                p => {
                    children[next[p as usize] as usize] = i;
                    next[p as usize] += 1;
                }
            }
        }
        roots.sort_by_key(|&i| !lineage.is_root(i as usize));
        Self { parent, children, offsets, roots }
    }

    pub(crate) fn children(&self, i: usize) -> &[u32] {
        &self.children[self.offsets[i] as usize..self.offsets[i + 1] as usize]
    }

    /// All spans with their depth.
    fn preorder(&self) -> Vec<(u32, u32)> {
        let mut order = Vec::with_capacity(self.parent.len());
        let mut stack: Vec<(u32, u32)> = self.roots.iter().rev().map(|&r| (r, 0)).collect();
        while let Some((i, depth)) = stack.pop() {
            order.push((i, depth));
            stack.extend(self.children(i as usize).iter().rev().map(|&c| (c, depth + 1)));
        }
        order
    }
}

/// Makes the earliest span of every cycle a root.
fn cut_cycles(parent: &mut [u32], by_start: &[u32]) {
    let mut rank = vec![0_u32; parent.len()];
    for (r, &i) in by_start.iter().enumerate() {
        rank[i as usize] = r as u32;
    }
    // The walk on which a span was first met; 0 for none.
    let mut walk = vec![0_u32; parent.len()];
    for (number, &first) in by_start.iter().enumerate() {
        let number = number as u32 + 1;
        let mut at = first;
        while at != NONE && walk[at as usize] == 0 {
            walk[at as usize] = number;
            at = parent[at as usize];
        }
        if at == NONE || walk[at as usize] != number {
            continue;
        }
        // This walk has come back to a span of its own: `at` is on a cycle.
        let mut earliest = at;
        let mut next = parent[at as usize];
        while next != at {
            if rank[next as usize] < rank[earliest as usize] {
                earliest = next;
            }
            next = parent[next as usize];
        }
        parent[earliest as usize] = NONE;
    }
}

/// The span's duration less the union of its children's times within it.
fn self_ns(spans: &[TreeSpan], forest: &Forest, i: usize) -> i64 {
    let (start, end_of) = (spans[i].start_ns, end(&spans[i]));
    let mut covered = 0;
    let mut until = start;
    // Children come by start, so one walk merges their intervals.
    for &c in forest.children(i) {
        let from = spans[c as usize].start_ns.max(until);
        let to = end(&spans[c as usize]).min(end_of);
        if to > from {
            covered += to - from;
            until = to;
        }
    }
    (end_of - start - covered).max(0)
}

/// Whether the times of a child cannot be right beside its parent's: it starts before it, or, being the SERVER of a
/// CLIENT that waited for it and running no longer than that, ends after it.
fn is_skewed(parent: &TreeSpan, child: &TreeSpan) -> bool {
    let before = parent.start_ns.saturating_sub(child.start_ns) > CLOCK_TOLERANCE_NS;
    let waited_for =
        parent.kind == Kind::Client && child.kind == Kind::Server && child.duration_ns <= parent.duration_ns;
    before || (waited_for && end(child).saturating_sub(end(parent)) > CLOCK_TOLERANCE_NS)
}
