//! The answers on the wire: `google.rpc.Status` with its details and the `Export*ServiceResponse`, in protobuf and in
//! JSON. Never decides what is answered.

use std::time::Duration;

use bytes::Bytes;
use orrery_model::Signal;
use prost::Message;
use serde_json::{Value, json};

/// `google.rpc.Status`, the body of every 4xx and 5xx answer of OTLP/HTTP and the details of every error of OTLP/gRPC.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<prost_types::Any>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
pub struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    pub retry_delay: Option<prost_types::Duration>,
}

/// `google.rpc.BadRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct BadRequest {
    #[prost(message, repeated, tag = "1")]
    pub field_violations: Vec<FieldViolation>,
}

/// `google.rpc.BadRequest.FieldViolation`.
#[derive(Clone, PartialEq, Message)]
pub struct FieldViolation {
    /// As in `resourceSpans[0].scopeSpans[2].spans[17].kind`; empty where the request as a whole is meant.
    #[prost(string, tag = "1")]
    pub field: String,
    #[prost(string, tag = "2")]
    pub description: String,
}

/// What a status carries beside its message.
#[derive(Clone, Debug, PartialEq)]
pub enum Detail {
    Retry(Duration),
    Violation { field: String, description: String },
}

const TYPES: &str = "type.googleapis.com/google.rpc.";

impl Status {
    pub fn new(code: i32, message: String, detail: Option<&Detail>) -> Self {
        let details = detail.map(|detail| match detail {
            Detail::Retry(delay) => {
                any("RetryInfo", &RetryInfo { retry_delay: prost_types::Duration::try_from(*delay).ok() })
            }
            Detail::Violation { field, description } => {
                let violation = FieldViolation { field: field.clone(), description: description.clone() };
                any("BadRequest", &BadRequest { field_violations: vec![violation] })
            }
        });
        Self { code, message, details: details.into_iter().collect() }
    }
}

/// The status in protobuf's JSON mapping.
pub fn status_json(code: i32, message: &str, detail: Option<&Detail>) -> Bytes {
    let mut status = json!({"code": code, "message": message});
    if let Some(detail) = detail {
        status["details"] = match detail {
            Detail::Retry(delay) => {
                json!([{"@type": format!("{TYPES}RetryInfo"), "retryDelay": format!("{}s", delay.as_secs_f64())}])
            }
            Detail::Violation { field, description } => {
                let violation = json!({"field": field, "description": description});
                json!([{"@type": format!("{TYPES}BadRequest"), "fieldViolations": [violation]}])
            }
        };
    }
    Bytes::from(status.to_string())
}

/// `Export*ServiceResponse`: field names apart, the same message for every signal.
#[derive(Clone, PartialEq, Message)]
pub struct ExportResponse {
    /// Unset where everything was accepted and nothing is to be said.
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub rejected: i64,
    #[prost(string, tag = "2")]
    pub error_message: String,
}

impl ExportResponse {
    pub fn json(&self, signal: Signal) -> Bytes {
        let Some(partial) = &self.partial_success else { return Bytes::from_static(b"{}") };
        let rejected = match signal {
            Signal::Spans => "rejectedSpans",
            Signal::Logs => "rejectedLogRecords",
            Signal::Metrics => "rejectedDataPoints",
        };
        let mut fields = serde_json::Map::new();
        if partial.rejected != 0 {
            fields.insert(rejected.to_owned(), Value::String(partial.rejected.to_string()));
        }
        if !partial.error_message.is_empty() {
            fields.insert("errorMessage".to_owned(), Value::String(partial.error_message.clone()));
        }
        Bytes::from(json!({"partialSuccess": fields}).to_string())
    }
}

fn any(name: &str, message: &impl Message) -> prost_types::Any {
    prost_types::Any { type_url: format!("{TYPES}{name}"), value: message.encode_to_vec() }
}
