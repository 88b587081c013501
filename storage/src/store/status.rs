//! What the store says about itself, for `/metrics`, the status API and tests. Never changes anything.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{AppendError, Recovery, Shared, Ticket};
use crate::dedup::Dedup;
use crate::memtable::MemtableSize;
use crate::parquet::{MIXED, hour_of};
use crate::retention::Why;
use crate::wal::Wal;

/// Counted since the start.
#[derive(Debug, Default)]
pub struct Counters {
    pub requests: AtomicU64,
    pub rows: AtomicU64,
    pub absorbed: AtomicU64,
    pub refused_no_space: AtomicU64,
    pub refused_overloaded: AtomicU64,
    pub refused_other: AtomicU64,
    pub flushes: AtomicU64,
    pub flushed_rows: AtomicU64,
    pub flush_ns: AtomicU64,
    pub flush_failures: AtomicU64,
    pub learned_keys: AtomicU64,
}

impl Counters {
    pub(super) fn stored(&self, rows: u64) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, error: &AppendError) {
        let counter = match error {
            AppendError::NoSpace => &self.refused_no_space,
            AppendError::Overloaded => &self.refused_overloaded,
            AppendError::Closed | AppendError::Fatal(_) | AppendError::TooLarge { .. } => &self.refused_other,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Merging of files; counts are since the start.
#[derive(Clone, Debug, Default)]
pub struct CompactionStatus {
    /// `off`, `idle`, `merging` or `paused`, which is for ingest.
    pub state: &'static str,
    pub runs: u64,
    pub files: u64,
    pub rows: u64,
    pub read_bytes: u64,
    pub written_bytes: u64,
    pub duration_ns: u64,
    pub paused_ns: u64,
    pub lost_races: u64,
    pub failures: u64,
    pub put_off: u64,
}

/// What was dropped and deleted since the start, and what is about to be deleted.
#[derive(Clone, Debug, Default)]
pub struct UpkeepStatus {
    /// Files, rows and bytes that queries no longer see, by why.
    pub dropped: Vec<(Why, [u64; 3])>,
    pub expired_snapshots: u64,
    pub deleted_files: u64,
    pub deleted_bytes: u64,
    pub orphans: u64,
    pub failures: u64,
    pub pending_bytes: u64,
}

impl CompactionStatus {
    fn of(shared: &Shared) -> Self {
        let (counters, upkeep) = (&shared.compaction, &shared.upkeep);
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let state = if upkeep.is_paused.load(Ordering::Relaxed) {
            "paused"
        } else if upkeep.is_merging.load(Ordering::Relaxed) {
            "merging"
        } else if shared.config.compaction.enabled {
            "idle"
        } else {
            "off"
        };
        Self {
            state,
            runs: get(&counters.runs),
            files: get(&counters.files),
            rows: get(&counters.rows),
            read_bytes: get(&counters.read_bytes),
            written_bytes: get(&counters.written_bytes),
            duration_ns: get(&counters.duration_ns),
            paused_ns: get(&upkeep.paused_ns),
            lost_races: get(&counters.lost_races),
            failures: get(&counters.failures),
            put_off: get(&counters.put_off),
        }
    }
}

impl UpkeepStatus {
    fn of(shared: &Shared) -> Self {
        let counters = &shared.upkeep;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let dropped = |why: Why| {
            let of = [&counters.dropped_files, &counters.dropped_rows, &counters.dropped_bytes];
            (why, of.map(|counters| get(&counters[why as usize])))
        };
        Self {
            dropped: Why::ALL.into_iter().map(dropped).collect(),
            expired_snapshots: get(&counters.expired_snapshots),
            deleted_files: get(&counters.deleted_files),
            deleted_bytes: get(&counters.deleted_bytes),
            orphans: get(&counters.orphans),
            failures: get(&counters.failures),
            pending_bytes: get(&counters.pending_bytes),
        }
    }
}

/// The store at one moment; counts are since the start.
#[derive(Clone, Debug, Default)]
pub struct StoreStatus {
    pub memtable: MemtableSize,
    /// Bytes of rows on their way through the log.
    pub queued_bytes: usize,
    /// The limit that `memtable` and `queued_bytes` have together.
    pub overload_bytes: usize,

    pub files: u64,
    pub file_bytes: u64,
    pub file_rows: u64,
    /// Files with rows of several hours, as times far from one another make them.
    pub mixed_files: u64,
    pub snapshot_id: i64,
    pub flushed_sequence: u64,

    pub wal_segments: u64,
    pub wal_bytes: u64,
    pub wal_syncs: u64,
    pub wal_sync_ns: u64,
    pub wal_batches: u64,
    pub wal_records: u64,
    pub wal_written_bytes: u64,
    pub wal_quarantined: u64,

    pub free_bytes: Option<u64>,
    /// Why appends are refused, if they are.
    pub refusing: Option<AppendError>,

    pub requests: u64,
    pub rows: u64,
    pub absorbed: u64,
    pub absorbable: u64,
    pub absorb_forgotten: u64,
    pub refused_no_space: u64,
    pub refused_overloaded: u64,
    pub refused_other: u64,
    pub flushes: u64,
    pub flushed_rows: u64,
    pub flush_ns: u64,
    pub flush_failures: u64,
    /// Keys that got a column without being asked for.
    pub learned_keys: u64,
    /// Columns that the tables of all tenants have learned.
    pub learned_columns: u64,
    pub recovery: Recovery,
    pub compaction: CompactionStatus,
    pub upkeep: UpkeepStatus,
}

impl StoreStatus {
    pub(super) fn of(shared: &Shared, wal: &Wal<Ticket>, dedup: &Dedup) -> Self {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (counters, wal_counters) = (&shared.counters, wal.counters());
        let (wal_segments, wal_bytes) = wal.size();
        let view = shared.memtable.view();
        let files = || view.tables.values().flatten().flat_map(|table| table.iter());
        let queued_bytes = shared.queued_bytes.load(Ordering::Relaxed);
        let overload_bytes = shared.config.overload_bytes();
        let refusing = if let Some(why) = wal.ended() {
            Some(why.into())
        } else if !shared.space.admits() {
            Some(AppendError::NoSpace)
        } else {
            (shared.memtable.bytes() + queued_bytes >= overload_bytes).then_some(AppendError::Overloaded)
        };
        Self {
            memtable: shared.memtable.size(),
            queued_bytes,
            overload_bytes,
            files: files().count() as u64,
            file_bytes: files().map(|f| f.size_bytes).sum(),
            file_rows: files().map(|f| f.rows).sum(),
            mixed_files: files().filter(|f| hour_of(f.min_timestamp_ns, f.max_timestamp_ns) == MIXED).count() as u64,
            snapshot_id: view.id.0,
            flushed_sequence: shared.target.flushed_sequence(),
            wal_segments,
            wal_bytes,
            wal_syncs: get(&wal_counters.syncs),
            wal_sync_ns: get(&wal_counters.sync_ns),
            wal_batches: get(&wal_counters.batches),
            wal_records: get(&wal_counters.records),
            wal_written_bytes: get(&wal_counters.bytes),
            wal_quarantined: get(&wal_counters.quarantined),
            free_bytes: shared.space.free_bytes(),
            refusing,
            requests: get(&counters.requests),
            rows: get(&counters.rows),
            absorbed: get(&counters.absorbed),
            absorbable: dedup.count() as u64,
            absorb_forgotten: dedup.forgotten(),
            refused_no_space: get(&counters.refused_no_space),
            refused_overloaded: get(&counters.refused_overloaded),
            refused_other: get(&counters.refused_other),
            flushes: get(&counters.flushes),
            flushed_rows: get(&counters.flushed_rows),
            flush_ns: get(&counters.flush_ns),
            flush_failures: get(&counters.flush_failures),
            learned_keys: get(&counters.learned_keys),
            learned_columns: shared.target.view().learned.count() as u64,
            recovery: shared.recovery.clone(),
            compaction: CompactionStatus::of(shared),
            upkeep: UpkeepStatus::of(shared),
        }
    }
}
