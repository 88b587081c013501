//! The trace filters of data files as queries ask them: in memory as far as a bound allows, the rest read from the catalog
//! when it is asked. Never holds more than the bound and one read's worth, and never changes the catalog.

use std::path::PathBuf;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, Row, SqliteConnection};
use tokio::sync::Mutex;

use crate::lake::LakeError;
use crate::{DataFile, TraceFilter, trace_filter};

/// Filters that one statement reads: so many files, or so many bytes.
const MAX_READ_FILES: usize = 500;
const MAX_READ_BYTES: u64 = 8 << 20;

/// What is added to a filter's own bytes: the cache's key and tables.
const ENTRY_BYTES: u64 = 64;

/// About how large a filter is, for the cache's own tables.
const USUAL_BYTES: usize = 4 << 10;

/// What a data file knows of its filter.
#[derive(Clone, Debug)]
pub enum FileFilter {
    /// The filter itself.
    Here(TraceFilter),
    /// It is in the catalog, of so many bytes with this CRC32C.
    InCatalog { size_bytes: u64, crc: u32 },
}

impl FileFilter {
    /// Of a filter whose stored form the catalog has.
    pub(crate) fn stored(bytes: &[u8]) -> Self {
        Self::InCatalog { size_bytes: bytes.len() as u64, crc: crc32c::crc32c(bytes) }
    }

    pub fn size_bytes(&self) -> u64 {
        match self {
            Self::Here(filter) => filter.size_bytes() as u64,
            Self::InCatalog { size_bytes, .. } => *size_bytes,
        }
    }
}

impl FileFilter {
    /// How many distinct ids a filter of this size was made for at most.
    pub(crate) fn most_ids(&self) -> usize {
        trace_filter::most_ids(usize::try_from(self.size_bytes()).unwrap_or(usize::MAX))
    }
}

/// Filters by the id of their data file. Shared by all queries of a process.
pub struct TraceFilters {
    /// `None` where no filter is in a catalog.
    catalog: Option<PathBuf>,
    /// Opened by the first who needs it.
    connection: Mutex<Option<SqliteConnection>>,
    cache: Cache<i64, TraceFilter, BySize>,
}

#[derive(Clone)]
struct BySize;

impl Weighter<i64, TraceFilter> for BySize {
    fn weight(&self, _id: &i64, filter: &TraceFilter) -> u64 {
        filter.size_bytes() as u64 + ENTRY_BYTES
    }
}

impl TraceFilters {
    /// Over a catalog file, keeping at most about `bytes` in memory.
    pub(crate) fn new(catalog: PathBuf, bytes: usize) -> Self {
        Self { catalog: Some(catalog), ..Self::with_cache(bytes) }
    }

    /// Over files that have their filters [`FileFilter::Here`].
    pub fn without_catalog() -> Self {
        Self::with_cache(0)
    }

    fn with_cache(bytes: usize) -> Self {
        let cache = Cache::with_weighter((bytes / USUAL_BYTES).max(16), bytes as u64, BySize);
        Self { catalog: None, connection: Mutex::new(None), cache }
    }

    /// What is in memory, bytes.
    pub fn bytes(&self) -> u64 {
        self.cache.weight()
    }

    /// For each file whether one of the trace ids (lower-case hex) may be in it. `false` is certain; a file without a
    /// filter, or whose filter the catalog does not have any more, may hold any.
    pub async fn may_hold(&self, files: &[Arc<DataFile>], trace_ids: &[&str]) -> Result<Vec<bool>, LakeError> {
        let holds = |filter: &TraceFilter| trace_ids.iter().any(|id| filter.may_contain(id));
        let mut found = vec![true; files.len()];
        let mut unread: Vec<usize> = Vec::new();
        for (i, file) in files.iter().enumerate() {
            match &file.trace_filter {
                None => {}
                Some(FileFilter::Here(filter)) => found[i] = holds(filter),
                // It has no ids.
                Some(FileFilter::InCatalog { size_bytes: 0, .. }) => found[i] = false,
                Some(FileFilter::InCatalog { .. }) => match self.cache.get(&file.id) {
                    Some(filter) => found[i] = holds(&filter),
                    None => unread.push(i),
                },
            }
        }
        let mut rest = unread.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(first_read(rest, files));
            rest = later;
            let ids: Vec<i64> = now.iter().map(|&i| files[i].id).collect();
            let read = self.read(&ids).await?;
            for &i in now {
                let (id, Some(FileFilter::InCatalog { crc, .. })) = (files[i].id, &files[i].trace_filter) else {
                    continue;
                };
                let Ok(at) = read.binary_search_by_key(&id, |(id, _)| *id) else { continue };
                let bytes = &read[at].1;
                let whole = (crc32c::crc32c(bytes) == *crc).then(|| TraceFilter::from_bytes(bytes)).flatten();
                let filter = whole.ok_or_else(|| {
                    LakeError::Corrupt(format!(
                        "the trace filter of data file {id} has changed; put back catalog.sqlite from a backup"
                    ))
                })?;
                found[i] = holds(&filter);
                self.cache.insert(id, filter);
            }
        }
        Ok(found)
    }

    /// The stored filters of the files that the catalog has, by id.
    async fn read(&self, ids: &[i64]) -> Result<Vec<(i64, Vec<u8>)>, LakeError> {
        let fail = |source| LakeError::Database { operation: "read trace filters", source };
        let Some(catalog) = &self.catalog else { return Ok(Vec::new()) };
        let mut connection = self.connection.lock().await;
        let open = match connection.take() {
            Some(open) => open,
            None => {
                let options = SqliteConnectOptions::new().filename(catalog).read_only(true);
                SqliteConnection::connect_with(&options).await.map_err(fail)?
            }
        };
        // After an error another one is opened.
        let open = connection.insert(open);
        let ids = serde_json::to_string(ids).expect("numbers are JSON");
        let rows = sqlx::query(
            "SELECT data_file_id, filter FROM orrery_trace_filter
             WHERE data_file_id IN (SELECT value FROM json_each($1)) ORDER BY data_file_id",
        )
        .bind(ids)
        .fetch_all(&mut *open)
        .await;
        let rows = match rows {
            Ok(rows) => rows,
            Err(error) => {
                *connection = None;
                return Err(fail(error));
            }
        };
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<Result<_, _>>().map_err(fail)
    }
}

impl std::fmt::Debug for TraceFilters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TraceFilters").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

/// How many of the files, the first ones, are read at once.
fn first_read(places: &[usize], files: &[Arc<DataFile>]) -> usize {
    let mut bytes = 0;
    let fit = places.iter().take(MAX_READ_FILES).take_while(|&&i| {
        bytes += files[i].trace_filter.as_ref().map_or(0, FileFilter::size_bytes);
        bytes <= MAX_READ_BYTES
    });
    fit.count().max(1)
}
