//! Which keys the stored attribute maps of a file hold, read from the dictionaries of their key columns: few bytes, and
//! exact. A query for a key then reads the column alone where no map of the file has the key, and leaves the file unopened
//! where it is in neither. Never guesses: where a file does not say, any key may be in it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use orrery_model::Scope;
use orrery_storage::{DataFile, VerifiedFile};
use parking_lot::Mutex;
use parquet::basic::{Encoding, PageType};
use parquet::column::page::{Page, PageReader};
use parquet::errors::Result;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::serialized_reader::SerializedPageReader;

use crate::attributes::values::Place;

/// Files whose keys are remembered; beyond, all are forgotten and read again as they are asked for.
const REMEMBERED_FILES: usize = 20_000;

/// The keys of one file's maps by scope, `None` where they are not known.
type Keys = [Option<BTreeSet<String>>; 3];

/// What is known of files. Shared by all queries; a file never changes under its path.
#[derive(Debug, Default)]
pub(crate) struct FileKeys {
    known: Mutex<HashMap<std::path::PathBuf, Arc<Keys>>>,
}

/// Files alike in which of the asked keys no map of theirs holds.
#[derive(Debug)]
pub(crate) struct Lacking(Vec<(Scope, String)>);

impl Place for Lacking {
    fn lacks(&self, scope: Scope, key: &str) -> bool {
        self.0.iter().any(|(s, k)| *s == scope && k == key)
    }
}

impl FileKeys {
    /// The files in groups of one [`Lacking`] each, in their order.
    pub async fn grouped(
        self: &Arc<Self>,
        files: Vec<Arc<DataFile>>,
        asked: Vec<(Scope, String)>,
    ) -> Vec<(Lacking, Vec<Arc<DataFile>>)> {
        if asked.is_empty() || files.is_empty() {
            return if files.is_empty() { Vec::new() } else { vec![(Lacking(Vec::new()), files)] };
        }
        let known = Arc::clone(self);
        let reading = files.clone();
        let keys =
            tokio::task::spawn_blocking(move || reading.iter().map(|file| known.of(file)).collect::<Vec<_>>()).await;
        let Ok(keys) = keys else { return vec![(Lacking(Vec::new()), files)] };
        let mut groups: Vec<(Lacking, Vec<Arc<DataFile>>)> = Vec::new();
        for (file, keys) in files.into_iter().zip(keys) {
            let absent = |(scope, key): &&(Scope, String)| {
                keys[*scope as usize].as_ref().is_some_and(|keys| !keys.contains(key))
            };
            let lacking: Vec<_> = asked.iter().filter(absent).cloned().collect();
            match groups.iter_mut().find(|(group, _)| group.0 == lacking) {
                Some((_, files)) => files.push(file),
                None => groups.push((Lacking(lacking), vec![file])),
            }
        }
        groups
    }

    fn of(&self, file: &Arc<DataFile>) -> Arc<Keys> {
        if let Some(keys) = self.known.lock().get(&file.path) {
            return Arc::clone(keys);
        }
        // A file that cannot be read here fails the scan itself, with a better error.
        let keys = Arc::new(read(file).unwrap_or_default());
        let mut known = self.known.lock();
        if known.len() >= REMEMBERED_FILES {
            known.clear();
        }
        known.insert(file.path.clone(), Arc::clone(&keys));
        keys
    }
}

fn read(file: &Arc<DataFile>) -> Result<Keys> {
    let file = Arc::new(VerifiedFile::open(file)?);
    let metadata = ParquetMetaDataReader::new().parse_and_finish(file.as_ref())?;
    let mut keys = Keys::default();
    for scope in Scope::ALL {
        keys[scope as usize] = of_map(&file, &metadata, scope.other_name())?;
    }
    Ok(keys)
}

/// The keys of a map column, `None` where a row group does not tell them all in a dictionary.
fn of_map(file: &Arc<VerifiedFile>, metadata: &ParquetMetaData, map: &str) -> Result<Option<BTreeSet<String>>> {
    let schema = metadata.file_metadata().schema_descr();
    let is_key = |i: &usize| matches!(schema.column(*i).path().parts(), [root, _, key] if root == map && key == "key");
    let Some(index) = (0..schema.num_columns()).find(is_key) else { return Ok(None) };
    let mut keys = BTreeSet::new();
    for group in metadata.row_groups() {
        let column = group.column(index);
        let no_entry = column.statistics().and_then(|s| s.null_count_opt()) == u64::try_from(column.num_values()).ok();
        if no_entry {
            continue;
        }
        if !all_in_dictionary(column) {
            return Ok(None);
        }
        let rows = usize::try_from(group.num_rows()).unwrap_or(0);
        let mut pages = SerializedPageReader::new(Arc::clone(file), column, rows, None)?;
        let Some(Page::DictionaryPage { buf, num_values, .. }) = pages.get_next_page()? else { return Ok(None) };
        if plain_strings(&buf, num_values, &mut keys).is_none() {
            return Ok(None);
        }
    }
    Ok(Some(keys))
}

fn all_in_dictionary(column: &ColumnChunkMetaData) -> bool {
    let dictionary = |encoding| matches!(encoding, Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY);
    if column.dictionary_page_offset().is_none() {
        return false;
    }
    if let Some(mask) = column.page_encoding_stats_mask() {
        return mask.is_only(Encoding::RLE_DICTIONARY) || mask.is_only(Encoding::PLAIN_DICTIONARY);
    }
    column.page_encoding_stats().is_some_and(|stats| {
        stats
            .iter()
            .all(|s| !matches!(s.page_type, PageType::DATA_PAGE | PageType::DATA_PAGE_V2) || dictionary(s.encoding))
    })
}

/// Reads Parquet's PLAIN byte arrays: each its length in four bytes, little-endian, and its bytes.
fn plain_strings(mut bytes: &[u8], count: u32, into: &mut BTreeSet<String>) -> Option<()> {
    for _ in 0..count {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        into.insert(std::str::from_utf8(rest.get(..length)?).ok()?.to_owned());
        bytes = &rest[length..];
    }
    Some(())
}
