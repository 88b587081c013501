//! What a query reads: the data files of one catalog snapshot and the rows of the memtable that are not in them. Holding
//! a snapshot keeps its files from being deleted. Never changes once made.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{max, min};
use arrow::datatypes::TimestampNanosecondType;
use orrery_model::{SnapshotId, TableName, TenantId};

use crate::{Checksums, FileFilter, FileLayout};

/// One tenant's tables at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub id: SnapshotId,
    pub tenant: TenantId,
    /// The sequence of the last request that is visible.
    pub sequence: u64,
    /// Indexed by [`TableName::index`].
    pub tables: [TableSnapshot; TableName::COUNT],
}

impl Snapshot {
    pub fn table(&self, name: impl Into<TableName>) -> &TableSnapshot {
        &self.tables[name.into().index()]
    }
}

/// One table of a snapshot: the union of its files and its batches, without overlap.
#[derive(Clone, Debug, Default)]
pub struct TableSnapshot {
    pub files: Arc<Vec<Arc<DataFile>>>,
    /// Rows in memory, in the order they were acknowledged. Every batch has the table's schema.
    pub memory: Vec<Arc<MemoryBatch>>,
}

/// Rows in memory, with what rules them out unread.
#[derive(Clone, Debug)]
pub struct MemoryBatch {
    rows: RecordBatch,
    /// Of the `timestamp` column, nanoseconds, inclusive; the first is after the last where there is no row.
    pub min_timestamp_ns: i64,
    pub max_timestamp_ns: i64,
}

impl MemoryBatch {
    /// Batches as a snapshot has them.
    pub fn all(batches: impl IntoIterator<Item = RecordBatch>) -> Vec<Arc<Self>> {
        batches.into_iter().map(|batch| Arc::new(batch.into())).collect()
    }
}

impl From<RecordBatch> for MemoryBatch {
    fn from(rows: RecordBatch) -> Self {
        let times = rows.column_by_name("timestamp").and_then(|c| c.as_primitive_opt::<TimestampNanosecondType>());
        let min_timestamp_ns = times.and_then(min).unwrap_or(i64::MAX);
        let max_timestamp_ns = times.and_then(max).unwrap_or(i64::MIN);
        Self { rows, min_timestamp_ns, max_timestamp_ns }
    }
}

impl Deref for MemoryBatch {
    type Target = RecordBatch;

    fn deref(&self) -> &RecordBatch {
        &self.rows
    }
}

/// A Parquet file of the lake, with what rules it out without opening it.
#[derive(Debug)]
pub struct DataFile {
    pub id: i64,
    /// Absolute.
    pub path: PathBuf,
    pub size_bytes: u64,
    pub footer_bytes: u64,
    pub rows: u64,
    /// Of the `timestamp` column, nanoseconds, inclusive.
    pub min_timestamp_ns: i64,
    pub max_timestamp_ns: i64,
    /// Which trace ids may be in the file; `None` for tables without a `trace_id`.
    pub trace_filter: Option<FileFilter>,
    /// What its bytes are verified by, see [`crate::VerifiedFile`]; `None` for a file of format version 1.
    pub checksums: Option<Checksums>,
    /// The ids of the first and the last of the files that flushes wrote and that this one was merged from; `None` for a
    /// flush's own. Of two files of one table and hour, all rows of the one with the smaller ids were received first.
    pub merged_from: Option<(i64, i64)>,
    /// Where its attributes lie; `None` for a file of format version 3 and older.
    pub layout: Option<Arc<FileLayout>>,
}

impl DataFile {
    /// The ids of the first and the last flush's file whose rows are in this one.
    pub fn received(&self) -> (i64, i64) {
        self.merged_from.unwrap_or((self.id, self.id))
    }
}
