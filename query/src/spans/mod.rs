//! Spans as the graph, the services and the trace search need them: a few narrow columns, strings interned, copies left
//! out. Holds no attribute that none of them asks for and never reads a table itself.

pub mod lineage;
pub mod load;
pub mod node;
pub mod received;
pub mod semantics;

use std::sync::Arc;

use hashbrown::hash_map::Entry;
use hashbrown::{HashMap, HashSet};

pub use lineage::{Lineage, MISSING, ROOT};
pub use semantics::{Operation, Semantics};

/// A string of the set; 0 is "none".
pub type Symbol = u32;

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

/// Strings by number, each once.
#[derive(Clone, Debug)]
pub struct Symbols {
    numbers: HashMap<Arc<str>, Symbol>,
    texts: Vec<Arc<str>>,
}

impl Default for Symbols {
    fn default() -> Self {
        let none: Arc<str> = "".into();
        Self { numbers: [(none.clone(), 0)].into_iter().collect(), texts: vec![none] }
    }
}

impl Symbols {
    /// The number of a string; the empty one is 0.
    pub fn intern(&mut self, text: &str) -> Symbol {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let number = u32::try_from(self.texts.len()).expect("fewer than 2^32 distinct strings");
        let text: Arc<str> = text.into();
        self.texts.push(text.clone());
        self.numbers.insert(text, number);
        number
    }

    /// How many there are, the empty one included.
    #[expect(clippy::len_without_is_empty, reason = "the empty string is always there")]
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    pub fn find(&self, text: &str) -> Option<Symbol> {
        self.numbers.get(text).copied()
    }

    pub fn text(&self, symbol: Symbol) -> &str {
        &self.texts[symbol as usize]
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

/// One span on its way into the set.
#[derive(Clone, Debug)]
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
    pub semantics: Semantics,
    pub links: Vec<LinkTarget>,
    /// Whether the request's window and filter take it in; the others are there as parents and children.
    pub counted: bool,
}

/// The spans, by column. Of copies (the same trace id, span id and kind) only the first pushed is in.
#[derive(Debug, Default)]
pub struct SpanSet {
    pub symbols: Symbols,
    /// Trace ids by number.
    pub traces: Vec<u128>,
    pub trace: Vec<u32>,
    pub span: Vec<u64>,
    pub parent: Vec<u64>,
    pub kind: Vec<Kind>,
    pub service: Vec<Symbol>,
    pub name: Vec<Symbol>,
    pub error: Vec<bool>,
    pub start_ns: Vec<i64>,
    pub duration_ns: Vec<i64>,
    pub weight: Vec<f32>,
    pub counted: Vec<bool>,
    /// Into `all_semantics`.
    semantics: Vec<u32>,
    all_semantics: Vec<Semantics>,
    semantics_numbers: HashMap<Semantics, u32>,
    links: HashMap<u32, Vec<LinkTarget>>,
    trace_numbers: HashMap<u128, u32>,
    index: lineage::Index,
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

impl SpanSet {
    pub fn len(&self) -> usize {
        self.span.len()
    }

    pub fn is_empty(&self) -> bool {
        self.span.is_empty()
    }

    pub fn semantics(&self, i: usize) -> &Semantics {
        &self.all_semantics[self.semantics[i] as usize]
    }

    pub fn links(&self, i: usize) -> &[LinkTarget] {
        u32::try_from(i).ok().and_then(|i| self.links.get(&i)).map_or(&[], Vec::as_slice)
    }

    pub fn trace_id(&self, i: usize) -> u128 {
        self.traces[self.trace[i] as usize]
    }

    /// The end, not before the start.
    pub fn end_ns(&self, i: usize) -> i64 {
        self.start_ns[i].saturating_add(self.duration_ns[i].max(0))
    }

    /// A span by its ids, whatever its kind.
    pub fn find(&self, trace: u128, span: u64) -> Option<usize> {
        let trace = *self.trace_numbers.get(&trace)?;
        self.index.first(trace, span).map(|i| i as usize)
    }

    pub fn has_trace(&self, trace: u128) -> bool {
        self.trace_numbers.contains_key(&trace)
    }

    /// Adds a span, unless it is a copy of one that is in.
    pub fn push(&mut self, new: NewSpan) -> bool {
        let next_trace = u32::try_from(self.traces.len()).expect("fewer than 2^32 traces");
        let trace = match self.trace_numbers.entry(new.trace) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(slot) => {
                self.traces.push(new.trace);
                *slot.insert(next_trace)
            }
        };
        let i = u32::try_from(self.span.len()).expect("fewer than 2^32 spans");
        if let Some(at) = self.index.insert(&self.kind, trace, new.span, new.kind, i) {
            self.take_copy(at as usize, new);
            return false;
        }
        self.trace.push(trace);
        self.span.push(new.span);
        self.parent.push(new.parent);
        self.kind.push(new.kind);
        self.service.push(new.service);
        self.name.push(new.name);
        self.error.push(new.error);
        self.start_ns.push(new.start_ns);
        self.duration_ns.push(new.duration_ns);
        self.weight.push(new.weight);
        self.counted.push(new.counted);
        if !new.links.is_empty() {
            self.links.insert(i, new.links);
        }
        let semantics = self.number(new.semantics);
        self.semantics.push(semantics);
        true
    }

    /// Whether the earliest received of a span's copies is still looked for.
    fn is_settling(&self, span: &NewSpan) -> bool {
        let key = (span.trace, span.span, span.kind);
        self.settling.as_ref().is_some_and(|settling| settling.contains(&key))
    }

    fn take_copy(&mut self, at: usize, new: NewSpan) {
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
                && *self.semantics(at) == new.semantics;
            if !same {
                self.unlike.insert(key);
            }
            return;
        };
        if !settling.remove(&key) {
            return;
        }
        self.parent[at] = new.parent;
        self.service[at] = new.service;
        self.name[at] = new.name;
        self.error[at] = new.error;
        self.start_ns[at] = new.start_ns;
        self.duration_ns[at] = new.duration_ns;
        self.weight[at] = new.weight;
        self.counted[at] = new.counted;
        self.links.remove(&(at as u32));
        if !new.links.is_empty() {
            self.links.insert(at as u32, new.links);
        }
        self.semantics[at] = self.number(new.semantics);
    }

    fn number(&mut self, semantics: Semantics) -> u32 {
        let all = &mut self.all_semantics;
        *self.semantics_numbers.entry(semantics).or_insert_with_key(|s| {
            all.push(*s);
            u32::try_from(all.len() - 1).expect("fewer than 2^32 spans")
        })
    }

    /// The parent of each span, at most [`lineage::REACH_NS`] away where the direction has a bound.
    pub fn lineage(&self) -> Lineage {
        let ids = lineage::Ids {
            trace: &self.trace,
            span: &self.span,
            parent: &self.parent,
            kind: &self.kind,
            service: &self.service,
            start_ns: &self.start_ns,
            reach_ns: lineage::REACH_NS,
        };
        lineage::resolve(&ids, &self.index)
    }
}

/// A lower-case hex trace id as a number.
pub fn parse_trace_id(hex: &str) -> Option<u128> {
    (hex.len() == 32).then(|| u128::from_str_radix(hex, 16).ok()).flatten()
}

/// A lower-case hex span id as a number. All zeros, OTLP's "no span", is `None`.
pub fn parse_span_id(hex: &str) -> Option<u64> {
    (hex.len() == 16).then(|| u64::from_str_radix(hex, 16).ok()).flatten().filter(|&id| id != 0)
}

pub fn trace_id_hex(id: u128) -> String {
    format!("{id:032x}")
}

pub fn span_id_hex(id: u64) -> String {
    format!("{id:016x}")
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
