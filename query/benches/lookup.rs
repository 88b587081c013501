//! Planning and look-ups over many files: `cargo bench -p orrery-query --bench lookup -- [files]`. The lake of so many
//! flushes is made once and kept in Cargo's target folder; every file holds 200 spans of 20 traces, ten seconds of them.
//! First is with nothing in memory, median of what follows.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use orrery_model::{Identity, Signal, SystemClock, TenantId};
use orrery_query::{Engine, QueryConfig, SnapshotSource};
use orrery_storage::{Lake, SealedBatch, Snapshot, TableSnapshot, TraceFilters};

#[path = "../tests/it/fixture/mod.rs"]
mod fixture;

use fixture::{Row, Value, rows::START_NS};

/// Of a file.
const SPANS: usize = 200;
const SPANS_OF_A_TRACE: usize = 10;
/// From one flush to the next.
const FLUSH_NS: i64 = 10_000_000_000;
const RUNS: usize = 21;

/// The files of a lake, with the filters of trace ids where they are: in its catalog.
struct Files {
    lake: Arc<Lake>,
    snapshot: Arc<Snapshot>,
}

impl SnapshotSource for Files {
    fn snapshot(&self, _tenant: &TenantId) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot)
    }

    fn trace_filters(&self, cache_bytes: usize) -> TraceFilters {
        self.lake.trace_filters(cache_bytes)
    }
}

fn main() {
    let files = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(5_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(async {
        for files in [files * 2 / 5, files] {
            let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("lookup-{files}"));
            let lake = Arc::new(filled(&dir, files).await);
            measure(&dir, &lake, files).await;
        }
    });
}

fn trace_id(file: usize, trace: usize) -> String {
    let mixed = ((file * SPANS + trace) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    format!("{mixed:016x}{:016x}", mixed.rotate_left(17) ^ 0xABCD)
}

fn batch(file: usize) -> RecordBatch {
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let rows: Vec<Row> = (0..SPANS)
        .map(|i| {
            let at = START_NS + file as i64 * FLUSH_NS + i as i64 * (FLUSH_NS / SPANS as i64);
            Row::default()
                .column("timestamp", Value::Int(at))
                .column("time_source", Value::Text("sent"))
                .column("duration_ns", Value::Int(i as i64 * 1_000))
                .column("trace_id", Value::Text(leak(trace_id(file, i / SPANS_OF_A_TRACE))))
                .column("span_id", Value::Text(leak(format!("{:016x}", file * SPANS + i))))
                .column("name", Value::Text("GET /cart"))
                .column("kind", Value::Text("SERVER"))
                .column("status_code", Value::Text("UNSET"))
                .resource("service.name", Value::Text(["cart", "shop", "pay", "mail"][i % 4]))
                .item("http.route", Value::Text("/cart"))
                .item("user.id", Value::Text(leak(format!("u-{}", (file * 7 + i) % 1_000))))
                .item("thread.name", Value::Text("main"))
        })
        .collect();
    fixture::batch(Signal::Spans, &rows)
}

/// The lake of the folder, filled up to so many files.
async fn filled(dir: &Path, files: usize) -> Lake {
    std::fs::create_dir_all(dir).expect("a folder");
    let lake = Lake::open(dir).await.expect("the lake opens");
    let started = Instant::now();
    let there = lake.flushed_sequence() as usize;
    for file in there..files {
        let sealed = vec![SealedBatch { tenant: TenantId::default(), table: Signal::Spans.into(), batch: batch(file) }];
        lake.flush(file as u64 + 1, file as u64 + 1, sealed).await.expect("a flush");
    }
    if there < files {
        println!("{} flushes in {:.1} s", files - there, started.elapsed().as_secs_f64());
    }
    lake
}

async fn measure(dir: &Path, lake: &Arc<Lake>, files: usize) {
    let view = lake.view();
    let spans = TableSnapshot { files: view.files(&TenantId::default(), Signal::Spans), memory: Vec::new() };
    println!("{} files, {} rows", spans.files.len(), spans.files.iter().map(|file| file.rows).sum::<u64>());
    let snapshot = fixture::snapshot([spans, TableSnapshot::default(), TableSnapshot::default()]);
    let engine = || {
        let config = QueryConfig { temp_dir: dir.join("spill"), ..QueryConfig::default() };
        let source = Files { lake: Arc::clone(lake), snapshot: Arc::clone(&snapshot) };
        Engine::new(Arc::new(source), config, Arc::new(SystemClock)).expect("an engine")
    };
    let middle = START_NS + files as i64 / 2 * FLUSH_NS;
    let time = |ns: i64| format!("arrow_cast({ns}, 'Timestamp(Nanosecond, None)')");
    let window = format!("timestamp >= {} AND timestamp < {}", time(middle), time(middle + 600_000_000_000));
    let present = trace_id(files / 3, 4);
    let absent = "0123456789abcdef0123456789abcdef";
    let a_key = "attributes['user.id'] = 'u-7'";
    for (name, query) in [
        ("session alone", "EXPLAIN SELECT 1".to_owned()),
        ("plan ten minutes", format!("EXPLAIN SELECT count(*) FROM spans WHERE {window}")),
        ("plan ten minutes, a key", format!("EXPLAIN SELECT count(*) FROM spans WHERE {window} AND {a_key}")),
        ("ten minutes, a key", format!("SELECT count(*) FROM spans WHERE {window} AND {a_key}")),
        ("plan everything", "EXPLAIN SELECT name FROM spans WHERE duration_ns = 7".to_owned()),
        ("plan everything, a key", format!("EXPLAIN SELECT name FROM spans WHERE {a_key}")),
        ("an absent key", "SELECT name FROM spans WHERE attributes['nobody.sent'] = 'x'".to_owned()),
        ("a present trace", format!("SELECT * FROM spans WHERE trace_id = '{present}'")),
        ("an absent trace", format!("SELECT * FROM spans WHERE trace_id = '{absent}'")),
        ("newest 20 spans", "SELECT * FROM spans ORDER BY timestamp DESC LIMIT 20".to_owned()),
    ] {
        let engine = engine();
        let mut times = Vec::new();
        let mut said = String::new();
        for _ in 0..RUNS {
            let started = Instant::now();
            let session = engine.session(&Identity::default()).await.expect("a session");
            let (batches, receipt) = session.collect(&query).await.expect(&query);
            times.push(started.elapsed().as_secs_f64() * 1e3);
            let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
            said = format!("{rows} rows, {} files, {} pruned", receipt.files, receipt.files_pruned);
        }
        let first = times.remove(0);
        times.sort_by(f64::total_cmp);
        println!("{name:26} {first:8.2} ms first, {:8.2} ms median  ({said})", times[times.len() / 2]);
    }
}
