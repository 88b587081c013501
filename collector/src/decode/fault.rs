//! What can be wrong with a request, with a record of it, and how each is said to the sender. Never carries payloads.

use std::fmt;

/// Why a request as a whole is refused. None of these is helped by a retry.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("malformed OTLP protobuf at byte {offset}: {what}")]
    Malformed { offset: usize, what: &'static str },
    /// Protobuf that repeats a singular message goes through prost, which says this of it.
    #[error("malformed OTLP protobuf: {0}")]
    Prost(#[from] prost::DecodeError),
    #[error("the request would be {bytes} bytes in memory, the limit is {limit}; send smaller batches")]
    TooLarge { bytes: usize, limit: usize },
    /// A defect of this program: the columns do not fit the table.
    #[error("decoded columns do not fit the table: {0}")]
    Columns(#[from] arrow::error::ArrowError),
}

/// What stops the decoding of a field; who catches it decides for the record or for the request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The request is no protobuf. `address` becomes the offset.
    Malformed {
        address: usize,
        what: &'static str,
    },
    /// The record cannot be stored.
    Reject(Reason),
    /// A singular message field occurs twice, so that the two must be merged. Rare enough for the slow way.
    Irregular,
    TooLarge {
        bytes: usize,
        limit: usize,
    },
}

/// Why a record is rejected for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    IdLength { field: &'static str, bytes: usize, expected: usize },
    Time { field: &'static str },
    Nesting { limit: usize },
    Attributes { limit: usize },
    Utf8,
    Hours { limit: usize },
    Keys { limit: usize },
    Series { limit: usize },
}

/// Records by why they were rejected, in the order of [`Reason::WORDS`].
pub type Rejections = [u64; Reason::WORDS.len()];

impl Reason {
    /// What each is called in metrics.
    pub(crate) const WORDS: [&str; 8] =
        ["id_length", "time", "nesting", "attributes", "utf8", "hours", "keys", "series"];

    /// The place in [`Reason::WORDS`].
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::IdLength { .. } => 0,
            Self::Time { .. } => 1,
            Self::Nesting { .. } => 2,
            Self::Attributes { .. } => 3,
            Self::Utf8 => 4,
            Self::Hours { .. } => 5,
            Self::Keys { .. } => 6,
            Self::Series { .. } => 7,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IdLength { field, bytes, expected } => write!(f, "{field} has {bytes} bytes, not {expected}"),
            Self::Time { field } => write!(f, "{field} is 2^63 ns or later"),
            Self::Nesting { limit } => write!(f, "an attribute value is nested deeper than {limit} levels"),
            Self::Attributes { limit } => write!(f, "more than {limit} attributes in one set"),
            Self::Utf8 => write!(f, "a string is not valid UTF-8"),
            Self::Hours { limit } => write!(f, "the times of one request lie in more than {limit} different hours"),
            Self::Keys { limit } => write!(f, "more than {limit} different attribute keys are being sent"),
            Self::Series { limit } => write!(f, "more than {limit} different series are being sent"),
        }
    }
}
