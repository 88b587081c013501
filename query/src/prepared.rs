//! Queries with parameters: planned once, run over any session's snapshot with other times each time. A parameter is a typed
//! placeholder of the plan, so that its value is a literal where files are pruned by time.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::catalog::default_table_source::{provider_as_source, source_as_provider};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Statement as PlanStatement, TableScan, Volatility};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    DataType, Expr as SqlExpr, Ident, Statement as Sql, TimezoneInfo, Value, visit_expressions_mut,
};

use crate::rollup::DerivedTable;
use crate::table::LakeTable;
use crate::{QueryError, sandbox};

/// A planned query. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Prepared {
    plan: Arc<LogicalPlan>,
    /// Whether the plan is the optimizer's, which then need not run again.
    is_optimized: bool,
    schema: SchemaRef,
    parameters: usize,
}

/// A plan over a session's own tables.
pub(crate) struct Bound {
    pub plan: LogicalPlan,
    pub is_optimized: bool,
}

impl Prepared {
    /// The columns of the result.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The plan over another session's tables with a time for each parameter.
    pub(crate) async fn bind(&self, context: &SessionContext, times_ns: &[i64]) -> Result<Bound, QueryError> {
        if times_ns.len() != self.parameters {
            let (given, wanted) = (times_ns.len(), self.parameters);
            return Err(QueryError::internal(format!("{given} times for {wanted} parameters")));
        }
        let mut tables = Vec::new();
        for name in scanned(&self.plan)? {
            tables.push((context.table_provider(name.as_str()).await?, name));
        }
        let times = times_ns.iter().map(|ns| ScalarValue::TimestampNanosecond(Some(*ns), None)).collect::<Vec<_>>();
        let plan = (*self.plan).clone().transform_up_with_subqueries(|node| {
            let node = if let LogicalPlan::TableScan(mut scan) = node {
                let named = stored_name(&scan).and_then(|name| tables.iter().find(|(_, table)| *table == name));
                if let Some((provider, _)) = named {
                    scan.source = provider_as_source(over(&scan, provider));
                }
                LogicalPlan::TableScan(scan)
            } else {
                node
            };
            if !self.is_optimized {
                return Ok(Transformed::yes(node));
            }
            node.map_expressions(|expr| expr.transform_up(|part| Ok(literal(part, &times))))
        })?;
        let plan = if self.is_optimized { plan.data } else { plan.data.with_param_values(ParamValues::from(times))? };
        Ok(Bound { plan, is_optimized: self.is_optimized })
    }
}

/// The session's table in the place of a scan's, with the scan's columns.
fn over(scan: &TableScan, provider: &Arc<dyn TableProvider>) -> Arc<dyn TableProvider> {
    let now: &dyn std::any::Any = provider.as_ref();
    let planned = source_as_provider(&scan.source).ok();
    let planned = planned.as_ref().and_then(|planned| {
        let planned: &dyn std::any::Any = planned.as_ref();
        planned.downcast_ref::<LakeTable>()
    });
    match planned.zip(now.downcast_ref::<LakeTable>()) {
        Some((planned, now)) => Arc::new(planned.over(now)),
        None => Arc::clone(provider),
    }
}

/// A parameter's time.
fn literal(expr: Expr, times: &[ScalarValue]) -> Transformed<Expr> {
    let Expr::Placeholder(placeholder) = &expr else { return Transformed::no(expr) };
    let number = placeholder.id.strip_prefix('$').and_then(|number| number.parse::<usize>().ok());
    match number.and_then(|number| times.get(number.checked_sub(1)?)) {
        Some(time) => Transformed::yes(Expr::Literal(time.clone(), None)),
        None => Transformed::no(expr),
    }
}

/// Whether the optimizer may run before the parameters are known. It may not where a function has another value each time:
/// the time of day would be that of planning.
fn means_the_same_later(plan: &LogicalPlan) -> Result<bool, QueryError> {
    all(plan, |_, part| match part {
        Expr::ScalarFunction(function) => answer(function.func.signature().volatility == Volatility::Immutable),
        _ => Seen::Inside,
    })
}

/// Whether an optimized plan's parameters are only compared with columns, in conditions: then they are all that pruning by
/// time has to find in it, and there is nothing left to simplify.
fn compares_only(plan: &LogicalPlan) -> Result<bool, QueryError> {
    let simple = |expr: &Expr| matches!(expr, Expr::Column(_) | Expr::Placeholder(_) | Expr::Literal(..));
    all(plan, |node, part| {
        let is_condition = matches!(node, LogicalPlan::TableScan(_) | LogicalPlan::Filter(_));
        match part {
            Expr::BinaryExpr(BinaryExpr { left, op, right })
                if is_condition && op.supports_propagation() && simple(left) && simple(right) =>
            {
                Seen::Done
            }
            Expr::Between(between)
                if is_condition && [&between.expr, &between.low, &between.high].into_iter().all(|e| simple(e)) =>
            {
                Seen::Done
            }
            Expr::Placeholder(_) => Seen::Refused,
            _ => Seen::Inside,
        }
    })
}

/// What is to be done with a part of an expression.
enum Seen {
    Done,
    Inside,
    Refused,
}

fn answer(holds: bool) -> Seen {
    if holds { Seen::Inside } else { Seen::Refused }
}

/// Whether no part of any expression of the plan is refused.
fn all(plan: &LogicalPlan, seen: impl Fn(&LogicalPlan, &Expr) -> Seen) -> Result<bool, QueryError> {
    let flow = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                Ok(match seen(node, part) {
                    Seen::Done => TreeNodeRecursion::Jump,
                    Seen::Inside => TreeNodeRecursion::Continue,
                    Seen::Refused => TreeNodeRecursion::Stop,
                })
            })
        })
    })?;
    Ok(flow != TreeNodeRecursion::Stop)
}

/// Parses, checks and plans one query in which `$name` stands for a time.
pub(crate) async fn prepare(state: &SessionState, query: &str, names: &[&str]) -> Result<Prepared, QueryError> {
    let Statement::Statement(mut sql) = sandbox::parse(state, query)? else { return Err(no_query()) };
    if !matches!(*sql, Sql::Query(_)) {
        return Err(no_query());
    }
    number_parameters(&mut sql, names)?;
    let time = DataType::Timestamp(Some(9), TimezoneInfo::None);
    let prepare = Sql::Prepare { name: Ident::new("query"), data_types: vec![time; names.len()], statement: sql };
    let planned = state.statement_to_plan(Statement::Statement(Box::new(prepare))).await.map_err(sandbox::explain)?;
    let LogicalPlan::Statement(PlanStatement::Prepare(prepared)) = planned else {
        return Err(QueryError::internal("a prepared statement has another plan"));
    };
    sandbox::verify(&prepared.input)?;
    let schema = Arc::new(prepared.input.schema().as_arrow().clone());
    let optimized = state.optimize(&prepared.input)?;
    let is_optimized = means_the_same_later(&prepared.input)? && compares_only(&optimized)?;
    let plan = if is_optimized { Arc::new(optimized) } else { prepared.input };
    Ok(Prepared { plan, is_optimized, schema, parameters: names.len() })
}

fn no_query() -> QueryError {
    QueryError::bad_request("only a query (SELECT) has parameters")
}

/// `$start` becomes `$1`, by its place among the names: the planner knows the types of numbered ones only.
fn number_parameters(sql: &mut Sql, names: &[&str]) -> Result<(), QueryError> {
    let flow = visit_expressions_mut(sql, |expr| {
        let SqlExpr::Value(value) = expr else { return ControlFlow::Continue(()) };
        let Value::Placeholder(name) = &mut value.value else { return ControlFlow::Continue(()) };
        match names.iter().position(|known| name.strip_prefix('$') == Some(*known)) {
            Some(index) => {
                *name = format!("${}", index + 1);
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(name.clone()),
        }
    });
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(unknown) => {
            let known: Vec<String> = names.iter().map(|name| format!("${name}")).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(" and ") };
            Err(QueryError::bad_request(format!("there is no parameter {unknown}; there is {known}")))
        }
    }
}

/// The names of the lake's tables that a plan scans.
fn scanned(plan: &LogicalPlan) -> Result<BTreeSet<String>, QueryError> {
    let mut names = BTreeSet::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            names.extend(stored_name(scan));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(names)
}

fn stored_name(scan: &TableScan) -> Option<String> {
    let provider = source_as_provider(&scan.source).ok()?;
    let any: &dyn std::any::Any = provider.as_ref();
    let lake = any.downcast_ref::<LakeTable>().map(|table| table.name().as_str());
    lake.or_else(|| any.downcast_ref::<DerivedTable>().map(DerivedTable::name)).map(str::to_owned)
}
