//! The views `spans_full`, `logs_full` and `metrics_full` for readers that are not Orrery: the table with each scope's
//! attributes put together again from the promoted columns and the map of the others. Text only; never runs it.

use std::fmt::Write as _;

use orrery_model::attribute::{OLD_DEPLOYMENT_ENVIRONMENT, UNKNOWN_SERVICE};
use orrery_model::{Promoted, Scope, Signal, Table, TenantId, ValueType};

pub(crate) fn view_name(signal: Signal) -> &'static str {
    match signal {
        Signal::Spans => "spans_full",
        Signal::Logs => "logs_full",
        Signal::Metrics => "metrics_full",
    }
}

/// The view in DuckDB's dialect. DuckDB puts the name under which the catalog is attached for `{DUCKLAKE_CATALOG}`.
pub(crate) fn view_sql(table: &Table, tenant: &TenantId) -> String {
    let mut sql = String::from("SELECT *");
    for scope in [Scope::Item, Scope::Resource, Scope::Scope] {
        let entries: Vec<String> = table
            .promoted()
            .filter(|(_, promoted)| promoted.scope == scope)
            .map(|(_, promoted)| format!("{{'k': {}, 'v': {}}}", literal(promoted.key), sent_value(promoted)))
            .collect();
        let others = identifier(scope.other_name());
        let whole = if entries.is_empty() {
            others
        } else {
            // A key is in its column or in the map, never with two values.
            format!(
                "map_concat(map_from_entries(list_filter([{}], lambda entry: entry.v IS NOT NULL)), {others})",
                entries.join(", ")
            )
        };
        let _ = write!(sql, ", {whole} AS {}", identifier(scope.map_name()));
    }
    let _ = write!(sql, " FROM {{DUCKLAKE_CATALOG}}.{}.{}", identifier(tenant.as_str()), table.name);
    sql
}

/// The value that was sent under the column's key as text, NULL where the column holds something else.
fn sent_value(promoted: &Promoted) -> String {
    let column = identifier(&promoted.column_name());
    match (promoted.scope, promoted.key) {
        (Scope::Resource, "service.name") => format!("nullif({column}, {})", literal(UNKNOWN_SERVICE)),
        // The older key fills the column with its text, and stays in the map.
        (Scope::Resource, "deployment.environment.name") => format!(
            "CASE WHEN {others}[{old}] IS NOT DISTINCT FROM {column} AND {types}[{old}] IS NULL THEN NULL ELSE {column} END",
            others = identifier(Scope::Resource.other_name()),
            types = identifier(Scope::Resource.types_name()),
            old = literal(OLD_DEPLOYMENT_ENVIRONMENT)
        ),
        _ if promoted.value_type == ValueType::String => column,
        _ => format!("CAST({column} AS VARCHAR)"),
    }
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
