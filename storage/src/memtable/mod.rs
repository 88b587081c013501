//! The rows that are in the log and not yet in a file, as queries read them: one list of batches for each tenant and
//! table, in the order of the log. Sealed parts are on their way into files. Never waits for anything but its own lock,
//! which is held for moves of pointers only.

mod bytes;
mod coalesce;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use hashbrown::HashMap;
use orrery_model::{TableName, TenantId};
use parking_lot::Mutex;

pub use bytes::batch_bytes;

use crate::lake::{LakeView, SealedBatch};
use crate::snapshot::{MemoryBatch, Snapshot, TableSnapshot};

/// The memtable and the view of the files beside it: both change under one lock, so that a snapshot has each row once.
pub struct Memtable {
    state: Mutex<State>,
    /// Of the active and the sealed parts.
    bytes: AtomicUsize,
    coalescer: coalesce::Waker,
}

/// Rows to be published.
pub struct Rows {
    pub tenant: TenantId,
    pub table: TableName,
    pub batch: Arc<MemoryBatch>,
    /// From [`batch_bytes`].
    pub bytes: usize,
}

impl Rows {
    pub fn count(&self) -> u64 {
        self.batch.num_rows() as u64
    }
}

struct State {
    active: Part,
    /// Oldest first.
    sealed: VecDeque<Arc<Part>>,
    view: Arc<LakeView>,
    /// The last one published.
    sequence: u64,
}

/// A run of the log's sequences.
pub struct Part {
    id: u64,
    pub first: u64,
    pub through: u64,
    pub bytes: usize,
    pub rows: u64,
    /// When its first rows came; `None` while it is empty.
    pub since: Option<Instant>,
    tables: HashMap<TenantId, [Vec<Held>; TableName::COUNT]>,
}

#[derive(Clone)]
struct Held {
    batch: Arc<MemoryBatch>,
    bytes: usize,
    /// How often its rows have been put together with others.
    level: u8,
}

/// What the memtable holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemtableSize {
    pub active_bytes: usize,
    pub active_rows: u64,
    pub sealed_bytes: usize,
    pub sealed_rows: u64,
    pub sealed_parts: usize,
    pub batches: usize,
    /// The last sequence that is visible.
    pub sequence: u64,
}

impl Memtable {
    /// Begins after `sequence`, which is what `view` holds at least.
    pub fn new(sequence: u64, view: Arc<LakeView>) -> Self {
        Self {
            state: Mutex::new(State { active: Part::new(0, sequence + 1), sealed: VecDeque::new(), view, sequence }),
            bytes: AtomicUsize::new(0),
            coalescer: coalesce::Waker::default(),
        }
    }

    /// Makes rows visible. Sequences are `first` and on, each higher than all before; gaps are allowed.
    pub fn publish(&self, first: u64, rows: impl ExactSizeIterator<Item = Rows>) {
        let mut small = false;
        let mut state = self.state.lock();
        let mut added = 0;
        for (sequence, rows) in (first..).zip(rows) {
            added += rows.bytes;
            small |= coalesce::is_small(&rows.batch);
            state.active.add(sequence, rows);
            state.sequence = sequence;
        }
        self.bytes.fetch_add(added, Ordering::Relaxed);
        drop(state);
        if small {
            self.coalescer.wake();
        }
    }

    /// One tenant's tables at this moment.
    pub fn snapshot(&self, tenant: &TenantId) -> Snapshot {
        let mut memory: [Vec<Arc<MemoryBatch>>; TableName::COUNT] = Default::default();
        let state = self.state.lock();
        for part in state.sealed.iter().map(|p| &**p).chain([&state.active]) {
            let Some(tables) = part.tables.get(tenant) else { continue };
            for (out, held) in memory.iter_mut().zip(tables) {
                out.extend(held.iter().map(|h| Arc::clone(&h.batch)));
            }
        }
        let view = Arc::clone(&state.view);
        let sequence = state.sequence;
        drop(state);
        let tables = TableName::ALL.map(|table| TableSnapshot {
            files: view.tables.get(tenant).map(|files| Arc::clone(&files[table.index()])).unwrap_or_default(),
            memory: std::mem::take(&mut memory[table.index()]),
        });
        Snapshot { id: view.id, tenant: tenant.clone(), sequence, tables }
    }

    /// Seals the active part, if it has rows. Gives the last sequence of all that is sealed and its rows, `None` if
    /// nothing is.
    pub fn seal(&self) -> Option<(u64, u64)> {
        let mut state = self.state.lock();
        if state.active.rows > 0 {
            let next = Part::new(state.active.id + 1, state.sequence + 1);
            let part = std::mem::replace(&mut state.active, next);
            state.sealed.push_back(Arc::new(part));
        }
        let rows = state.sealed.iter().map(|part| part.rows).sum();
        state.sealed.back().map(|part| (part.through, rows))
    }

    /// The sealed part whose turn it is.
    pub fn oldest_sealed(&self) -> Option<Arc<Part>> {
        self.state.lock().sealed.front().cloned()
    }

    /// The oldest sealed part is in `view`'s files: queries read it from there.
    pub fn flushed(&self, part: &Part, view: Arc<LakeView>) {
        let mut state = self.state.lock();
        let done = state.sealed.pop_front().expect("a part that was flushed was sealed");
        assert_eq!(done.id, part.id, "parts are flushed in order");
        let old_view = std::mem::replace(&mut state.view, view);
        self.bytes.fetch_sub(done.bytes, Ordering::Relaxed);
        drop(state);
        drop((done, old_view));
    }

    /// Files were put in the place of others, or dropped: queries read `view` from here on. It has what has been flushed and
    /// no more.
    pub fn replaced(&self, view: Arc<LakeView>) {
        let old_view = std::mem::replace(&mut self.state.lock().view, view);
        drop(old_view);
    }

    /// Bytes of all parts.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bytes of the part that still grows.
    pub fn active_bytes(&self) -> usize {
        self.state.lock().active.bytes
    }

    /// When the active part got its first rows.
    pub fn active_since(&self) -> Option<Instant> {
        self.state.lock().active.since
    }

    pub fn view(&self) -> Arc<LakeView> {
        Arc::clone(&self.state.lock().view)
    }

    pub fn size(&self) -> MemtableSize {
        let state = self.state.lock();
        let batches = |part: &Part| part.tables.values().flatten().map(Vec::len).sum::<usize>();
        MemtableSize {
            active_bytes: state.active.bytes,
            active_rows: state.active.rows,
            sealed_bytes: state.sealed.iter().map(|p| p.bytes).sum(),
            sealed_rows: state.sealed.iter().map(|p| p.rows).sum(),
            sealed_parts: state.sealed.len(),
            batches: batches(&state.active) + state.sealed.iter().map(|p| batches(p)).sum::<usize>(),
            sequence: state.sequence,
        }
    }
}

impl Part {
    fn new(id: u64, first: u64) -> Self {
        Self { id, first, through: first - 1, bytes: 0, rows: 0, since: None, tables: HashMap::new() }
    }

    fn add(&mut self, sequence: u64, rows: Rows) {
        self.since.get_or_insert_with(Instant::now);
        self.through = sequence;
        self.bytes += rows.bytes;
        self.rows += rows.batch.num_rows() as u64;
        let table = &mut self.tables.entry(rows.tenant).or_default()[rows.table.index()];
        table.push(Held { batch: rows.batch, bytes: rows.bytes, level: 0 });
    }

    /// The part's batches in the order of the log within each table.
    pub fn batches(&self) -> Vec<SealedBatch> {
        let mut batches = Vec::new();
        for (tenant, tables) in &self.tables {
            for (table, held) in TableName::ALL.into_iter().zip(tables) {
                let sealed = |h: &Held| SealedBatch { tenant: tenant.clone(), table, batch: (**h.batch).clone() };
                batches.extend(held.iter().map(sealed));
            }
        }
        batches
    }
}
