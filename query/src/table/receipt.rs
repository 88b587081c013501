//! What scans have cost and what they left unread, for receipts. Counts only.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::datasource::memory::{DataSourceExec, MemorySourceConfig};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::{MetricValue, MetricsSet};
use object_store::path::Path;
use orrery_api::Pruned;

use super::sections::{VALUES, WORDS};
use crate::newest::TimeSlicesExec;

/// Files that a session's scans have left out when they were planned, by what ruled them out.
#[derive(Debug, Default)]
pub(crate) struct PrunedFiles {
    by_time: AtomicU64,
    by_trace_id: AtomicU64,
    by_attribute: AtomicU64,
}

/// What ruled a file out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Means {
    Time,
    TraceId,
    Attribute,
}

impl Means {
    pub const ALL: [Self; 3] = [Self::Time, Self::TraceId, Self::Attribute];

    /// The metric in `EXPLAIN ANALYZE`.
    pub const fn metric(self) -> &'static str {
        match self {
            Self::Time => "files_pruned_time",
            Self::TraceId => "files_pruned_trace_id",
            Self::Attribute => "files_pruned_attribute",
        }
    }
}

/// How many files one scan left out, indexed by [`Means`].
pub(super) type FilesLeftOut = [usize; Means::ALL.len()];

impl PrunedFiles {
    pub(super) fn add(&self, files: &FilesLeftOut) {
        for (count, files) in [&self.by_time, &self.by_trace_id, &self.by_attribute].into_iter().zip(files) {
            count.fetch_add(*files as u64, Ordering::Relaxed);
        }
    }

    pub fn count(&self) -> u64 {
        let Pruned { files_by_time, files_by_trace_id, files_by_attribute, .. } = self.shown();
        files_by_time + files_by_trace_id + files_by_attribute
    }

    fn shown(&self) -> Pruned {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Pruned {
            files_by_time: read(&self.by_time),
            files_by_trace_id: read(&self.by_trace_id),
            files_by_attribute: read(&self.by_attribute),
            ..Pruned::default()
        }
    }
}

/// What the scans of plans have read so far, and what they left unread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Before conditions that only reading them could answer; rows in memory count whole.
    pub rows: u64,
    /// Of files.
    pub bytes: u64,
    pub files: u64,
    /// Files that were left unopened while the query ran.
    pub files_unread: u64,
    pub pruned: Pruned,
}

/// A plan that was run.
pub(crate) struct Ran {
    pub plan: Arc<dyn ExecutionPlan>,
    pub reads: Reads,
}

/// What a statement leaves unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// Nobody reads it.
    All,
    /// Other statements of the request read it.
    Part,
}

impl Cost {
    pub fn of(ran: &[Ran], pruned: &PrunedFiles) -> Self {
        let mut cost = Self { pruned: pruned.shown(), ..Self::default() };
        // A file that several statements open is one file.
        let mut opened = BTreeSet::new();
        for Ran { plan, reads } in ran {
            cost.add(plan, *reads, &mut opened);
        }
        cost.files += opened.len() as u64;
        cost
    }

    fn add<'a>(&mut self, plan: &'a Arc<dyn ExecutionPlan>, reads: Reads, opened: &mut BTreeSet<&'a Path>) {
        if let Some(slices) = plan.downcast_ref::<TimeSlicesExec>() {
            self.add_slices(slices);
            return;
        }
        if let Some(scan) = plan.downcast_ref::<DataSourceExec>() {
            if let Some(memory) = scan.data_source().downcast_ref::<MemorySourceConfig>() {
                self.rows += memory.partitions().iter().flatten().map(|batch| batch.num_rows() as u64).sum::<u64>();
            } else if let Some(files) = scan.data_source().downcast_ref::<FileScanConfig>() {
                opened.extend(listed(files));
                if let Some(metrics) = plan.metrics() {
                    self.add_read(&metrics);
                    if reads == Reads::All {
                        self.add_pruned(&metrics);
                    }
                }
            }
        }
        for child in plan.children() {
            self.add(child, reads, opened);
        }
    }

    /// Scans of which a part was read, slice by slice: what a slice leaves out, another may have read.
    fn add_slices(&mut self, slices: &TimeSlicesExec) {
        let (files_read, memory_rows) = slices.read();
        let mut files = BTreeSet::new();
        for scan in slices.scans() {
            let Some(source) = scan.downcast_ref::<DataSourceExec>() else { continue };
            let (Some(config), Some(metrics)) = (source.data_source().downcast_ref(), scan.metrics()) else { continue };
            files.extend(listed(config));
            self.add_read(&metrics);
            if slices.slices_read() == 1 {
                self.add_pruned(&metrics);
            }
        }
        self.rows += memory_rows;
        self.files += files_read as u64;
        let unread = (files.len() - files_read) as u64;
        self.files_unread += unread;
        self.pruned.files_by_statistics += unread;
    }

    fn add_read(&mut self, metrics: &MetricsSet) {
        let sum = |name: &str| metrics.sum_by_name(name).map_or(0, |v| v.as_usize() as u64);
        self.rows += metrics.output_rows().unwrap_or(0) as u64 + sum("pushdown_rows_pruned");
        self.bytes += sum("bytes_scanned");
    }

    fn add_pruned(&mut self, metrics: &MetricsSet) {
        let dynamic = metrics.sum_by_name("row_groups_pruned_dynamic_filter").map_or(0, |v| v.as_usize() as u64);
        self.pruned.row_groups_by_limit += dynamic;
        for metric in metrics.iter() {
            let MetricValue::PruningMetrics { name, pruning_metrics } = metric.value() else { continue };
            let count = match &**name {
                "files_ranges_pruned_statistics" => &mut self.pruned.files_by_statistics,
                "row_groups_pruned_statistics" => &mut self.pruned.row_groups_by_statistics,
                "limit_pruned_row_groups" => &mut self.pruned.row_groups_by_limit,
                "page_index_pages_pruned" => &mut self.pruned.pages_by_index,
                name if name == WORDS.row_groups => &mut self.pruned.row_groups_by_token_filter,
                name if name == WORDS.sections => &mut self.pruned.sections_by_token_filter,
                name if name == VALUES.row_groups => &mut self.pruned.row_groups_by_value_filter,
                name if name == VALUES.sections => &mut self.pruned.sections_by_value_filter,
                _ => continue,
            };
            *count += pruning_metrics.pruned() as u64;
        }
    }
}

/// The files of a scan; a large one is read in several parts.
fn listed(files: &FileScanConfig) -> BTreeSet<&Path> {
    files.file_groups.iter().flat_map(|group| group.files()).map(|file| &file.object_meta.location).collect()
}
