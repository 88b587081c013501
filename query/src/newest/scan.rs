//! The scans below a sort by time: where their rows lie, and the same scans over a slice of time. Knows the plans in which
//! each row comes from one row of a scan or is left out; of any other it says that it cannot be sliced.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::kernels::aggregate;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit, TimestampNanosecondType};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{ScalarValue, internal_datafusion_err};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::{DataSourceExec, MemorySourceConfig};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig};
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal, lit};
use datafusion::physical_expr::{PhysicalExpr, conjunction_opt, split_conjunction};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::filter_pushdown::PushedDown;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};
use datafusion_datasource::source::DataSource;
use object_store::path::Path;
use orrery_storage::DataFile;

use super::slices::{Extent, Slice};
use crate::table::times_compared;

/// What slices have read.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub files: BTreeSet<Path>,
    /// Of memory.
    pub rows: u64,
}

/// Where the rows of a plan's scans lie by the column at `time`; `None` where it cannot be sliced.
pub(super) fn extents(plan: &Arc<dyn ExecutionPlan>, time: usize) -> Option<Vec<Extent>> {
    let mut found = Vec::new();
    add_extents(plan, time, Slice::ALL, &mut found)?;
    Some(found)
}

fn add_extents(plan: &Arc<dyn ExecutionPlan>, time: usize, within: Slice, found: &mut Vec<Extent>) -> Option<()> {
    if plan.is::<EmptyExec>() {
        return Some(());
    }
    if plan.fetch().is_some() || !is_time(&plan.schema(), time) {
        return None;
    }
    if let Some(scan) = plan.downcast_ref::<DataSourceExec>() {
        if let Some(files) = scan.data_source().downcast_ref::<FileScanConfig>() {
            let within = within.and(asked(files.file_source.filter().as_ref(), |column| column.name() == TIME));
            is_time_of_files(files, time).then_some(())?;
            for file in files.file_groups.iter().flat_map(FileGroup::files) {
                found.extend(extent(file)?.within(within));
            }
            return Some(());
        }
        let memory = scan.data_source().downcast_ref::<MemorySourceConfig>()?;
        let column = stored(memory, time);
        for batch in memory.partitions().iter().flatten().filter(|batch| batch.num_rows() > 0) {
            let (min_ns, max_ns) = ends(batch, column)?;
            found.extend(Extent { min_ns, max_ns, rows: batch.num_rows() as f64 }.within(within));
        }
        return Some(());
    }
    let time = below(plan, time)?;
    let within = match plan.downcast_ref::<FilterExec>() {
        Some(filter) => within.and(asked(Some(filter.predicate()), |column| column.index() == time)),
        None => within,
    };
    plan.children().into_iter().try_for_each(|child| add_extents(child, time, within, found))
}

/// The column of the lake's tables that the ends of files are of.
const TIME: &str = "timestamp";

fn is_time(schema: &SchemaRef, time: usize) -> bool {
    matches!(schema.field(time).data_type(), DataType::Timestamp(TimeUnit::Nanosecond, None))
}

fn is_time_of_files(files: &FileScanConfig, time: usize) -> bool {
    let column = files.file_source.projection().and_then(|columns| columns.as_ref().get(time));
    column.and_then(|column| column.expr.downcast_ref::<Column>()).is_some_and(|column| column.name() == TIME)
}

/// Where the children's rows have the time of a plan that gives each as it is or leaves it out.
fn below(plan: &Arc<dyn ExecutionPlan>, time: usize) -> Option<usize> {
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        return Some(projection.expr()[time].expr.downcast_ref::<Column>()?.index());
    }
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        return filter.projection().as_ref().map_or(Some(time), |columns| columns.get(time).copied());
    }
    let is_plain = plan.is::<UnionExec>()
        || plan.is::<CoalescePartitionsExec>()
        || plan.is::<RepartitionExec>()
        || plan.is::<CooperativeExec>();
    is_plain.then_some(time)
}

/// The times that rows can have for which a condition is true.
fn asked(condition: Option<&Arc<dyn PhysicalExpr>>, is_time: impl Fn(&Column) -> bool) -> Slice {
    let compared = |part: &Arc<dyn PhysicalExpr>| {
        let part = part.downcast_ref::<BinaryExpr>()?;
        let (left, right) = (part.left(), part.right());
        let (column, op, value) = match left.downcast_ref::<Column>() {
            Some(column) => (column, *part.op(), right.downcast_ref::<Literal>()?),
            None => (right.downcast_ref::<Column>()?, part.op().swap()?, left.downcast_ref::<Literal>()?),
        };
        let ScalarValue::TimestampNanosecond(Some(ns), None) = value.value() else { return None };
        let (min_ns, max_ns) = times_compared(op, *ns).filter(|_| is_time(column))?;
        Some(Slice { min_ns, max_ns })
    };
    let parts = condition.map(split_conjunction).unwrap_or_default();
    parts.into_iter().filter_map(compared).fold(Slice::ALL, Slice::and)
}

/// Of a file or a part of one.
fn extent(file: &PartitionedFile) -> Option<Extent> {
    let data = file.extension::<DataFile>()?;
    let share = match &file.range {
        Some(range) => (range.end - range.start) as f64 / data.size_bytes.max(1) as f64,
        None => 1.0,
    };
    Some(Extent { min_ns: data.min_timestamp_ns, max_ns: data.max_timestamp_ns, rows: data.rows as f64 * share })
}

fn stored(memory: &MemorySourceConfig, column: usize) -> usize {
    memory.projection().as_ref().map_or(column, |columns| columns[column])
}

/// The first and the last time of a batch; `None` where one is missing.
fn ends(batch: &RecordBatch, column: usize) -> Option<(i64, i64)> {
    let times = batch.column(column).as_primitive_opt::<TimestampNanosecondType>()?;
    if times.null_count() > 0 {
        return None;
    }
    Some((aggregate::min(times)?, aggregate::max(times)?))
}

/// A plan over the rows of its scans within a slice; `None` where there are none. Of a plan that has [`extents`].
pub(super) fn sliced(
    plan: &Arc<dyn ExecutionPlan>,
    time: usize,
    slice: Slice,
    options: &ConfigOptions,
    read: &mut Read,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if plan.is::<EmptyExec>() {
        return Ok(None);
    }
    if let Some(scan) = plan.downcast_ref::<DataSourceExec>() {
        if let Some(files) = scan.data_source().downcast_ref::<FileScanConfig>() {
            return sliced_files(files, &plan.schema(), time, slice, options, read);
        }
        if let Some(memory) = scan.data_source().downcast_ref::<MemorySourceConfig>() {
            return sliced_memory(memory, &plan.schema(), time, slice, read);
        }
    }
    let time = below(plan, time).ok_or_else(|| internal_datafusion_err!("{} is read in slices", plan.name()))?;
    let mut children = Vec::new();
    for child in plan.children() {
        children.extend(sliced(child, time, slice, options, read)?);
    }
    if children.is_empty() {
        return Ok(None);
    }
    // Of the inputs of a union some may have no rows left.
    Ok(Some(if plan.is::<UnionExec>() {
        UnionExec::try_new(children)?
    } else {
        replace_children_if_necessary(Arc::clone(plan), children)?
    }))
}

fn sliced_files(
    files: &FileScanConfig,
    schema: &SchemaRef,
    time: usize,
    slice: Slice,
    options: &ConfigOptions,
    read: &mut Read,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let mut holds_all = true;
    let mut groups = Vec::new();
    for group in &files.file_groups {
        let mut kept = Vec::new();
        for file in group.iter() {
            let extent = extent(file).ok_or_else(|| internal_datafusion_err!("a file without its times"))?;
            if slice.meets(extent.min_ns, extent.max_ns) {
                holds_all &= slice.holds(extent.min_ns, extent.max_ns);
                read.files.insert(file.object_meta.location.clone());
                kept.push(file.clone());
            }
        }
        groups.extend((!kept.is_empty()).then(|| FileGroup::new(kept)));
    }
    if groups.is_empty() {
        return Ok(None);
    }
    let mut files = files.clone();
    files.file_groups = groups;
    let conditions = if holds_all { Vec::new() } else { conditions(schema, time, slice) };
    if conditions.is_empty() {
        return Ok(Some(DataSourceExec::from_data_source(files)));
    }
    let pushed = files.try_pushdown_filters(conditions.clone(), options)?;
    let source = pushed.updated_node.unwrap_or_else(|| Arc::new(files));
    let scan = Arc::new(DataSourceExec::new(source));
    let is_left = |(condition, pushed): (_, &PushedDown)| matches!(pushed, PushedDown::No).then_some(condition);
    filtered(scan, conditions.into_iter().zip(&pushed.filters).filter_map(is_left)).map(Some)
}

fn sliced_memory(
    memory: &MemorySourceConfig,
    schema: &SchemaRef,
    time: usize,
    slice: Slice,
    read: &mut Read,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let column = stored(memory, time);
    let mut holds_all = true;
    let mut partitions = Vec::new();
    for batches in memory.partitions() {
        let mut kept = Vec::new();
        for batch in batches {
            let Some((min_ns, max_ns)) = ends(batch, column) else { continue };
            if slice.meets(min_ns, max_ns) {
                holds_all &= slice.holds(min_ns, max_ns);
                read.rows += batch.num_rows() as u64;
                kept.push(batch.clone());
            }
        }
        partitions.extend((!kept.is_empty()).then_some(kept));
    }
    if partitions.is_empty() {
        return Ok(None);
    }
    let source = MemorySourceConfig::try_new(&partitions, memory.original_schema(), memory.projection().clone())?;
    let scan = DataSourceExec::from_data_source(source);
    let conditions = if holds_all { Vec::new() } else { conditions(schema, time, slice) };
    filtered(scan, conditions).map(Some)
}

/// What is true of the rows of a slice.
fn conditions(schema: &SchemaRef, time: usize, slice: Slice) -> Vec<Arc<dyn PhysicalExpr>> {
    let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(schema.field(time).name(), time));
    let bound = |op, ns| -> Arc<dyn PhysicalExpr> {
        let value = lit(ScalarValue::TimestampNanosecond(Some(ns), None));
        Arc::new(BinaryExpr::new(Arc::clone(&column), op, value))
    };
    let from = (slice.min_ns > i64::MIN).then(|| bound(Operator::GtEq, slice.min_ns));
    let until = (slice.max_ns < i64::MAX).then(|| bound(Operator::LtEq, slice.max_ns));
    from.into_iter().chain(until).collect()
}

fn filtered(
    plan: Arc<dyn ExecutionPlan>,
    conditions: impl IntoIterator<Item = Arc<dyn PhysicalExpr>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    Ok(match conjunction_opt(conditions) {
        Some(condition) => Arc::new(FilterExec::try_new(condition, plan)?),
        None => plan,
    })
}
