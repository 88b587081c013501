//! Looking for words: the same rows from memory, from files with token filters and from files without, and how little of
//! the files is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use orrery_api::Receipt;
use orrery_model::{Identity, Signal, SystemClock, TenantId};
use orrery_query::{Engine, QueryConfig};
use orrery_storage::{DataFile, Lake, MemoryBatch, SealedBatch, TableSnapshot};

use crate::fixture::{self, Row, Value, rows::START_NS};

/// Rows of a batch, and how often the batch is in the file: more than one row group.
const ROWS: usize = 8_192;
const REPEATED: usize = 33;
/// Rows of their own behind those, the last of the last row group.
const OWN: usize = 100;

fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

fn record(at: i64, body: &'static str) -> Row {
    Row::default()
        .column("timestamp", Value::Int(START_NS + at * 1_000_000))
        .column("time_source", Value::Text("sent"))
        .column("body", Value::Text(body))
        .resource("service.name", Value::Text("shop"))
}

/// A thousand words that all sections hold, and some of one section only.
fn batches() -> Vec<RecordBatch> {
    let common: Vec<_> =
        (0..ROWS).map(|i| record(i as i64, leak(format!("Request {} of user_{} done", i % 1000, i % 50)))).collect();
    let own: Vec<_> = (0..OWN)
        .map(|i| record((ROWS + i) as i64, leak(format!("Überraschung {i}: alpha{i} beta{} in request 7", i / 10))))
        .collect();
    let common = fixture::batch(Signal::Logs, &common);
    let mut batches = vec![common; REPEATED];
    batches.push(fixture::batch(Signal::Logs, &own));
    batches
}

async fn flushed(dir: &std::path::Path, batches: &[RecordBatch]) -> Vec<Arc<DataFile>> {
    let lake = Lake::open(dir).await.expect("a new lake");
    let sealed = batches.iter().map(|batch| SealedBatch {
        tenant: TenantId::default(),
        table: Signal::Logs.into(),
        batch: batch.clone(),
    });
    let view = lake.flush(1, 1, sealed.collect()).await.expect("a flush");
    view.files(&TenantId::default(), Signal::Logs).to_vec()
}

fn engine(folder: &std::path::Path, logs: TableSnapshot, config: QueryConfig) -> Arc<Engine> {
    let snapshot = fixture::snapshot([TableSnapshot::default(), logs, TableSnapshot::default()]);
    let config = QueryConfig { temp_dir: folder.join("spill"), threads: 2, ..config };
    Engine::new(Arc::new(fixture::Fixed(snapshot)), config, Arc::new(SystemClock)).expect("an engine")
}

async fn count(engine: &Engine, condition: &str) -> (i64, Receipt) {
    let session = engine.session(&Identity::default()).await.expect("a session");
    let query = format!("SELECT count(*) AS n FROM logs WHERE {condition}");
    let (batches, receipt) = session.collect(&query).await.expect(condition);
    (batches[0].column(0).as_primitive::<Int64Type>().value(0), receipt)
}

#[tokio::test]
async fn words_are_found_wherever_rows_lie_and_the_rest_is_left_unread() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let batches = batches();
    let filtered = flushed(folder.path(), &batches).await;
    let plain = fixture::write(folder.path(), 1, Signal::Logs, &batches, 1 << 18);
    let files = |files: Vec<Arc<DataFile>>| TableSnapshot { files: Arc::new(files), memory: Vec::new() };
    let places: BTreeMap<&str, Arc<Engine>> = [
        ("memory", TableSnapshot { files: Arc::default(), memory: MemoryBatch::all(batches.clone()) }),
        ("filtered", files(filtered.clone())),
        ("plain", files(vec![Arc::clone(&plain)])),
        (
            "mixed",
            TableSnapshot { files: Arc::new(vec![Arc::clone(&filtered[0]), plain]), memory: MemoryBatch::all(batches) },
        ),
    ]
    .map(|(name, logs)| (name, engine(folder.path(), logs, QueryConfig::default())))
    .into();
    let common = (ROWS * REPEATED) as i64;
    // The condition, its rows, and of the two row groups and 34 sections what is left unread.
    for (condition, rows, row_groups, sections) in [
        ("has_word(body, 'alpha7')", 1, 1, 33),
        ("has_word(body, 'ALPHA7 beta0')", 1, 1, 33),
        ("has_word(body, 'überraschung')", OWN as i64, 1, 33),
        ("has_word(body, 'alpha7 beta9')", 0, 1, 33),
        ("has_word(body, 'alpha7') OR has_word(body, 'alpha91')", 2, 1, 33),
        ("has_word(body, 'alpha7') AND severity_number = 0", 1, 1, 33),
        ("body ILIKE '% ALPHA7 beta0 %'", 1, 1, 33),
        ("body LIKE 'Überraschung 7: %'", 1, 1, 33),
        ("body = 'Überraschung 7: alpha7 beta0 in request 7'", 1, 1, 33),
        ("has_word(body, 'nowhere')", 0, 2, 34),
        ("has_word(body, 'done alpha7')", 0, 2, 34),
        ("has_word(body, '')", 0, 2, 34),
        ("has_word(body, 'request')", common + OWN as i64, 0, 0),
        ("NOT has_word(body, 'alpha7')", common + OWN as i64 - 1, 0, 0),
        ("has_word(body, 'alpha7') OR severity_number = 0", common + OWN as i64, 0, 0),
        ("body ILIKE '%lpha7 %'", 1, 0, 0),
        ("true", common + OWN as i64, 0, 0),
    ] {
        for (name, engine) in &places {
            let (n, receipt) = count(engine, condition).await;
            assert_eq!(n, if *name == "mixed" { 3 * rows } else { rows }, "{condition} in {name}");
            let by_filter = if matches!(*name, "filtered" | "mixed") { (row_groups, sections) } else { (0, 0) };
            let pruned = receipt.pruned;
            // A filter says yes to an absent word once in a hundred times, and these sections' filters are much alike.
            assert!(
                pruned.row_groups_by_token_filter <= by_filter.0
                    && (by_filter.1 * 4 / 5..=by_filter.1).contains(&pruned.sections_by_token_filter),
                "{condition} in {name}: {pruned:?} instead of {by_filter:?}"
            );
        }
    }
    let (_, all) = count(&places["filtered"], "body ILIKE '%lpha7 %'").await;
    let (_, few) = count(&places["filtered"], "has_word(body, 'alpha7')").await;
    assert_eq!(all.rows_scanned, (ROWS * REPEATED + OWN) as u64);
    assert!(few.rows_scanned <= 2 * ROWS as u64, "{few:?}");
    assert!(few.bytes_scanned < all.bytes_scanned, "{few:?} {all:?}");
}

#[tokio::test]
async fn whole_rows_come_with_other_columns_and_in_order() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let batches = batches();
    let logs = TableSnapshot { files: Arc::new(flushed(folder.path(), &batches).await), memory: Vec::new() };
    // No room for any filter: they are read each time.
    let config = QueryConfig { token_cache_bytes: 0, ..QueryConfig::default() };
    for config in [QueryConfig::default(), config] {
        let engine = engine(folder.path(), logs.clone(), config);
        for _ in 0..2 {
            let session = engine.session(&Identity::default()).await.expect("a session");
            let query = "SELECT body, service_name FROM logs WHERE has_word(body, 'beta4') \
                AND timestamp >= TIMESTAMP '2024-01-01 00:00:00' ORDER BY timestamp DESC LIMIT 3";
            let (rows, receipt) = session.collect(query).await.expect("rows");
            let rows = orrery_query::formats::json_rows(&rows).expect("rows as JSON");
            let expected: Vec<_> = [49, 48, 47]
                .map(|i| {
                    let body = format!("Überraschung {i}: alpha{i} beta4 in request 7");
                    vec![serde_json::json!(body), serde_json::json!("shop")]
                })
                .into();
            assert_eq!(rows, expected);
            assert_eq!(receipt.pruned.row_groups_by_token_filter, 1);
        }
    }
}

#[tokio::test]
async fn explain_analyze_says_what_was_pruned_by_what() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let batches = batches();
    let mut files = flushed(folder.path(), &batches).await;
    let later = [record(3_600_000 * 5, "alpha7 at another time")];
    files.push(fixture::write(folder.path(), 9, Signal::Logs, &[fixture::batch(Signal::Logs, &later)], 1 << 18));
    let logs = TableSnapshot { files: Arc::new(files), memory: Vec::new() };
    let engine = engine(folder.path(), logs, QueryConfig::default());
    let session = engine.session(&Identity::default()).await.expect("a session");
    let query = "EXPLAIN ANALYZE SELECT body FROM logs WHERE has_word(body, 'alpha7') \
        AND timestamp < TIMESTAMP '2024-01-01 01:00:00'";
    let (rows, _) = session.collect(query).await.expect("a plan");
    let rows = orrery_query::formats::json_rows(&rows).expect("rows as JSON");
    let plan = rows[0][1].as_str().expect("a text");
    for part in [
        "files_pruned_time=1",
        "row_groups_pruned_token_filter=2 total → 1 matched",
        "sections_pruned_token_filter=34 total → 1 matched",
        "token_filter=true",
    ] {
        assert!(plan.contains(part), "{part} is not in {plan}");
    }
}
