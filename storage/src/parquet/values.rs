//! Writing the value filters of a file: the values of each section of a row group as a filter, of the columns of which
//! nearly every row has another one, behind the row group's columns, and where they lie in the footer.

use std::io::Write;

use arrow::array::{Array, AsArray, StringArray};
use arrow::datatypes::{DataType, Schema, UInt32Type};
use hashbrown::HashSet;
use parquet::errors::Result;
use parquet::file::writer::SerializedFileWriter;

use super::tokens::write_filters;
use crate::section_filter::{SECTION_ROWS, SectionFilters};
use crate::trace_filter::{BLOCK_BYTES, fill, stored};
use crate::value_filter::{TRACE_ID, ValueFilters, hash, may_have};

/// Values of a section by which it is seen whether they repeat.
const SAMPLE: usize = 512;
/// Of the values of a section so many, as a divisor, must be distinct: where they repeat, most sections hold most values.
const LEAST_DISTINCT: usize = 2;
/// Of a filter of an attribute, a distinct value: one section of ten is read in vain, a page of one column.
const BITS_PER_VALUE: usize = 6;
/// Of a filter of trace ids: of a thousand sections, which ten million spans have, hardly one is read in vain.
const BITS_PER_TRACE: usize = 24;

/// The columns that may have filters: text, in tables of traces.
pub(crate) fn columns(schema: &Schema) -> Vec<usize> {
    if schema.index_of(TRACE_ID).is_err() {
        return Vec::new();
    }
    let fields = schema.fields().iter().enumerate();
    fields.filter(|(_, field)| *field.data_type() == DataType::Utf8 && may_have(field.name())).map(|(i, _)| i).collect()
}

/// Gathers the values of one column, a row group at a time.
pub(crate) struct ValueBuilder {
    /// Of trace ids the filters are written however often they repeat, and with more bits: all columns are read for them.
    is_trace_id: bool,
    /// Of the section's distinct values.
    hashes: HashSet<u64>,
    /// Values of the section so far that are not NULL.
    values: usize,
    rows: usize,
    /// The section's values repeat.
    given_up: bool,
    filters: SectionFilters,
}

impl ValueBuilder {
    pub(crate) fn new(column: &str) -> Self {
        Self {
            is_trace_id: column == TRACE_ID,
            hashes: HashSet::new(),
            values: 0,
            rows: 0,
            given_up: false,
            filters: Vec::new(),
        }
    }

    /// Adds the values of the next rows: strings, or a dictionary of them.
    pub(crate) fn add(&mut self, column: &dyn Array) {
        let mut start = 0;
        while start < column.len() {
            let end = column.len().min(start + SECTION_ROWS - self.rows);
            if !self.given_up && column.null_count() < column.len() {
                self.add_rows(column, start, end);
            }
            self.rows += end - start;
            if self.rows == SECTION_ROWS {
                self.end_section();
            }
            start = end;
        }
    }

    /// The filters of the rows since the last call, of one row group; `None` where none is worth having.
    pub(crate) fn finish(&mut self) -> Option<SectionFilters> {
        if self.rows > 0 {
            self.end_section();
        }
        let filters = std::mem::take(&mut self.filters);
        let is_worth_having = |filter: &Option<Vec<u8>>| filter.as_ref().is_some_and(|filter| !filter.is_empty());
        filters.iter().any(is_worth_having).then_some(filters)
    }

    fn add_rows(&mut self, column: &dyn Array, start: usize, end: usize) {
        if let Some(dictionary) = column.as_dictionary_opt::<UInt32Type>() {
            let values = dictionary.values().as_string::<i32>();
            let keys = dictionary.keys();
            self.take((start..end).filter(|&row| keys.is_valid(row)).filter_map(|row| {
                let place = keys.value(row) as usize;
                values.is_valid(place).then(|| values.value(place))
            }));
        } else {
            let values: &StringArray = column.as_string();
            self.take((start..end).filter(|&row| values.is_valid(row)).map(|row| values.value(row)));
        }
    }

    fn take<'a>(&mut self, values: impl Iterator<Item = &'a str>) {
        // A trace's spans of one service are often neighbours.
        let mut last = None;
        for value in values {
            self.values += 1;
            if last != Some(value) {
                self.hashes.insert(hash(value));
                last = Some(value);
            }
            if self.values == SAMPLE && self.repeats() {
                self.given_up = true;
                return;
            }
        }
    }

    fn repeats(&self) -> bool {
        !self.is_trace_id && self.hashes.len() * LEAST_DISTINCT < self.values
    }

    fn end_section(&mut self) {
        let filter = (!self.given_up && !self.repeats()).then(|| {
            let bits = if self.is_trace_id { BITS_PER_TRACE } else { BITS_PER_VALUE };
            let blocks = (self.hashes.len() * bits).div_ceil(8 * BLOCK_BYTES);
            stored(&fill(blocks, self.hashes.iter().copied()))
        });
        self.filters.push(filter);
        self.hashes.clear();
        (self.values, self.rows, self.given_up) = (0, 0, false);
    }
}

/// Where the filters of one file lie, while it is written.
pub(crate) struct ValuePlaces(ValueFilters);

impl ValuePlaces {
    pub(crate) fn new() -> Self {
        Self(ValueFilters::new())
    }

    /// Writes the filters of a column in the row group that was closed last.
    pub(crate) fn write<W: Write + Send>(
        &mut self,
        writer: &mut SerializedFileWriter<W>,
        row_group: usize,
        column: &str,
        filters: &SectionFilters,
    ) -> Result<()> {
        self.0.push(column, row_group, write_filters(writer, filters)?);
        Ok(())
    }

    /// Puts the places into the footer; the file is to be closed next.
    pub(crate) fn finish<W: Write + Send>(self, writer: &mut SerializedFileWriter<W>, row_groups: usize) {
        writer.append_key_value_metadata(self.0.entry(row_groups));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{DictionaryArray, UInt32Array};
    use arrow::datatypes::Field;
    use bytes::Bytes;

    use super::*;
    use crate::section_filter::{Place, Sections};

    fn of(column: &str, values: &dyn Array) -> Option<SectionFilters> {
        let mut builder = ValueBuilder::new(column);
        builder.add(values);
        builder.finish()
    }

    fn sections(filters: &SectionFilters) -> Sections {
        let bytes: Vec<u8> = filters.iter().flatten().flatten().copied().collect();
        Place::of(0, filters).load(Bytes::from(bytes)).expect("the bytes of the filters")
    }

    #[test]
    fn each_section_holds_its_values_and_few_others() {
        let rows = SECTION_ROWS * 2 + 100;
        let values: StringArray = (0..rows).map(|i| (i % 3 != 0).then(|| format!("user-{}", i * 7))).collect();
        let filters = sections(&of("attributes.user.id", &values).expect("values that do not repeat"));
        assert_eq!(filters.len(), 3);
        let held = |row: usize, value: &str| filters.may_hold(row / SECTION_ROWS, hash(value));
        assert!((0..rows).filter(|row| row % 3 != 0).all(|row| held(row, values.value(row))));
        let strangers = (0..rows).filter(|row| held(*row, &format!("user-{}", row * 7 + 1))).count();
        assert!(strangers * 8 < rows, "{strangers} of {rows} absent values pass");
    }

    #[test]
    fn what_repeats_has_no_filter_but_for_trace_ids() {
        let few: StringArray = (0..SECTION_ROWS).map(|i| Some(format!("route-{}", i % 200))).collect();
        assert_eq!(of("attributes.http.route", &few), None);
        let ids = of(TRACE_ID, &few).expect("filters of trace ids");
        assert_eq!(ids[0].as_ref().map(Vec::len), Some((200_usize * BITS_PER_TRACE).div_ceil(256) * BLOCK_BYTES));
        assert_eq!(of("attributes.user.id", &StringArray::new_null(10)), None);
        // A section of its own that repeats, between two that do not, and one without values.
        let mixed: StringArray = (0..SECTION_ROWS * 4)
            .map(|i| match i / SECTION_ROWS {
                1 => Some("same".to_owned()),
                3 => None,
                _ => Some(format!("value-{i}")),
            })
            .collect();
        let filters = of("attributes.user.id", &mixed).expect("two sections do not repeat");
        let sizes: Vec<_> = filters.iter().map(|filter| filter.as_ref().map(|filter| filter.len() > 32)).collect();
        assert_eq!(sizes, [Some(true), None, Some(true), Some(false)]);
        let filters = sections(&filters);
        assert!(filters.may_hold(1, hash("anything")) && !filters.may_hold(3, hash("anything")));
    }

    #[test]
    fn a_dictionary_and_pieces_give_the_same_filters() {
        let words: StringArray = (0..9_000).map(|i| (i % 11 != 0).then(|| format!("word{i}"))).collect();
        let keys: UInt32Array = (0..20_000_u32).map(|i| (i % 13 != 0).then_some(i * 7 % 9_000)).collect();
        let plain: StringArray = keys
            .iter()
            .map(|key| key.map(|key| key as usize).filter(|&key| words.is_valid(key)).map(|key| words.value(key)))
            .collect();
        let dictionary = DictionaryArray::new(keys, Arc::new(words));
        let expected = of("attributes.user.id", &plain);
        assert_eq!(expected.as_ref().map(Vec::len), Some(3));
        assert_eq!(of("attributes.user.id", &dictionary), expected);
        let mut builder = ValueBuilder::new("attributes.user.id");
        for start in (0..20_000).step_by(3_000) {
            builder.add(&dictionary.slice(start, 3_000.min(20_000 - start)));
        }
        assert_eq!(builder.finish(), expected);
        assert_eq!(builder.finish(), None, "the next row group has no rows yet");
    }

    #[test]
    fn text_of_one_attribute_and_trace_ids_may_have_filters() {
        let field = |name: &str, data_type| Field::new(name, data_type, true);
        let schema = Schema::new(vec![
            field("service_name", DataType::Utf8),
            field("trace_id", DataType::Utf8),
            field("attributes.user.id", DataType::Utf8),
            field("attributes.http.response.status_code", DataType::Int64),
            field("resource_attributes.host.name", DataType::Utf8),
        ]);
        assert_eq!(columns(&schema), [1, 2, 4]);
        assert!(columns(&schema.project(&[0, 2]).expect("two columns")).is_empty(), "a table without traces");
    }
}
