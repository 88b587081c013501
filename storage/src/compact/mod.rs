//! Compaction: the many small files of a table's hour become few large ones, in the table's order, without changing a row.
//! Merges run beside ingest and queries, one at a time, on a thread of low priority, within a number of bytes. A merge that
//! another commit has overtaken throws its file away. Never deletes a file that was in the lake; see [`Lake::expire`].

mod input;
mod merge;
mod plan;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use hashbrown::HashMap;
use orrery_model::{Clock, SystemClock};
use tokio::sync::oneshot;

pub(crate) use self::input::Keys;
use self::merge::{Around, Job, Merged};
use self::plan::{Hour, HourId};
use crate::DataFile;
use crate::budget::MemoryBudget;
use crate::lake::{Lake, LakeError, LakeView};
use crate::parquet::{WrittenFile, hour_of};

/// A merge that gets less memory than this waits for another time.
pub const LEAST_MEMORY_BYTES: usize = 96 << 20;
/// How long an hour whose merge failed is left alone at first; doubled each time.
const FIRST_WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// How files are merged.
#[derive(Clone, Debug)]
pub struct CompactionConfig {
    /// Whether the store does it by itself.
    pub enabled: bool,
    /// How often it looks for something to merge.
    pub every: Duration,
    /// Memory of a merge at most, of `memory`. With less, fewer files are merged at once.
    pub memory_bytes: usize,
    /// What merges and queries have together. A merge for which nothing is left waits.
    pub memory: Arc<MemoryBudget>,
    /// A file of this size is not merged again.
    pub target_bytes: u64,
    /// No merged file outgrows this.
    pub max_bytes: u64,
    /// So many small neighbours are merged in the running hour too.
    pub many_files: usize,
    /// An hour that has ended is settled when no file has come for so long: then its files become as few as they can be.
    pub settle: Duration,
    /// A merge must leave this much of the disk free.
    pub floor_free_bytes: u64,
}

impl Default for CompactionConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            every: Duration::from_secs(15),
            memory_bytes: 256 << 20,
            memory: Arc::new(MemoryBudget::new(512 << 20)),
            target_bytes: 256 << 20,
            max_bytes: 512 << 20,
            many_files: 10,
            settle: Duration::from_secs(120),
            floor_free_bytes: 1 << 30,
        }
    }
}

/// Counted since the start.
#[derive(Debug, Default)]
pub struct CompactionCounters {
    /// Merges that are in the catalog.
    pub runs: AtomicU64,
    pub files: AtomicU64,
    pub rows: AtomicU64,
    pub read_bytes: AtomicU64,
    pub written_bytes: AtomicU64,
    pub duration_ns: AtomicU64,
    pub lost_races: AtomicU64,
    pub failures: AtomicU64,
    /// For lack of memory or of disk.
    pub put_off: AtomicU64,
}

/// What merges did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Compacted {
    pub merges: u64,
    /// Files that were merged, their rows and bytes, and the bytes of those that came of it.
    pub files: u64,
    pub rows: u64,
    pub read_bytes: u64,
    pub written_bytes: u64,
    /// Merges that another commit had overtaken.
    pub lost_races: u64,
    /// Merges that had to wait for memory or for room on the disk.
    pub put_off: u64,
    /// What went wrong, a message a merge.
    pub failures: Vec<String>,
}

/// The lake as merges see it: the store's, which keeps files and memory consistent, or a lake on its own.
pub(crate) trait Files: Send + Sync {
    fn view(&self) -> Arc<LakeView>;
    fn replace<'a>(&'a self, removed: &'a [i64], written: Vec<WrittenFile>) -> BoxFuture<'a, Result<(), LakeError>>;
    /// Whether merging may go on at this moment; waits while others need the machine more.
    fn goes_on(&self) -> bool;
}

impl Files for Lake {
    fn view(&self) -> Arc<LakeView> {
        Self::view(self)
    }

    fn replace<'a>(&'a self, removed: &'a [i64], written: Vec<WrittenFile>) -> BoxFuture<'a, Result<(), LakeError>> {
        async move { Self::replace(self, removed, written).await.map(|_| ()) }.boxed()
    }

    fn goes_on(&self) -> bool {
        true
    }
}

/// Merges the files of one lake, one after another.
pub(crate) struct Compactor {
    lake: Arc<Lake>,
    files: Arc<dyn Files>,
    config: CompactionConfig,
    clock: Arc<dyn Clock>,
    pub(crate) counters: Arc<CompactionCounters>,
    /// The newest file of each hour that has several, and since when it is.
    newest: HashMap<HourId, (i64, Instant)>,
    /// Hours that are left alone until then, and for how long the next time.
    resting: HashMap<HourId, (Instant, Duration)>,
}

/// How far one step came.
enum Step {
    Merged,
    /// Something was to be done and was not; the hour is left alone for a while.
    Failed,
    Nothing,
}

impl Compactor {
    pub(crate) fn new(
        lake: Arc<Lake>,
        files: Arc<dyn Files>,
        config: CompactionConfig,
        clock: Arc<dyn Clock>,
        counters: Arc<CompactionCounters>,
    ) -> Self {
        Self { lake, files, config, clock, counters, newest: HashMap::new(), resting: HashMap::new() }
    }

    /// Merges until there is nothing to merge. Where `all` is asked for, hours need not be settled, nor need those wait
    /// whose last merge failed.
    pub(crate) async fn run(&mut self, all: bool) -> Result<Compacted, LakeError> {
        let mut done = Compacted::default();
        if all {
            self.resting.clear();
        }
        while !matches!(self.step(all, &mut done).await?, Step::Nothing) {}
        Ok(done)
    }

    async fn step(&mut self, all: bool, done: &mut Compacted) -> Result<Step, LakeError> {
        let Some((hour, files)) = self.next(all) else { return Ok(Step::Nothing) };
        let bytes: u64 = files.iter().map(|file| file.size_bytes).sum();
        let Some(memory) = self.config.memory.try_hold(LEAST_MEMORY_BYTES, self.config.memory_bytes) else {
            tracing::info!(compaction.used_bytes = self.config.memory.used(), "queries have the memory: merging waits");
            self.put_off(&hour, done);
            return Ok(Step::Failed);
        };
        let free = self.lake.fs().free_bytes(self.lake.data_path()).ok();
        if free.is_some_and(|free| free < bytes.saturating_add(self.config.floor_free_bytes)) {
            tracing::warn!(free_bytes = free, compaction.bytes = bytes, "the disk has no room to merge files");
            self.put_off(&hour, done);
            return Ok(Step::Failed);
        }
        let started = Instant::now();
        let result = self.merge(&hour, files, memory.bytes()).await;
        drop(memory);
        match result {
            Ok(merge) => {
                self.resting.remove(&hour);
                self.count(&merge, started.elapsed(), &hour, done);
                Ok(Step::Merged)
            }
            Err(LakeError::LostRace { id }) => {
                self.counters.lost_races.fetch_add(1, Ordering::Relaxed);
                done.lost_races += 1;
                tracing::info!(compaction.file = id, "another commit was faster; a merged file was thrown away");
                // Where the view does not know of that commit yet, the same merge would be tried again at once.
                let view = self.files.view();
                if view.files(&hour.tenant, hour.table).iter().any(|file| file.id == id) {
                    self.rest(&hour);
                }
                Ok(Step::Failed)
            }
            Err(LakeError::Stopped) => Err(LakeError::Stopped),
            Err(error @ LakeError::Fenced { .. }) => Err(error),
            Err(error) => {
                self.counters.failures.fetch_add(1, Ordering::Relaxed);
                let message = crate::store::chain(&error);
                tracing::error!(
                    error = message,
                    compaction.tenant = %hour.tenant,
                    compaction.table = %hour.table,
                    compaction.hour = hour.hour,
                    "files could not be merged; the hour is left alone for a while"
                );
                done.failures.push(message);
                self.rest(&hour);
                Ok(Step::Failed)
            }
        }
    }

    /// What to merge next.
    fn next(&mut self, all: bool) -> Option<(HourId, Vec<Arc<DataFile>>)> {
        let now = Instant::now();
        let hours = plan::hours(&self.files.view());
        let now_ns = self.clock.now_ns();
        let current = hour_of(now_ns, now_ns);
        self.notice(&hours, now);
        for Hour { id, files } in hours {
            if self.resting.get(&id).is_some_and(|(until, _)| *until > now) {
                continue;
            }
            let is_quiet =
                self.newest.get(&id).is_some_and(|(_, since)| now.duration_since(*since) >= self.config.settle);
            let settled = all || is_quiet && id.hour != current;
            let sizes: Vec<u64> = files.iter().map(|file| file.size_bytes).collect();
            if let Some(range) = plan::choose(&sizes, settled, &self.config) {
                return Some((id, files[range].to_vec()));
            }
        }
        None
    }

    /// Remembers when each hour got its newest file.
    fn notice(&mut self, hours: &[Hour], now: Instant) {
        let known = std::mem::take(&mut self.newest);
        for Hour { id, files } in hours {
            // A merge is no news: it brings no row.
            let newest = files.iter().map(|file| file.received().1).max().unwrap_or(0);
            let since = known.get(id).filter(|(id, _)| *id == newest).map_or(now, |(_, since)| *since);
            self.newest.insert(id.clone(), (newest, since));
        }
        let present: HashSet<&HourId> = hours.iter().map(|hour| &hour.id).collect();
        self.resting.retain(|id, _| present.contains(id));
    }

    /// Merges on a thread of its own, and commits. Dropped, it stops and leaves nothing.
    async fn merge(&self, hour: &HourId, files: Vec<Arc<DataFile>>, memory_bytes: usize) -> Result<Done, LakeError> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let job = Job {
            tenant: hour.tenant.clone(),
            table: hour.table,
            hour: hour.hour,
            files,
            learned: self.lake.view().learned.of(&hour.tenant, hour.table),
            fs: Arc::clone(self.lake.fs()),
            data_path: self.lake.data_path().to_owned(),
            epoch: self.lake.epoch(),
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            memory_bytes,
        };
        let claim = Arc::new(Claim { lake: Arc::clone(&self.lake), path: parking_lot::Mutex::default() });
        let merged = self.on_a_thread(job, Arc::clone(&claim)).await?;
        let done = Done {
            files: merged.files.len(),
            rows: merged.written.rows,
            read_bytes: merged.files.iter().map(|file| file.size_bytes).sum(),
            written_bytes: merged.written.size_bytes,
            path: merged.written.relative_path.clone(),
        };
        let removed: Vec<i64> = merged.files.iter().map(|file| file.id).collect();
        self.files.replace(&removed, vec![merged.written]).await?;
        Ok(done)
    }

    async fn on_a_thread(&self, job: Job, claim: Arc<Claim>) -> Result<Merged, LakeError> {
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = StopWhenDropped(Arc::clone(&stopped));
        let (sender, receiver) = oneshot::channel();
        let (files, steps) = (Arc::clone(&self.files), self.lake.steps().clone());
        let thread = std::thread::Builder::new().name("orrery-compact".to_owned());
        let spawned = thread.spawn(move || {
            // Ingest and queries come first. A system that does not allow it merges at their priority.
            let _ = rustix::process::setpriority_process(None, 10);
            let around = Around {
                steps: &steps,
                claim: &|path| claim.take(path.to_owned()),
                goes_on: &|| !stopped.load(Ordering::Relaxed) && files.goes_on(),
            };
            // Where nobody waits any more the file has been deleted, or is about to be found as an orphan.
            let _ = sender.send(job.run(&around));
        });
        spawned.map_err(|source| LakeError::Io {
            operation: "start a thread to merge files of",
            path: self.lake.data_path().to_owned(),
            source,
        })?;
        let result = receiver.await;
        drop(stop);
        result.unwrap_or(Err(LakeError::Panicked))
    }

    fn count(&self, merge: &Done, elapsed: Duration, hour: &HourId, done: &mut Compacted) {
        let counters = &self.counters;
        let add = |counter: &AtomicU64, sum: &mut u64, by: u64| {
            counter.fetch_add(by, Ordering::Relaxed);
            *sum += by;
        };
        add(&counters.runs, &mut done.merges, 1);
        add(&counters.files, &mut done.files, merge.files as u64);
        add(&counters.rows, &mut done.rows, merge.rows);
        add(&counters.read_bytes, &mut done.read_bytes, merge.read_bytes);
        add(&counters.written_bytes, &mut done.written_bytes, merge.written_bytes);
        let elapsed_ns = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        counters.duration_ns.fetch_add(elapsed_ns, Ordering::Relaxed);
        tracing::info!(
            compaction.tenant = %hour.tenant,
            compaction.table = %hour.table,
            compaction.file = merge.path,
            compaction.files = merge.files,
            compaction.rows = merge.rows,
            compaction.read_bytes = merge.read_bytes,
            compaction.written_bytes = merge.written_bytes,
            compaction.ms = elapsed.as_millis(),
            "merged"
        );
    }

    fn put_off(&mut self, hour: &HourId, done: &mut Compacted) {
        self.counters.put_off.fetch_add(1, Ordering::Relaxed);
        done.put_off += 1;
        self.rest(hour);
    }

    fn rest(&mut self, hour: &HourId) {
        let wait = self.resting.get(hour).map_or(FIRST_WAIT, |(_, wait)| *wait);
        self.resting.insert(hour.clone(), (Instant::now() + wait, (wait * 2).min(LONGEST_WAIT)));
    }
}

/// What one merge did.
struct Done {
    files: usize,
    rows: u64,
    read_bytes: u64,
    written_bytes: u64,
    path: String,
}

struct StopWhenDropped(Arc<AtomicBool>);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A file that is written and no orphan, until it is in the catalog or deleted and the last who knows of it is gone.
struct Claim {
    lake: Arc<Lake>,
    path: parking_lot::Mutex<Option<PathBuf>>,
}

impl Claim {
    fn take(&self, path: PathBuf) {
        self.lake.writing().lock().insert(path.clone());
        *self.path.lock() = Some(path);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(path) = self.path.lock().take() {
            self.lake.writing().lock().remove(&path);
        }
    }
}

impl Lake {
    /// Merges what can be merged now, settled or not, and says what was done. Files that are replaced stay on the disk until
    /// [`Lake::expire`]. Several may run at once, also beside flushes and queries: who comes second loses cleanly.
    pub async fn compact(self: &Arc<Self>, config: &CompactionConfig) -> Result<Compacted, LakeError> {
        let files = Arc::clone(self) as Arc<dyn Files>;
        let counters = Arc::default();
        Compactor::new(Arc::clone(self), files, config.clone(), Arc::new(SystemClock), counters).run(true).await
    }
}
