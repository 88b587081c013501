//! Keeps the lake by itself: merges files as they pile up, drops what need not be kept, deletes what no one reads any more.
//! Two tasks beside the flusher's; whoever asks for it by hand waits for their turn. Ingest and queries come first. Never
//! touches the log or memory, and loses nothing where it is stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use orrery_model::Clock;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Shared, Store, StoreError, chain};
use crate::compact::{Compacted, Compactor, Files};
use crate::lake::{Expired, Lake, LakeError, LakeView};
use crate::parquet::WrittenFile;
use crate::retention::{self, Disk, Why};
use crate::verify::{Verified, verify};

/// Between two looks for files that are not in the catalog. The start removes them too.
const ORPHANS_EVERY: Duration = Duration::from_secs(3600);
/// A file younger than this is no orphan, whatever the catalog says: it may be about to be committed.
const ORPHAN_AGE: Duration = Duration::from_secs(3600);
/// The longest that a merge pauses for ingest before it does a little: files must not pile up for ever.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Between two looks whether ingest still needs the machine.
const PAUSE: Duration = Duration::from_millis(20);
/// Between two looks whether the disk is short of room.
const LOOK: Duration = Duration::from_secs(1);
/// A stop waits for so long for a merge to notice; one that does not leaves an orphan to the next start.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// What one round of upkeep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Upkept {
    /// Files that are in no query from now on, and their rows and bytes.
    pub dropped_files: u64,
    pub dropped_rows: u64,
    pub dropped_bytes: u64,
    /// Snapshots that are no longer in the catalog.
    pub expired_snapshots: u64,
    /// Files deleted from the disk, and their bytes.
    pub deleted_files: u64,
    pub deleted_bytes: u64,
    /// Files that are to be deleted and that a query still holds.
    pub waiting_files: u64,
    /// Files that were not in the catalog, and are deleted.
    pub orphans: u64,
}

/// Counted since the start, but for `pending_bytes`.
#[derive(Debug, Default)]
pub struct UpkeepCounters {
    /// By [`Why`].
    pub dropped_files: [AtomicU64; Why::ALL.len()],
    pub dropped_rows: [AtomicU64; Why::ALL.len()],
    pub dropped_bytes: [AtomicU64; Why::ALL.len()],
    pub expired_snapshots: AtomicU64,
    pub deleted_files: AtomicU64,
    pub deleted_bytes: AtomicU64,
    pub orphans: AtomicU64,
    pub failures: AtomicU64,
    /// Files on the disk that are in no query any more, when it was last looked.
    pub pending_bytes: AtomicU64,
    /// What merges waited for ingest.
    pub paused_ns: AtomicU64,
    pub is_merging: AtomicBool,
    pub is_paused: AtomicBool,
}

impl Store {
    /// Merges all files that can be merged now, and says what was done. Waits where merging is under way. Goes on where the
    /// caller does not.
    pub async fn compact(&self) -> Result<Compacted, StoreError> {
        let keeper = self.keeper.clone().ok_or(StoreError::NoLake)?;
        detached(async move { keeper.compact().await }).await
    }

    /// Drops what need not be kept, and deletes the files that no query can read any more.
    pub async fn expire(&self) -> Result<Upkept, StoreError> {
        let keeper = self.keeper.clone().ok_or(StoreError::NoLake)?;
        detached(async move { keeper.expire().await }).await
    }

    /// Reads every file against the catalog, beside all else.
    pub async fn verify(&self) -> Result<Verified, StoreError> {
        let stop = self.keeper.as_ref().ok_or(StoreError::NoLake)?.stop.clone();
        let verified = verify(&self.shared.config.dir, ORPHAN_AGE, move || !stop.is_cancelled()).await;
        verified.map_err(|source| match source {
            LakeError::Stopped => StoreError::Closed,
            source => StoreError::Upkeep { operation: "verify", source },
        })
    }

    /// Lets what can wait for another start end soon: merges, deletions, verification. The first step of a stop; appends and
    /// flushes go on.
    pub fn stop_keeping(&self) {
        if let Some(keeper) = &self.keeper {
            keeper.stop.cancel();
        }
    }
}

/// Runs to the end whether or not the caller waits for it.
async fn detached<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Who keeps the lake of one store.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    lake: Arc<Lake>,
    clock: Arc<dyn Clock>,
    compactor: tokio::sync::Mutex<Compactor>,
    /// Held through a round of upkeep: when orphans were looked for last.
    orphans_at: tokio::sync::Mutex<Option<Instant>>,
    stop: CancellationToken,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Keeper {
    pub(super) fn start(shared: &Arc<Shared>, lake: Arc<Lake>, clock: Arc<dyn Clock>) -> Arc<Self> {
        let stop = shared.stop.child_token();
        let files = Arc::new(StoreFiles { shared: Arc::clone(shared), lake: Arc::clone(&lake), stop: stop.clone() });
        let compactor = Compactor::new(
            Arc::clone(&lake),
            files,
            shared.config.compaction.clone(),
            Arc::clone(&clock),
            Arc::clone(&shared.compaction),
        );
        let keeper = Arc::new(Self {
            shared: Arc::clone(shared),
            lake,
            clock,
            compactor: tokio::sync::Mutex::new(compactor),
            orphans_at: tokio::sync::Mutex::new(Some(Instant::now())),
            stop,
            tasks: Mutex::default(),
        });
        let mut tasks = vec![tokio::spawn(Arc::clone(&keeper).keep_up())];
        if keeper.shared.config.compaction.enabled {
            tasks.push(tokio::spawn(Arc::clone(&keeper).keep_merging()));
        }
        *keeper.tasks.lock() = tasks;
        keeper
    }

    /// Ends both tasks; a merge under way leaves nothing.
    pub(super) async fn stop(&self) {
        self.stop.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for mut task in tasks {
            match tokio::time::timeout(STOP_TIMEOUT, &mut task).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "a task that keeps the lake panicked"),
                Err(_) => {
                    tracing::warn!("a merge did not stop in time and is abandoned; nothing is lost");
                    task.abort();
                }
            }
        }
    }

    async fn keep_merging(self: Arc<Self>) {
        while self.rested(self.shared.config.compaction.every).await {
            match self.merge(false).await {
                Ok(_) => {}
                Err(LakeError::Stopped) => return,
                Err(error @ LakeError::Fenced { .. }) => {
                    tracing::error!(error = chain(&error), "another server writes this lake: merging ends");
                    return;
                }
                Err(error) => tracing::error!(error = chain(&error), "merging failed and will be tried again"),
            }
        }
    }

    async fn keep_up(self: Arc<Self>) {
        while self.upkeep_is_due().await {
            if let Err(error) = self.upkeep(false).await {
                self.shared.upkeep.failures.fetch_add(1, Ordering::Relaxed);
                tracing::error!(error = chain(&error), "upkeep of the lake failed and will be tried again");
            }
        }
    }

    /// Waits for the next round, which comes at once where the disk is short of room; false where the store is being closed.
    async fn upkeep_is_due(&self) -> bool {
        let next = Instant::now() + self.shared.config.upkeep_every;
        loop {
            if !self.rested(next.saturating_duration_since(Instant::now()).min(LOOK)).await {
                return false;
            }
            if Instant::now() >= next || self.is_short_of_room() {
                return true;
            }
        }
    }

    fn free_bytes(&self) -> Option<u64> {
        self.lake.fs().free_bytes(self.lake.data_path()).ok()
    }

    fn is_short_of_room(&self) -> bool {
        self.free_bytes().is_some_and(|free| free < self.shared.config.retention.free_bytes)
    }

    /// Waits; gives false where the store is being closed.
    async fn rested(&self, time: Duration) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = tokio::time::sleep(time) => true,
        }
    }

    /// Merges all there is to merge.
    pub(super) async fn compact(&self) -> Result<Compacted, StoreError> {
        let merged = self.merge(true).await;
        merged.map_err(|source| match source {
            LakeError::Stopped => StoreError::Closed,
            source => StoreError::Upkeep { operation: "merge", source },
        })
    }

    async fn merge(&self, all: bool) -> Result<Compacted, LakeError> {
        let mut compactor = tokio::select! {
            () = self.stop.cancelled() => return Err(LakeError::Stopped),
            compactor = self.compactor.lock() => compactor,
        };
        let is_merging = &self.shared.upkeep.is_merging;
        is_merging.store(true, Ordering::Relaxed);
        let merged = compactor.run(all).await;
        is_merging.store(false, Ordering::Relaxed);
        merged
    }

    /// A round of upkeep, at once.
    pub(super) async fn expire(&self) -> Result<Upkept, StoreError> {
        self.upkeep(true).await.map_err(|source| StoreError::Upkeep { operation: "drop or delete", source })
    }

    async fn upkeep(&self, all: bool) -> Result<Upkept, LakeError> {
        let mut orphans_at = self.orphans_at.lock().await;
        let mut done = Upkept::default();
        self.retain(&mut done).await?;
        // Ingest that stops is worse than a reader elsewhere that has to ask again.
        let at_once = self.is_short_of_room();
        let grace = if at_once { Duration::ZERO } else { self.shared.config.grace };
        let Expired { snapshots, files, bytes, waiting } = self.lake.expire(grace).await?;
        if files > 0 {
            tracing::info!(
                upkeep.at_once = at_once,
                upkeep.snapshots = snapshots,
                upkeep.files = files,
                upkeep.bytes = bytes,
                upkeep.waiting = waiting,
                "deleted files that no query can read any more"
            );
        }
        (done.expired_snapshots, done.deleted_files) = (snapshots, files);
        (done.deleted_bytes, done.waiting_files) = (bytes, waiting);
        if all || orphans_at.is_none_or(|at| at.elapsed() >= ORPHANS_EVERY) {
            *orphans_at = Some(Instant::now());
            done.orphans = self.lake.remove_orphans(ORPHAN_AGE).await? as u64;
        }
        let pending = self.lake.pending_bytes().await?;
        let counters = &self.shared.upkeep;
        counters.pending_bytes.store(pending, Ordering::Relaxed);
        for (counter, by) in [
            (&counters.expired_snapshots, done.expired_snapshots),
            (&counters.deleted_files, done.deleted_files),
            (&counters.deleted_bytes, done.deleted_bytes),
            (&counters.orphans, done.orphans),
        ] {
            counter.fetch_add(by, Ordering::Relaxed);
        }
        Ok(done)
    }

    /// Takes what need not be kept out of the lake.
    async fn retain(&self, done: &mut Upkept) -> Result<(), LakeError> {
        let pending_bytes = self.lake.pending_bytes().await?;
        let disk = || self.free_bytes().map(|free_bytes| Disk { free_bytes, pending_bytes });
        let view = self.lake.view();
        for dropped in retention::choose(&view, &self.shared.config.retention, self.clock.now_ns(), disk) {
            let ids: Vec<i64> = dropped.files.iter().map(|file| file.id).collect();
            let (files, rows, bytes) = (ids.len() as u64, dropped.rows(), dropped.bytes());
            {
                let _changing = self.shared.changing_files.lock().await;
                match self.lake.remove(&ids).await {
                    Ok(view) => self.shared.memtable.replaced(view),
                    // A merge has just put another in the place of one; the next round sees that.
                    Err(LakeError::LostRace { .. }) => continue,
                    Err(error) => return Err(error),
                }
            }
            let newest = dropped.files.iter().map(|file| file.max_timestamp_ns).max().unwrap_or_default();
            tracing::info!(
                retention.why = dropped.why.word(),
                retention.tenant = %dropped.tenant,
                retention.table = %dropped.table,
                retention.newest = %chrono::DateTime::from_timestamp_nanos(newest).to_rfc3339(),
                retention.files = files,
                retention.rows = rows,
                retention.bytes = bytes,
                "dropped files that need not be kept"
            );
            done.dropped_files += files;
            done.dropped_rows += rows;
            done.dropped_bytes += bytes;
            let counters = &self.shared.upkeep;
            let why = dropped.why as usize;
            for (counter, by) in [
                (&counters.dropped_files[why], files),
                (&counters.dropped_rows[why], rows),
                (&counters.dropped_bytes[why], bytes),
            ] {
                counter.fetch_add(by, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

/// The files as merges see them: a merge changes files and what queries see of them at once.
struct StoreFiles {
    shared: Arc<Shared>,
    lake: Arc<Lake>,
    stop: CancellationToken,
}

impl Files for StoreFiles {
    fn view(&self) -> Arc<LakeView> {
        self.lake.view()
    }

    fn replace<'a>(&'a self, removed: &'a [i64], written: Vec<WrittenFile>) -> BoxFuture<'a, Result<(), LakeError>> {
        async move {
            let _changing = self.shared.changing_files.lock().await;
            let view = self.lake.replace(removed, written).await?;
            self.shared.memtable.replaced(view);
            Ok(())
        }
        .boxed()
    }

    fn goes_on(&self) -> bool {
        let (upkeep, started) = (&self.shared.upkeep, Instant::now());
        while !self.stop.is_cancelled() && self.shared.is_pressed() && started.elapsed() < LONGEST_PAUSE {
            upkeep.is_paused.store(true, Ordering::Relaxed);
            std::thread::sleep(PAUSE);
        }
        if upkeep.is_paused.swap(false, Ordering::Relaxed) {
            let paused_ns = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
            upkeep.paused_ns.fetch_add(paused_ns, Ordering::Relaxed);
        }
        !self.stop.is_cancelled()
    }
}
