//! Attributes in SQL: `attributes['any.key']` over the columns and maps that hold it. Turns a query into one over stored
//! columns and registered functions only, so that its plan means the same wherever it runs.
//!
//! In the order in which a query meets them: [`syntax`] (`attribute('k')`), [`planner`] (`m['k']`, arithmetic),
//! [`columns`] (each `attributes['k']` becomes a column of the scanned table), [`numbers`] (comparison with numbers),
//! [`values`] (what such a column is over stored columns, when the table is scanned).

mod columns;
mod numbers;
mod planner;
mod renamed;
pub(crate) mod syntax;
pub(crate) mod values;

use std::sync::Arc;

use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::optimizer::{Analyzer, AnalyzerRule};

pub(crate) fn expr_planners() -> Vec<Arc<dyn ExprPlanner>> {
    planner::planners()
}

/// Ours before DataFusion's, whose type coercion would turn a comparison with a number into a cast that can fail.
pub(crate) fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> =
        vec![Arc::new(columns::AttributeColumns), Arc::new(numbers::TextAsNumber)];
    rules.extend(Analyzer::new().rules);
    rules
}
