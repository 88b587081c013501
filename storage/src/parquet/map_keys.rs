//! Which keys the attribute maps of a file hold, read from the dictionaries of their key columns: few bytes, and exact.
//! Never guesses: where a file does not say, any key may be in it.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use orrery_model::Scope;
use parquet::basic::{Encoding, PageType};
use parquet::column::page::{Page, PageReader};
use parquet::errors::Result;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::ChunkReader;
use parquet::file::serialized_reader::SerializedPageReader;

use crate::{DataFile, VerifiedFile};

/// The keys of the maps of other attributes by scope, sorted; `None` where they are not known.
pub type MapKeys = [Option<Vec<String>>; Scope::ALL.len()];

/// With more keys in one map, which they are is not kept.
const MAX_KEYS: usize = 1_000;
/// Nor with keys that are longer together.
const MAX_KEYS_BYTES: usize = 64 << 10;

/// Reads the keys of a data file.
pub fn map_keys(file: &Arc<DataFile>) -> Result<MapKeys> {
    keys_in(VerifiedFile::open(file)?)
}

/// The same of a file that was written a moment ago; what cannot be read is not known.
pub(crate) fn keys_written(path: &Path) -> MapKeys {
    File::open(path).map_err(Into::into).and_then(keys_in).unwrap_or_default()
}

fn keys_in(file: impl ChunkReader + 'static) -> Result<MapKeys> {
    let file = Arc::new(file);
    let metadata = ParquetMetaDataReader::new().parse_and_finish(file.as_ref())?;
    let mut keys = MapKeys::default();
    for scope in Scope::ALL {
        keys[scope as usize] = of_map(&file, &metadata, scope.other_name())?;
    }
    Ok(keys)
}

/// The keys of a map column, `None` where a row group does not tell them all in a dictionary.
fn of_map<R: ChunkReader + 'static>(
    file: &Arc<R>,
    metadata: &ParquetMetaData,
    map: &str,
) -> Result<Option<Vec<String>>> {
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
    let few = keys.len() <= MAX_KEYS && keys.iter().map(String::len).sum::<usize>() <= MAX_KEYS_BYTES;
    Ok(few.then(|| keys.into_iter().collect()))
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
