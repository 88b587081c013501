//! A sort by time that keeps the first rows only, slice by slice: each slice is a plan of its own, with the scans over its
//! times and a sort above, and the next one is made when the last has given all its rows and they are too few. Holds no
//! rows itself.

use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{assert_eq_or_internal_err, internal_datafusion_err};
use datafusion::datasource::memory::DataSourceExec;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::filter_pushdown::FilterPushdown;
use datafusion::physical_plan::metrics::{
    BaselineMetrics, Count, ExecutionPlanMetricsSet, Gauge, MetricBuilder, MetricType, MetricsSet, RecordOutput,
};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
    ReplaceChildrenOptions, SendableRecordBatchStream, apply_expression_roots,
};
use futures::{StreamExt, stream};
use parking_lot::Mutex;

use super::scan::{self, Read};
use super::slices::{Extent, Slices};

/// The first rows of its input by time, in order, as one partition.
#[derive(Clone, Debug)]
pub(crate) struct TimeSlicesExec {
    /// What is sorted, over all of time.
    input: Arc<dyn ExecutionPlan>,
    order: LexOrdering,
    fetch: usize,
    first_rows: usize,
    /// The position of the time among the input's columns.
    time: usize,
    extents: Arc<Vec<Extent>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    read: Arc<Mutex<Read>>,
}

impl TimeSlicesExec {
    /// In the place of a sort of which `fetch` rows are wanted; `None` where its first key is not the time of all rows, its input
    /// cannot be sliced, or there are too few rows for more than one slice.
    pub fn over(sort: &SortExec, fetch: usize, first_rows: usize) -> Option<Self> {
        let time = sort.expr().first().expr.downcast_ref::<Column>()?.index();
        let extents = scan::extents(sort.input(), time)?;
        // Without a condition as many rows as are wanted must be read.
        let first_rows = first_rows.max(fetch.saturating_mul(2));
        let rows: f64 = extents.iter().map(|extent| extent.rows).sum();
        let properties =
            PlanProperties::clone(sort.properties()).with_partitioning(Partitioning::UnknownPartitioning(1));
        (rows >= 2.0 * first_rows as f64).then(|| Self {
            input: Arc::clone(sort.input()),
            order: sort.expr().clone(),
            fetch,
            first_rows,
            time,
            extents: Arc::new(extents),
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
            read: Arc::default(),
        })
    }

    /// The files that were read so far, and the rows of memory.
    pub fn read(&self) -> (usize, u64) {
        let read = self.read.lock();
        (read.files.len(), read.rows)
    }

    /// The scans that the slices are cut from.
    pub fn scans(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        fn add<'a>(plan: &'a Arc<dyn ExecutionPlan>, scans: &mut Vec<&'a Arc<dyn ExecutionPlan>>) {
            if plan.is::<DataSourceExec>() {
                scans.push(plan);
            }
            plan.children().into_iter().for_each(|child| add(child, scans));
        }
        let mut scans = Vec::new();
        add(&self.input, &mut scans);
        scans
    }

    pub fn slices_read(&self) -> usize {
        self.metrics.clone_inner().sum_by_name(SLICES_READ).map_or(0, |count| count.as_usize())
    }

    fn newest_first(&self) -> bool {
        self.order.first().options.descending
    }
}

/// The names of the metrics in `EXPLAIN ANALYZE`.
const SLICES_READ: &str = "slices_read";
const ROWS_UNREAD: &str = "rows_in_unread_slices";

impl DisplayAs for TimeSlicesExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fetch, order, first_rows, .. } = self;
        match t {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, "TimeSlicesExec: TopK(fetch={fetch}), expr=[{order}], first_slice={first_rows} rows")
            }
            DisplayFormatType::TreeRender => writeln!(f, "fetch={fetch}\n{order}"),
        }
    }
}

impl ExecutionPlan for TimeSlicesExec {
    fn name(&self) -> &'static str {
        "TimeSlicesExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn fetch(&self) -> Option<usize> {
        Some(self.fetch)
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        apply_expression_roots(self.order.iter().map(|key| &key.expr), f)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.swap_remove(0);
        let extents = scan::extents(&input, self.time)
            .ok_or_else(|| internal_datafusion_err!("what is read in slices was changed to what cannot be"))?;
        Ok(Arc::new(Self {
            input,
            extents: Arc::new(extents),
            metrics: ExecutionPlanMetricsSet::new(),
            read: Arc::default(),
            ..Self::clone(&self)
        }))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        assert_eq_or_internal_err!(partition, 0, "there is one partition");
        let metric = || MetricBuilder::new(&self.metrics).with_type(MetricType::Summary);
        let running = Running {
            slices: Slices::new(self.extents.to_vec(), self.newest_first(), self.first_rows as f64),
            slice: None,
            found: 0,
            slices_read: metric().counter(SLICES_READ, partition),
            rows_unread: metric().gauge(ROWS_UNREAD, partition),
            baseline: BaselineMetrics::new(&self.metrics, partition),
            exec: self.clone(),
            context,
        };
        let batches = stream::try_unfold(running, |mut running| async move {
            Ok(running.batch().await?.map(|batch| (batch, running)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

struct Running {
    exec: TimeSlicesExec,
    context: Arc<TaskContext>,
    slices: Slices,
    /// The rows of the slice that is being read.
    slice: Option<SendableRecordBatchStream>,
    /// Rows given so far.
    found: usize,
    slices_read: Count,
    /// About.
    rows_unread: Gauge,
    baseline: BaselineMetrics,
}

impl Running {
    async fn batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(slice) = &mut self.slice {
                if let Some(batch) = slice.next().await.transpose()? {
                    self.found += batch.num_rows();
                    return Ok(Some(self.alike(batch)?.record_output(&self.baseline)));
                }
                // All its rows are counted: only now is it known how many are missing.
                self.slice = None;
            }
            if self.found >= self.exec.fetch || !self.begin()? {
                self.baseline.done();
                return Ok(None);
            }
        }
    }

    /// With the schema of all slices: where inputs of a union have no rows in one, the others may say more of their columns.
    fn alike(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let schema = self.exec.schema();
        if *batch.schema_ref() == schema {
            return Ok(batch);
        }
        let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(schema, batch.columns().to_vec(), &rows)?)
    }

    /// Starts the next slice; `false` when there is none.
    fn begin(&mut self) -> Result<bool> {
        let Some(slice) = self.slices.next(self.found, self.exec.fetch) else { return Ok(false) };
        let options = self.context.session_config().options();
        let input = scan::sliced(&self.exec.input, self.exec.time, slice, options, &mut self.exec.read.lock())?;
        self.slices_read.add(1);
        self.rows_unread.set(self.slices.left() as usize);
        self.slice = match input {
            Some(input) => Some(self.sorted(input, options)?.execute(0, Arc::clone(&self.context))?),
            None => None,
        };
        Ok(true)
    }

    /// The first rows of a slice, as many as are missing.
    fn sorted(&self, input: Arc<dyn ExecutionPlan>, options: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let (order, missing) = (&self.exec.order, Some(self.exec.fetch - self.found));
        let sort = SortExec::new(order.clone(), input).with_fetch(missing).with_preserve_partitioning(true);
        let merge = SortPreservingMergeExec::new(order.clone(), Arc::new(sort)).with_fetch(missing);
        // Rows that cannot be among the first any more are left out where they are read.
        FilterPushdown::new_post_optimization().optimize(Arc::new(merge), options)
    }
}
