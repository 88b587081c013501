//! The store's settings. Each limit says what happens when it is reached.

use std::path::PathBuf;
use std::time::Duration;

use crate::LearnConfig;
use crate::compact::CompactionConfig;
use crate::retention::RetentionConfig;

/// How a store works.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The data folder; made if its parent exists.
    pub dir: PathBuf,
    /// Rows in memory beyond this are sealed and flushed. At three times this, sealed parts included, appends wait for a
    /// flush to end.
    pub memtable_bytes: usize,
    /// How long an append waits for room before it is refused as overloaded. Waiting slows senders down to what the disk
    /// takes; a refusal makes them idle for the seconds of a retry.
    pub overload_wait: Duration,
    /// Rows are flushed no later than this after they came.
    pub flush_age: Duration,
    /// What a segment of the log is preallocated to.
    pub wal_segment_bytes: u64,
    /// With less free space than this, appends are refused until there is more: the rest is for flushes and compaction.
    pub floor_free_bytes: u64,
    /// How often the free space is looked at.
    pub free_space_every: Duration,
    /// A byte-identical request is absorbed for so long after it was received.
    pub absorb_window: Duration,
    /// When keys get columns without being asked for.
    pub learn: LearnConfig,
    /// How files are merged.
    pub compaction: CompactionConfig,
    /// What is kept of them.
    pub retention: RetentionConfig,
    /// How often it is looked for what need not be kept any longer.
    pub upkeep_every: Duration,
    /// Files that were merged or dropped stay on the disk for so long: more than any query runs, here or in another program.
    /// On a disk with less free than [`RetentionConfig::free_bytes`] they go when no query of this process reads them.
    pub grace: Duration,
    /// How long to wait after a failed flush, doubled up to [`StoreConfig::MAX_FLUSH_RETRY`].
    pub flush_retry: Duration,
}

impl StoreConfig {
    /// The longest wait between two tries of a flush.
    pub const MAX_FLUSH_RETRY: Duration = Duration::from_secs(30);
    /// Memory that rows may take, as a multiple of `memtable_bytes`.
    pub const MEMORY_FACTOR: usize = 3;

    /// The bytes of rows at which appends wait.
    pub fn overload_bytes(&self) -> usize {
        self.memtable_bytes.saturating_mul(Self::MEMORY_FACTOR)
    }

    /// The bytes of rows at which merges pause, so that flushes have the machine: before appends have to wait.
    pub fn pressed_bytes(&self) -> usize {
        self.memtable_bytes.saturating_mul(Self::MEMORY_FACTOR - 1)
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("data"),
            memtable_bytes: 96 << 20,
            overload_wait: Duration::from_secs(5),
            flush_age: Duration::from_secs(30),
            wal_segment_bytes: 64 << 20,
            floor_free_bytes: 1 << 30,
            free_space_every: Duration::from_millis(250),
            absorb_window: Duration::from_secs(600),
            learn: LearnConfig::default(),
            compaction: CompactionConfig::default(),
            retention: RetentionConfig::default(),
            upkeep_every: Duration::from_secs(15),
            grace: Duration::from_secs(300),
            flush_retry: Duration::from_secs(1),
        }
    }
}
