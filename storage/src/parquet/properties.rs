//! How each column is encoded in files: by its type and by what was measured (`cargo bench -p orrery-storage`). Never
//! reads a value.

use std::sync::Arc;

use orrery_model::Table;
use parquet::basic::{Compression, Encoding, Type, ZstdLevel};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr, WriterVersion};
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};

/// Rows of a page: what a reader that knows the row decodes at least.
const PAGE_ROWS: usize = 20_000;

/// Ids of random bytes: nearly every value is another, and its least and greatest say nothing.
const RANDOM: &[&str] = &["trace_id", "span_id", "parent_span_id"];

/// Whole numbers of few distinct values.
const FEW: &[&str] = &["severity_number", "flags"];

pub(crate) fn writer_properties(table: &Table, schema: &SchemaDescriptor) -> WriterPropertiesPtr {
    // No key-value metadata: Arrow would take it for the schema's, which then is not the table's.
    // Version 2 pages leave the repetition levels of maps and lists uncompressed.
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).expect("1 is a level")))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_max_row_group_row_count(None)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_sorting_columns(Some(sorting_columns(table, schema)));
    for leaf in schema.columns() {
        let path = leaf.path().clone();
        let random = RANDOM.contains(&leaf.name());
        if random || path.parts().len() > 1 {
            properties = properties.set_column_statistics_enabled(path.clone(), EnabledStatistics::None);
        }
        match encoding(table, leaf) {
            Some(encoding) => {
                properties =
                    properties.set_column_dictionary_enabled(path.clone(), false).set_column_encoding(path, encoding);
            }
            None => properties = properties.set_column_dictionary_enabled(path, !random),
        }
    }
    Arc::new(properties.build())
}

/// The encoding of a column that takes no dictionary; `None` for the others and for plain text.
fn encoding(table: &Table, leaf: &ColumnDescriptor) -> Option<Encoding> {
    let root = &leaf.path().parts()[0];
    let promoted = table.columns.iter().any(|column| column.promoted.is_some() && column.name == *root);
    match leaf.physical_type() {
        Type::INT32 | Type::INT64 if promoted || FEW.contains(&leaf.name()) => None,
        Type::INT32 | Type::INT64 => Some(Encoding::DELTA_BINARY_PACKED),
        Type::DOUBLE => Some(Encoding::BYTE_STREAM_SPLIT),
        _ => None,
    }
}

fn sorting_columns(table: &Table, schema: &SchemaDescriptor) -> Vec<SortingColumn> {
    table
        .sort_key
        .iter()
        .map(|key| {
            let index = schema.columns().iter().position(|leaf| leaf.path().parts() == [*key]);
            let index = index.expect("the sort key is of plain columns");
            SortingColumn { column_idx: index as i32, descending: false, nulls_first: true }
        })
        .collect()
}
