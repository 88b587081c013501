//! Which spans are counted one by one: those of some stretches of the window, and single traces in the others, which
//! roll-ups answer. Makes conditions of it; reads nothing.

use hashbrown::HashSet;

use crate::Window;
use crate::spans::lineage::REACH_NS;
use crate::spans::load::{MAX_NAMED_TRACES, in_traces};

/// Around what is counted so much is read: the neighbours of spans, and the neighbours of those.
pub const AROUND_NS: i64 = 2 * REACH_NS;

/// The spans that are counted one by one.
#[derive(Clone, Debug)]
pub struct Scope {
    /// All of it, however it is answered.
    pub window: Window,
    /// Counted whole; in order, apart from one another.
    pub stretches: Vec<Window>,
    /// Of these stretches only the traces are counted that roll-ups leave out.
    pub strays: Vec<Strays>,
}

#[derive(Clone, Debug)]
pub struct Strays {
    pub stretch: Window,
    pub traces: HashSet<u128>,
}

impl Scope {
    /// All spans of the window.
    pub fn whole(window: Window) -> Self {
        Self { window, stretches: vec![window], strays: Vec::new() }
    }

    /// Stretches of time of which all spans are read.
    pub fn around(&self) -> Vec<Window> {
        let mut all: Vec<Window> = Vec::new();
        for stretch in &self.stretches {
            let wider = widened(*stretch);
            match all.last_mut() {
                Some(last) if wider.start_ns <= last.end_ns => last.end_ns = last.end_ns.max(wider.end_ns),
                _ => all.push(wider),
            }
        }
        all
    }

    fn stray_traces(&self) -> HashSet<u128> {
        self.strays.iter().flat_map(|strays| strays.traces.iter().copied()).collect()
    }

    /// The condition of what is read first.
    pub fn read_sql(&self) -> String {
        let mut either: Vec<String> = self.around().iter().map(|w| w.sql("timestamp")).collect();
        let strays = self.stray_traces();
        if !strays.is_empty() {
            debug_assert!(strays.len() <= MAX_NAMED_TRACES, "roll-ups with more are not made");
            either.push(format!("{} AND {}", widened(self.window).sql("timestamp"), in_traces(&strays, "false")));
        }
        any(&either)
    }

    /// Whether nothing is counted one by one.
    pub fn is_empty(&self) -> bool {
        self.stretches.is_empty() && self.strays.is_empty()
    }

    /// The condition of what is counted.
    pub fn counted_sql(&self) -> String {
        let mut either: Vec<String> = self.stretches.iter().map(|w| w.sql("timestamp")).collect();
        for Strays { stretch, traces } in self.strays.iter().filter(|s| !s.traces.is_empty()) {
            either.push(format!("{} AND {}", stretch.sql("timestamp"), in_traces(traces, "false")));
        }
        any(&either)
    }

    /// The ends of what was read around a counted span of this start, of what [`Scope::around`] gave.
    pub fn read_within(&self, around: &[Window], start_ns: i64) -> Window {
        around.iter().find(|w| w.holds(start_ns)).copied().unwrap_or_else(|| widened(self.window))
    }
}

fn widened(window: Window) -> Window {
    Window { start_ns: window.start_ns.saturating_sub(AROUND_NS), end_ns: window.end_ns.saturating_add(AROUND_NS) }
}

fn any(conditions: &[String]) -> String {
    match conditions {
        [] => "false".to_owned(),
        all => format!("({})", all.iter().map(|c| format!("({c})")).collect::<Vec<_>>().join(" OR ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_that_touch_when_widened_are_read_as_one() {
        let window = |start: i64, end: i64| Window { start_ns: start * REACH_NS, end_ns: end * REACH_NS };
        let scope =
            Scope { stretches: vec![window(0, 1), window(4, 5), window(20, 21)], ..Scope::whole(window(0, 21)) };
        assert_eq!(scope.around(), [window(-2, 7), window(18, 23)]);
        assert_eq!(scope.read_within(&scope.around(), 4 * REACH_NS), window(-2, 7));
        assert_eq!(scope.read_within(&scope.around(), 10 * REACH_NS), window(-2, 23), "a stray trace's");
    }
}
