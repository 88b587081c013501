//! Data that no one here wrote: the examples of OTLP and the TrainTicket day, whose counts are known beforehand.

use std::collections::{BTreeMap, HashSet};
use std::io::BufRead;
use std::path::PathBuf;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type, TimestampNanosecondType};
use orrery_collector::json::{JsonLimits, transcode};
use orrery_model::Signal;
use serde_json::Value;

use crate::{canonical, check_round_trip, decoded, exported, pretty_eq};

/// The folder of shared data, `None` (said aloud) where there is none.
fn shared_data() -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared");
    let data = PathBuf::from(std::env::var("ORRERY_SHARED").unwrap_or(default.to_owned())).join("data");
    if !data.is_dir() {
        println!("SKIPPED: no shared data at {}", data.display());
    }
    data.is_dir().then_some(data)
}

fn protobuf(signal: Signal, json: &[u8]) -> Vec<u8> {
    transcode(signal, json, JsonLimits { bytes: 64 << 20, value_depth: 100 }).unwrap().protobuf
}

#[test]
fn the_examples_of_otlp_survive() {
    let Some(data) = shared_data() else { return };
    let examples =
        [("trace", Signal::Spans), ("logs", Signal::Logs), ("events", Signal::Logs), ("metrics", Signal::Metrics)];
    for (name, signal) in examples {
        check_round_trip(signal, &protobuf(signal, &std::fs::read(data.join(format!("otlp/{name}.json"))).unwrap()));
    }
}

/// What is counted of a signal's rows.
#[derive(Default)]
struct Counts {
    rows: usize,
    words: BTreeMap<String, usize>,
    distinct: HashSet<String>,
    services: HashSet<String>,
    /// Rows whose `time_source` is not `sent`.
    not_sent: usize,
    sum: i128,
    nans: usize,
    min_ns: i64,
}

impl Counts {
    /// Adds rows: words of one column, distinct values of another.
    fn add(&mut self, batch: &RecordBatch, word: &str, id: &str) {
        let column = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().clone();
        self.rows += batch.num_rows();
        for word in column(word).iter().flatten() {
            *self.words.entry(word.to_owned()).or_default() += 1;
        }
        self.distinct.extend(column(id).iter().flatten().map(str::to_owned));
        self.services.extend(column("service_name").iter().flatten().map(str::to_owned));
        self.not_sent += column("time_source").iter().filter(|source| *source != Some("sent")).count();
        let times = batch.column_by_name("timestamp").unwrap().as_primitive::<TimestampNanosecondType>();
        let sent = column("time_source");
        let times = times.values().iter().zip(sent.iter()).filter(|(_, s)| *s == Some("sent")).map(|(t, _)| *t);
        self.min_ns = times.chain((self.min_ns != 0).then_some(self.min_ns)).min().unwrap();
        if let Some(durations) = batch.column_by_name("duration_ns") {
            self.sum += durations.as_primitive::<Int64Type>().iter().flatten().map(i128::from).sum::<i128>();
        }
        if let Some(values) = batch.column_by_name("value") {
            self.nans += values.as_primitive::<Float64Type>().iter().flatten().filter(|v| v.is_nan()).count();
        }
    }
}

/// Decodes a signal's file; every 50th request also makes the whole way back.
fn count(data: &std::path::Path, file: &str, signal: Signal, word: &str, id: &str) -> Counts {
    let file = std::fs::File::open(data.join("trainticket-2023-01-29").join(file)).unwrap();
    let mut counts = Counts::default();
    for (i, line) in std::io::BufReader::new(zstd::Decoder::new(file).unwrap()).lines().enumerate() {
        let body = protobuf(signal, line.unwrap().as_bytes());
        let decoded = decoded(signal, &body).unwrap();
        assert_eq!(decoded.reject_message, None);
        if i % 50 == 0 {
            pretty_eq(&canonical(signal, &exported(signal, &decoded.batch)), &canonical(signal, &body));
        }
        counts.add(&decoded.batch, word, id);
    }
    counts
}

#[test]
fn the_trainticket_day_has_the_counts_known_beforehand() {
    let Some(data) = shared_data() else { return };
    let expected = std::fs::read(data.join("trainticket-2023-01-29/expected.json")).unwrap();
    let expected: Value = serde_json::from_slice(&expected).unwrap();
    let number = |key: &str| expected[key].as_i64().unwrap();

    let spans = count(&data, "traces.jsonl.zst", Signal::Spans, "kind", "trace_id");
    let kinds = [("CLIENT", "3"), ("INTERNAL", "1"), ("SERVER", "2")];
    let kinds = kinds.map(|(word, n)| (word.to_owned(), expected["kinds"][n].as_u64().unwrap() as usize));
    assert_eq!(spans.rows as i64, number("spans"));
    assert_eq!(spans.words, BTreeMap::from(kinds));
    assert_eq!(spans.distinct.len() as i64, number("traces"));
    assert_eq!(spans.services.len() as i64, number("services"));
    assert_eq!((spans.sum as i64, spans.min_ns), (number("sum_duration_ns"), number("min_start_ns")));

    let logs = count(&data, "logs.jsonl.zst", Signal::Logs, "severity_text", "trace_id");
    assert_eq!((logs.rows as i64, logs.not_sent as i64), (number("logs"), number("log_zero_time")));
    assert_eq!(logs.min_ns, number("log_min_ns"));
    for (severity, records) in expected["log_severity"].as_object().unwrap() {
        assert_eq!(logs.words[severity] as u64, records.as_u64().unwrap());
    }

    let points = count(&data, "metrics.jsonl.zst", Signal::Metrics, "metric_name", "series_id");
    assert_eq!((points.rows as i64, points.nans as i64), (number("points"), number("nan_points")));
    assert_eq!((points.words.len() as i64, points.distinct.len() as i64), (number("metric_names"), number("series")));
    assert_eq!(points.min_ns, number("metric_min_ns"));
}
