//! Filters of whole values over a few thousand rows each: of trace ids, and of attributes of which nearly every row has
//! another value, so that a search for one reads next to nothing of a file. Never says no to a value that is there.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use orrery_model::learned::scope_and_key;
use parquet::file::metadata::KeyValue;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::section_filter::{Place, SECTION_ROWS, Sections};

/// Of the hash and of the filter's bits.
const VERSION: u32 = 1;

/// The hash of a value.
pub fn hash(value: &str) -> u64 {
    xxh3_64(value.as_bytes())
}

/// Whether files may have filters of a column: of text, an id of a trace or one attribute.
pub fn may_have(column: &str) -> bool {
    column == TRACE_ID || scope_and_key(column).is_some() && !UNASKED.contains(&column)
}

/// Text that is made for one request and looked for by its parts, if at all.
const UNASKED: &[&str] = &[
    "attributes.url.path",
    "attributes.url.full",
    "attributes.url.query",
    "attributes.http.target",
    "attributes.http.url",
    "attributes.db.query.text",
    "attributes.db.statement",
    "attributes.exception.message",
    "attributes.exception.stacktrace",
];

/// The column whose filters every file has.
pub(crate) const TRACE_ID: &str = "trace_id";

/// Where a file's filters lie, as its footer says under [`ValueFilters::KEY`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValueFilters {
    version: u32,
    section_rows: usize,
    /// By column, of each row group; `None` for one without.
    columns: BTreeMap<String, Vec<Option<Place>>>,
}

impl ValueFilters {
    /// The key in the footer's key-value metadata.
    pub const KEY: &'static str = "orrery.value_filters";

    /// Of a file without row groups yet.
    pub(crate) fn new() -> Self {
        Self { version: VERSION, section_rows: SECTION_ROWS, columns: BTreeMap::new() }
    }

    /// What a footer says; `None` where it says nothing, or of another version.
    pub fn of(metadata: &[KeyValue]) -> Option<Self> {
        let value = metadata.iter().find(|entry| entry.key == Self::KEY)?.value.as_deref()?;
        let found: Self = serde_json::from_str(value).ok()?;
        (found.version == VERSION && found.section_rows > 0).then_some(found)
    }

    /// Notes the filters of a column in a row group; those before that were not noted have none.
    pub(crate) fn push(&mut self, column: &str, row_group: usize, place: Place) {
        let places = self.columns.entry(column.to_owned()).or_default();
        places.resize(row_group, None);
        places.push(Some(place));
    }

    /// The entry of the footer's key-value metadata, of a file of so many row groups.
    pub(crate) fn entry(mut self, row_groups: usize) -> KeyValue {
        self.columns.values_mut().for_each(|places| places.resize(row_groups, None));
        let value = serde_json::to_string(&self).expect("numbers and short texts are JSON");
        KeyValue::new(Self::KEY.to_owned(), value)
    }

    /// The columns with filters, and of how many row groups.
    pub fn columns(&self) -> impl Iterator<Item = (&str, usize)> {
        self.columns.iter().map(|(column, places)| (column.as_str(), places.len()))
    }

    /// Rows of each section but the last of a row group.
    pub const fn section_rows(&self) -> usize {
        self.section_rows
    }

    /// The bytes of the file that hold the filters of a column in a row group, to be given to [`Self::load`]; `None` where
    /// there are none.
    pub fn range(&self, column: &str, row_group: usize) -> Option<Range<u64>> {
        self.place(column, row_group).map(Place::range)
    }

    /// The filters in the bytes of [`Self::range`]; `None` where they are too few.
    pub fn load(&self, column: &str, row_group: usize, bytes: Bytes) -> Option<Sections> {
        self.place(column, row_group)?.load(bytes)
    }

    fn place(&self, column: &str, row_group: usize) -> Option<&Place> {
        self.columns.get(column)?.get(row_group)?.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The stored form must not change without a new version: FORMAT.md's test vector.
    #[test]
    fn the_hash_is_that_of_the_format() {
        assert_eq!(format!("{:016x}", hash("user-4711")), "e8a0a5a0080aecb1");
    }

    #[test]
    fn row_groups_without_filters_have_none() {
        let mut filters = ValueFilters::new();
        filters.push("trace_id", 0, Place::new(4, vec![Some(1), None]));
        filters.push("attributes.user.id", 1, Place::new(100, vec![Some(2)]));
        let entry = filters.entry(3);
        let read = ValueFilters::of(std::slice::from_ref(&entry)).expect("what was written");
        assert_eq!(read.columns().collect::<Vec<_>>(), [("attributes.user.id", 3), ("trace_id", 3)]);
        assert_eq!(read.range("trace_id", 0), Some(4..36));
        assert_eq!(read.range("attributes.user.id", 1), Some(100..164));
        for (column, row_group) in
            [("trace_id", 1), ("trace_id", 3), ("attributes.user.id", 0), ("attributes.user.id", 2), ("name", 0)]
        {
            assert_eq!(read.range(column, row_group), None, "{column} of {row_group}");
        }
        assert!(read.load("trace_id", 0, Bytes::from_static(&[0; 31])).is_none(), "a torn file");
        let none = |value: &str| ValueFilters::of(&[KeyValue::new(ValueFilters::KEY.to_owned(), value.to_owned())]);
        for value in ["", "{}", r#"{"version":2,"section_rows":8192,"columns":{}}"#] {
            assert_eq!(none(value), None, "{value}");
        }
    }
}
