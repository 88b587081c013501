//! Gathers spans for a request that counts them trace by trace: in one set where the session's memory has room for them,
//! else a part of the traces at a time, slices of time or shelves. Counts what it holds in the session's memory.

use std::ops::Range;

use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryReservation};
use futures::StreamExt;
use orrery_model::Signal;

use super::load::{Selection, read, regain, settle, share};
use super::shelves::Shelves;
use super::slices::Slices;
use super::words::{SharedVocabulary, Vocabulary};
use super::{SPAN_BYTES, SpanSet};
use crate::{QueryError, Session, Window};

/// Spans between two looks at the memory.
pub const SPANS_A_LOOK: usize = 65_536;

/// How much of the session's memory spans take.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Spans in one set, where that is all.
    pub spans: usize,
    /// Spans in one set, where there are shelves.
    pub spans_of_part: usize,
    /// Of one of three sets of shelves, bytes.
    pub shelves_bytes: usize,
}

impl Room {
    /// Three quarters of the session's memory, what is counted and what operators take beside it being the rest; or as many
    /// spans at once as the engine was told.
    pub fn of(session: &Session) -> Self {
        let share = match session.memory_pool().memory_limit() {
            MemoryLimit::Finite(bytes) => bytes,
            MemoryLimit::Infinite | MemoryLimit::Unknown => usize::MAX,
        };
        let spans = session.spans_at_once();
        Self {
            spans: spans.unwrap_or(share / 4 * 3 / SPAN_BYTES),
            // Where every span is a trace of its own, they take twice as much.
            spans_of_part: spans.unwrap_or(share / 4 / SPAN_BYTES),
            shelves_bytes: spans.map_or(usize::MAX, |n| n.saturating_mul(SPAN_BYTES)).min(share / 4 / 3),
        }
    }

    /// Of slices that are open at once.
    pub fn spans_open(self) -> usize {
        self.spans_of_part / 2
    }

    /// Empty ones.
    pub fn shelves(self, session: &Session) -> Shelves {
        Shelves::new(session.disk_manager(), self.shelves_bytes)
    }

    pub fn all_shelves_bytes(self) -> usize {
        self.shelves_bytes * 3
    }
}

/// The session's memory that spans hold.
pub struct Held(MemoryReservation);

impl Held {
    pub fn of(session: &Session) -> Self {
        Self(MemoryConsumer::new("spans").register(session.memory_pool()))
    }

    /// Holds so many bytes in all; an error where there are not as many.
    pub fn resize(&self, bytes: usize) -> Result<(), QueryError> {
        Ok(self.0.try_resize(bytes)?)
    }
}

/// Spans as they are gathered.
#[expect(clippy::large_enum_variant, reason = "there is one in a request")]
pub enum Gathered {
    All(SpanSet),
    Parts(Parts),
}

/// Spans to be counted a part of the traces at a time.
pub struct Parts {
    /// Where there are any, what lies across their ends is put on the shelves as they are read.
    slices: Option<Slices>,
    shelves: Shelves,
    pub words: Vocabulary,
    room: Room,
}

/// Some traces with all of their spans.
#[derive(Clone, Debug)]
pub enum Part {
    /// By its place.
    Slice(usize),
    Shelves(Range<usize>),
}

/// Reads spans. How many there will be may be wrong; the stretches of time are those within which most of them start.
pub async fn gather(
    session: &Session,
    asked: Selection<'_>,
    expected: usize,
    stretches: &[Window],
    room: Room,
    held: &Held,
) -> Result<Gathered, QueryError> {
    let vocabulary = SharedVocabulary::default();
    let mut set = SpanSet::default();
    let mut shelves = None;
    let expected_bytes = expected.saturating_mul(SPAN_BYTES);
    if expected > room.spans || held.resize(expected_bytes).is_err() {
        if let Some(slices) = Slices::find(session, asked, expected, stretches, room, held).await? {
            let shelves = room.shelves(session);
            return Ok(Gathered::Parts(Parts { slices: Some(slices), shelves, words: Vocabulary::default(), room }));
        }
        shelves = Some(empty(session, room, held)?);
    } else {
        set.reserve(expected);
    }
    let mut looked = 0;
    read(session, &vocabulary, asked, |rows| {
        if let Some(shelves) = &mut shelves {
            rows.iter().try_for_each(|(span, links)| shelves.put(&span, links))?;
        } else {
            set.append(&rows, rows.runs());
            let is_full = set.len() > room.spans;
            let look = is_full || set.len() >= looked + SPANS_A_LOOK;
            if look && (is_full || held.resize(set.bytes().max(expected_bytes)).is_err()) {
                shelves = Some(shelved(std::mem::take(&mut set), session, room, held)?);
            } else if look {
                looked = set.len();
            }
        }
        Ok(())
    })
    .await?;
    let words = regain(&vocabulary);
    if shelves.is_none() && held.resize(set.bytes()).is_err() {
        shelves = Some(shelved(std::mem::take(&mut set), session, room, held)?);
    }
    Ok(match shelves {
        Some(shelves) => Gathered::Parts(Parts { slices: None, shelves, words, room }),
        None => Gathered::All(SpanSet { words, ..set }),
    })
}

impl Parts {
    /// Gives the spans of each part to `take`, which gives back the set with its words. Each is there once, the earliest
    /// received of its copies.
    pub async fn each(
        &mut self,
        session: &Session,
        asked: Selection<'_>,
        held: &Held,
        mut take: impl FnMut(&Part, SpanSet) -> Result<SpanSet, QueryError> + Send,
    ) -> Result<(), QueryError> {
        let mut left = self.read_slices(session, asked, &mut take).await?;
        left.extend(self.shelves.parts(self.room.spans_of_part).into_iter().map(Part::Shelves));
        for part in left {
            let spans = self.take_down(session, asked, held, &part).await?;
            self.words = take(&part, spans)?.words;
        }
        Ok(())
    }

    /// Gives the slices of which no spans have copies that differ to `take`, each when it is read. Gives back the other
    /// ones: to settle them adds words, as reading does.
    async fn read_slices(
        &mut self,
        session: &Session,
        asked: Selection<'_>,
        take: &mut (impl FnMut(&Part, SpanSet) -> Result<SpanSet, QueryError> + Send),
    ) -> Result<Vec<Part>, QueryError> {
        let Self { slices, shelves, words: all_words, room } = self;
        let Some(slices) = slices else { return Ok(Vec::new()) };
        let vocabulary = share(all_words);
        let (mut words, mut left) = (Vocabulary::default(), Vec::new());
        let mut give = |slice: usize, mut spans: SpanSet| {
            let part = Part::Slice(slice);
            words.catch_up(&vocabulary.lock());
            std::mem::swap(&mut spans.words, &mut words);
            if spans.is_unsettled() {
                left.push(part);
            } else {
                spans = take(&part, spans)?;
            }
            words = std::mem::take(&mut spans.words);
            Ok::<_, QueryError>(spans)
        };
        let mut filling = slices.unread(room.spans_open());
        let mut batches = slices.start(session, &vocabulary, asked, None).await?;
        while let Some(rows) = batches.next().await {
            let rows = rows?;
            if rows.asks_urls() {
                slices.with_urls = true;
                filling.begin_anew(slices);
                *shelves = room.shelves(session);
                batches = slices.start(session, &vocabulary, asked, None).await?;
                continue;
            }
            for (slice, spans) in filling.add(&rows, shelves)? {
                filling.reuse(give(slice, spans)?);
            }
        }
        filling.rest().try_for_each(|(slice, spans)| give(slice, spans).map(drop))?;
        *all_words = regain(&vocabulary);
        Ok(left)
    }

    /// The spans of a part.
    pub async fn take_down(
        &mut self,
        session: &Session,
        asked: Selection<'_>,
        held: &Held,
        part: &Part,
    ) -> Result<SpanSet, QueryError> {
        let words = std::mem::take(&mut self.words);
        let mut set = match (part, &self.slices) {
            (Part::Slice(slice), Some(slices)) => {
                let vocabulary = SharedVocabulary::new(words.into());
                let mut set = SpanSet::default();
                let mut batches = slices.start(session, &vocabulary, asked, Some(*slice)).await?;
                while let Some(rows) = batches.next().await {
                    rows?.add_to(&mut set, *slice);
                }
                SpanSet { words: regain(&vocabulary), ..set }
            }
            (Part::Slice(_), None) => return Err(QueryError::internal("there are no slices")),
            (Part::Shelves(shelves), slices) => {
                let kept = slices.as_ref().map_or(0, Slices::kept_bytes) + self.room.all_shelves_bytes();
                take_down(&self.shelves, shelves.clone(), words, held, kept)?
            }
        };
        settle(session, &mut set, asked).await?;
        Ok(set)
    }
}

/// Gives the spans that meet a condition to `count`, all at once or a part of the traces at a time. Gives back their words.
pub async fn in_parts(
    session: &Session,
    asked: Selection<'_>,
    window: Window,
    mut count: impl FnMut(&SpanSet) + Send,
) -> Result<Vocabulary, QueryError> {
    let (room, held) = (Room::of(session), Held::of(session));
    let stretches = [window];
    match gather(session, asked, expected(session, &stretches), &stretches, room, &held).await? {
        Gathered::All(mut spans) => {
            settle(session, &mut spans, asked).await?;
            count(&spans);
            Ok(spans.words)
        }
        Gathered::Parts(mut parts) => {
            let take = |_: &Part, spans: SpanSet| {
                count(&spans);
                Ok(spans)
            };
            parts.each(session, asked, &held, take).await?;
            Ok(parts.words)
        }
    }
}

/// Empty shelves, with what all of them take.
fn empty(session: &Session, room: Room, held: &Held) -> Result<Shelves, QueryError> {
    held.resize(room.all_shelves_bytes())?;
    Ok(room.shelves(session))
}

/// Moves a set onto empty shelves.
fn shelved(set: SpanSet, session: &Session, room: Room, held: &Held) -> Result<Shelves, QueryError> {
    let mut shelves = empty(session, room, held)?;
    shelves.put_set(&set)?;
    Ok(shelves)
}

/// Takes some shelves' spans down, while so many bytes more are held.
fn take_down(
    shelves: &Shelves,
    part: Range<usize>,
    words: Vocabulary,
    held: &Held,
    kept_bytes: usize,
) -> Result<SpanSet, QueryError> {
    let spans = shelves.spans(part.clone());
    let mut set = SpanSet::of(words);
    // Every trace may have one span only.
    held.resize(kept_bytes + spans * SPAN_BYTES)?;
    set.reserve(spans);
    shelves.read(part.clone(), |span, links| {
        set.push(span, links);
    })?;
    set.note_unlike(shelves.unlike(part));
    held.resize(kept_bytes + set.bytes())?;
    Ok(set)
}

/// About how many spans start within some stretches of time, those of a file taken as spread evenly over its time.
pub fn expected(session: &Session, stretches: &[Window]) -> usize {
    let table = session.snapshot().table(Signal::Spans);
    let within = |first: i64, last: i64, rows: u64| {
        let (first, last) = (i128::from(first), i128::from(last));
        let shared = |w: &Window| (last.min(i128::from(w.end_ns) - 1) - first.max(i128::from(w.start_ns)) + 1).max(0);
        let shared: i128 = stretches.iter().map(shared).sum();
        (rows as f64 * (shared as f64 / (last - first + 1).max(1) as f64)).ceil() as usize
    };
    let files = table.files.iter().map(|f| within(f.min_timestamp_ns, f.max_timestamp_ns, f.rows));
    let memory = table.memory.iter().map(|b| within(b.min_timestamp_ns, b.max_timestamp_ns, b.num_rows() as u64));
    files.chain(memory).fold(0, usize::saturating_add)
}
