//! Queries with parameters: planned once, run over any session's snapshot with other times each time. A parameter is a typed
//! placeholder of the plan, so that its value is a literal where files are pruned by time.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::default_table_source::{provider_as_source, source_as_provider};
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::logical_expr::{LogicalPlan, Statement as PlanStatement};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    DataType, Expr, Ident, Statement as Sql, TimezoneInfo, Value, visit_expressions_mut,
};

use crate::rollup::DerivedTable;
use crate::table::LakeTable;
use crate::{QueryError, sandbox};

/// A planned query. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Prepared {
    plan: Arc<LogicalPlan>,
    parameters: usize,
}

impl Prepared {
    /// The columns of the result.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(self.plan.schema().as_arrow().clone())
    }

    /// The plan over another session's tables with a time for each parameter.
    pub(crate) async fn bind(&self, context: &SessionContext, times_ns: &[i64]) -> Result<LogicalPlan, QueryError> {
        if times_ns.len() != self.parameters {
            let (given, wanted) = (times_ns.len(), self.parameters);
            return Err(QueryError::internal(format!("{given} times for {wanted} parameters")));
        }
        let mut tables = Vec::new();
        for name in scanned(&self.plan)? {
            let provider = context.table_provider(name.as_str()).await?;
            tables.push((name, provider_as_source(provider)));
        }
        let plan = (*self.plan).clone().transform_up_with_subqueries(|node| {
            let LogicalPlan::TableScan(mut scan) = node else { return Ok(Transformed::no(node)) };
            let own = lake_table(&scan).and_then(|name| tables.iter().find(|(table, _)| *table == name));
            Ok(match own {
                Some((_, source)) => {
                    scan.source = Arc::clone(source);
                    Transformed::yes(LogicalPlan::TableScan(scan))
                }
                None => Transformed::no(LogicalPlan::TableScan(scan)),
            })
        })?;
        let times = times_ns.iter().map(|ns| ScalarValue::TimestampNanosecond(Some(*ns), None)).collect::<Vec<_>>();
        Ok(plan.data.with_param_values(ParamValues::from(times))?)
    }
}

/// Parses, checks and plans one query in which `$name` stands for a time.
pub(crate) async fn prepare(context: &SessionContext, query: &str, names: &[&str]) -> Result<Prepared, QueryError> {
    let state = context.state();
    let Statement::Statement(mut sql) = sandbox::parse(&state, query)? else { return Err(no_query()) };
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
    Ok(Prepared { plan: prepared.input, parameters: names.len() })
}

fn no_query() -> QueryError {
    QueryError::bad_request("only a query (SELECT) has parameters")
}

/// `$start` becomes `$1`, by its place among the names: the planner knows the types of numbered ones only.
fn number_parameters(sql: &mut Sql, names: &[&str]) -> Result<(), QueryError> {
    let flow = visit_expressions_mut(sql, |expr| {
        let Expr::Value(value) = expr else { return ControlFlow::Continue(()) };
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
            names.extend(lake_table(scan));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(names)
}

fn lake_table(scan: &datafusion::logical_expr::TableScan) -> Option<String> {
    let provider = source_as_provider(&scan.source).ok()?;
    let any: &dyn std::any::Any = provider.as_ref();
    let lake = any.downcast_ref::<LakeTable>().map(|table| table.name().as_str());
    lake.or_else(|| any.downcast_ref::<DerivedTable>().map(DerivedTable::name)).map(str::to_owned)
}
