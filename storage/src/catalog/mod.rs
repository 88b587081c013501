//! The DuckLake catalog in SQLite: opens it, gives what is in it, and commits flushes, merges and removals. One database
//! transaction is the only commit point of the lake. Never touches a data file.

mod check;
mod commit;
mod ddl;
mod learn;
mod load;
mod look;
mod migrate;
mod replace;
mod tables;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use orrery_model::TenantId;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection, Row, SqliteConnection};

pub(crate) use commit::Committed;
use ddl::FORMAT_VERSION;
pub(crate) use look::Says;
pub(crate) use replace::Scheduled;
use tables::TenantTables;

use crate::lake::{LakeError, Steps};

/// How long a statement waits for another program's lock. DuckDB reads in short transactions, and in WAL mode a reader
/// does not block the writer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// The one connection that writes, and what it knows of the catalog.
pub(crate) struct Catalog {
    connection: SqliteConnection,
    options: SqliteConnectOptions,
    /// A transaction was begun and did not end well: nobody knows what state the connection is in.
    is_suspect: bool,
    writer: String,
    /// How often this writer has started, this time included.
    pub(crate) epoch: u64,
    pub(crate) flushed_sequence: u64,
    tenants: HashMap<TenantId, TenantTables>,
    steps: Steps,
}

/// The newest row of `ducklake_snapshot`: its id and the counters that the next one starts from.
#[derive(Clone, Copy, Debug)]
struct Head {
    snapshot_id: i64,
    schema_version: i64,
    next_catalog_id: i64,
    next_file_id: i64,
}

impl Catalog {
    /// Opens the catalog file, creating it and the default tenant's tables where there is none, and begins a new epoch of
    /// the writer. `data_path` is the absolute folder of the data files; it is written into the catalog when it has moved.
    pub(crate) async fn open(file: &Path, data_path: &Path, writer: &str, steps: Steps) -> Result<Self, LakeError> {
        let connection = SqliteConnection::connect_with(&options(file).create_if_missing(true))
            .await
            .map_err(database("open the catalog"))?;
        let mut catalog = Self::new(connection, options(file), writer, steps);
        catalog.create(data_path).await?;
        let version = catalog.check_format().await?;
        catalog.migrate(version).await?;
        catalog.begin_epoch(data_path).await?;
        catalog.reload_tenants().await?;
        Ok(catalog)
    }

    fn new(connection: SqliteConnection, options: SqliteConnectOptions, writer: &str, steps: Steps) -> Self {
        Self {
            connection,
            options,
            is_suspect: false,
            writer: writer.to_owned(),
            epoch: 0,
            flushed_sequence: 0,
            tenants: HashMap::new(),
            steps,
        }
    }

    /// Moves what is committed from SQLite's log into the catalog file, durably; gives whether all of it is there. While
    /// another program reads an older state it is not, and is tried again.
    pub(crate) async fn settle(&mut self) -> Result<bool, LakeError> {
        let fail = database("settle the catalog");
        self.recover().await?;
        let row = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(&mut self.connection).await.map_err(&fail)?;
        let (busy, pages, moved): (i64, i64, i64) =
            (row.try_get(0).map_err(&fail)?, row.try_get(1).map_err(&fail)?, row.try_get(2).map_err(&fail)?);
        Ok(busy == 0 && pages == moved)
    }

    /// Makes the connection anew where the last transaction failed or was abandoned. After a failed commit, as of a full
    /// disk, SQLite has rolled back by itself and the connection would refuse to begin another transaction.
    async fn recover(&mut self) -> Result<(), LakeError> {
        if self.is_suspect {
            self.connection =
                SqliteConnection::connect_with(&self.options).await.map_err(database("open the catalog again"))?;
            self.is_suspect = false;
        }
        Ok(())
    }

    /// Leaves the catalog to the next one to open it; committed work is safe without.
    pub(crate) async fn close(self) -> Result<(), LakeError> {
        self.connection.close().await.map_err(database("close the catalog"))
    }

    /// Creates every table, the default tenant's ones and the first snapshots in one transaction, unless that was done.
    async fn create(&mut self, data_path: &Path) -> Result<(), LakeError> {
        let fail = database("create the catalog");
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(&fail)?;
        let exists: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_master WHERE name = 'ducklake_metadata'")
            .fetch_one(&mut *transaction)
            .await
            .map_err(&fail)?;
        if exists > 0 {
            return transaction.rollback().await.map_err(&fail);
        }
        sqlx::raw_sql(ddl::DUCKLAKE).execute(&mut *transaction).await.map_err(&fail)?;
        sqlx::raw_sql(ddl::ORRERY).execute(&mut *transaction).await.map_err(&fail)?;
        sqlx::raw_sql(ddl::ALERTS).execute(&mut *transaction).await.map_err(&fail)?;
        sqlx::raw_sql(ddl::CHECKS).execute(&mut *transaction).await.map_err(&fail)?;
        sqlx::raw_sql(ddl::LAYOUTS).execute(&mut *transaction).await.map_err(&fail)?;
        sqlx::raw_sql(ddl::ROLLUPS).execute(&mut *transaction).await.map_err(&fail)?;
        sqlx::query("INSERT INTO orrery_format VALUES ($1)")
            .bind(FORMAT_VERSION)
            .execute(&mut *transaction)
            .await
            .map_err(&fail)?;
        let created_by = concat!("Orrery ", env!("CARGO_PKG_VERSION"));
        for (key, value) in [
            ("version", "1.0"),
            ("created_by", created_by),
            ("data_path", &data_path_text(data_path)),
            ("encrypted", "false"),
        ] {
            sqlx::query("INSERT INTO ducklake_metadata VALUES ($1, $2, NULL, NULL)")
                .bind(key)
                .bind(value)
                .execute(&mut *transaction)
                .await
                .map_err(&fail)?;
        }
        let mut change =
            commit::Change::new(Head { snapshot_id: -1, schema_version: 0, next_catalog_id: 0, next_file_id: 0 });
        tables::create_schema(&mut transaction, &mut change, &TenantId::default()).await.map_err(&fail)?;
        change.finish(&mut transaction).await.map_err(&fail)?;
        let mut change = commit::Change::new(commit::head(&mut transaction).await.map_err(&fail)?);
        tables::create_tables(&mut transaction, &mut change, &TenantId::default(), 0).await.map_err(&fail)?;
        change.finish(&mut transaction).await.map_err(&fail)?;
        transaction.commit().await.map_err(&fail)
    }

    /// Refuses a catalog that a newer Orrery wrote, and one that another program created. Gives its version.
    async fn check_format(&mut self) -> Result<i64, LakeError> {
        let fail = database("read the format version");
        let ours: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_master WHERE name = 'orrery_format'")
            .fetch_one(&mut self.connection)
            .await
            .map_err(&fail)?;
        if ours == 0 {
            return Err(LakeError::Foreign);
        }
        let found: i64 = sqlx::query_scalar("SELECT max(version) FROM orrery_format")
            .fetch_one(&mut self.connection)
            .await
            .map_err(&fail)?;
        if found > FORMAT_VERSION {
            return Err(LakeError::NewerFormat { found, supported: FORMAT_VERSION });
        }
        Ok(found)
    }

    async fn begin_epoch(&mut self, data_path: &Path) -> Result<(), LakeError> {
        let fail = database("begin an epoch");
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(&fail)?;
        sqlx::query(
            "UPDATE ducklake_metadata SET value = $1 WHERE key = 'data_path' AND scope IS NULL AND value <> $1",
        )
        .bind(data_path_text(data_path))
        .execute(&mut *transaction)
        .await
        .map_err(&fail)?;
        let (epoch, flushed_sequence) = check::writer(&mut transaction, &self.writer).await?.unwrap_or_default();
        check::set_writer(&mut transaction, &self.writer, epoch + 1, flushed_sequence).await.map_err(&fail)?;
        self.epoch = (epoch + 1).cast_unsigned();
        self.flushed_sequence = flushed_sequence.cast_unsigned();
        transaction.commit().await.map_err(&fail)
    }
}

/// The folder as DuckLake keeps it: with a slash at its end.
fn data_path_text(path: &Path) -> String {
    format!("{}/", path.display())
}

/// How the catalog's file is opened, by whoever writes to it: a commit is on stable storage when it returns.
pub(crate) fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
}

/// Names the operation that a database error broke.
pub(crate) fn database(operation: &'static str) -> impl Fn(sqlx::Error) -> LakeError {
    move |source| LakeError::Database { operation, source }
}
