//! Hostile and broken requests through every receiver, each with its exact answer, and with the good records of the same
//! request stored where OTLP allows it.

use crate::common::{DOORS, Door, Lake, Verdict, body_for, compress, record, request_of};
use orrery_collector::{CollectorConfig, Kind};
use orrery_model::Signal;

/// What a body gets through a door: the answer, and the rows that are stored of it.
struct Expected {
    answer: Verdict,
    rows: usize,
}

fn one_rejected(what: &str, reason: &str) -> Expected {
    let message = format!("1 {what} rejected, the first since {reason}");
    Expected { answer: Verdict::partial(1, &message), rows: 2 }
}

async fn check(
    name: &str,
    signal: Signal,
    encoding: &str,
    body: impl Fn(Door) -> Vec<u8>,
    expected: impl Fn(Door) -> Expected,
) {
    let lake = Lake::start(CollectorConfig::default()).await;
    for door in DOORS {
        let before = lake.rows(signal);
        let Expected { answer, rows } = expected(door);
        let verdict = lake.server.export_compressed(door, signal, encoding, &body(door)).await;
        assert_eq!(verdict, answer, "{name} through {door:?}");
        assert_eq!(lake.rows(signal) - before, rows, "rows of {name} through {door:?}");
    }
}

/// A bad record between two good ones, told apart by door so that none is a copy of another.
fn between_good_ones(door: Door, signal: Signal, bad: &str) -> Vec<u8> {
    let n = 10 * (door as u64 + 1);
    body_for(door, signal, &request_of(signal, &[record(signal, n, ""), bad.to_owned(), record(signal, n + 1, "")]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage() {
    for signal in Signal::ALL {
        check(
            "garbage",
            signal,
            "identity",
            |_| b"\xff\xfe certainly not OTLP".to_vec(),
            |door| {
                let message = match door {
                    Door::HttpJson => "malformed OTLP/JSON: expected `{`, found the byte 0xff (line 1, column 1)",
                    _ => "malformed OTLP protobuf at byte 3: unknown wire type",
                };
                Expected { answer: Verdict::refused(door, Kind::BadData, message), rows: 0 }
            },
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncated_gzip() {
    let body = |door| {
        let mut packed = compress("gzip", &between_good_ones(door, Signal::Logs, "{}"));
        packed.truncate(packed.len() * 2 / 3);
        packed
    };
    check("truncated gzip", Signal::Logs, "gzip", body, |door| {
        let message = "the gzip body cannot be decompressed: it ends early";
        Expected { answer: Verdict::refused(door, Kind::BadData, message), rows: 0 }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bomb_of_200_megabytes() {
    for encoding in ["gzip", "zstd", "deflate"] {
        let bomb = compress(encoding, &vec![b' '; 200 << 20]);
        assert!(bomb.len() < 4 << 20, "{} bytes", bomb.len());
        check(
            "a bomb",
            Signal::Spans,
            encoding,
            |_| bomb.clone(),
            |door| {
                let message = "the request exceeds 67108864 bytes when decompressed; send smaller batches";
                Expected { answer: Verdict::refused(door, Kind::TooLarge, message), rows: 0 }
            },
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_levels_of_values() {
    for (signal, what) in [(Signal::Spans, "spans"), (Signal::Logs, "log records"), (Signal::Metrics, "data points")] {
        let body = |door: Door| match door {
            Door::HttpJson => {
                let deep = format!("{}{{}}{}", r#"{"arrayValue":{"values":["#.repeat(10_000), "]}}".repeat(10_000));
                between_good_ones(
                    door,
                    signal,
                    &record(signal, 5, &format!(r#""attributes":[{{"key":"deep","value":{deep}}}]"#)),
                )
            }
            _ => {
                // The JSON tables cut what is too deep, so the levels are wrapped here by hand.
                let mut value = Vec::new();
                for _ in 0..10_000 {
                    value = field(5, &field(1, &value));
                }
                let attribute = [field(1, b"deep"), field(2, &value)].concat();
                let attributes = if signal == Signal::Spans {
                    9
                } else if signal == Signal::Logs {
                    6
                } else {
                    7
                };
                let good =
                    |n| body_for(door, signal, &request_of(signal, &[record(signal, 10 * (door as u64 + 1) + n, "")]));
                let record = field(attributes, &attribute);
                let scope = match signal {
                    Signal::Metrics => field(2, &field(5, &field(1, &record))),
                    _ => field(2, &record),
                };
                [good(0), field(1, &field(2, &scope)), good(1)].concat()
            }
        };
        check(
            "10,000 levels",
            signal,
            "gzip",
            |door| compress("gzip", &body(door)),
            |_| one_rejected(what, "an attribute value is nested deeper than 64 levels"),
        )
        .await;
    }
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend(bytes);
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_attributes() {
    let attributes: Vec<_> =
        (0..1_000_000).map(|n| format!(r#"{{"key":"k{n}","value":{{"intValue":{n}}}}}"#)).collect();
    let many = format!(r#""attributes":[{}]"#, attributes.join(","));
    check(
        "a million attributes",
        Signal::Spans,
        "identity",
        |door| between_good_ones(door, Signal::Spans, &record(Signal::Spans, 5, &many)),
        |_| one_rejected("spans", "more than 1024 attributes in one set"),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absurd_records_are_rejected_one_by_one() {
    let cases: &[(Signal, &str, &str)] = &[
        (Signal::Spans, r#"{"name":"n","startTimeUnixNano":"-1"}"#, "start_time_unix_nano is 2^63 ns or later"),
        (
            Signal::Spans,
            r#"{"name":"n","startTimeUnixNano":"9223372036854775808"}"#,
            "start_time_unix_nano is 2^63 ns or later",
        ),
        (Signal::Spans, r#"{"endTimeUnixNano":1e30}"#, "end_time_unix_nano is 2^63 ns or later"),
        (Signal::Spans, r#"{"events":[{"timeUnixNano":-5}]}"#, "the time of an event is 2^63 ns or later"),
        (Signal::Spans, r#"{"traceId":"abcd"}"#, "trace_id has 2 bytes, not 16"),
        (Signal::Spans, r#"{"spanId":"00"}"#, "span_id has 1 bytes, not 8"),
        (Signal::Spans, r#"{"parentSpanId":"0011223344556677aa"}"#, "parent_span_id has 9 bytes, not 8"),
        (
            Signal::Spans,
            r#"{"links":[{"traceId":"00","spanId":"0011223344556677"}]}"#,
            "the trace_id of a link has 1 bytes, not 16",
        ),
        (Signal::Logs, r#"{"traceId":"5b8efff798038103d269b633813fc60c0"}"#, "trace_id has 17 bytes, not 16"),
        (Signal::Logs, r#"{"spanId":"5"}"#, "span_id has 1 bytes, not 8"),
        (
            Signal::Logs,
            r#"{"observedTimeUnixNano":"18446744073709551615"}"#,
            "observed_time_unix_nano is 2^63 ns or later",
        ),
        (
            Signal::Metrics,
            r#"{"timeUnixNano":"9223372036854775808","asInt":"1"}"#,
            "time_unix_nano is 2^63 ns or later",
        ),
        (
            Signal::Metrics,
            r#"{"asInt":1,"exemplars":[{"traceId":"0011"}]}"#,
            "the trace_id of an exemplar has 2 bytes, not 16",
        ),
    ];
    for (signal, bad, reason) in cases {
        let what = ["spans", "log records", "data points"][*signal as usize - 1];
        let body = |door| between_good_ones(door, *signal, bad);
        check(bad, *signal, "identity", body, |_| one_rejected(what, reason)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_that_is_not_utf8_spoils_its_own_record() {
    for (signal, what) in [(Signal::Spans, "spans"), (Signal::Logs, "log records"), (Signal::Metrics, "data points")] {
        let body = |door| {
            let bad = record(signal, 5, r#""attributes":[{"key":"k","value":{"stringValue":"@@@@"}}]"#);
            let mut body = between_good_ones(door, signal, &bad);
            let at = body.windows(4).position(|w| w == b"@@@@").expect("the marker");
            body[at..at + 4].copy_from_slice(b"\xc3\x28\xff\xfe");
            body
        };
        check("invalid UTF-8", signal, "identity", body, |_| one_rejected(what, "a string is not valid UTF-8")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_before_1970_and_far_ahead_are_kept_where_they_fit() {
    let far = record(Signal::Spans, 5, "").replace("1700000000000000005", "9223372036854775807");
    let body = |door| between_good_ones(door, Signal::Spans, &far);
    check("the last nanosecond", Signal::Spans, "identity", body, |_| Expected {
        answer: Verdict::accepted(),
        rows: 3,
    })
    .await;
}
