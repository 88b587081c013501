//! Rows of unit tests as telemetry: written as OTLP/JSON and decoded by the very code that receivers use, so that a test's
//! attributes lie where a sender's would. Sends nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use orrery_alert::rules::{Fault, duration};
use orrery_alert::unit::RowMaker;
use orrery_alert::unit::file::InputRow;
use orrery_collector::decode::OtlpDecoder;
use orrery_collector::json::{JsonLimits, transcode};
use orrery_model::Signal;
use orrery_storage::Decode;
use serde_json::{Map, Value, json};

/// Makes rows.
pub struct Rows;

/// What a row may say, beside the columns that name the service and the maps of attributes.
const SPAN: &[&str] =
    &["trace_id", "span_id", "parent_span_id", "name", "kind", "duration", "status_code", "status_message"];
const LOG: &[&str] = &["trace_id", "span_id", "body", "severity_number", "severity_text", "event_name"];
const METRIC: &[&str] = &[
    "metric_name",
    "type",
    "unit",
    "value",
    "temporality",
    "is_monotonic",
    "count",
    "sum",
    "explicit_bounds",
    "bucket_counts",
];
const SHARED: &[&str] = &["attributes", "resource_attributes", "service_name", "service_namespace", "scope_name"];

/// Levels of values within one another.
const MAX_DEPTH: usize = 64;

/// Span and trace ids of rows that name none.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl RowMaker for Rows {
    fn rows(&self, signal: Signal, rows: &[(i64, &InputRow)]) -> Result<RecordBatch, Fault> {
        let records = rows.iter().map(|(time, row)| record(signal, *time, row)).collect::<Result<Vec<Value>, _>>()?;
        let request = match signal {
            Signal::Spans => json!({"resourceSpans": records}),
            Signal::Logs => json!({"resourceLogs": records}),
            Signal::Metrics => json!({"resourceMetrics": records}),
        };
        let at = rows.first().map(|(_, row)| row.at).unwrap_or_default();
        let fault = |why: String| Fault::new(at, format!("the row is no telemetry: {why}"));
        let limits = JsonLimits { bytes: usize::MAX, value_depth: MAX_DEPTH };
        let protobuf = transcode(signal, request.to_string().as_bytes(), limits).map_err(|e| fault(e.to_string()))?;
        let batch = OtlpDecoder.decode(signal, &protobuf.protobuf, 0).map_err(fault)?;
        if batch.num_rows() == rows.len() { Ok(batch) } else { Err(fault("a receiver would reject it".to_owned())) }
    }
}

/// A row with its resource and scope, each of its own.
fn record(signal: Signal, time_ns: i64, row: &InputRow) -> Result<Value, Fault> {
    let known = match signal {
        Signal::Spans => SPAN,
        Signal::Logs => LOG,
        Signal::Metrics => METRIC,
    };
    if let Some(unknown) =
        row.fields.keys().find(|key| !known.contains(&key.as_str()) && !SHARED.contains(&key.as_str()))
    {
        let all: Vec<&str> = known.iter().chain(SHARED).copied().collect();
        return Err(Fault::new(row.at, format!("a row of {signal} has no {unknown}; it has {}", all.join(", "))));
    }
    let mut resource = map(row, "resource_attributes")?.clone();
    for (column, key) in [("service_name", "service.name"), ("service_namespace", "service.namespace")] {
        if let Some(value) = row.fields.get(column) {
            resource.insert(key.to_owned(), value.clone());
        }
    }
    let resource = json!({"attributes": attributes(&resource)});
    let scope = json!({"name": text(row, "scope_name")});
    let time = time_ns.to_string();
    Ok(match signal {
        Signal::Spans => {
            json!({"resource": resource, "scopeSpans": [{"scope": scope, "spans": [span(row, time_ns)?]}]})
        }
        Signal::Logs => {
            json!({"resource": resource, "scopeLogs": [{"scope": scope, "logRecords": [log(row, &time)?]}]})
        }
        Signal::Metrics => {
            json!({"resource": resource, "scopeMetrics": [{"scope": scope, "metrics": [metric(row, &time)?]}]})
        }
    })
}

fn span(row: &InputRow, time_ns: i64) -> Result<Value, Fault> {
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    let lasted = match row.fields.get("duration") {
        None => std::time::Duration::from_millis(1),
        Some(value) => {
            let text = value.as_str().unwrap_or_default();
            duration::parse(text).map_err(|why| Fault::new(row.at, format!("duration: {why}")))?
        }
    };
    let end = time_ns + i64::try_from(lasted.as_nanos()).unwrap_or(i64::MAX);
    Ok(json!({
        "traceId": text(row, "trace_id").unwrap_or_else(|| format!("{id:032x}")),
        "spanId": text(row, "span_id").unwrap_or_else(|| format!("{id:016x}")),
        "parentSpanId": text(row, "parent_span_id"),
        "name": text(row, "name"),
        "kind": word(row, "kind", &["INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"], 1)?,
        "startTimeUnixNano": time_ns.to_string(),
        "endTimeUnixNano": end.to_string(),
        "status": {"code": word(row, "status_code", &["UNSET", "OK", "ERROR"], 0)?, "message": text(row, "status_message")},
        "attributes": attributes(map(row, "attributes")?),
    }))
}

fn log(row: &InputRow, time: &str) -> Result<Value, Fault> {
    Ok(json!({
        "timeUnixNano": time,
        "observedTimeUnixNano": time,
        "severityNumber": row.fields.get("severity_number"),
        "severityText": text(row, "severity_text"),
        "eventName": text(row, "event_name"),
        "body": row.fields.get("body").map(value),
        "traceId": text(row, "trace_id"),
        "spanId": text(row, "span_id"),
        "attributes": attributes(map(row, "attributes")?),
    }))
}

fn metric(row: &InputRow, time: &str) -> Result<Value, Fault> {
    let mut point = json!({"timeUnixNano": time, "attributes": attributes(map(row, "attributes")?)});
    let kind = text(row, "type").unwrap_or_else(|| "GAUGE".to_owned());
    let temporality = word(row, "temporality", &["DELTA", "CUMULATIVE"], 1)?.unwrap_or(2);
    let data = match kind.as_str() {
        "GAUGE" | "SUM" => {
            match row.fields.get("value") {
                Some(Value::Number(number)) if number.is_i64() => point["asInt"] = json!(number.to_string()),
                Some(Value::Number(number)) => point["asDouble"] = json!(number),
                _ => return Err(Fault::new(row.at, "a GAUGE or a SUM has a value, a number")),
            }
            let points = json!([point]);
            if kind == "GAUGE" {
                json!({"gauge": {"dataPoints": points}})
            } else {
                let is_monotonic = row.fields.get("is_monotonic").and_then(Value::as_bool).unwrap_or(true);
                json!({"sum": {"dataPoints": points, "aggregationTemporality": temporality, "isMonotonic": is_monotonic}})
            }
        }
        "HISTOGRAM" => {
            let number = |name: &str| row.fields.get(name).cloned().unwrap_or(json!(0));
            point["count"] = json!(number("count").to_string());
            point["sum"] = number("sum");
            point["explicitBounds"] = row.fields.get("explicit_bounds").cloned().unwrap_or(json!([]));
            let buckets = row.fields.get("bucket_counts").and_then(Value::as_array).cloned().unwrap_or_default();
            point["bucketCounts"] = buckets.iter().map(|count| json!(count.to_string())).collect();
            json!({"histogram": {"dataPoints": [point], "aggregationTemporality": temporality}})
        }
        other => return Err(Fault::new(row.at, format!("type is GAUGE, SUM or HISTOGRAM, not {other}"))),
    };
    let Value::Object(mut metric) = data else { unreachable!("it was made as an object") };
    metric.insert("name".to_owned(), json!(text(row, "metric_name")));
    metric.insert("unit".to_owned(), json!(text(row, "unit")));
    Ok(Value::Object(metric))
}

fn text(row: &InputRow, name: &str) -> Option<String> {
    match row.fields.get(name)? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// The number of one of a few words, counted from `first`.
fn word(row: &InputRow, name: &str, words: &[&str], first: usize) -> Result<Option<usize>, Fault> {
    let Some(text) = text(row, name) else { return Ok(None) };
    let position = words.iter().position(|word| *word == text);
    let position = position.ok_or_else(|| Fault::new(row.at, format!("{name} is one of {}", words.join(", "))))?;
    Ok(Some(first + position))
}

fn map<'a>(row: &'a InputRow, name: &str) -> Result<&'a Map<String, Value>, Fault> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    match row.fields.get(name) {
        None | Some(Value::Null) => Ok(&NONE),
        Some(Value::Object(map)) => Ok(map),
        Some(_) => Err(Fault::new(row.at, format!("{name} is a mapping of keys and values"))),
    }
}

fn attributes(map: &Map<String, Value>) -> Value {
    map.iter().map(|(key, of)| json!({"key": key, "value": value(of)})).collect()
}

/// A value of OTLP/JSON.
fn value(of: &Value) -> Value {
    match of {
        Value::Null => json!({}),
        Value::Bool(b) => json!({"boolValue": b}),
        Value::Number(n) if n.is_i64() => json!({"intValue": n.to_string()}),
        Value::Number(n) => json!({"doubleValue": n}),
        Value::String(text) => json!({"stringValue": text}),
        Value::Array(elements) => json!({"arrayValue": {"values": elements.iter().map(value).collect::<Vec<_>>()}}),
        Value::Object(map) => json!({"kvlistValue": {"values": attributes(map)}}),
    }
}
