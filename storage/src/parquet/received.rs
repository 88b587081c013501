//! The column that only merged files of spans have: which flush brought a row. The rows of a flush's own file were received
//! together; of a merged file's rows nothing else says whose copy of a span was received first. Never in the catalog.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use orrery_model::schema::FIELD_ID;
use orrery_model::{Column, LearnedColumn, Table, TableName, table};

use super::held::always_held;
use super::learned::with_learned;

/// The column's name in the file. Its value is the id of the data file that the row's flush wrote; smaller ids were received
/// before. No flush's file has the column.
pub const RECEIVED: &str = "orrery_received";

/// Far from the table's own and from those that DuckDB keeps for itself.
const RECEIVED_FIELD_ID: i32 = 1_000_000_000;

/// The `spans` table with [`RECEIVED`] as its last column, NULL where a file does not have it.
pub fn spans_received() -> &'static Table {
    static TABLE: LazyLock<Table> = LazyLock::new(|| {
        let spans = table(TableName::Spans);
        let column = Column {
            name: RECEIVED.to_owned(),
            data_type: DataType::Int64,
            nullable: true,
            unit: "",
            otlp: "",
            promoted: None,
        };
        Table {
            name: spans.name,
            columns: spans.columns.iter().cloned().chain([column]).collect(),
            schema: with_received(&spans.schema, true),
            order: spans.order,
            ranged: spans.ranged,
        }
    });
    &TABLE
}

/// The columns of a merged file of the table that has these learned ones.
pub(crate) fn merged_schema(table: &Table, learned: &[LearnedColumn]) -> SchemaRef {
    let schema = with_learned(&table.schema, learned);
    // Copies that differ are told apart in spans only.
    if table.name == TableName::Spans { with_received(&schema, false) } else { schema }
}

/// Of these columns those that hold anything. Learned ones may hold what is in the parts' maps.
pub(crate) fn held_schema(table: &Table, merged: &Schema, holds: impl Fn(&str) -> bool) -> SchemaRef {
    let is_own = |name: &str| table.schema.index_of(name).is_ok();
    let is_held = |field: &&FieldRef| always_held(table, field) || !is_own(field.name()) || holds(field.name());
    Arc::new(Schema::new(merged.fields().iter().filter(is_held).cloned().collect::<Vec<_>>()))
}

fn with_received(schema: &Schema, nullable: bool) -> SchemaRef {
    let metadata = [(FIELD_ID.to_owned(), RECEIVED_FIELD_ID.to_string())].into();
    let field = Field::new(RECEIVED, DataType::Int64, nullable).with_metadata(metadata);
    Arc::new(Schema::new(schema.fields().iter().cloned().chain([Arc::new(field)]).collect::<Vec<_>>()))
}
