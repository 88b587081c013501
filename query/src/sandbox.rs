//! What a statement may be: one read-only query over the registered tables and functions. The same behind every door;
//! knows no file, no URL and no way to write.

use std::sync::Arc;

use datafusion::execution::SessionStateDefaults;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as Sql;

use crate::{QueryError, attributes, functions, newest};

/// The catalog's name in three-part table names; the schema is the default tenant's.
const CATALOG: &str = "orrery";
const SCHEMA: &str = "main";

/// A session's state: DataFusion's expressions, functions and rules, our own in front, and no file format, no table
/// factory, no URL table.
pub(crate) fn state(
    runtime: Arc<RuntimeEnv>,
    threads: usize,
    memory_bytes: usize,
    first_slice_rows: usize,
) -> SessionState {
    let mut config = SessionConfig::new()
        .with_target_partitions(threads.max(1))
        .with_information_schema(true)
        .with_default_catalog_and_schema(CATALOG, SCHEMA);
    let options = config.options_mut();
    options.execution.parquet.pushdown_filters = true;
    options.execution.parquet.reorder_filters = true;
    // What each partition of a sort sets aside for merging what it spilled.
    let per_partition = memory_bytes / (2 * threads.max(1));
    options.execution.sort_spill_reservation_bytes = options.execution.sort_spill_reservation_bytes.min(per_partition);
    // A virtual column over a stored one carries the stored one's field id, which is no difference that matters.
    options.execution.skip_physical_aggregate_schema_check = true;
    // Strings are Utf8 in files and memory, so a CAST to VARCHAR must be too.
    options.sql_parser.map_string_types_to_utf8view = false;
    // Errors say where.
    options.sql_parser.collect_spans = true;
    let mut expr_planners = attributes::expr_planners();
    expr_planners.extend(SessionStateDefaults::default_expr_planners());
    let mut scalar_functions = SessionStateDefaults::default_scalar_functions();
    scalar_functions.extend(functions::scalar_functions());
    SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_expr_planners(expr_planners)
        .with_scalar_functions(scalar_functions)
        .with_higher_order_functions(SessionStateDefaults::default_higher_order_functions())
        .with_aggregate_functions(SessionStateDefaults::default_aggregate_functions())
        .with_window_functions(SessionStateDefaults::default_window_functions())
        .with_table_function_list(SessionStateDefaults::default_table_functions())
        .with_analyzer_rules(attributes::analyzer_rules())
        .with_physical_optimizer_rules(newest::optimizer_rules(first_slice_rows))
        .build()
}

/// Parses and plans one statement, or says why it may not run.
pub(crate) async fn plan(state: &SessionState, query: &str) -> Result<LogicalPlan, QueryError> {
    let statement = parse(state, query)?;
    let plan = state.statement_to_plan(statement).await.map_err(explain)?;
    verify(&plan)?;
    Ok(plan)
}

/// Parses one statement, or says why it may not run.
pub(crate) fn parse(state: &SessionState, query: &str) -> Result<Statement, QueryError> {
    let dialect = state.config_options().sql_parser.dialect;
    let mut statement = state.sql_to_statement(query, &dialect).map_err(explain)?;
    check(&mut statement)?;
    Ok(statement)
}

/// Refuses plans that do more than read.
pub(crate) fn verify(plan: &LogicalPlan) -> Result<(), QueryError> {
    let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    Ok(options.verify_plan(plan)?)
}

fn check(statement: &mut Statement) -> Result<(), QueryError> {
    let refused = match statement {
        Statement::Explain(explain) => return check(&mut explain.statement),
        Statement::Statement(sql) => return check_sql(sql),
        other => other.to_string(),
    };
    Err(refusal(&refused))
}

fn check_sql(statement: &mut Sql) -> Result<(), QueryError> {
    match statement {
        Sql::Query(_) => attributes::syntax::statement(statement),
        Sql::Explain { statement, .. } => check_sql(statement),
        Sql::ShowTables { .. } | Sql::ShowColumns { .. } | Sql::ShowFunctions { .. } | Sql::ExplainTable { .. } => {
            Ok(())
        }
        other => Err(refusal(&other.to_string())),
    }
}

fn refusal(statement: &str) -> QueryError {
    let verb: String = statement.split_whitespace().take(3).collect::<Vec<_>>().join(" ").chars().take(60).collect();
    QueryError::bad_request(format!("{verb} is refused: only queries run here"))
        .with_hint("SELECT, EXPLAIN, DESCRIBE and SHOW TABLES are allowed; data comes in over OTLP")
}

/// Adds what there is to a name that there is not.
pub(crate) fn explain(error: datafusion::error::DataFusionError) -> QueryError {
    let error = QueryError::from(error);
    let text = error.to_string();
    if text.contains("table '") && text.contains("not found") {
        return error.with_hint("the tables are spans, logs, metrics, alerts, traces, service_edges and service_operations; files and URLs cannot be read");
    }
    if text.contains("single SQL statement") {
        return QueryError::bad_request("more than one statement; a query is one");
    }
    if text.contains("table function") {
        return error.with_hint("the table functions are generate_series and range; files and URLs cannot be read");
    }
    error
}
