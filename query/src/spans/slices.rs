//! Spans more than are held at once, in slices of time, where the table gives them in about that order: a trace that lies
//! in one slice is counted with it as it is read, and only those that lie in several are put on shelves. Looks at the ids
//! of all spans first to tell which these are. Knows nothing of what is counted.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::StreamExt;
use hashbrown::HashSet;
use orrery_model::Signal;
use tokio_util::task::AbortOnDropHandle;

use super::decode::{Decoder, Rows, coded_columns};
use super::gather::{Held, Room, SPANS_A_LOOK};
use super::load::Selection;
use super::shelves::mark;
use super::words::{SharedVocabulary, Vocabulary};
use super::{LinkTarget, NewSpan, SPAN_BYTES, SpanSet, parse_trace_id};
use crate::columns::Columns;
use crate::table::Reads;
use crate::time::timestamp_sql;
use crate::{QueryError, Session, Window};

/// The table that slices are read from.
const IN_SLICES: &str = "spans_in_slices";
/// Into how many stretches of the same length time is cut, of which slices are made.
const CUTS: usize = 512;
/// Slices that are read while one is counted.
pub const AHEAD: usize = 2;
/// How often rows may be read because a batch of them lies in several slices, of how often they would be with shelves
/// alone.
const MOST_READS: usize = 2;

/// Time in slices, and what lies across their ends.
pub struct Slices {
    cuts: Cuts,
    pub slices: Vec<Slice>,
    /// The [`mark`]s of traces in more than one slice, and of some others by chance.
    across: Arc<HashSet<u64>>,
    /// Spans in the fullest slice.
    spans: usize,
}

impl Slices {
    /// The slices of what spans are asked for; `None` where shelves alone are better.
    pub async fn find(
        session: &Session,
        asked: Selection<'_>,
        stretches: &[Window],
        room: Room,
        held: &Held,
    ) -> Result<Option<Self>, QueryError> {
        let Some(cuts) = Cuts::of(session, stretches) else { return Ok(None) };
        let query = format!("SELECT timestamp, trace_id FROM spans WHERE {}", asked.condition);
        let look = || move |batch: RecordBatch| SeenBatch::of(Columns(&batch), cuts);
        let mut batches = session.sql_mapped(&query, Reads::All, look).await?;
        let mut seen = Seen::new();
        let mut looked = 0;
        while let Some(batch) = batches.next().await {
            seen.add(batch?);
            if seen.marks >= looked + SPANS_A_LOOK {
                looked = seen.marks;
                // They are put in order once more.
                if held.resize(2 * seen.marks * size_of::<u64>()).is_err() {
                    held.resize(0)?;
                    return Ok(None);
                }
            }
        }
        let (slices, spans) = seen.slices(room.spans_of_slice());
        if slices.len() > 1 && seen.is_in_order(&slices) {
            let across = seen.across(&slices);
            let found = Self { cuts, slices, across: Arc::new(across), spans };
            if held.resize(room.all_shelves_bytes() + found.bytes()).is_ok() {
                session.register_for_parts(IN_SLICES, Signal::Spans, coded_columns())?;
                return Ok(Some(found));
            }
        }
        held.resize(0)?;
        Ok(None)
    }

    /// The memory that it takes, about, with the slices that are being read and the set of one.
    fn bytes(&self) -> usize {
        (AHEAD + 1) * self.spans * size_of::<NewSpan>() + 2 * self.spans * SPAN_BYTES + self.kept_bytes()
    }

    /// The memory that it takes when all slices are read, about.
    pub fn kept_bytes(&self) -> usize {
        2 * self.across.len() * size_of::<u64>()
    }

    /// Starts to read a slice.
    pub fn start(
        &self,
        session: &Session,
        vocabulary: &SharedVocabulary,
        asked: Selection<'_>,
        slice: Slice,
    ) -> AbortOnDropHandle<Result<Read, QueryError>> {
        let condition = format!("{} AND ({})", self.cuts.sql(slice), asked.condition);
        let query = Selection { condition: &condition, ..asked }.query_coded(IN_SLICES);
        let (vocabulary, across) = (Arc::clone(vocabulary), Arc::clone(&self.across));
        let session = session.clone();
        let reading = session.runtime().clone();
        AbortOnDropHandle::new(reading.spawn(async move {
            let decoding = || {
                let mut decoder = Decoder::new(asked.want, Arc::clone(&vocabulary));
                let across = Arc::clone(&across);
                move |batch: RecordBatch| {
                    let (mut within, mut beyond) = (Rows::default(), Rows::default());
                    within.reserve(batch.num_rows());
                    let mut last = None;
                    decoder.each(Columns(&batch), |_, span, links| {
                        let (_, is_across) = match last {
                            Some(known @ (trace, _)) if trace == span.trace => known,
                            _ => *last.insert((span.trace, across.contains(&mark(span.trace)))),
                        };
                        if is_across { &mut beyond } else { &mut within }.push(span, links);
                    })?;
                    Ok((within, beyond))
                }
            };
            let mut rows = session.sql_mapped(&query, Reads::Part, decoding).await?;
            let mut read = Read::default();
            while let Some(rows) = rows.next().await {
                let (within, across) = rows?;
                read.within.push(within);
                read.across.push(across);
            }
            Ok(read)
        }))
    }
}

/// What was read of a slice: the spans of traces that are whole in it, and the others.
#[derive(Default)]
pub struct Read {
    within: Vec<Rows>,
    across: Vec<Rows>,
}

impl Read {
    /// The whole traces.
    pub fn into_set(self, words: Vocabulary) -> SpanSet {
        let mut set = SpanSet::of(words);
        set.reserve(self.within.iter().map(Rows::len).sum());
        for rows in &self.within {
            for (span, links) in rows.iter() {
                set.push(span, links);
            }
        }
        set
    }

    pub fn across(&self) -> impl Iterator<Item = (&NewSpan, &[LinkTarget])> {
        self.across.iter().flat_map(Rows::iter)
    }
}

/// Cuts from this to before that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    from: usize,
    to: usize,
}

/// Time in stretches of the same length; the first and the last one are without an end.
#[derive(Clone, Copy, Debug)]
struct Cuts {
    start_ns: i64,
    width_ns: i64,
}

impl Cuts {
    /// Of the time within which the spans of some stretches lie.
    fn of(session: &Session, stretches: &[Window]) -> Option<Self> {
        let table = session.snapshot().table(Signal::Spans);
        let files = table.files.iter().map(|file| (file.min_timestamp_ns, file.max_timestamp_ns));
        let memory = table.memory.iter().map(|batch| (batch.min_timestamp_ns, batch.max_timestamp_ns));
        let within = files.chain(memory).flat_map(|(first, last)| {
            let within = |w: &Window| (first.max(w.start_ns), last.min(w.end_ns.saturating_sub(1)));
            stretches.iter().map(within).filter(|(first, last)| first <= last).collect::<Vec<_>>()
        });
        let (first, last) = within.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
        let width_ns = (i128::from(last) - i128::from(first)) / CUTS as i128 + 1;
        Some(Self { start_ns: first, width_ns: i64::try_from(width_ns).unwrap_or(i64::MAX) })
    }

    /// The cut that a time is in, and times in it.
    fn at(self, ns: i64) -> (usize, Range<i64>) {
        let cut = ns.saturating_sub(self.start_ns).max(0) / self.width_ns;
        let cut = usize::try_from(cut).unwrap_or(usize::MAX).min(CUTS - 1);
        (cut, self.start(cut)..self.start(cut + 1))
    }

    fn start(self, cut: usize) -> i64 {
        self.start_ns.saturating_add(self.width_ns.saturating_mul(cut as i64))
    }

    /// The condition that a span starts within a slice.
    fn sql(self, slice: Slice) -> String {
        let start = |cut: usize| timestamp_sql(self.start(cut));
        let from = (slice.from > 0).then(|| format!("timestamp >= {}", start(slice.from)));
        let to = (slice.to < CUTS).then(|| format!("timestamp < {}", start(slice.to)));
        from.into_iter().chain(to).collect::<Vec<_>>().join(" AND ")
    }
}

/// What was seen of spans at a look at their ids.
struct Seen {
    /// Cut by cut.
    spans: Vec<usize>,
    traces: Vec<Vec<u64>>,
    /// The first and the last cut of a batch, and its rows.
    batches: Vec<(usize, usize, usize)>,
    /// Of traces, some of them more than once.
    marks: usize,
}

impl Seen {
    fn new() -> Self {
        Self { spans: vec![0; CUTS], traces: vec![Vec::new(); CUTS], batches: Vec::new(), marks: 0 }
    }

    fn add(&mut self, batch: SeenBatch) {
        if let Some((first, last)) = batch.ends {
            self.batches.push((first, last, batch.rows));
        }
        self.marks += batch.traces.len();
        for (cut, mark, spans) in batch.traces {
            self.spans[cut] += spans;
            self.traces[cut].push(mark);
        }
    }

    /// Slices of at most so many spans, but for those of one cut, and how many are in the fullest.
    fn slices(&self, spans_of_slice: usize) -> (Vec<Slice>, usize) {
        let mut slices: Vec<(Slice, usize)> = Vec::new();
        for (cut, &spans) in self.spans.iter().enumerate() {
            match slices.last_mut() {
                Some((slice, sum)) if *sum + spans <= spans_of_slice => {
                    slice.to = cut + 1;
                    *sum += spans;
                }
                _ => slices.push((Slice { from: cut, to: cut + 1 }, spans)),
            }
        }
        let fullest = slices.iter().map(|(_, spans)| *spans).max().unwrap_or(0);
        (slices.into_iter().map(|(slice, _)| slice).collect(), fullest)
    }

    /// Whether reading slice after slice reads few rows more than once.
    fn is_in_order(&self, slices: &[Slice]) -> bool {
        let of = |cut: usize| slices.partition_point(|slice| slice.to <= cut);
        let reads = |&(first, last, rows): &(usize, usize, usize)| (of(last) - of(first) + 1) * rows;
        let rows: usize = self.batches.iter().map(|(_, _, rows)| rows).sum();
        self.batches.iter().map(reads).sum::<usize>() <= rows * MOST_READS
    }

    /// The marks of traces in more than one slice.
    fn across(mut self, slices: &[Slice]) -> HashSet<u64> {
        let mut all = Vec::with_capacity(self.marks);
        for slice in slices {
            // Once a slice, so that what is there twice is in two of them.
            let cuts = &mut self.traces[slice.from..slice.to];
            let mut marks: Vec<u64> = cuts.iter_mut().flat_map(std::mem::take).collect();
            marks.sort_unstable();
            marks.dedup();
            all.append(&mut marks);
        }
        all.sort_unstable();
        all.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect()
    }
}

/// The same of one batch.
struct SeenBatch {
    ends: Option<(usize, usize)>,
    rows: usize,
    /// Cut, trace and number of spans; neighbours only are told apart.
    traces: Vec<(usize, u64, usize)>,
}

impl SeenBatch {
    fn of(batch: Columns<'_>, cuts: Cuts) -> Result<Self, QueryError> {
        let (traces, times) = (batch.text("trace_id")?, batch.integers("timestamp")?);
        let mut seen = Self { ends: None, rows: batch.0.num_rows(), traces: Vec::new() };
        let (mut cut, mut within) = (0, 0..0);
        let mut last = ("", None);
        for i in 0..batch.0.num_rows() {
            let (time, text) = (times.or_zero(i), traces.or_empty(i));
            // What is beside one another is mostly of one cut and one trace.
            if !within.contains(&time) {
                (cut, within) = cuts.at(time);
                seen.ends = Some(seen.ends.map_or((cut, cut), |(first, last)| (first.min(cut), last.max(cut))));
            }
            if text != last.0 {
                last = (text, parse_trace_id(text).map(mark));
            }
            let Some(mark) = last.1 else { continue };
            match seen.traces.last_mut() {
                Some((of, last, spans)) if (*of, *last) == (cut, mark) => *spans += 1,
                _ => seen.traces.push((cut, mark, 1)),
            }
        }
        Ok(seen)
    }
}
