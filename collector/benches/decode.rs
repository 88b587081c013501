//! How fast requests become rows: spans per CPU-second of one core, beside prost's decoding of the same bytes alone.
//! `cargo bench -p orrery-collector --bench decode [-- seconds]`. Measures CPU time of its one thread, so a busy machine
//! disturbs it little; takes the best of several rounds.

#[path = "load.rs"]
mod load;

use std::hint::black_box;

use load::Shape;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric::Data, number_data_point,
};
use orrery_collector::decode::{Cardinality, DecodeLimits, decode_for};
use orrery_model::Signal;
use orrery_storage::batch_bytes;
use prost::Message;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RECORDS: usize = 51_200;
const PER_REQUEST: usize = 512;
const START_NS: u64 = 1_700_000_000_000_000_000;

fn main() {
    let rounds: usize = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(15);
    println!(
        "{:<28}{:>9}{:>15}{:>10}{:>15}{:>14}",
        "", "B/record", "records/CPU-s", "MB/s", "prost alone", "B/row in RAM"
    );
    for (name, shape) in [("spans, load A", Shape::A), ("spans, load B", Shape::B)] {
        let requests = load::requests(shape, RECORDS, PER_REQUEST, START_NS);
        let prost = |body: &[u8]| drop(black_box(ExportTraceServiceRequest::decode(body).expect("the load is OTLP")));
        report(name, Signal::Spans, &requests, rounds, prost);
    }
    let prost = |body: &[u8]| drop(black_box(ExportMetricsServiceRequest::decode(body).expect("the load is OTLP")));
    report("gauges, a point a metric", Signal::Metrics, &gauges(1), rounds, prost);
    report("gauges, 32 points a metric", Signal::Metrics, &gauges(32), rounds, prost);
}

fn report(name: &str, signal: Signal, requests: &[Vec<u8>], rounds: usize, prost: impl Fn(&[u8])) {
    let bytes: usize = requests.iter().map(Vec::len).sum();
    // With a tenant's keys and series counted, as the receivers do it.
    let (tenant, limits) = (Cardinality::new(usize::MAX, usize::MAX), DecodeLimits::default());
    let batch = |body: &[u8]| {
        decode_for(Some(&tenant), signal, body, START_NS as i64, &limits).expect("the load is OTLP").batch
    };
    let rows = |body: &[u8]| batch(body).num_rows();
    assert_eq!(requests.iter().map(|body| rows(body)).sum::<usize>(), RECORDS);
    let memory: usize = requests.iter().map(|body| batch_bytes(&batch(body))).sum();
    let ours = best(rounds, || requests.iter().for_each(|body| assert!(black_box(rows(body)) > 0)));
    let theirs = best(rounds, || requests.iter().for_each(|body| prost(body)));
    let per_second = |seconds: f64| RECORDS as f64 / seconds;
    println!(
        "{name:<28}{:>9.0}{:>15.0}{:>10.0}{:>15.0}{:>14}",
        bytes as f64 / RECORDS as f64,
        per_second(ours),
        bytes as f64 / ours / 1e6,
        per_second(theirs),
        memory / RECORDS
    );
}

/// The least CPU time, in seconds, that `work` took.
fn best(rounds: usize, work: impl Fn()) -> f64 {
    let times = (0..rounds).map(|_| {
        let start = cpu_ns();
        work();
        cpu_ns() - start
    });
    times.min().unwrap_or_default() as f64 / 1e9
}

/// The CPU time of this thread so far.
fn cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts a thread's CPU time");
    stat.split(' ').next().and_then(|ns| ns.parse().ok()).expect("the first number is nanoseconds")
}

/// Requests of gauges with four attributes a point, `points` to a metric.
fn gauges(points: usize) -> Vec<Vec<u8>> {
    let text = |key: &str, value: String| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue(value)) }),
        key_strindex: 0,
    };
    let point = |i: usize| NumberDataPoint {
        attributes: vec![
            text("cpu", (i % 64).to_string()),
            text("mode", ["user", "system", "idle"][i % 3].to_owned()),
            text("http.request.method", "GET".to_owned()),
            text("pool", format!("pool-{}", i % 7)),
        ],
        time_unix_nano: START_NS + i as u64,
        value: Some(number_data_point::Value::AsDouble(i as f64)),
        ..NumberDataPoint::default()
    };
    let metric = |i: usize| Metric {
        name: format!("system.metric_{}", i % 100),
        unit: "1".to_owned(),
        data: Some(Data::Gauge(Gauge { data_points: (0..points).map(|j| point(i * points + j)).collect() })),
        ..Metric::default()
    };
    let metrics_in_request = PER_REQUEST / points;
    let request = |i: usize| {
        let metrics = (0..metrics_in_request).map(|j| metric(i * metrics_in_request + j)).collect();
        let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
        let resource_metrics = vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }];
        ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()
    };
    (0..RECORDS / PER_REQUEST).map(request).collect()
}
