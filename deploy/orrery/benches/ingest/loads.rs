//! The requests a measurement sends, made before it starts: the generated loads and the TrainTicket day.

use std::collections::HashSet;
use std::io::BufRead;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use orrery_collector::json::{JsonLimits, transcode};
use orrery_model::Signal;
use prost::Message;

use crate::CONNECTIONS;
use crate::client::{self, Batch, Protocol};

#[path = "../../../../collector/benches/load.rs"]
pub mod load;

pub const RECORDS_PER_REQUEST: usize = 512;
/// Requests of a stream that are made before they are sent.
const REQUESTS_AHEAD: usize = 2_000;

/// Those of any request the server takes.
const LIMITS: JsonLimits = JsonLimits { bytes: 64 << 20, value_depth: 64 };

pub struct Load {
    /// `traces`, `logs` or `metrics`, as in the receivers' paths.
    pub signal: &'static str,
    pub table: &'static str,
    pub requests: Vec<Bytes>,
    pub records: usize,
}

/// Generated spans at a pace of their own, made as they are sent.
pub struct Stream {
    pub shape: load::Shape,
    pub spans: usize,
    pub start_ns: u64,
    /// Between the starts of two traces.
    pub interval_ns: u64,
}

impl Stream {
    /// Sends all of them by OTLP/HTTP; the time that took, without that of making them.
    pub fn send(self, port: u16) -> Duration {
        let Self { shape, spans, start_ns, interval_ns } = self;
        let requests = load::Requests::new(shape, spans, RECORDS_PER_REQUEST, start_ns, interval_ns);
        let mut requests = requests.map(Bytes::from);
        let mut taken = Duration::ZERO;
        loop {
            let ahead: Vec<Bytes> = requests.by_ref().take(REQUESTS_AHEAD).collect();
            if ahead.is_empty() {
                return taken;
            }
            let started = Instant::now();
            let batch = Batch { signal: "traces", requests: &ahead, rate: None };
            client::send(Protocol::Http, port, CONNECTIONS, &batch);
            taken += started.elapsed();
        }
    }
}

/// The generated load of that name.
pub fn shape(name: &str) -> Option<load::Shape> {
    match name {
        "a" => Some(load::Shape::A),
        "b" => Some(load::Shape::B),
        _ => None,
    }
}

pub const fn spans_per_trace(shape: load::Shape) -> u64 {
    match shape {
        load::Shape::A => 10,
        load::Shape::B => 12,
    }
}

/// The load of that name; `records` counts for the generated ones.
pub fn make(name: &str, records: usize) -> Load {
    let shape = match name {
        "logs" => return train_ticket("logs", "logs", Signal::Logs, "logRecords"),
        "metrics" => return train_ticket("metrics", "metrics", Signal::Metrics, "dataPoints"),
        name => shape(name).unwrap_or_else(|| panic!("no load {name}; there are a, b, logs and metrics")),
    };
    let requests = load::requests(shape, records, RECORDS_PER_REQUEST, now_ns());
    Load { signal: "traces", table: "spans", requests: requests.into_iter().map(Bytes::from).collect(), records }
}

/// A request with one span of the given trace id, in hex.
pub fn probe(trace_id: &str) -> Vec<u8> {
    let bytes: Vec<u8> = (0..16).map(|i| u8::from_str_radix(&trace_id[2 * i..2 * i + 2], 16).expect("hex")).collect();
    let span = Span {
        span_id: bytes[8..].to_vec(),
        trace_id: bytes,
        name: "probe".into(),
        start_time_unix_nano: now_ns(),
        end_time_unix_nano: now_ns() + 1,
        ..Default::default()
    };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..Default::default() }];
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..Default::default() }] }
        .encode_to_vec()
}

pub fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64)
}

/// The recorded day, a request a distinct line, as protobuf.
fn train_ticket(file: &str, signal: &'static str, kind: Signal, records_key: &str) -> Load {
    let shared = std::env::var("ORRERY_SHARED")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared").into());
    let path = Path::new(&shared).join(format!("data/trainticket-2023-01-29/{file}.jsonl.zst"));
    let source = std::fs::File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let lines = std::io::BufReader::new(zstd::Decoder::new(source).expect("zstd")).lines();
    let mut records = 0;
    // A line that stands twice would be absorbed as a copy.
    let mut seen = HashSet::new();
    let distinct = lines.map(|line| line.expect("a line")).filter(|line| seen.insert(line.clone()));
    let requests = distinct.map(|line| {
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        records += count(&value, records_key);
        Bytes::from(transcode(kind, line.as_bytes(), LIMITS).expect("OTLP/JSON").protobuf)
    });
    let requests = requests.collect();
    Load { signal, table: signal, requests, records }
}

/// The elements of all arrays of that name.
fn count(value: &serde_json::Value, name: &str) -> usize {
    match value {
        serde_json::Value::Object(fields) => fields
            .iter()
            .map(|(key, field)| if key == name { field.as_array().map_or(0, Vec::len) } else { count(field, name) })
            .sum(),
        serde_json::Value::Array(elements) => elements.iter().map(|e| count(e, name)).sum(),
        _ => 0,
    }
}
