//! Looking at a catalog without changing it: for whoever checks that files and catalog agree, also while a server writes.

use std::path::Path;

use orrery_model::{TableName, TenantId, table};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, Row, SqliteConnection};

use super::ddl::FORMAT_VERSION;
use super::tables::{TableIds, field_id};
use super::{BUSY_TIMEOUT, Catalog, database};
use crate::lake::{LakeError, Steps};

/// What the catalog says of one live file beside what [`super::load`] reads.
pub(crate) struct Says {
    /// The trace filter's stored form.
    pub(crate) filter: Option<Vec<u8>>,
    /// The least and greatest value of [`Table::ranged`](orrery_model::Table), where there is any.
    pub(crate) word_range: Option<(String, String)>,
    pub(crate) word_nulls: u64,
    /// The keys of the partition: year, month, day, hour.
    pub(crate) partition: Vec<String>,
}

impl Catalog {
    /// Opens a catalog of this version for reading only.
    pub(crate) async fn look(file: &Path) -> Result<Self, LakeError> {
        // Without a word about the journal: that would be a change, where a copy was made without SQLite's log.
        let options = SqliteConnectOptions::new().filename(file).read_only(true).busy_timeout(BUSY_TIMEOUT);
        let connection = SqliteConnection::connect_with(&options).await.map_err(database("open the catalog"))?;
        let mut catalog = Self::new(connection, options, "", Steps::default());
        let found = catalog.check_format().await?;
        if found < FORMAT_VERSION {
            return Err(LakeError::OlderFormat { found, supported: FORMAT_VERSION });
        }
        catalog.reload_tenants().await?;
        Ok(catalog)
    }

    /// What SQLite finds wrong with its own file, the first hundred of it.
    pub(crate) async fn integrity(&mut self) -> Result<Vec<String>, LakeError> {
        let fail = database("check the catalog");
        let said: Vec<String> =
            sqlx::query_scalar("PRAGMA integrity_check(100)").fetch_all(&mut self.connection).await.map_err(fail)?;
        Ok(said.into_iter().filter(|line| line != "ok").collect())
    }

    /// Whether the rows and bytes that the catalog says a table has are those of its live files; what is wrong, if anything.
    pub(crate) async fn check_totals(
        &mut self,
        tenant: &TenantId,
        name: TableName,
    ) -> Result<Option<String>, LakeError> {
        let fail = database("read a table's statistics");
        let id = self.ids(tenant, name).table_id;
        let row = sqlx::query(
            "SELECT s.record_count, s.file_size_bytes, coalesce(sum(f.record_count), 0), coalesce(sum(f.file_size_bytes), 0)
             FROM ducklake_table_stats s
             LEFT JOIN ducklake_data_file f ON f.table_id = s.table_id AND f.end_snapshot IS NULL
             WHERE s.table_id = $1 GROUP BY s.table_id, s.record_count, s.file_size_bytes",
        )
        .bind(id)
        .fetch_optional(&mut self.connection)
        .await
        .map_err(&fail)?;
        let Some(row) = row else { return Ok(Some("the table has no statistics".to_owned())) };
        let get = |index: usize| row.try_get::<i64, _>(index).map_err(&fail);
        let (rows, bytes, found_rows, found_bytes) = (get(0)?, get(1)?, get(2)?, get(3)?);
        let agree = rows == found_rows && bytes == found_bytes;
        Ok((!agree).then(|| {
            format!("its statistics say {rows} rows and {bytes} bytes, its files have {found_rows} and {found_bytes}")
        }))
    }

    /// What is said of a file; `None` where it is live no more.
    pub(crate) async fn says(&mut self, name: TableName, file_id: i64) -> Result<Option<Says>, LakeError> {
        let fail = database("read what the catalog says of a data file");
        let described = table(name);
        let word = described.schema.field(described.index_of(described.ranged));
        // One moment of the catalog.
        let mut transaction = self.connection.begin().await.map_err(&fail)?;
        let row = sqlx::query(
            "SELECT b.filter, s.min_value, s.max_value, s.null_count FROM ducklake_data_file f
             LEFT JOIN orrery_trace_filter b ON b.data_file_id = f.data_file_id
             LEFT JOIN ducklake_file_column_stats s ON s.data_file_id = f.data_file_id AND s.column_id = $2
             WHERE f.data_file_id = $1 AND f.end_snapshot IS NULL",
        )
        .bind(file_id)
        .bind(field_id(word))
        .fetch_optional(&mut *transaction)
        .await
        .map_err(&fail)?;
        let Some(row) = row else { return Ok(None) };
        let partition = sqlx::query_scalar(
            "SELECT partition_value FROM ducklake_file_partition_value WHERE data_file_id = $1 ORDER BY partition_key_index",
        )
        .bind(file_id)
        .fetch_all(&mut *transaction)
        .await
        .map_err(&fail)?;
        transaction.rollback().await.map_err(&fail)?;
        let (min, max): (Option<String>, Option<String>) =
            (row.try_get(1).map_err(&fail)?, row.try_get(2).map_err(&fail)?);
        let nulls: Option<i64> = row.try_get(3).map_err(&fail)?;
        Ok(Some(Says {
            filter: row.try_get(0).map_err(&fail)?,
            word_range: min.zip(max),
            word_nulls: nulls.unwrap_or_default().cast_unsigned(),
            partition,
        }))
    }

    fn ids(&self, tenant: &TenantId, name: TableName) -> TableIds {
        self.tenants.get(tenant).map(|tables| tables.table(name)).unwrap_or_default()
    }
}
