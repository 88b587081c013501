//! Attributes in SQL: `attributes['any.key']` over the columns and maps that hold it. Turns a query into one over stored
//! columns and registered functions only, so that its plan means the same wherever it runs.

use std::sync::Arc;

use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::logical_expr::{Expr, col};
use datafusion::optimizer::{Analyzer, AnalyzerRule};
use orrery_model::{Scope, Table};

pub(crate) fn expr_planners() -> Vec<Arc<dyn ExprPlanner>> {
    Vec::new()
}

pub(crate) fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    Analyzer::new().rules
}

/// The whole map of a scope over stored columns.
pub(crate) fn whole_map(_table: &'static Table, scope: Scope) -> Expr {
    col(scope.other_name())
}
