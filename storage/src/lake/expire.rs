//! What no longer counts goes: snapshots that were superseded long enough ago, and then the files that no snapshot names,
//! once nobody here reads them. What is to be deleted stands in the catalog until it is, so that a stop loses nothing.

use std::collections::{HashSet, VecDeque};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use orrery_model::SnapshotId;

use super::{Lake, LakeError};
use crate::catalog::Scheduled;
use crate::fs::FileSystem;
use crate::parquet::FileName;

/// What [`Lake::expire`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Snapshots that are no longer in the catalog.
    pub snapshots: u64,
    /// Files deleted from the disk, and their size.
    pub files: u64,
    pub bytes: u64,
    /// Files that are to be deleted and that a query still holds, or that could not be deleted; the next time.
    pub waiting: u64,
}

/// Which snapshot was the newest when, by this process' steady clock; the oldest first. A wall clock that is set changes
/// nothing, and a restart begins anew, which only makes things wait longer.
#[derive(Debug, Default)]
pub(super) struct Horizon(VecDeque<(Instant, SnapshotId)>);

impl Horizon {
    /// Notes the newest snapshot of now; gives the one that was the newest `grace` ago, where that is known. Whoever pinned an
    /// older one did so longer ago than that.
    fn pass(&mut self, now: Instant, newest: SnapshotId, grace: Duration) -> Option<SnapshotId> {
        if self.0.back().is_none_or(|(_, last)| *last != newest) {
            self.0.push_back((now, newest));
        }
        let is_past = |entry: Option<&(Instant, SnapshotId)>| entry.is_some_and(|e| now.duration_since(e.0) >= grace);
        while is_past(self.0.get(1)) {
            self.0.pop_front();
        }
        self.0.front().filter(|entry| is_past(Some(entry))).map(|(_, id)| *id)
    }
}

impl Lake {
    /// Drops the snapshots that were superseded longer than `grace` ago from the catalog, and deletes the files that no
    /// other snapshot names. `grace` is longer than any query runs, here or in another program; files that a query of
    /// this process holds all the same stay until a later call. The first call only notes the time.
    pub async fn expire(&self, grace: Duration) -> Result<Expired, LakeError> {
        let mut expired = Expired::default();
        let mut catalog = Arc::clone(&self.catalog).lock_owned().await;
        let oldest = self.horizon.lock().pass(Instant::now(), self.view().id, grace);
        if let Some(oldest) = oldest {
            expired.snapshots = catalog.expire(oldest).await?;
        }
        let scheduled = catalog.scheduled().await?;
        if scheduled.is_empty() {
            return Ok(expired);
        }
        // A damaged log of SQLite's takes commits back; the files that they ended must be there then.
        let is_settled = catalog.settle().await?;
        drop(catalog);

        let (free, held): (Vec<_>, Vec<_>) = {
            let live = self.live_files();
            scheduled.into_iter().partition(|file| is_settled && live.may_go(file) && !self.is_read(file.id))
        };
        expired.waiting = held.len() as u64;
        let (fs, data_path, steps) = (Arc::clone(&self.fs), self.data_path.clone(), self.steps.clone());
        let deleting = tokio::task::spawn_blocking(move || {
            free.into_iter()
                .filter_map(|file| {
                    let deleted = delete(&*fs, &data_path.join(&file.path));
                    steps.reached("a file is deleted");
                    deleted.map(|bytes| (file, bytes))
                })
                .collect::<Vec<_>>()
        });
        let deleted = deleting.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        expired.files = deleted.len() as u64;
        expired.bytes = deleted.iter().map(|(_, bytes)| bytes).sum();
        let ids: Vec<i64> = deleted.iter().map(|(file, _)| file.id).collect();
        let mut catalog = Arc::clone(&self.catalog).lock_owned().await;
        catalog.forget(&ids).await?;
        // Under the lock no flush is about to write into one of the folders.
        self.remove_empty_folders(deleted.iter().map(|(file, _)| self.data_path.join(&file.path)));
        let mut retired = self.retired.lock();
        ids.iter().for_each(|id| drop(retired.remove(id)));
        Ok(expired)
    }

    /// Bytes of the files that are on the disk and no longer in the newest snapshot.
    pub async fn pending_bytes(&self) -> Result<u64, LakeError> {
        let mut catalog = Arc::clone(&self.catalog).lock_owned().await;
        let ended = catalog.ended_bytes().await?;
        let scheduled = catalog.scheduled().await?;
        let size = |path: PathBuf| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        Ok(ended + scheduled.iter().map(|file| size(self.data_path.join(&file.path))).sum::<u64>())
    }

    fn live_files(&self) -> Live {
        let view = self.view();
        let relative = |path: &Path| path.strip_prefix(&self.data_path).ok().map(Path::to_owned);
        Live {
            ids: view.all_files().map(|file| file.id).collect(),
            paths: view.all_files().filter_map(|file| relative(&file.path)).collect(),
        }
    }

    fn is_read(&self, id: i64) -> bool {
        self.retired.lock().get(&id).is_some_and(|file| file.strong_count() > 0)
    }

    fn remove_empty_folders(&self, files: impl Iterator<Item = PathBuf>) {
        let folders: HashSet<PathBuf> = files.filter_map(|path| path.parent().map(Path::to_owned)).collect();
        for folder in folders {
            // Fails for a folder that holds anything, which is what is wanted.
            let _ = self.fs.remove_dir(&folder);
        }
    }
}

/// The files that must not be deleted, whatever a list says.
struct Live {
    ids: HashSet<i64>,
    /// Below the data folder.
    paths: HashSet<PathBuf>,
}

impl Live {
    /// Whether what stands in the list of files to delete is a file of ours that is not live. Anything else is damage.
    fn may_go(&self, file: &Scheduled) -> bool {
        let is_ours = FileName::of_path(&file.path).is_some_and(|name| name.is_ours());
        let is_below = Path::new(&file.path).components().all(|part| matches!(part, Component::Normal(_)));
        let may_go = is_ours && is_below && !self.ids.contains(&file.id) && !self.paths.contains(Path::new(&file.path));
        if !may_go {
            tracing::error!(file = file.path, "the list of files to delete names one that must stay");
        }
        may_go
    }
}

/// Gives the size of what was deleted; nothing for a file that is gone already, `None` for one that cannot be deleted.
fn delete(fs: &dyn FileSystem, path: &Path) -> Option<u64> {
    let size = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    match fs.unlink(path) {
        Ok(()) => Some(size),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(0),
        Err(error) => {
            tracing::warn!(%error, file = %path.display(), "cannot delete a data file; it is tried again");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_past_when_its_successor_is_old_enough() {
        let (start, grace) = (Instant::now(), Duration::from_secs(60));
        let mut horizon = Horizon::default();
        let mut at = |s: u64, newest: i64| {
            horizon.pass(start + Duration::from_secs(s), SnapshotId(newest), grace).map(|id| id.0)
        };
        assert_eq!(at(0, 5), None, "nothing is known of before");
        assert_eq!(at(59, 5), None);
        assert_eq!(at(60, 5), Some(5), "5 was the newest all the time");
        assert_eq!(at(70, 6), Some(5));
        assert_eq!(at(80, 9), Some(5));
        assert_eq!(at(129, 9), Some(5), "who pinned 5 at 69 may still read");
        assert_eq!(at(130, 9), Some(6));
        assert_eq!(at(140, 9), Some(9));
        assert_eq!(at(10_000, 9), Some(9));
    }
}
