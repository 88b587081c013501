//! The log's one writer: a thread that drains the queue, writes, syncs, and then hands the batch to be published and
//! acknowledged. The sync's own time sets the size of the batch. After a failed sync it writes nothing more, ever.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use orrery_model::{Clock, TableName, TenantId};
use parking_lot::{Condvar, Mutex};

use super::format::{self, RequestFields, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::{SUFFIX, Scan, SegmentInfo, UNFINISHED_SUFFIX, WalError, segment_path};
use crate::dedup::Dedup;
use crate::fs::{File, FileSystem, is_no_space};

/// The requests of one write and sync stop at this many bytes, so that the first of them does not wait for the last of
/// a long queue. The queue itself is bounded by the store's back-pressure.
const MAX_BATCH_BYTES: usize = 8 << 20;
const QUARANTINE: &str = "quarantine";

#[derive(Clone, Debug)]
pub struct WalConfig {
    pub dir: PathBuf,
    /// What a segment is preallocated to; one with a larger head or a larger first batch is larger.
    pub segment_bytes: u64,
}

/// A request on its way to the log, compressed, with the ticket that its outcome is reported by.
pub struct Entry<T> {
    pub tenant: TenantId,
    pub table: TableName,
    pub received_ns: i64,
    pub body_hash: Option<u128>,
    pub rows: u32,
    pub raw_len: u32,
    /// zstd.
    pub payload: Vec<u8>,
    pub payload_crc: u32,
    pub ticket: T,
}

/// How a batch ended.
pub enum Outcome<T> {
    /// On stable storage, with the sequences from `first` on, in order.
    Durable {
        first: u64,
        tickets: Vec<T>,
    },
    Refused {
        why: Refused,
        tickets: Vec<T>,
    },
}

/// Why the log took nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    NoSpace,
    /// A write or sync failed; what is on the disk is unknown until the log is read again.
    Fatal(Arc<str>),
    Closed,
}

/// Counted since the start.
#[derive(Debug, Default)]
pub struct WalCounters {
    pub syncs: AtomicU64,
    pub sync_ns: AtomicU64,
    pub batches: AtomicU64,
    pub records: AtomicU64,
    pub bytes: AtomicU64,
    pub segments_made: AtomicU64,
    pub quarantined: AtomicU64,
}

/// The log, open for appending.
pub struct Wal<T> {
    shared: Arc<Shared<T>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

struct Shared<T> {
    fs: Arc<dyn FileSystem>,
    config: WalConfig,
    queue: Mutex<Queue<T>>,
    ready: Condvar,
    /// Oldest first, without the one being written.
    segments: Mutex<Vec<SegmentInfo>>,
    /// Whether there is a segment being written, whose head holds the hashes of all before it.
    active: AtomicBool,
    active_bytes: AtomicU64,
    counters: WalCounters,
}

struct Queue<T> {
    entries: VecDeque<Entry<T>>,
    ended: Option<Refused>,
}

impl<T: Send + 'static> Wal<T> {
    /// Goes on after `scan`, in a segment of its own. `sink` is called on the writer's thread, with every ticket once.
    pub fn start(
        fs: Arc<dyn FileSystem>,
        config: WalConfig,
        scan: &Scan,
        dedup: Arc<Dedup>,
        clock: Arc<dyn Clock>,
        sink: impl FnMut(Outcome<T>) + Send + 'static,
    ) -> Result<Self, WalError> {
        let dir = config.dir.clone();
        let shared = Arc::new(Shared {
            fs,
            config,
            queue: Mutex::new(Queue { entries: VecDeque::new(), ended: None }),
            ready: Condvar::new(),
            segments: Mutex::new(scan.segments.clone()),
            active: AtomicBool::new(false),
            active_bytes: AtomicU64::new(0),
            counters: WalCounters::default(),
        });
        let mut writer = Writer {
            shared: Arc::clone(&shared),
            dedup,
            clock,
            sink,
            active: None,
            next_number: scan.next_number,
            next_sequence: scan.last_sequence + 1,
            buffer: Vec::new(),
        };
        match writer.new_segment(0) {
            // Without room the store opens all the same: it answers queries, and ingest resumes by itself.
            Ok(()) | Err(WriteError::NoSpace) => {}
            Err(WriteError::Fatal(source)) => {
                return Err(WalError::Io { operation: "create a segment in", path: dir, source });
            }
        }
        let thread = std::thread::Builder::new()
            .name("orrery-wal".to_owned())
            .spawn(move || writer.run())
            .map_err(WalError::io("start the writer of", dir))?;
        Ok(Self { shared, writer: Mutex::new(Some(thread)) })
    }

    /// Queues a request. Its outcome goes to the sink; a refusal gives the entry back.
    pub fn push(&self, entry: Entry<T>) -> Result<(), (Box<Entry<T>>, Refused)> {
        let mut queue = self.shared.queue.lock();
        if let Some(why) = &queue.ended {
            return Err((Box::new(entry), why.clone()));
        }
        queue.entries.push_back(entry);
        drop(queue);
        self.shared.ready.notify_one();
        Ok(())
    }

    /// Why the log takes nothing more, if so.
    pub fn ended(&self) -> Option<Refused> {
        self.shared.queue.lock().ended.clone()
    }

    /// Takes no more, waits for what is queued and ends the thread. Blocks.
    pub fn close(&self) {
        self.shared.end(Refused::Closed);
        let thread = self.writer.lock().take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the log's writer panicked");
        }
    }

    /// Removes the segments that hold nothing above `flushed`, damaged ones to quarantine. Blocks.
    pub fn drop_through(&self, flushed: u64) -> Result<(), WalError> {
        self.shared.drop_through(flushed)
    }

    pub fn counters(&self) -> &WalCounters {
        &self.shared.counters
    }

    /// Segments and the bytes they take on disk.
    pub fn size(&self) -> (u64, u64) {
        let segments = self.shared.segments.lock();
        let bytes: u64 = segments.iter().map(|s| s.bytes).sum();
        let active = u64::from(self.shared.active.load(Ordering::Relaxed));
        (segments.len() as u64 + active, bytes + self.shared.active_bytes.load(Ordering::Relaxed))
    }
}

impl<T> Drop for Wal<T> {
    fn drop(&mut self) {
        self.shared.end(Refused::Closed);
        if let Some(thread) = self.writer.lock().take() {
            // The panic, if any, has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

impl<T> Shared<T> {
    /// The first reason stands.
    fn end(&self, why: Refused) {
        self.queue.lock().ended.get_or_insert(why);
        self.ready.notify_all();
    }

    fn drop_through(&self, flushed: u64) -> Result<(), WalError> {
        // Held throughout: drops come from flushes only, and rotation may wait for this one.
        let mut segments = self.segments.lock();
        let keep = usize::from(!self.active.load(Ordering::Acquire));
        while segments.len() > keep && segments[0].last_sequence <= flushed {
            self.drop_segment(&segments[0])?;
            segments.remove(0);
        }
        Ok(())
    }

    fn drop_segment(&self, segment: &SegmentInfo) -> Result<(), WalError> {
        if !segment.damaged {
            return self.fs.unlink(&segment.path).map_err(WalError::io("remove", &segment.path));
        }
        let quarantine = self.config.dir.join(QUARANTINE);
        // The sequence keeps names apart should numbers begin anew after the folder was emptied by hand.
        let to = quarantine.join(format!("{:020}-{}{SUFFIX}", segment.number, segment.last_sequence));
        self.fs
            .create_dir(&quarantine)
            .and_then(|()| self.fs.rename(&segment.path, &to))
            .and_then(|()| self.fs.sync_dir(&quarantine))
            .and_then(|()| self.fs.sync_dir(&self.config.dir))
            .map_err(WalError::io("quarantine", &segment.path))?;
        self.counters.quarantined.fetch_add(1, Ordering::Relaxed);
        tracing::error!(wal.segment = %to.display(), "a damaged segment of the log was put in quarantine");
        Ok(())
    }
}

enum WriteError {
    /// Nothing was written that a reader would take for a record.
    NoSpace,
    Fatal(io::Error),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        if is_no_space(&error) { Self::NoSpace } else { Self::Fatal(error) }
    }
}

struct Active {
    file: Box<dyn File>,
    number: u64,
    path: PathBuf,
    salt: u64,
    /// Where the next record goes.
    offset: u64,
    size: u64,
}

struct Writer<T, S> {
    shared: Arc<Shared<T>>,
    dedup: Arc<Dedup>,
    clock: Arc<dyn Clock>,
    sink: S,
    active: Option<Active>,
    next_number: u64,
    next_sequence: u64,
    buffer: Vec<u8>,
}

/// Ends the log should the writer panic, so that no append waits for ever.
struct EndOnPanic<T>(Arc<Shared<T>>);

impl<T> Drop for EndOnPanic<T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.end(Refused::Fatal("the log's writer panicked".into()));
            self.0.queue.lock().entries.clear();
        }
    }
}

impl<T, S: FnMut(Outcome<T>)> Writer<T, S> {
    fn run(mut self) {
        let _guard = EndOnPanic(Arc::clone(&self.shared));
        while let Some(batch) = self.next_batch() {
            let refused = self.shared.queue.lock().ended.clone().filter(|why| matches!(why, Refused::Fatal(_)));
            let result = match refused {
                Some(why) => Err(why),
                None => self.write(&batch).map_err(|e| self.refuse(e)),
            };
            let tickets: Vec<T> = batch.into_iter().map(|entry| entry.ticket).collect();
            match result {
                Ok(first) => (self.sink)(Outcome::Durable { first, tickets }),
                Err(why) => (self.sink)(Outcome::Refused { why, tickets }),
            }
        }
    }

    /// Waits for requests; `None` when the log has ended and the queue is empty.
    fn next_batch(&self) -> Option<Vec<Entry<T>>> {
        let mut queue = self.shared.queue.lock();
        while queue.entries.is_empty() {
            if queue.ended.is_some() {
                return None;
            }
            self.shared.ready.wait(&mut queue);
        }
        let mut bytes = 0;
        let count = queue.entries.iter().take_while(|entry| {
            bytes += entry.payload.len();
            bytes <= MAX_BATCH_BYTES
        });
        let count = count.count().max(1);
        Some(queue.entries.drain(..count).collect())
    }

    fn refuse(&self, error: WriteError) -> Refused {
        let WriteError::Fatal(error) = error else { return Refused::NoSpace };
        tracing::error!(%error, "the log cannot be written; the store takes nothing more until it is opened again");
        let why = Refused::Fatal(error.to_string().into());
        self.shared.end(why.clone());
        why
    }

    /// Writes and syncs the batch; gives the sequence of its first request.
    fn write(&mut self, batch: &[Entry<T>]) -> Result<u64, WriteError> {
        let len: usize = batch.iter().map(|e| format::request_len(&e.tenant, e.payload.len())).sum();
        if self.active.as_ref().is_none_or(|a| a.offset + len as u64 > a.size) {
            self.new_segment(len as u64)?;
        }
        let active = self.active.as_mut().expect("new_segment leaves an active segment");
        let first = self.next_sequence;
        self.buffer.clear();
        for (sequence, entry) in (first..).zip(batch) {
            let fields = RequestFields {
                tenant: &entry.tenant,
                table: entry.table,
                received_ns: entry.received_ns,
                body_hash: entry.body_hash,
                rows: entry.rows,
                codec: format::CODEC_ZSTD,
                raw_len: entry.raw_len,
                payload: &entry.payload,
                payload_crc: entry.payload_crc,
            };
            format::encode_request(&mut self.buffer, active.salt, sequence, first - 1, &fields);
        }
        if let Err(error) = active.file.write_at(active.offset, &self.buffer) {
            return Err(self.abandon(error));
        }
        let started = Instant::now();
        // A sync that fails for lack of room has lost what it should have kept: fatal like any other.
        active.file.sync_data().map_err(WriteError::Fatal)?;
        active.offset += self.buffer.len() as u64;
        self.next_sequence += batch.len() as u64;
        let counters = &self.shared.counters;
        let elapsed = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        counters.sync_ns.fetch_add(elapsed, Ordering::Relaxed);
        for (counter, by) in [
            (&counters.syncs, 1),
            (&counters.batches, 1),
            (&counters.records, batch.len() as u64),
            (&counters.bytes, self.buffer.len() as u64),
        ] {
            counter.fetch_add(by, Ordering::Relaxed);
        }
        if self.buffer.capacity() > MAX_BATCH_BYTES {
            self.buffer = Vec::new();
        }
        Ok(first)
    }

    /// After a failed write: without room, cuts the part that was written off and leaves the segment; otherwise fatal.
    fn abandon(&mut self, error: io::Error) -> WriteError {
        if !is_no_space(&error) {
            return WriteError::Fatal(error);
        }
        let active = self.active.as_ref().expect("a write needs an active segment");
        if let Err(error) = active.file.set_size(active.offset).and_then(|()| active.file.sync_data()) {
            return WriteError::Fatal(error);
        }
        self.retire();
        WriteError::NoSpace
    }

    /// Moves the active segment, synced to its end, to the others.
    fn retire(&mut self) {
        let Some(active) = self.active.take() else { return };
        let mut segments = self.shared.segments.lock();
        segments.push(SegmentInfo {
            number: active.number,
            path: active.path,
            last_sequence: self.next_sequence - 1,
            bytes: active.size,
            damaged: false,
        });
        self.shared.active.store(false, Ordering::Release);
        self.shared.active_bytes.store(0, Ordering::Relaxed);
    }

    /// Makes the next segment with room for `needed` bytes of records, its head and name durable, and retires the one
    /// before. That one is synced to its end, so only the newest segment can ever have a torn tail.
    fn new_segment(&mut self, needed: u64) -> Result<(), WriteError> {
        let header = SegmentHeader {
            number: self.next_number,
            first_sequence: self.next_sequence,
            created_ns: self.clock.now_ns(),
            salt: RandomState::new().hash_one(self.clock.now_ns()),
        };
        let mut head = header.encode();
        debug_assert_eq!(head.len(), SEGMENT_HEADER_BYTES);
        let hashes = self.dedup.live(header.created_ns);
        format::encode_hashes(&mut head, header.salt, self.next_sequence - 1, header.created_ns, &hashes);
        let size = self.shared.config.segment_bytes.max(head.len() as u64 + needed);

        let dir = &self.shared.config.dir;
        let path = segment_path(dir, header.number);
        let unfinished = dir.join(format!("{:020}{UNFINISHED_SUFFIX}", header.number));
        self.next_number += 1;
        let file = match self.create(&unfinished, &head, size) {
            Ok(file) => file,
            Err(error) => {
                // Best effort: a left-over takes room until the next start, which removes it.
                let _ = self.shared.fs.unlink(&unfinished);
                return Err(error.into());
            }
        };
        let fs = &self.shared.fs;
        fs.rename(&unfinished, &path).and_then(|()| fs.sync_dir(dir)).map_err(WriteError::Fatal)?;
        let offset = head.len() as u64;
        let (number, salt) = (header.number, header.salt);
        self.retire();
        self.active = Some(Active { file, number, path, salt, offset, size });
        self.shared.active_bytes.store(size, Ordering::Relaxed);
        self.shared.active.store(true, Ordering::Release);
        self.shared.counters.segments_made.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn create(&self, path: &Path, head: &[u8], size: u64) -> io::Result<Box<dyn File>> {
        let file = self.shared.fs.create(path)?;
        file.preallocate(size)?;
        file.write_at(0, head)?;
        let started = Instant::now();
        file.sync_data()?;
        let elapsed = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.shared.counters.syncs.fetch_add(1, Ordering::Relaxed);
        self.shared.counters.sync_ns.fetch_add(elapsed, Ordering::Relaxed);
        Ok(file)
    }
}
