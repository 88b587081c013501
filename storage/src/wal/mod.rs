//! The write-ahead log: what was acknowledged and is not yet in a Parquet file. Numbered segments of records, one writer
//! thread, one fdatasync for all requests that came while the one before ran. The byte format is in `storage/FORMAT.md`.
//! Never decides what a record means: it stores OTLP bytes and gives them back.

mod format;
mod mend;
mod reader;
mod writer;

use std::io;
use std::path::{Path, PathBuf};

pub use format::{CODEC_ZSTD, RecordBody};
pub use reader::{Damage, Scan, Scanned, SegmentInfo, scan};
pub use writer::{Entry, Outcome, Refused, Wal, WalConfig};

const SUFFIX: &str = ".wal";
/// A segment whose head is not on stable storage yet.
const UNFINISHED_SUFFIX: &str = ".wal.new";

fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}{SUFFIX}"))
}

/// Why the log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    #[error("cannot {operation} {}: {source}", path.display())]
    Io { operation: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "{} has write-ahead log format version {version} at byte {offset}, and this program knows version {known} only; \
         start the newer version that wrote it, or let that flush and stop cleanly first", path.display(), known = format::VERSION
    )]
    UnknownVersion { path: PathBuf, offset: u64, version: u8 },
}

impl WalError {
    pub(crate) fn io(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { operation, path, source }
    }
}
