//! The floor of free space: below it ingest stops, above it resumes. Looks no more often than it was told to, unless what
//! was written since the last look may have used up the room.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::StoreConfig;
use crate::fs::FileSystem;

pub(super) struct SpaceGate {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    floor_bytes: u64,
    every: Duration,
    seen: Mutex<Seen>,
}

struct Seen {
    at: Option<Instant>,
    /// `None` where the system does not say.
    free_bytes: Option<u64>,
    /// Bytes that went to the log since.
    taken: u64,
}

impl Seen {
    fn is_below(&self, floor_bytes: u64) -> bool {
        self.free_bytes.is_some_and(|free| free < floor_bytes)
    }

    /// Whether the room that there was may be used up.
    fn is_outdated(&self, floor_bytes: u64) -> bool {
        !self.is_below(floor_bytes) && self.free_bytes.is_some_and(|free| free - floor_bytes < self.taken)
    }
}

impl SpaceGate {
    pub fn new(config: &StoreConfig, fs: Arc<dyn FileSystem>) -> Self {
        Self {
            fs,
            dir: config.dir.clone(),
            floor_bytes: config.floor_free_bytes,
            every: config.free_space_every,
            seen: Mutex::new(Seen { at: None, free_bytes: None, taken: 0 }),
        }
    }

    /// Whether there is more room than the floor. A system that does not say is trusted to fail the write.
    pub fn admits(&self) -> bool {
        self.free_bytes().is_none_or(|free| free >= self.floor_bytes)
    }

    /// Takes down what goes to the log.
    pub fn take(&self, bytes: usize) {
        self.seen.lock().taken += bytes as u64;
    }

    pub fn free_bytes(&self) -> Option<u64> {
        let mut seen = self.seen.lock();
        if seen.at.is_none_or(|at| at.elapsed() >= self.every) || seen.is_outdated(self.floor_bytes) {
            let free = self.fs.free_bytes(&self.dir).inspect_err(|error| {
                tracing::warn!(%error, dir = %self.dir.display(), "cannot tell the free space of the data volume");
            });
            let was_low = seen.is_below(self.floor_bytes);
            *seen = Seen { at: Some(Instant::now()), free_bytes: free.ok(), taken: 0 };
            self.log_change(was_low, &seen);
        }
        seen.free_bytes
    }

    fn log_change(&self, was_low: bool, seen: &Seen) {
        let (is_low, free_bytes) = (seen.is_below(self.floor_bytes), seen.free_bytes);
        if is_low && !was_low {
            tracing::error!(free_bytes, floor_bytes = self.floor_bytes, "the data volume is nearly full: ingest stops");
        } else if was_low && !is_low {
            tracing::info!(free_bytes, "there is room again: ingest resumes");
        }
    }
}
