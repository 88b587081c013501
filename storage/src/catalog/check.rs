//! Checks of what the catalog says of data files and of the writer. A page of SQLite has no checksum, and a flipped bit in
//! one could hide a file, change its counts or move the watermark: so each file's row is summed, the sums are added up over
//! all live files, and the watermark is summed too. Never repairs anything: what does not add up is refused.

use orrery_model::TableName;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::database;
use crate::checksum::Checksums;
use crate::lake::LakeError;

/// What must not change of a live data file.
pub(super) struct FileFacts {
    pub(super) id: i64,
    /// Below the table's folder.
    pub(super) path: String,
    pub(super) rows: i64,
    pub(super) size_bytes: i64,
    pub(super) footer_bytes: i64,
    /// Ends of `timestamp`, as the catalog writes them.
    pub(super) min_timestamp: Option<String>,
    pub(super) max_timestamp: Option<String>,
    /// The trace filter's bytes.
    pub(super) filter: Option<Vec<u8>>,
    pub(super) checksums: Option<Checksums>,
    /// The text of its layout.
    pub(super) layout: Option<String>,
}

impl FileFacts {
    /// What [`FileFacts::read`] reads, of the live files of table `$1`; `$2` is the field id of `timestamp`.
    pub(super) const SELECT: &str = "
        SELECT f.data_file_id, f.path, f.record_count, f.file_size_bytes, f.footer_size, s.min_value, s.max_value, b.filter,
               k.tail_offset, k.tail_crc, k.row_check, l.layout
        FROM ducklake_data_file f
        LEFT JOIN ducklake_file_column_stats s ON s.data_file_id = f.data_file_id AND s.column_id = $2
        LEFT JOIN orrery_trace_filter b ON b.data_file_id = f.data_file_id
        LEFT JOIN orrery_file_check k ON k.data_file_id = f.data_file_id
        LEFT JOIN orrery_file_layout y ON y.data_file_id = f.data_file_id
        LEFT JOIN orrery_layout l ON l.layout_id = y.layout_id
        WHERE f.table_id = $1 AND f.end_snapshot IS NULL ORDER BY f.data_file_id";

    /// A row, with the check that stands beside it.
    pub(super) fn read(row: &SqliteRow) -> Result<(Self, Option<i64>), sqlx::Error> {
        let tail: (Option<i64>, Option<i64>) = (row.try_get(8)?, row.try_get(9)?);
        let checksums = tail.0.zip(tail.1).map(|(offset, crc)| Checksums {
            tail_offset: offset.cast_unsigned(),
            // What does not fit was changed, and the check says so.
            tail_crc: u32::try_from(crc).unwrap_or_default(),
        });
        let facts = Self {
            id: row.try_get(0)?,
            path: row.try_get(1)?,
            rows: row.try_get(2)?,
            size_bytes: row.try_get(3)?,
            footer_bytes: row.try_get(4)?,
            min_timestamp: row.try_get(5)?,
            max_timestamp: row.try_get(6)?,
            filter: row.try_get(7)?,
            checksums,
            layout: row.try_get(11)?,
        };
        Ok((facts, row.try_get(10)?))
    }

    /// CRC32C of all of it, as FORMAT.md has it.
    pub(super) fn check(&self, tenant: &str, table: TableName) -> i64 {
        let (tail_offset, tail_crc) =
            self.checksums.map_or((-1, -1), |sums| (sums.tail_offset.cast_signed(), i64::from(sums.tail_crc)));
        let mut sum = Sum(0);
        for number in [self.id, self.rows, self.size_bytes, self.footer_bytes, tail_offset, tail_crc] {
            sum.number(number);
        }
        sum.bytes(Some(tenant.as_bytes()));
        sum.bytes(Some(table.as_str().as_bytes()));
        sum.bytes(Some(self.path.as_bytes()));
        sum.bytes(self.min_timestamp.as_ref().map(String::as_bytes));
        sum.bytes(self.max_timestamp.as_ref().map(String::as_bytes));
        sum.bytes(self.filter.as_deref());
        // Files of older versions have none and keep their checks.
        if let Some(layout) = &self.layout {
            sum.bytes(Some(layout.as_bytes()));
        }
        i64::from(sum.0)
    }

    /// Writes the file's checks, and counts it among the live files.
    pub(super) async fn insert(
        &self,
        connection: &mut SqliteConnection,
        tenant: &str,
        table: TableName,
    ) -> Result<(), sqlx::Error> {
        let check = self.check(tenant, table);
        sqlx::query("INSERT INTO orrery_file_check VALUES ($1, $2, $3, $4)")
            .bind(self.id)
            .bind(self.checksums.map(|sums| sums.tail_offset.cast_signed()))
            .bind(self.checksums.map(|sums| i64::from(sums.tail_crc)))
            .bind(check)
            .execute(&mut *connection)
            .await?;
        add(connection, 1, check).await
    }
}

/// How many live files there are and what their checks add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Total {
    pub(super) files: i64,
    pub(super) sum: i64,
}

impl Total {
    pub(super) fn add(&mut self, check: i64) {
        self.files += 1;
        self.sum = self.sum.wrapping_add(check);
    }

    /// What was committed.
    pub(super) async fn committed(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let row = sqlx::query("SELECT files, check_sum FROM orrery_live_files").fetch_one(connection).await?;
        Ok(Self { files: row.try_get(0)?, sum: row.try_get(1)? })
    }
}

/// Counts a file no more among the live ones. Its own check stays as long as its row.
pub(super) async fn end(connection: &mut SqliteConnection, file_id: i64) -> Result<(), sqlx::Error> {
    let check: i64 = sqlx::query_scalar("SELECT row_check FROM orrery_file_check WHERE data_file_id = $1")
        .bind(file_id)
        .fetch_one(&mut *connection)
        .await?;
    add(connection, -1, -check).await
}

async fn add(connection: &mut SqliteConnection, files: i64, sum: i64) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE orrery_live_files SET files = files + $1, check_sum = check_sum + $2")
        .bind(files)
        .bind(sum)
        .execute(connection)
        .await?;
    Ok(())
}

/// A writer's epoch and watermark, `None` for one that has never been here.
pub(super) async fn writer(connection: &mut SqliteConnection, name: &str) -> Result<Option<(i64, i64)>, LakeError> {
    let fail = database("read the watermark");
    let row = sqlx::query(
        "SELECT w.epoch, w.flushed_sequence, k.row_check
         FROM (SELECT $1 AS name) n LEFT JOIN orrery_writer w ON w.writer = n.name
         LEFT JOIN orrery_writer_check k ON k.writer = n.name",
    )
    .bind(name)
    .fetch_one(connection)
    .await
    .map_err(&fail)?;
    let found: (Option<i64>, Option<i64>, Option<i64>) =
        (row.try_get(0).map_err(&fail)?, row.try_get(1).map_err(&fail)?, row.try_get(2).map_err(&fail)?);
    match found {
        (None, None, None) => Ok(None),
        (Some(epoch), Some(flushed), Some(check)) if check == writer_check(name, epoch, flushed) => {
            Ok(Some((epoch, flushed)))
        }
        _ => Err(damaged(format!("the watermark of writer {name} is not what was committed"))),
    }
}

/// Refuses a writer whose epoch is over.
pub(super) async fn own_epoch(connection: &mut SqliteConnection, name: &str, epoch: u64) -> Result<(), LakeError> {
    match writer(connection, name).await? {
        Some((found, _)) if found == epoch.cast_signed() => Ok(()),
        _ => Err(LakeError::Fenced { writer: name.to_owned(), epoch }),
    }
}

/// Writes a writer's epoch and watermark.
pub(super) async fn set_writer(
    connection: &mut SqliteConnection,
    name: &str,
    epoch: i64,
    flushed_sequence: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO orrery_writer VALUES ($1, $2, $3)
         ON CONFLICT (writer) DO UPDATE SET epoch = excluded.epoch, flushed_sequence = excluded.flushed_sequence",
    )
    .bind(name)
    .bind(epoch)
    .bind(flushed_sequence)
    .execute(&mut *connection)
    .await?;
    sqlx::query("INSERT INTO orrery_writer_check VALUES ($1, $2) ON CONFLICT (writer) DO UPDATE SET row_check = excluded.row_check")
        .bind(name)
        .bind(writer_check(name, epoch, flushed_sequence))
        .execute(connection)
        .await?;
    Ok(())
}

/// What does not add up. The data files are as they were.
pub(super) fn damaged(what: String) -> LakeError {
    LakeError::Corrupt(format!("{what}; put back catalog.sqlite from a backup"))
}

fn writer_check(writer: &str, epoch: i64, flushed_sequence: i64) -> i64 {
    let mut sum = Sum(0);
    sum.bytes(Some(writer.as_bytes()));
    sum.number(epoch);
    sum.number(flushed_sequence);
    i64::from(sum.0)
}

/// CRC32C of numbers, in eight bytes each, and of bytes, behind their number, which is -1 for what is absent.
struct Sum(u32);

impl Sum {
    fn number(&mut self, number: i64) {
        self.0 = crc32c::crc32c_append(self.0, &number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: Option<&[u8]>) {
        self.number(bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap_or(i64::MAX)));
        self.0 = crc32c::crc32c_append(self.0, bytes.unwrap_or_default());
    }
}
