//! What scans have cost, for receipts. Counts only.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::datasource::memory::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;

/// Files that a session's scans chose and left out.
#[derive(Debug, Default)]
pub(crate) struct ScanCounters {
    files: AtomicU64,
    pruned: AtomicU64,
}

impl ScanCounters {
    pub fn add(&self, files: usize, pruned: usize) {
        self.files.fetch_add(files as u64, Ordering::Relaxed);
        self.pruned.fetch_add(pruned as u64, Ordering::Relaxed);
    }

    /// (to be read, pruned).
    pub fn files(&self) -> (u64, u64) {
        (self.files.load(Ordering::Relaxed), self.pruned.load(Ordering::Relaxed))
    }
}

/// Rows and bytes that the scans of these plans have read so far. Rows count before conditions that only reading them
/// could answer.
pub(crate) fn rows_and_bytes(plans: &[Arc<dyn ExecutionPlan>]) -> (u64, u64) {
    let (mut rows, mut bytes) = (0, 0);
    for plan in plans {
        visit(plan, &mut rows, &mut bytes);
    }
    (rows, bytes)
}

fn visit(plan: &Arc<dyn ExecutionPlan>, rows: &mut u64, bytes: &mut u64) {
    if plan.is::<DataSourceExec>()
        && let Some(metrics) = plan.metrics()
    {
        let sum = |name: &str| metrics.sum_by_name(name).map_or(0, |v| v.as_usize() as u64);
        *rows += metrics.output_rows().unwrap_or(0) as u64 + sum("pushdown_rows_pruned");
        *bytes += sum("bytes_scanned");
    }
    for child in plan.children() {
        visit(child, rows, bytes);
    }
}
