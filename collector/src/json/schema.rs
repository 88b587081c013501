//! The OTLP messages as OTLP/JSON spells them: field names, numbers and kinds. A test holds the tables against the
//! descriptors that OpenTelemetry publishes. Data only; never parses anything.

use orrery_model::Signal;

/// A protobuf message.
pub struct Message {
    pub name: &'static str,
    pub fields: &'static [Field],
}

pub struct Field {
    /// The lowerCamelCase name; the only one that OTLP/JSON allows.
    pub json: &'static str,
    pub number: u32,
    pub label: Label,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// proto3 implicit presence: the default value and absence are the same, and are not written.
    Plain,
    /// `optional`: presence matters.
    Optional,
    /// A member of the message's only `oneof`; at most one may be there.
    OneOf,
    Repeated,
}

#[derive(Clone, Copy)]
pub enum Kind {
    String,
    /// Base64 in JSON.
    Bytes,
    /// A trace or span id: bytes that are hex in OTLP/JSON.
    Id,
    Bool,
    Double,
    Int32,
    Uint32,
    Sint32,
    Fixed32,
    Int64,
    Uint64,
    Fixed64,
    Sfixed64,
    /// A `fixed64` of nanoseconds since the epoch. What no such number can hold becomes one that the decoder rejects, so
    /// that one absurd record does not take the request with it.
    Time,
    Enum(&'static Enum),
    Message(&'static Message),
}

/// An enumeration: names without their common prefix, at their numbers.
pub struct Enum {
    pub prefix: &'static str,
    pub names: &'static [&'static str],
}

/// The request message of a signal.
pub fn request(signal: Signal) -> &'static Message {
    match signal {
        Signal::Spans => &TRACES,
        Signal::Logs => &LOGS,
        Signal::Metrics => &METRICS,
    }
}

use Kind::{Bool, Bytes, Double, Fixed32, Fixed64, Id, Int32, Int64, Sfixed64, Sint32, String, Time, Uint32, Uint64};
use Label::{OneOf, Optional, Plain, Repeated};

const fn plain(json: &'static str, number: u32, kind: Kind) -> Field {
    Field { json, number, label: Plain, kind }
}
const fn optional(json: &'static str, number: u32, kind: Kind) -> Field {
    Field { json, number, label: Optional, kind }
}
const fn one_of(json: &'static str, number: u32, kind: Kind) -> Field {
    Field { json, number, label: OneOf, kind }
}
const fn repeated(json: &'static str, number: u32, kind: Kind) -> Field {
    Field { json, number, label: Repeated, kind }
}
/// A singular message: presence matters.
const fn message(json: &'static str, number: u32, message: &'static Message) -> Field {
    Field { json, number, label: Optional, kind: Kind::Message(message) }
}
const fn messages(json: &'static str, number: u32, message: &'static Message) -> Field {
    Field { json, number, label: Repeated, kind: Kind::Message(message) }
}

pub static ANY_VALUE: Message = Message {
    name: "AnyValue",
    fields: &[
        one_of("stringValue", 1, String),
        one_of("boolValue", 2, Bool),
        one_of("intValue", 3, Int64),
        one_of("doubleValue", 4, Double),
        one_of("arrayValue", 5, Kind::Message(&ARRAY_VALUE)),
        one_of("kvlistValue", 6, Kind::Message(&KEY_VALUE_LIST)),
        one_of("bytesValue", 7, Bytes),
        one_of("stringValueStrindex", 8, Int32),
    ],
};
static ARRAY_VALUE: Message = Message { name: "ArrayValue", fields: &[messages("values", 1, &ANY_VALUE)] };
static KEY_VALUE_LIST: Message = Message { name: "KeyValueList", fields: &[messages("values", 1, &KEY_VALUE)] };
static KEY_VALUE: Message = Message {
    name: "KeyValue",
    fields: &[plain("key", 1, String), message("value", 2, &ANY_VALUE), plain("keyStrindex", 3, Int32)],
};
static SCOPE: Message = Message {
    name: "InstrumentationScope",
    fields: &[
        plain("name", 1, String),
        plain("version", 2, String),
        messages("attributes", 3, &KEY_VALUE),
        plain("droppedAttributesCount", 4, Uint32),
    ],
};
static ENTITY_REF: Message = Message {
    name: "EntityRef",
    fields: &[
        plain("schemaUrl", 1, String),
        plain("type", 2, String),
        repeated("idKeys", 3, String),
        repeated("descriptionKeys", 4, String),
    ],
};
static RESOURCE: Message = Message {
    name: "Resource",
    fields: &[
        messages("attributes", 1, &KEY_VALUE),
        plain("droppedAttributesCount", 2, Uint32),
        messages("entityRefs", 3, &ENTITY_REF),
    ],
};

static TRACES: Message =
    Message { name: "ExportTraceServiceRequest", fields: &[messages("resourceSpans", 1, &RESOURCE_SPANS)] };
static RESOURCE_SPANS: Message = Message {
    name: "ResourceSpans",
    fields: &[
        message("resource", 1, &RESOURCE),
        messages("scopeSpans", 2, &SCOPE_SPANS),
        plain("schemaUrl", 3, String),
    ],
};
static SCOPE_SPANS: Message = Message {
    name: "ScopeSpans",
    fields: &[message("scope", 1, &SCOPE), messages("spans", 2, &SPAN), plain("schemaUrl", 3, String)],
};
static SPAN: Message = Message {
    name: "Span",
    fields: &[
        plain("traceId", 1, Id),
        plain("spanId", 2, Id),
        plain("traceState", 3, String),
        plain("parentSpanId", 4, Id),
        plain("flags", 16, Fixed32),
        plain("name", 5, String),
        plain("kind", 6, Kind::Enum(&SPAN_KIND)),
        plain("startTimeUnixNano", 7, Time),
        plain("endTimeUnixNano", 8, Time),
        messages("attributes", 9, &KEY_VALUE),
        plain("droppedAttributesCount", 10, Uint32),
        messages("events", 11, &EVENT),
        plain("droppedEventsCount", 12, Uint32),
        messages("links", 13, &LINK),
        plain("droppedLinksCount", 14, Uint32),
        message("status", 15, &STATUS),
    ],
};
static EVENT: Message = Message {
    name: "Event",
    fields: &[
        plain("timeUnixNano", 1, Time),
        plain("name", 2, String),
        messages("attributes", 3, &KEY_VALUE),
        plain("droppedAttributesCount", 4, Uint32),
    ],
};
static LINK: Message = Message {
    name: "Link",
    fields: &[
        plain("traceId", 1, Id),
        plain("spanId", 2, Id),
        plain("traceState", 3, String),
        messages("attributes", 4, &KEY_VALUE),
        plain("droppedAttributesCount", 5, Uint32),
        plain("flags", 6, Fixed32),
    ],
};
static STATUS: Message =
    Message { name: "Status", fields: &[plain("message", 2, String), plain("code", 3, Kind::Enum(&STATUS_CODE))] };
static SPAN_KIND: Enum =
    Enum { prefix: "SPAN_KIND_", names: &["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"] };
static STATUS_CODE: Enum = Enum { prefix: "STATUS_CODE_", names: &["UNSET", "OK", "ERROR"] };

static LOGS: Message =
    Message { name: "ExportLogsServiceRequest", fields: &[messages("resourceLogs", 1, &RESOURCE_LOGS)] };
static RESOURCE_LOGS: Message = Message {
    name: "ResourceLogs",
    fields: &[message("resource", 1, &RESOURCE), messages("scopeLogs", 2, &SCOPE_LOGS), plain("schemaUrl", 3, String)],
};
static SCOPE_LOGS: Message = Message {
    name: "ScopeLogs",
    fields: &[message("scope", 1, &SCOPE), messages("logRecords", 2, &LOG_RECORD), plain("schemaUrl", 3, String)],
};
static LOG_RECORD: Message = Message {
    name: "LogRecord",
    fields: &[
        plain("timeUnixNano", 1, Time),
        plain("observedTimeUnixNano", 11, Time),
        plain("severityNumber", 2, Kind::Enum(&SEVERITY_NUMBER)),
        plain("severityText", 3, String),
        message("body", 5, &ANY_VALUE),
        messages("attributes", 6, &KEY_VALUE),
        plain("droppedAttributesCount", 7, Uint32),
        plain("flags", 8, Fixed32),
        plain("traceId", 9, Id),
        plain("spanId", 10, Id),
        plain("eventName", 12, String),
    ],
};
#[rustfmt::skip]
static SEVERITY_NUMBER: Enum = Enum {
    prefix: "SEVERITY_NUMBER_",
    names: &[
        "UNSPECIFIED",
        "TRACE", "TRACE2", "TRACE3", "TRACE4", "DEBUG", "DEBUG2", "DEBUG3", "DEBUG4", "INFO", "INFO2", "INFO3", "INFO4",
        "WARN", "WARN2", "WARN3", "WARN4", "ERROR", "ERROR2", "ERROR3", "ERROR4", "FATAL", "FATAL2", "FATAL3", "FATAL4",
    ],
};

static METRICS: Message =
    Message { name: "ExportMetricsServiceRequest", fields: &[messages("resourceMetrics", 1, &RESOURCE_METRICS)] };
static RESOURCE_METRICS: Message = Message {
    name: "ResourceMetrics",
    fields: &[
        message("resource", 1, &RESOURCE),
        messages("scopeMetrics", 2, &SCOPE_METRICS),
        plain("schemaUrl", 3, String),
    ],
};
static SCOPE_METRICS: Message = Message {
    name: "ScopeMetrics",
    fields: &[message("scope", 1, &SCOPE), messages("metrics", 2, &METRIC), plain("schemaUrl", 3, String)],
};
static METRIC: Message = Message {
    name: "Metric",
    fields: &[
        plain("name", 1, String),
        plain("description", 2, String),
        plain("unit", 3, String),
        one_of("gauge", 5, Kind::Message(&GAUGE)),
        one_of("sum", 7, Kind::Message(&SUM)),
        one_of("histogram", 9, Kind::Message(&HISTOGRAM)),
        one_of("exponentialHistogram", 10, Kind::Message(&EXPONENTIAL_HISTOGRAM)),
        one_of("summary", 11, Kind::Message(&SUMMARY)),
        messages("metadata", 12, &KEY_VALUE),
    ],
};
static GAUGE: Message = Message { name: "Gauge", fields: &[messages("dataPoints", 1, &NUMBER_DATA_POINT)] };
static SUM: Message = Message {
    name: "Sum",
    fields: &[
        messages("dataPoints", 1, &NUMBER_DATA_POINT),
        plain("aggregationTemporality", 2, Kind::Enum(&AGGREGATION_TEMPORALITY)),
        plain("isMonotonic", 3, Bool),
    ],
};
static HISTOGRAM: Message = Message {
    name: "Histogram",
    fields: &[
        messages("dataPoints", 1, &HISTOGRAM_DATA_POINT),
        plain("aggregationTemporality", 2, Kind::Enum(&AGGREGATION_TEMPORALITY)),
    ],
};
static EXPONENTIAL_HISTOGRAM: Message = Message {
    name: "ExponentialHistogram",
    fields: &[
        messages("dataPoints", 1, &EXPONENTIAL_HISTOGRAM_DATA_POINT),
        plain("aggregationTemporality", 2, Kind::Enum(&AGGREGATION_TEMPORALITY)),
    ],
};
static SUMMARY: Message = Message { name: "Summary", fields: &[messages("dataPoints", 1, &SUMMARY_DATA_POINT)] };
static AGGREGATION_TEMPORALITY: Enum =
    Enum { prefix: "AGGREGATION_TEMPORALITY_", names: &["UNSPECIFIED", "DELTA", "CUMULATIVE"] };
static NUMBER_DATA_POINT: Message = Message {
    name: "NumberDataPoint",
    fields: &[
        messages("attributes", 7, &KEY_VALUE),
        plain("startTimeUnixNano", 2, Time),
        plain("timeUnixNano", 3, Time),
        one_of("asDouble", 4, Double),
        one_of("asInt", 6, Sfixed64),
        messages("exemplars", 5, &EXEMPLAR),
        plain("flags", 8, Uint32),
    ],
};
static HISTOGRAM_DATA_POINT: Message = Message {
    name: "HistogramDataPoint",
    fields: &[
        messages("attributes", 9, &KEY_VALUE),
        plain("startTimeUnixNano", 2, Time),
        plain("timeUnixNano", 3, Time),
        plain("count", 4, Fixed64),
        optional("sum", 5, Double),
        repeated("bucketCounts", 6, Fixed64),
        repeated("explicitBounds", 7, Double),
        messages("exemplars", 8, &EXEMPLAR),
        plain("flags", 10, Uint32),
        optional("min", 11, Double),
        optional("max", 12, Double),
    ],
};
static EXPONENTIAL_HISTOGRAM_DATA_POINT: Message = Message {
    name: "ExponentialHistogramDataPoint",
    fields: &[
        messages("attributes", 1, &KEY_VALUE),
        plain("startTimeUnixNano", 2, Time),
        plain("timeUnixNano", 3, Time),
        plain("count", 4, Fixed64),
        optional("sum", 5, Double),
        plain("scale", 6, Sint32),
        plain("zeroCount", 7, Fixed64),
        message("positive", 8, &BUCKETS),
        message("negative", 9, &BUCKETS),
        plain("flags", 10, Uint32),
        messages("exemplars", 11, &EXEMPLAR),
        optional("min", 12, Double),
        optional("max", 13, Double),
        plain("zeroThreshold", 14, Double),
    ],
};
static BUCKETS: Message =
    Message { name: "Buckets", fields: &[plain("offset", 1, Sint32), repeated("bucketCounts", 2, Uint64)] };
static SUMMARY_DATA_POINT: Message = Message {
    name: "SummaryDataPoint",
    fields: &[
        messages("attributes", 7, &KEY_VALUE),
        plain("startTimeUnixNano", 2, Time),
        plain("timeUnixNano", 3, Time),
        plain("count", 4, Fixed64),
        plain("sum", 5, Double),
        messages("quantileValues", 6, &VALUE_AT_QUANTILE),
        plain("flags", 8, Uint32),
    ],
};
static VALUE_AT_QUANTILE: Message =
    Message { name: "ValueAtQuantile", fields: &[plain("quantile", 1, Double), plain("value", 2, Double)] };
static EXEMPLAR: Message = Message {
    name: "Exemplar",
    fields: &[
        messages("filteredAttributes", 7, &KEY_VALUE),
        plain("timeUnixNano", 2, Time),
        one_of("asDouble", 3, Double),
        one_of("asInt", 6, Sfixed64),
        plain("spanId", 4, Id),
        plain("traceId", 5, Id),
    ],
};
