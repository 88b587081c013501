//! The canonical form of records: each with its resource and scope, attributes by key with the last of duplicates, what
//! protobuf does not tell apart made equal.

use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::{Exemplar, Metric, metric::Data};
use opentelemetry_proto::tonic::resource::v1::Resource;

pub fn traces(request: ExportTraceServiceRequest) -> Vec<String> {
    let mut records = Vec::new();
    for group in request.resource_spans {
        let resource = resource(group.resource, &group.schema_url);
        for group in group.scope_spans {
            let scope = scope(group.scope, &group.schema_url);
            for mut span in group.spans {
                attributes(&mut span.attributes);
                span.status.get_or_insert_default();
                span.events.iter_mut().for_each(|event| attributes(&mut event.attributes));
                span.links.iter_mut().for_each(|link| attributes(&mut link.attributes));
                records.push(format!("{resource}\n{scope}\n{span:?}"));
            }
        }
    }
    records.sort();
    records
}

pub fn logs(request: ExportLogsServiceRequest) -> Vec<String> {
    let mut records = Vec::new();
    for group in request.resource_logs {
        let resource = resource(group.resource, &group.schema_url);
        for group in group.scope_logs {
            let scope = scope(group.scope, &group.schema_url);
            for mut record in group.log_records {
                attributes(&mut record.attributes);
                record.body.iter_mut().for_each(any_value);
                records.push(format!("{resource}\n{scope}\n{record:?}"));
            }
        }
    }
    records.sort();
    records
}

pub fn metrics(request: ExportMetricsServiceRequest) -> Vec<String> {
    let mut records = Vec::new();
    for group in request.resource_metrics {
        let resource = resource(group.resource, &group.schema_url);
        for group in group.scope_metrics {
            let scope = scope(group.scope, &group.schema_url);
            for metric in group.metrics {
                records.extend(points(metric).into_iter().map(|point| format!("{resource}\n{scope}\n{point}")));
            }
        }
    }
    records.sort();
    records
}

/// A metric's points, each with all that its metric says.
fn points(metric: Metric) -> Vec<String> {
    let Metric { name, description, unit, mut metadata, data } = metric;
    attributes(&mut metadata);
    let metric = format!("{name:?} {description:?} {unit:?} {metadata:?}");
    macro_rules! points {
        ($data:expr, $said:expr $(, $exemplars:ident)?) => {
            $data
                .data_points
                .into_iter()
                .map(|mut point| {
                    attributes(&mut point.attributes);
                    $(point.$exemplars.iter_mut().for_each(exemplar);)?
                    format!("{metric} {:?} {point:?}", $said)
                })
                .collect()
        };
    }
    match data {
        None => Vec::new(),
        Some(Data::Gauge(data)) => points!(data, "gauge", exemplars),
        Some(Data::Sum(data)) => {
            points!(data, ("sum", data.aggregation_temporality, data.is_monotonic), exemplars)
        }
        Some(Data::Histogram(data)) => points!(data, ("histogram", data.aggregation_temporality), exemplars),
        Some(Data::ExponentialHistogram(data)) => {
            points!(data, ("exponential histogram", data.aggregation_temporality), exemplars)
        }
        Some(Data::Summary(data)) => points!(data, "summary"),
    }
}

fn exemplar(exemplar: &mut Exemplar) {
    attributes(&mut exemplar.filtered_attributes);
}

fn resource(resource: Option<Resource>, schema_url: &str) -> String {
    let mut resource = resource.unwrap_or_default();
    attributes(&mut resource.attributes);
    format!("{schema_url:?} {resource:?}")
}

fn scope(scope: Option<InstrumentationScope>, schema_url: &str) -> String {
    let mut scope = scope.unwrap_or_default();
    attributes(&mut scope.attributes);
    format!("{schema_url:?} {scope:?}")
}

fn attributes(attributes: &mut Vec<KeyValue>) {
    attributes.iter_mut().for_each(key_value);
    let mut seen = std::collections::HashSet::new();
    attributes.reverse();
    attributes.retain(|kv| seen.insert(kv.key.clone()));
    attributes.sort_by(|a, b| a.key.cmp(&b.key));
}

/// An index into a string table belongs to the profiles signal; OTLP asks others to take it for nothing.
fn key_value(kv: &mut KeyValue) {
    kv.key_strindex = 0;
    any_value(kv.value.get_or_insert_default());
}

fn any_value(any: &mut AnyValue) {
    match &mut any.value {
        Some(Value::StringValueStrindex(_)) => any.value = None,
        Some(Value::ArrayValue(array)) => array.values.iter_mut().for_each(any_value),
        Some(Value::KvlistValue(list)) => list.values.iter_mut().for_each(key_value),
        _ => {}
    }
}
