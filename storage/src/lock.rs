//! The data folder's exclusive lock: `orrery.lock`, held by flock for as long as the store is open and naming its
//! holder. Never removed: a lock file that is not locked means nothing.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use orrery_model::Clock;

const NAME: &str = "orrery.lock";

/// The lock. The system gives it back when the last handle is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("the data folder {} is in use by {holder}; stop it, or choose another folder", dir.display())]
    Held { dir: PathBuf, holder: String },
    #[error("cannot lock the data folder {}: {source}", dir.display())]
    Io { dir: PathBuf, source: io::Error },
}

impl DataLock {
    /// Takes the lock of a folder that exists, or says who has it.
    pub fn take(dir: &Path, clock: &dyn Clock) -> Result<Self, LockError> {
        let failed = |source| LockError::Io { dir: dir.to_owned(), source };
        let path = dir.join(NAME);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // The holder may be between locking and writing its name; the refusal stands without it.
                if file.read_to_string(&mut holder).is_err() || holder.trim().is_empty() {
                    holder = "another process".to_owned();
                }
                return Err(LockError::Held { dir: dir.to_owned(), holder: holder.trim().to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        file.set_len(0).map_err(failed)?;
        file.rewind().map_err(failed)?;
        file.write_all(holder(clock).as_bytes()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// `process 4711 on host "shop-1", started 2026-01-02T03:04:05Z`
fn holder(clock: &dyn Clock) -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let started = chrono::DateTime::from_timestamp_nanos(clock.now_ns());
    let host = host.trim();
    format!(
        "process {} on host {host:?}, started {}\n",
        std::process::id(),
        started.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
    )
}
