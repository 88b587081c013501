//! Why the lake could not do what was asked. Each error says whether the same call may succeed later.

use std::path::PathBuf;

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
    #[error("stopped before it was done; nothing has changed")]
    Stopped,
    #[error("the thread that merged files panicked; nothing has changed")]
    Panicked,
}

impl LakeError {
    /// Whether the same call may succeed later: a full disk, a locked database.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Database { .. } | Self::Io { .. } | Self::Parquet { .. } | Self::Stopped)
    }
}
