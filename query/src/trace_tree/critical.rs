//! The critical path: the parts of spans whose shortening would have shortened the trace. The backwards walk of CRISP
//! (Zhang et al., USENIX ATC 2022) and of Jaeger's view: from a span's end to its last-finishing child, from that
//! child's start to the last child that had finished by then, and so on; what no child covers is the span's own.

use super::{Forest, TreeSpan, end};

/// The parts of each span on the path of the first root, as (start, duration) in time order. The parts of all spans
/// together cover the root exactly once.
pub(super) fn path(spans: &[TreeSpan], forest: &Forest) -> Vec<Vec<(i64, i64)>> {
    let mut parts = vec![Vec::new(); spans.len()];
    let Some(&root) = forest.roots.first() else { return parts };
    let whole = &spans[root as usize];
    let mut stack = vec![(root as usize, whole.start_ns, end(whole))];
    while let Some((i, from, until)) = stack.pop() {
        let mut cut = until;
        for (child, start, finish) in by_finish(spans, forest, i, from, until) {
            // A child that was still running when the next one on the path started held nothing up.
            if finish > cut {
                continue;
            }
            if cut > finish {
                parts[i].push((finish, cut - finish));
            }
            stack.push((child, start, finish));
            cut = start;
        }
        if cut > from {
            parts[i].push((from, cut - from));
        }
        parts[i].reverse();
    }
    parts
}

/// The children that run within `from..until`, cut to it, the last to finish first; of two that finish together the
/// longer first.
fn by_finish(spans: &[TreeSpan], forest: &Forest, i: usize, from: i64, until: i64) -> Vec<(usize, i64, i64)> {
    let mut children: Vec<(usize, i64, i64)> = forest
        .children(i)
        .iter()
        .map(|&c| (c as usize, spans[c as usize].start_ns.max(from), end(&spans[c as usize]).min(until)))
        .filter(|(_, start, finish)| start < finish)
        .collect();
    children.sort_by_key(|&(_, start, finish)| (std::cmp::Reverse(finish), start));
    children
}
