//! The floor of free space: below it ingest stops, above it resumes. Near it looks at every request, else no more often
//! than it was told to.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::StoreConfig;
use crate::fs::FileSystem;

/// More than is written between two looks; with less room above the floor than that, none is left out.
const NEAR_BYTES: u64 = 512 << 20;

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
}

impl SpaceGate {
    pub fn new(config: &StoreConfig, fs: Arc<dyn FileSystem>) -> Self {
        Self {
            fs,
            dir: config.dir.clone(),
            floor_bytes: config.floor_free_bytes,
            every: config.free_space_every,
            seen: Mutex::new(Seen { at: None, free_bytes: None }),
        }
    }

    /// Whether there is more room than the floor. A system that does not say is trusted to fail the write.
    pub fn admits(&self) -> bool {
        self.free_bytes().is_none_or(|free| free >= self.floor_bytes)
    }

    pub fn free_bytes(&self) -> Option<u64> {
        let mut seen = self.seen.lock();
        let is_near = seen.free_bytes.is_some_and(|free| free < self.floor_bytes.saturating_add(NEAR_BYTES));
        if is_near || seen.at.is_none_or(|at| at.elapsed() >= self.every) {
            let free = self.fs.free_bytes(&self.dir).inspect_err(|error| {
                tracing::warn!(%error, dir = %self.dir.display(), "cannot tell the free space of the data volume");
            });
            let was_low = seen.free_bytes.is_some_and(|free| free < self.floor_bytes);
            *seen = Seen { at: Some(Instant::now()), free_bytes: free.ok() };
            self.log_change(was_low, seen.free_bytes);
        }
        seen.free_bytes
    }

    fn log_change(&self, was_low: bool, free_bytes: Option<u64>) {
        let is_low = free_bytes.is_some_and(|free| free < self.floor_bytes);
        if is_low && !was_low {
            tracing::error!(free_bytes, floor_bytes = self.floor_bytes, "the data volume is nearly full: ingest stops");
        } else if was_low && !is_low {
            tracing::info!(free_bytes, "there is room again: ingest resumes");
        }
    }
}
