//! The transcoder against OpenTelemetry's own descriptors, against prost, against real data, and against bad input.

mod descriptor;

use std::io::Read as _;
use std::path::PathBuf;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::{metric, number_data_point};
use orrery_model::Signal;
use proptest::prelude::{ProptestConfig, any, proptest};
use prost::Message as _;
use serde_json::json;

use self::descriptor::{Descriptors, Dice};
use super::*;

const LIMITS: JsonLimits = JsonLimits { bytes: 64 << 20, value_depth: 66 };

fn protobuf(signal: Signal, json: &str) -> Result<Vec<u8>, String> {
    transcode(signal, json.as_bytes(), LIMITS).map(|t| t.protobuf).map_err(|e| e.to_string())
}

fn spans(json: &str) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(&*protobuf(Signal::Spans, json).expect("good JSON")).expect("good protobuf")
}

/// Decodes and encodes with prost, which has one order and no defaults: equal bytes are equal messages, NaN included.
fn canonical(signal: Signal, wire: &[u8]) -> Vec<u8> {
    let encoded = match signal {
        Signal::Spans => ExportTraceServiceRequest::decode(wire).map(|m| m.encode_to_vec()),
        Signal::Logs => ExportLogsServiceRequest::decode(wire).map(|m| m.encode_to_vec()),
        Signal::Metrics => ExportMetricsServiceRequest::decode(wire).map(|m| m.encode_to_vec()),
    };
    encoded.expect("the protobuf is well-formed")
}

#[test]
fn the_tables_are_those_of_the_descriptors() {
    let descriptors = Descriptors::load();
    for signal in Signal::ALL {
        descriptors.check(schema::request(signal));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn any_message_printed_as_json_comes_back(seed in any::<u64>()) {
        let descriptors = Descriptors::load();
        let mut dice = Dice::new(seed);
        for signal in Signal::ALL {
            let name = schema::request(signal).name;
            let wire = descriptors.random(name, &mut dice);
            let json = descriptors.print(name, &wire, &mut dice).to_string();
            let back = protobuf(signal, &json);
            let back = back.unwrap_or_else(|error| panic!("{error} in {json}"));
            assert_eq!(canonical(signal, &wire), canonical(signal, &back), "{json}");
        }
    }

    #[test]
    fn no_input_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in any::<u16>(), seed in any::<u64>()) {
        let descriptors = Descriptors::load();
        let mut dice = Dice::new(seed);
        for signal in Signal::ALL {
            let _ = transcode(signal, &bytes, LIMITS);
            let name = schema::request(signal).name;
            let wire = descriptors.random(name, &mut dice);
            let mut json = descriptors.print(name, &wire, &mut dice).to_string().into_bytes();
            // A whole request cut short is an error wherever it is cut.
            json.truncate(usize::from(cut) % json.len());
            assert!(transcode(signal, &json, LIMITS).is_err());
            // One byte changed: whatever comes of it is an error or a message.
            if let Some(last) = json.last_mut() {
                *last = bytes.first().copied().unwrap_or(b'"');
            }
            if let Ok(t) = transcode(signal, &json, LIMITS) {
                canonical_unless_invalid_utf8(signal, &t.protobuf);
            }
        }
    }
}

fn canonical_unless_invalid_utf8(signal: Signal, wire: &[u8]) {
    if std::str::from_utf8(wire).is_ok() {
        canonical(signal, wire);
    }
}

fn shared(path: &str) -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared");
    let root = std::env::var_os("ORRERY_SHARED").map_or_else(|| PathBuf::from(default), PathBuf::from);
    let path = root.join(path);
    if !path.exists() {
        eprintln!("SKIPPED: {} is not there", path.display());
        return None;
    }
    Some(path)
}

#[test]
fn opentelemetrys_examples_decode_exactly() {
    let Some(folder) = shared("data/otlp") else { return };
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("example");
    let value = |v: &Option<opentelemetry_proto::tonic::common::v1::AnyValue>| v.clone().and_then(|v| v.value);

    let trace = spans(&read("trace.json"));
    let span = &trace.resource_spans[0].scope_spans[0].spans[0];
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(hex(&span.trace_id), "5b8efff798038103d269b633813fc60c");
    assert_eq!((hex(&span.span_id), hex(&span.parent_span_id)), ("eee19b7ec3c1b174".into(), "eee19b7ec3c1b173".into()));
    assert_eq!((span.name.as_str(), span.kind), ("I'm a server span", 2));
    assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 1_000_000_000);

    let wire = protobuf(Signal::Logs, &read("logs.json")).expect("logs");
    let logs = ExportLogsServiceRequest::decode(&*wire).expect("logs");
    let record = &logs.resource_logs[0].scope_logs[0].log_records[0];
    assert_eq!(value(&record.body), Some(Value::StringValue("Example log record".into())));
    assert_eq!(value(&record.attributes[1].value), Some(Value::BoolValue(true)));
    assert_eq!(value(&record.attributes[2].value), Some(Value::IntValue(10)));
    assert_eq!(value(&record.attributes[3].value), Some(Value::DoubleValue(637.704)));
    let Some(Value::ArrayValue(array)) = value(&record.attributes[4].value) else { panic!("an array") };
    assert_eq!(array.values.len(), 2);

    let wire = protobuf(Signal::Logs, &read("events.json")).expect("events");
    let events = ExportLogsServiceRequest::decode(&*wire).expect("events");
    let event = &events.resource_logs[0].scope_logs[0].log_records[0];
    let Some(Value::KvlistValue(body)) = value(&event.body) else { panic!("a kvlist") };
    assert_eq!((event.event_name.as_str(), body.values.len()), ("browser.page_view", 4));

    let wire = protobuf(Signal::Metrics, &read("metrics.json")).expect("metrics");
    let metrics = ExportMetricsServiceRequest::decode(&*wire).expect("metrics");
    let metrics = &metrics.resource_metrics[0].scope_metrics[0].metrics;
    let Some(metric::Data::Sum(sum)) = &metrics[0].data else { panic!("a sum") };
    assert_eq!((sum.is_monotonic, sum.aggregation_temporality), (true, 1));
    assert_eq!(sum.data_points[0].value, Some(number_data_point::Value::AsDouble(5.0)));
    let Some(metric::Data::Histogram(histogram)) = &metrics[2].data else { panic!("a histogram") };
    let point = &histogram.data_points[0];
    assert_eq!((point.count, point.min, &*point.bucket_counts), (2, Some(0.0), &[1, 1][..]));
    let Some(metric::Data::ExponentialHistogram(histogram)) = &metrics[3].data else { panic!("an exponential one") };
    let positive = histogram.data_points[0].positive.as_ref().expect("positive");
    assert_eq!((positive.offset, &*positive.bucket_counts), (1, &[0, 2][..]));
}

#[test]
fn every_trainticket_line_decodes_to_the_counts_known_beforehand() {
    let Some(folder) = shared("data/trainticket-2023-01-29") else { return };
    let expected: serde_json::Value =
        serde_json::from_reader(std::fs::File::open(folder.join("expected.json")).expect("expected")).expect("JSON");
    let mut counted = 0;
    for (signal, file) in [(Signal::Spans, "traces"), (Signal::Logs, "logs"), (Signal::Metrics, "metrics")] {
        let compressed = std::fs::File::open(folder.join(format!("{file}.jsonl.zst"))).expect("data");
        let mut lines = String::new();
        zstd::Decoder::new(compressed).expect("zstd").read_to_string(&mut lines).expect("text");
        let (mut records, mut nan) = (0, 0);
        for line in lines.lines() {
            let wire = protobuf(signal, line).expect("a good line");
            let counts = count(signal, &wire);
            records += counts.0;
            nan += counts.1;
        }
        counted += records;
        eprintln!("{file}: {records} records, {nan} NaN");
        if signal == Signal::Spans {
            assert_eq!(json!(records), expected["spans"]);
        }
        assert_eq!(nan, if signal == Signal::Metrics { 40_242 } else { 0 });
    }
    assert_eq!(counted, 321_068 + 172_722 + 803_206);
}

fn count(signal: Signal, wire: &[u8]) -> (usize, usize) {
    match signal {
        Signal::Spans => {
            let request = ExportTraceServiceRequest::decode(wire).expect("traces");
            (request.resource_spans.iter().flat_map(|r| &r.scope_spans).map(|s| s.spans.len()).sum(), 0)
        }
        Signal::Logs => {
            let request = ExportLogsServiceRequest::decode(wire).expect("logs");
            (request.resource_logs.iter().flat_map(|r| &r.scope_logs).map(|s| s.log_records.len()).sum(), 0)
        }
        Signal::Metrics => {
            let request = ExportMetricsServiceRequest::decode(wire).expect("metrics");
            let metrics = request.resource_metrics.iter().flat_map(|r| &r.scope_metrics).flat_map(|s| &s.metrics);
            let points: Vec<_> = metrics
                .filter_map(|m| match &m.data {
                    Some(metric::Data::Gauge(gauge)) => Some(&gauge.data_points),
                    _ => None,
                })
                .flatten()
                .collect();
            let is_nan = |p: &&&opentelemetry_proto::tonic::metrics::v1::NumberDataPoint| matches!(p.value, Some(number_data_point::Value::AsDouble(v)) if v.is_nan());
            (points.len(), points.iter().filter(is_nan).count())
        }
    }
}

/// A span's field in JSON, and the span that the request must hold.
#[test]
fn spellings_of_one_value_are_one_value() {
    let span = |fields: &str| {
        let json = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{fields}}}]}}]}}]}}"#);
        let mut request = spans(&json);
        request.resource_spans.remove(0).scope_spans.remove(0).spans.remove(0)
    };
    let same: &[(&str, &[&str])] = &[
        (
            r#""startTimeUnixNano":"1544712660000000000""#,
            &[r#""startTimeUnixNano":1544712660000000000"#, r#""startTimeUnixNano":1.54471266e18"#],
        ),
        (r#""kind":2"#, &[r#""kind":"SPAN_KIND_SERVER""#, r#""kind":"2""#, r#""kind": 2.0"#, "\"kind\"\t:\n2\r"]),
        (r#""traceId":"5b8efff798038103d269b633813fc60c""#, &[r#""traceId":"5B8EFFF798038103D269B633813FC60C""#]),
        (r#""name":"a/b""#, &[r#""name":"a\/b""#, r#""name":"\u0061/b""#]),
        (r#""name":"😀é""#, &[r#""name":"\ud83d\ude00\u00e9""#, r#""name":"\uD83D\uDE00é""#]),
        ("\"name\":\"x\u{FFFD}y\"", &[r#""name":"x\ud83dy""#, r#""name":"x\ude00y""#]),
        ("\"name\":\"x\u{FFFD}\u{FFFD}\"", &[r#""name":"x\ud83d\ud83d""#]),
        (
            "",
            &[
                r#""name":null,"kind":null,"attributes":null,"status":null,"startTimeUnixNano":null,"traceId":null"#,
                r#""name":"","kind":0,"attributes":[],"startTimeUnixNano":"0","flags":0,"traceId":"""#,
                r#""unknown":{"a":[1,2,{"b":"\"]}"}],"c":null},"other":[[],{}],"more":-1.5e-3"#,
                r#""trace_id":"00","startTimeunixNano":5"#,
            ],
        ),
        (
            r#""attributes":[{"key":"a","value":{"arrayValue":{"values":[{},{"intValue":"-1"}]}}}]"#,
            &[
                r#""attributes":[{"key":"a","value":{"arrayValue":{"values":[null,{"intValue":-1,"stringValue":null}]}}}, null]"#,
            ],
        ),
        (
            r#""attributes":[{"key":"a","value":{"bytesValue":"+/8="}}]"#,
            &[
                r#""attributes":[{"key":"a","value":{"bytesValue":"-_8"}}]"#,
                r#""attributes":[{"key":"a","value":{"bytesValue":"+/8"}}]"#,
            ],
        ),
        (r#""attributes":[{"key":"a","value":{"doubleValue":"-Infinity"}}]"#, &[]),
        (
            r#""attributes":[{"key":"a","value":{"doubleValue":1}}]"#,
            &[
                r#""attributes":[{"key":"a","value":{"doubleValue":"1.0"}}]"#,
                r#""attributes":[{"value":{"doubleValue":1e0},"key":"a"}]"#,
            ],
        ),
    ];
    for (one, others) in same {
        for other in *others {
            assert_eq!(span(one), span(other), "{one} and {other}");
        }
    }
    // Present and empty is not absent.
    assert_ne!(span(r#""attributes":[{"key":"a","value":{}}]"#), span(r#""attributes":[{"key":"a"}]"#));
    let values = span(
        r#""attributes":[{"key":"a","value":{"stringValue":""}},{"value":{"intValue":0}},{"value":{"boolValue":false}}]"#,
    );
    let values: Vec<_> = values.attributes.into_iter().map(|a| a.value.and_then(|v| v.value)).collect();
    assert_eq!(
        values,
        [Some(Value::StringValue(String::new())), Some(Value::IntValue(0)), Some(Value::BoolValue(false))]
    );
}

/// Records that can only be rejected reach the decoder as something that it rejects, and leave the others alone.
#[test]
fn absurd_times_and_odd_ids_spoil_only_their_own_record() {
    let span = |fields: &str| {
        let json = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{fields}}}]}}]}}]}}"#);
        spans(&json).resource_spans.remove(0).scope_spans.remove(0).spans.remove(0)
    };
    for absurd in ["-1", "\"-1\"", "-99999999999999999999999999999999999999999999999", "18446744073709551616", "1e300"]
    {
        let time = span(&format!(r#""endTimeUnixNano":{absurd}"#)).end_time_unix_nano;
        assert!(time >= 1 << 63, "{absurd} became {time}");
    }
    for digits in [1, 2, 15, 17, 31, 33, 64] {
        let length = span(&format!(r#""traceId":"{}""#, "a".repeat(digits))).trace_id.len();
        assert!(![0, 8, 16].contains(&length), "{digits} digits became {length} bytes");
    }
}

#[test]
fn errors_say_what_is_wrong_and_where() {
    let at_span = |span: &str| format!("{{\"resourceSpans\":[{{}},\n{{\"scopeSpans\":[{{\"spans\":[{span}]}}]}}]}}");
    let cases: &[(String, &str)] = &[
        (String::new(), "expected `{`, found the end of the request (line 1, column 1)"),
        ("[]".into(), "expected `{`, found an array (line 1, column 1)"),
        ("{} x".into(), "expected the end of the request, found `x` (line 1, column 4)"),
        ("{\"resourceSpans\":{}}".into(), "resourceSpans: expected `[`, found an object (line 1, column 18)"),
        ("{\"resourceSpans\":[7]}".into(), "resourceSpans[0]: expected `{`, found a number (line 1, column 19)"),
        ("{\"a\":nul}".into(), "expected a JSON value (line 1, column 6)"),
        ("{\"a\":[1}".into(), "expected `,` or `]`, found `}` (line 1, column 8)"),
        ("{\"a\" 1}".into(), "expected `:`, found a number (line 1, column 6)"),
        ("{'a':1}".into(), "expected a field name, found `'` (line 1, column 2)"),
        ("{\"a\":\"".into(), "the request ends within a string (line 1, column 7)"),
        ("{\"a\":\u{7}}".into(), "expected a value, found the byte 0x07 (line 1, column 6)"),
        (
            at_span("{\"kind\":\"SERVER\"}"),
            "resourceSpans[1].scopeSpans[0].spans[0].kind: \"SERVER\" is not one of SPAN_KIND_* (line 2, column 34)",
        ),
        (
            at_span("{\"traceId\":\"W47/95gDgQPSabYzgT/GDA==\"}"),
            "resourceSpans[1].scopeSpans[0].spans[0].traceId: \"W47/95gDgQPSabYzgT/GDA==\" is not hex; OTLP/JSON writes \
             trace and span ids in hex, not in base64 (line 2, column 37)",
        ),
        (
            at_span("{\"startTimeUnixNano\":\"2026-01-01T00:00:00Z\"}"),
            "resourceSpans[1].scopeSpans[0].spans[0].startTimeUnixNano: expected an integer, found \
             \"2026-01-01T00:00:00Z\" (line 2, column 47)",
        ),
        (
            at_span("{\"flags\":-1}"),
            "resourceSpans[1].scopeSpans[0].spans[0].flags: -1 does not fit in an unsigned 32-bit integer (line 2, column 35)",
        ),
        (
            at_span("{\"droppedAttributesCount\":1.5}"),
            "resourceSpans[1].scopeSpans[0].spans[0].droppedAttributesCount: expected an integer, found \"1.5\" \
             (line 2, column 52)",
        ),
        (
            at_span("{\"attributes\":[{\"key\":\"a\",\"value\":{\"doubleValue\":NaN}}]}"),
            "resourceSpans[1].scopeSpans[0].spans[0].attributes[0].value.doubleValue: expected a number, found `N` \
             (line 2, column 75)",
        ),
        (
            at_span("{\"attributes\":[{\"value\":{\"intValue\":1,\"boolValue\":true}}]}"),
            "resourceSpans[1].scopeSpans[0].spans[0].attributes[0].value: \"boolValue\" is there beside another value \
             (line 2, column 64)",
        ),
        (
            at_span("{\"name\":\"a\",\"name\":\"b\"}"),
            "resourceSpans[1].scopeSpans[0].spans[0]: \"name\" is there twice (line 2, column 38)",
        ),
        (
            at_span("{\"name\":\"\\x\"}"),
            "resourceSpans[1].scopeSpans[0].spans[0].name: unknown escape in a string (line 2, column 35)",
        ),
    ];
    for (json, error) in cases {
        assert_eq!(protobuf(Signal::Spans, json).expect_err(json), *error, "{json}");
    }
}

#[test]
fn a_field_in_another_spelling_is_ignored_aloud() {
    let transcoded = transcode(Signal::Spans, br#"{"resource_spans":[]}"#, LIMITS).expect("ignored");
    let warning = "\"resource_spans\" is no field of ExportTraceServiceRequest in OTLP/JSON and was ignored; it is spelled \
                   \"resourceSpans\"";
    assert_eq!(transcoded.warning.as_deref(), Some(warning));
    assert_eq!(transcode(Signal::Spans, br#"{"x_spans":[]}"#, LIMITS).expect("ignored").warning, None);
}

/// 10,000 levels neither overflow the stack nor end the request: what lies too deep is left out, and what is left is
/// deeper than the decoder takes.
#[test]
fn deep_values_are_cut_below_the_limit() {
    for (open, close) in [(r#"{"arrayValue":{"values":["#, "]}}"), (r#"{"kvlistValue":{"values":[{"value":"#, "}]}}")] {
        let value = format!("{}{{}}{}", open.repeat(10_000), close.repeat(10_000));
        let json = format!(
            r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"attributes":[{{"key":"deep","value":{value}}}]}},{{"name":"good"}}]}}]}}]}}"#
        );
        let limits = JsonLimits { value_depth: 20, ..LIMITS };
        let wire = transcode(Signal::Spans, json.as_bytes(), limits).expect("cut").protobuf;
        let request = ExportTraceServiceRequest::decode(&*wire).expect("shallow enough for prost");
        let spans = &request.resource_spans[0].scope_spans[0].spans;
        let mut depth = 0;
        let mut value = spans[0].attributes[0].value.clone();
        while let Some(inner) = value {
            depth += 1;
            value = match inner.value {
                Some(Value::ArrayValue(mut a)) => a.values.pop(),
                Some(Value::KvlistValue(mut l)) => l.values.pop().and_then(|kv| kv.value),
                _ => None,
            };
        }
        assert_eq!((depth, spans[1].name.as_str()), (21, "good"));
    }
    // The same in a field that nobody knows, and unbalanced.
    let unknown = |close: &str| format!("{{\"x\":{}{}}}", "[".repeat(100_000), close.repeat(100_000));
    assert_eq!(protobuf(Signal::Logs, &unknown("]")), Ok(Vec::new()));
    assert!(protobuf(Signal::Logs, &unknown("}")).is_err());
}

#[test]
fn what_grows_beyond_the_limit_is_too_large() {
    let counts = vec!["1"; 10_000].join(",");
    let json = format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"histogram":{{"dataPoints":[{{"bucketCounts":[{counts}]}}]}}}}]}}]}}]}}"#
    );
    assert!(transcode(Signal::Metrics, json.as_bytes(), LIMITS).expect("fits").protobuf.len() > 80_000);
    let error = transcode(Signal::Metrics, json.as_bytes(), JsonLimits { bytes: json.len(), ..LIMITS })
        .expect_err("four times");
    assert!(error.too_large, "{error}");
}
