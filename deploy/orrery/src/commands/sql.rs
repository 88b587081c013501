//! `orrery sql`: sends one query to a running server and prints the answer as it comes.

use std::io::{self, BufReader, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use orrery_api::SqlResponse;
use serde_json::{Value, json};

use crate::cli::{OutputFormat, SqlFlags};
use crate::client::Client;

/// A cell wider than this is cut in a table; the other formats give it whole.
const MAX_CELL_CHARS: usize = 80;

pub fn run(flags: &SqlFlags) -> Result<ExitCode> {
    let client = Client::new(&flags.target.endpoint, &flags.target.credentials)?;
    let format = match flags.format {
        OutputFormat::Table | OutputFormat::Json => "json",
        OutputFormat::Csv => "csv",
        OutputFormat::Ndjson => "ndjson",
        OutputFormat::Arrow => "arrow",
        OutputFormat::Parquet => "parquet",
    };
    let body = json!({"query": flags.query, "format": format}).to_string();
    let mut answer = client.post("/api/v1/sql", &body, "application/json")?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = if flags.format == OutputFormat::Table {
        let answer = serde_json::from_reader(BufReader::new(answer)).context("read the answer")?;
        table(&mut out, &answer)
    } else {
        io::copy(&mut answer, &mut out).and_then(|_| out.flush())
    };
    match written {
        // `orrery sql … | head` has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        written => written.map(|()| ExitCode::SUCCESS).context("write the answer"),
    }
}

fn table(out: &mut impl Write, answer: &SqlResponse) -> io::Result<()> {
    let head: Vec<String> = answer.columns.iter().map(|column| column.name.clone()).collect();
    let rows: Vec<Vec<String>> = answer.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    let width = |i: usize| {
        let cells = rows.iter().filter_map(|row| row.get(i));
        cells.chain(head.get(i)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let rule = vec![String::new(); head.len()];
    for (row, fill) in std::iter::once((&head, ' ')).chain([(&rule, '-')]).chain(rows.iter().map(|row| (row, ' '))) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let padding = width - cell.chars().count();
            line.extend([cell.as_str(), &fill.to_string().repeat(padding), "  "]);
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    let (rows, ms) = (answer.rows.len(), answer.receipt.elapsed_ms);
    writeln!(
        out,
        "({rows} row{} in {ms:.1} ms, {} scanned)",
        if rows == 1 { "" } else { "s" },
        answer.receipt.rows_scanned
    )?;
    let unread: Vec<String> = answer.receipt.pruned.counts().map(|(n, what)| format!("{n} {what}")).collect();
    if !unread.is_empty() {
        writeln!(out, "(left unread: {})", unread.join(", "))?;
    }
    out.flush()
}

/// On one line, cut where it is too wide.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut cell: String = text.chars().take(MAX_CELL_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().count() > MAX_CELL_CHARS {
        cell.push('…');
    }
    cell
}

#[cfg(test)]
mod tests {
    use orrery_api::{Pruned, Receipt, SqlColumn};

    use super::*;

    #[test]
    fn a_table_lines_up() {
        let column = |name: &str| SqlColumn { name: name.to_owned(), data_type: "VARCHAR".to_owned() };
        let answer = SqlResponse {
            columns: vec![column("service_name"), column("n")],
            rows: vec![vec![json!("cart"), json!(12)], vec![Value::Null, json!("a\nb")]],
            receipt: Receipt { elapsed_ms: 1.25, rows_scanned: 7, ..Receipt::default() },
        };
        let printed = |answer: &SqlResponse| {
            let mut out = Vec::new();
            table(&mut out, answer).expect("a vector takes any bytes");
            String::from_utf8(out).expect("text")
        };
        let expected =
            "service_name  n\n------------  ---\ncart          12\n              a b\n(2 rows in 1.2 ms, 7 scanned)\n";
        assert_eq!(printed(&answer), expected);
        let pruned = Pruned { files_by_time: 3, sections_by_token_filter: 41, ..Pruned::default() };
        let answer = SqlResponse { receipt: Receipt { pruned, ..answer.receipt.clone() }, ..answer };
        assert_eq!(printed(&answer), format!("{expected}(left unread: 3 files by time, 41 sections by words)\n"));
    }
}
