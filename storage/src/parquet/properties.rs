//! How each column is encoded in files: by its type and by what was measured (`cargo bench -p orrery-storage`). Never
//! reads a value.

use std::sync::Arc;

use orrery_model::Table;
use orrery_model::learned::scope_and_key;
use parquet::basic::{Compression, Encoding, Type, ZstdLevel};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr, WriterVersion};
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};

use super::order::said;
use crate::section_filter::SECTION_ROWS;

/// Rows of a page: what a reader that knows the row decodes at least. A column that is empty costs forty bytes a page, and of
/// a hundred columns most are.
const PAGE_ROWS: usize = 2 * SECTION_ROWS;

/// Ids of random bytes: a dictionary would hold nearly all of them, and whoever reads one row of a row group would read it.
/// The spans of a trace in one service are often neighbours, where compression sees that they repeat.
const RANDOM: &[&str] = &["trace_id", "span_id", "parent_span_id"];

/// Text of which a page has so many values that the least and the greatest rule nothing out, and are dear to find.
const SCATTERED: &[&str] = &[
    "trace_id",
    "span_id",
    "parent_span_id",
    "trace_state",
    "status_message",
    "body",
    "attributes.url.path",
    "attributes.url.full",
    "attributes.http.target",
    "attributes.http.url",
    "attributes.client.address",
    "attributes.network.peer.address",
    "attributes.db.query.text",
    "attributes.db.statement",
];

/// Text of which a row group has more than a dictionary holds, and whose values begin alike.
const BEGIN_ALIKE: &[&str] = &["attributes.url.path", "attributes.url.full", "attributes.client.address"];

/// Columns that a table has learned which are encoded so, too: each such encoder takes two megabytes while it is open.
const MOST_LEARNED: usize = 8;

/// An attribute's dictionary beyond which its values are written as they are: most of a row group's ids of users are one of a
/// kind, and a reader of a single row decodes the whole dictionary.
const ATTRIBUTE_DICTIONARY_BYTES: usize = 256 << 10;

/// Whole numbers of few distinct values.
const FEW: &[&str] = &["severity_number", "flags"];

pub(crate) fn writer_properties(table: &Table, schema: &SchemaDescriptor) -> WriterPropertiesPtr {
    // No `ARROW:schema`: the one that Arrow derives is the table's.
    // Version 2 pages leave the repetition levels of maps and lists uncompressed.
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).expect("1 is a level")))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_max_row_group_row_count(None)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_sorting_columns(sorting_columns(table, schema))
        .set_key_value_metadata(said(table).map(|entry| vec![entry]));
    let mut learned = 0;
    for leaf in schema.columns() {
        let path = leaf.path().clone();
        if always_there(path.parts()) {
            properties = properties.set_column_statistics_enabled(path.clone(), EnabledStatistics::Chunk);
        } else if path.parts().len() > 1 || SCATTERED.contains(&leaf.name()) {
            properties = properties.set_column_statistics_enabled(path.clone(), EnabledStatistics::None);
        }
        if leaf.physical_type() == Type::BYTE_ARRAY && path.parts().len() == 1 {
            if table.order.by_second && !SCATTERED.contains(&leaf.name()) {
                // A page has rows of all services: the ends of its text rule nothing out, and are most of what a footer is.
                properties = properties.set_column_statistics_enabled(path.clone(), EnabledStatistics::Chunk);
            }
            let is_learned = table.schema.index_of(leaf.name()).is_err();
            if BEGIN_ALIKE.contains(&leaf.name()) || is_learned && learned < MOST_LEARNED {
                learned += usize::from(is_learned);
                // What follows a dictionary that has outgrown its limit.
                properties = properties.set_column_encoding(path.clone(), Encoding::DELTA_BYTE_ARRAY);
            }
            if is_attribute(table, leaf) {
                properties = properties.set_column_dictionary_page_size_limit(path.clone(), ATTRIBUTE_DICTIONARY_BYTES);
            }
        }
        match encoding(table, leaf) {
            Some(encoding) => {
                properties =
                    properties.set_column_dictionary_enabled(path.clone(), false).set_column_encoding(path, encoding);
            }
            None => properties = properties.set_column_dictionary_enabled(path, true),
        }
    }
    Arc::new(properties.build())
}

/// Whether a leaf is a column of doubles by itself.
pub(super) fn is_double(leaf: &ColumnDescriptor) -> bool {
    leaf.physical_type() == Type::DOUBLE && leaf.path().parts().len() == 1
}

/// Of columns of doubles, as whole values: compression finds those that were there before, level 3 a tenth more of them.
pub(super) fn whole_doubles() -> WriterPropertiesPtr {
    let properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).expect("3 is a level")))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_dictionary_enabled(false)
        .set_encoding(Encoding::PLAIN);
    Arc::new(properties.build())
}

/// Whether a leaf of a map or a list has a value in each of its entries, so that one without values says that no row has any.
pub fn always_there(path: &[String]) -> bool {
    match path {
        [_, _, key] => key == "key",
        [_, _, _, count] => count == "dropped_attributes_count",
        _ => false,
    }
}

/// The encoding of a column that takes no dictionary; `None` for those with one.
fn encoding(table: &Table, leaf: &ColumnDescriptor) -> Option<Encoding> {
    match leaf.physical_type() {
        Type::INT32 | Type::INT64 if is_attribute(table, leaf) || FEW.contains(&leaf.name()) => None,
        Type::INT32 | Type::INT64 => Some(Encoding::DELTA_BINARY_PACKED),
        Type::DOUBLE => Some(Encoding::BYTE_STREAM_SPLIT),
        Type::BYTE_ARRAY if RANDOM.contains(&leaf.name()) => Some(Encoding::DELTA_LENGTH_BYTE_ARRAY),
        _ => None,
    }
}

/// Whether the column is of one attribute.
fn is_attribute(table: &Table, leaf: &ColumnDescriptor) -> bool {
    let root = &leaf.path().parts()[0];
    let promoted = table.columns.iter().any(|column| column.promoted.is_some() && column.name == *root);
    promoted || scope_and_key(root).is_some()
}

/// `None` where rows are not sorted by columns alone.
fn sorting_columns(table: &Table, schema: &SchemaDescriptor) -> Option<Vec<SortingColumn>> {
    let column = |key: &&str| {
        let index = schema.columns().iter().position(|leaf| leaf.path().parts() == [*key]);
        let index = index.expect("rows are sorted by plain columns");
        SortingColumn { column_idx: index as i32, descending: false, nulls_first: true }
    };
    (!table.order.by_second).then(|| table.order.columns.iter().map(column).collect())
}
