//! `filter` parameters: a SQL boolean expression over one signal's table, parsed as an expression only. Never a
//! statement, never a subquery, never an aggregate.

use std::ops::ControlFlow;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::DFParserBuilder;
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, visit_expressions};
use orrery_model::Signal;

use crate::QueryError;

/// The longest filter that is read, bytes.
const MAX_FILTER_BYTES: usize = 16 << 10;

/// A checked filter.
#[derive(Clone, Debug)]
pub struct Filter {
    sql: String,
    expr: Expr,
}

impl Filter {
    /// As SQL in parentheses, safe to put into a statement over the signal's table. It was printed from the parsed
    /// expression, so it closes no parenthesis and holds no comment of the caller's.
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// As an expression over the unaliased table, for data frames.
    pub const fn expr(&self) -> &Expr {
        &self.expr
    }

    pub(crate) async fn parse(context: &SessionContext, signal: Signal, text: &str) -> Result<Self, QueryError> {
        if text.len() > MAX_FILTER_BYTES {
            return Err(invalid(format!("longer than {MAX_FILTER_BYTES} bytes")));
        }
        let parsed = DFParserBuilder::new(text)
            .build()
            .and_then(|mut parser| parser.parse_into_expr())
            .map_err(|e| invalid(plain(&e)))?;
        if parsed.alias.is_some() {
            return Err(invalid("an alias has no place in a filter"));
        }
        refuse_subqueries(&parsed.expr)?;
        let mut rewritten = parsed.expr;
        crate::attributes::syntax::expression(&mut rewritten)?;
        let sql = format!("({rewritten})");
        let table = context.table(signal.table_name()).await?;
        let expr = context.state().create_logical_expr(&sql, table.schema()).map_err(|e| invalid(plain(&e)))?;
        refuse_aggregates(&expr)?;
        let data_type =
            datafusion::logical_expr::ExprSchemable::get_type(&expr, table.schema()).map_err(|e| invalid(plain(&e)))?;
        if !matches!(data_type, DataType::Boolean | DataType::Null) {
            return Err(invalid(format!("it gives {data_type}, not true or false")));
        }
        // The analyzer finds what planning alone does not: operators over types that do not meet.
        let plan = LogicalPlanBuilder::from(table.into_unoptimized_plan())
            .filter(expr.clone())?
            .build()
            .map_err(|e| invalid(plain(&e)))?;
        context.state().optimize(&plan).map_err(|e| invalid(plain(&e)))?;
        Ok(Self { sql, expr })
    }
}

fn refuse_subqueries(expr: &SqlExpr) -> Result<(), QueryError> {
    let found = visit_expressions(expr, |e| match e {
        SqlExpr::Subquery(_) | SqlExpr::InSubquery { .. } | SqlExpr::Exists { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    if found.is_break() { Err(invalid("a subquery has no place in a filter")) } else { Ok(()) }
}

fn refuse_aggregates(expr: &Expr) -> Result<(), QueryError> {
    let mut found = None;
    expr.apply(|e| {
        Ok(match e {
            Expr::AggregateFunction(_)
            | Expr::WindowFunction(_)
            | Expr::ScalarSubquery(_)
            | Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::SetComparison(_)
            | Expr::Placeholder(_) => {
                found = Some(e.to_string());
                TreeNodeRecursion::Stop
            }
            _ => TreeNodeRecursion::Continue,
        })
    })?;
    found.map_or(Ok(()), |what| Err(invalid(format!("{what} has no place in a filter"))))
}

fn invalid(message: impl Into<String>) -> QueryError {
    QueryError::InvalidFilter {
        message: message.into(),
        hint: Some("a SQL condition such as service_name = 'cart' AND attributes['http.route'] = '/pay'".into()),
    }
}

fn plain(error: &datafusion::error::DataFusionError) -> String {
    error.strip_backtrace().lines().next().unwrap_or_default().to_owned()
}
