//! The filters of a file's sections against its rows: whatever a row holds, the filter of its section must say so.

use arrow::array::{AsArray, RecordBatch};
use parquet::file::metadata::ParquetMetaData;

use super::file::{Ended, unreadable};
use crate::VerifiedFile;
use crate::section_filter::Sections;
use crate::token_filter::{RowGroupTokens, TokenFilters, Word};
use crate::value_filter::{ValueFilters, hash};

/// What the footer says of filters.
pub(super) struct Filters {
    words: Option<TokenFilters>,
    values: Option<ValueFilters>,
}

impl Filters {
    pub(super) fn of(metadata: &ParquetMetaData) -> Self {
        let said = metadata.file_metadata().key_value_metadata().map_or(&[][..], Vec::as_slice);
        Self { words: TokenFilters::of(said, BODY), values: ValueFilters::of(said) }
    }

    /// Whether they are of as many row groups as the file has.
    pub(super) fn check(&self, row_groups: usize) -> Option<String> {
        let words = self.words.as_ref().is_some_and(|words| words.row_groups() != row_groups);
        let values = || self.values.iter().flat_map(ValueFilters::columns).find(|(_, places)| *places != row_groups);
        if words {
            return Some("its word filters are of another number of row groups".to_owned());
        }
        values().map(|(column, _)| format!("its value filters of {column} are of another number of row groups"))
    }

    /// Those of one row group.
    pub(super) fn load(&self, handle: &VerifiedFile, row_group: usize) -> Result<GroupFilters, Ended> {
        let mut found = GroupFilters::default();
        if let Some(words) = &self.words {
            let bytes = handle.read(words.range(row_group)).map_err(unreadable)?;
            let loaded = words.load(row_group, bytes).ok_or_else(|| unreadable("its word filters"))?;
            found.words = Some((loaded, words.section_rows()));
        }
        if let Some(values) = &self.values {
            for (column, _) in values.columns() {
                let Some(range) = values.range(column, row_group) else { continue };
                let bytes = handle.read(range).map_err(unreadable)?;
                let loaded = values.load(column, row_group, bytes).ok_or_else(|| unreadable("its value filters"))?;
                found.values.push((column.to_owned(), loaded, values.section_rows()));
            }
        }
        Ok(found)
    }
}

const BODY: &str = "body";

/// The filters of one row group, each with the rows of its sections.
#[derive(Default)]
pub(super) struct GroupFilters {
    words: Option<(RowGroupTokens, usize)>,
    values: Vec<(String, Sections, usize)>,
}

/// What was looked for in filters and not found.
#[derive(Default)]
pub(super) struct Lost {
    pub(super) words: u64,
    pub(super) values: u64,
}

impl GroupFilters {
    /// The columns that they are about.
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(|_| BODY).chain(self.values.iter().map(|(column, ..)| column.as_str()))
    }

    /// Whether there is one for each section of a row group of so many rows.
    pub(super) fn check(&self, row_group: usize, rows: usize) -> Option<String> {
        if self.words.as_ref().is_some_and(|(words, section_rows)| words.sections() != rows.div_ceil(*section_rows)) {
            return Some(format!("row group {row_group} has word filters of another number of sections"));
        }
        let wrong =
            |(_, values, section_rows): &&(String, Sections, usize)| values.len() != rows.div_ceil(*section_rows);
        let (column, ..) = self.values.iter().find(wrong)?;
        Some(format!("row group {row_group} has value filters of {column} of another number of sections"))
    }

    /// Looks for what rows hold, the first of which is that one of the row group. The filters must be of its sections.
    pub(super) fn look(&self, first: usize, rows: &RecordBatch, lost: &mut Lost) {
        if let (Some((words, section_rows)), Some(bodies)) = (&self.words, rows.column_by_name(BODY)) {
            for (row, body) in bodies.as_string::<i32>().iter().enumerate() {
                let section = (first + row) / section_rows;
                let all = body.map(Word::all_of).unwrap_or_default();
                lost.words += all.iter().filter(|word| !words.may_hold(section, word)).count() as u64;
            }
        }
        for (column, values, section_rows) in &self.values {
            let Some(held) = rows.column_by_name(column).and_then(|held| held.as_string_opt::<i32>()) else { continue };
            for (row, value) in held.iter().enumerate() {
                let section = (first + row) / section_rows;
                lost.values += u64::from(value.is_some_and(|value| !values.may_hold(section, hash(value))));
            }
        }
    }
}
