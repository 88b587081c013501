//! Comparison of a string with a number means the number that the string holds, and NULL where it holds none: one
//! `'abc'` among the values never fails a query. Comparing with a time likewise. Literals keep DataFusion's rules, so
//! that a mistyped one is an error.

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::expr::{InList, InSubquery};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, binary_expr, cast, lit, try_cast,
};
use datafusion::optimizer::AnalyzerRule;

/// Integers below are exact as doubles and no other number rounds to them, so that comparing with one as doubles is exact
/// whatever the string holds.
const EXACT: i64 = 1 << 53;

#[derive(Debug)]
pub(super) struct TextAsNumber;

impl AnalyzerRule for TextAsNumber {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(rewrite).map(|t| t.data)
    }

    fn name(&self) -> &str {
        "text_as_number"
    }
}

fn rewrite(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        schema.merge(&scan.projected_schema);
    }
    let names = NamePreserver::new(&plan);
    let rewritten = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        Ok(expr.transform_up(|e| condition(e, &schema))?.update_data(|e| name.restore(e)))
    })?;
    let rewritten = rewritten.transform_data(|plan| match plan {
        LogicalPlan::Join(mut join) => {
            let mut changed = false;
            for (left, right) in &mut join.on {
                let (l, r) = (left.get_type(join.left.schema())?, right.get_type(join.right.schema())?);
                if l.is_string() && r.is_numeric() {
                    (*left, changed) = (try_cast(left.clone(), r), true);
                } else if r.is_string() && l.is_numeric() {
                    (*right, changed) = (try_cast(right.clone(), l), true);
                }
            }
            Ok(Transformed::new_transformed(LogicalPlan::Join(join), changed))
        }
        other => Ok(Transformed::no(other)),
    })?;
    rewritten.map_data(LogicalPlan::recompute_schema)
}

fn condition(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(op) => {
            if text(&left, schema) && other(&right, schema).is_some() {
                return Ok(Transformed::yes(compared(*left, op, *right, schema)));
            }
            if text(&right, schema)
                && other(&left, schema).is_some()
                && let Some(swapped) = op.swap()
            {
                return Ok(Transformed::yes(compared(*right, swapped, *left, schema)));
            }
            Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })))
        }
        Expr::Between(between)
            if text(&between.expr, schema)
                && [&between.low, &between.high].iter().any(|e| other(e, schema).is_some()) =>
        {
            let low = compared((*between.expr).clone(), Operator::GtEq, *between.low, schema);
            let both = low.and(compared(*between.expr, Operator::LtEq, *between.high, schema));
            Ok(Transformed::yes(if between.negated { Expr::Not(Box::new(both)) } else { both }))
        }
        Expr::InList(list) if text(&list.expr, schema) && list.list.iter().any(|e| other(e, schema).is_some()) => {
            Ok(Transformed::yes(one_of(list, schema)))
        }
        Expr::InSubquery(InSubquery { expr, subquery, negated }) if text(&expr, schema) => {
            let wanted = subquery.subquery.schema().field(0).data_type().clone();
            let expr = if wanted.is_numeric() { Box::new(try_cast(*expr, wanted)) } else { expr };
            Ok(Transformed::yes(Expr::InSubquery(InSubquery { expr, subquery, negated })))
        }
        Expr::Case(mut case) => {
            let when_type = case.when_then_expr.iter().find_map(|(when, _)| other(when, schema));
            match (case.expr.take(), when_type) {
                (Some(base), Some(number)) if text(&base, schema) => {
                    let wanted = if number.is_numeric() { DataType::Float64 } else { number };
                    case.expr = Some(Box::new(try_cast(*base, wanted)));
                    Ok(Transformed::yes(Expr::Case(case)))
                }
                (base, _) => {
                    case.expr = base;
                    Ok(Transformed::no(Expr::Case(case)))
                }
            }
        }
        other => Ok(Transformed::no(other)),
    }
}

fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq) || is_distinctness(op)
}

fn is_distinctness(op: Operator) -> bool {
    matches!(op, Operator::IsDistinctFrom | Operator::IsNotDistinctFrom)
}

/// Whether the expression is a string, and no literal.
fn text(expr: &Expr, schema: &DFSchema) -> bool {
    !matches!(expr, Expr::Literal(..)) && expr.get_type(schema).is_ok_and(|t| t.is_string())
}

/// The type of an expression that is a number or a time.
fn other(expr: &Expr, schema: &DFSchema) -> Option<DataType> {
    expr.get_type(schema).ok().filter(|t| t.is_numeric() || matches!(t, DataType::Timestamp(..)))
}

fn compared(text: Expr, op: Operator, with: Expr, schema: &DFSchema) -> Expr {
    let Some(data_type) = other(&with, schema) else { return binary_expr(text, op, with) };
    if let Some(number) = exact_double(&with) {
        return binary_expr(try_cast(text, DataType::Float64), op, lit(number));
    }
    if !data_type.is_numeric() || data_type == DataType::Float64 {
        return binary_expr(try_cast(text, data_type), op, with);
    }
    let as_double = binary_expr(try_cast(text.clone(), DataType::Float64), op, cast(with.clone(), DataType::Float64));
    if data_type.is_integer() && !is_distinctness(op) {
        // Large integers differ where their doubles do not.
        let exact = binary_expr(try_cast(text, data_type), op, with);
        return coalesce(vec![exact, as_double]);
    }
    as_double
}

/// `text IN (…)` with numbers among the values.
fn one_of(list: InList, schema: &DFSchema) -> Expr {
    let InList { expr, list, negated } = list;
    let (numbers, others): (Vec<_>, Vec<_>) = list.into_iter().partition(|e| exact_double(e).is_some());
    let (unwieldy, texts): (Vec<_>, Vec<_>) = others.into_iter().partition(|e| other(e, schema).is_some());
    let mut any: Vec<Expr> = Vec::new();
    if !numbers.is_empty() {
        let numbers = numbers.iter().filter_map(exact_double).map(lit).collect();
        any.push(Expr::InList(InList::new(Box::new(try_cast((*expr).clone(), DataType::Float64)), numbers, false)));
    }
    if !texts.is_empty() {
        any.push(Expr::InList(InList::new(expr.clone(), texts, false)));
    }
    any.extend(unwieldy.into_iter().map(|e| compared((*expr).clone(), Operator::Eq, e, schema)));
    let any = any.into_iter().reduce(Expr::or).unwrap_or_else(|| lit(false));
    if negated { Expr::Not(Box::new(any)) } else { any }
}

fn exact_double(expr: &Expr) -> Option<f64> {
    let (expr, sign) = match expr {
        Expr::Negative(inner) => (&**inner, -1.0),
        other => (other, 1.0),
    };
    let Expr::Literal(value, _) = expr else { return None };
    #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
    let number = match value {
        ScalarValue::Int64(Some(i)) if i.unsigned_abs() < EXACT.unsigned_abs() => *i as f64,
        ScalarValue::UInt64(Some(u)) if *u < EXACT.unsigned_abs() => *u as f64,
        ScalarValue::Int32(Some(i)) => f64::from(*i),
        ScalarValue::Float64(Some(f)) => *f,
        _ => return None,
    };
    Some(sign * number)
}
