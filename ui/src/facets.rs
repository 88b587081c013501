//! Facets: the commonest values of a few columns among the rows that match, by one statement that reads each row once.
//! Never touches the document.

use orrery_api::SqlResponse;
use serde_json::Value;

use crate::filter;
use crate::instant;
use crate::range::Window;

/// Values of a facet that are shown.
pub const MOST: usize = 8;

/// The values of one column, commonest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Facet {
    pub column: String,
    pub values: Vec<Counted>,
}

/// A value, or that there is none, and how many rows have it.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    pub value: Option<String>,
    pub count: u64,
}

/// The condition that a column has a value, as the filter says it.
pub fn condition(expression: &str, value: Option<&str>) -> String {
    match value {
        Some(value) => format!("{expression} = {}", filter::quote(value)),
        None => format!("{expression} IS NULL"),
    }
}

/// One statement for all columns: (column, value, rows) with the commonest values of each.
pub fn sql(table: &str, columns: &[&str], window: Window, condition: Option<String>) -> String {
    let (start, end) = (instant::rfc3339(window.start), instant::rfc3339(window.end));
    let condition = condition.map(|c| format!("\n    AND ({c})")).unwrap_or_default();
    let (last, named) = columns.split_last().map_or(("", &[][..]), |(last, named)| (*last, named));
    let cases: String = named.iter().map(|c| format!(" WHEN grouping({c}) = 0 THEN '{c}'")).collect();
    let facet = if named.is_empty() { format!("'{last}'") } else { format!("CASE{cases} ELSE '{last}' END") };
    let sets: Vec<String> = columns.iter().map(|c| format!("({c})")).collect();
    format!(
        "SELECT facet, value, rows FROM (\n  SELECT facet, value, rows, row_number() OVER (PARTITION BY facet ORDER BY rows DESC, value) AS place FROM (\n    SELECT {facet} AS facet, coalesce({}) AS value, count(*) AS rows\n    FROM {table}\n    WHERE timestamp >= TIMESTAMP '{start}' AND timestamp < TIMESTAMP '{end}'{condition}\n    GROUP BY GROUPING SETS ({})))\nWHERE place <= {MOST}\nORDER BY facet, place",
        columns.join(", "),
        sets.join(", ")
    )
}

/// The answer's rows by column, in the order of the columns; without columns in which nothing stands.
pub fn read(answer: &SqlResponse, columns: &[&str]) -> Vec<Facet> {
    let of = |column: &str| {
        let rows = answer.rows.iter().filter(|row| row.first().and_then(Value::as_str) == Some(column));
        let counted = rows.filter_map(|row| {
            let value = row.get(1)?.as_str().map(str::to_owned);
            Some(Counted { value, count: row.get(2)?.as_u64()? })
        });
        Facet { column: column.to_owned(), values: counted.collect() }
    };
    columns.iter().map(|c| of(c)).filter(|f| f.values.iter().any(|v| v.value.is_some())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_statement_counts_every_column_under_the_filter() {
        let window = Window { start: 0, end: instant::HOUR };
        let text = sql("spans", &["service_name", "kind"], window, Some("kind = 'SERVER'".to_owned()));
        for part in [
            "CASE WHEN grouping(service_name) = 0 THEN 'service_name' ELSE 'kind' END AS facet",
            "coalesce(service_name, kind) AS value",
            "GROUPING SETS ((service_name), (kind))",
            "timestamp < TIMESTAMP '1970-01-01T01:00:00.000000000Z'\n    AND (kind = 'SERVER')",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(sql("logs", &["body"], window, None).contains("SELECT 'body' AS facet"));
    }

    #[test]
    fn rows_become_facets_in_the_order_of_the_columns() {
        let answer: SqlResponse = serde_json::from_value(serde_json::json!({
            "columns": [], "rows": [["kind", "SERVER", 7], ["kind", null, 2], ["name", null, 9], ["service_name", "cart", 9]],
            "receipt": {"elapsed_ms": 1.0, "rows_scanned": 1, "bytes_scanned": 1, "files": 0, "files_pruned": 0}
        }))
        .unwrap();
        let found = read(&answer, &["service_name", "name", "kind"]);
        assert_eq!(found.iter().map(|f| f.column.as_str()).collect::<Vec<_>>(), ["service_name", "kind"]);
        assert_eq!(
            found[1].values,
            vec![Counted { value: Some("SERVER".to_owned()), count: 7 }, Counted { value: None, count: 2 }]
        );
        assert_eq!(condition("kind", None), "kind IS NULL");
        assert_eq!(condition("name", Some("it's")), "name = 'it''s'");
    }
}
