//! How fast look-ups are over files of realistic size. Run by hand:
//! `cargo test --release -p orrery-query --test it engine::speed -- --ignored --nocapture`.

use std::sync::Arc;
use std::time::Instant;

use orrery_model::{Identity, Signal, SystemClock};
use orrery_query::Engine;
use orrery_storage::TableSnapshot;

use crate::fixture::{self, Row, Value, rows::START_NS};

/// Files, and rows of each unless `SPEED_ROWS` says otherwise.
const FILES: usize = 4;
const ROWS: usize = 500_000;

fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

fn row(n: usize, names: &[&'static str], traces: &[&'static str]) -> Row {
    let at = i64::try_from(n).expect("small");
    let mixed = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    let row = Row::default()
        .column("timestamp", Value::Int(START_NS + at * 1_000_000))
        .column("time_source", Value::Text("sent"))
        .column("duration_ns", Value::Int(i64::try_from(mixed % 1_000_000).expect("small")))
        .column("trace_id", Value::Text(traces[n % traces.len()]))
        .column("span_id", Value::Text(traces[mixed % traces.len()]))
        .column("name", Value::Text(names[mixed % 50]))
        .column("kind", Value::Text("SERVER"))
        .column("status_code", Value::Text("UNSET"))
        .resource("service.name", Value::Text(names[n % 20]))
        .resource("host.name", Value::Text(names[n % 7]))
        .item("http.request.method", Value::Text("GET"))
        .item("http.route", Value::Text(names[mixed % names.len()]))
        .item("http.response.status_code", Value::Int(if mixed.is_multiple_of(100) { 500 } else { 200 }))
        .item("user.id", Value::Text(names[mixed % names.len()]))
        .item("cart.size", Value::Int(i64::try_from(mixed % 10).expect("small")))
        .item("thread.name", Value::Text(names[mixed % 8]));
    if mixed.is_multiple_of(1000) { row.item("rare.key", Value::Text(names[mixed % names.len()])) } else { row }
}

#[tokio::test]
#[ignore = "minutes, and prints what it measures"]
async fn speed() {
    let rows_of_a_file = std::env::var("SPEED_ROWS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROWS);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let names: Vec<_> = (0..2000).map(|i| leak(format!("/name/{i}"))).collect();
    let mut files = Vec::new();
    for file in 0..FILES {
        let traces: Vec<_> = (0..rows_of_a_file / 10)
            .map(|i| leak(format!("{:032x}", (file * rows_of_a_file + i).wrapping_mul(0x9E37_79B9_7F4A_7C15))))
            .collect();
        let batches: Vec<_> = (0..rows_of_a_file / 20_000)
            .map(|b| {
                let rows: Vec<_> =
                    (0..20_000).map(|i| row(file * rows_of_a_file + b * 20_000 + i, &names, &traces)).collect();
                fixture::batch(Signal::Spans, &rows)
            })
            .collect();
        files.push(fixture::write(
            folder.path(),
            i64::try_from(file).expect("small"),
            Signal::Spans,
            &batches,
            128 << 10,
        ));
    }
    println!("{FILES} files of {rows_of_a_file} rows, {} bytes a row", files[0].size_bytes / files[0].rows);
    let spans = TableSnapshot { files: Arc::new(files), memory: Vec::new() };
    let source = fixture::Fixed(fixture::snapshot([spans, TableSnapshot::default(), TableSnapshot::default()]));
    let engine =
        Engine::new(Arc::new(source), fixture::config(folder.path()), Arc::new(SystemClock)).expect("an engine");
    let trace = format!("{:032x}", rows_of_a_file.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    for sql in [
        "SELECT count(*) FROM spans".to_owned(),
        format!("SELECT * FROM spans WHERE trace_id = '{trace}'"),
        "SELECT count(*) FROM spans WHERE attributes['http.route'] = '/name/7'".into(),
        "SELECT * FROM spans WHERE attributes['http.route'] = '/name/7'".into(),
        "SELECT * FROM spans WHERE attributes['http.route'] = '/name/7' AND service_name = '/name/3' LIMIT 10".into(),
        "SELECT count(*) FROM spans WHERE attributes['http.response.status_code'] >= 500".into(),
        "SELECT count(*) FROM spans WHERE attributes['user.id'] = '/name/7'".into(),
        "SELECT * FROM spans WHERE attributes['user.id'] = '/name/7'".into(),
        "SELECT count(*) FROM spans WHERE attributes['rare.key'] IS NOT NULL".into(),
        "SELECT count(*) FROM spans WHERE attributes['nobody.sent'] = 'x'".into(),
        "SELECT attributes['http.route'] AS r, count(*), avg(duration_ns) FROM spans GROUP BY r ORDER BY 2 DESC LIMIT 10".into(),
        "SELECT attributes['user.id'] AS r, count(*) FROM spans GROUP BY r ORDER BY 2 DESC LIMIT 10".into(),
        "SELECT * FROM spans ORDER BY timestamp DESC LIMIT 100".into(),
        "SELECT * FROM spans ORDER BY duration_ns DESC LIMIT 100".into(),
        "SELECT name, attributes FROM spans WHERE service_name = '/name/3' LIMIT 1000".into(),
    ] {
        let mut times = Vec::new();
        let mut shown = String::new();
        for _ in 0..5 {
            let started = Instant::now();
            let session = engine.session(&Identity::default()).await.expect("a session");
            let (batches, receipt) = session.collect(&sql).await.expect("rows");
            times.push(started.elapsed().as_secs_f64() * 1e3);
            let rows: usize = batches.iter().map(arrow::array::RecordBatch::num_rows).sum();
            shown = format!("{rows} rows, {} scanned, {} files, {} bytes", receipt.rows_scanned, receipt.files, receipt.bytes_scanned);
        }
        let first = times[0];
        times.sort_by(f64::total_cmp);
        println!("{first:8.1} ms first, {:8.1} ms median  {sql}  ({shown})", times[2]);
    }
}
