//! Turns each `attributes['k']` of a query into a column of the scanned table, so that the scan can answer it from the
//! column, the map or both, file by file. Where a whole map comes from somewhere else (a union, an aggregate, an outer
//! query), `map_get` over the map is left, which is right and slower.

use std::sync::Arc;

use datafusion::catalog::default_table_source::{provider_as_source, source_as_provider};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, SubqueryAlias, TableScanBuilder};
use datafusion::optimizer::AnalyzerRule;
use hashbrown::HashMap;

use crate::attributes::values::Virtual;
use crate::functions::map_get::NAME as MAP_GET;
use crate::table::LakeTable;

#[derive(Debug)]
pub(super) struct AttributeColumns;

impl AnalyzerRule for AttributeColumns {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(rewrite).map(|t| t.data)
    }

    fn name(&self) -> &str {
        "attribute_columns"
    }
}

/// A look-up in a map column by a literal key.
type Lookup = (Column, String);

fn rewrite(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut lookups: Vec<Lookup> = Vec::new();
    plan.apply_expressions(|expr| {
        expr.apply(|e| {
            lookups.extend(lookup(e).filter(|l| !lookups.contains(l)));
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    if lookups.is_empty() {
        return Ok(Transformed::no(plan));
    }
    let mut inputs: Vec<LogicalPlan> = plan.inputs().into_iter().cloned().collect();
    let mut columns: HashMap<Lookup, Column> = HashMap::new();
    for (map, key) in lookups {
        for input in &mut inputs {
            if index_of(input.schema(), &map).is_some()
                && let Some((exposing, column)) = expose(input, &map, &key)?
            {
                *input = exposing;
                columns.insert((map, key), column);
                break;
            }
        }
    }
    if columns.is_empty() {
        return Ok(Transformed::no(plan));
    }
    let names = NamePreserver::new(&plan);
    let replace = |expr: Expr| {
        let name = names.save(&expr);
        let replaced = expr.transform_up(|e| {
            Ok(match lookup(&e).and_then(|l| columns.get(&l)) {
                Some(column) => Transformed::yes(Expr::Column(column.clone())),
                None => Transformed::no(e),
            })
        })?;
        Ok(name.restore(replaced.data))
    };
    let exprs = plan.expressions().into_iter().map(replace).collect::<Result<Vec<_>>>()?;
    let rewritten = plan.with_new_exprs(exprs, inputs)?;
    // What was added below is nothing that the nodes above know of.
    let rewritten = if rewritten.schema().fields().len() == plan.schema().fields().len() {
        rewritten
    } else {
        let columns = plan.schema().columns().into_iter().map(Expr::Column).collect();
        LogicalPlan::Projection(Projection::try_new(columns, Arc::new(rewritten))?)
    };
    Ok(Transformed::yes(rewritten))
}

fn lookup(expr: &Expr) -> Option<Lookup> {
    let Expr::ScalarFunction(function) = expr else { return None };
    match function.args.as_slice() {
        [Expr::Column(map), Expr::Literal(key, _)] if function.name() == MAP_GET => {
            Some((map.clone(), key.try_as_str().flatten()?.to_owned()))
        }
        _ => None,
    }
}

fn index_of(schema: &DFSchema, column: &Column) -> Option<usize> {
    schema.maybe_index_of_column(column)
}

/// The plan with one more column, the value of a key in a whole map that a signal's table scanned below provides, and
/// that column's name; `None` where the map comes from nowhere else than such a scan.
fn expose(plan: &LogicalPlan, map: &Column, key: &str) -> Result<Option<(LogicalPlan, Column)>> {
    let Some(index) = index_of(plan.schema(), map) else { return Ok(None) };
    match plan {
        LogicalPlan::TableScan(scan) => {
            let Ok(provider) = source_as_provider(&scan.source) else { return Ok(None) };
            let any: &dyn std::any::Any = provider.as_ref();
            let Some(table) = any.downcast_ref::<LakeTable>() else { return Ok(None) };
            let Some(scope) = table.whole_map(&map.name) else { return Ok(None) };
            let (table, position) = table.with_virtual(Virtual::Key(scope, key.to_owned()));
            let name = table.column_name(position).to_owned();
            let projection = scan.projection.clone().map(|mut columns| {
                if !columns.contains(&position) {
                    columns.push(position);
                }
                columns
            });
            let exposing = TableScanBuilder::new(scan.table_name.clone(), provider_as_source(Arc::new(table)))
                .with_projection(projection)
                .with_filters(scan.filters.clone())
                .with_fetch(scan.fetch)
                .build()?;
            Ok(Some((LogicalPlan::TableScan(exposing), Column::new(Some(scan.table_name.clone()), name))))
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let inner = Column::from(alias.input.schema().qualified_field(index));
            let Some((input, column)) = expose(&alias.input, &inner, key)? else { return Ok(None) };
            let Some(position) = index_of(input.schema(), &column) else { return Ok(None) };
            let exposing = SubqueryAlias::try_new(Arc::new(input), alias.alias.clone())?;
            let column = Column::from(exposing.schema.qualified_field(position));
            Ok(Some((LogicalPlan::SubqueryAlias(exposing), column)))
        }
        LogicalPlan::Projection(projection) => {
            let Expr::Column(inner) = projection.expr[index].clone().unalias() else { return Ok(None) };
            let Some((input, column)) = expose(&projection.input, &inner, key)? else { return Ok(None) };
            let mut exprs = projection.expr.clone();
            let passed = Expr::Column(column.clone());
            if !exprs.contains(&passed) {
                exprs.push(passed);
            }
            let exposing = Projection::try_new(exprs, Arc::new(input))?;
            Ok(Some((LogicalPlan::Projection(exposing), column)))
        }
        LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Window(_) => {
            let mut inputs: Vec<LogicalPlan> = plan.inputs().into_iter().cloned().collect();
            for input in &mut inputs {
                if index_of(input.schema(), map).is_some()
                    && let Some((exposing, column)) = expose(input, map, key)?
                {
                    *input = exposing;
                    return Ok(Some((plan.with_new_exprs(plan.expressions(), inputs)?, column)));
                }
            }
            Ok(None)
        }
        _ => Ok(None),
    }
}
