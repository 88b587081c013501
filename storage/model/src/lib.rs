//! What the data is: signals, table schemas, promoted attributes, identifiers and the clock. Data only, never any I/O.

pub mod attribute;
pub mod clock;
pub mod id;
pub mod otlp;
pub mod schema;

pub use attribute::{PROMOTED, Promoted, Scope, ValueType};
pub use clock::{Clock, SystemClock};
pub use id::{Identity, Role, SnapshotId, TenantId};
pub use schema::{Column, Table, table};

/// The three kinds of telemetry. Each is one wide table; the signal is erased at the door and all that follows reads
/// the table's schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Signal {
    Spans = 1,
    Logs = 2,
    Metrics = 3,
}

impl Signal {
    pub const ALL: [Self; 3] = [Self::Spans, Self::Logs, Self::Metrics];

    /// The name of the signal's table in SQL and in the catalog.
    pub const fn table_name(self) -> &'static str {
        match self {
            Self::Spans => "spans",
            Self::Logs => "logs",
            Self::Metrics => "metrics",
        }
    }

    /// The inverse of `self as u8`, the code the write-ahead log stores.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Spans),
            2 => Some(Self::Logs),
            3 => Some(Self::Metrics),
            _ => None,
        }
    }
}

impl std::fmt::Display for Signal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.table_name())
    }
}
