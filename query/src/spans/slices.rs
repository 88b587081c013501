//! Spans more than are held at once, in slices of time: where the table gives them in about that order, a trace that lies
//! in one slice is counted with it as soon as the slice is read, and only those that lie in several are put on shelves.
//! Looks at the ids of all spans first to tell which these are, and how many rows a slice has. Knows nothing of what is
//! counted.

use std::borrow::Cow;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::StreamExt;
use hashbrown::HashSet;
use orrery_model::Signal;

use super::decode::{Decoder, Want, coded_columns};
use super::gather::{Held, Room, SPANS_A_LOOK};
use super::ids::{ranges, trace_runs};
use super::load::Selection;
use super::rows::Rows;
use super::shelves::{Shelves, mark};
use super::words::SharedVocabulary;
use super::{SPAN_BYTES, SpanSet};
use crate::columns::Columns;
use crate::session::SqlStream;
use crate::table::Reads;
use crate::time::timestamp_sql;
use crate::{QueryError, Session, Window};

/// The table that slices are read from.
const IN_SLICES: &str = "spans_in_slices";
/// Into how many stretches of the same length time is cut, of which slices are made: one has about so many spans.
const SPANS_OF_CUT: usize = 16_384;
const CUTS: RangeInclusive<usize> = 512..=65_536;
/// Spans of a slice, where few traces lie in several slices of that size.
const SPANS_OF_SLICE: usize = 65_536;
/// Of so many traces one may be in more than one slice.
const FEW_ACROSS: usize = 8;
/// Stands for the slices of a trace that is in several.
const ACROSS: usize = usize::MAX;
/// Slices that are open at once for each thread, where every partition is read in the order of time: at the end of one the
/// next is begun, and a thread may have partitions of two scans.
const OPEN_SLICES: usize = 6;

/// Time in slices, and what lies across their ends.
pub struct Slices {
    cuts: Cuts,
    /// In the order of time.
    slices: Arc<Vec<Slice>>,
    /// The [`mark`]s of traces in more than one slice, and of some others by chance.
    across: Arc<HashSet<u64>>,
    /// Whether URLs are asked for: hardly one is like another, and mostly something better names a peer.
    pub with_urls: bool,
}

impl Slices {
    /// The slices of what spans are asked for; `None` where shelves alone are better.
    pub async fn find(
        session: &Session,
        asked: Selection<'_>,
        expected: usize,
        stretches: &[Window],
        room: Room,
        held: &Held,
    ) -> Result<Option<Self>, QueryError> {
        let Some(cuts) = Cuts::of(session, stretches, expected) else { return Ok(None) };
        let query = format!("SELECT timestamp, trace_id FROM spans WHERE {}", asked.condition);
        let look = || move |batch: RecordBatch| SeenBatch::of(Columns(&batch), cuts);
        let mut batches = session.sql_mapped(&query, Reads::All, look).await?;
        let mut seen = Seen::new(cuts.count);
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
        let at_most = room.spans_open() / (OPEN_SLICES * session.threads());
        let mut slices = seen.together(at_most.min(SPANS_OF_SLICE));
        let (mut across, traces) = seen.across(&slices);
        if at_most > SPANS_OF_SLICE && across.len() * FEW_ACROSS > traces {
            slices = seen.together(at_most);
            across = seen.across(&slices).0;
        }
        let found = Self { cuts, slices: Arc::new(slices), across: Arc::new(across), with_urls: false };
        if found.slices.len() > 1 && held.resize(room.all_shelves_bytes() + found.bytes(room)).is_ok() {
            session.register_for_parts(IN_SLICES, Signal::Spans, coded_columns())?;
            return Ok(Some(found));
        }
        held.resize(0)?;
        Ok(None)
    }

    /// The memory that it takes, about, with the sets that are open: every span may be a trace of its own.
    fn bytes(&self, room: Room) -> usize {
        2 * room.spans_open() * SPAN_BYTES + self.kept_bytes()
    }

    /// The memory that it takes when all slices are read, about.
    pub fn kept_bytes(&self) -> usize {
        2 * self.across.len() * size_of::<u64>()
    }

    /// Starts to read all slices, or one of them by its place.
    pub async fn start(
        &self,
        session: &Session,
        vocabulary: &SharedVocabulary,
        asked: Selection<'_>,
        one: Option<usize>,
    ) -> Result<SqlStream<ReadRows>, QueryError> {
        let within = one.map(|at| format!("{} AND ({})", self.cuts.sql(self.slices[at]), asked.condition));
        let condition = within.as_deref().unwrap_or(asked.condition);
        let want = Want { without_urls: !self.with_urls, ..asked.want };
        let query = Selection { condition, want, ..asked }.query_coded(IN_SLICES);
        let decoding = || {
            let mut decoder = Decoder::new(want, Arc::clone(vocabulary));
            let (cuts, slices, across) = (self.cuts, Arc::clone(&self.slices), Arc::clone(&self.across));
            move |batch: RecordBatch| {
                let (rows, kept) = decoder.rows(batch.clone())?;
                let is_whole = kept.num_rows() == batch.num_rows();
                let times = if is_whole {
                    Cow::Borrowed(rows.columns.start_ns.as_slice())
                } else {
                    Cow::Owned(Columns(&batch).integers("timestamp")?.all_or_zero())
                };
                let slice_of = |cut: usize| slices.partition_point(|slice| slice.to <= cut);
                let mut read: Vec<(usize, usize)> = Vec::new();
                cuts.each_stretch(&times, |cut, range| read.push((slice_of(cut), range.len())));
                let slice = |(trace, range): (u128, Range<usize>)| {
                    let is_across = across.contains(&mark(trace));
                    let at = if is_across { ACROSS } else { slice_of(cuts.at(rows.columns.start_ns[range.start]).0) };
                    (at, trace, range)
                };
                let mut runs: Vec<_> = rows.runs().map(slice).collect();
                runs.sort_by_key(|(slice, ..)| *slice);
                Ok(ReadRows { rows, runs, read })
            }
        };
        session.sql_mapped(&query, Reads::Part, decoding).await
    }

    /// The slices, none of which is read. Of spans at most so many are in sets at once.
    pub fn unread(&self, most_spans: usize) -> Filling {
        let unread = |slice: &Slice| Filled { rows_left: slice.rows, spans: Spans::Unread };
        Filling { slices: self.slices.iter().map(unread).collect(), spans: 0, most_spans, spare: Vec::new() }
    }
}

/// Spans of some slices.
pub struct ReadRows {
    rows: Rows,
    /// The slice that each trace is in, or [`ACROSS`], by slice.
    runs: Vec<(usize, u128, Range<usize>)>,
    /// How many rows of a slice these were, those without ids too.
    read: Vec<(usize, usize)>,
}

impl ReadRows {
    /// Whether a URL that was left out is to be asked.
    pub const fn asks_urls(&self) -> bool {
        self.rows.asks_urls
    }

    /// Adds the spans of one slice's traces to its set.
    pub fn add_to(&self, set: &mut SpanSet, slice: usize) {
        let of_slice = self.runs.iter().filter(|(at, ..)| *at == slice);
        set.append(&self.rows, of_slice.map(|(_, trace, range)| (*trace, range.clone())));
    }
}

/// Slices while they are read.
pub struct Filling {
    slices: Vec<Filled>,
    /// Spans in all sets, and how many there may be.
    spans: usize,
    most_spans: usize,
    /// Sets with room, for slices that are begun: memory that was used before is in the processor's cache.
    spare: Vec<SpanSet>,
}

/// How far one slice is read, and where its spans are.
struct Filled {
    rows_left: usize,
    spans: Spans,
}

enum Spans {
    Unread,
    Set(Box<SpanSet>),
    Shelved,
    Given,
}

impl Filling {
    /// Adds spans to the sets of their slices, others to the shelves. Gives the slices that are read to their end.
    pub fn add(&mut self, read: &ReadRows, shelves: &mut Shelves) -> Result<Vec<(usize, SpanSet)>, QueryError> {
        for runs in read.runs.chunk_by(|a, b| a.0 == b.0) {
            let runs_of = runs.iter().map(|(_, trace, range)| (*trace, range.clone()));
            let mut filled = self.slices.get_mut(runs[0].0);
            if let Some(Filled { spans: spans @ Spans::Unread, rows_left }) = &mut filled {
                let mut set = self.spare.pop().unwrap_or_default();
                set.reserve((*rows_left).min(self.most_spans));
                *spans = Spans::Set(Box::new(set));
            }
            match filled.map(|filled| &mut filled.spans) {
                Some(Spans::Set(set)) => {
                    let before = set.len();
                    set.append(&read.rows, runs_of);
                    self.spans += set.len() - before;
                }
                Some(Spans::Given) => {}
                Some(Spans::Unread | Spans::Shelved) | None => {
                    let mut spans = runs_of.flat_map(|run| read.rows.of_run(run));
                    spans.try_for_each(|(span, links)| shelves.put(&span, links))?;
                }
            }
        }
        let mut whole = Vec::new();
        for &(slice, rows) in &read.read {
            let filled = &mut self.slices[slice];
            filled.rows_left = filled.rows_left.saturating_sub(rows);
            if filled.rows_left == 0
                && let Spans::Set(set) = &mut filled.spans
            {
                self.spans -= set.len();
                whole.push((slice, std::mem::take(&mut **set)));
                filled.spans = Spans::Given;
            }
        }
        if self.spans > self.most_spans {
            self.shelve(shelves)?;
        }
        Ok(whole)
    }

    /// Puts all sets on the shelves: what makes them many comes in another order than time's.
    fn shelve(&mut self, shelves: &mut Shelves) -> Result<(), QueryError> {
        self.spans = 0;
        for filled in &mut self.slices {
            if let Spans::Set(set) = &filled.spans {
                shelves.put_set(set)?;
                filled.spans = Spans::Shelved;
            }
        }
        Ok(())
    }

    /// Takes a set that nobody needs any more.
    pub fn reuse(&mut self, mut set: SpanSet) {
        set.clear();
        self.spare.push(set);
    }

    /// Those that are not read to their end, when there is nothing more to read.
    pub fn rest(self) -> impl Iterator<Item = (usize, SpanSet)> {
        let rest = |(at, Filled { spans, .. })| if let Spans::Set(set) = spans { Some((at, *set)) } else { None };
        self.slices.into_iter().enumerate().filter_map(rest)
    }

    /// Forgets what is not given.
    pub fn begin_anew(&mut self, slices: &Slices) {
        let mut anew = slices.unread(self.most_spans);
        for (filled, new) in self.slices.iter().zip(&mut anew.slices) {
            if matches!(filled.spans, Spans::Given) {
                new.spans = Spans::Given;
            }
        }
        *self = anew;
    }
}

/// Cuts from this to before that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slice {
    from: usize,
    to: usize,
    /// Rows in it, those without ids too.
    rows: usize,
}

/// Time in stretches of the same length; the first and the last one are without an end.
#[derive(Clone, Copy, Debug)]
struct Cuts {
    start_ns: i64,
    width_ns: i64,
    count: usize,
}

impl Cuts {
    /// Of the time within which the spans of some stretches lie, about so many.
    fn of(session: &Session, stretches: &[Window], expected: usize) -> Option<Self> {
        let table = session.snapshot().table(Signal::Spans);
        let files = table.files.iter().map(|file| (file.min_timestamp_ns, file.max_timestamp_ns));
        let memory = table.memory.iter().map(|batch| (batch.min_timestamp_ns, batch.max_timestamp_ns));
        let within = files.chain(memory).flat_map(|(first, last)| {
            let within = |w: &Window| (first.max(w.start_ns), last.min(w.end_ns.saturating_sub(1)));
            stretches.iter().map(within).filter(|(first, last)| first <= last).collect::<Vec<_>>()
        });
        let (first, last) = within.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
        let count = (expected / SPANS_OF_CUT).clamp(*CUTS.start(), *CUTS.end());
        let width_ns = (i128::from(last) - i128::from(first)) / count as i128 + 1;
        Some(Self { start_ns: first, width_ns: i64::try_from(width_ns).unwrap_or(i64::MAX), count })
    }

    /// The cut that a time is in, and times in it.
    fn at(self, ns: i64) -> (usize, Range<i64>) {
        let cut = ns.saturating_sub(self.start_ns).max(0) / self.width_ns;
        let cut = usize::try_from(cut).unwrap_or(usize::MAX).min(self.count - 1);
        (cut, self.start(cut)..self.start(cut + 1))
    }

    fn start(self, cut: usize) -> i64 {
        self.start_ns.saturating_add(self.width_ns.saturating_mul(cut as i64))
    }

    /// Gives neighbours of one cut, with it.
    fn each_stretch(self, times: &[i64], mut give: impl FnMut(usize, Range<usize>)) {
        let mut from = 0;
        while let Some(&first) = times.get(from) {
            let (cut, within) = self.at(first);
            let more = times[from + 1..].iter().take_while(|time| within.contains(time)).count();
            give(cut, from..from + 1 + more);
            from += 1 + more;
        }
    }

    /// The condition that a span starts within a slice.
    fn sql(self, slice: Slice) -> String {
        let start = |cut: usize| timestamp_sql(self.start(cut));
        let from = (slice.from > 0).then(|| format!("timestamp >= {}", start(slice.from)));
        let to = (slice.to < self.count).then(|| format!("timestamp < {}", start(slice.to)));
        from.into_iter().chain(to).collect::<Vec<_>>().join(" AND ")
    }
}

/// What was seen of spans at a look at their ids.
struct Seen {
    /// Cut by cut.
    rows: Vec<usize>,
    traces: Vec<Vec<u64>>,
    /// Of traces, some of them more than once.
    marks: usize,
}

impl Seen {
    fn new(cuts: usize) -> Self {
        Self { rows: vec![0; cuts], traces: vec![Vec::new(); cuts], marks: 0 }
    }

    fn add(&mut self, batch: SeenBatch) {
        self.marks += batch.traces.len();
        batch.stretches.into_iter().for_each(|(cut, range)| self.rows[cut] += range.len());
        batch.traces.into_iter().for_each(|(cut, mark)| self.traces[cut].push(mark));
    }

    /// Slices of at most so many rows; a cut that has more is one by itself.
    fn together(&self, at_most: usize) -> Vec<Slice> {
        let mut slices: Vec<Slice> = Vec::new();
        for (cut, &rows) in self.rows.iter().enumerate() {
            match slices.last_mut() {
                Some(slice) if slice.rows + rows <= at_most => {
                    slice.to = cut + 1;
                    slice.rows += rows;
                }
                _ => slices.push(Slice { from: cut, to: cut + 1, rows }),
            }
        }
        slices
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

/// The same of one batch.
struct SeenBatch {
    /// Cuts and the neighbours in them.
    stretches: Vec<(usize, Range<usize>)>,
    /// Cut and trace; of neighbours once.
    traces: Vec<(usize, u64)>,
}

impl SeenBatch {
    fn of(batch: Columns<'_>, cuts: Cuts) -> Result<Self, QueryError> {
        let times = batch.integers("timestamp")?.all_or_zero();
        let mut stretches = Vec::new();
        cuts.each_stretch(&times, |cut, range| stretches.push((cut, range)));
        let runs = trace_runs(&batch.text("trace_id")?, times.len());
        let (mut traces, mut at) = (Vec::with_capacity(runs.len()), 0);
        for (trace, Range { end, .. }) in ranges(&runs, times.len()) {
            // A run may lie in several cuts.
            loop {
                let (cut, stretch) = &stretches[at];
                traces.extend(trace.map(|trace| (*cut, mark(trace))));
                at += usize::from(stretch.end <= end);
                if stretch.end >= end {
                    break;
                }
            }
        }
        Ok(Self { stretches, traces })
    }
}
