//! Why the store could not open, flush or take a request. Each error of an append knows whether trying again helps.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::lake::LakeError;
use crate::lock::LockError;
use crate::wal::{Refused, WalError};

/// What a file target failed with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("cannot {operation} the data folder {}: {source}", dir.display())]
    Dir { operation: &'static str, dir: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Wal(#[from] WalError),
    #[error("cannot open the lake: {0}")]
    Lake(#[from] LakeError),
    #[error("cannot flush what the log holds: {0}")]
    Flush(Arc<str>),
    #[error("cannot flush what the log holds, the data volume is full: {0}")]
    DiskFull(Arc<str>),
    #[error("cannot {operation} the files of the lake")]
    Upkeep { operation: &'static str, source: LakeError },
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    #[error("the store flushes to what is no lake")]
    NoLake,
    #[error("the store is closed")]
    Closed,
}

/// Why a request was not stored. After `Fatal` and `Closed` it may be in the log all the same, unacknowledged; after the
/// others it is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("the data volume is nearly full; ingest resumes when there is room")]
    NoSpace,
    #[error("more is coming in than can be written to files; try again soon")]
    Overloaded,
    #[error("the server is shutting down")]
    Closed,
    #[error("the write-ahead log failed ({0}) and takes nothing more until the server is started again")]
    Fatal(Arc<str>),
    #[error("a request of {bytes} bytes is larger than the log's limit of {limit}")]
    TooLarge { bytes: usize, limit: usize },
}

impl AppendError {
    /// How long the sender should wait before trying again here; `None` where that does not help.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NoSpace => Some(Duration::from_secs(10)),
            Self::Overloaded => Some(Duration::from_secs(1)),
            Self::Closed | Self::Fatal(_) | Self::TooLarge { .. } => None,
        }
    }
}

impl From<Refused> for AppendError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NoSpace => Self::NoSpace,
            Refused::Fatal(why) => Self::Fatal(why),
            Refused::Closed => Self::Closed,
        }
    }
}
