//! Spans by column: as they are read, and in a set. Neighbours of one trace are a run. Knows no span by its ids.

use std::ops::Range;

use super::ids::ranges;
use super::{Kind, LinkTarget, NewSpan, Symbol};

/// Spans by column, but for their traces and links.
#[derive(Debug, Default)]
pub struct SpanColumns {
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
    /// Numbers of the vocabulary.
    pub meaning: Vec<u32>,
}

impl SpanColumns {
    pub fn len(&self) -> usize {
        self.span.len()
    }

    pub fn is_empty(&self) -> bool {
        self.span.is_empty()
    }

    /// The end, not before the start.
    #[inline]
    pub fn end_ns(&self, i: usize) -> i64 {
        self.start_ns[i].saturating_add(self.duration_ns[i].max(0))
    }

    /// Makes room for so many spans more.
    pub fn reserve(&mut self, more: usize) {
        self.span.reserve(more);
        self.parent.reserve(more);
        self.kind.reserve(more);
        self.service.reserve(more);
        self.name.reserve(more);
        self.error.reserve(more);
        self.start_ns.reserve(more);
        self.duration_ns.reserve(more);
        self.weight.reserve(more);
        self.counted.reserve(more);
        self.meaning.reserve(more);
    }

    pub fn clear(&mut self) {
        let Self { span, parent, kind, service, name, error, start_ns, duration_ns, weight, counted, meaning } = self;
        span.clear();
        parent.clear();
        kind.clear();
        service.clear();
        name.clear();
        error.clear();
        start_ns.clear();
        duration_ns.clear();
        weight.clear();
        counted.clear();
        meaning.clear();
    }

    pub fn push(&mut self, new: &NewSpan) {
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
        self.meaning.push(new.meaning);
    }

    pub fn extend(&mut self, from: &Self, range: Range<usize>) {
        self.span.extend_from_slice(&from.span[range.clone()]);
        self.parent.extend_from_slice(&from.parent[range.clone()]);
        self.kind.extend_from_slice(&from.kind[range.clone()]);
        self.service.extend_from_slice(&from.service[range.clone()]);
        self.name.extend_from_slice(&from.name[range.clone()]);
        self.error.extend_from_slice(&from.error[range.clone()]);
        self.start_ns.extend_from_slice(&from.start_ns[range.clone()]);
        self.duration_ns.extend_from_slice(&from.duration_ns[range.clone()]);
        self.weight.extend_from_slice(&from.weight[range.clone()]);
        self.counted.extend_from_slice(&from.counted[range.clone()]);
        self.meaning.extend_from_slice(&from.meaning[range]);
    }

    /// Puts a span into the place of another one of the same ids and kind.
    pub fn replace(&mut self, at: usize, new: &NewSpan) {
        self.parent[at] = new.parent;
        self.service[at] = new.service;
        self.name[at] = new.name;
        self.error[at] = new.error;
        self.start_ns[at] = new.start_ns;
        self.duration_ns[at] = new.duration_ns;
        self.weight[at] = new.weight;
        self.counted[at] = new.counted;
        self.meaning[at] = new.meaning;
    }

    /// A span, which is of this trace.
    pub fn of_trace(&self, i: usize, trace: u128) -> NewSpan {
        NewSpan {
            trace,
            span: self.span[i],
            parent: self.parent[i],
            kind: self.kind[i],
            service: self.service[i],
            name: self.name[i],
            error: self.error[i],
            start_ns: self.start_ns[i],
            duration_ns: self.duration_ns[i],
            weight: self.weight[i],
            meaning: self.meaning[i],
            counted: self.counted[i],
        }
    }
}

/// Spans on their way, with their links.
#[derive(Debug, Default)]
pub struct Rows {
    pub columns: SpanColumns,
    /// Each run's trace, and its first span.
    pub traces: Vec<(u128, usize)>,
    pub links: Links,
    /// Whether a URL or an address that was left out is to be asked.
    pub asks_urls: bool,
}

impl Rows {
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// The traces of neighbours, and these.
    pub fn runs(&self) -> impl Iterator<Item = (u128, Range<usize>)> {
        ranges(&self.traces, self.len())
    }

    /// The spans with their links, in order.
    pub fn iter(&self) -> impl Iterator<Item = (NewSpan, &[LinkTarget])> {
        self.runs().flat_map(|run| self.of_run(run))
    }

    /// The same of one of [`Rows::runs`].
    pub fn of_run(&self, (trace, range): (u128, Range<usize>)) -> impl Iterator<Item = (NewSpan, &[LinkTarget])> {
        range.map(move |i| (self.columns.of_trace(i, trace), self.links.of(i)))
    }
}

/// The links of some rows: most have none.
#[derive(Debug, Default)]
pub struct Links {
    all: Vec<LinkTarget>,
    /// The rows that have some, in order, with the end of these.
    linking: Vec<(usize, usize)>,
}

impl Links {
    /// Gives the next row that has some its links.
    pub fn add(&mut self, row: usize, links: impl Iterator<Item = LinkTarget>) {
        let before = self.all.len();
        self.all.extend(links);
        if self.all.len() > before {
            self.linking.push((row, self.all.len()));
        }
    }

    pub fn of(&self, row: usize) -> &[LinkTarget] {
        let Ok(at) = self.linking.binary_search_by_key(&row, |(of, _)| *of) else { return &[] };
        self.at(at)
    }

    /// Of the rows in a range those that have some, with them.
    pub fn within(&self, range: Range<usize>) -> impl Iterator<Item = (usize, &[LinkTarget])> {
        let place = |row: usize| self.linking.partition_point(|(of, _)| *of < row);
        (place(range.start)..place(range.end)).map(|at| (self.linking[at].0, self.at(at)))
    }

    fn at(&self, at: usize) -> &[LinkTarget] {
        let from = at.checked_sub(1).map_or(0, |before| self.linking[before].1);
        &self.all[from..self.linking[at].1]
    }
}
