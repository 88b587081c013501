//! The waterfall's arithmetic: which rows are visible, which of them are in the viewport, where a bar lies. Works on the
//! preorder that the server sends; never touches the document.

use std::collections::HashSet;
use std::ops::Range;

use orrery_api::SpanNode;

/// The height of a row, in CSS pixels.
pub const ROW: f64 = 28.0;

/// Indices of the spans that no collapsed span hides, in preorder. A collapsed span itself is shown.
pub fn visible(spans: &[SpanNode], collapsed: &HashSet<usize>) -> Vec<usize> {
    let mut rows = Vec::with_capacity(spans.len());
    let mut at = 0;
    while at < spans.len() {
        rows.push(at);
        at += if collapsed.contains(&at) { (spans[at].subtree as usize).max(1) } else { 1 };
    }
    rows
}

/// The rows to build for a scroll position, some beyond each end so that scrolling shows no blank.
pub fn rows_in_view(scroll_top: f64, height: f64, row: f64, total: usize) -> Range<usize> {
    const BEYOND: usize = 6;
    let first = (scroll_top.max(0.0) / row) as usize;
    let count = (height.max(0.0) / row).ceil() as usize + 1;
    let from = first.saturating_sub(BEYOND).min(total);
    from..(first + count + BEYOND).min(total)
}

/// The chain of parents of a span, nearest first, by depth in the preorder.
pub fn ancestors(spans: &[SpanNode], of: usize) -> Vec<usize> {
    let mut found = Vec::new();
    let Some(mut depth) = spans.get(of).map(|s| s.depth) else { return found };
    for at in (0..of).rev() {
        if depth == 0 {
            break;
        }
        if spans[at].depth < depth {
            depth = spans[at].depth;
            found.push(at);
        }
    }
    found
}

/// Spans that have children, at the given depth or deeper: what to collapse to see the levels above alone.
pub fn deeper_than(spans: &[SpanNode], depth: u32) -> HashSet<usize> {
    let parents = spans.iter().enumerate().filter(|(_, s)| s.subtree > 1 && s.depth >= depth);
    parents.map(|(i, _)| i).collect()
}

/// Spans in which the text occurs, whatever its case: name, service, ids, status message, attribute keys and values.
pub fn matches(spans: &[SpanNode], text: &str) -> Vec<usize> {
    let wanted = text.trim().to_lowercase();
    if wanted.is_empty() {
        return Vec::new();
    }
    let has = |s: &str| s.to_lowercase().contains(&wanted);
    let in_span = |s: &SpanNode| {
        has(&s.name)
            || has(&s.service_name)
            || s.span_id == wanted
            || s.status_message.as_deref().is_some_and(has)
            || s.attributes.iter().any(|a| has(&a.key) || a.value.as_deref().is_some_and(has))
    };
    spans.iter().enumerate().filter(|(_, s)| in_span(s)).map(|(i, _)| i).collect()
}

/// The part of the trace that is drawn: an offset from its start and a length, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    pub from: i64,
    pub length: i64,
}

impl View {
    /// The whole trace, with whatever lies before its start or after its end.
    pub fn whole(spans: &[SpanNode]) -> View {
        let from = spans.iter().map(|s| s.offset_ns).min().unwrap_or(0);
        let to = spans.iter().map(|s| s.offset_ns.saturating_add(s.duration_ns.max(0))).max().unwrap_or(0);
        View { from, length: to.saturating_sub(from).max(1) }
    }

    /// Left edge and width in per cent of the view, cut at its edges; `None` where nothing of it is inside.
    pub fn place(&self, offset: i64, length: i64) -> Option<(f64, f64)> {
        let left = offset.saturating_sub(self.from) as f64 / self.length as f64 * 100.0;
        let right = left + length.max(0) as f64 / self.length as f64 * 100.0;
        if right < 0.0 || left > 100.0 {
            return None;
        }
        let cut = left.clamp(0.0, 100.0);
        Some((cut, right.clamp(0.0, 100.0) - cut))
    }

    /// Five ticks with round lengths: (per cent, offset from the start of the trace).
    pub fn ticks(&self, most: usize) -> Vec<(f64, i64)> {
        let step = round_step(self.length, most);
        let mut at = self.from.div_euclid(step) * step;
        if at < self.from {
            at += step;
        }
        let mut found = Vec::new();
        while at <= self.from.saturating_add(self.length) {
            found.push(((at - self.from) as f64 / self.length as f64 * 100.0, at));
            at += step;
        }
        found
    }
}

/// One, two or five times a power of ten, so that at most so many steps fit.
pub fn round_step(length: i64, most: usize) -> i64 {
    let least = length / most.max(1) as i64;
    let mut step = 1_i64;
    loop {
        for factor in [1, 2, 5] {
            if step.saturating_mul(factor) > least {
                return step.saturating_mul(factor);
            }
        }
        match step.checked_mul(10) {
            Some(next) => step = next,
            None => return i64::MAX,
        }
    }
}

/// How the time of a trace is shared among its services: self time, longest first.
pub fn self_time_by_service(spans: &[SpanNode]) -> Vec<(String, i64, usize, usize)> {
    let mut sums: std::collections::BTreeMap<&str, (i64, usize, usize)> = std::collections::BTreeMap::new();
    for span in spans {
        let sum = sums.entry(&span.service_name).or_default();
        sum.0 = sum.0.saturating_add(span.self_ns.max(0));
        sum.1 += 1;
        sum.2 += usize::from(span.status_code == "ERROR");
    }
    let mut rows: Vec<_> = sums.into_iter().map(|(name, (ns, n, e))| (name.to_owned(), ns, n, e)).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.1));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(depth: u32, subtree: u32, offset_ns: i64, duration_ns: i64) -> SpanNode {
        serde_json::from_value(serde_json::json!({
            "trace_id": "t", "span_id": format!("s{offset_ns}"), "parent_span_id": null, "service_name": "cart",
            "name": "GET /cart", "kind": "SERVER", "start": "1970-01-01T00:00:00.000000000Z", "offset_ns": offset_ns,
            "duration_ns": duration_ns, "depth": depth, "subtree": subtree, "self_ns": 1, "critical": false,
            "status_code": "UNSET", "status_message": null, "scope_name": null, "scope_version": null,
            "trace_state": null, "attributes": [{"key": "http.route", "value": "/Cart/{id}"}],
            "resource_attributes": [], "events": [], "links": []
        }))
        .unwrap()
    }

    fn tree() -> Vec<SpanNode> {
        vec![span(0, 5, 0, 100), span(1, 3, 10, 50), span(2, 1, 20, 10), span(2, 1, 30, 10), span(1, 1, 70, 10)]
    }

    #[test]
    fn a_collapsed_span_hides_its_subtree_and_no_more() {
        let spans = tree();
        assert_eq!(visible(&spans, &HashSet::new()), vec![0, 1, 2, 3, 4]);
        assert_eq!(visible(&spans, &HashSet::from([1])), vec![0, 1, 4]);
        assert_eq!(visible(&spans, &HashSet::from([0])), vec![0]);
        assert_eq!(ancestors(&spans, 3), vec![1, 0]);
        assert_eq!(ancestors(&spans, 0), Vec::<usize>::new());
        assert_eq!(deeper_than(&spans, 1), HashSet::from([1]));
    }

    #[test]
    fn fifty_thousand_spans_need_few_rows_whatever_the_scroll_position() {
        for top in [0.0, 13.0, 700_000.0, 1_399_900.0, 9e9] {
            let rows = rows_in_view(top, 900.0, ROW, 50_000);
            assert!(rows.len() <= 46, "{top}: {rows:?}");
            assert!(rows.end <= 50_000);
        }
        assert!(rows_in_view(1_399_000.0, 900.0, ROW, 50_000).contains(&49_999));
    }

    #[test]
    fn bars_are_cut_at_the_edges_of_the_view() {
        let view = View { from: 0, length: 100 };
        assert_eq!(view.place(10, 50), Some((10.0, 50.0)));
        assert_eq!(view.place(-10, 20), Some((0.0, 10.0)));
        assert_eq!(view.place(90, 50), Some((90.0, 10.0)));
        assert_eq!(view.place(150, 50), None);
        assert_eq!(View::whole(&tree()), View { from: 0, length: 100 });
        assert_eq!(round_step(1_000, 5), 500);
        assert_eq!(view.ticks(5).len(), 3);
    }

    #[test]
    fn search_looks_at_names_and_attributes() {
        assert_eq!(matches(&tree(), "/cart/{ID}").len(), 5);
        assert_eq!(matches(&tree(), "s30"), vec![3]);
        assert!(matches(&tree(), " ").is_empty());
    }
}
