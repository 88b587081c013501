//! What has changed between two maps of windows of the same length: edges that are new, that are gone, and whose figures
//! moved by more than chance makes likely. Never touches the document.

use std::collections::HashMap;

use orrery_api::{Edge, ServiceGraph};

use crate::format;
use crate::instant::{DAY, HOUR};
use crate::range::Window;

/// How far back the other window lies: the value in the address, its name, and nanoseconds; without them the window right
/// before.
pub const AGAINST: [(&str, &str, Option<i64>); 4] = [
    ("before", "the window before", None),
    ("1h", "an hour before", Some(HOUR)),
    ("1d", "a day before", Some(DAY)),
    ("7d", "a week before", Some(7 * DAY)),
];

/// Calls that an edge needs in a window before its figures are compared.
const LEAST_CALLS: u64 = 20;
/// A rate or a latency has changed when it is at least so many times as high or as low, an error share when it has moved by
/// so much.
const FACTOR: f64 = 1.5;
const SHARE: f64 = 0.02;

/// The window to compare with.
pub fn earlier(window: Window, against: &str) -> Option<Window> {
    let (.., back) = AGAINST.iter().find(|(value, ..)| *value == against)?;
    let back = back.unwrap_or(window.length());
    Some(Window { start: window.start.saturating_sub(back), end: window.end.saturating_sub(back) })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    New,
    Lost,
    Changed,
}

/// One edge that is not as it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    pub kind: Kind,
    /// As it is, or as it was where it is lost.
    pub edge: Edge,
    pub before: Option<Edge>,
    /// What changed, the largest first, as figures before and after.
    pub moved: Vec<Moved>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Moved {
    Calls(u64, u64),
    /// Shares of 0 to 1.
    Errors(f64, f64),
    P95(i64, i64),
}

/// All differences: new edges, lost ones, then changed ones; of a kind those with the most calls first.
pub fn compare(before: &ServiceGraph, after: &ServiceGraph) -> Vec<Difference> {
    let old: HashMap<&str, &Edge> = before.edges.iter().map(|e| (e.id.as_str(), e)).collect();
    let kept: HashMap<&str, &Edge> = after.edges.iter().map(|e| (e.id.as_str(), e)).collect();
    let lost = before.edges.iter().filter(|e| !kept.contains_key(e.id.as_str()));
    let lost =
        lost.map(|e| Difference { kind: Kind::Lost, edge: e.clone(), before: Some(e.clone()), moved: Vec::new() });
    let there = after.edges.iter().filter_map(|edge| match old.get(edge.id.as_str()) {
        None => Some(Difference { kind: Kind::New, edge: edge.clone(), before: None, moved: Vec::new() }),
        Some(was) => {
            let moved = moved(was, edge);
            let before = Some((*was).clone());
            (!moved.is_empty()).then(|| Difference { kind: Kind::Changed, edge: edge.clone(), before, moved })
        }
    });
    let mut found: Vec<Difference> = there.chain(lost).collect();
    found.sort_by(|a, b| (a.kind, b.edge.calls).cmp(&(b.kind, a.edge.calls)).then_with(|| a.edge.id.cmp(&b.edge.id)));
    found
}

impl Difference {
    /// What is different in a few words, the largest change alone where several figures moved.
    pub fn words(&self) -> String {
        match (self.kind, self.moved.first()) {
            (Kind::New, _) => "new".to_owned(),
            (Kind::Lost, _) => "lost".to_owned(),
            (Kind::Changed, moved) => moved.map(Moved::words).unwrap_or_default(),
        }
    }
}

impl Moved {
    pub fn words(&self) -> String {
        match self {
            Moved::Calls(was, is) => format!("calls {} → {}", format::count(*was), format::count(*is)),
            Moved::Errors(was, is) => format!("errors {} → {}", format::share(*was), format::share(*is)),
            Moved::P95(was, is) => format!("p95 {} → {}", format::duration(*was), format::duration(*is)),
        }
    }

    /// Whether it is for the worse: more errors, or a higher latency.
    pub fn is_worse(&self) -> bool {
        match self {
            Moved::Calls(..) => false,
            Moved::Errors(was, is) => is > was,
            Moved::P95(was, is) => is > was,
        }
    }
}

fn moved(was: &Edge, is: &Edge) -> Vec<Moved> {
    let mut found: Vec<(f64, Moved)> = Vec::new();
    if was.calls.max(is.calls) >= LEAST_CALLS {
        let times = factor(was.calls as f64, is.calls as f64);
        if times >= FACTOR {
            found.push((times, Moved::Calls(was.calls, is.calls)));
        }
    }
    if was.calls.min(is.calls) >= LEAST_CALLS {
        let share = |e: &Edge| e.errors as f64 / e.calls as f64;
        let step = (share(is) - share(was)).abs();
        if step >= SHARE {
            // An error counts for more than a shift of the same size of anything else.
            found.push((FACTOR + step * 100.0, Moved::Errors(share(was), share(is))));
        }
        let times = factor(was.p95_ns as f64, is.p95_ns as f64);
        if times >= FACTOR {
            found.push((times, Moved::P95(was.p95_ns, is.p95_ns)));
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.into_iter().map(|(_, moved)| moved).collect()
}

/// How many times the smaller the larger is.
fn factor(a: f64, b: f64) -> f64 {
    let (low, high) = (a.min(b), a.max(b));
    if high <= 0.0 { 1.0 } else { high / low.max(1e-9) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(id: &str, calls: u64, errors: u64, p95_ns: i64) -> Edge {
        serde_json::from_value(serde_json::json!({
            "id": id, "source": "a", "target": "b", "kind": "call", "calls": calls, "errors": errors, "unpaired": 0,
            "estimated_calls": calls as f64, "sum_ns": 1, "p50_ns": 1, "p95_ns": p95_ns, "p99_ns": 1, "exemplars": []
        }))
        .unwrap()
    }

    fn graph(edges: Vec<Edge>) -> ServiceGraph {
        ServiceGraph { nodes: Vec::new(), edges, completeness: 1.0, pending: 0, receipt: Default::default() }
    }

    #[test]
    fn edges_are_new_lost_changed_or_nothing_worth_saying() {
        let before = graph(vec![
            edge("lost", 9, 0, 5),
            edge("same", 100, 1, 100),
            edge("slower", 100, 0, 100),
            edge("few", 3, 0, 1),
        ]);
        let after = graph(vec![
            edge("same", 120, 2, 140),
            edge("slower", 90, 9, 400),
            edge("few", 12, 9, 900),
            edge("new", 1, 0, 5),
        ]);
        let found = compare(&before, &after);
        let of: Vec<_> = found.iter().map(|d| (d.edge.id.as_str(), d.kind)).collect();
        assert_eq!(of, [("new", Kind::New), ("lost", Kind::Lost), ("slower", Kind::Changed)]);
        assert_eq!(found[2].moved, [Moved::Errors(0.0, 0.1), Moved::P95(100, 400)]);
        assert!(compare(&after, &after).is_empty());
        let words: Vec<String> = found.iter().map(|d| d.words().replace('\u{a0}', " ")).collect();
        assert_eq!(words, ["new", "lost", "errors 0 % → 10 %"]);
        assert!(found[2].moved.iter().all(Moved::is_worse));
    }

    #[test]
    fn a_rate_that_falls_away_has_changed_as_much_as_one_that_rises() {
        let (few, many) = (graph(vec![edge("e", 0, 0, 1)]), graph(vec![edge("e", 40, 0, 1)]));
        assert_eq!(compare(&few, &many)[0].moved, [Moved::Calls(0, 40)]);
        assert_eq!(compare(&many, &few)[0].moved, [Moved::Calls(40, 0)]);
    }

    #[test]
    fn the_other_window_is_as_long_and_lies_before() {
        let window = Window { start: 10 * DAY, end: 10 * DAY + 2 * HOUR };
        assert_eq!(earlier(window, "before"), Some(Window { start: 10 * DAY - 2 * HOUR, end: 10 * DAY }));
        assert_eq!(earlier(window, "7d"), Some(Window { start: 3 * DAY, end: 3 * DAY + 2 * HOUR }));
        assert_eq!(earlier(window, "soon"), None);
    }
}
