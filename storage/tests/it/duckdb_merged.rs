//! DuckDB answers the same over merged files as over their parts, before and after the parts are gone, and of a lake from
//! which hours have been dropped.

use std::sync::Arc;
use std::time::Duration;

use orrery_model::{TableName, TenantId};
use orrery_storage::{CompactionConfig, Lake, SealedBatch};

use crate::duckdb_shell::DuckDb;
use crate::support::{self, HOUR, SECOND, START, Seed};

const FLUSHES: u64 = 6;

fn sealed(table: TableName, batch: arrow::array::RecordBatch) -> SealedBatch {
    SealedBatch { tenant: TenantId::default(), table, batch }
}

/// Counts, sums, filters, groups, and every column of every row in a hash.
fn answers(duckdb: &mut DuckDb) -> Vec<Vec<Vec<Option<String>>>> {
    let mut answers: Vec<_> = TableName::ALL
        .into_iter()
        .map(|table| duckdb.query(&format!("SELECT count(*), bit_xor(hash(t)) FROM lake.{table} t")))
        .collect();
    for query in [
        "SELECT service_name, count(*), sum(duration_ns), min(timestamp), max(timestamp) FROM lake.spans GROUP BY 1 ORDER BY 1",
        "SELECT count(*) FROM lake.spans WHERE timestamp >= TIMESTAMP_NS '2026-03-14 10:00:00'",
        "SELECT count(*) FROM lake.spans WHERE hour(timestamp) = 9 AND service_name = 'cart'",
        "SELECT attributes['http.route'], count(*) FROM lake.spans_full GROUP BY 1 ORDER BY 1",
        "SELECT count(*), count(DISTINCT body) FROM lake.logs WHERE body LIKE '%paid%'",
        "SELECT metric_name, count(*), min(value), max(value) FROM lake.metrics GROUP BY 1 ORDER BY 1 LIMIT 5",
        "SELECT trace_id, count(*) FROM lake.spans GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 3",
    ] {
        answers.push(duckdb.query(query));
    }
    answers
}

#[tokio::test]
async fn merged_files_answer_as_their_parts_did() {
    let dir = tempfile::tempdir().expect("a folder");
    let lake = Arc::new(Lake::open(dir.path()).await.expect("a new lake"));
    let Some(mut duckdb) = DuckDb::attach(&dir.path().join("catalog.sqlite")) else { return };
    let mut seed = Seed(3);
    for sequence in 1..=FLUSHES {
        // Over the end of an hour.
        let start = START + HOUR - 3 * SECOND + sequence as i64 * SECOND;
        let batches = vec![
            sealed(TableName::Spans, support::load_b(&mut seed, 300, start)),
            sealed(TableName::Spans, support::load_a(&mut seed, 100, start)),
            sealed(TableName::Logs, support::logs(&mut seed, 200, start)),
            sealed(TableName::Metrics, support::metrics(&mut seed, 200, 20, start)),
            sealed(TableName::Alerts, support::alerts(&mut seed, 5, start)),
        ];
        lake.flush(sequence, sequence, batches).await.expect("a flush");
    }
    let before = answers(&mut duckdb);
    let unmerged = lake.view().id.0;
    let config = CompactionConfig { floor_free_bytes: 0, ..CompactionConfig::default() };
    let done = lake.compact(&config).await.expect("it merges");
    assert!(done.merges >= 8 && done.failures.is_empty(), "{done:?}");
    assert_eq!(answers(&mut duckdb), before, "attached before the merge");

    let info = "SELECT table_name, file_count FROM ducklake_table_info('lake') ORDER BY 1";
    let count = |n: &str| Some(n.to_owned());
    let files: Vec<_> = duckdb.query(info).into_iter().map(|row| row[1].clone()).collect();
    assert_eq!(files, [count("2"), count("2"), count("2"), count("2")], "alerts, logs, metrics, spans");
    let kinds = "SELECT DISTINCT unnest(map_keys(changes)) FROM ducklake_snapshots('lake') ORDER BY 1";
    let kinds: Vec<_> = duckdb.query(kinds).into_iter().flatten().flatten().collect();
    assert!(kinds.contains(&"merge_adjacent".to_owned()), "{kinds:?}");
    // The parts are there for as long as their snapshot is.
    let spans = format!("SELECT * FROM lake.spans AT (VERSION => {unmerged})");
    let travelled = format!("SELECT count(*), bit_xor(hash(t)) FROM ({spans}) t");
    assert_eq!(duckdb.query(&travelled), before[TableName::Spans.index()]);

    lake.expire(Duration::ZERO).await.expect("it notes the time");
    let expired = lake.expire(Duration::ZERO).await.expect("it expires");
    assert_eq!(expired.waiting, 0);
    assert_eq!(answers(&mut duckdb), before, "the parts are gone");
    let mut again = DuckDb::attach(&dir.path().join("catalog.sqlite")).expect("it could be had before");
    assert_eq!(answers(&mut again), before, "attached anew");
    assert_eq!(again.row("SELECT count(*) FROM ducklake_snapshots('lake')"), ["1"]);

    // What comes after a merge, and what is dropped, is counted too.
    let late = support::load_b(&mut seed, 50, START);
    lake.flush(FLUSHES + 1, FLUSHES + 1, vec![sealed(TableName::Spans, late)]).await.expect("a flush");
    assert_eq!(again.row("SELECT count(*) FROM lake.spans"), [(400 * FLUSHES + 50).to_string()]);
    let spans = lake.view().files(&TenantId::default(), TableName::Spans);
    let (first_hour, rest): (Vec<_>, Vec<_>) =
        spans.iter().partition(|file| file.min_timestamp_ns / HOUR == START / HOUR);
    lake.remove(&first_hour.iter().map(|file| file.id).collect::<Vec<_>>()).await.expect("they are removed");
    let left: u64 = rest.iter().map(|file| file.rows).sum();
    assert_eq!(again.row("SELECT count(*) FROM lake.spans"), [left.to_string()]);
    assert_eq!(again.row("SELECT count(*) FROM lake.spans WHERE service_name >= ''"), [left.to_string()]);
    let kinds = "SELECT DISTINCT unnest(map_keys(changes)) FROM ducklake_snapshots('lake')";
    assert!(again.query(kinds).into_iter().flatten().flatten().any(|kind| kind == "tables_deleted_from"));
}
