//! Catalogs of older format versions become the newest one, in one transaction with a snapshot of its own. Files and the
//! log are left as they are: what a version changes in them, a reader of it knows.

use orrery_model::{TableName, TenantId, table};
use sqlx::{Connection, Row, SqliteConnection};

use super::check::{self, FileFacts};
use super::commit::{Change, head};
use super::ddl::{self, FORMAT_VERSION};
use super::load::timestamp_id;
use super::{Catalog, database, tables};
use crate::lake::LakeError;

impl Catalog {
    /// Takes the catalog from `version` to [`FORMAT_VERSION`], one version after the other.
    pub(super) async fn migrate(&mut self, version: i64) -> Result<(), LakeError> {
        if version >= FORMAT_VERSION {
            return Ok(());
        }
        let fail = database("bring the catalog to this version's format");
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(&fail)?;
        let mut change = Change::new(head(&mut transaction).await.map_err(&fail)?);
        for from in version..FORMAT_VERSION {
            let step = match from {
                1 => add_alerts(&mut transaction, &mut change).await,
                2 => add_checks(&mut transaction).await,
                3 => add_layouts_and_rollups(&mut transaction).await,
                4 => sort_spans_by_second(&mut transaction, &mut change).await,
                _ => unreachable!("every version below the newest has a step"),
            };
            step.map_err(&fail)?;
        }
        change.finish(&mut transaction).await.map_err(&fail)?;
        sqlx::query("UPDATE orrery_format SET version = $1")
            .bind(FORMAT_VERSION)
            .execute(&mut *transaction)
            .await
            .map_err(&fail)?;
        transaction.commit().await.map_err(&fail)?;
        tracing::info!(from = version, to = FORMAT_VERSION, "brought the catalog to a newer format");
        Ok(())
    }
}

/// To version 2: the table `alerts` of each tenant, and what alerting keeps across restarts.
async fn add_alerts(connection: &mut SqliteConnection, change: &mut Change) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(ddl::ALERTS).execute(&mut *connection).await?;
    let schemas = sqlx::query(
        "SELECT DISTINCT s.schema_id, s.schema_name FROM ducklake_schema s
         JOIN ducklake_table t ON t.schema_id = s.schema_id AND t.end_snapshot IS NULL AND t.table_name = 'spans'
         WHERE s.end_snapshot IS NULL ORDER BY s.schema_id",
    )
    .fetch_all(&mut *connection)
    .await?;
    change.alter_schema();
    for row in schemas {
        let (schema_id, name): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
        let Ok(tenant) = TenantId::new(&name) else { continue };
        tables::create_table(connection, change, &tenant, schema_id, TableName::Alerts).await?;
    }
    Ok(())
}

/// To version 3: what the catalog says of files and writers is taken for true, and checked from then on. The files' bytes
/// have no sums.
async fn add_checks(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(ddl::CHECKS).execute(&mut *connection).await?;
    // Read with what is known of files, though nothing is known yet.
    sqlx::raw_sql(ddl::LAYOUTS).execute(&mut *connection).await?;
    let tables = sqlx::query(
        "SELECT t.table_id, s.schema_name, t.table_name FROM ducklake_table t
         JOIN ducklake_schema s ON s.schema_id = t.schema_id AND s.end_snapshot IS NULL WHERE t.end_snapshot IS NULL",
    )
    .fetch_all(&mut *connection)
    .await?;
    for row in tables {
        let (id, tenant, name): (i64, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let Some(table) = TableName::from_name(&name) else { continue };
        let files =
            sqlx::query(FileFacts::SELECT).bind(id).bind(timestamp_id(table)).fetch_all(&mut *connection).await?;
        for file in &files {
            FileFacts::read(file)?.0.insert(connection, &tenant, table).await?;
        }
    }
    let writers =
        sqlx::query("SELECT writer, epoch, flushed_sequence FROM orrery_writer").fetch_all(&mut *connection).await?;
    for row in &writers {
        let (writer, epoch, flushed): (String, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        check::set_writer(connection, &writer, epoch, flushed).await?;
    }
    Ok(())
}

/// To version 4: room for what is known of files' attributes, of which nothing is said of those that are there already, and
/// for what is counted beforehand, which is counted after all of them.
async fn add_layouts_and_rollups(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(ddl::LAYOUTS).execute(&mut *connection).await?;
    sqlx::raw_sql(ddl::ROLLUPS).execute(connection).await.map(drop)
}

/// To version 5: new files of spans are sorted by second and trace. Those that are there say nothing of their order, and are by
/// service.
async fn sort_spans_by_second(connection: &mut SqliteConnection, change: &mut Change) -> Result<(), sqlx::Error> {
    let tables: Vec<i64> = sqlx::query_scalar(
        "SELECT table_id FROM ducklake_table WHERE end_snapshot IS NULL AND table_name = 'spans' ORDER BY table_id",
    )
    .fetch_all(&mut *connection)
    .await?;
    change.alter_schema();
    for id in tables {
        sqlx::query("UPDATE ducklake_sort_info SET end_snapshot = $1 WHERE table_id = $2 AND end_snapshot IS NULL")
            .bind(change.snapshot_id)
            .bind(id)
            .execute(&mut *connection)
            .await?;
        tables::insert_order(connection, change.snapshot_id, change.catalog_id(), id, table(TableName::Spans)).await?;
    }
    Ok(())
}
