//! Spans as the graph, the services and the trace search need them: a few narrow columns, strings interned, copies left
//! out. Holds no attribute that none of them asks for and never reads a table itself.

mod codes;
mod decode;
pub mod gather;
mod ids;
pub mod index;
pub mod lineage;
pub mod load;
pub mod node;
pub mod received;
mod rows;
pub mod semantics;
pub mod shelves;
pub mod slices;
mod words;

use std::ops::{Deref, Range};

use hashbrown::hash_map::Entry;
use hashbrown::{HashMap, HashSet};
use index::{Index, Keys};
use rows::{Rows, SpanColumns};

pub use ids::{parse_span_id, parse_trace_id, ranges, span_id_hex, trace_id_hex, trace_runs};
pub use lineage::{Lineage, MISSING, ROOT};
pub use semantics::{Operation, Semantics};
pub use words::{Latest, SharedVocabulary, Symbol, Symbols, Vocabulary};

/// The span kinds, in OTLP's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    Unspecified,
    Internal,
    Server,
    Client,
    Producer,
    Consumer,
    /// A number that OTLP does not define.
    Other,
}

impl Kind {
    pub const ALL: [Self; 7] =
        [Self::Unspecified, Self::Internal, Self::Server, Self::Client, Self::Producer, Self::Consumer, Self::Other];

    #[inline]
    pub fn from_word(word: &str) -> Self {
        match word {
            "INTERNAL" => Self::Internal,
            "SERVER" => Self::Server,
            "CLIENT" => Self::Client,
            "PRODUCER" => Self::Producer,
            "CONSUMER" => Self::Consumer,
            "UNSPECIFIED" => Self::Unspecified,
            _ => Self::Other,
        }
    }

    pub const fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "UNSPECIFIED",
            Self::Internal => "INTERNAL",
            Self::Server => "SERVER",
            Self::Client => "CLIENT",
            Self::Producer => "PRODUCER",
            Self::Consumer => "CONSUMER",
            Self::Other => "OTHER",
        }
    }
}

/// Trace id, span id and kind: one span, whatever copies of it there are.
pub type SpanKey = (u128, u64, Kind);

/// A (trace id, span id) that a span links to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkTarget {
    pub trace: u128,
    pub span: u64,
}

/// One span on its way into the set, in the set's vocabulary; its links go beside it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NewSpan {
    pub trace: u128,
    pub span: u64,
    /// 0 for none.
    pub parent: u64,
    pub kind: Kind,
    pub service: Symbol,
    pub name: Symbol,
    pub error: bool,
    pub start_ns: i64,
    /// 0 where no end was sent.
    pub duration_ns: i64,
    /// How many spans this one stands for, after sampling.
    pub weight: f32,
    /// The number of its [`Semantics`].
    pub meaning: u32,
    /// Whether the request's window and filter take it in; the others are there as parents and children.
    pub counted: bool,
}

/// Bytes that a span takes in a set, about: the columns, the index, and what is computed of each. A trace takes as much.
const SPAN_BYTES: usize = 80;

/// The spans, by column. Of copies (the same trace id, span id and kind) only the first that came is in.
#[derive(Debug, Default)]
pub struct SpanSet {
    pub words: Vocabulary,
    columns: SpanColumns,
    /// Trace ids by number.
    pub traces: Vec<u128>,
    pub trace: Vec<u32>,
    links: HashMap<u32, Vec<LinkTarget>>,
    trace_numbers: HashMap<u128, u32>,
    index: Index,
    /// Spans of which a copy came that differs: which of them is the earliest received is not yet known.
    unlike: HashSet<SpanKey>,
    /// While copies come in the order they were received: the spans that the next copy replaces.
    settling: Option<HashSet<SpanKey>>,
    /// Copies left out of those that window and filter take in.
    pub copies: u64,
    /// The span that each of these is a copy of, and when the copy starts.
    pub counted_copies: Vec<(u32, i64)>,
    /// Traces with copies that differ.
    pub unlike_traces: HashSet<u128>,
}

/// A set is its columns, and more.
impl Deref for SpanSet {
    type Target = SpanColumns;

    fn deref(&self) -> &SpanColumns {
        &self.columns
    }
}

impl SpanSet {
    /// An empty set with the words of others.
    pub fn of(words: Vocabulary) -> Self {
        Self { words, ..Self::default() }
    }

    /// The memory that it takes, about.
    pub fn bytes(&self) -> usize {
        (self.len() + self.traces.len()) * SPAN_BYTES
    }

    /// Makes room for so many spans more.
    pub fn reserve(&mut self, more: usize) {
        self.trace.reserve(more);
        self.columns.reserve(more);
    }

    /// Forgets all but the words, and keeps its room.
    pub fn clear(&mut self) {
        let Self {
            words: _,
            columns,
            traces,
            trace,
            links,
            trace_numbers,
            index,
            unlike,
            settling,
            copies,
            counted_copies,
            unlike_traces,
        } = self;
        columns.clear();
        traces.clear();
        trace.clear();
        links.clear();
        trace_numbers.clear();
        index.clear();
        unlike.clear();
        *settling = None;
        *copies = 0;
        counted_copies.clear();
        unlike_traces.clear();
    }

    pub fn symbols(&self) -> &Symbols {
        &self.words.symbols
    }

    #[inline]
    pub fn semantics(&self, i: usize) -> &Semantics {
        self.words.meanings.get(self.meaning[i])
    }

    pub fn has_links(&self) -> bool {
        !self.links.is_empty()
    }

    #[inline]
    pub fn links(&self, i: usize) -> &[LinkTarget] {
        u32::try_from(i).ok().and_then(|i| self.links.get(&i)).map_or(&[], Vec::as_slice)
    }

    #[inline]
    pub fn trace_id(&self, i: usize) -> u128 {
        self.traces[self.trace[i] as usize]
    }

    /// Spans by their ids, whatever their kinds, in the order of these.
    pub fn find(&self, target: LinkTarget) -> impl Iterator<Item = usize> + use<> {
        let mut found = Vec::new();
        if let Some(trace) = self.trace_numbers.get(&target.trace) {
            self.index.each(self.keys(), *trace, target.span, |i| found.push(i as usize));
        }
        found.sort_unstable_by_key(|&i| self.kind[i]);
        found.into_iter()
    }

    /// A span as it came in, but for its links.
    pub fn get(&self, i: usize) -> NewSpan {
        self.columns.of_trace(i, self.trace_id(i))
    }

    /// Of the traces that came first, so many, whether one is this.
    pub fn is_among_first(&self, traces: usize, trace: u128) -> bool {
        self.trace_numbers.get(&trace).is_some_and(|number| (*number as usize) < traces)
    }

    /// Whether of a span's copies the earliest received is still to be found.
    pub fn is_unsettled(&self) -> bool {
        !self.unlike.is_empty()
    }

    #[inline]
    fn number_of(&mut self, trace: u128) -> u32 {
        // Spans of one trace are often neighbours.
        if let Some(&last) = self.trace.last()
            && self.traces[last as usize] == trace
        {
            return last;
        }
        let next = u32::try_from(self.traces.len()).expect("fewer than 2^32 traces");
        match self.trace_numbers.entry(trace) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(slot) => {
                self.traces.push(trace);
                *slot.insert(next)
            }
        }
    }

    /// Adds a span, unless it is a copy of one that is in.
    #[inline]
    pub fn push(&mut self, new: &NewSpan, links: &[LinkTarget]) -> bool {
        let trace = self.number_of(new.trace);
        let SpanColumns { span, kind, .. } = &self.columns;
        let keys = Keys { trace: &self.trace, span, kind };
        if let Some(at) = self.index.insert(keys, trace, new.span, new.kind) {
            self.take_copy(at as usize, new, links);
            return false;
        }
        if !links.is_empty() {
            self.link(self.len(), links);
        }
        self.trace.push(trace);
        self.columns.push(new);
        true
    }

    /// Adds spans of these runs, but for copies of those that are in.
    pub fn append(&mut self, rows: &Rows, runs: impl Iterator<Item = (u128, Range<usize>)>) {
        // Runs that no span of their trace is in before are added together.
        let mut whole = 0..0;
        for (trace, range) in runs {
            let number = self.number_of(trace);
            let (spans, kinds) = (&rows.columns.span[range.clone()], &rows.columns.kind[range.clone()]);
            let is_new = self.index.insert_run(number, spans, kinds);
            if !is_new || whole.end != range.start {
                self.extend(rows, std::mem::replace(&mut whole, range.start..range.start));
            }
            if is_new {
                self.trace.resize(self.trace.len() + range.len(), number);
                whole.end = range.end;
            } else {
                for (span, links) in rows.of_run((trace, range.clone())) {
                    self.push(&span, links);
                }
                whole = range.end..range.end;
            }
        }
        self.extend(rows, whole);
    }

    fn extend(&mut self, rows: &Rows, range: Range<usize>) {
        for (i, links) in rows.links.within(range.clone()) {
            self.link(self.len() + i - range.start, links);
        }
        self.columns.extend(&rows.columns, range);
    }

    fn link(&mut self, i: usize, links: &[LinkTarget]) {
        let i = u32::try_from(i).expect("fewer than 2^32 spans");
        self.links.insert(i, links.to_vec());
    }

    /// Notes that copies of spans differ, as far as these are in.
    pub fn note_unlike(&mut self, keys: impl Iterator<Item = SpanKey>) {
        for key in keys {
            if self.find(LinkTarget { trace: key.0, span: key.1 }).any(|i| self.kind[i] == key.2) {
                self.unlike.insert(key);
            }
        }
    }

    /// Whether the earliest received of a span's copies is still looked for.
    fn is_settling(&self, span: &NewSpan) -> bool {
        let key = (span.trace, span.span, span.kind);
        self.settling.as_ref().is_some_and(|settling| settling.contains(&key))
    }

    fn take_copy(&mut self, at: usize, new: &NewSpan, links: &[LinkTarget]) {
        let key = (new.trace, new.span, new.kind);
        let Some(settling) = &mut self.settling else {
            if new.counted {
                self.copies += 1;
                self.counted_copies.push((at as u32, new.start_ns));
            }
            let same = self.start_ns[at] == new.start_ns
                && self.duration_ns[at] == new.duration_ns
                && self.parent[at] == new.parent
                && self.service[at] == new.service
                && self.name[at] == new.name
                && self.error[at] == new.error
                && self.counted[at] == new.counted
                && self.meaning[at] == new.meaning;
            if !same {
                self.unlike.insert(key);
            }
            return;
        };
        if !settling.remove(&key) {
            return;
        }
        self.columns.replace(at, new);
        self.links.remove(&(at as u32));
        if !links.is_empty() {
            self.links.insert(at as u32, links.to_vec());
        }
    }

    /// The parent of each span, at most [`lineage::REACH_NS`] away where the direction has a bound.
    pub fn lineage(&self) -> Lineage {
        let ids = lineage::Ids {
            keys: self.keys(),
            parent: &self.parent,
            service: &self.service,
            start_ns: &self.start_ns,
            reach_ns: lineage::REACH_NS,
        };
        lineage::resolve(&ids, &self.index)
    }

    fn keys(&self) -> Keys<'_> {
        Keys { trace: &self.trace, span: &self.span, kind: &self.kind }
    }
}

/// How many spans one span stands for, by the consistent-sampling threshold of its trace state (`ot=th:…`, W3C Trace
/// Context level 2, "threshold": of 2^56, with trailing zeros left out). 1 where there is none or it makes no sense.
pub fn sampling_weight(trace_state: &str) -> f64 {
    const ALL: u64 = 1 << 56;
    let threshold = trace_state
        .split(',')
        .filter_map(|member| member.trim().strip_prefix("ot="))
        .flat_map(|value| value.split(';'))
        .find_map(|field| field.trim().strip_prefix("th:"));
    let Some(digits) = threshold else { return 1.0 };
    if digits.is_empty() || digits.len() > 14 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return 1.0;
    }
    let Ok(value) = u64::from_str_radix(&format!("{digits:0<14}"), 16) else { return 1.0 };
    // Of 2^56 equally likely values, those from the threshold upwards were kept.
    ALL as f64 / (ALL - value) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_says_how_many_spans_one_stands_for() {
        let cases = [
            ("", 1.0),
            ("ot=th:0", 1.0),
            ("ot=th:8", 2.0),
            ("ot=th:c", 4.0),
            ("vendor=x, ot=rv:abcdef01234567;th:fd70a3d70a3d71", 100.0),
            ("ot=th:fffffffffffffff", 1.0),
            ("ot=th:zz", 1.0),
            ("ot=p:8", 1.0),
            ("other=th:8", 1.0),
        ];
        for (state, expected) in cases {
            assert!((sampling_weight(state) - expected).abs() < 1e-6, "{state}");
        }
    }
}
