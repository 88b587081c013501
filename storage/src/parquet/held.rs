//! Which columns a file has. Most of a table's are empty in most files, and each would cost a place in the footer for every
//! row group and page. What a file lacks is NULL in all of its rows.

use arrow::datatypes::Field;
use orrery_model::Table;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;

/// Whether a file has a column whatever is in it: it is never NULL, or rows are ordered or looked up by it.
pub(super) fn always_held(table: &Table, field: &Field) -> bool {
    let is_looked_up = ["trace_id", "body", table.ranged].contains(&field.name().as_str());
    !field.is_nullable() || is_looked_up || table.order.columns.contains(&field.name().as_str())
}

/// Whether a file lacks a column, or says that all of its rows are NULL there. `false` where it does not say.
pub(crate) fn is_null_in(metadata: &ParquetMetaData, column: &str) -> bool {
    let leaves = metadata.file_metadata().schema_descr();
    let of_column = |leaf: &usize| leaves.column(*leaf).path().parts()[0] == column;
    (0..leaves.num_columns()).filter(of_column).all(|leaf| {
        let is_flat = leaves.column(leaf).path().parts().len() == 1;
        is_flat && metadata.row_groups().iter().all(|group| is_null(group.column(leaf)))
    })
}

fn is_null(chunk: &parquet::file::metadata::ColumnChunkMetaData) -> bool {
    let nulls = chunk.statistics().and_then(Statistics::null_count_opt);
    nulls.is_some() && nulls == u64::try_from(chunk.num_values()).ok()
}
