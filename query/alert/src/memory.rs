//! A lake in memory: what rules are checked and tested against without a server. Holds what it is given, in its order, and
//! writes nothing.

use std::sync::Arc;

use arrow::array::RecordBatch;
use orrery_model::{SnapshotId, TableName, TenantId};
use orrery_query::SnapshotSource;
use orrery_storage::{MemoryBatch, Snapshot, TableSnapshot};
use parking_lot::RwLock;

/// Empty at first. Every tenant sees the same.
#[derive(Debug)]
pub struct MemoryLake(RwLock<Arc<Snapshot>>);

impl Default for MemoryLake {
    fn default() -> Self {
        Self(RwLock::new(Arc::new(Snapshot {
            id: SnapshotId(0),
            tenant: TenantId::default(),
            sequence: 0,
            tables: Default::default(),
        })))
    }
}

impl MemoryLake {
    /// Replaces a table's rows. The batches have the table's schema.
    pub fn put(&self, table: TableName, rows: Vec<RecordBatch>) {
        let mut snapshot = self.0.write();
        let mut next = Snapshot::clone(&snapshot);
        next.id = SnapshotId(next.id.0 + 1);
        next.tables[table.index()] = TableSnapshot { files: Arc::default(), memory: MemoryBatch::all(rows) };
        *snapshot = Arc::new(next);
    }
}

impl SnapshotSource for MemoryLake {
    fn snapshot(&self, _tenant: &TenantId) -> Arc<Snapshot> {
        Arc::clone(&self.0.read())
    }
}
