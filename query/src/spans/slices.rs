//! Spans more than are held at once, in slices of time, where the table gives them in about that order: a trace that lies
//! in one slice is counted with it as it is read, and only those that lie in several are put on shelves. Looks at the ids
//! of all spans first to tell which these are. Several slices are read at once: a set is best as small as the processor's
//! cache, a statement best when it reads much. Knows nothing of what is counted.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::RecordBatch;
use futures::StreamExt;
use hashbrown::HashSet;
use orrery_model::Signal;
use tokio_util::task::AbortOnDropHandle;

use super::decode::{Decoder, Want, coded_columns};
use super::gather::{Held, Room, SPANS_A_LOOK};
use super::ids::TraceIds;
use super::load::Selection;
use super::rows::Rows;
use super::shelves::mark;
use super::words::{SharedVocabulary, Vocabulary};
use super::{LinkTarget, NewSpan, SPAN_BYTES, SpanSet};
use crate::columns::Columns;
use crate::table::Reads;
use crate::time::timestamp_sql;
use crate::{QueryError, Session, Window};

/// The table that slices are read from.
const IN_SLICES: &str = "spans_in_slices";
/// Into how many stretches of the same length time is cut, of which slices are made.
const CUTS: usize = 512;
/// Reads that are on their way while one is counted.
pub const AHEAD: usize = 2;
/// Spans of a slice, where few traces lie in several slices of that size.
const SPANS_OF_SLICE: usize = 65_536;
/// Of so many traces one may be in more than one slice.
const FEW_ACROSS: usize = 8;
/// Stands for the slices of a trace that is in several.
const ACROSS: usize = usize::MAX;
/// How often rows may be read because a batch of them lies in several slices, of how often they would be with shelves
/// alone.
const MOST_READS: usize = 2;

/// Time in slices, and what lies across their ends.
pub struct Slices {
    cuts: Cuts,
    /// In the order of time.
    slices: Vec<Slice>,
    /// Slices that are read at once.
    pub reads: Vec<Slice>,
    /// The [`mark`]s of traces in more than one slice, and of some others by chance.
    across: Arc<HashSet<u64>>,
    /// Spans in the fullest read.
    spans: usize,
    /// Whether URLs are asked for: hardly one is like another, and mostly something better names a peer.
    with_urls: Arc<AtomicBool>,
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
        let small = together(seen.cuts(), room.spans_of_read().min(SPANS_OF_SLICE));
        let reads = together(small.iter().copied(), room.spans_of_read());
        let spans = reads.iter().map(|(_, spans)| *spans).max().unwrap_or(0);
        let slices = |of: Vec<(Slice, usize)>| of.into_iter().map(|(slice, _)| slice).collect::<Vec<_>>();
        let (mut slices, reads) = (slices(small), slices(reads));
        if reads.len() > 1 && seen.is_in_order(&reads) {
            let (mut across, traces) = seen.across(&slices);
            if across.len() * FEW_ACROSS > traces {
                slices.clone_from(&reads);
                across = seen.across(&slices).0;
            }
            let found = Self { cuts, slices, reads, across: Arc::new(across), spans, with_urls: Arc::default() };
            if held.resize(room.all_shelves_bytes() + found.bytes()).is_ok() {
                session.register_for_parts(IN_SLICES, Signal::Spans, coded_columns())?;
                return Ok(Some(found));
            }
        }
        held.resize(0)?;
        Ok(None)
    }

    /// The memory that it takes, about, with what is being read and the set of a slice.
    fn bytes(&self) -> usize {
        (AHEAD + 1) * self.spans * size_of::<NewSpan>() + 2 * self.spans * SPAN_BYTES + self.kept_bytes()
    }

    /// The memory that it takes when all slices are read, about.
    pub fn kept_bytes(&self) -> usize {
        2 * self.across.len() * size_of::<u64>()
    }

    /// The slices of which a read is made.
    pub fn within(&self, read: Slice) -> impl Iterator<Item = Slice> {
        self.slices.iter().copied().filter(move |slice| read.from <= slice.from && slice.to <= read.to)
    }

    /// Starts to read one or several slices.
    pub fn start(
        &self,
        session: &Session,
        vocabulary: &SharedVocabulary,
        asked: Selection<'_>,
        read: Slice,
    ) -> AbortOnDropHandle<Result<Read, QueryError>> {
        let condition = format!("{} AND ({})", self.cuts.sql(read), asked.condition);
        let query = |without_urls: bool| {
            let want = Want { without_urls, ..asked.want };
            (Selection { condition: &condition, want, ..asked }.query_coded(IN_SLICES), want)
        };
        let queries = [query(true), query(false)];
        let (vocabulary, within) = (Arc::clone(vocabulary), self.within(read).collect::<Vec<_>>());
        let (across, cuts, with_urls) = (Arc::clone(&self.across), self.cuts, Arc::clone(&self.with_urls));
        let session = session.clone();
        let reading = session.runtime().clone();
        AbortOnDropHandle::new(reading.spawn(async move {
            'again: loop {
                let (query, want) = &queries[usize::from(with_urls.load(Ordering::Relaxed))];
                let decoding = || {
                    let mut decoder = Decoder::new(*want, Arc::clone(&vocabulary));
                    let (across, within) = (Arc::clone(&across), within.clone());
                    move |batch: RecordBatch| {
                        let rows = decoder.rows(batch)?.0;
                        let slice = |(trace, range): (u128, Range<usize>)| {
                            let cut = cuts.at(rows.columns.start_ns[range.start]).0;
                            let is_across = across.contains(&mark(trace));
                            if is_across { ACROSS } else { within.partition_point(|slice| slice.to <= cut) }
                        };
                        let slices = rows.runs().map(slice).collect();
                        Ok(ReadRows { rows, slices })
                    }
                };
                let mut batches = session.sql_mapped(query, Reads::Part, decoding).await?;
                let mut read = Read { within: within.clone(), rows: Vec::new() };
                while let Some(rows) = batches.next().await {
                    let rows = rows?;
                    if rows.rows.asks_urls {
                        with_urls.store(true, Ordering::Relaxed);
                        continue 'again;
                    }
                    read.rows.push(rows);
                }
                return Ok(read);
            }
        }))
    }
}

/// What was read of some slices.
pub struct Read {
    within: Vec<Slice>,
    rows: Vec<ReadRows>,
}

struct ReadRows {
    rows: Rows,
    /// Of each run the slice that its trace is in, by its place among those that were read, or [`ACROSS`].
    slices: Vec<usize>,
}

impl Read {
    /// The slices with the traces that are whole in each, one after another.
    pub fn slices(&self) -> impl Iterator<Item = (Slice, WholeTraces<'_>)> {
        self.within.iter().enumerate().map(|(at, slice)| (*slice, WholeTraces { rows: &self.rows, at }))
    }

    /// The spans of the others, with their links.
    pub fn across(&self) -> impl Iterator<Item = (NewSpan, &[LinkTarget])> {
        self.rows.iter().flat_map(|ReadRows { rows, slices }| {
            let across = rows.runs().zip(slices).filter(|(_, slice)| **slice == ACROSS);
            across.flat_map(|(run, _)| rows.of_run(run))
        })
    }
}

/// The traces that are whole in one slice.
pub struct WholeTraces<'a> {
    rows: &'a [ReadRows],
    at: usize,
}

impl WholeTraces<'_> {
    pub fn into_set(self, words: Vocabulary) -> SpanSet {
        let mut set = SpanSet::of(words);
        let of_slice = |rows: &&ReadRows| rows.slices.contains(&self.at);
        // Of a batch at an end of the slice the neighbour has a part.
        set.reserve(self.rows.iter().filter(of_slice).map(|read| read.rows.len()).sum());
        for ReadRows { rows, slices } in self.rows.iter().filter(of_slice) {
            set.append(rows, |run| slices[run] == self.at);
        }
        set
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

    /// Each cut as a slice, with its spans.
    fn cuts(&self) -> impl Iterator<Item = (Slice, usize)> {
        self.spans.iter().enumerate().map(|(cut, &spans)| (Slice { from: cut, to: cut + 1 }, spans))
    }

    /// Whether reading slice after slice reads few rows more than once.
    fn is_in_order(&self, slices: &[Slice]) -> bool {
        let of = |cut: usize| slices.partition_point(|slice| slice.to <= cut);
        let reads = |&(first, last, rows): &(usize, usize, usize)| (of(last) - of(first) + 1) * rows;
        let rows: usize = self.batches.iter().map(|(_, _, rows)| rows).sum();
        self.batches.iter().map(reads).sum::<usize>() <= rows * MOST_READS
    }

    /// The marks of traces in more than one slice, and how many traces there are.
    fn across(&self, slices: &[Slice]) -> (HashSet<u64>, usize) {
        let mut all = Vec::with_capacity(self.marks);
        let mut marks = Vec::new();
        for slice in slices {
            // Once a slice, so that what is there twice is in two of them.
            marks.clear();
            marks.extend(self.traces[slice.from..slice.to].iter().flatten());
            marks.sort_unstable();
            marks.dedup();
            all.extend_from_slice(&marks);
        }
        all.sort_unstable();
        let across: HashSet<u64> = all.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        all.dedup();
        (across, all.len())
    }
}

/// Neighbours of at most so many spans put together; one that has more stays alone.
fn together(all: impl Iterator<Item = (Slice, usize)>, at_most: usize) -> Vec<(Slice, usize)> {
    let mut found: Vec<(Slice, usize)> = Vec::new();
    for (next, spans) in all {
        match found.last_mut() {
            Some((slice, sum)) if *sum + spans <= at_most => {
                slice.to = next.to;
                *sum += spans;
            }
            _ => found.push((next, spans)),
        }
    }
    found
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
        let (traces, times) = (batch.text("trace_id")?, batch.integers("timestamp")?.all_or_zero());
        let mut seen = Self { ends: None, rows: batch.0.num_rows(), traces: Vec::new() };
        let (mut cut, mut within) = (0, 0..0);
        let (mut known, mut i) = (TraceIds::default(), 0);
        traces.each(batch.0.num_rows(), |hex| {
            let time = times[i];
            i += 1;
            // What is beside one another is mostly of one cut and one trace.
            if !within.contains(&time) {
                (cut, within) = cuts.at(time);
                seen.ends = Some(seen.ends.map_or((cut, cut), |(first, last)| (first.min(cut), last.max(cut))));
            }
            let Some(mark) = known.next(hex).map(mark) else { return };
            match seen.traces.last_mut() {
                Some((of, last, spans)) if (*of, *last) == (cut, mark) => *spans += 1,
                _ => seen.traces.push((cut, mark, 1)),
            }
        });
        Ok(seen)
    }
}
