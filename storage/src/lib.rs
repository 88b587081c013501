//! The lake: write-ahead log, memtable, Parquet files and the DuckLake catalog that ties them together. Takes decoded
//! batches, gives snapshots; never parses OTLP itself (replay asks the [`Decode`] it was given) and never plans a query.

mod alert_state;
pub mod budget;
mod catalog;
mod checksum;
pub mod compact;
mod dedup;
mod density;
pub mod fs;
pub mod lake;
mod layout;
mod learned;
mod lock;
mod memtable;
mod notifier_state;
mod parquet;
pub mod retention;
mod rollups;
pub mod section_filter;
pub mod snapshot;
pub mod store;
#[cfg(test)]
#[path = "../tests/it/support/mod.rs"]
mod support;
pub mod token_filter;
mod trace_filter;
mod trace_filters;
pub mod value_filter;
pub mod verify;
mod views;
mod wal;

pub use alert_state::{AlertChanges, AlertState, Kept, KeptAlert};
pub use budget::{HeldMemory, MemoryBudget};
pub use checksum::{Checksums, ReadError, VerifiedFile};
pub use compact::{Compacted, CompactionConfig};
pub use density::{LearnConfig, LearnedKey};
pub use lake::{Expired, Lake, LakeError, LakeView, LearnError, SealedBatch, Steps};
pub use layout::FileLayout;
pub use learned::{Learned, LearnedColumns};
pub use lock::{DataLock, LockError};
pub use memtable::{MemtableSize, batch_bytes};
pub use notifier_state::NotifierState;
pub use parquet::{MapKeys, ORDER_KEY, RECEIVED, always_there, map_keys, spans_received};
pub use retention::RetentionConfig;
pub use rollups::{MAX_PART_BYTES, RollupHead, RollupQuery, Rollups, StoredRollup};
pub use snapshot::{DataFile, MemoryBatch, Snapshot, TableSnapshot};
pub use store::{AppendError, FlushReport, Recovery, Store, StoreConfig, StoreError, StoreStatus, Upkept};
pub use trace_filter::TraceFilter;
pub use trace_filters::{FileFilter, TraceFilters};
pub use verify::{Verified, verify};
pub use wal::{Damage, WalError};

use arrow::array::RecordBatch;
use bytes::Bytes;
use orrery_model::{Signal, TenantId};

/// A file holds rows of one hour.
pub(crate) const HOUR_NS: i64 = 3_600_000_000_000;

/// Turns an accepted OTLP protobuf request into rows. Replay calls it with the record's own receive time, so it must
/// give the same rows as it did when the record was accepted, and apply no limits.
pub trait Decode: Send + Sync + 'static {
    fn decode(&self, signal: Signal, body: &[u8], received_ns: i64) -> Result<RecordBatch, String>;
}

/// One accepted request on its way into the log.
pub struct Append {
    pub tenant: TenantId,
    pub signal: Signal,
    /// Receive time, nanoseconds since the Unix epoch.
    pub received_ns: i64,
    /// The OTLP protobuf `Export*ServiceRequest` of exactly the rows in `batch`, uncompressed.
    pub body: Bytes,
    pub batch: RecordBatch,
    /// XXH3-128 of the decompressed request as it was sent; `None` where a copy must not be absorbed (a record without a
    /// time).
    pub body_hash: Option<u128>,
}

/// How an append ended. Either way the rows are on stable storage and visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    Stored,
    /// A byte-identical request was stored within the last ten minutes; this one added nothing.
    Absorbed,
}
