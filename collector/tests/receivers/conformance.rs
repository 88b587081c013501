//! One table of requests and answers over every receiver: OTLP/gRPC, OTLP/HTTP with protobuf and with JSON, each signal,
//! each compression, on real sockets with a real store behind them. Follows OTLP 1.11.

use crate::common::{DOORS, Door, ENCODINGS, Lake, Verdict, body_for, compress, export_request, record, request_of};
use http::HeaderValue;
use orrery_collector::{CollectorConfig, Kind, Outcome, Protocol};
use orrery_model::Signal;

const LIMIT: usize = 1 << 20;

/// One request: its name, its body for a door, what is to be answered, and how many of its rows a query then sees.
struct Case {
    name: &'static str,
    body: Box<dyn Fn(Door, Signal) -> Vec<u8>>,
    answer: fn(Door, Signal) -> Verdict,
    rows: usize,
}

fn case(
    name: &'static str,
    body: impl Fn(Door, Signal) -> Vec<u8> + 'static,
    answer: fn(Door, Signal) -> Verdict,
    rows: usize,
) -> Case {
    Case { name, body: Box::new(body), answer, rows }
}

/// A body of records that are told apart from those of other cases by `n`.
fn of_records(n: u64, records: &'static [&'static str]) -> impl Fn(Door, Signal) -> Vec<u8> {
    move |door, signal| {
        let records = records.iter().zip(n..).map(|(more, n)| record(signal, n, more));
        body_for(door, signal, &request_of(signal, &records.collect::<Vec<_>>()))
    }
}

fn accepted(_: Door, _: Signal) -> Verdict {
    Verdict::accepted()
}

fn records_word(signal: Signal) -> &'static str {
    match signal {
        Signal::Spans => "spans",
        Signal::Logs => "log records",
        Signal::Metrics => "data points",
    }
}

/// A field that spoils a record of any signal: an attribute nested deeper than is taken.
fn too_deep() -> String {
    let (open, close) = (r#"{"arrayValue":{"values":["#.repeat(70), "]}}".repeat(70));
    format!(r#""attributes":[{{"key":"deep","value":{open}{{}}{close}}}]"#)
}

fn with_bad_ones(n: u64, pattern: &'static [bool]) -> impl Fn(Door, Signal) -> Vec<u8> {
    move |door, signal| {
        let bad = too_deep();
        let record = |(good, n): (&bool, u64)| record(signal, n, if *good { "" } else { &bad });
        body_for(door, signal, &request_of(signal, &pattern.iter().zip(n..).map(record).collect::<Vec<_>>()))
    }
}

fn cases() -> Vec<Case> {
    vec![
        case("three records", of_records(100, &["", "", ""]), accepted, 3),
        case("nothing at all", |_, _| Vec::new(), accepted, 0),
        case("no records", |door, signal| body_for(door, signal, &request_of(signal, &[])), accepted, 0),
        case("unknown fields", of_records(200, &[r#""attributes":[],"future":{"a":[1]}"#]), accepted, 1),
        case(
            "one bad record among good ones",
            with_bad_ones(300, &[true, false, true]),
            |_, signal| {
                let what = records_word(signal);
                let message =
                    format!("1 {what} rejected, the first since an attribute value is nested deeper than 64 levels");
                Verdict::partial(1, &message)
            },
            2,
        ),
        case(
            "bad records alone",
            with_bad_ones(400, &[false, false]),
            |_, signal| {
                let what = records_word(signal);
                let message =
                    format!("2 {what} rejected, the first since an attribute value is nested deeper than 64 levels");
                Verdict::partial(2, &message)
            },
            0,
        ),
        case(
            "more than the limit",
            |door, signal| {
                let filler =
                    format!(r#""attributes":[{{"key":"k","value":{{"stringValue":"{}"}}}}]"#, "x".repeat(LIMIT));
                body_for(door, signal, &request_of(signal, &[record(signal, 500, &filler)]))
            },
            |door, _| {
                let message = "the request exceeds 1048576 bytes; send smaller batches";
                Verdict::refused(door, Kind::TooLarge, message)
            },
            0,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_receiver_answers_alike() {
    for door in DOORS {
        for encoding in ENCODINGS {
            let lake = Lake::start(CollectorConfig { max_request_bytes: LIMIT, ..CollectorConfig::default() }).await;
            for signal in Signal::ALL {
                for case in cases() {
                    let what = format!("{} of {signal} through {door:?} with {encoding}", case.name);
                    let body = (case.body)(door, signal);
                    let mut answer = (case.answer)(door, signal);
                    if encoding != "identity" {
                        answer.message = answer.message.replace("bytes; send", "bytes when decompressed; send");
                    }
                    let before = lake.rows(signal);
                    assert_eq!(lake.server.export(door, signal, encoding, &body).await, answer, "{what}");
                    assert_eq!(lake.rows(signal) - before, case.rows, "rows of {what}");
                    // A byte-identical copy is answered the same and adds nothing.
                    assert_eq!(lake.server.export(door, signal, encoding, &body).await, answer, "copy of {what}");
                    assert_eq!(lake.rows(signal) - before, case.rows, "rows after a copy of {what}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_decompressed_is_bad_for_good() {
    let lake = Lake::start(CollectorConfig::default()).await;
    for door in DOORS {
        for (encoding, garbage) in [
            ("gzip", "incorrect header check"),
            ("zstd", "Unknown frame descriptor"),
            ("deflate", "incorrect header check"),
        ] {
            let body = of_records(1, &["", ""])(door, Signal::Spans);
            let packed = compress(encoding, &body);
            for (sent, what) in [(&packed[..packed.len() / 2], "it ends early"), (&b"no such thing"[..], garbage)] {
                let message = format!("the {encoding} body cannot be decompressed: {what}");
                let verdict = lake.server.export_compressed(door, Signal::Spans, encoding, sent).await;
                assert_eq!(verdict, Verdict::refused(door, Kind::BadData, &message), "{encoding} through {door:?}");
            }
        }
        assert_eq!(lake.rows(Signal::Spans), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_request_is_the_same_through_every_door_and_compression() {
    let lake = Lake::start(CollectorConfig::default()).await;
    let protobuf = of_records(1, &["", ""])(Door::HttpProtobuf, Signal::Logs);
    for door in [Door::Grpc, Door::HttpProtobuf] {
        for encoding in ENCODINGS {
            assert_eq!(lake.server.export(door, Signal::Logs, encoding, &protobuf).await, Verdict::accepted());
            assert_eq!(lake.rows(Signal::Logs), 2, "{door:?} {encoding}");
        }
    }
    let count = |protocol, outcome| lake.server.collector.metrics().requests(Signal::Logs, protocol, outcome);
    assert_eq!(count(Protocol::Grpc, Outcome::Accepted), 1);
    assert_eq!(count(Protocol::Grpc, Outcome::Duplicate), 3);
    assert_eq!(count(Protocol::HttpProtobuf, Outcome::Duplicate), 4);
    // The same bytes are another request where they are of another signal: a lone resource fits all three.
    let empty_resource = [0x0a, 0x00];
    for signal in Signal::ALL {
        let verdict = lake.server.export(Door::HttpProtobuf, signal, "identity", &empty_resource).await;
        assert_eq!(verdict, Verdict::accepted());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idempotency_key_tells_requests_of_the_same_bytes_apart() {
    let lake = Lake::start(CollectorConfig::default()).await;
    let mut rows = 0;
    for door in DOORS {
        let body = of_records(1, &["", ""])(door, Signal::Logs);
        for (key, added) in [("first", 2), ("second", 2), ("first", 0)] {
            let mut request = export_request(door, Signal::Logs, "identity", &body);
            let key = HeaderValue::try_from(format!("{door:?}-{key}")).expect("a header");
            request.headers_mut().insert("idempotency-key", key);
            assert_eq!(lake.server.send(door, Signal::Logs, request).await, Verdict::accepted());
            rows += added;
            assert_eq!(lake.rows(Signal::Logs), rows, "{door:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_with_an_untimed_record_is_stored_each_time() {
    let lake = Lake::start(CollectorConfig::default()).await;
    let untimed = request_of(Signal::Logs, &[r#"{"body":{"stringValue":"when?"}}"#.to_owned()]);
    for door in DOORS {
        let before = lake.rows(Signal::Logs);
        for _ in 0..2 {
            let body = body_for(door, Signal::Logs, &untimed);
            assert_eq!(lake.server.export(door, Signal::Logs, "gzip", &body).await, Verdict::accepted());
        }
        assert_eq!(lake.rows(Signal::Logs) - before, 2, "{door:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_counted_by_signal_door_and_outcome() {
    let lake = Lake::start(CollectorConfig::default()).await;
    let body = with_bad_ones(1, &[true, false])(Door::HttpJson, Signal::Metrics);
    lake.server.export(Door::HttpJson, Signal::Metrics, "gzip", &body).await;
    lake.server.export(Door::HttpJson, Signal::Metrics, "identity", b"{").await;
    let samples = lake.server.collector.samples();
    let value = |name: &str, wanted: &[(&str, &str)]| {
        let found = samples.iter().find(|s| s.metric.name() == name && s.labels == wanted);
        found.unwrap_or_else(|| panic!("no {name}{wanted:?}")).value
    };
    let door = [("signal", "metrics"), ("protocol", "http_json")];
    let ended = |outcome| value("orrery_receiver_requests_total", &[door[0], door[1], ("outcome", outcome)]);
    assert_eq!((ended("partial"), ended("bad_data"), ended("accepted")), (1, 1, 0));
    assert_eq!(value("orrery_receiver_records_total", &door), 1);
    assert_eq!(value("orrery_receiver_rejected_records_total", &door), 1);
    assert_eq!(value("orrery_receiver_wire_bytes_total", &door), compress("gzip", &body).len() as u64 + 1);
    assert_eq!(value("orrery_receiver_in_flight_bytes", &[]), 0);
}
