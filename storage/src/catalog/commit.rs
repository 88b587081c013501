//! Commits: one database transaction that adds the files of a flush to any tables, with their statistics, and moves the
//! writer's watermark. Never leaves half of it, and never runs when another epoch has taken the writer over.

use chrono::{DateTime, Datelike, Timelike, Utc};
use orrery_model::{SnapshotId, TableName, TenantId, table};
use sqlx::{Connection, Row, SqliteConnection};

use super::check::{self, FileFacts};
use super::tables::{TIMESTAMP_FORMAT, TableIds, TenantTables, create_schema, create_tables, field_id};
use super::{Catalog, Head, database};
use crate::lake::LakeError;
use crate::layout::layout_id;
use crate::parquet::{ColumnRange, MIXED, WrittenFile, hour_of};
use crate::{FileLayout, HOUR_NS, TraceFilter, rollups};

/// As DuckLake writes the time of a snapshot, in UTC.
pub(super) const SNAPSHOT_TIME_FORMAT: &str = "%Y-%m-%d %H:%M:%S%.6f+00";

/// What a commit did.
pub(crate) struct Committed {
    pub(crate) snapshot: SnapshotId,
    /// The id of each file, in the order in which they were given.
    pub(crate) file_ids: Vec<i64>,
    /// The snapshot that it was made upon; another than the writer's own last one when other programs wrote.
    pub(crate) parent: SnapshotId,
}

/// One snapshot in the making: hands out ids and gathers what goes into `ducklake_snapshot_changes`.
pub(super) struct Change {
    pub(super) snapshot_id: i64,
    head: Head,
    alters_schema: bool,
    made: Vec<String>,
}

impl Change {
    pub(super) fn new(head: Head) -> Self {
        Self { snapshot_id: head.snapshot_id + 1, head, alters_schema: false, made: Vec::new() }
    }

    /// A new id for a schema, table, view, partition or sort key.
    pub(super) fn catalog_id(&mut self) -> i64 {
        self.head.next_catalog_id += 1;
        self.head.next_catalog_id - 1
    }

    pub(super) fn file_id(&mut self) -> i64 {
        self.head.next_file_id += 1;
        self.head.next_file_id - 1
    }

    /// Counts the schema's version up, once a snapshot.
    pub(super) fn alter_schema(&mut self) {
        if !self.alters_schema {
            self.alters_schema = true;
            self.head.schema_version += 1;
        }
    }

    pub(super) fn schema_version(&self) -> i64 {
        self.head.schema_version
    }

    pub(super) fn made(&mut self, change: String) {
        self.made.push(change);
    }

    /// Writes the snapshot's own rows.
    pub(super) async fn finish(self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        sqlx::query("INSERT INTO ducklake_snapshot VALUES ($1, $2, $3, $4, $5)")
            .bind(self.snapshot_id)
            .bind(Utc::now().format(SNAPSHOT_TIME_FORMAT).to_string())
            .bind(self.head.schema_version)
            .bind(self.head.next_catalog_id)
            .bind(self.head.next_file_id)
            .execute(&mut *connection)
            .await?;
        sqlx::query("INSERT INTO ducklake_snapshot_changes VALUES ($1, $2, NULL, NULL, NULL)")
            .bind(self.snapshot_id)
            .bind(self.made.join(","))
            .execute(connection)
            .await?;
        Ok(())
    }
}

/// The newest snapshot.
pub(super) async fn head(connection: &mut SqliteConnection) -> Result<Head, sqlx::Error> {
    let row = sqlx::query(
        "SELECT snapshot_id, schema_version, next_catalog_id, next_file_id FROM ducklake_snapshot
         ORDER BY snapshot_id DESC LIMIT 1",
    )
    .fetch_one(connection)
    .await?;
    Ok(Head {
        snapshot_id: row.try_get(0)?,
        schema_version: row.try_get(1)?,
        next_catalog_id: row.try_get(2)?,
        next_file_id: row.try_get(3)?,
    })
}

impl Catalog {
    /// Adds the files and moves the watermark from below `first` to `through`. When this fails nothing has changed, or,
    /// where the outcome of the last step is not known, all has: the watermark tells.
    pub(crate) async fn commit(
        &mut self,
        first: u64,
        through: u64,
        files: &[WrittenFile],
    ) -> Result<Committed, LakeError> {
        let fail = database("commit a flush");
        self.recover().await?;
        self.is_suspect = true;
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(&fail)?;
        let epoch = self.epoch.cast_signed();
        match check::writer(&mut transaction, &self.writer).await? {
            Some((e, flushed)) if e == epoch && flushed < first.cast_signed() => {}
            _ => return Err(LakeError::Fenced { writer: self.writer.clone(), epoch: self.epoch }),
        }
        check::set_writer(&mut transaction, &self.writer, epoch, through.cast_signed()).await.map_err(&fail)?;

        let head = head(&mut transaction).await.map_err(&fail)?;
        let mut change = Change::new(head);
        let mut created: Vec<(TenantId, TenantTables)> = Vec::new();
        for file in files {
            let known =
                self.tenants.contains_key(&file.tenant) || created.iter().any(|(tenant, _)| *tenant == file.tenant);
            if !known {
                let schema_id = create_schema(&mut transaction, &mut change, &file.tenant).await.map_err(&fail)?;
                let tables =
                    create_tables(&mut transaction, &mut change, &file.tenant, schema_id).await.map_err(&fail)?;
                created.push((file.tenant.clone(), tables));
            }
        }
        let mut file_ids = Vec::with_capacity(files.len());
        let mut touched: Vec<i64> = Vec::new();
        for file in files {
            let tables = self
                .tenants
                .get(&file.tenant)
                .or_else(|| created.iter().find(|(tenant, _)| *tenant == file.tenant).map(|(_, tables)| tables));
            let ids = tables.expect("every tenant of the files has tables").table(file.table);
            let file_id = change.file_id();
            insert_file(&mut transaction, change.snapshot_id, file_id, ids, file).await.map_err(&fail)?;
            if file.table == TableName::Spans {
                let (min_ns, max_ns) = (file.min_timestamp_ns, file.max_timestamp_ns);
                let hour = (hour_of(min_ns, max_ns) != MIXED).then(|| min_ns.div_euclid(HOUR_NS));
                rollups::note_input(&mut transaction, &file.tenant, file_id, hour, (min_ns, max_ns))
                    .await
                    .map_err(&fail)?;
            }
            file_ids.push(file_id);
            if !touched.contains(&ids.table_id) {
                touched.push(ids.table_id);
                change.made(format!("inserted_into_table:{}", ids.table_id));
            }
        }
        let snapshot = SnapshotId(change.snapshot_id);
        change.finish(&mut transaction).await.map_err(&fail)?;
        transaction.commit().await.map_err(&fail)?;
        self.is_suspect = false;
        self.tenants.extend(created);
        self.flushed_sequence = through;
        Ok(Committed { snapshot, file_ids, parent: SnapshotId(head.snapshot_id) })
    }

    /// The watermark as the database has it: what tells whether a commit whose end was not seen has happened.
    pub(crate) async fn read_watermark(&mut self) -> Result<u64, LakeError> {
        self.recover().await?;
        let (_, flushed) = check::writer(&mut self.connection, &self.writer).await?.unwrap_or_default();
        self.flushed_sequence = flushed.cast_unsigned();
        Ok(self.flushed_sequence)
    }
}

pub(super) async fn insert_file(
    connection: &mut SqliteConnection,
    snapshot: i64,
    file_id: i64,
    ids: TableIds,
    file: &WrittenFile,
) -> Result<(), sqlx::Error> {
    let rows = file.rows.cast_signed();
    let size = file.size_bytes.cast_signed();
    // Otherwise only the ends of its timestamps rule it out.
    let is_partition = hour_of(file.min_timestamp_ns, file.max_timestamp_ns) != MIXED;
    let first_row: i64 = sqlx::query_scalar(
        "UPDATE ducklake_table_stats SET record_count = record_count + $1, next_row_id = next_row_id + $1,
         file_size_bytes = file_size_bytes + $2 WHERE table_id = $3 RETURNING next_row_id - $1",
    )
    .bind(rows)
    .bind(size)
    .bind(ids.table_id)
    .fetch_one(&mut *connection)
    .await?;
    sqlx::query(
        "INSERT INTO ducklake_data_file
         VALUES ($1, $2, $3, NULL, NULL, $4, 1, 'parquet', $5, $6, $7, $8, $9, NULL, NULL, NULL)",
    )
    .bind(file_id)
    .bind(ids.table_id)
    .bind(snapshot)
    .bind(&file.relative_path)
    .bind(rows)
    .bind(size)
    .bind(file.footer_bytes.cast_signed())
    .bind(first_row)
    .bind(is_partition.then_some(ids.partition_id))
    .execute(&mut *connection)
    .await?;

    let hour = DateTime::from_timestamp_nanos(file.min_timestamp_ns);
    let values = [i64::from(hour.year()), hour.month().into(), hour.day().into(), hour.hour().into()];
    for (index, value) in (0_i64..).zip(values).filter(|_| is_partition) {
        sqlx::query("INSERT INTO ducklake_file_partition_value VALUES ($1, $2, $3, $4)")
            .bind(file_id)
            .bind(ids.table_id)
            .bind(index)
            .bind(value.to_string())
            .execute(&mut *connection)
            .await?;
    }
    insert_statistics(connection, file_id, ids.table_id, file).await?;
    let filter = file.trace_filter.as_ref().map(TraceFilter::to_bytes);
    if let Some(filter) = &filter {
        sqlx::query("INSERT INTO orrery_trace_filter VALUES ($1, $2)")
            .bind(file_id)
            .bind(filter)
            .execute(&mut *connection)
            .await?;
    }
    let facts = FileFacts {
        id: file_id,
        path: file.relative_path.clone(),
        rows,
        size_bytes: size,
        footer_bytes: file.footer_bytes.cast_signed(),
        min_timestamp: Some(timestamp_text(file.min_timestamp_ns)),
        max_timestamp: Some(timestamp_text(file.max_timestamp_ns)),
        filter,
        checksums: file.checksums,
        layout: insert_layout(connection, file_id, &file.layout).await?,
    };
    facts.insert(connection, file.tenant.as_str(), file.table).await
}

/// Says of a file where its attributes lie, and gives the text that says it; `None` where nothing is said.
async fn insert_layout(
    connection: &mut SqliteConnection,
    file_id: i64,
    layout: &FileLayout,
) -> Result<Option<String>, sqlx::Error> {
    let text = layout.to_text();
    let id = layout_id(&text);
    let known: Option<String> = sqlx::query_scalar("SELECT layout FROM orrery_layout WHERE layout_id = $1")
        .bind(id)
        .fetch_optional(&mut *connection)
        .await?;
    match known {
        Some(known) if known == text => {}
        // Two texts of one hash: nothing is said by the second.
        Some(_) => return Ok(None),
        None => {
            let insert = sqlx::query("INSERT INTO orrery_layout VALUES ($1, $2)");
            insert.bind(id).bind(&text).execute(&mut *connection).await?;
        }
    }
    sqlx::query("INSERT INTO orrery_file_layout VALUES ($1, $2)").bind(file_id).bind(id).execute(connection).await?;
    Ok(Some(text))
}

/// The statistics of the columns that rule files out. A column without a row is one that DuckDB knows nothing of, and
/// reads; `ducklake_table_column_stats` has no rows, since a stale one makes DuckDB answer wrongly.
async fn insert_statistics(
    connection: &mut SqliteConnection,
    file_id: i64,
    table_id: i64,
    file: &WrittenFile,
) -> Result<(), sqlx::Error> {
    let schema = &table(file.table).schema;
    for column in &file.columns {
        let (min, max) = match &column.range {
            ColumnRange::Timestamp(min, max) => (Some(timestamp_text(*min)), Some(timestamp_text(*max))),
            ColumnRange::Text(min, max) => (Some(min.clone()), Some(max.clone())),
            ColumnRange::Unknown => (None, None),
        };
        sqlx::query("INSERT INTO ducklake_file_column_stats VALUES ($1, $2, $3, $4, $5, $6, $7, $8, NULL, NULL)")
            .bind(file_id)
            .bind(table_id)
            .bind(field_id(schema.field(column.index)))
            .bind(column.size_bytes.cast_signed())
            .bind((file.rows - column.nulls).cast_signed())
            .bind(column.nulls.cast_signed())
            .bind(min)
            .bind(max)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

fn timestamp_text(ns: i64) -> String {
    DateTime::from_timestamp_nanos(ns).format(TIMESTAMP_FORMAT).to_string()
}
