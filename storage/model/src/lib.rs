//! What the data is: signals, table schemas, promoted attributes, identifiers and the clock. Data only, never any I/O.

pub mod attribute;
pub mod clock;
pub mod id;
pub mod learned;
pub mod otlp;
pub mod schema;
mod table_name;

pub use attribute::{PROMOTED, Promoted, Scope, ValueType};
pub use clock::{Clock, SystemClock};
pub use id::{Identity, Role, SnapshotId, TenantId};
pub use learned::LearnedColumn;
pub use schema::{Column, Order, Table, table};
pub use table_name::TableName;

/// The three kinds of telemetry: what a receiver takes. Each is one wide table; the signal is erased at the door and all
/// that follows reads the table's schema.
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

    /// The signal's table.
    pub const fn table(self) -> TableName {
        match self {
            Self::Spans => TableName::Spans,
            Self::Logs => TableName::Logs,
            Self::Metrics => TableName::Metrics,
        }
    }

    /// The name of the signal's table in SQL and in the catalog.
    pub const fn table_name(self) -> &'static str {
        self.table().as_str()
    }
}

impl std::fmt::Display for Signal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.table_name())
    }
}
