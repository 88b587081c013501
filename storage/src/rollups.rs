//! Where what was counted beforehand of the hours of spans is kept: bytes under an hour and a name, in tables of the
//! catalog's database, with what they were counted from. Of an hour all is there or nothing. Has connections of its own;
//! never looks into the bytes, and never says whether they still hold but for what came since.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use orrery_model::TenantId;
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{Connection, Row, SqliteConnection};
use tokio::sync::Mutex;

use crate::catalog::{database, options};
use crate::lake::LakeError;

/// Bytes of a part at most, before they are compressed; a larger one is not kept.
pub const MAX_PART_BYTES: usize = 64 << 20;
const LEVEL: i32 = 3;

/// What an hour's bytes were counted from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RollupHead {
    /// Since the Unix epoch.
    pub hour: i64,
    /// Of the bytes' form, and of the rules that they were counted by.
    pub version: i64,
    /// The last of the flushes' files that was looked at.
    pub through_file: i64,
    /// Spans in the hour's own files, and in those of the hour before.
    pub rows: i64,
    pub before_rows: i64,
}

/// An hour as it is kept.
#[derive(Clone, Debug)]
pub struct StoredRollup {
    pub head: RollupHead,
    /// Whether a flush brought spans of the hour, or of the time around it that was asked for, since.
    pub is_overtaken: bool,
    /// The part that was asked for, if it is there.
    pub part: Option<Vec<u8>>,
}

/// What is read.
#[derive(Clone, Debug)]
pub struct RollupQuery {
    pub hours: RangeInclusive<i64>,
    /// The name of a part; none has the empty one.
    pub part: &'static str,
    /// The newest flush's file of the reader's snapshot: what came after it is not asked for.
    pub newest_file: i64,
    /// Spans this near to an hour count as the hour's.
    pub around_ns: i64,
}

/// The hours of an opened lake. Shared by all queries of a process.
pub struct Rollups {
    catalog: PathBuf,
    /// Each opened by the first who needs it.
    reader: Mutex<Option<SqliteConnection>>,
    writer: Mutex<Option<SqliteConnection>>,
}

impl Rollups {
    /// Over the catalog file of a lake that is open: that creates the tables.
    pub(crate) fn new(catalog: PathBuf) -> Self {
        Self { catalog, reader: Mutex::new(None), writer: Mutex::new(None) }
    }

    /// The hours of a range that are there, by hour, each with one part. What was damaged is not there.
    pub async fn read(&self, tenant: &TenantId, query: &RollupQuery) -> Result<Vec<StoredRollup>, LakeError> {
        let fail = database("read the roll-ups");
        let mut slot = self.reader.lock().await;
        let mut connection = match slot.take() {
            Some(open) => open,
            None => {
                let options = SqliteConnectOptions::new().filename(&self.catalog).read_only(true);
                SqliteConnection::connect_with(&options).await.map_err(&fail)?
            }
        };
        let rows = sqlx::query(
            "SELECT r.hour, r.version, r.through_file, r.rows, r.before_rows, r.row_check, p.body,
               EXISTS (SELECT 1 FROM orrery_span_input i
                 WHERE i.tenant = r.tenant AND i.hour BETWEEN r.hour - 1 AND r.hour + 1
                   AND i.data_file_id > r.through_file AND i.data_file_id <= $5
                   AND i.max_ns >= r.hour * 3600000000000 - $6 AND i.min_ns < (r.hour + 1) * 3600000000000 + $6)
               OR EXISTS (SELECT 1 FROM orrery_span_input i
                 WHERE i.tenant = r.tenant AND i.hour IS NULL
                   AND i.data_file_id > r.through_file AND i.data_file_id <= $5
                   AND i.max_ns >= r.hour * 3600000000000 - $6 AND i.min_ns < (r.hour + 1) * 3600000000000 + $6)
             FROM orrery_rollup r
             LEFT JOIN orrery_rollup_part p ON p.tenant = r.tenant AND p.hour = r.hour AND p.part = $4
             WHERE r.tenant = $1 AND r.hour BETWEEN $2 AND $3 ORDER BY r.hour",
        )
        .bind(tenant.as_str())
        .bind(query.hours.start())
        .bind(query.hours.end())
        .bind(query.part)
        .bind(query.newest_file)
        .bind(query.around_ns)
        .fetch_all(&mut connection)
        .await
        .map_err(&fail)?;
        // After an error another one is opened.
        *slot = Some(connection);
        drop(slot);
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            found.extend(stored(row, tenant, query.part).map_err(&fail)?);
        }
        Ok(found)
    }

    /// Puts an hour's parts in the place of those that are there: on stable storage when this returns.
    pub async fn save(
        &self,
        tenant: &TenantId,
        head: &RollupHead,
        parts: &[(&'static str, Vec<u8>)],
    ) -> Result<(), LakeError> {
        let fail = database("keep a roll-up");
        let mut bodies = Vec::with_capacity(parts.len());
        for (name, bytes) in parts {
            let body = zstd::bulk::compress(bytes, LEVEL).map_err(|error| fail(sqlx::Error::Io(error)))?;
            bodies.push((*name, sealed(tenant, head.hour, name, body)));
        }
        self.write("keep a roll-up", async |connection| {
            delete(connection, tenant, head.hour).await?;
            sqlx::query("INSERT INTO orrery_rollup VALUES ($1, $2, $3, $4, $5, $6, $7)")
                .bind(tenant.as_str())
                .bind(head.hour)
                .bind(head.version)
                .bind(head.through_file)
                .bind(head.rows)
                .bind(head.before_rows)
                .bind(check(tenant, head))
                .execute(&mut *connection)
                .await?;
            for (name, body) in &bodies {
                sqlx::query("INSERT INTO orrery_rollup_part VALUES ($1, $2, $3, $4)")
                    .bind(tenant.as_str())
                    .bind(head.hour)
                    .bind(*name)
                    .bind(body)
                    .execute(&mut *connection)
                    .await?;
            }
            Ok(())
        })
        .await
    }

    /// Notes that an hour's bytes still hold with all files up to `head.through_file`; nothing else of it changes.
    pub async fn advance(&self, tenant: &TenantId, head: &RollupHead) -> Result<(), LakeError> {
        self.write("keep a roll-up", async |connection| {
            sqlx::query("UPDATE orrery_rollup SET through_file = $3, row_check = $4 WHERE tenant = $1 AND hour = $2")
                .bind(tenant.as_str())
                .bind(head.hour)
                .bind(head.through_file)
                .bind(check(tenant, head))
                .execute(connection)
                .await?;
            Ok(())
        })
        .await
    }

    /// Removes hours.
    pub async fn forget(&self, tenant: &TenantId, hours: &[i64]) -> Result<(), LakeError> {
        if hours.is_empty() {
            return Ok(());
        }
        self.write("forget roll-ups", async |connection| {
            for &hour in hours {
                delete(connection, tenant, hour).await?;
            }
            Ok(())
        })
        .await
    }

    /// Removes what is known of the files of hours before `oldest`, which the lake does not hold any more; what came after
    /// `newest_file` stays.
    pub async fn forget_files(&self, tenant: &TenantId, oldest: i64, newest_file: i64) -> Result<(), LakeError> {
        self.write("forget the files of dropped hours", async |connection| {
            sqlx::query("DELETE FROM orrery_span_input WHERE tenant = $1 AND hour < $2 AND data_file_id <= $3")
                .bind(tenant.as_str())
                .bind(oldest)
                .bind(newest_file)
                .execute(connection)
                .await?;
            Ok(())
        })
        .await
    }

    /// One transaction: all of it, or nothing.
    async fn write(
        &self,
        operation: &'static str,
        change: impl AsyncFnOnce(&mut SqliteConnection) -> Result<(), sqlx::Error>,
    ) -> Result<(), LakeError> {
        let fail = database(operation);
        let mut slot = self.writer.lock().await;
        let mut connection = match slot.take() {
            Some(open) => open,
            None => SqliteConnection::connect_with(&options(&self.catalog)).await.map_err(&fail)?,
        };
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(&fail)?;
        change(&mut transaction).await.map_err(&fail)?;
        transaction.commit().await.map_err(&fail)?;
        *slot = Some(connection);
        Ok(())
    }
}

impl std::fmt::Debug for Rollups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rollups").field("catalog", &self.catalog).finish_non_exhaustive()
    }
}

/// Notes that a flush brought a file of spans; within the flush's own transaction.
pub(crate) async fn note_input(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    file_id: i64,
    hour: Option<i64>,
    (min_ns, max_ns): (i64, i64),
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO orrery_span_input VALUES ($1, $2, $3, $4, $5)")
        .bind(tenant.as_str())
        .bind(hour)
        .bind(file_id)
        .bind(min_ns)
        .bind(max_ns)
        .execute(connection)
        .await?;
    Ok(())
}

async fn delete(connection: &mut SqliteConnection, tenant: &TenantId, hour: i64) -> Result<(), sqlx::Error> {
    for statement in [
        "DELETE FROM orrery_rollup_part WHERE tenant = $1 AND hour = $2",
        "DELETE FROM orrery_rollup WHERE tenant = $1 AND hour = $2",
    ] {
        sqlx::query(statement).bind(tenant.as_str()).bind(hour).execute(&mut *connection).await?;
    }
    Ok(())
}

/// A row of the answer; `None` where its bytes are not what was written.
fn stored(row: &SqliteRow, tenant: &TenantId, part: &str) -> Result<Option<StoredRollup>, sqlx::Error> {
    let head = RollupHead {
        hour: row.try_get(0)?,
        version: row.try_get(1)?,
        through_file: row.try_get(2)?,
        rows: row.try_get(3)?,
        before_rows: row.try_get(4)?,
    };
    let body: Option<Vec<u8>> = row.try_get(6)?;
    let opened = body.map(|body| open(tenant, head.hour, part, &body)).transpose();
    match opened {
        Ok(part) if row.try_get::<i64, _>(5)? == check(tenant, &head) => {
            Ok(Some(StoredRollup { head, is_overtaken: row.try_get(7)?, part }))
        }
        _ => {
            tracing::error!(%tenant, rollup.hour = head.hour, "a roll-up was damaged; it is counted again");
            Ok(None)
        }
    }
}

/// CRC32C of a head and its tenant, as FORMAT.md has it.
fn check(tenant: &TenantId, head: &RollupHead) -> i64 {
    let mut sum = crc32c::crc32c(tenant.as_str().as_bytes());
    for number in [head.hour, head.version, head.through_file, head.rows, head.before_rows] {
        sum = crc32c::crc32c_append(sum, &number.to_le_bytes());
    }
    i64::from(sum)
}

/// The CRC32C of tenant, hour, name and body, then the body.
fn sealed(tenant: &TenantId, hour: i64, part: &str, body: Vec<u8>) -> Vec<u8> {
    let mut sealed = part_check(tenant, hour, part, &body).to_le_bytes().to_vec();
    sealed.extend(body);
    sealed
}

fn open(tenant: &TenantId, hour: i64, part: &str, sealed: &[u8]) -> Result<Vec<u8>, ()> {
    let (sum, body) = sealed.split_first_chunk::<4>().ok_or(())?;
    if u32::from_le_bytes(*sum) != part_check(tenant, hour, part, body) {
        return Err(());
    }
    let size = zstd::zstd_safe::get_frame_content_size(body).ok().flatten().unwrap_or(0);
    let size = usize::try_from(size).ok().filter(|size| *size <= MAX_PART_BYTES).ok_or(())?;
    zstd::bulk::decompress(body, size).map_err(|_| ())
}

fn part_check(tenant: &TenantId, hour: i64, part: &str, body: &[u8]) -> u32 {
    let parts: [&[u8]; 4] = [tenant.as_str().as_bytes(), &hour.to_le_bytes(), part.as_bytes(), body];
    parts.into_iter().fold(0, crc32c::crc32c_append)
}
