//! A tenant's part of the catalog: its schema, the tables with their columns, partition and sort keys, and the
//! views over them. Never knows of files.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use orrery_model::schema::FIELD_ID;
use orrery_model::{LearnedColumn, Signal, Table, TableName, TenantId, table};
use sqlx::SqliteConnection;

use super::commit::Change;
use crate::{LearnedColumns, views};

/// How DuckLake writes a `timestamp_ns` as text, in `chrono`'s notation.
pub(crate) const TIMESTAMP_FORMAT: &str = "%Y-%m-%d %H:%M:%S%.9f";

/// The partition keys, all of the timestamp. DuckLake's `hour` is the hour of the day, so it takes all four.
pub(crate) const PARTITION_TRANSFORMS: [&str; 4] = ["year", "month", "day", "hour"];

/// The ids of one tenant's tables, indexed by [`TableName::index`].
#[derive(Clone, Debug, Default)]
pub(crate) struct TenantTables {
    pub(crate) tables: [TableIds; TableName::COUNT],
    pub(crate) learned: [Arc<LearnedColumns>; TableName::COUNT],
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TableIds {
    pub(crate) table_id: i64,
    pub(crate) partition_id: i64,
}

impl TenantTables {
    pub(crate) fn table(&self, table: TableName) -> TableIds {
        self.tables[table.index()]
    }
}

/// A column as the catalog has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CatalogColumn {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) column_type: &'static str,
    pub(crate) nulls_allowed: bool,
    pub(crate) parent: Option<i64>,
}

/// The columns of a table in preorder, nested ones too. The id of each is the field id in the files.
pub(crate) fn catalog_columns(table: &Table) -> Vec<CatalogColumn> {
    let mut columns = Vec::new();
    for field in table.schema.fields() {
        push_columns(field, None, &mut columns);
    }
    columns
}

fn push_columns(field: &Field, parent: Option<i64>, columns: &mut Vec<CatalogColumn>) {
    let id = field_id(field);
    columns.push(CatalogColumn {
        id,
        name: field.name().clone(),
        column_type: column_type(field.data_type()),
        // DuckDB knows NOT NULL for whole columns only.
        nulls_allowed: parent.is_some() || field.is_nullable(),
        parent,
    });
    match field.data_type() {
        DataType::List(element) => push_columns(element, Some(id), columns),
        DataType::Struct(fields) => fields.iter().for_each(|field| push_columns(field, Some(id), columns)),
        DataType::Map(entries, _) => {
            let DataType::Struct(fields) = entries.data_type() else { unreachable!("a map's entries are a struct") };
            fields.iter().for_each(|field| push_columns(field, Some(id), columns));
        }
        _ => {}
    }
}

/// The id that a field of a table's schema carries.
pub(crate) fn field_id(field: &Field) -> i64 {
    field.metadata().get(FIELD_ID).and_then(|id| id.parse().ok()).expect("every field of a table has an id")
}

pub(super) fn column_type(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Utf8 => "varchar",
        DataType::Int32 => "int32",
        DataType::Int64 => "int64",
        DataType::UInt64 => "uint64",
        DataType::Float64 => "float64",
        DataType::Boolean => "boolean",
        DataType::Timestamp(..) => "timestamp_ns",
        DataType::List(_) => "list",
        DataType::Struct(_) => "struct",
        DataType::Map(..) => "map",
        other => unreachable!("no column has the type {other}"),
    }
}

/// Adds a tenant's schema. Gives its id.
pub(super) async fn create_schema(
    connection: &mut SqliteConnection,
    change: &mut Change,
    tenant: &TenantId,
) -> Result<i64, sqlx::Error> {
    let schema_id = change.catalog_id();
    change.made(format!("created_schema:\"{tenant}\""));
    sqlx::query("INSERT INTO ducklake_schema VALUES ($1, $2, $3, NULL, $4, $5, 1)")
        .bind(schema_id)
        .bind(uuid())
        .bind(change.snapshot_id)
        .bind(tenant.as_str())
        .bind(format!("{tenant}/"))
        .execute(connection)
        .await?;
    Ok(schema_id)
}

/// Adds the tables and their views to a tenant's schema.
pub(super) async fn create_tables(
    connection: &mut SqliteConnection,
    change: &mut Change,
    tenant: &TenantId,
    schema_id: i64,
) -> Result<TenantTables, sqlx::Error> {
    let mut ids = TenantTables::default();
    change.alter_schema();
    for table in TableName::ALL {
        ids.tables[table.index()] = create_table(connection, change, tenant, schema_id, table).await?;
        if let Some(signal) = table.signal() {
            create_view(connection, change, tenant, schema_id, signal, &[]).await?;
        }
    }
    Ok(ids)
}

/// Adds one table to a tenant's schema.
pub(super) async fn create_table(
    connection: &mut SqliteConnection,
    change: &mut Change,
    tenant: &TenantId,
    schema_id: i64,
    name: TableName,
) -> Result<TableIds, sqlx::Error> {
    let (table, snapshot) = (table(name), change.snapshot_id);
    let ids = TableIds { table_id: change.catalog_id(), partition_id: change.catalog_id() };
    change.made(format!("created_table:\"{tenant}\".\"{name}\""));
    sqlx::query("INSERT INTO ducklake_table VALUES ($1, $2, $3, NULL, $4, $5, $6, 1)")
        .bind(ids.table_id)
        .bind(uuid())
        .bind(snapshot)
        .bind(schema_id)
        .bind(name.as_str())
        .bind(format!("{name}/"))
        .execute(&mut *connection)
        .await?;
    sqlx::query("INSERT INTO ducklake_schema_versions VALUES ($1, $2, $3)")
        .bind(snapshot)
        .bind(change.schema_version())
        .bind(ids.table_id)
        .execute(&mut *connection)
        .await?;
    sqlx::query("INSERT INTO ducklake_table_stats VALUES ($1, 0, 0, 0)")
        .bind(ids.table_id)
        .execute(&mut *connection)
        .await?;
    insert_columns(connection, snapshot, ids.table_id, table).await?;
    insert_comments(connection, snapshot, ids.table_id, table).await?;
    insert_partition(connection, snapshot, ids, table).await?;
    insert_order(connection, snapshot, change.catalog_id(), ids.table_id, table).await?;
    Ok(ids)
}

async fn insert_columns(
    connection: &mut SqliteConnection,
    snapshot: i64,
    table_id: i64,
    table: &Table,
) -> Result<(), sqlx::Error> {
    for column in catalog_columns(table) {
        let nested = matches!(column.column_type, "list" | "struct" | "map");
        sqlx::query(
            "INSERT INTO ducklake_column VALUES ($1, $2, NULL, $3, $1, $4, $5, NULL, 'NULL', $6, $7, $8, 'duckdb')",
        )
        .bind(column.id)
        .bind(snapshot)
        .bind(table_id)
        .bind(&column.name)
        .bind(column.column_type)
        .bind(i64::from(column.nulls_allowed))
        .bind(column.parent)
        .bind(if nested { "" } else { "literal" })
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Tells other programs where each column comes from: `Span.end_time_unix_nano, in ns`.
async fn insert_comments(
    connection: &mut SqliteConnection,
    snapshot: i64,
    table_id: i64,
    table: &Table,
) -> Result<(), sqlx::Error> {
    for (column, field) in table.columns.iter().zip(table.schema.fields()) {
        let origin = column.promoted.map_or(column.otlp, |promoted| promoted.key);
        let comment = match (origin, column.unit) {
            (origin, "" | "1") => origin.to_owned(),
            ("", unit) => format!("in {unit}"),
            (origin, unit) => format!("{origin}, in {unit}"),
        };
        if !comment.is_empty() {
            sqlx::query("INSERT INTO ducklake_column_tag VALUES ($1, $2, $3, NULL, 'comment', $4)")
                .bind(table_id)
                .bind(field_id(field))
                .bind(snapshot)
                .bind(comment)
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(())
}

async fn insert_partition(
    connection: &mut SqliteConnection,
    snapshot: i64,
    ids: TableIds,
    table: &Table,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO ducklake_partition_info VALUES ($1, $2, $3, NULL)")
        .bind(ids.partition_id)
        .bind(ids.table_id)
        .bind(snapshot)
        .execute(&mut *connection)
        .await?;
    let timestamp = field_id(table.schema.field(table.index_of("timestamp")));
    for (index, transform) in (0_i64..).zip(PARTITION_TRANSFORMS) {
        sqlx::query("INSERT INTO ducklake_partition_column VALUES ($1, $2, $3, $4, $5)")
            .bind(ids.partition_id)
            .bind(ids.table_id)
            .bind(index)
            .bind(timestamp)
            .bind(transform)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// How the files of a table are sorted from a snapshot on.
pub(super) async fn insert_order(
    connection: &mut SqliteConnection,
    snapshot: i64,
    sort_id: i64,
    table_id: i64,
    table: &Table,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO ducklake_sort_info VALUES ($1, $2, $3, NULL)")
        .bind(sort_id)
        .bind(table_id)
        .bind(snapshot)
        .execute(&mut *connection)
        .await?;
    let second = table.order.by_second.then(|| "date_trunc('second', \"timestamp\")".to_owned());
    let columns = table.order.columns.iter().map(|column| format!("\"{column}\""));
    for (index, expression) in (0_i64..).zip(second.into_iter().chain(columns)) {
        sqlx::query("INSERT INTO ducklake_sort_expression VALUES ($1, $2, $3, $4, 'duckdb', 'ASC', 'NULLS_FIRST')")
            .bind(sort_id)
            .bind(table_id)
            .bind(index)
            .bind(expression)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Puts the view of a table that has learned columns in the place of the one before.
pub(super) async fn replace_view(
    connection: &mut SqliteConnection,
    change: &mut Change,
    tenant: &TenantId,
    signal: Signal,
    learned: &[LearnedColumn],
) -> Result<(), sqlx::Error> {
    let (schema_id, view_id): (i64, i64) = sqlx::query_as(
        "UPDATE ducklake_view SET end_snapshot = $1 WHERE view_name = $2 AND end_snapshot IS NULL AND schema_id =
         (SELECT schema_id FROM ducklake_schema WHERE schema_name = $3 AND end_snapshot IS NULL)
         RETURNING schema_id, view_id",
    )
    .bind(change.snapshot_id)
    .bind(views::view_name(signal))
    .bind(tenant.as_str())
    .fetch_one(&mut *connection)
    .await?;
    change.made(format!("dropped_view:{view_id}"));
    create_view(connection, change, tenant, schema_id, signal, learned).await
}

async fn create_view(
    connection: &mut SqliteConnection,
    change: &mut Change,
    tenant: &TenantId,
    schema_id: i64,
    signal: Signal,
    learned: &[LearnedColumn],
) -> Result<(), sqlx::Error> {
    let name = views::view_name(signal);
    change.made(format!("created_view:\"{tenant}\".\"{name}\""));
    sqlx::query("INSERT INTO ducklake_view VALUES ($1, $2, $3, NULL, $4, $5, 'duckdb', $6, '')")
        .bind(change.catalog_id())
        .bind(uuid())
        .bind(change.snapshot_id)
        .bind(schema_id)
        .bind(name)
        .bind(views::view_sql(table(signal), learned, tenant))
        .execute(connection)
        .await?;
    Ok(())
}

/// A version 4 UUID. The standard library seeds its hashers from the operating system's randomness.
fn uuid() -> String {
    use std::hash::{BuildHasher, RandomState};
    let (a, b) = (RandomState::new().hash_one(0), RandomState::new().hash_one(1));
    let variant = 0x8000 | (b >> 48) & 0x3fff;
    format!("{:08x}-{:04x}-4{:03x}-{variant:04x}-{:012x}", a >> 32, a >> 16 & 0xffff, a & 0xfff, b & 0xffff_ffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn column_ids_are_the_field_ids_in_preorder() {
        for name in TableName::ALL {
            let columns = catalog_columns(table(name));
            assert!(columns.iter().map(|c| c.id).eq(1..=columns.len() as i64), "{name}");
            assert_eq!(columns[0].name, "timestamp");
            let map = if name.signal().is_some() { "other_attributes" } else { "labels" };
            let map = columns.iter().position(|c| c.name == map).expect("the table has it");
            assert_eq!(columns[map].column_type, "map");
            assert_eq!((columns[map + 1].name.as_str(), columns[map + 1].parent), ("key", Some(columns[map].id)));
            assert_eq!((columns[map + 2].name.as_str(), columns[map + 2].parent), ("value", Some(columns[map].id)));
        }
    }

    #[test]
    fn uuids_differ_and_are_of_version_4() {
        let (a, b) = (uuid(), uuid());
        assert_ne!(a, b);
        assert_eq!((a.len(), a.as_bytes()[14]), (36, b'4'));
    }
}
