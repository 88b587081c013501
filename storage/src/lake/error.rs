//! Why the lake could not do what was asked. Each error says whether the same call may succeed later.

use std::path::PathBuf;

use orrery_model::learned::{MAX_LEARNED, MAX_LEARNED_KEY_BYTES};
use orrery_model::{TableName, TenantId};

#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    #[error("could not {operation}")]
    Database { operation: &'static str, source: sqlx::Error },
    #[error("could not {operation} {path}")]
    Io { operation: &'static str, path: PathBuf, source: std::io::Error },
    #[error("could not write the data file {path}")]
    Parquet { path: PathBuf, source: parquet::errors::ParquetError },
    #[error("could not read the data file {path}")]
    Unreadable { path: PathBuf, source: parquet::errors::ParquetError },
    #[error("the catalog has format version {found}, and this Orrery knows {supported} and older: use a newer Orrery")]
    NewerFormat { found: i64, supported: i64 },
    #[error("the catalog has format version {found}, older than {supported}: start the server on it once")]
    OlderFormat { found: i64, supported: i64 },
    #[error("the catalog is a DuckLake that Orrery did not create: use another data folder")]
    Foreign,
    #[error(
        "column {column} of table {table} is not the one that this Orrery writes: the data folder is another version's"
    )]
    SchemaMismatch { table: String, column: String },
    #[error("the catalog is damaged: {0}")]
    Corrupt(String),
    #[error(
        "writer {writer} of epoch {epoch} is no longer the one that may write this lake, or has flushed this before"
    )]
    Fenced { writer: String, epoch: u64 },
    #[error("the flush was given sequences {first} to {through}, which is no range after {flushed}")]
    Sequence { first: u64, through: u64, flushed: u64 },
    /// Nothing has changed: what was to take the file's place is superfluous.
    #[error("lost the race: data file {id} was replaced or dropped by another commit")]
    LostRace { id: i64 },
    #[error(transparent)]
    Learn(#[from] LearnError),
    #[error("stopped before it was done; nothing has changed")]
    Stopped,
    #[error("the thread that merged files panicked; nothing has changed")]
    Panicked,
}

/// Why a table does not learn a key, or not what is asked of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LearnError {
    #[error("tenant {0} has no tables yet: its first telemetry makes them")]
    NoTenant(TenantId),
    #[error("table {0} has no attributes")]
    NoAttributes(TableName),
    #[error("{0:?} cannot have a column: a key is 1 to {max} bytes without control characters", max = MAX_LEARNED_KEY_BYTES)]
    Key(String),
    #[error("{0} values cannot have a column, only string and int")]
    Type(&'static str),
    #[error("{0} is read from the map by rules of its own and cannot have a column")]
    Special(String),
    #[error("table {table} has the column {column:?} from the start")]
    Promoted { table: TableName, column: String },
    #[error("table {table} has the column {column:?}, and names of columns are compared without case")]
    Collision { table: TableName, column: String },
    #[error("table {table} has the column {column:?} of type {value_type}, and a column keeps its type")]
    OtherType { table: TableName, column: String, value_type: &'static str },
    #[error("table {0} has learned {max} keys, which is the most", max = MAX_LEARNED)]
    Full(TableName),
    #[error("table {table} has not learned {key:?}")]
    Unknown { table: TableName, key: String },
}

impl LakeError {
    /// Whether the same call may succeed later: a full disk, a locked database.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Database { .. } | Self::Io { .. } | Self::Parquet { .. } | Self::Stopped)
    }
}
