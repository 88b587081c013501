//! Gathers spans for a request that counts them trace by trace: in one set where the session's memory has room for them,
//! else on shelves, to be taken down a part of the traces at a time. Counts what it holds in the session's memory.

use std::ops::Range;

use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryReservation};
use orrery_model::Signal;

use super::load::{Selection, read, regain, settle};
use super::shelves::Shelves;
use super::words::{SharedVocabulary, Vocabulary};
use super::{NewSpan, SPAN_BYTES, SpanSet};
use crate::{QueryError, Session, Window};

/// Spans between two looks at the memory.
const SPANS_A_LOOK: usize = 65_536;

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
    /// Of these traces, a part at a time, in these words.
    Parts(Shelves, Vocabulary),
}

/// Reads spans. How many there will be may be wrong.
pub async fn gather(
    session: &Session,
    asked: Selection<'_>,
    expected: usize,
    room: Room,
    held: &Held,
) -> Result<Gathered, QueryError> {
    let vocabulary = SharedVocabulary::default();
    let mut set = SpanSet::default();
    let mut shelves = None;
    let expected_bytes = expected.saturating_mul(SPAN_BYTES);
    if expected > room.spans || held.resize(expected_bytes).is_err() {
        shelves = Some(empty(session, room, held)?);
    } else {
        set.reserve(expected);
    }
    let mut looked = 0;
    read(session, &vocabulary, asked, |rows| {
        let mut each = rows.iter();
        if shelves.is_none() {
            for (span, links) in each.by_ref() {
                set.push(span, links);
                if set.len() > room.spans {
                    break;
                }
            }
            let is_full = set.len() > room.spans;
            let look = is_full || set.len() >= looked + SPANS_A_LOOK;
            if look && (is_full || held.resize(set.bytes().max(expected_bytes)).is_err()) {
                shelves = Some(shelved(std::mem::take(&mut set), empty(session, room, held)?)?);
            } else if look {
                looked = set.len();
            }
        }
        if let Some(shelves) = &mut shelves {
            each.try_for_each(|(span, links)| shelves.put(span, links))?;
        }
        Ok(())
    })
    .await?;
    let words = regain(&vocabulary);
    if shelves.is_none() && held.resize(set.bytes()).is_err() {
        shelves = Some(shelved(std::mem::take(&mut set), empty(session, room, held)?)?);
    }
    Ok(match shelves {
        Some(shelves) => Gathered::Parts(shelves, words),
        None => Gathered::All(SpanSet { words, ..set }),
    })
}

/// Gives the spans that meet a condition to `count`, all at once or a part of the traces at a time. Gives back their words.
pub async fn in_parts(
    session: &Session,
    asked: Selection<'_>,
    expected: usize,
    mut count: impl FnMut(&SpanSet) + Send,
) -> Result<Vocabulary, QueryError> {
    let (room, held) = (Room::of(session), Held::of(session));
    match gather(session, asked, expected, room, &held).await? {
        Gathered::All(mut spans) => {
            settle(session, &mut spans, asked).await?;
            count(&spans);
            Ok(spans.words)
        }
        Gathered::Parts(shelves, mut words) => {
            for part in shelves.parts(room.spans_of_part) {
                let mut spans = take_down(&shelves, part, words, &held, room)?;
                settle(session, &mut spans, asked).await?;
                count(&spans);
                words = spans.words;
            }
            Ok(words)
        }
    }
}

/// Empty shelves.
pub fn empty(session: &Session, room: Room, held: &Held) -> Result<Shelves, QueryError> {
    held.resize(room.shelves_bytes * 3)?;
    Ok(Shelves::new(session.disk_manager(), room.shelves_bytes))
}

/// Moves a set onto empty shelves, with what it knows of copies.
fn shelved(set: SpanSet, mut shelves: Shelves) -> Result<Shelves, QueryError> {
    for i in 0..set.len() {
        shelves.put(&set.get(i), set.links(i))?;
    }
    for &(of, start_ns) in &set.counted_copies {
        let copy = NewSpan { start_ns, counted: true, ..set.get(of as usize) };
        shelves.put(&copy, set.links(of as usize))?;
    }
    set.unlike.iter().for_each(|key| shelves.put_unlike(*key));
    Ok(shelves)
}

/// Takes some shelves' spans down.
pub fn take_down(
    shelves: &Shelves,
    part: Range<usize>,
    words: Vocabulary,
    held: &Held,
    room: Room,
) -> Result<SpanSet, QueryError> {
    let spans = shelves.spans(part.clone());
    let mut set = SpanSet::of(words);
    // Every trace may have one span only.
    held.resize(room.shelves_bytes * 3 + spans * SPAN_BYTES)?;
    set.reserve(spans);
    shelves.read(part.clone(), |span, links| {
        set.push(span, links);
    })?;
    set.note_unlike(shelves.unlike(part));
    held.resize(room.shelves_bytes * 3 + set.bytes())?;
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
