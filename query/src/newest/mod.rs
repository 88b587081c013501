//! The newest rows first, or the oldest: `ORDER BY timestamp … LIMIT k` over the scans of files and memory is answered in
//! slices of time, each read whole before the next is begun, until k rows are found. Without this all of an hour
//! would be read, though its newest rows stand together. Every row is read at most once, and only plans are changed in which each row comes from
//! one row of a scan: joins, aggregates, window functions and other limits stay as they are.

mod exec;
mod scan;
mod slices;

pub(crate) use exec::TimeSlicesExec;

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};

/// Puts slices of time in the place of a sort by time that keeps the first rows only.
#[derive(Debug)]
struct NewestFirst {
    /// About how many rows the first slice has, at least.
    first_rows: usize,
}

/// DataFusion's rules with the slices among them: behind all that moves operators, before the conditions that a sort finds
/// while it runs are handed to scans, since each slice has its own. No slices where `first_rows` is 0.
pub(crate) fn optimizer_rules(first_rows: usize) -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules = PhysicalOptimizer::new().rules;
    if first_rows > 0 {
        let moved = rules.iter().rposition(|rule| rule.name() == "EnsureCooperative").map_or(rules.len(), |at| at + 1);
        rules.insert(moved, Arc::new(NewestFirst { first_rows }));
    }
    rules
}

impl PhysicalOptimizerRule for NewestFirst {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _options: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_down(|node| {
            let sliced = match node.downcast_ref::<SortPreservingMergeExec>() {
                // The partitions' first rows are of no use to anyone else.
                Some(merge) => match merge.fetch() {
                    Some(fetch) => self.sliced(merge.input(), fetch)?.map(|input| over(&node, input)).transpose()?,
                    None => None,
                },
                None if node.properties().partitioning.partition_count() == 1 => {
                    node.downcast_ref::<SortExec>().and_then(|sort| self.slices(sort, usize::MAX))
                }
                None => None,
            };
            Ok(match sliced {
                Some(sliced) => Transformed::new(sliced, true, TreeNodeRecursion::Jump),
                None => Transformed::no(node),
            })
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "NewestFirst"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

impl NewestFirst {
    /// A plan of which the first rows are merged, with slices in it.
    fn sliced(&self, plan: &Arc<dyn ExecutionPlan>, fetch: usize) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
            return self.sliced(projection.input(), fetch)?.map(|input| over(plan, input)).transpose();
        }
        Ok(plan.downcast_ref::<SortExec>().and_then(|sort| self.slices(sort, fetch)))
    }

    fn slices(&self, sort: &SortExec, fetch: usize) -> Option<Arc<dyn ExecutionPlan>> {
        let fetch = sort.fetch()?.min(fetch);
        let slices = TimeSlicesExec::over(sort, fetch, self.first_rows).filter(|_| fetch > 0)?;
        Some(Arc::new(slices))
    }
}

fn over(plan: &Arc<dyn ExecutionPlan>, input: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    replace_children_if_necessary(Arc::clone(plan), vec![input])
}
