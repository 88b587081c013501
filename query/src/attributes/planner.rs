//! What SQL's operators mean over strings that hold numbers, as far as it must be known while a statement is planned:
//! `map['key']`, arithmetic, sums. Comparisons come later, in [`super::numbers`].

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::planner::{
    ExprPlanner, PlannerResult, RawAggregateExpr, RawBinaryExpr, RawFieldAccessExpr,
};
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess, cast, lit, try_cast};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::functions::{map_get, map_get::NAME as MAP_GET};

/// Aggregates that mean numbers whatever they are given.
const NUMERIC_AGGREGATES: &[&str] = &[
    "sum",
    "avg",
    "mean",
    "stddev",
    "stddev_samp",
    "stddev_pop",
    "var",
    "var_samp",
    "var_pop",
    "var_population",
    "median",
    "approx_median",
    "approx_percentile_cont",
    "percentile_cont",
];

#[derive(Debug)]
pub(super) struct AttributePlanner;

impl ExprPlanner for AttributePlanner {
    fn plan_field_access(
        &self,
        raw: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let string_map = match raw.expr.get_type(schema)? {
            DataType::Map(entries, _) => {
                matches!(entries.data_type(), DataType::Struct(fields) if fields[0].data_type() == &DataType::Utf8)
            }
            _ => false,
        };
        if !string_map {
            return Ok(PlannerResult::Original(raw));
        }
        match raw.field_access {
            GetFieldAccess::NamedStructField { name } => {
                let key = name.try_as_str().flatten().unwrap_or_default().to_owned();
                Ok(PlannerResult::Planned(map_get(raw.expr, lit(key))))
            }
            GetFieldAccess::ListIndex { key } => Ok(PlannerResult::Planned(map_get(raw.expr, *key))),
            GetFieldAccess::ListRange { .. } => Ok(PlannerResult::Original(raw)),
        }
    }

    fn plan_binary_op(&self, raw: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let (left, right) = (raw.left.get_type(schema)?, raw.right.get_type(schema)?);
        match raw.op {
            BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::Modulo => Ok(arithmetic(raw, &left, &right)),
            BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq => Ok(truth(raw, &left, &right)),
            _ => Ok(PlannerResult::Original(raw)),
        }
    }

    fn plan_aggregate(&self, mut raw: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        let attribute = |e: &Expr| matches!(e, Expr::ScalarFunction(f) if f.name() == MAP_GET);
        if NUMERIC_AGGREGATES.contains(&raw.func.name())
            && let Some(first) = raw.args.first_mut().filter(|e| attribute(e))
        {
            *first = number(std::mem::replace(first, Expr::Literal(ScalarValue::Null, None)));
        }
        Ok(PlannerResult::Original(raw))
    }
}

pub(super) fn planners() -> Vec<Arc<dyn ExprPlanner>> {
    vec![Arc::new(AttributePlanner)]
}

/// A string in arithmetic is the number that it holds, a double, or NULL.
fn arithmetic(mut raw: RawBinaryExpr, left: &DataType, right: &DataType) -> PlannerResult<RawBinaryExpr> {
    let number_like = |t: &DataType| t.is_numeric() || t.is_string() || t.is_null();
    if number_like(left) && number_like(right) {
        if left.is_string() {
            raw.left = number(raw.left);
        }
        if right.is_string() {
            raw.right = number(raw.right);
        }
    }
    PlannerResult::Original(raw)
}

/// A string compared with true or false is compared with the word.
fn truth(mut raw: RawBinaryExpr, left: &DataType, right: &DataType) -> PlannerResult<RawBinaryExpr> {
    if left.is_string() && right == &DataType::Boolean {
        raw.right = cast(raw.right, DataType::Utf8);
    } else if right.is_string() && left == &DataType::Boolean {
        raw.left = cast(raw.left, DataType::Utf8);
    }
    PlannerResult::Original(raw)
}

fn number(text: Expr) -> Expr {
    try_cast(text, DataType::Float64)
}
