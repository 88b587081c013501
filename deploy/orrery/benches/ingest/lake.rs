//! What hours of spans cost to keep and to ask: ingest, flush and compaction in CPU-seconds, bytes a span, and the
//! latency of the questions that people ask. The cold figures need the right to drop the page cache (root) and are left
//! out without it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::client::{self, Batch, Protocol};
use crate::loads::load::{self, Shape};
use crate::loads::{RECORDS_PER_REQUEST, Stream, now_ns, spans_per_trace};
use crate::server::{Folder, Server};
use crate::{CONNECTIONS, Options};

const HOUR_NS: u64 = 3_600_000_000_000;
const LOOKUPS: usize = 25;
const ROUNDS: usize = 9;
/// Until the hour is counted beforehand.
const ROLLUP_PATIENCE: Duration = Duration::from_secs(300);

pub fn measure(options: &Options, shape: Shape) {
    let n = options.spans as f64;
    println!("load {shape:?}: {} spans over {} h", options.spans, options.hours);
    let folder = Folder::new(&options.dir);
    // Hours that have ended, whole, so that all of them may be compacted.
    let window_ns = options.hours * HOUR_NS;
    let start_ns = (now_ns() / HOUR_NS - options.hours) * HOUR_NS;
    let interval_ns = window_ns / (options.spans as u64 / spans_per_trace(shape) + 1);

    // Dense keys are learned before the merge, as they are in a server that runs for longer.
    let server = Server::start_in(&folder, &["--set", "storage.learn_every=10s"]);
    let before = server.cpu_seconds();
    let cpu = || server.cpu_seconds() - before;
    Stream { shape, spans: options.spans, start_ns, interval_ns }.send(server.otlp_http);
    println!("  spans per CPU-second until acknowledged        {:>10.0}", n / cpu());
    server.flush();
    println!("  spans per CPU-second with all flushed          {:>10.0}", n / cpu());
    assert_eq!(server.count("spans"), options.spans as u64, "stored = acknowledged");
    let (flushed, _) = server.bytes_on_disk();
    server.lake("compact");
    let (all, counting) = (cpu(), server.cpu_seconds_of("query"));
    println!("  spans per CPU-second with all compacted        {:>10.0}", n / (all - counting));
    println!("  and with what roll-ups counted of it meanwhile {:>10.0}", n / all);
    let merged = server.get("/api/v1/lake/status")["merged_rows"].as_f64().unwrap_or(0.0);
    println!("  rows written again by merges, a span           {:>10.2}", merged / n);
    println!("  peak RSS                                       {:>10.0} MB", server.peak_rss_mb());
    assert_eq!(server.count("spans"), options.spans as u64, "compacted = stored");
    let status = server.get("/api/v1/lake/status");
    println!("  files                                          {:>10}", status["files"]);
    println!("  bytes a span: Parquet as flushed               {:>10.1}", flushed as f64 / n);
    println!(
        "  bytes a span: live Parquet                     {:>10.1}",
        status["file_bytes"].as_f64().unwrap_or(0.0) / n
    );
    let hour = format!("start={}&end={}", start_ns + window_ns - HOUR_NS, start_ns + window_ns);
    let traces = ids(&server, start_ns, window_ns);
    ask(&server, shape, &hour, &traces);
    println!(
        "  bytes a span: with filters and roll-ups        {:>10.1}",
        (status["file_bytes"].as_f64().unwrap_or(0.0) + server.catalog_bytes() as f64) / n
    );
    drop(server);
    cold(&folder, shape, &traces);
}

/// The memory that a merge of all spans takes with ingest at a rate beside it.
pub fn measure_merge(options: &Options, shape: Shape) {
    println!("load {shape:?}: {} spans merged beside {:.0} spans/s", options.spans, options.rate);
    let folder = Folder::new(&options.dir);
    let start_ns = (now_ns() / HOUR_NS - 1) * HOUR_NS;
    let interval_ns = HOUR_NS / (options.spans as u64 / spans_per_trace(shape) + 1);
    // Nothing is merged before the server that is measured starts.
    let flags = ["--set", "compaction.enabled=false"];
    let server = Server::start_in(&folder, &flags);
    Stream { shape, spans: options.spans, start_ns, interval_ns }.send(server.otlp_http);
    server.flush();
    let before = server.get("/api/v1/lake/status")["files"].clone();
    drop(server);

    let server = Server::start_in(&folder, &flags);
    let merged = AtomicBool::new(false);
    let (seconds, sent) = std::thread::scope(|scope| {
        let beside = scope.spawn(|| {
            let rate = options.rate / RECORDS_PER_REQUEST as f64;
            let mut requests = load::Requests::new(shape, usize::MAX, RECORDS_PER_REQUEST, now_ns(), 1_000_000);
            let mut sent = 0;
            while !merged.load(Ordering::Relaxed) {
                let second: Vec<Bytes> = requests.by_ref().take(rate as usize).map(Bytes::from).collect();
                let batch = Batch { signal: "traces", requests: &second, rate: Some(rate) };
                client::send(Protocol::Http, server.otlp_http, CONNECTIONS, &batch);
                sent += second.len() * RECORDS_PER_REQUEST;
            }
            sent
        });
        let started = Instant::now();
        server.lake("compact");
        let seconds = started.elapsed().as_secs_f64();
        merged.store(true, Ordering::Relaxed);
        (seconds, beside.join().expect("the load is sent"))
    });
    assert_eq!(server.count("spans"), (options.spans + sent) as u64, "nothing is lost, nothing is there twice");
    println!(
        "  files before and after                         {before:>10} {}",
        server.get("/api/v1/lake/status")["files"]
    );
    println!("  merged in                                      {seconds:>10.1} s, {sent} spans beside");
    println!("  peak RSS                                       {:>10.0} MB", server.peak_rss_mb());
}

/// Trace ids from all over the window.
fn ids(server: &Server, start_ns: u64, window_ns: u64) -> Vec<String> {
    let at = |i: u64| start_ns + i * (window_ns - 10_000_000_000) / LOOKUPS as u64;
    (0..LOOKUPS as u64).map(|i| id_at(server, at(i))).collect()
}

/// A trace with a span in the two seconds from then on.
fn id_at(server: &Server, at_ns: u64) -> String {
    let query = format!(
        "SELECT trace_id FROM spans WHERE timestamp >= to_timestamp_nanos({at_ns}) AND \
         timestamp < to_timestamp_nanos({}) LIMIT 1",
        at_ns + 2_000_000_000
    );
    server.sql(&query)[0][0].as_str().expect("a trace id").to_owned()
}

fn ask(server: &Server, shape: Shape, hour: &str, traces: &[String]) {
    let graph = format!("/api/v1/service-graph?{hour}");
    // What is counted beforehand is counted before anything is timed.
    let counted = || server.get(&graph)["receipt"]["minutes"]["rollups"].as_u64().unwrap_or(0);
    let deadline = Instant::now() + ROLLUP_PATIENCE;
    while counted() < 60 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_secs(1));
    }
    println!("  minutes of the graph that are counted beforehand {:>8}", counted());
    let found = |id: &str| time(|| drop(server.get(&format!("/api/v1/traces/{id}"))));
    for id in traces {
        found(id);
    }
    print("trace by ID, present", traces.iter().map(|id| found(id)).collect());
    let absent = |i: usize| format!("{:032x}", (0xabcd_ef01_u128 << 96) | (i as u128 + 1));
    print("trace by ID, absent", (0..LOOKUPS).map(|i| time(|| missing(server, &absent(i)))).collect());
    let conditions: &[(&str, &str)] = match shape {
        Shape::A => &[
            ("one of 97 keys, one of 1,000 values", "attributes['attr_42'] = 'val_07'"),
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
    let raw = format!("{graph}&rollups=ignore");
    print("service graph of the hour, span by span", (0..3).map(|_| time(|| drop(server.get(&raw)))).collect());
    print("service graph of the hour, roll-ups", (0..ROUNDS).map(|_| time(|| drop(server.get(&graph)))).collect());
}

fn missing(server: &Server, id: &str) {
    let status = match ureq::get(server.url(&format!("/api/v1/traces/{id}"))).call() {
        Err(ureq::Error::StatusCode(status)) => status,
        other => panic!("an absent trace answers {other:?}"),
    };
    assert_eq!(status, 404);
}

/// Each look-up by a server that has just started and found a trace in a small file of its own, nothing of the others' files in
/// its memory or in the page cache.
fn cold(folder: &Folder, shape: Shape, traces: &[String]) {
    let mut times = Vec::new();
    for id in traces.iter().step_by(3) {
        let server = Server::start_in(folder, &["--set", "compaction.enabled=false"]);
        // The first look-up of all reads the program from the disk, too.
        let other = if shape == Shape::A { Shape::B } else { Shape::A };
        let start_ns = now_ns();
        Stream { shape: other, spans: RECORDS_PER_REQUEST, start_ns, interval_ns: 1_000_000 }.send(server.otlp_http);
        server.flush();
        server.get(&format!("/api/v1/traces/{}", id_at(&server, start_ns)));
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
