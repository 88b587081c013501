//! What an hour of spans costs to keep and to ask: ingest, flush and compaction in CPU-seconds, bytes a span, and the
//! latency of the questions that people ask. The cold figures need the right to drop the page cache (root) and are left
//! out without it.

use std::time::{Duration, Instant};

use crate::Options;
use crate::loads::load::Shape;
use crate::loads::{Stream, now_ns, spans_per_trace};
use crate::server::{Folder, Server};

const WINDOW: Duration = Duration::from_secs(3_600);
const LOOKUPS: usize = 25;
const ROUNDS: usize = 9;
/// Until the hour is counted beforehand.
const ROLLUP_PATIENCE: Duration = Duration::from_secs(300);

pub fn measure(options: &Options, shape: Shape) {
    let n = options.spans as f64;
    println!("load {shape:?}: {} spans over an hour", options.spans);
    let folder = Folder::new(&options.dir);
    // An hour that has ended, whole, so that all of it may be compacted.
    let hour_ns = WINDOW.as_nanos() as u64;
    let start_ns = (now_ns() / hour_ns - 1) * hour_ns;
    let interval_ns = hour_ns / (options.spans as u64 / spans_per_trace(shape) + 1);

    let server = Server::start_in(&folder, &[]);
    let before = server.cpu_seconds();
    let cpu = || server.cpu_seconds() - before;
    Stream { shape, spans: options.spans, start_ns, interval_ns }.send(server.otlp_http);
    println!("  spans per CPU-second until acknowledged        {:>10.0}", n / cpu());
    server.flush();
    println!("  spans per CPU-second with all flushed          {:>10.0}", n / cpu());
    let files = server.sql("SELECT count(*) FROM spans")[0][0].as_u64();
    assert_eq!(files, Some(options.spans as u64), "stored = acknowledged");
    let (flushed, _) = server.bytes_on_disk();
    server.lake("compact");
    println!("  spans per CPU-second with all compacted        {:>10.0}", n / cpu());
    println!("  peak RSS                                       {:>10.0} MB", server.peak_rss_mb());
    assert_eq!(server.count("spans"), options.spans as u64, "compacted = stored");
    let status = server.get("/api/v1/lake/status");
    println!("  files                                          {:>10}", status["files"]);
    println!("  bytes a span: Parquet as flushed               {:>10.1}", flushed as f64 / n);
    println!(
        "  bytes a span: live Parquet                     {:>10.1}",
        status["file_bytes"].as_f64().unwrap_or(0.0) / n
    );
    let window = format!("start={start_ns}&end={}", start_ns + hour_ns);
    let traces = ids(&server, start_ns, hour_ns);
    ask(&server, shape, &window, &traces);
    drop(server);
    cold(&folder, &traces);
}

/// Trace ids from all over the hour.
fn ids(server: &Server, start_ns: u64, hour_ns: u64) -> Vec<String> {
    let id = |at: u64| {
        let query = format!(
            "SELECT trace_id FROM spans WHERE timestamp >= to_timestamp_nanos({at}) AND \
             timestamp < to_timestamp_nanos({}) LIMIT 1",
            at + 2_000_000_000
        );
        server.sql(&query)[0][0].as_str().expect("a trace id").to_owned()
    };
    (0..LOOKUPS as u64).map(|i| id(start_ns + i * (hour_ns - 10_000_000_000) / LOOKUPS as u64)).collect()
}

fn ask(server: &Server, shape: Shape, window: &str, traces: &[String]) {
    let found = |id: &str| time(|| drop(server.get(&format!("/api/v1/traces/{id}"))));
    for id in traces {
        found(id);
    }
    print("trace by ID, present", traces.iter().map(|id| found(id)).collect());
    let absent = |i: usize| format!("{:032x}", (0xabcd_ef01_u128 << 96) | (i as u128 + 1));
    print("trace by ID, absent", (0..LOOKUPS).map(|i| time(|| missing(server, &absent(i)))).collect());
    let conditions: &[(&str, &str)] = match shape {
        Shape::A => &[
            ("one of 97 keys, one of 1,000 values", "attributes['attr_42'] = 'value-7'"),
            ("one of 97 keys, a value nobody sent", "attributes['attr_42'] = 'nobody'"),
        ],
        Shape::B => &[
            ("http.route, a column", "attributes['http.route'] = '/api/pay'"),
            ("db.collection.name, in the map", "attributes['db.collection.name'] = 'orders'"),
            ("user.id, one of a million", "attributes['user.id'] = 'user-4711'"),
        ],
    };
    for (name, condition) in conditions {
        let query = format!(
            "SELECT timestamp, trace_id, span_id, service_name, name, duration_ns FROM spans WHERE {condition} \
             ORDER BY timestamp DESC LIMIT 20"
        );
        print(&format!("newest 20 by {name}"), (0..ROUNDS).map(|_| time(|| drop(server.sql(&query)))).collect());
    }
    let graph = format!("/api/v1/service-graph?{window}");
    let raw = format!("{graph}&rollups=ignore");
    print("service graph of the hour, span by span", (0..3).map(|_| time(|| drop(server.get(&raw)))).collect());
    let counted = || server.get(&graph)["receipt"]["minutes"]["rollups"].as_u64().unwrap_or(0);
    let deadline = Instant::now() + ROLLUP_PATIENCE;
    while counted() < 60 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_secs(1));
    }
    println!("  minutes of the graph that are counted beforehand {:>8}", counted());
    print("service graph of the hour, roll-ups", (0..ROUNDS).map(|_| time(|| drop(server.get(&graph)))).collect());
}

fn missing(server: &Server, id: &str) {
    let status = match ureq::get(server.url(&format!("/api/v1/traces/{id}"))).call() {
        Err(ureq::Error::StatusCode(status)) => status,
        other => panic!("an absent trace answers {other:?}"),
    };
    assert_eq!(status, 404);
}

/// Each look-up by a server that has just started, nothing of the files in the page cache.
fn cold(folder: &Folder, traces: &[String]) {
    let mut times = Vec::new();
    for id in traces.iter().step_by(3) {
        let server = Server::start_in(folder, &[]);
        if std::fs::write("/proc/sys/vm/drop_caches", "3").is_err() {
            println!("  cold look-ups are left out: the page cache can only be dropped by root");
            return;
        }
        times.push(time(|| drop(server.get(&format!("/api/v1/traces/{id}")))));
    }
    print("trace by ID, present, cold", times);
}

fn time(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |quantile: f64| times[((times.len() - 1) as f64 * quantile).round() as usize];
    println!("  {what:<46} median {:>8.1?}, max {:>8.1?}", at(0.5), at(1.0));
}
