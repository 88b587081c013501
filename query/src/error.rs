//! Why a question has no answer: a stable code, a sentence, what to do about it, and the HTTP status that says so. Never
//! holds data of the tables.

use datafusion::error::DataFusionError;
use http::StatusCode;

/// Every way a query or a request to the API ends without an answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueryError {
    /// The request or its SQL is wrong; asking again does not help.
    #[error("{message}")]
    BadRequest { message: String, hint: Option<String> },
    #[error("invalid filter: {message}")]
    InvalidFilter { message: String, hint: Option<String> },
    #[error("{message}")]
    NotFound { message: String, hint: Option<String> },
    #[error("the query ran longer than its deadline of {deadline_ms} ms")]
    DeadlineExceeded { deadline_ms: u64 },
    #[error("the query needs more memory than its share: {message}")]
    MemoryExceeded { message: String },
    #[error("the disk has no room for what the query has to put aside")]
    SpillFull,
    #[error("{0} queries are already running")]
    Overloaded(usize),
    #[error("{0}")]
    Forbidden(String),
    #[error("{what} is not built yet")]
    NotImplemented { what: String, hint: Option<String> },
    #[error("{0}")]
    Internal(String),
}

impl QueryError {
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::BadRequest { message: message.into(), hint: None }
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::NotFound { message: message.into(), hint: None }
    }

    pub fn internal(message: impl std::fmt::Display) -> Self {
        Self::Internal(message.to_string())
    }

    #[must_use]
    pub fn with_hint(mut self, text: impl Into<String>) -> Self {
        if let Self::BadRequest { hint, .. }
        | Self::InvalidFilter { hint, .. }
        | Self::NotFound { hint, .. }
        | Self::NotImplemented { hint, .. } = &mut self
        {
            *hint = Some(text.into());
        }
        self
    }

    /// Says where in the SQL, from line and column 1 on, in the parser's own words; the innermost place is kept.
    fn at(mut self, line: u64, column: u64) -> Self {
        if let Self::BadRequest { message, .. } = &mut self
            && !message.contains(" at Line: ")
        {
            *message += &format!(" at Line: {line}, Column: {column}");
        }
        self
    }

    /// The stable word of [`orrery_api::ApiError::code`].
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BadRequest { .. } => "bad_request",
            Self::InvalidFilter { .. } => "invalid_filter",
            Self::NotFound { .. } => "not_found",
            Self::DeadlineExceeded { .. } => "deadline_exceeded",
            Self::MemoryExceeded { .. } => "memory_exceeded",
            Self::SpillFull => "spill_full",
            Self::Overloaded(_) => "overloaded",
            Self::Forbidden(_) => "forbidden",
            Self::NotImplemented { .. } => "not_implemented",
            Self::Internal(_) => "internal",
        }
    }

    pub const fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest { .. } | Self::InvalidFilter { .. } => StatusCode::BAD_REQUEST,
            Self::NotFound { .. } => StatusCode::NOT_FOUND,
            Self::DeadlineExceeded { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::MemoryExceeded { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::SpillFull => StatusCode::INSUFFICIENT_STORAGE,
            Self::Overloaded(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotImplemented { .. } => StatusCode::NOT_IMPLEMENTED,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether the same request may succeed a little later.
    pub const fn retryable(&self) -> bool {
        matches!(
            self,
            Self::Overloaded(_) | Self::DeadlineExceeded { .. } | Self::MemoryExceeded { .. } | Self::SpillFull
        )
    }

    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::BadRequest { hint, .. }
            | Self::InvalidFilter { hint, .. }
            | Self::NotFound { hint, .. }
            | Self::NotImplemented { hint, .. } => hint.as_deref(),
            Self::DeadlineExceeded { .. } => Some("narrow the window or the filter"),
            Self::MemoryExceeded { .. } => Some("narrow the window, group by fewer columns, or add a LIMIT"),
            Self::SpillFull => Some("make room on the data folder's disk, or narrow the window or add a LIMIT"),
            Self::Overloaded(_) => Some("try again in a moment"),
            _ => None,
        }
    }
}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> Self {
        classify(&error)
    }
}

impl From<arrow::error::ArrowError> for QueryError {
    fn from(error: arrow::error::ArrowError) -> Self {
        classify_arrow(&error)
    }
}

fn classify(error: &DataFusionError) -> QueryError {
    if finds_no_room(error) {
        return QueryError::SpillFull;
    }
    match error {
        DataFusionError::Context(_, inner) => classify(inner),
        DataFusionError::Diagnostic(diagnostic, inner) => match &diagnostic.span {
            Some(span) => classify(inner).at(span.start.line, span.start.column),
            None => classify(inner),
        },
        DataFusionError::Shared(inner) => classify(inner),
        DataFusionError::Collection(all) => all.first().map_or_else(|| QueryError::internal("no error"), classify),
        DataFusionError::ResourcesExhausted(message) => QueryError::MemoryExceeded { message: first_line(message) },
        DataFusionError::ArrowError(inner, _) => classify_arrow(inner),
        DataFusionError::SQL(inner, _) => QueryError::bad_request(inner.to_string()),
        // Without the list of all columns.
        DataFusionError::SchemaError(inner, _) => {
            QueryError::bad_request(inner.to_string().split("\nValid fields are").next().unwrap_or_default())
        }
        DataFusionError::Plan(message)
        | DataFusionError::NotImplemented(message)
        | DataFusionError::Configuration(message)
        | DataFusionError::Execution(message) => QueryError::bad_request(message.clone()),
        DataFusionError::External(inner) => {
            inner.downcast_ref::<QueryError>().map_or_else(|| QueryError::internal(inner), Clone::clone)
        }
        other => QueryError::internal(other.strip_backtrace()),
    }
}

/// Whether a full disk is at the bottom of it. Queries write nothing but what they spill.
fn finds_no_room(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::{Error, ErrorKind};
    let full = |e: &Error| matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
    std::iter::successors(Some(error), |error| error.source()).any(|e| e.downcast_ref().is_some_and(full))
}

fn classify_arrow(error: &arrow::error::ArrowError) -> QueryError {
    use arrow::error::ArrowError as E;
    match error {
        E::ExternalError(inner) => {
            if let Some(own) = inner.downcast_ref::<DataFusionError>() {
                classify(own)
            } else {
                QueryError::internal(inner)
            }
        }
        // What the values of the query's own expressions can cause.
        E::CastError(m)
        | E::ParseError(m)
        | E::ComputeError(m)
        | E::InvalidArgumentError(m)
        | E::ArithmeticOverflow(m) => QueryError::bad_request(m.clone()),
        E::DivideByZero => QueryError::bad_request("division by zero"),
        other => QueryError::internal(other),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
