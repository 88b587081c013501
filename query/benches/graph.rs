//! The graph and the services of an hour, span by span: `cargo bench -p orrery-query --bench graph -- [spans]`. The lake is
//! made once, merged, and kept in Cargo's target folder: traces of ten spans through five services, with the attributes of
//! HTTP and of databases. All spans at once, then a fifth of them at a time; the median of some runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use axum::body::Body;
use http::Request;
use orrery_model::{Signal, SystemClock, TenantId};
use orrery_query::{Engine, QueryConfig, router};
use orrery_storage::{CompactionConfig, Lake, SealedBatch, TableSnapshot};
use tower::ServiceExt;

#[path = "../tests/it/fixture/mod.rs"]
mod fixture;

use fixture::{Fixed, Row, Value};

/// The hour's start, 2023-11-14T22:00:00Z.
const START_NS: i64 = 1_699_999_200_000_000_000;
const HOUR_NS: i64 = 3_600_000_000_000;
const FLUSHES: usize = 12;
const RUNS: usize = 7;
/// Parent, service, kind and name of each span of a trace.
const TRACE: [(usize, &str, &str, &str); 10] = [
    (0, "frontend", "SERVER", "GET /checkout"),
    (0, "frontend", "CLIENT", "POST"),
    (1, "checkout", "SERVER", "POST /order"),
    (2, "checkout", "INTERNAL", "price"),
    (2, "checkout", "CLIENT", "SELECT orders"),
    (2, "checkout", "CLIENT", "POST"),
    (5, "payment", "SERVER", "POST /pay"),
    (6, "payment", "CLIENT", "SELECT cards"),
    (1, "cart", "SERVER", "GET /cart"),
    (8, "cart", "CLIENT", "GET"),
];

fn main() {
    let spans = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(1_200_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(async {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("graph-{spans}"));
        let lake = filled(&dir, spans).await;
        measure(&dir, &lake, spans).await;
    });
}

/// A number without a pattern.
fn mixed(n: usize) -> u64 {
    let mixed = (n as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

fn batch(traces: std::ops::Range<usize>, interval_ns: i64) -> RecordBatch {
    let leak = |text: String| Value::Text(Box::leak(text.into_boxed_str()));
    let span_id = |trace: usize, i: usize| leak(format!("{:016x}", mixed(trace * TRACE.len() + i) | 1));
    let row = |trace: usize, i: usize| {
        let (parent, service, kind, name) = TRACE[i];
        let noise = mixed(trace * 31 + i) % 1_000_000;
        let at = START_NS + trace as i64 * interval_ns + i as i64 * 1_000_000 + noise as i64;
        let mut row = Row::default()
            .column("timestamp", Value::Int(at))
            .column("time_source", Value::Text("sent"))
            .column("duration_ns", Value::Int((noise * 97) as i64))
            .column("trace_id", leak(format!("{:016x}{:016x}", mixed(trace), mixed(trace ^ 0xabcd))))
            .column("span_id", span_id(trace, i))
            .column("name", Value::Text(name))
            .column("kind", Value::Text(kind))
            .column("status_code", Value::Text(if noise.is_multiple_of(50) { "ERROR" } else { "UNSET" }))
            .resource("service.name", Value::Text(service))
            .resource("service.namespace", Value::Text("shop"))
            .item("user.id", leak(format!("user-{}", noise % 100_000)));
        if i > 0 {
            row = row.column("parent_span_id", span_id(trace, parent));
        }
        match kind {
            "SERVER" => row
                .item("http.route", Value::Text("/x"))
                .item("url.path", leak(format!("/x/{noise}")))
                .item("client.address", leak(format!("10.1.{}.{}", noise % 250, noise / 250 % 250))),
            "CLIENT" if name.starts_with("SELECT") => row
                .item("db.system.name", Value::Text("postgresql"))
                .item("db.namespace", Value::Text("shop"))
                .item("server.address", Value::Text("pg-1")),
            "CLIENT" => row
                .item("server.address", Value::Text("backend"))
                .item("url.full", leak(format!("http://backend/x/{noise}"))),
            _ => row,
        }
    };
    let rows: Vec<Row> =
        traces.flat_map(|trace| (0..TRACE.len()).map(move |i| (trace, i))).map(|(t, i)| row(t, i)).collect();
    fixture::batch(Signal::Spans, &rows)
}

async fn filled(dir: &Path, spans: usize) -> Arc<Lake> {
    std::fs::create_dir_all(dir).expect("a folder");
    let lake = Arc::new(Lake::open(dir).await.expect("the lake opens"));
    let traces = spans / TRACE.len();
    let there = lake.flushed_sequence() as usize;
    for flush in there..FLUSHES {
        let part = traces * flush / FLUSHES..traces * (flush + 1) / FLUSHES;
        let batch = batch(part, HOUR_NS / traces as i64);
        let sealed = vec![SealedBatch { tenant: TenantId::default(), table: Signal::Spans.into(), batch }];
        lake.flush(flush as u64 + 1, flush as u64 + 1, sealed).await.expect("a flush");
    }
    let config = CompactionConfig { floor_free_bytes: 0, ..CompactionConfig::default() };
    lake.compact(&config).await.expect("it merges");
    lake
}

async fn measure(dir: &Path, lake: &Lake, spans: usize) {
    let files = lake.view().files(&TenantId::default(), Signal::Spans);
    println!("{} files, {} rows", files.len(), files.iter().map(|file| file.rows).sum::<u64>());
    let table = TableSnapshot { files, memory: Vec::new() };
    let snapshot = fixture::snapshot([table, TableSnapshot::default(), TableSnapshot::default()]);
    for (how, spans_at_once) in [("all at once", spans * 2), ("a fifth at a time", spans / 5)] {
        let config =
            QueryConfig { temp_dir: dir.join("spill"), spans_at_once: Some(spans_at_once), ..QueryConfig::default() };
        let source = Arc::new(Fixed(Arc::clone(&snapshot)));
        let router = router(Engine::new(source, config, Arc::new(SystemClock)).expect("an engine"));
        for path in ["service-graph", "services", "services/shop%2Fcheckout"] {
            let uri = format!("/api/v1/{path}?start={START_NS}&end={}", START_NS + HOUR_NS);
            let mut times = Vec::new();
            for _ in 0..RUNS {
                let started = Instant::now();
                let request = Request::get(&uri).body(Body::empty()).expect("a request");
                let response = router.clone().oneshot(request).await.expect("an answer");
                let status = response.status();
                let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body");
                assert!(status.is_success(), "{}", String::from_utf8_lossy(&body));
                times.push(started.elapsed().as_secs_f64() * 1e3);
            }
            times.sort_by(f64::total_cmp);
            println!("{path:28} {how:18} {:8.1} ms median, {:8.1} ms at best", times[RUNS / 2], times[0]);
        }
    }
}
