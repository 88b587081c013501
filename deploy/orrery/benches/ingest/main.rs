//! How much ingest costs: sends requests made beforehand to the real binary and prints what the server used for them.
//!
//! `cargo bench -p orrery --bench ingest -- [a|b|logs|metrics]… [--grpc] [--spans N] [--dir PATH]` measures at full speed;
//! `cargo bench -p orrery --bench ingest -- visible [a|b] [--rate SPANS_PER_S] [--seconds N]` measures how soon a span is
//! found by SQL after its acknowledgement. `logs` and `metrics` are the TrainTicket day of `ORRERY_SHARED`.
//! `cargo bench -p orrery --bench ingest -- lake [a|b]… [--spans N] [--hours N]` measures what 10 million spans of an hour
//! or of several cost to keep and to ask, `… -- merge [a|b]… [--spans N] [--rate SPANS_PER_S]` the memory of merging them
//! beside ingest, and `… -- rules [--spans N] [--rules N] [--rounds N]` what alert rules cost beside ingest.

mod client;
mod lake;
mod loads;
mod rules;
mod server;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use client::{Batch, HttpConnection, Protocol};
use server::Server;

const CONNECTIONS: usize = 8;

struct Options {
    loads: Vec<String>,
    protocol: Protocol,
    spans: usize,
    rules: usize,
    rounds: usize,
    hours: u64,
    dir: PathBuf,
    rate: f64,
    seconds: f64,
}

fn main() {
    let mut options = Options {
        loads: Vec::new(),
        protocol: Protocol::Http,
        spans: 0,
        rules: 500,
        rounds: 5,
        hours: 1,
        dir: std::env::current_dir().expect("a folder").join("target"),
        rate: 100_000.0,
        seconds: 30.0,
    };
    let mut measure = "ingest".to_owned();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_else(|| panic!("{arg} needs a value"));
        match arg.as_str() {
            "--bench" => {} // What cargo adds.
            "--grpc" => options.protocol = Protocol::Grpc,
            "--spans" => options.spans = value().parse().expect("--spans takes a number"),
            "--rate" => options.rate = value().parse().expect("--rate takes a number"),
            "--seconds" => options.seconds = value().parse().expect("--seconds takes a number"),
            "--dir" => options.dir = value().into(),
            "--rules" => options.rules = value().parse().expect("--rules takes a number"),
            "--rounds" => options.rounds = value().parse().expect("--rounds takes a number"),
            "--hours" => options.hours = value().parse().expect("--hours takes a number"),
            "visible" | "lake" | "merge" | "rules" => measure = arg,
            load => options.loads.push(load.to_owned()),
        }
    }
    if options.loads.is_empty() {
        options.loads = vec!["a".to_owned(), "b".to_owned()];
    }
    if options.spans == 0 {
        options.spans = if measure == "ingest" { 2_000_000 } else { 10_000_000 };
    }
    if measure == "rules" {
        return rules::measure(&options);
    }
    for load in &options.loads {
        match measure.as_str() {
            "visible" => measure_visibility(&options, load),
            "lake" => lake::measure(&options, loads::shape(load).expect("lake takes a and b")),
            "merge" => lake::measure_merge(&options, loads::shape(load).expect("merge takes a and b")),
            _ => measure_ingest(&options, load),
        }
    }
}

fn measure_ingest(options: &Options, name: &str) {
    let load = loads::make(name, options.spans);
    let bytes: usize = load.requests.iter().map(bytes::Bytes::len).sum();
    let server = Server::start(&options.dir);
    let port = if options.protocol == Protocol::Grpc { server.otlp_grpc } else { server.otlp_http };
    let cpu_before = server.cpu_seconds();
    let started = Instant::now();
    let batch = Batch { signal: load.signal, requests: &load.requests, rate: None };
    let mut latencies = client::send(options.protocol, port, CONNECTIONS, &batch);
    let wall = started.elapsed().as_secs_f64();
    let cpu_acknowledged = server.cpu_seconds() - cpu_before;
    server.flush();
    let cpu_flushed = server.cpu_seconds() - cpu_before;
    let peak_rss_mb = server.peak_rss_mb();
    let stored = server.count(load.table);
    assert_eq!(stored, load.records as u64, "stored = acknowledged = sent");
    latencies.sort_unstable();
    let (parquet, all) = server.bytes_on_disk();
    let n = load.records as f64;
    println!(
        "load {name} over {:?}: {} records in {} requests, {:.0} B a record on the wire",
        options.protocol,
        load.records,
        load.requests.len(),
        bytes as f64 / n
    );
    println!("  records per CPU-second until acknowledged   {:>12.0}", n / cpu_acknowledged);
    println!("  records per CPU-second with all flushed     {:>12.0}", n / cpu_flushed);
    println!(
        "  records per second of wall clock            {:>12.0}   {:.0} MB/s",
        n / wall,
        bytes as f64 / wall / 1e6
    );
    println!(
        "  acknowledgement p50, p99, max               {:>12.2?} {:.2?} {:.2?}",
        at(&latencies, 0.5),
        at(&latencies, 0.99),
        at(&latencies, 1.0)
    );
    println!("  fdatasync calls of the log                  {:>12.0}", server.metric("orrery_wal_syncs_total"));
    println!("  flushes                                     {:>12.0}", server.metric("orrery_store_flushes_total"));
    println!("  peak RSS                                    {peak_rss_mb:>12.0} MB");
    println!("  bytes a record: Parquet, with the catalog   {:>12.1} {:.1}", parquet as f64 / n, all as f64 / n);
    println!("  stored = acknowledged = sent                {stored:>12}");
}

/// The value at a quantile of sorted durations.
fn at(sorted: &[Duration], quantile: f64) -> Duration {
    sorted[((sorted.len() - 1) as f64 * quantile).round() as usize]
}

fn measure_visibility(options: &Options, name: &str) {
    let spans = (options.rate * options.seconds) as usize;
    let load = loads::make(name, spans);
    let rate = Some(options.rate / loads::RECORDS_PER_REQUEST as f64);
    let server = Server::start(&options.dir);
    let mut delays = Vec::new();
    let mut failures = 0;
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let batch = Batch { signal: load.signal, requests: &load.requests, rate };
            client::send(
                options.protocol,
                if options.protocol == Protocol::Grpc { server.otlp_grpc } else { server.otlp_http },
                CONNECTIONS,
                &batch,
            )
        });
        let mut connection = HttpConnection::open(server.otlp_http);
        let mut probe = 0_u128;
        while !sender.is_finished() {
            probe += 1;
            let trace_id = format!("{:032x}", (0xfeed_u128 << 112) | probe);
            connection.post("/v1/traces", &loads::probe(&trace_id));
            let acknowledged = Instant::now();
            let query = format!("SELECT count(*) FROM spans WHERE trace_id = '{trace_id}'");
            while server.sql(&query)[0][0] != 1 {
                if acknowledged.elapsed() > Duration::from_secs(10) {
                    failures += 1;
                    break;
                }
            }
            delays.push(acknowledged.elapsed());
            std::thread::sleep(Duration::from_millis(20));
        }
        let latencies = sender.join().expect("the load is sent");
        println!(
            "load {name} at {:.0} spans/s for {:.0} s, {} requests acknowledged",
            options.rate,
            options.seconds,
            latencies.len()
        );
    });
    delays.sort_unstable();
    println!(
        "  {} probes, {failures} not found within 10 s, flushes meanwhile {:.0}",
        delays.len(),
        server.metric("orrery_store_flushes_total")
    );
    println!(
        "  acknowledgement to found by SQL: p50 {:.1?}, p99 {:.1?}, max {:.1?}",
        at(&delays, 0.5),
        at(&delays, 0.99),
        at(&delays, 1.0)
    );
}
