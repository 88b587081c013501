//! What scans have cost, for receipts. Counts only.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::datasource::memory::{DataSourceExec, MemorySourceConfig};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::physical_plan::ExecutionPlan;

/// Files that a session's scans have left out.
#[derive(Debug, Default)]
pub(crate) struct PrunedFiles(AtomicU64);

impl PrunedFiles {
    pub fn add(&self, files: usize) {
        self.0.fetch_add(files as u64, Ordering::Relaxed);
    }

    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the scans of plans have read so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Before conditions that only reading them could answer; rows in memory count whole.
    pub rows: u64,
    /// Of files.
    pub bytes: u64,
    pub files: u64,
}

impl Cost {
    pub fn of(plans: &[Arc<dyn ExecutionPlan>]) -> Self {
        let mut cost = Self::default();
        for plan in plans {
            cost.add(plan);
        }
        cost
    }

    fn add(&mut self, plan: &Arc<dyn ExecutionPlan>) {
        if let Some(scan) = plan.downcast_ref::<DataSourceExec>() {
            if let Some(memory) = scan.data_source().downcast_ref::<MemorySourceConfig>() {
                self.rows += memory.partitions().iter().flatten().map(|batch| batch.num_rows() as u64).sum::<u64>();
            } else if let Some(files) = scan.data_source().downcast_ref::<FileScanConfig>() {
                // A large file is read in several parts.
                let listed = files.file_groups.iter().flat_map(|group| group.files());
                self.files += listed.map(|file| &file.object_meta.location).collect::<BTreeSet<_>>().len() as u64;
                if let Some(metrics) = plan.metrics() {
                    let sum = |name: &str| metrics.sum_by_name(name).map_or(0, |v| v.as_usize() as u64);
                    self.rows += metrics.output_rows().unwrap_or(0) as u64 + sum("pushdown_rows_pruned");
                    self.bytes += sum("bytes_scanned");
                }
            }
        }
        for child in plan.children() {
            self.add(child);
        }
    }
}
