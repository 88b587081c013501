//! Reads every data file against the catalog and says what is wrong: bytes, footers, rows, their order, times, filters,
//! partitions, totals; files that are missing, and files that no one knows. Works on the folder of a stopped server and
//! beside a running one. Never changes or repairs anything.

mod file;
mod sections;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use orrery_model::{TableName, TenantId};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::DataFile;
use crate::catalog::{Catalog, Says};
use crate::lake::{CATALOG_FILE, LakeError, unknown_files};
use crate::store::chain;

/// What is kept of what is found; the count goes on.
const MAX_LISTED: usize = 1_000;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A data file below the data folder, a table as `tenant.table`, or the catalog.
    pub place: String,
    pub problem: String,
}

/// What was looked at, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Live files that were read to their end, with their rows and bytes.
    pub files: u64,
    pub rows: u64,
    pub bytes: u64,
    /// The first thousand of them.
    pub problems: Vec<Problem>,
    /// How many there are.
    pub problem_count: u64,
    /// Data files of ours that the catalog does not name, the first thousand, below the data folder. They are no damage: a
    /// crash leaves them, and the server removes them.
    pub orphans: Vec<String>,
    pub orphan_count: u64,
}

impl Verified {
    fn note(&mut self, place: &str, problems: impl IntoIterator<Item = String>) {
        for problem in problems {
            self.problem_count += 1;
            if self.problems.len() < MAX_LISTED {
                tracing::warn!(verify.place = place, verify.problem = problem, "the lake is damaged");
                self.problems.push(Problem { place: place.to_owned(), problem });
            }
        }
    }
}

/// Verifies the lake in `dir`. A file that was written or replaced meanwhile is none of what is looked for: an orphan is
/// older than `orphan_age`. Asks `goes_on` now and then, and ends with [`LakeError::Stopped`] where it says no. An error
/// is what keeps it from looking; what is wrong with the lake is in the answer.
pub async fn verify(
    dir: &Path,
    orphan_age: Duration,
    goes_on: impl Fn() -> bool + Send + Sync + 'static,
) -> Result<Verified, LakeError> {
    let goes_on = Arc::new(goes_on);
    let mut done = Verified::default();
    let mut catalog = Catalog::look(&dir.join(CATALOG_FILE)).await?;
    done.note(CATALOG_FILE, catalog.integrity().await?);
    let data_path = dir.join("data");
    // Listed before the catalog is read, so that a file that is committed meanwhile is found there.
    let mut unknown = unknown_files(&data_path, orphan_age).await?;
    let view = match catalog.load_view(&data_path).await {
        Ok(view) => view,
        Err(error @ LakeError::Corrupt(_)) => {
            done.note(CATALOG_FILE, [chain(&error)]);
            return Ok(done);
        }
        Err(error) => return Err(error),
    };
    let referenced = catalog.referenced_paths().await?;
    unknown.retain(|path| !referenced.contains(path));
    done.orphan_count = unknown.len() as u64;
    unknown.truncate(MAX_LISTED);
    done.orphans = unknown;
    for (tenant, tables) in &view.tables {
        for (table, files) in TableName::ALL.into_iter().zip(tables) {
            let wrong = catalog.check_totals(tenant, table).await?;
            done.note(&format!("{tenant}.{table}"), wrong);
            for file in files.iter() {
                look_at(&mut catalog, tenant, table, file, &mut done, &goes_on).await?;
            }
        }
    }
    Ok(done)
}

async fn look_at<G: Fn() -> bool + Send + Sync + 'static>(
    catalog: &mut Catalog,
    tenant: &TenantId,
    table: TableName,
    file: &Arc<DataFile>,
    done: &mut Verified,
    goes_on: &Arc<G>,
) -> Result<(), LakeError> {
    if !goes_on() {
        return Err(LakeError::Stopped);
    }
    // One that was replaced since the view was read may be gone from the disk.
    let Some(says) = catalog.says(table, file.id).await? else { return Ok(()) };
    let problems = on_a_thread(table, Arc::clone(file), says, Arc::clone(goes_on)).await?;
    if !problems.is_empty() && catalog.says(table, file.id).await?.is_none() {
        return Ok(());
    }
    done.files += 1;
    done.rows += file.rows;
    done.bytes += file.size_bytes;
    let name = file.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let folder = file.path.parent().and_then(Path::file_name).map_or_else(String::new, |f| f.to_string_lossy().into());
    done.note(&format!("{tenant}/{table}/{folder}/{name}"), problems);
    Ok(())
}

/// Reads a file on a thread of low priority.
async fn on_a_thread<G: Fn() -> bool + Send + Sync + 'static>(
    table: TableName,
    file: Arc<DataFile>,
    says: Says,
    goes_on: Arc<G>,
) -> Result<Vec<String>, LakeError> {
    let (sender, receiver) = oneshot::channel();
    let path = file.path.clone();
    let thread = std::thread::Builder::new().name("orrery-verify".to_owned());
    let spawned = thread.spawn(move || {
        let _ = rustix::process::setpriority_process(None, 10);
        // Nobody may wait any more.
        let _ = sender.send(file::check(table, &file, &says, &*goes_on));
    });
    spawned.map_err(|source| LakeError::Io { operation: "start a thread to read", path, source })?;
    receiver.await.unwrap_or(Err(LakeError::Panicked))
}

#[cfg(test)]
mod tests;
