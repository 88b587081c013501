//! OTLP protobuf to Arrow: one pass over the wire bytes of an `Export*ServiceRequest` into the columns of its signal's
//! table, with no objects in between. Records that cannot be stored are rejected one by one; a request that is no
//! protobuf is an error. Never decompresses, never reads JSON (that is transcoded before) and never does I/O.

mod any;
mod attributes;
mod batch;
mod cardinality;
mod column;
mod exemplars;
mod fault;
mod logs;
mod metrics;
mod points;
mod series;
mod shared;
mod spans;
mod strip;
mod wire;

#[cfg(test)]
mod tests;

use arrow::array::RecordBatch;
use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest,
};
use orrery_model::Signal;
use orrery_storage::Decode;
use prost::Message;

pub use cardinality::Cardinality;
use fault::Fault;
pub(crate) use fault::Reason;
pub use fault::{DecodeError, Rejections};
pub(crate) use metrics::TEMPORALITIES;
pub(crate) use spans::{KINDS, STATUS_CODES};

/// No value is followed deeper than this, whatever the limits say: decoding a level takes a stack frame.
const DEEPEST_NESTING: usize = 256;
/// A larger request could overflow the 32-bit offsets of a column.
const LARGEST_BODY: usize = 256 << 20;

/// What one request may ask for. At each limit the record is rejected in `partial_success`, except `batch_bytes`, where
/// the request is refused.
#[derive(Clone, Copy, Debug)]
pub struct DecodeLimits {
    /// Levels of arrays and lists within an attribute value or body; 256 at most.
    pub nesting: usize,
    /// Attributes of a resource, scope, record, event, link or exemplar.
    pub attributes: usize,
    /// Different hours that the times of the records lie in. Each hour of a flush is a file.
    pub hours: usize,
    /// Memory the rows take beyond their own bytes: what a resource, scope and metric share is repeated for each row. 1 GiB
    /// at most.
    pub batch_bytes: usize,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { nesting: 64, attributes: 1024, hours: 100, batch_bytes: 512 << 20 }
    }
}

impl DecodeLimits {
    /// For requests that were accepted before.
    const NONE: Self =
        Self { nesting: DEEPEST_NESTING, attributes: usize::MAX, hours: usize::MAX, batch_bytes: usize::MAX };
}

/// A decoded request.
#[derive(Debug)]
pub struct Decoded {
    /// The accepted records, in the order they were sent.
    pub batch: RecordBatch,
    /// Records (spans, log records, data points) that cannot be stored.
    pub rejected: u64,
    /// The same by the reason of each.
    pub rejections: Rejections,
    /// Why, for the sender; `Some` exactly where `rejected` is not 0.
    pub reject_message: Option<String>,
    /// The request without the rejected records, as protobuf; `Some` exactly where `rejected` is not 0.
    pub accepted_body: Option<Vec<u8>>,
    /// Whether the `timestamp` of some row is the time of receipt.
    pub untimed: bool,
    /// Attributes that were dropped since a later one of the same set has the same key.
    pub duplicate_keys: u64,
}

/// Decodes the uncompressed protobuf of an `Export*ServiceRequest`. `received_ns` is the time of rows that have none.
pub fn decode(signal: Signal, body: &[u8], received_ns: i64, limits: &DecodeLimits) -> Result<Decoded, DecodeError> {
    decode_for(None, signal, body, received_ns, limits)
}

/// Like [`decode`], within what its tenant may send.
pub fn decode_for(
    tenant: Option<&Cardinality>,
    signal: Signal,
    body: &[u8],
    received_ns: i64,
    limits: &DecodeLimits,
) -> Result<Decoded, DecodeError> {
    if body.len() > LARGEST_BODY {
        return Err(DecodeError::TooLarge { bytes: body.len(), limit: LARGEST_BODY });
    }
    match decode_regular(tenant, signal, body, received_ns, limits) {
        Err(Failure::Irregular) => {
            let canonical = canonical(signal, body)?;
            decode_regular(tenant, signal, &canonical, received_ns, limits).map_err(|failure| match failure {
                Failure::Error(error) => error,
                Failure::Irregular => DecodeError::Malformed { offset: 0, what: "a message that cannot be merged" },
            })
        }
        Err(Failure::Error(error)) => Err(error),
        Ok(decoded) => Ok(decoded),
    }
}

/// Decodes what was accepted before, without limits.
#[derive(Clone, Copy, Debug, Default)]
pub struct OtlpDecoder;

impl Decode for OtlpDecoder {
    fn decode(&self, signal: Signal, body: &[u8], received_ns: i64) -> Result<RecordBatch, String> {
        let decoded = decode(signal, body, received_ns, &DecodeLimits::NONE).map_err(|error| error.to_string())?;
        match decoded.reject_message {
            None => Ok(decoded.batch),
            Some(message) => Err(format!("a request that was accepted before is not any more: {message}")),
        }
    }
}

enum Failure {
    Irregular,
    Error(DecodeError),
}

/// Decodes a request that repeats no singular message field. Strings are checked a column at a time; only where that
/// finds fault is the request decoded anew with each string checked, to tell which records to reject.
fn decode_regular(
    tenant: Option<&Cardinality>,
    signal: Signal,
    body: &[u8],
    received_ns: i64,
    limits: &DecodeLimits,
) -> Result<Decoded, Failure> {
    let decode = |check_text| match signal {
        Signal::Spans => batch::decode::<spans::Spans>(signal, body, received_ns, limits, tenant, check_text),
        Signal::Logs => batch::decode::<logs::Logs>(signal, body, received_ns, limits, tenant, check_text),
        Signal::Metrics => batch::decode::<metrics::Metrics>(signal, body, received_ns, limits, tenant, check_text),
    };
    let result = match decode(false) {
        Err(batch::Failure::Columns(_)) => decode(true),
        result => result,
    };
    result.map_err(|failure| match failure {
        batch::Failure::Columns(error) => Failure::Error(error.into()),
        batch::Failure::Fault(Fault::Irregular) => Failure::Irregular,
        batch::Failure::Fault(Fault::Malformed { address, what }) => {
            let offset = address.saturating_sub(body.as_ptr().addr());
            Failure::Error(DecodeError::Malformed { offset, what })
        }
        batch::Failure::Fault(Fault::TooLarge { bytes, limit }) => {
            Failure::Error(DecodeError::TooLarge { bytes, limit })
        }
        batch::Failure::Fault(Fault::Reject(_)) => unreachable!("what rejects records is caught where they are known"),
    })
}

/// The request with repeated singular messages merged, as prost does it.
fn canonical(signal: Signal, body: &[u8]) -> Result<Vec<u8>, prost::DecodeError> {
    Ok(match signal {
        Signal::Spans => ExportTraceServiceRequest::decode(body)?.encode_to_vec(),
        Signal::Logs => ExportLogsServiceRequest::decode(body)?.encode_to_vec(),
        Signal::Metrics => ExportMetricsServiceRequest::decode(body)?.encode_to_vec(),
    })
}
