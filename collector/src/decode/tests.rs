//! What rows a request becomes, and what is rejected. The round trip over everything OTLP has is in
//! `tests/round_trip.rs`.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampNanosecondType};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric::Data,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use orrery_model::Signal;
use prost::Message;

use super::{Cardinality, DecodeError, DecodeLimits, Decoded, Reason, decode, decode_for};

const RECEIVED_NS: i64 = 1_700_000_000_000_000_000;

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn span(name: &str) -> Span {
    Span {
        trace_id: vec![0xab; 16],
        span_id: vec![0x01; 8],
        name: name.to_owned(),
        kind: 2,
        start_time_unix_nano: 10,
        end_time_unix_nano: 25,
        ..Span::default()
    }
}

fn request(resource: Vec<KeyValue>, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let resource = Resource { attributes: resource, ..Resource::default() };
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }],
    }
}

fn decode_spans(request: &ExportTraceServiceRequest) -> Decoded {
    decode(Signal::Spans, &request.encode_to_vec(), RECEIVED_NS, &DecodeLimits::default()).unwrap()
}

/// A text column as words, `-` for NULL.
fn column(batch: &RecordBatch, name: &str) -> Vec<String> {
    let strings = batch.column_by_name(name).unwrap().as_string::<i32>();
    strings.iter().map(|s| s.unwrap_or("-").to_owned()).collect()
}

/// A map column as `key=value` entries.
fn map(batch: &RecordBatch, name: &str, row: usize) -> String {
    let entries = batch.column_by_name(name).unwrap().as_map().value(row);
    let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_string::<i32>());
    let entries: Vec<_> =
        keys.iter().zip(values).map(|(k, v)| format!("{}={}", k.unwrap(), v.unwrap_or("NULL"))).collect();
    entries.join(" ")
}

#[test]
fn a_span_becomes_a_row() {
    let mut first = span("GET /");
    first.attributes = vec![
        text("http.route", "/a"),
        attribute("http.response.status_code", Value::IntValue(200)),
        text("other", "x"),
        attribute("n", Value::IntValue(-7)),
    ];
    let mut second = span("untimed");
    (second.start_time_unix_nano, second.end_time_unix_nano) = (0, 0);
    second.attributes = vec![text("http.response.status_code", "ok"), attribute("d", Value::DoubleValue(1.0))];
    let decoded = decode_spans(&request(vec![text("service.name", "cart"), text("x", "y")], vec![first, second]));
    let batch = &decoded.batch;
    assert_eq!(batch.num_rows(), 2);
    assert_eq!((decoded.rejected, decoded.untimed), (0, true));
    assert!(decoded.accepted_body.is_none());
    assert_eq!(column(batch, "trace_id"), ["ab".repeat(16), "ab".repeat(16)]);
    assert_eq!(column(batch, "span_id"), ["01".repeat(8), "01".repeat(8)]);
    assert_eq!(column(batch, "parent_span_id"), ["-", "-"]);
    assert_eq!(column(batch, "kind"), ["SERVER", "SERVER"]);
    assert_eq!(column(batch, "time_source"), ["sent", "received"]);
    assert_eq!(column(batch, "service_name"), ["cart", "cart"]);
    assert_eq!(column(batch, "attributes.http.route"), ["/a", "-"]);
    let times = batch.column_by_name("timestamp").unwrap().as_primitive::<TimestampNanosecondType>();
    assert_eq!(times.values().as_ref(), [10, RECEIVED_NS]);
    let durations = batch.column_by_name("duration_ns").unwrap().as_primitive::<Int64Type>();
    assert_eq!((durations.value(0), durations.is_null(1)), (15, true));
    let codes = batch.column_by_name("attributes.http.response.status_code").unwrap().as_primitive::<Int64Type>();
    assert_eq!((codes.value(0), codes.is_null(1)), (200, true));
    assert_eq!(map(batch, "other_attributes", 0), "other=x n=-7");
    assert_eq!(map(batch, "other_attribute_types", 0), "n=int");
    assert_eq!(map(batch, "other_attributes", 1), "http.response.status_code=ok d=1.0");
    assert_eq!(map(batch, "other_resource_attributes", 1), "x=y");
}

#[test]
fn the_last_of_duplicate_keys_wins() {
    let mut one = span("a");
    one.attributes = vec![text("k", "1"), text("http.route", "/1"), text("k", "2"), text("http.route", "/2")];
    one.attributes.extend([attribute("http.status_code", Value::IntValue(1)), text("http.status_code", "x")]);
    let mut many = span("b");
    many.attributes = (0..200).map(|i| text(&format!("k{}", i % 100), &i.to_string())).collect();
    let decoded = decode_spans(&request(vec![text("r", "1"), text("r", "2")], vec![one, many]));
    assert_eq!(decoded.duplicate_keys, 3 + 100 + 1);
    assert_eq!(map(&decoded.batch, "other_attributes", 0), "k=2 http.status_code=x");
    assert_eq!(column(&decoded.batch, "attributes.http.route"), ["/2", "-"]);
    assert!(map(&decoded.batch, "other_attributes", 1).starts_with("k0=100 k1=101 "));
    assert_eq!(map(&decoded.batch, "other_resource_attributes", 0), "r=2");
}

#[test]
fn a_record_that_cannot_be_stored_is_rejected_alone() {
    let nested = (0..70).fold(Value::IntValue(1), |inner, _| {
        Value::ArrayValue(ArrayValue { values: vec![AnyValue { value: Some(inner) }] })
    });
    type Spoil = fn(&mut Span);
    let cases: [(&str, Spoil); 5] = [
        ("trace_id has 3 bytes, not 16", |s| s.trace_id = vec![1; 3]),
        ("the span_id of a link has 9 bytes, not 8", |s| {
            s.links
                .push(opentelemetry_proto::tonic::trace::v1::span::Link { span_id: vec![1; 9], ..Default::default() });
        }),
        ("start_time_unix_nano is 2^63 ns or later", |s| s.start_time_unix_nano = 1 << 63),
        ("more than 1024 attributes in one set", |s| {
            s.attributes.extend((0..1025).map(|i| text(&i.to_string(), "")));
        }),
        ("a string is not valid UTF-8", |s| s.name = "NOT-UTF-8".to_owned()),
    ];
    let mut bad: Vec<(&str, Span)> = cases
        .iter()
        .map(|(reason, change)| {
            (*reason, {
                let mut bad = span("bad");
                bad.attributes = vec![text("http.route", "/bad"), text("x", "bad")];
                change(&mut bad);
                bad
            })
        })
        .collect();
    let mut deep = span("bad");
    deep.attributes = vec![text("x", "bad"), attribute("deep", nested)];
    bad.push(("an attribute value is nested deeper than 64 levels", deep));
    for (reason, bad) in bad {
        let mut good = [span("one"), span("two")];
        good[1].attributes = vec![text("http.route", "/good"), text("x", "good")];
        let spans = vec![good[0].clone(), bad, good[1].clone()];
        let mut body = request(vec![text("service.name", "cart")], spans).encode_to_vec();
        if let Some(at) = body.windows(9).position(|w| w == b"NOT-UTF-8") {
            body[at] = 0xff;
        }
        let decoded = decode(Signal::Spans, &body, RECEIVED_NS, &DecodeLimits::default()).unwrap();
        assert_eq!(decoded.rejected, 1, "{reason}");
        assert_eq!(decoded.reject_message.unwrap(), format!("1 spans rejected, the first since {reason}"));
        let accepted = decoded.accepted_body.unwrap();
        let kept = request(vec![text("service.name", "cart")], good.to_vec());
        assert_eq!(ExportTraceServiceRequest::decode(&accepted[..]).unwrap(), kept, "{reason}");
        assert_eq!(decode_spans(&kept).batch, decoded.batch, "{reason}");
    }
}

#[test]
fn garbage_is_an_error_with_its_place() {
    let whole = request(vec![text("service.name", "cart")], vec![span("one")]).encode_to_vec();
    for end in 1..whole.len() {
        let result = decode(Signal::Spans, &whole[..end], RECEIVED_NS, &DecodeLimits::default());
        assert!(matches!(result, Err(DecodeError::Malformed { offset, .. }) if offset <= end), "cut at {end}");
    }
    let result = decode(Signal::Logs, b"hello, world", RECEIVED_NS, &DecodeLimits::default());
    assert_eq!(result.unwrap_err().to_string(), "malformed OTLP protobuf at byte 3: end of a group that did not begin");
}

#[test]
fn a_repeated_resource_is_merged_as_protobuf_merges() {
    let group = request(vec![text("service.name", "cart")], vec![span("one")]).resource_spans[0].encode_to_vec();
    let second = ResourceSpans {
        resource: Some(Resource { attributes: vec![text("x", "y")], ..Resource::default() }),
        ..ResourceSpans::default()
    };
    let joined = [group, second.encode_to_vec()].concat();
    let mut bytes = vec![0x0a];
    prost::encoding::encode_varint(joined.len() as u64, &mut bytes);
    bytes.extend(joined);
    let decoded = decode(Signal::Spans, &bytes, RECEIVED_NS, &DecodeLimits::default()).unwrap();
    assert_eq!(column(&decoded.batch, "service_name"), ["cart"]);
    assert_eq!(map(&decoded.batch, "other_resource_attributes", 0), "x=y");
}

#[test]
fn log_times_fall_back_to_the_observed_one() {
    let record =
        |time, observed| LogRecord { time_unix_nano: time, observed_time_unix_nano: observed, ..LogRecord::default() };
    let log_records = vec![record(1, 2), record(0, 2), record(0, 0)];
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let body = ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] };
    let decoded = decode(Signal::Logs, &body.encode_to_vec(), RECEIVED_NS, &DecodeLimits::default()).unwrap();
    assert_eq!(column(&decoded.batch, "time_source"), ["sent", "observed", "received"]);
    assert_eq!(column(&decoded.batch, "service_name"), ["unknown_service"; 3]);
}

/// The series ids of a metric whose points have the given attributes.
fn series_ids(
    resource: Vec<KeyValue>,
    scope: Option<InstrumentationScope>,
    name: &str,
    unit: &str,
    temporality: Option<i32>,
    points: Vec<Vec<KeyValue>>,
) -> Vec<String> {
    let data_points =
        points.into_iter().map(|attributes| NumberDataPoint { attributes, ..Default::default() }).collect();
    let data = match temporality {
        None => Data::Gauge(Gauge { data_points }),
        Some(aggregation_temporality) => Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic: true }),
    };
    let metric = Metric { name: name.to_owned(), unit: unit.to_owned(), data: Some(data), ..Metric::default() };
    let group = ResourceMetrics {
        resource: Some(Resource { attributes: resource, ..Resource::default() }),
        scope_metrics: vec![ScopeMetrics { scope, metrics: vec![metric], ..ScopeMetrics::default() }],
        ..ResourceMetrics::default()
    };
    let body = ExportMetricsServiceRequest { resource_metrics: vec![group] }.encode_to_vec();
    column(&decode(Signal::Metrics, &body, RECEIVED_NS, &DecodeLimits::default()).unwrap().batch, "series_id")
}

/// The vectors of storage/FORMAT.md. They never change: the ids are stored.
#[test]
fn series_ids_are_those_of_the_format() {
    assert_eq!(series_ids(vec![], None, "", "", None, vec![vec![]]), ["3ab71df4abe1e12c2084952a8bf36ca7"]);
    let scope = InstrumentationScope { name: "meter".to_owned(), version: "1.2".to_owned(), ..Default::default() };
    let point = vec![
        text("state", "idle"),
        attribute("cpu", Value::IntValue(3)),
        attribute("load", Value::DoubleValue(1.0)),
        attribute("on", Value::BoolValue(true)),
        attribute("raw", Value::BytesValue(vec![1, 2])),
        KeyValue { key: "none".to_owned(), value: None, key_strindex: 0 },
    ];
    let mut turned = point.clone();
    turned.reverse();
    turned.insert(0, text("cpu", "overridden by the later one"));
    let resource = || vec![text("service.name", "cart")];
    let ids = series_ids(resource(), Some(scope), "system.cpu.time", "s", Some(2), vec![point, turned]);
    assert_eq!(ids, ["33427e9b806d18aae47c22aaa91ba570"; 2]);
}

/// The same encoding, built by hand.
#[test]
fn a_series_id_is_the_hash_of_its_encoding() {
    fn string(text: &str) -> Vec<u8> {
        [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
    }
    let hash = |parts: &[&[u8]]| xxhash_rust::xxh3::xxh3_128(&parts.concat()).to_be_bytes();
    let resource = hash(&[&string("service.name"), &[1], &string("cart")]);
    let scope = hash(&[&string("meter"), &string(""), &hash(&[])]);
    let metric = hash(&[&[1], &resource, &scope, &string("up"), &string("SUM"), &string("1"), &string("DELTA")]);
    let series = hash(&[&metric, &string("a"), &[3], &string("-5"), &string("b"), &[6], &string("[1,2.0]")]);
    let array = [Value::IntValue(1), Value::DoubleValue(2.0)].map(|value| AnyValue { value: Some(value) });
    let point = vec![
        attribute("b", Value::ArrayValue(ArrayValue { values: array.to_vec() })),
        attribute("a", Value::IntValue(-5)),
    ];
    let meter = InstrumentationScope { name: "meter".to_owned(), ..InstrumentationScope::default() };
    let ids = series_ids(vec![text("service.name", "cart")], Some(meter), "up", "1", Some(1), vec![point]);
    assert_eq!(ids, [format!("{:032x}", u128::from_be_bytes(series))]);
}

/// A message field of protobuf.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    prost::encoding::encode_varint(value.len() as u64, &mut out);
    out.extend_from_slice(value);
    out
}

#[test]
fn hostile_requests_are_refused_at_little_cost() {
    // 10,000 arrays within each other, too deep for prost to encode.
    let any = (0..10_000).fold(vec![0x10, 1], |inner, _| field(5, &field(1, &inner)));
    let deep = field(9, &[field(1, b"deep"), field(2, &any)].concat());
    let million = field(9, &field(1, b"k")).repeat(1_000_000);
    let cases = [(deep, "nested deeper than 64 levels"), (million, "more than 1024 attributes in one set")];
    for (attributes, reason) in cases {
        let body = field(1, &field(2, &[field(2, &attributes), field(2, &span("good").encode_to_vec())].concat()));
        let decoded = decode(Signal::Spans, &body, RECEIVED_NS, &DecodeLimits::default()).unwrap();
        assert!(decoded.reject_message.unwrap().contains(reason));
        assert_eq!(column(&decoded.batch, "name"), ["good"]);
        let accepted = ExportTraceServiceRequest::decode(&decoded.accepted_body.unwrap()[..]).unwrap();
        assert_eq!(accepted.resource_spans[0].scope_spans[0].spans, [span("good")]);
    }
    // A large resource over very many tiny spans.
    let resource = field(1, &field(1, &[field(1, b"large"), field(2, &field(1, &[b'x'; 1 << 20]))].concat()));
    let body = field(1, &[resource, field(2, &field(2, b"").repeat(1_000))].concat());
    let result = decode(Signal::Spans, &body, RECEIVED_NS, &DecodeLimits::default());
    assert!(matches!(result, Err(DecodeError::TooLarge { .. })), "{result:?}");
}

#[test]
fn a_resource_that_cannot_be_stored_takes_its_records_along() {
    let mut body = request(vec![text("bad", "NOT-UTF-8")], vec![span("a"), span("b")]);
    let good = request(vec![text("service.name", "cart")], vec![span("c")]);
    body.resource_spans.extend(good.resource_spans.clone());
    let mut body = body.encode_to_vec();
    let at = body.windows(9).position(|w| w == b"NOT-UTF-8").unwrap();
    body[at] = 0xff;
    let decoded = decode(Signal::Spans, &body, RECEIVED_NS, &DecodeLimits::default()).unwrap();
    assert_eq!(decoded.reject_message.unwrap(), "2 spans rejected, the first since a string is not valid UTF-8");
    assert_eq!(decoded.accepted_body.unwrap(), good.encode_to_vec());
    assert_eq!(column(&decoded.batch, "name"), ["c"]);
}

/// What was rejected, by the words of the reasons.
fn rejections(decoded: &Decoded) -> Vec<(&'static str, u64)> {
    Reason::WORDS.into_iter().zip(decoded.rejections).filter(|(_, records)| *records > 0).collect()
}

#[test]
fn a_request_touches_so_many_hours_and_what_lies_in_others_is_rejected() {
    const HOUR_NS: u64 = 3_600_000_000_000;
    let at = |hour: u64, ns: u64| Span { start_time_unix_nano: hour * HOUR_NS + ns, ..span(&format!("{hour}")) };
    // The last two lie in hours that were touched, one of them long ago.
    let spans = vec![at(5, 0), at(900_000, 7), at(6, 1), at(7, 0), at(5, HOUR_NS - 1), at(900_000, 8)];
    let limits = DecodeLimits { hours: 3, ..DecodeLimits::default() };
    let body = request(vec![], spans.clone());
    let decoded = decode(Signal::Spans, &body.encode_to_vec(), RECEIVED_NS, &limits).unwrap();
    assert_eq!(column(&decoded.batch, "name"), ["5", "900000", "6", "5", "900000"]);
    let message = "1 spans rejected, the first since the times of one request lie in more than 3 different hours";
    assert_eq!(decoded.reject_message.as_deref(), Some(message));
    assert_eq!(rejections(&decoded), [("hours", 1)]);
    let kept = spans.into_iter().filter(|span| span.name != "7").collect();
    assert_eq!(decoded.accepted_body.unwrap(), request(vec![], kept).encode_to_vec());
    assert_eq!(decode_spans(&body).rejected, 0);
}

#[test]
fn a_tenant_sends_so_many_attribute_keys_and_records_with_others_are_rejected() {
    let tenant = Cardinality::new(3, 10);
    let decode = |resource: Vec<KeyValue>, keys: &[&str]| {
        let attributes = |key: &&str| vec![text("http.route", "/"), text(key, "v")];
        let spans = keys.iter().map(|key| Span { attributes: attributes(key), ..span(key) }).collect();
        let body = request(resource, spans).encode_to_vec();
        decode_for(Some(&tenant), Signal::Spans, &body, RECEIVED_NS, &DecodeLimits::default()).unwrap()
    };
    // Promoted keys are columns, and cost nothing.
    let decoded = decode(vec![text("service.name", "cart"), text("zone", "a")], &["k1", "k2", "k3", "k1"]);
    assert_eq!(column(&decoded.batch, "name"), ["k1", "k2", "k1"]);
    let message = "1 spans rejected, the first since more than 3 different attribute keys are being sent";
    assert_eq!(decoded.reject_message.as_deref(), Some(message));
    assert_eq!((rejections(&decoded), tenant.keys()), (vec![("keys", 1)], 3));
    assert_eq!(decode(vec![text("zone", "b")], &["k2"]).rejected, 0);
    // A resource with a key too many takes its records along.
    assert_eq!(rejections(&decode(vec![text("rack", "7")], &["k1", "k2"])), [("keys", 2)]);
}

#[test]
fn a_tenant_sends_so_many_series_and_points_of_others_are_rejected() {
    let tenant = Cardinality::new(10, 2);
    let points = |names: &[&str]| {
        let point = |name: &&str| NumberDataPoint { attributes: vec![text("pod", name)], ..NumberDataPoint::default() };
        let gauge = Gauge { data_points: names.iter().map(point).collect() };
        let metric = Metric { name: "load".to_owned(), data: Some(Data::Gauge(gauge)), ..Metric::default() };
        let scope_metrics = vec![ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() }];
        let resource_metrics = vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }];
        let body = ExportMetricsServiceRequest { resource_metrics }.encode_to_vec();
        decode_for(Some(&tenant), Signal::Metrics, &body, RECEIVED_NS, &DecodeLimits::default()).unwrap()
    };
    let decoded = points(&["a", "b", "a", "c", "d"]);
    assert_eq!((decoded.batch.num_rows(), decoded.rejected, tenant.series()), (3, 2, 2));
    let message = "2 data points rejected, the first since more than 2 different series are being sent";
    assert_eq!(decoded.reject_message.as_deref(), Some(message));
    assert_eq!(rejections(&decoded), [("series", 2)]);
    assert_eq!(points(&["b", "a"]).rejected, 0);
}
