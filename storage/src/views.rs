//! The views `spans_full`, `logs_full` and `metrics_full` for readers that are not Orrery: the table with each scope's
//! attributes put together again from the promoted and the learned columns and the map of the others. Text only; never runs it.

use std::fmt::Write as _;

use orrery_model::attribute::{OLD_DEPLOYMENT_ENVIRONMENT, UNKNOWN_SERVICE};
use orrery_model::{LearnedColumn, Promoted, Scope, Signal, Table, TenantId, ValueType};

pub(crate) fn view_name(signal: Signal) -> &'static str {
    match signal {
        Signal::Spans => "spans_full",
        Signal::Logs => "logs_full",
        Signal::Metrics => "metrics_full",
    }
}

/// The view of a table with its learned columns in DuckDB's dialect. DuckDB puts the name under which the catalog is attached for `{DUCKLAKE_CATALOG}`.
pub(crate) fn view_sql(table: &Table, learned: &[LearnedColumn], tenant: &TenantId) -> String {
    let mut sql = String::from("SELECT *");
    for scope in [Scope::Item, Scope::Resource, Scope::Scope] {
        let promoted = table.promoted().map(|(_, promoted)| promoted).filter(|promoted| promoted.scope == scope);
        let promoted = promoted.map(|promoted| (promoted.key, sent_value(promoted)));
        let learned = learned.iter().filter(|column| column.scope == scope);
        let learned = learned.map(|column| (column.key.as_str(), text_of(&column.column_name(), column.value_type)));
        let entry = |(key, value): (&str, String)| format!("{{'k': {}, 'v': {value}}}", literal(key));
        let entries: Vec<String> = promoted.chain(learned).map(entry).collect();
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
        _ => text_of(&promoted.column_name(), promoted.value_type),
    }
}

fn text_of(column: &str, value_type: ValueType) -> String {
    let column = identifier(column);
    if value_type == ValueType::String { column } else { format!("CAST({column} AS VARCHAR)") }
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
