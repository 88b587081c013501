//! Spans by trace, more of them than are held at once: in memory up to a bound, beyond it in one temporary file. A trace
//! is on one shelf, with all of its spans, and parts of the shelves are taken down one after another. Knows nothing of
//! what is counted; the file is gone with the shelves.

use std::fs::File;
use std::io::{Error, ErrorKind, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::DiskManager;
use datafusion::execution::{SpillFile, SpillWriter};

use parking_lot::Mutex;

use super::{Kind, LinkTarget, NewSpan, SpanKey, SpanSet};
use crate::QueryError;

/// Into how many shelves traces are put: a part is one or more.
pub const SHELVES: usize = 256;
const ERROR: u8 = 1 << 3;
const COUNTED: u8 = 1 << 4;

/// A trace in fewer bits: few others have the same.
pub fn mark(trace: u128) -> u64 {
    ((trace >> 64) as u64 ^ (trace as u64).rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The shelf that a trace is on.
fn shelf_of(trace: u128) -> usize {
    (mark(trace) >> (u64::BITS - SHELVES.ilog2())) as usize
}

/// Filled, then read.
pub struct Shelves {
    shelves: Vec<Shelf>,
    disk: Arc<DiskManager>,
    file: Option<Spilled>,
    /// Bytes in memory, and how many there may be.
    buffered: usize,
    room_bytes: usize,
}

#[derive(Default)]
struct Shelf {
    buffer: Vec<u8>,
    /// Where the rest of it lies in the file.
    blocks: Vec<Range<u64>>,
    spans: usize,
    /// Spans of which it is known that copies differ.
    unlike: Vec<SpanKey>,
}

struct Spilled {
    file: Arc<dyn SpillFile>,
    /// Never locked: it only lets those who read shelves share them.
    writer: Mutex<Box<dyn SpillWriter>>,
    bytes: u64,
}

impl Shelves {
    pub fn new(disk: Arc<DiskManager>, room_bytes: usize) -> Self {
        let shelves = (0..SHELVES).map(|_| Shelf::default()).collect();
        Self { shelves, disk, file: None, buffered: 0, room_bytes }
    }

    pub fn put(&mut self, span: &NewSpan, links: &[LinkTarget]) -> Result<(), QueryError> {
        let shelf = &mut self.shelves[shelf_of(span.trace)];
        let before = shelf.buffer.len();
        write(&mut shelf.buffer, span, links);
        self.buffered += shelf.buffer.len() - before;
        shelf.spans += 1;
        if self.buffered > self.room_bytes { self.spill() } else { Ok(()) }
    }

    /// Puts all of a set, with what it knows of copies.
    pub fn put_set(&mut self, set: &SpanSet) -> Result<(), QueryError> {
        for i in 0..set.len() {
            self.put(&set.get(i), set.links(i))?;
        }
        for &(of, start_ns) in &set.counted_copies {
            let copy = NewSpan { start_ns, counted: true, ..set.get(of as usize) };
            self.put(&copy, set.links(of as usize))?;
        }
        set.unlike.iter().for_each(|key| self.put_unlike(*key));
        Ok(())
    }

    /// Notes that copies of a span differ, whatever copies are put here.
    pub fn put_unlike(&mut self, key: SpanKey) {
        self.shelves[shelf_of(key.0)].unlike.push(key);
    }

    /// Shelves of about so many spans together, without empty ones.
    pub fn parts(&self, spans_at_once: usize) -> Vec<Range<usize>> {
        let mut parts: Vec<(Range<usize>, usize)> = Vec::new();
        for (i, shelf) in self.shelves.iter().enumerate().filter(|(_, shelf)| shelf.spans > 0) {
            match parts.last_mut() {
                Some((part, spans)) if *spans + shelf.spans <= spans_at_once => {
                    part.end = i + 1;
                    *spans += shelf.spans;
                }
                _ => parts.push((i..i + 1, shelf.spans)),
            }
        }
        parts.into_iter().map(|(part, _)| part).collect()
    }

    /// The spans of some shelves.
    pub fn spans(&self, part: Range<usize>) -> usize {
        self.shelves[part].iter().map(|shelf| shelf.spans).sum()
    }

    /// The spans of some shelves of which it is known that copies differ.
    pub fn unlike(&self, part: Range<usize>) -> impl Iterator<Item = SpanKey> {
        self.shelves[part].iter().flat_map(|shelf| shelf.unlike.iter().copied())
    }

    /// Gives the spans of some shelves to `take`, those of a shelf in the order they were put there.
    pub fn read(&self, part: Range<usize>, mut take: impl FnMut(&NewSpan, &[LinkTarget])) -> Result<(), QueryError> {
        let mut links = Vec::new();
        let mut each = |mut bytes: &[u8]| -> Result<(), QueryError> {
            while !bytes.is_empty() {
                let span =
                    read(&mut bytes, &mut links).ok_or_else(|| QueryError::internal("a span was put away badly"))?;
                take(&span, &links);
            }
            Ok(())
        };
        let file = match self.file.as_ref().and_then(|spilled| spilled.file.path()) {
            Some(path) => Some(File::open(path).map_err(failed)?),
            None => None,
        };
        let mut block = Vec::new();
        for shelf in &self.shelves[part] {
            for at in &shelf.blocks {
                let Some(file) = &file else { return Err(QueryError::internal("spans were put into no file")) };
                block.resize((at.end - at.start) as usize, 0);
                file.read_exact_at(&mut block, at.start).map_err(failed)?;
                each(&block)?;
            }
            each(&shelf.buffer)?;
        }
        Ok(())
    }

    /// Moves all that is in memory into the file.
    fn spill(&mut self) -> Result<(), QueryError> {
        let spilled = match &mut self.file {
            Some(spilled) => spilled,
            none => {
                let file = self.disk.create_tmp_file("counting spans")?;
                let writer = Mutex::new(file.open_writer()?);
                none.insert(Spilled { file, writer, bytes: 0 })
            }
        };
        let writer = spilled.writer.get_mut();
        for shelf in self.shelves.iter_mut().filter(|shelf| !shelf.buffer.is_empty()) {
            writer.write_all(&shelf.buffer).map_err(failed)?;
            let end = spilled.bytes + shelf.buffer.len() as u64;
            shelf.blocks.push(spilled.bytes..end);
            spilled.bytes = end;
            shelf.buffer.clear();
        }
        self.buffered = 0;
        writer.flush().map_err(failed)
    }
}

fn failed(error: Error) -> QueryError {
    let kind = error.kind();
    let message = error.to_string();
    match QueryError::from(DataFusionError::IoError(error)) {
        QueryError::SpillFull => QueryError::SpillFull,
        // What queries may put aside together is used up.
        _ if kind == ErrorKind::Other => QueryError::MemoryExceeded { message },
        _ => QueryError::internal(format!("spans that were put aside: {message}")),
    }
}

fn write(to: &mut Vec<u8>, span: &NewSpan, links: &[LinkTarget]) {
    let flags = span.kind as u8 | if span.error { ERROR } else { 0 } | if span.counted { COUNTED } else { 0 };
    to.extend_from_slice(&span.trace.to_le_bytes());
    for word in [span.span, span.parent, span.start_ns.cast_unsigned(), span.duration_ns.cast_unsigned()] {
        to.extend_from_slice(&word.to_le_bytes());
    }
    let links_count = u32::try_from(links.len()).expect("a row has fewer than 2^31 links");
    for word in [span.weight.to_bits(), span.service, span.name, span.meaning, links_count] {
        to.extend_from_slice(&word.to_le_bytes());
    }
    to.push(flags);
    for link in links {
        to.extend_from_slice(&link.trace.to_le_bytes());
        to.extend_from_slice(&link.span.to_le_bytes());
    }
}

fn read(from: &mut &[u8], links: &mut Vec<LinkTarget>) -> Option<NewSpan> {
    let trace = u128::from_le_bytes(take(from)?);
    let [span, parent, start_ns, duration_ns] = longs(from)?;
    let [weight, service, name, meaning, links_count] = words(from)?;
    let [flags] = take(from)?;
    links.clear();
    for _ in 0..links_count {
        links.push(LinkTarget { trace: u128::from_le_bytes(take(from)?), span: u64::from_le_bytes(take(from)?) });
    }
    Some(NewSpan {
        trace,
        span,
        parent,
        kind: *Kind::ALL.get(usize::from(flags & 7))?,
        service,
        name,
        error: flags & ERROR != 0,
        start_ns: start_ns.cast_signed(),
        duration_ns: duration_ns.cast_signed(),
        weight: f32::from_bits(weight),
        meaning,
        counted: flags & COUNTED != 0,
    })
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(*bytes)
}

fn longs<const N: usize>(from: &mut &[u8]) -> Option<[u64; N]> {
    let mut all = [0; N];
    for word in &mut all {
        *word = u64::from_le_bytes(take(from)?);
    }
    Some(all)
}

fn words<const N: usize>(from: &mut &[u8]) -> Option<[u32; N]> {
    let mut all = [0; N];
    for word in &mut all {
        *word = u32::from_le_bytes(take(from)?);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
    use proptest::prelude::*;

    use super::*;

    fn span() -> impl Strategy<Value = (NewSpan, Vec<LinkTarget>)> {
        let ids = (0..9_u128, any::<u64>(), any::<u64>(), 0..Kind::ALL.len());
        let times = (any::<i64>(), any::<i64>(), 1.0..1e6_f32);
        let words = (any::<u32>(), any::<u32>(), any::<u32>(), any::<bool>(), any::<bool>());
        let link = (any::<u128>(), any::<u64>()).prop_map(|(trace, span)| LinkTarget { trace, span });
        (ids, times, words, proptest::collection::vec(link, 0..3)).prop_map(|(ids, times, words, links)| {
            let span = NewSpan {
                trace: ids.0.wrapping_mul(0x1234_5678_9abc_def0_1357_9bdf),
                span: ids.1,
                parent: ids.2,
                kind: Kind::ALL[ids.3],
                service: words.0,
                name: words.1,
                error: words.3,
                start_ns: times.0,
                duration_ns: times.1,
                weight: times.2,
                meaning: words.2,
                counted: words.4,
            };
            (span, links)
        })
    }

    fn disk(folder: &std::path::Path, bytes: u64) -> Arc<DiskManager> {
        let mode = DiskManagerMode::Directories(vec![folder.to_owned()]);
        let builder = DiskManagerBuilder::default().with_mode(mode).with_max_temp_directory_size(bytes);
        Arc::new(builder.build().expect("a folder to spill to"))
    }

    proptest! {
        #[test]
        fn what_is_put_on_shelves_is_found_there_in_memory_and_in_the_file(
            spans in proptest::collection::vec(span(), 0..60),
            room_bytes in 0..4_000_usize,
            at_once in 1..20_usize,
        ) {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let disk = disk(folder.path(), 1 << 20);
            let mut shelves = Shelves::new(Arc::clone(&disk), room_bytes);
            for (span, links) in &spans {
                shelves.put(span, links).expect("there is room");
            }
            let mut found = Vec::new();
            let mut last = 0;
            for part in shelves.parts(at_once) {
                prop_assert!(part.start >= last, "parts are apart and in order");
                last = part.end;
                prop_assert!(shelves.spans(part.clone()) <= at_once || part.len() == 1);
                shelves.read(part, |span, links| found.push((*span, links.to_vec()))).expect("it is read");
            }
            let mut expected = spans.clone();
            expected.sort_by_key(|(span, _)| shelf_of(span.trace));
            prop_assert_eq!(found, expected);
            drop(shelves);
            prop_assert_eq!(disk.used_disk_space(), 0, "the file is gone");
        }
    }

    #[test]
    fn more_than_queries_may_put_aside_together_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut shelves = Shelves::new(disk(folder.path(), 1_000), 100);
        let span = NewSpan {
            trace: 1,
            span: 1,
            parent: 0,
            kind: Kind::Server,
            service: 0,
            name: 0,
            error: false,
            start_ns: 0,
            duration_ns: 0,
            weight: 1.0,
            meaning: 0,
            counted: true,
        };
        let error = (0..100).find_map(|_| shelves.put(&span, &[]).err()).expect("1,000 bytes are few");
        assert!(matches!(error, QueryError::MemoryExceeded { .. }), "{error:?}");
    }
}
