//! From (trace, span id) to the spans that carry it: mostly one, two where client and server share an id. Spans of a trace
//! mostly come together and are few, so that they are looked through where they stand; only traces of many spans, or of
//! some here and some there, are in a hash table. Holds numbers of spans only; who they are is in the columns.

use hashbrown::HashTable;

use super::Kind;

/// Spans of a trace that are looked through one by one at most.
const FEW_SPANS: u32 = 48;
/// Places where they may stand.
const FEW_RUNS: u32 = 4;
/// There are no spans of the trace before these.
const FIRST: u32 = u32::MAX;

/// The columns that say which span a span is.
#[derive(Clone, Copy)]
pub struct Keys<'a> {
    pub trace: &'a [u32],
    pub span: &'a [u64],
    pub kind: &'a [Kind],
}

impl Keys<'_> {
    #[inline]
    fn hash(&self, i: u32) -> u64 {
        hash(self.trace[i as usize], self.span[i as usize])
    }
}

/// Spans of one trace that stand together.
#[derive(Clone, Copy, Debug)]
struct Run {
    from: u32,
    to: u32,
    /// The run of this trace before, by its place.
    before: u32,
}

/// The last run of a trace, and what it has in all.
#[derive(Clone, Copy, Debug)]
struct Trace {
    last: Run,
    runs: u32,
    spans: u32,
    /// Whether two of its spans may have one id.
    has_twins: bool,
}

impl Trace {
    const NONE: Self = Self { last: Run { from: 0, to: 0, before: FIRST }, runs: 0, spans: 0, has_twins: false };

    const fn is_small(&self) -> bool {
        self.spans <= FEW_SPANS && self.runs <= FEW_RUNS
    }
}

#[derive(Debug, Default)]
pub struct Index {
    /// Spans, those without an id too.
    spans: u32,
    traces: Vec<Trace>,
    /// The runs that are not their trace's last.
    runs: Vec<Run>,
    /// The spans of traces that are not small.
    many: HashTable<u32>,
}

impl Index {
    /// Adds the span that comes next to the columns. Where one with the same ids and kind is in, gives that one and adds
    /// nothing. Traces are numbered from 0.
    #[inline]
    pub fn insert(&mut self, keys: Keys<'_>, trace: u32, span: u64, kind: Kind) -> Option<u32> {
        debug_assert_eq!(self.spans as usize, keys.span.len());
        let (mut copy, mut has_twin) = (None, false);
        self.each(keys, trace, span, |at| {
            has_twin = true;
            if keys.kind[at as usize] == kind {
                copy = Some(at);
            }
        });
        if copy.is_some() {
            return copy;
        }
        let i = self.spans;
        self.spans = i.checked_add(1).expect("fewer than 2^32 spans");
        let number = trace as usize;
        if number >= self.traces.len() {
            self.traces.resize(number + 1, Trace::NONE);
        }
        let of = &mut self.traces[number];
        let was_small = of.is_small();
        if of.last.to == i && of.runs > 0 {
            of.last.to += 1;
        } else {
            let mut before = FIRST;
            if of.runs > 0 {
                before = u32::try_from(self.runs.len()).expect("fewer runs than spans");
                self.runs.push(of.last);
            }
            of.last = Run { from: i, to: i + 1, before };
            of.runs += 1;
        }
        of.spans += 1;
        of.has_twins |= has_twin;
        if !of.is_small() {
            let last = of.last;
            let hash_of = |&at: &u32| if at == i { hash(trace, span) } else { keys.hash(at) };
            if was_small {
                let all = runs(&self.runs, last).flat_map(|run| run.from..run.to);
                all.for_each(|at| _ = self.many.insert_unique(hash_of(&at), at, hash_of));
            } else {
                self.many.insert_unique(hash_of(&i), i, hash_of);
            }
        }
        None
    }

    /// Adds all of the spans that come next to the columns, which are of one trace; nothing where they are not the trace's
    /// first, are many, or one is a copy of another.
    #[inline]
    pub fn insert_run(&mut self, trace: u32, spans: &[u64], kinds: &[Kind]) -> bool {
        let number = trace as usize;
        if spans.len() > FEW_SPANS as usize || self.traces.get(number).is_some_and(|of| of.runs > 0) {
            return false;
        }
        let mut has_twins = false;
        for (i, span) in spans.iter().enumerate() {
            for (at, _) in spans[..i].iter().enumerate().filter(|(_, before)| *before == span) {
                if kinds[at] == kinds[i] {
                    return false;
                }
                has_twins = true;
            }
        }
        let (from, count) = (self.spans, spans.len() as u32);
        self.spans = from.checked_add(count).expect("fewer than 2^32 spans");
        if number >= self.traces.len() {
            self.traces.resize(number + 1, Trace::NONE);
        }
        let last = Run { from, to: self.spans, before: FIRST };
        self.traces[number] = Trace { last, runs: 1, spans: count, has_twins };
        true
    }

    pub fn clear(&mut self) {
        let Self { spans, traces, runs, many } = self;
        *spans = 0;
        traces.clear();
        runs.clear();
        many.clear();
    }

    /// Adds a span without an id, which nothing finds.
    pub fn insert_unnamed(&mut self) {
        self.spans += 1;
    }

    /// Whether two spans of a trace may have one id.
    #[inline]
    pub fn has_twins(&self, trace: u32) -> bool {
        self.traces[trace as usize].has_twins
    }

    /// Gives the spans of an id, in no order.
    #[inline]
    pub fn each(&self, keys: Keys<'_>, trace: u32, span: u64, mut give: impl FnMut(u32)) {
        let Some(of) = self.traces.get(trace as usize) else { return };
        if of.is_small() {
            for run in runs(&self.runs, of.last) {
                let ids = &keys.span[run.from as usize..run.to as usize];
                for (at, _) in (run.from..).zip(ids).filter(|(_, id)| **id == span) {
                    give(at);
                    if !of.has_twins {
                        return;
                    }
                }
            }
        } else {
            let is_it = |at: u32| keys.span[at as usize] == span && keys.trace[at as usize] == trace;
            self.many.iter_hash(hash(trace, span)).copied().filter(|&at| is_it(at)).for_each(give);
        }
    }
}

/// A trace's runs, the last one first.
fn runs(all: &[Run], last: Run) -> impl Iterator<Item = Run> {
    std::iter::successors(Some(last), |run| all.get(run.before as usize).copied())
}

/// Span ids are random mostly; where they are not, this spreads them.
#[inline]
fn hash(trace: u32, span: u64) -> u64 {
    let mixed = (span ^ u64::from(trace).wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ (mixed >> 32)
}

#[cfg(test)]
mod tests {
    use hashbrown::HashMap;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn spans_are_found_by_their_ids_and_kinds_however_they_come(
            spans in proptest::collection::vec((0..4_u32, 0..120_u64, 0..3_usize, 0..20_u32), 0..400),
        ) {
            let mut index = Index::default();
            let (mut trace, mut span, mut kind) = (Vec::new(), Vec::new(), Vec::new());
            let mut expected: HashMap<(u32, u64), Vec<u32>> = HashMap::new();
            for (t, s, k, unnamed) in spans {
                let i = span.len() as u32;
                if unnamed == 0 {
                    index.insert_unnamed();
                } else {
                    let all = expected.entry((t, s)).or_default();
                    let copy = all.iter().copied().find(|&at| kind[at as usize] == Kind::ALL[k]);
                    let keys = Keys { trace: &trace, span: &span, kind: &kind };
                    prop_assert_eq!(index.insert(keys, t, s, Kind::ALL[k]), copy);
                    if copy.is_some() {
                        continue;
                    }
                    all.push(i);
                }
                trace.push(t);
                span.push(s);
                kind.push(Kind::ALL[k]);
            }
            let keys = Keys { trace: &trace, span: &span, kind: &kind };
            for ((t, _), all) in &expected {
                prop_assert!(all.len() < 2 || index.has_twins(*t));
            }
            for t in 0..5 {
                for s in 0..121 {
                    let mut found = Vec::new();
                    index.each(keys, t, s, |at| found.push(at));
                    found.sort_unstable();
                    prop_assert_eq!(found, expected.get(&(t, s)).cloned().unwrap_or_default());
                }
            }
        }
    }
}
