//! Files that no snapshot names: what a flush or a merge left that ended before its commit. Their rows are elsewhere, in
//! the log or in the files that were to be merged. Never touches a file whose name is not ours.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Lake, LakeError};
use crate::fs::FileSystem;
use crate::parquet::{FileName, io};

/// A data file of ours as it lies on the disk.
struct Found {
    path: PathBuf,
    /// Below the data folder.
    relative: String,
    modified: Option<SystemTime>,
}

impl Found {
    fn is_older(&self, age: Duration) -> bool {
        // A time in the future is a clock that was set: the next start has no need of it.
        self.modified.and_then(|time| time.elapsed().ok()).is_some_and(|old| old >= age)
    }
}

/// Removes the files of ours that are not `referenced` (paths below the data folder). For the start, when nobody writes.
pub(super) fn remove_torn_files(
    fs: &dyn FileSystem,
    data_path: &Path,
    referenced: &HashSet<String>,
) -> Result<(), LakeError> {
    for file in found_below(data_path)?.into_iter().filter(|file| !referenced.contains(&file.relative)) {
        fs.unlink(&file.path).map_err(io("remove the torn file", &file.path))?;
        tracing::info!(file = file.relative, "removed a data file that was never committed");
    }
    Ok(())
}

impl Lake {
    /// Removes the files of ours that were written longer than `age` ago and that the catalog does not name, while the
    /// server runs. Gives how many. Files that a flush or a merge is about to commit are none of them.
    pub async fn remove_orphans(&self, age: Duration) -> Result<usize, LakeError> {
        let data_path = self.data_path.clone();
        let found = tokio::task::spawn_blocking(move || found_below(&data_path));
        let mut found = found.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        found.retain(|file| file.is_older(age));
        if found.is_empty() {
            return Ok(0);
        }
        // A flush writes and commits under the catalog's lock, so none is under way. A merge's file is in `writing` until
        // it is in the catalog: this order sees it in one of the two.
        let mut catalog = Arc::clone(&self.catalog).lock_owned().await;
        let writing = self.writing.lock().clone();
        let referenced = catalog.referenced_paths().await?;
        found.retain(|file| !writing.contains(&file.path) && !referenced.contains(&file.relative));
        let mut removed = 0;
        for file in &found {
            match self.fs.unlink(&file.path) {
                Ok(()) => {
                    removed += 1;
                    tracing::info!(file = file.relative, "removed a data file that is not in the catalog");
                }
                // A merge that lost its race was faster.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(io("remove the orphan", &file.path)(error)),
            }
        }
        Ok(removed)
    }
}

/// The paths below the data folder of the files of ours that were written longer than `age` ago.
pub(crate) async fn unknown_files(data_path: &Path, age: Duration) -> Result<Vec<String>, LakeError> {
    let data_path = data_path.to_owned();
    let found = tokio::task::spawn_blocking(move || found_below(&data_path));
    let found = found.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    Ok(found.into_iter().filter(|file| file.is_older(age)).map(|file| file.relative).collect())
}

/// All files below the folder whose names are those of our data files.
fn found_below(data_path: &Path) -> Result<Vec<Found>, LakeError> {
    let mut found = Vec::new();
    let mut folders = vec![data_path.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            // A day's folder may go while we look.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && folder != data_path => continue,
            Err(error) => return Err(io("list", &folder)(error)),
        };
        for entry in entries {
            let entry = entry.map_err(io("list", &folder))?;
            let path = entry.path();
            if entry.file_type().map_err(io("look at", &path))?.is_dir() {
                folders.push(path);
                continue;
            }
            let relative = path.strip_prefix(data_path).expect("the file was found below the data folder");
            let (Some(relative), Some(name)) = (relative.to_str(), path.file_name().and_then(|name| name.to_str()))
            else {
                continue;
            };
            if FileName::parse(name).is_some_and(|name| name.is_ours()) {
                let modified = entry.metadata().and_then(|metadata| metadata.modified()).ok();
                found.push(Found { relative: relative.to_owned(), modified, path });
            }
        }
    }
    Ok(found)
}
