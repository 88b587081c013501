//! Looking for trace ids and for values that hardly repeat: the same rows from memory, from files with value filters and
//! from files without, before and after a merge, and how little of the files is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use orrery_api::Receipt;
use orrery_model::{Identity, Signal, SystemClock, TenantId};
use orrery_query::{Engine, QueryConfig};
use orrery_storage::{CompactionConfig, DataFile, Lake, MemoryBatch, SealedBatch, TableSnapshot};

use crate::fixture::{self, Row, Value, rows::START_NS};

const SECTION: usize = 8_192;
/// More than one row group of 32 sections.
const ROWS: usize = 33 * SECTION + 100;

fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

/// Traces of four neighbours, a path and an address of its own on each span, one of ten routes.
fn batches() -> Vec<RecordBatch> {
    let row = |i: usize| {
        let row = Row::default()
            .column("timestamp", Value::Int(START_NS + i as i64 * 1_000_000))
            .column("time_source", Value::Text("sent"))
            .column("trace_id", Value::Text(leak(format!("{:032x}", (i / 4 + 1) * 7_919))))
            .column("span_id", Value::Text(leak(format!("{:016x}", i + 1))))
            .item("http.route", Value::Text(leak(format!("/route/{}", i % 10))))
            .resource("service.name", Value::Text("shop"));
        let row = row.item("client.address", Value::Text(leak(format!("10.{i}"))));
        // Here and there another type, which is in the map: there the filter of the column rules nothing out.
        match i % 50 {
            0 => row.item("network.peer.address", Value::Int(i as i64)),
            1 => row,
            _ => row.item("network.peer.address", Value::Text(leak(format!("/item/{i}")))),
        }
    };
    let starts: Vec<usize> = (0..ROWS).step_by(SECTION).collect();
    starts
        .into_iter()
        .map(|start| {
            let rows: Vec<Row> = (start..ROWS.min(start + SECTION)).map(row).collect();
            fixture::batch(Signal::Spans, &rows)
        })
        .collect()
}

async fn lake(dir: &std::path::Path, flushes: &[&[RecordBatch]], merged: bool) -> Vec<Arc<DataFile>> {
    let lake = Arc::new(Lake::open(dir).await.expect("a new lake"));
    for (number, batches) in (1..).zip(flushes) {
        let sealed = batches.iter().map(|batch| SealedBatch {
            tenant: TenantId::default(),
            table: Signal::Spans.into(),
            batch: batch.clone(),
        });
        lake.flush(number, number, sealed.collect()).await.expect("a flush");
    }
    if merged {
        let config = CompactionConfig { floor_free_bytes: 0, ..CompactionConfig::default() };
        let done = lake.compact(&config).await.expect("it merges");
        assert!(done.failures.is_empty(), "{:?}", done.failures);
    }
    let files = lake.view().files(&TenantId::default(), Signal::Spans).to_vec();
    assert_eq!(files.len(), if merged { 1 } else { flushes.len() });
    files
}

fn engine(folder: &std::path::Path, spans: TableSnapshot) -> Arc<Engine> {
    let snapshot = fixture::snapshot([spans, TableSnapshot::default(), TableSnapshot::default()]);
    let config = QueryConfig { temp_dir: folder.join("spill"), threads: 2, ..QueryConfig::default() };
    Engine::new(Arc::new(fixture::Fixed(snapshot)), config, Arc::new(SystemClock)).expect("an engine")
}

async fn count(engine: &Engine, condition: &str) -> (i64, Receipt) {
    let session = engine.session(&Identity::default()).await.expect("a session");
    let query = format!("SELECT count(*) AS n FROM spans WHERE {condition}");
    let (batches, receipt) = session.collect(&query).await.expect(condition);
    (batches[0].column(0).as_primitive::<Int64Type>().value(0), receipt)
}

#[tokio::test]
async fn values_are_found_wherever_rows_lie_and_the_rest_is_left_unread() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let batches = batches();
    let files = |files: Vec<Arc<DataFile>>| TableSnapshot { files: Arc::new(files), memory: Vec::new() };
    let flushed = lake(&folder.path().join("flushed"), &[&batches], false).await;
    let merged = lake(&folder.path().join("merged"), &[&batches[..10], &batches[10..]], true).await;
    let plain = fixture::write(folder.path(), 1, Signal::Spans, &batches, 1 << 18);
    let memory = MemoryBatch::all(batches);
    let both = TableSnapshot { files: Arc::new(flushed.clone()), memory: memory.clone() };
    let places: BTreeMap<&str, Arc<Engine>> = [
        ("memory", TableSnapshot { files: Arc::default(), memory }),
        ("flushed", files(flushed)),
        ("merged", files(merged)),
        ("plain", files(vec![plain])),
        ("both", both),
    ]
    .map(|(name, spans)| (name, engine(folder.path(), spans)))
    .into();
    let trace = |i: usize| format!("{:032x}", (i / 4 + 1) * 7_919);
    let (first, last) = (trace(0), trace(ROWS - 1));
    let own = format!("trace_id = '{first}'");
    // The condition, its rows, and of the 34 sections what is left unread.
    for (condition, rows, sections) in [
        (own.clone(), 4, 33),
        (format!("trace_id = '{last}'"), 4, 33),
        (format!("trace_id IN ('{first}', '{last}')"), 8, 32),
        (format!("'{first}' = trace_id AND attributes['client.address'] = '10.3'"), 1, 33),
        (format!("trace_id = '{first}' AND attributes['client.address'] = '10.200000'"), 0, 34),
        ("attributes['client.address'] = '10.200002'".into(), 1, 33),
        ("attributes['client.address'] IN ('10.7', '10.200002')".into(), 2, 32),
        ("attributes['client.address'] = 'nowhere'".into(), 0, 34),
        ("attributes['network.peer.address'] = '/item/200002'".into(), 1, 0),
        (format!("{own} OR attributes['http.route'] = '/route/3'"), 4 + (ROWS as i64 - 4) / 10, 0),
        ("attributes['http.route'] = '/route/3'".into(), (ROWS as i64 - 4) / 10 + 1, 0),
        (format!("trace_id <> '{first}'"), ROWS as i64 - 4, 0),
        // In the map, which has no filter.
        ("attributes['network.peer.address'] = '200000'".into(), 1, 0),
        ("attributes['network.peer.address'] IS NULL".into(), (ROWS as i64 - 2) / 50 + 1, 0),
    ] {
        for (name, engine) in &places {
            let (n, receipt) = count(engine, &condition).await;
            assert_eq!(n, if *name == "both" { 2 * rows } else { rows }, "{condition} in {name}");
            let by_filter = if matches!(*name, "memory" | "plain") { 0 } else { sections };
            let found = receipt.pruned.sections_by_value_filter;
            // A filter says yes to an absent value once in a hundred times.
            assert!((by_filter * 4 / 5..=by_filter).contains(&found), "{condition} in {name}: {:?}", receipt.pruned);
        }
    }
    let (_, all) = count(&places["merged"], "trace_id <> ''").await;
    let (_, few) = count(&places["merged"], &own).await;
    assert_eq!(all.rows_scanned, ROWS as u64);
    assert!(few.rows_scanned <= 4 * SECTION as u64, "{few:?}");
    assert!(few.bytes_scanned * 4 < all.bytes_scanned, "{few:?} {all:?}");
}

#[tokio::test]
async fn explain_analyze_says_what_was_pruned_by_values() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let flushed = lake(&folder.path().join("lake"), &[&batches()], false).await;
    let engine = engine(folder.path(), TableSnapshot { files: Arc::new(flushed), memory: Vec::new() });
    let session = engine.session(&Identity::default()).await.expect("a session");
    let query = format!("EXPLAIN ANALYZE SELECT name FROM spans WHERE trace_id = '{:032x}'", 7_919);
    let (rows, _) = session.collect(&query).await.expect("a plan");
    let rows = orrery_query::formats::json_rows(&rows).expect("rows as JSON");
    let plan = rows[0][1].as_str().expect("a text");
    for part in ["row_groups_pruned_value_filter=2 total", "sections_pruned_value_filter=34 total", "value_filter=true"]
    {
        assert!(plan.contains(part), "{part} is not in {plan}");
    }
}
