//! Arbitrary OTLP: every field, promoted and other keys, every type of value, absent and empty, unknown enum numbers,
//! duplicates, and damage to the bytes.

use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest,
};
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList, any_value::Value,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar, metric::Data,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use orrery_model::PROMOTED;
use orrery_model::attribute::{OLD_DEPLOYMENT_ENVIRONMENT, UNKNOWN_SERVICE};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z.]{0,12}",
        2 => vec(any::<char>(), 0..8).prop_map(|chars| chars.into_iter().collect()),
        1 => Just(UNKNOWN_SERVICE.to_owned()),
        1 => prop_oneof![Just("{}"), Just("NaN"), Just("\"\\\u{0}\n"), Just("null"), Just("prod")].prop_map(str::to_owned),
    ]
}

fn key() -> impl Strategy<Value = String> {
    let known = prop::sample::select(PROMOTED).prop_map(|promoted| promoted.key.to_owned());
    let special = prop_oneof![
        Just(OLD_DEPLOYMENT_ENVIRONMENT),
        Just("deployment.environment.name"),
        Just("service.name"),
        Just("bytesValue"),
        Just("doubleValue"),
        Just("kvlistValue"),
        Just("values"),
        Just("a"),
    ];
    prop_oneof![4 => known, 2 => special.prop_map(str::to_owned), 2 => text()]
}

fn double() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => any::<f64>(),
        1 => any::<u64>().prop_map(f64::from_bits),
        2 => any::<i32>().prop_map(f64::from),
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(-0.0), Just(1e300), Just(5e-324)],
    ]
}

fn any_value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        4 => text().prop_map(|text| Some(Value::StringValue(text))),
        1 => any::<bool>().prop_map(|value| Some(Value::BoolValue(value))),
        2 => any::<i64>().prop_map(|value| Some(Value::IntValue(value))),
        2 => double().prop_map(|value| Some(Value::DoubleValue(value))),
        1 => vec(any::<u8>(), 0..9).prop_map(|bytes| Some(Value::BytesValue(bytes))),
        1 => any::<i32>().prop_map(|index| Some(Value::StringValueStrindex(index))),
        1 => Just(None),
    ];
    leaf.prop_map(|value| AnyValue { value }).prop_recursive(4, 12, 4, |inner| {
        let entry = (key(), option::weighted(0.9, inner.clone()));
        prop_oneof![
            vec(inner, 0..4).prop_map(|values| Value::ArrayValue(ArrayValue { values })),
            vec(entry.prop_map(|(key, value)| KeyValue { key, value, key_strindex: 0 }), 0..4)
                .prop_map(|values| Value::KvlistValue(KeyValueList { values })),
        ]
        .prop_map(|value| AnyValue { value: Some(value) })
    })
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let value = || {
        prop_oneof![
            2 => option::weighted(0.9, any_value()),
            1 => any::<i64>().prop_map(|value| Some(AnyValue { value: Some(Value::IntValue(value)) })),
            2 => text().prop_map(|text| Some(AnyValue { value: Some(Value::StringValue(text)) })),
        ]
    };
    let attribute =
        || {
            (key(), value(), prop_oneof![9 => Just(0), 1 => any::<i32>()])
                .prop_map(|(key, value, key_strindex)| KeyValue { key, value, key_strindex })
        };
    prop_oneof![9 => vec(attribute(), 0..8), 1 => vec(attribute(), 30..50)]
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![2 => Just(0), 1 => Just(1), 5 => 1_600_000_000_000_000_000_u64..1_800_000_000_000_000_000, 1 => 0..1_u64 << 63]
}

fn id(length: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![1 => Just(Vec::new()), 1 => Just(vec![0; length]), 4 => vec(any::<u8>(), length)]
}

fn count() -> impl Strategy<Value = u32> {
    prop_oneof![2 => Just(0), 1 => any::<u32>()]
}

fn enumeration(known: i32) -> impl Strategy<Value = i32> {
    prop_oneof![5 => 0..known, 1 => any::<i32>()]
}

prop_compose! {
    fn entity_ref()(
        schema_url in text(), r#type in text(), id_keys in vec(text(), 0..3), description_keys in vec(text(), 0..3),
    ) -> EntityRef {
        EntityRef { schema_url, r#type, id_keys, description_keys }
    }
}

prop_compose! {
    fn resource()(
        attributes in attributes(), dropped_attributes_count in count(), entity_refs in vec(entity_ref(), 0..3),
    ) -> Resource {
        Resource { attributes, dropped_attributes_count, entity_refs }
    }
}

prop_compose! {
    fn scope()(
        name in text(), version in text(), attributes in attributes(), dropped_attributes_count in count(),
    ) -> InstrumentationScope {
        InstrumentationScope { name, version, attributes, dropped_attributes_count }
    }
}

prop_compose! {
    fn event()(
        time_unix_nano in time(), name in text(), attributes in attributes(), dropped_attributes_count in count(),
    ) -> Event {
        Event { time_unix_nano, name, attributes, dropped_attributes_count }
    }
}

prop_compose! {
    fn link()(
        trace_id in id(16), span_id in id(8), trace_state in text(), attributes in attributes(),
        dropped_attributes_count in count(), flags in count(),
    ) -> Link {
        Link { trace_id, span_id, trace_state, attributes, dropped_attributes_count, flags }
    }
}

prop_compose! {
    fn span()(
        ids in (id(16), id(8), id(8)),
        texts in (text(), text()),
        numbers in (count(), enumeration(6), count(), count(), count()),
        times in (time(), time()),
        attributes in attributes(),
        events in vec(event(), 0..3),
        links in vec(link(), 0..3),
        status in option::of((text(), enumeration(3))),
    ) -> Span {
        Span {
            trace_id: ids.0,
            span_id: ids.1,
            trace_state: texts.0,
            parent_span_id: ids.2,
            flags: numbers.0,
            name: texts.1,
            kind: numbers.1,
            start_time_unix_nano: times.0,
            end_time_unix_nano: times.1,
            attributes,
            dropped_attributes_count: numbers.2,
            events,
            dropped_events_count: numbers.3,
            links,
            dropped_links_count: numbers.4,
            status: status.map(|(message, code)| Status { message, code }),
        }
    }
}

prop_compose! {
    fn log_record()(
        times in (time(), time()),
        severity_number in enumeration(25),
        texts in (text(), text()),
        body in option::of(any_value()),
        attributes in attributes(),
        numbers in (count(), count()),
        trace_id in id(16),
        span_id in id(8),
    ) -> LogRecord {
        LogRecord {
            time_unix_nano: times.0,
            observed_time_unix_nano: times.1,
            severity_number,
            severity_text: texts.0,
            body,
            attributes,
            dropped_attributes_count: numbers.0,
            flags: numbers.1,
            trace_id,
            span_id,
            event_name: texts.1,
        }
    }
}

prop_compose! {
    fn exemplar()(
        filtered_attributes in attributes(), time_unix_nano in time(), span_id in id(8), trace_id in id(16),
        value in option::of(prop_oneof![
            double().prop_map(exemplar::Value::AsDouble), any::<i64>().prop_map(exemplar::Value::AsInt),
        ]),
    ) -> Exemplar {
        Exemplar { filtered_attributes, time_unix_nano, span_id, trace_id, value }
    }
}

/// What all points have: attributes, start, time, flags.
fn point() -> impl Strategy<Value = (Vec<KeyValue>, u64, u64, u32)> {
    (attributes(), time(), time(), count())
}

prop_compose! {
    fn number()(
        (attributes, start_time_unix_nano, time_unix_nano, flags) in point(),
        exemplars in vec(exemplar(), 0..3),
        value in option::of(prop_oneof![
            double().prop_map(number_data_point::Value::AsDouble), any::<i64>().prop_map(number_data_point::Value::AsInt),
        ]),
    ) -> NumberDataPoint {
        NumberDataPoint { attributes, start_time_unix_nano, time_unix_nano, exemplars, flags, value }
    }
}

prop_compose! {
    fn histogram()(
        (attributes, start_time_unix_nano, time_unix_nano, flags) in point(),
        exemplars in vec(exemplar(), 0..3),
        count in any::<u64>(),
        (sum, min, max) in (option::of(double()), option::of(double()), option::of(double())),
        bucket_counts in vec(any::<u64>(), 0..5),
        explicit_bounds in vec(double(), 0..5),
    ) -> HistogramDataPoint {
        HistogramDataPoint {
            attributes, start_time_unix_nano, time_unix_nano, count, sum, bucket_counts, explicit_bounds, exemplars, flags,
            min, max,
        }
    }
}

prop_compose! {
    fn buckets()(offset in any::<i32>(), bucket_counts in vec(any::<u64>(), 0..5)) -> Buckets {
        Buckets { offset, bucket_counts }
    }
}

prop_compose! {
    fn exponential_histogram()(
        (attributes, start_time_unix_nano, time_unix_nano, flags) in point(),
        exemplars in vec(exemplar(), 0..3),
        (count, zero_count) in (any::<u64>(), any::<u64>()),
        (sum, min, max) in (option::of(double()), option::of(double()), option::of(double())),
        scale in any::<i32>(),
        (positive, negative) in (option::of(buckets()), option::of(buckets())),
        zero_threshold in any::<f64>().prop_filter("protobuf drops the sign of a zero", |d| *d != 0.0 || d.is_sign_positive()),
    ) -> ExponentialHistogramDataPoint {
        ExponentialHistogramDataPoint {
            attributes, start_time_unix_nano, time_unix_nano, count, sum, scale, zero_count, positive, negative, flags,
            exemplars, min, max, zero_threshold,
        }
    }
}

prop_compose! {
    fn summary()(
        (attributes, start_time_unix_nano, time_unix_nano, flags) in point(),
        count in any::<u64>(),
        sum in any::<i32>().prop_map(f64::from),
        quantile_values in vec((0..100_i32, any::<i32>()).prop_map(|(quantile, value)| ValueAtQuantile {
            quantile: f64::from(quantile) / 100.0, value: f64::from(value),
        }), 0..4),
    ) -> SummaryDataPoint {
        SummaryDataPoint { attributes, start_time_unix_nano, time_unix_nano, count, sum, quantile_values, flags }
    }
}

fn data() -> impl Strategy<Value = Data> {
    prop_oneof![
        vec(number(), 0..3).prop_map(|data_points| Data::Gauge(Gauge { data_points })),
        (vec(number(), 0..3), enumeration(3), any::<bool>()).prop_map(
            |(data_points, aggregation_temporality, is_monotonic)| {
                Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic })
            }
        ),
        (vec(histogram(), 0..3), enumeration(3)).prop_map(|(data_points, aggregation_temporality)| {
            Data::Histogram(Histogram { data_points, aggregation_temporality })
        }),
        (vec(exponential_histogram(), 0..3), enumeration(3)).prop_map(|(data_points, aggregation_temporality)| {
            Data::ExponentialHistogram(ExponentialHistogram { data_points, aggregation_temporality })
        }),
        vec(summary(), 0..3).prop_map(|data_points| Data::Summary(Summary { data_points })),
    ]
}

prop_compose! {
    fn metric()(
        name in text(), description in text(), unit in text(), metadata in attributes(), data in option::weighted(0.95, data()),
    ) -> Metric {
        Metric { name, description, unit, metadata, data }
    }
}

pub fn traces() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let scopes = (option::of(scope()), vec(span(), 0..4), text()).prop_map(|(scope, spans, schema_url)| ScopeSpans {
        scope,
        spans,
        schema_url,
    });
    let resources = (option::of(resource()), vec(scopes, 0..3), text())
        .prop_map(|(resource, scope_spans, schema_url)| ResourceSpans { resource, scope_spans, schema_url });
    vec(resources, 0..3).prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

pub fn logs() -> impl Strategy<Value = ExportLogsServiceRequest> {
    let scopes = (option::of(scope()), vec(log_record(), 0..4), text())
        .prop_map(|(scope, log_records, schema_url)| ScopeLogs { scope, log_records, schema_url });
    let resources = (option::of(resource()), vec(scopes, 0..3), text())
        .prop_map(|(resource, scope_logs, schema_url)| ResourceLogs { resource, scope_logs, schema_url });
    vec(resources, 0..3).prop_map(|resource_logs| ExportLogsServiceRequest { resource_logs })
}

pub fn metrics() -> impl Strategy<Value = ExportMetricsServiceRequest> {
    let scopes = (option::of(scope()), vec(metric(), 0..4), text())
        .prop_map(|(scope, metrics, schema_url)| ScopeMetrics { scope, metrics, schema_url });
    let resources = (option::of(resource()), vec(scopes, 0..3), text())
        .prop_map(|(resource, scope_metrics, schema_url)| ResourceMetrics { resource, scope_metrics, schema_url });
    vec(resources, 0..3).prop_map(|resource_metrics| ExportMetricsServiceRequest { resource_metrics })
}

/// A request, the same with some spans that cannot be stored put in, and how many.
pub fn spoiled_traces() -> impl Strategy<Value = (ExportTraceServiceRequest, ExportTraceServiceRequest, u64)> {
    (traces(), vec((span(), 0..5, any::<prop::sample::Index>()), 0..6)).prop_map(|(good, spoiled)| {
        let mut mixed = good.clone();
        let mut rejected = 0;
        for (mut span, fault, place) in spoiled {
            match fault {
                0 => span.trace_id = vec![1; 15],
                1 => span.links.push(Link { span_id: vec![1; 7], ..Link::default() }),
                2 => span.end_time_unix_nano = u64::MAX,
                3 => span.events.push(Event { time_unix_nano: 1 << 63, ..Event::default() }),
                _ => span.attributes.push(deep(70)),
            }
            let mut groups: Vec<_> = mixed.resource_spans.iter_mut().flat_map(|group| &mut group.scope_spans).collect();
            if !groups.is_empty() {
                let at = place.index(groups.len());
                let spans = &mut groups[at].spans;
                spans.insert(place.index(spans.len() + 1), span);
                rejected += 1;
            }
        }
        (good, mixed, rejected)
    })
}

/// A request, the same with some data points that cannot be stored put in, and how many.
pub fn spoiled_metrics() -> impl Strategy<Value = (ExportMetricsServiceRequest, ExportMetricsServiceRequest, u64)> {
    (metrics(), vec((0..4, any::<prop::sample::Index>()), 0..6)).prop_map(|(good, spoiled)| {
        let mut mixed = good.clone();
        let mut rejected = 0;
        for (fault, place) in spoiled {
            let groups = mixed.resource_metrics.iter_mut().flat_map(|group| &mut group.scope_metrics);
            let mut metrics: Vec<_> = groups.flat_map(|group| &mut group.metrics).collect();
            if metrics.is_empty() {
                continue;
            }
            let at = place.index(metrics.len());
            let (time, attributes) = if fault == 0 { (u64::MAX, vec![]) } else { (1, vec![deep(65)]) };
            let exemplars = vec![Exemplar { trace_id: vec![1], ..Exemplar::default() }];
            match &mut metrics[at].data {
                Some(Data::Gauge(Gauge { data_points }) | Data::Sum(Sum { data_points, .. })) => {
                    let i = place.index(data_points.len() + 1);
                    data_points
                        .insert(i, NumberDataPoint { time_unix_nano: 1, exemplars, ..NumberDataPoint::default() });
                }
                Some(Data::Histogram(Histogram { data_points, .. })) => {
                    let i = place.index(data_points.len() + 1);
                    let bucket_counts = vec![1, 2, 3];
                    let point = HistogramDataPoint { bucket_counts, exemplars, ..HistogramDataPoint::default() };
                    data_points.insert(i, point);
                }
                Some(Data::ExponentialHistogram(ExponentialHistogram { data_points, .. })) => {
                    let i = place.index(data_points.len() + 1);
                    let point =
                        ExponentialHistogramDataPoint { time_unix_nano: time, attributes, ..Default::default() };
                    data_points.insert(i, point);
                }
                Some(Data::Summary(Summary { data_points })) => {
                    let i = place.index(data_points.len() + 1);
                    let quantile_values = vec![ValueAtQuantile { quantile: 0.5, value: 1.0 }];
                    let point =
                        SummaryDataPoint { time_unix_nano: time, attributes, quantile_values, ..Default::default() };
                    data_points.insert(i, point);
                }
                None => continue,
            }
            rejected += 1;
        }
        (good, mixed, rejected)
    })
}

fn deep(levels: usize) -> KeyValue {
    let value = (0..levels).fold(Value::BoolValue(true), |inner, _| {
        Value::ArrayValue(ArrayValue { values: vec![AnyValue { value: Some(inner) }] })
    });
    KeyValue { key: "deep".to_owned(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}

/// Something done to the bytes of a request.
#[derive(Clone, Debug)]
pub enum Damage {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    /// The request twice over: every list doubled.
    Twice,
}

impl Damage {
    pub fn applied(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Flip(at, bits) if !bytes.is_empty() => {
                let at = at.index(bytes.len());
                bytes[at] ^= bits;
            }
            Self::Flip(..) => {}
            Self::Cut(at) => bytes.truncate(at.index(bytes.len() + 1)),
            Self::Insert(at, inserted) => {
                let at = at.index(bytes.len() + 1);
                bytes.splice(at..at, inserted.iter().copied());
            }
            Self::Twice => bytes.extend_from_within(..),
        }
        bytes
    }
}

pub fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        6 => (any::<prop::sample::Index>(), 1..=255_u8).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        1 => any::<prop::sample::Index>().prop_map(Damage::Cut),
        3 => (any::<prop::sample::Index>(), vec(any::<u8>(), 1..4)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        1 => Just(Damage::Twice),
    ]
}
