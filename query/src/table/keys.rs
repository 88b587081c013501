//! Which keys the maps of files hold of which the catalog says nothing: those that an older Orrery wrote. Read from the
//! files and remembered as far as a bound allows; a file never changes under its path.

use std::path::PathBuf;
use std::sync::Arc;

use orrery_model::Scope;
use orrery_storage::{DataFile, MapKeys, map_keys};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// What is remembered at most, bytes.
const REMEMBERED_BYTES: u64 = 16 << 20;
/// About how much of one file is.
const USUAL_BYTES: u64 = 1 << 10;

/// Shared by all queries.
#[derive(Debug)]
pub(crate) struct FileKeys(Cache<PathBuf, Arc<MapKeys>, BySize>);

#[derive(Clone, Debug)]
struct BySize;

impl Weighter<PathBuf, Arc<MapKeys>> for BySize {
    fn weight(&self, path: &PathBuf, keys: &Arc<MapKeys>) -> u64 {
        let keys: usize = keys.iter().flatten().flatten().map(|key| key.len() + size_of::<String>()).sum();
        (path.as_os_str().len() + size_of::<MapKeys>() + keys) as u64
    }
}

impl Default for FileKeys {
    fn default() -> Self {
        Self(Cache::with_weighter((REMEMBERED_BYTES / USUAL_BYTES) as usize, REMEMBERED_BYTES, BySize))
    }
}

impl FileKeys {
    /// For each file those of the asked keys that none of its maps holds. Where a file does not say, any key may be in it.
    pub async fn of(
        self: &Arc<Self>,
        files: Vec<Arc<DataFile>>,
        asked: &[(Scope, String)],
    ) -> Vec<Vec<(Scope, String)>> {
        if files.is_empty() || asked.is_empty() {
            return vec![Vec::new(); files.len()];
        }
        let (known, count) = (Arc::clone(self), files.len());
        let read = tokio::task::spawn_blocking(move || files.iter().map(|file| known.read(file)).collect::<Vec<_>>());
        let Ok(read) = read.await else { return vec![Vec::new(); count] };
        let lacks = |keys: &MapKeys, scope: Scope, key: &String| {
            keys[scope as usize].as_ref().is_some_and(|keys| keys.binary_search(key).is_err())
        };
        read.iter()
            .map(|keys| asked.iter().filter(|(scope, key)| lacks(keys, *scope, key)).cloned().collect())
            .collect()
    }

    fn read(&self, file: &Arc<DataFile>) -> Arc<MapKeys> {
        if let Some(keys) = self.0.get(&file.path) {
            return keys;
        }
        // A file that cannot be read here fails the scan itself, with a better error.
        let keys = Arc::new(map_keys(file).unwrap_or_default());
        self.0.insert(file.path.clone(), Arc::clone(&keys));
        keys
    }
}
