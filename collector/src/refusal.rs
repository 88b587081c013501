//! Every way a request can be refused: one kind, one HTTP status, one gRPC code, and whether a retry helps, as OTLP 1.11
//! assigns them. Never refuses anything itself.

use std::time::Duration;

use http::StatusCode;
use tonic::Code;

use crate::json::JsonError;
use crate::rpc::Detail;

/// Longest message that is sent. The gRPC answer repeats it in two headers, and Java's gRPC takes 8 KiB of headers.
const MAX_MESSAGE_BYTES: usize = 600;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Kind {
    /// Cannot be decoded, or contradicts itself. Permanent.
    BadData,
    /// Over the limit of bytes of one request. Permanent.
    TooLarge,
    UnsupportedMediaType,
    UnsupportedEncoding,
    MethodNotAllowed,
    NotFound,
    Unauthenticated,
    Forbidden,
    /// The tenant has as many bytes under way as it may. Retryable.
    TenantBusy,
    /// All tenants together have. Retryable.
    Busy,
    /// The disk is at its floor of free space. Retryable.
    NoSpace,
    /// The server is shutting down. Retryable.
    Closing,
    /// The request's body did not arrive in time. Retryable.
    TooSlow,
    Internal,
}

impl Kind {
    pub const ALL: [Self; 14] = [
        Self::BadData,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::UnsupportedEncoding,
        Self::MethodNotAllowed,
        Self::NotFound,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::TenantBusy,
        Self::Busy,
        Self::NoSpace,
        Self::Closing,
        Self::TooSlow,
        Self::Internal,
    ];

    /// The label value in metrics.
    pub const fn word(self) -> &'static str {
        self.answer().0
    }

    pub const fn http_status(self) -> StatusCode {
        self.answer().1
    }

    /// RESOURCE_EXHAUSTED is permanent to a client unless `RetryInfo` is with it.
    pub const fn grpc_code(self) -> Code {
        self.answer().2
    }

    /// When a retry may help; `None` where it never does.
    pub const fn retry_after(self) -> Option<Duration> {
        match self.answer().3 {
            0 => None,
            seconds => Some(Duration::from_secs(seconds)),
        }
    }

    const fn answer(self) -> (&'static str, StatusCode, Code, u64) {
        match self {
            Self::BadData => ("bad_data", StatusCode::BAD_REQUEST, Code::InvalidArgument, 0),
            Self::TooLarge => ("too_large", StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted, 0),
            Self::UnsupportedMediaType => {
                ("unsupported_media_type", StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::Unimplemented, 0)
            }
            Self::UnsupportedEncoding => {
                ("unsupported_encoding", StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::Unimplemented, 0)
            }
            Self::MethodNotAllowed => ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented, 0),
            Self::NotFound => ("not_found", StatusCode::NOT_FOUND, Code::Unimplemented, 0),
            Self::Unauthenticated => ("unauthenticated", StatusCode::UNAUTHORIZED, Code::Unauthenticated, 0),
            Self::Forbidden => ("forbidden", StatusCode::FORBIDDEN, Code::PermissionDenied, 0),
            Self::TenantBusy => ("tenant_busy", StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted, 1),
            Self::Busy => ("busy", StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, 1),
            Self::NoSpace => ("no_space", StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, 30),
            Self::Closing => ("closing", StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, 5),
            Self::TooSlow => ("too_slow", StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, 1),
            Self::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, 0),
        }
    }
}

/// A refusal and what its sender is told.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub kind: Kind,
    message: String,
    /// The kind's own, unless whoever refused knows better.
    retry_after: Option<Duration>,
    /// Where in the request the bad data is.
    field: String,
}

impl Refusal {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MAX_MESSAGE_BYTES {
            message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES));
            message.push('…');
        }
        Self { kind, message, retry_after: kind.retry_after(), field: String::new() }
    }

    /// Sets the delay of a kind that is retryable.
    pub fn with_retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = self.retry_after.and(Some(delay));
        self
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    pub fn detail(&self) -> Option<Detail> {
        match self.retry_after {
            Some(delay) => Some(Detail::Retry(delay)),
            None if self.kind == Kind::BadData => {
                Some(Detail::Violation { field: self.field.clone(), description: self.message.clone() })
            }
            None => None,
        }
    }
}

impl From<JsonError> for Refusal {
    fn from(error: JsonError) -> Self {
        let kind = if error.too_large { Kind::TooLarge } else { Kind::BadData };
        let mut refusal = Self::new(kind, format!("malformed OTLP/JSON: {error}"));
        refusal.field = error.path;
        refusal.field.truncate(refusal.field.floor_char_boundary(MAX_MESSAGE_BYTES));
        refusal
    }
}
