//! The flame graph's arithmetic: the spans of a trace merged by their path of services and operations, each frame as wide
//! as the time spent in it and below. Time is the spans' own time added up, so that parallel work counts for all that it
//! is and frames never overlap. Never touches the document.

use std::collections::HashMap;

use orrery_api::SpanNode;

/// Spans of one operation under one path.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frame {
    pub depth: usize,
    /// The frame that it lies under.
    pub parent: Option<usize>,
    /// From the left, in nanoseconds of added-up time.
    pub at: i64,
    /// Its own time and that of all below it.
    pub total_ns: i64,
    pub own_ns: i64,
    pub spans: usize,
    pub errors: usize,
    /// The index of its longest span.
    pub longest: usize,
    /// Frames below it.
    pub below: usize,
}

/// The frames in preorder: of one parent the widest first.
pub fn frames(spans: &[SpanNode]) -> Vec<Frame> {
    let mut found: Vec<Frame> = Vec::new();
    let mut children: Vec<Vec<usize>> = Vec::new();
    let mut by_path: HashMap<(Option<usize>, &str, &str), usize> = HashMap::new();
    // The frame of every span above the current one, by depth.
    let mut above: Vec<usize> = Vec::new();
    let mut roots = Vec::new();
    for (index, span) in spans.iter().enumerate() {
        above.truncate(span.depth as usize);
        let parent = above.last().copied();
        let frame = *by_path.entry((parent, &span.service_name, &span.name)).or_insert_with(|| {
            found.push(Frame { depth: above.len(), parent, longest: index, ..Frame::default() });
            children.push(Vec::new());
            match parent {
                Some(parent) => children[parent].push(found.len() - 1),
                None => roots.push(found.len() - 1),
            }
            found.len() - 1
        });
        above.push(frame);
        let entry = &mut found[frame];
        entry.own_ns = entry.own_ns.saturating_add(span.self_ns.max(0));
        entry.spans += 1;
        entry.errors += usize::from(span.status_code == "ERROR");
        if span.duration_ns > spans[entry.longest].duration_ns {
            entry.longest = index;
        }
    }
    // Frames come after those that they lie under, so that backwards every child is summed before its parent.
    for at in (0..found.len()).rev() {
        found[at].total_ns = found[at].total_ns.saturating_add(found[at].own_ns);
        if let Some(parent) = found[at].parent {
            found[parent].total_ns = found[parent].total_ns.saturating_add(found[at].total_ns);
            found[parent].below += found[at].below + 1;
        }
    }
    flatten(&found, children, roots)
}

/// Puts the frames into preorder and gives each its place from the left.
fn flatten(found: &[Frame], mut children: Vec<Vec<usize>>, mut roots: Vec<usize>) -> Vec<Frame> {
    let widest_first = |list: &mut Vec<usize>| list.sort_by_key(|i| std::cmp::Reverse(found[*i].total_ns));
    children.iter_mut().for_each(widest_first);
    widest_first(&mut roots);
    let mut ordered: Vec<Frame> = Vec::with_capacity(found.len());
    // What is left to place: a frame, its parent's new index, and where it begins.
    let mut open: Vec<(usize, Option<usize>, i64)> = Vec::new();
    let put = |open: &mut Vec<(usize, Option<usize>, i64)>, list: &[usize], parent: Option<usize>, mut at: i64| {
        let from = open.len();
        for frame in list {
            open.push((*frame, parent, at));
            at = at.saturating_add(found[*frame].total_ns);
        }
        open[from..].reverse();
    };
    put(&mut open, &roots, None, 0);
    while let Some((frame, parent, at)) = open.pop() {
        ordered.push(Frame { parent, at, ..found[frame].clone() });
        put(&mut open, &children[frame], Some(ordered.len() - 1), at);
    }
    ordered
}

/// A frame that is drawn: its index, and its left edge and width in per cent.
pub type Drawn = (usize, f64, f64);

/// The frames to draw where one of them, or the whole trace, is as wide as the drawing: those above it, it, and those below
/// that are at least `least` per cent wide.
pub fn drawn(frames: &[Frame], focus: Option<usize>, least: f64) -> Vec<Drawn> {
    let all = frames.iter().filter(|f| f.parent.is_none()).map(|f| f.total_ns).sum::<i64>();
    let (from, length, range) = match focus.and_then(|i| frames.get(i).map(|f| (i, f))) {
        Some((i, f)) => (f.at, f.total_ns, i..i + f.below + 1),
        None => (0, all, 0..frames.len()),
    };
    let length = length.max(1) as f64;
    let mut above = Vec::new();
    let mut next = focus.and_then(|i| frames.get(i)?.parent);
    while let Some(at) = next {
        above.push((at, 0.0, 100.0));
        next = frames[at].parent;
    }
    above.reverse();
    let below = range.map(|i| {
        let f = &frames[i];
        (i, (f.at - from) as f64 / length * 100.0, f.total_ns as f64 / length * 100.0)
    });
    above.extend(below.filter(|(i, _, width)| *width >= least || Some(*i) == focus));
    above
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(depth: u32, name: &str, duration_ns: i64, self_ns: i64) -> SpanNode {
        SpanNode {
            depth,
            name: name.to_owned(),
            service_name: "cart".to_owned(),
            duration_ns,
            self_ns,
            ..SpanNode::default()
        }
    }

    fn trace() -> Vec<SpanNode> {
        vec![
            span(0, "GET", 100, 10),
            span(1, "read", 20, 20),
            span(1, "call", 40, 5),
            span(2, "read", 35, 35),
            span(1, "read", 30, 30),
        ]
    }

    #[test]
    fn spans_of_one_path_become_one_frame() {
        let found = frames(&trace());
        let of: Vec<_> =
            found.iter().map(|f| (f.depth, f.at, f.total_ns, f.own_ns, f.spans, f.longest, f.below)).collect();
        assert_eq!(
            of,
            [(0, 0, 100, 10, 1, 0, 3), (1, 0, 50, 50, 2, 4, 0), (1, 50, 40, 5, 1, 2, 1), (2, 50, 35, 35, 1, 3, 0),]
        );
        assert_eq!(found.iter().map(|f| f.parent).collect::<Vec<_>>(), [None, Some(0), Some(0), Some(2)]);
    }

    #[test]
    fn no_time_is_lost_however_deep_or_wide() {
        let spans: Vec<SpanNode> =
            (0..20_000).map(|i| span(i % 200, &format!("s{}", i % 7), 1, i64::from(i % 5))).collect();
        let found = frames(&spans);
        let own: i64 = spans.iter().map(|s| s.self_ns).sum();
        assert_eq!(found.iter().map(|f| f.own_ns).sum::<i64>(), own);
        assert_eq!(found.iter().filter(|f| f.parent.is_none()).map(|f| f.total_ns).sum::<i64>(), own);
        for (i, frame) in found.iter().enumerate() {
            if let Some(parent) = frame.parent.map(|p| &found[p]) {
                assert!(parent.at <= frame.at && frame.at + frame.total_ns <= parent.at + parent.total_ns, "{i}");
                assert_eq!(parent.depth + 1, frame.depth);
            }
        }
    }

    #[test]
    fn a_chosen_frame_fills_the_drawing_with_those_above_it() {
        let found = frames(&trace());
        assert_eq!(drawn(&found, None, 0.1).len(), 4);
        assert_eq!(drawn(&found, None, 45.0).iter().map(|d| d.0).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(drawn(&found, Some(2), 0.1), [(0, 0.0, 100.0), (2, 0.0, 100.0), (3, 0.0, 87.5)]);
        assert!(drawn(&[], None, 0.1).is_empty());
    }
}
