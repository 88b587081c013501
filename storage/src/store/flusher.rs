//! Moves sealed parts of the memtable into files, one after another, in a task of its own: by size, by age, on request.
//! A failed flush is tried again; the rows stay readable in memory and safe in the log. Never holds up an append.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use orrery_model::SnapshotId;

use super::{Shared, StoreConfig, StoreError, Ticket, blocking};
use crate::memtable::Part;
use crate::wal::Wal;

/// SQLite's code for a database that finds no room.
const SQLITE_FULL: &str = "13";

/// How far the files are.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    through: u64,
    /// The failures so far, and what the last one was.
    failures: u64,
    failure: Arc<str>,
    /// Whether the last one was for lack of room on the disk.
    is_full: bool,
}

impl Progress {
    pub fn new(through: u64) -> Self {
        Self { through, failures: 0, failure: "".into(), is_full: false }
    }
}

/// What a requested flush did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushReport {
    /// All requests up to this one are in files.
    pub flushed_sequence: u64,
    /// Rows that were in memory and not sealed or not yet written when the flush was asked for.
    pub rows: u64,
    pub snapshot: SnapshotId,
}

/// Seals what is there and waits until it is in files, or until a try fails.
pub(super) async fn request(shared: &Shared) -> Result<FlushReport, StoreError> {
    let mut progress = shared.flush_progress.subscribe();
    let failures = progress.borrow_and_update().failures;
    let (through, rows) = shared.memtable.seal().unwrap_or_default();
    shared.flush_wanted.notify_one();
    let done = {
        let wait = progress.wait_for(|p| p.through >= through || p.failures > failures);
        tokio::select! {
            biased;
            done = wait => done.map(|p| p.clone()).map_err(|_| StoreError::Closed)?,
            () = shared.stop.cancelled() => return Err(StoreError::Closed),
        }
    };
    if done.through < through {
        let failure = if done.is_full { StoreError::DiskFull } else { StoreError::Flush };
        return Err(failure(done.failure));
    }
    Ok(FlushReport { flushed_sequence: done.through, rows, snapshot: shared.memtable.view().id })
}

/// Flushes until told to stop; a flush under way is finished first.
pub(super) async fn run(shared: Arc<Shared>, wal: Arc<Wal<Ticket>>) {
    let mut retry = Retry { wait: shared.config.flush_retry, at: None };
    while !shared.stop.is_cancelled() {
        let since = shared.memtable.active_since();
        let by_age = since.unwrap_or_else(Instant::now) + shared.config.flush_age;
        let wake = retry.at.map_or(by_age, |at| at.min(by_age));
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = shared.flush_wanted.notified() => {}
            () = tokio::time::sleep_until(wake.into()) => {}
        }
        if shared.memtable.active_since().is_some_and(|since| since.elapsed() >= shared.config.flush_age) {
            shared.memtable.seal();
        }
        while let Some(part) = shared.memtable.oldest_sealed() {
            if flush_part(&shared, &part).await {
                retry = Retry { wait: shared.config.flush_retry, at: None };
                drop(part);
                drop_segments(&shared, &wal).await;
            } else {
                retry.later();
                break;
            }
        }
    }
}

struct Retry {
    wait: Duration,
    at: Option<Instant>,
}

impl Retry {
    fn later(&mut self) {
        self.at = Some(Instant::now() + self.wait);
        self.wait = (self.wait * 2).min(StoreConfig::MAX_FLUSH_RETRY);
    }
}

/// Writes one part; gives false where that failed.
async fn flush_part(shared: &Shared, part: &Part) -> bool {
    let started = Instant::now();
    // Nobody else shows a view that has these rows in files before memory has let them go.
    let changing = shared.changing_files.lock().await;
    let result = shared.target.flush(part.first, part.through, part.batches()).await;
    let counters = &shared.counters;
    match result {
        Ok(view) => {
            shared.memtable.flushed(part, view);
            drop(changing);
            counters.flushes.fetch_add(1, Ordering::Relaxed);
            counters.flushed_rows.fetch_add(part.rows, Ordering::Relaxed);
            let elapsed = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
            counters.flush_ns.fetch_add(elapsed, Ordering::Relaxed);
            tracing::info!(
                flush.first = part.first,
                flush.through = part.through,
                flush.rows = part.rows,
                flush.bytes = part.bytes,
                flush.ms = started.elapsed().as_millis(),
                "flushed"
            );
            shared.flush_progress.send_modify(|p| p.through = part.through);
            true
        }
        Err(error) => {
            counters.flush_failures.fetch_add(1, Ordering::Relaxed);
            let (message, is_full) = (chain(&*error), is_disk_full(&*error));
            tracing::error!(error = message, flush.first = part.first, "a flush failed and will be tried again");
            shared.flush_progress.send_modify(|p| {
                p.failures += 1;
                p.failure = message.into();
                p.is_full = is_full;
            });
            false
        }
    }
}

/// Removes the log's segments that are in files altogether. What cannot be removed is tried again after the next flush.
pub(super) async fn drop_segments(shared: &Shared, wal: &Arc<Wal<Ticket>>) {
    let (wal, settled) = (Arc::clone(wal), shared.target.settled_sequence());
    if let Err(error) = blocking(move || wal.drop_through(settled)).await {
        tracing::error!(%error, "cannot remove a flushed segment of the log");
    }
}

/// Whether a full disk, or a quota, is at the bottom of an error, of a file's or of SQLite's.
pub(crate) fn is_disk_full(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::{Error, ErrorKind};
    let is_full = |error: &(dyn std::error::Error + 'static)| {
        let of_file = error.downcast_ref::<Error>().map(Error::kind);
        let of_catalog = error.downcast_ref::<sqlx::Error>().and_then(sqlx::Error::as_database_error);
        matches!(of_file, Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
            || of_catalog.is_some_and(|error| error.code().as_deref() == Some(SQLITE_FULL))
    };
    std::iter::successors(Some(error), |error| error.source()).any(is_full)
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    message
}
