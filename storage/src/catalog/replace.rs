//! Taking files out of the lake: a merged file in the place of its parts, dropped hours, snapshots that no one reads any
//! more, and the list of files to delete. Each is one transaction; never touches a file itself.

use std::collections::BTreeMap;

use chrono::Utc;
use orrery_model::SnapshotId;
use sqlx::{Connection, Row, SqliteConnection};

use super::check;
use super::commit::{Change, Committed, SNAPSHOT_TIME_FORMAT, head, insert_file};
use super::{Catalog, database};
use crate::lake::LakeError;
use crate::parquet::WrittenFile;

/// A file that is to be deleted from the disk.
#[derive(Clone, Debug)]
pub(crate) struct Scheduled {
    pub(crate) id: i64,
    /// Below the data folder, with `/`.
    pub(crate) path: String,
}

/// What a replacement does to a table.
#[derive(Default)]
struct TableChange {
    removed_rows: i64,
    removed_bytes: i64,
    is_added_to: bool,
}

impl Catalog {
    /// Ends the files `removed` and adds others in one snapshot. [`LakeError::LostRace`] where one of the removed is not
    /// live any more. After an error nothing has changed, or, where the outcome of the last step is not known, all has:
    /// [`Catalog::find_replaced`] tells.
    pub(crate) async fn replace(&mut self, removed: &[i64], added: &[WrittenFile]) -> Result<Committed, LakeError> {
        let fail = database("replace data files");
        self.recover().await?;
        self.is_suspect = true;
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(&fail)?;
        check::own_epoch(&mut transaction, &self.writer, self.epoch).await?;
        self.steps.reached("a replacement begins");
        let head = head(&mut transaction).await.map_err(&fail)?;
        let mut change = Change::new(head);
        let mut tables: BTreeMap<i64, TableChange> = BTreeMap::new();
        for &id in removed {
            let ended = end_file(&mut transaction, change.snapshot_id, id).await.map_err(&fail)?;
            let (table_id, rows, bytes) = ended.ok_or(LakeError::LostRace { id })?;
            check::end(&mut transaction, id).await.map_err(&fail)?;
            let table = tables.entry(table_id).or_default();
            table.removed_rows += rows;
            table.removed_bytes += bytes;
        }
        self.steps.reached("files are ended");
        let mut file_ids = Vec::with_capacity(added.len());
        for file in added {
            let ids = self.tenants.get(&file.tenant).map(|tables| tables.table(file.table));
            let ids = ids.ok_or_else(|| LakeError::Corrupt(format!("tenant {} has no tables", file.tenant)))?;
            let file_id = change.file_id();
            insert_file(&mut transaction, change.snapshot_id, file_id, ids, file).await.map_err(&fail)?;
            file_ids.push(file_id);
            tables.entry(ids.table_id).or_default().is_added_to = true;
        }
        for (table_id, table) in tables {
            lessen_statistics(&mut transaction, table_id, &table).await.map_err(&fail)?;
            let what = if table.is_added_to { "merge_adjacent" } else { "deleted_from_table" };
            change.made(format!("{what}:{table_id}"));
        }
        self.steps.reached("files are added");
        let snapshot = SnapshotId(change.snapshot_id);
        change.finish(&mut transaction).await.map_err(&fail)?;
        self.steps.reached("the snapshot is made");
        transaction.commit().await.map_err(&fail)?;
        self.is_suspect = false;
        self.steps.reached("a replacement is committed");
        Ok(Committed { snapshot, file_ids, parent: SnapshotId(head.snapshot_id) })
    }

    /// Whether a replacement whose end was not seen has happened after all.
    pub(crate) async fn find_replaced(
        &mut self,
        removed: &[i64],
        added: &[WrittenFile],
    ) -> Result<Option<Committed>, LakeError> {
        let fail = database("look for a replacement");
        self.recover().await?;
        let Some(first) = removed.first() else { return Ok(None) };
        let ended: Option<i64> =
            sqlx::query_scalar("SELECT end_snapshot FROM ducklake_data_file WHERE data_file_id = $1")
                .bind(first)
                .fetch_optional(&mut self.connection)
                .await
                .map_err(&fail)?
                .flatten();
        let Some(snapshot) = ended else { return Ok(None) };
        let mut file_ids = Vec::with_capacity(added.len());
        for file in added {
            let id: Option<i64> = sqlx::query_scalar("SELECT data_file_id FROM ducklake_data_file WHERE path = $1")
                .bind(&file.relative_path)
                .fetch_optional(&mut self.connection)
                .await
                .map_err(&fail)?;
            match id {
                Some(id) => file_ids.push(id),
                None => return Ok(None),
            }
        }
        // What it was made upon is not known; no snapshot has this id.
        Ok(Some(Committed { snapshot: SnapshotId(snapshot), file_ids, parent: SnapshotId(-1) }))
    }

    /// Drops all snapshots before `oldest`, and what only they had: files that ended until then are scheduled for
    /// deletion. Gives how many snapshots went.
    pub(crate) async fn expire(&mut self, oldest: SnapshotId) -> Result<u64, LakeError> {
        let fail = database("expire snapshots");
        self.recover().await?;
        self.is_suspect = true;
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(&fail)?;
        let dropped = sqlx::query("DELETE FROM ducklake_snapshot WHERE snapshot_id < $1")
            .bind(oldest.0)
            .execute(&mut *transaction)
            .await
            .map_err(&fail)?
            .rows_affected();
        if dropped == 0 {
            transaction.rollback().await.map_err(&fail)?;
            self.is_suspect = false;
            return Ok(0);
        }
        self.steps.reached("snapshots are dropped");
        sqlx::query("DELETE FROM ducklake_snapshot_changes WHERE snapshot_id < $1")
            .bind(oldest.0)
            .execute(&mut *transaction)
            .await
            .map_err(&fail)?;
        sqlx::query(
            "INSERT INTO ducklake_files_scheduled_for_deletion
             SELECT f.data_file_id, s.path || t.path || f.path, 1, $2 FROM ducklake_data_file f
             JOIN ducklake_table t ON t.table_id = f.table_id JOIN ducklake_schema s ON s.schema_id = t.schema_id
             WHERE f.end_snapshot <= $1 AND f.path_is_relative",
        )
        .bind(oldest.0)
        .bind(Utc::now().format(SNAPSHOT_TIME_FORMAT).to_string())
        .execute(&mut *transaction)
        .await
        .map_err(&fail)?;
        // The files' own rows last: the others are found by them, in one pass over each table.
        for statement in [
            "DELETE FROM ducklake_file_column_stats WHERE data_file_id IN
             (SELECT data_file_id FROM ducklake_data_file WHERE end_snapshot <= $1)",
            "DELETE FROM ducklake_file_partition_value WHERE data_file_id IN
             (SELECT data_file_id FROM ducklake_data_file WHERE end_snapshot <= $1)",
            "DELETE FROM orrery_trace_filter WHERE data_file_id IN
             (SELECT data_file_id FROM ducklake_data_file WHERE end_snapshot <= $1)",
            "DELETE FROM orrery_file_check WHERE data_file_id IN
             (SELECT data_file_id FROM ducklake_data_file WHERE end_snapshot <= $1)",
            "DELETE FROM orrery_file_layout WHERE data_file_id IN
             (SELECT data_file_id FROM ducklake_data_file WHERE end_snapshot <= $1)",
            "DELETE FROM orrery_layout WHERE layout_id NOT IN (SELECT layout_id FROM orrery_file_layout)",
            "DELETE FROM ducklake_view WHERE end_snapshot <= $1",
            "DELETE FROM ducklake_data_file WHERE end_snapshot <= $1",
        ] {
            sqlx::query(statement).bind(oldest.0).execute(&mut *transaction).await.map_err(&fail)?;
        }
        self.steps.reached("files are scheduled");
        transaction.commit().await.map_err(&fail)?;
        self.is_suspect = false;
        self.steps.reached("an expiry is committed");
        Ok(dropped)
    }

    /// The files to delete, those scheduled first first.
    pub(crate) async fn scheduled(&mut self) -> Result<Vec<Scheduled>, LakeError> {
        let fail = database("read the files to delete");
        self.recover().await?;
        let rows = sqlx::query(
            "SELECT data_file_id, path FROM ducklake_files_scheduled_for_deletion
             WHERE path_is_relative ORDER BY schedule_start, data_file_id",
        )
        .fetch_all(&mut self.connection)
        .await
        .map_err(&fail)?;
        let read = |row: &sqlx::sqlite::SqliteRow| Ok(Scheduled { id: row.try_get(0)?, path: row.try_get(1)? });
        rows.iter().map(|row| read(row).map_err(&fail)).collect()
    }

    /// Bytes of the files that are not live and not yet scheduled for deletion.
    pub(crate) async fn ended_bytes(&mut self) -> Result<u64, LakeError> {
        self.recover().await?;
        let bytes: i64 = sqlx::query_scalar(
            "SELECT coalesce(sum(file_size_bytes), 0) FROM ducklake_data_file WHERE end_snapshot IS NOT NULL",
        )
        .fetch_one(&mut self.connection)
        .await
        .map_err(database("read the size of the ended files"))?;
        Ok(bytes.cast_unsigned())
    }

    /// Takes files that have been deleted off the list.
    pub(crate) async fn forget(&mut self, deleted: &[i64]) -> Result<(), LakeError> {
        let fail = database("forget deleted files");
        self.recover().await?;
        self.is_suspect = true;
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(&fail)?;
        for id in deleted {
            sqlx::query("DELETE FROM ducklake_files_scheduled_for_deletion WHERE data_file_id = $1")
                .bind(id)
                .execute(&mut *transaction)
                .await
                .map_err(&fail)?;
        }
        transaction.commit().await.map_err(&fail)?;
        self.is_suspect = false;
        self.steps.reached("deleted files are forgotten");
        Ok(())
    }
}

/// Ends a live file; gives its table, rows and bytes, `None` where it is not live.
async fn end_file(
    connection: &mut SqliteConnection,
    snapshot: i64,
    id: i64,
) -> Result<Option<(i64, i64, i64)>, sqlx::Error> {
    let row = sqlx::query(
        "UPDATE ducklake_data_file SET end_snapshot = $1 WHERE data_file_id = $2 AND end_snapshot IS NULL
         RETURNING table_id, record_count, file_size_bytes",
    )
    .bind(snapshot)
    .bind(id)
    .fetch_optional(connection)
    .await?;
    row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).transpose()
}

async fn lessen_statistics(
    connection: &mut SqliteConnection,
    table_id: i64,
    table: &TableChange,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE ducklake_table_stats SET record_count = record_count - $1, file_size_bytes = file_size_bytes - $2
         WHERE table_id = $3",
    )
    .bind(table.removed_rows)
    .bind(table.removed_bytes)
    .bind(table_id)
    .execute(connection)
    .await?;
    Ok(())
}
