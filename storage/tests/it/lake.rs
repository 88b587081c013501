//! The lake as its callers see it: flush, reopen, torn flushes, refused folders.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, TimestampNanosecondType};
use orrery_model::{Signal, Table, TableName, TenantId, table};
use orrery_storage::token_filter::TokenFilters;
use orrery_storage::value_filter::ValueFilters;
use orrery_storage::{DataFile, Lake, LakeError, ORDER_KEY, SealedBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::support::{self, HOUR, SECOND, START, Seed, data_files};

fn sealed(table: impl Into<TableName>, batch: RecordBatch) -> SealedBatch {
    SealedBatch { tenant: TenantId::default(), table: table.into(), batch }
}

fn spans(seed: u64, len: usize, start: i64) -> SealedBatch {
    sealed(Signal::Spans, support::load_b(&mut Seed(seed), len, start))
}

/// Whether each file has a column, whatever is in it.
fn always_held(table: &Table, field: &Field) -> bool {
    let by = ["timestamp", "trace_id", "body", table.ranged];
    !field.is_nullable() || by.contains(&field.name().as_str()) || table.order.columns.contains(&field.name().as_str())
}

fn read(file: &DataFile) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&file.path).expect("the file is there"))
        .expect("the file is Parquet");
    let schema = reader.schema().clone();
    let batches: Vec<_> = reader.build().expect("it can be read").map(|batch| batch.expect("it can be read")).collect();
    concat_batches(&schema, &batches).expect("one schema")
}

#[tokio::test]
async fn what_is_flushed_is_there_after_a_reopen() {
    let dir = tempfile::tempdir().expect("a folder");
    let tenant = TenantId::new("acme").expect("a name");
    let mut seed = Seed(7);
    {
        let lake = Lake::open(dir.path()).await.expect("a new lake");
        assert_eq!((lake.epoch(), lake.flushed_sequence()), (1, 0));
        let view = lake.flush(1, 9, vec![spans(1, 100, START), spans(2, 50, START + SECOND)]).await.expect("a flush");
        assert_eq!(view.files(&TenantId::default(), Signal::Spans).len(), 1);
        let other = vec![
            SealedBatch {
                tenant: tenant.clone(),
                table: Signal::Logs.into(),
                batch: support::logs(&mut seed, 30, START),
            },
            sealed(Signal::Metrics, support::metrics(&mut seed, 40, 4, START)),
        ];
        let view = lake.flush(10, 12, other).await.expect("a second flush");
        assert_eq!(lake.flushed_sequence(), 12);
        assert_eq!(view.id, lake.view().id);
    }
    let lake = Lake::open(dir.path()).await.expect("the same lake");
    assert_eq!((lake.epoch(), lake.flushed_sequence()), (2, 12));
    let view = lake.view();
    let rows = |tenant: &TenantId, signal| view.files(tenant, signal).iter().map(|file| file.rows).sum::<u64>();
    assert_eq!(rows(&TenantId::default(), Signal::Spans), 150);
    assert_eq!(rows(&TenantId::default(), Signal::Metrics), 40);
    assert_eq!(rows(&TenantId::default(), Signal::Logs), 0);
    assert_eq!(rows(&tenant, Signal::Logs), 30);
    assert_eq!(rows(&TenantId::new("nobody").expect("a name"), Signal::Logs), 0);
    let file = &view.files(&TenantId::default(), Signal::Spans)[0];
    assert_eq!(file.size_bytes, fs::metadata(&file.path).expect("the file").len());
    assert_eq!(file.min_timestamp_ns / SECOND, START / SECOND);
    lake.close().await.expect("it closes");
}

#[tokio::test]
async fn files_are_sorted_split_by_the_hour_and_have_the_tables_schema() {
    let dir = tempfile::tempdir().expect("a folder");
    let lake = Lake::open(dir.path()).await.expect("a new lake");
    let mut seed = Seed(3);
    let batches = vec![
        spans(1, 500, START + HOUR - SECOND / 20),
        spans(2, 500, START),
        spans(3, 10, START + 24 * HOUR),
        sealed(Signal::Logs, support::logs(&mut seed, 200, START)),
        sealed(Signal::Metrics, support::metrics(&mut seed, 300, 7, START)),
        sealed(TableName::Alerts, support::alerts(&mut seed, 20, START)),
    ];
    let view = lake.flush(1, 5, batches).await.expect("a flush");
    for (name, hours) in TableName::ALL.into_iter().zip([3, 1, 1, 1]) {
        let files = view.files(&TenantId::default(), name);
        assert_eq!(files.len(), hours, "{name}");
        for file in files.iter() {
            let whole = read(file);
            let rows = support::in_table(name, &whole);
            let table = table(name);
            for field in table.schema.fields() {
                let is_held = whole.column_by_name(field.name()).is_some();
                let holds = rows[field.name().as_str()].null_count() < rows.num_rows();
                assert_eq!(is_held, holds || always_held(table, field), "{name}: {field}");
            }
            let schema = whole.schema();
            let said: BTreeSet<_> = schema.metadata().keys().map(String::as_str).collect();
            let expected: &[&str] = match name {
                TableName::Logs => &[TokenFilters::KEY, ValueFilters::KEY],
                TableName::Spans => &[ORDER_KEY, ValueFilters::KEY],
                _ => &[],
            };
            assert_eq!(said, BTreeSet::from_iter(expected.iter().copied()), "what the footer of {name} says besides");
            assert_eq!(rows.num_rows() as u64, file.rows);
            let times = rows.column(0).as_primitive::<TimestampNanosecondType>().values();
            let (min, max) = (times.iter().min().copied(), times.iter().max().copied());
            assert_eq!((min, max), (Some(file.min_timestamp_ns), Some(file.max_timestamp_ns)));
            assert_eq!(file.min_timestamp_ns / HOUR, file.max_timestamp_ns / HOUR, "one hour a file");
            let order = table.order;
            let keys: Vec<_> = (0..rows.num_rows())
                .map(|row| {
                    let word = |w: &&str| rows.column(table.index_of(w)).as_string::<i32>().value(row);
                    let second = if order.by_second { times[row] / SECOND } else { 0 };
                    (second, order.words().iter().map(word).collect::<Vec<_>>(), times[row])
                })
                .collect();
            assert!(keys.is_sorted(), "{name}");
            assert_eq!(file.trace_filter.is_some(), matches!(name, TableName::Spans | TableName::Logs));
            if file.trace_filter.is_some() {
                let filters = lake.trace_filters(1 << 20);
                let ids = rows.column(table.index_of("trace_id")).as_string::<i32>();
                for id in ids.iter().flatten() {
                    let held = filters.may_hold(std::slice::from_ref(file), &[id]).await;
                    assert_eq!(held.expect("the catalog can be read"), [true], "{id}");
                }
            }
        }
    }
    // Every row is there as it was sent.
    let sent = support::load_b(&mut Seed(3), 10, START + 24 * HOUR);
    let files = view.files(&TenantId::default(), Signal::Spans);
    let last = files.iter().max_by_key(|file| file.min_timestamp_ns).expect("three files");
    let stored = support::in_table(Signal::Spans, &read(last));
    let order: Vec<u32> = {
        let ids = |batch: &RecordBatch| {
            batch.column(4).as_string::<i32>().iter().map(|id| id.map(str::to_owned)).collect::<Vec<_>>()
        };
        let sent = ids(&sent);
        ids(&stored).iter().map(|id| sent.iter().position(|sent| sent == id).expect("a sent span") as u32).collect()
    };
    let sent =
        arrow::compute::take_record_batch(&sent, &arrow::array::UInt32Array::from(order)).expect("the same rows");
    assert!(sent.columns() == stored.columns());
}

#[tokio::test]
async fn a_torn_flush_leaves_nothing_behind() {
    let dir = tempfile::tempdir().expect("a folder");
    let kept = {
        let lake = Lake::open(dir.path()).await.expect("a new lake");
        lake.flush(1, 3, vec![spans(1, 10, START)]).await.expect("a flush");
        data_files(dir.path())
    };
    let day = dir.path().join("data/main/spans/2026-03-14");
    for orphan in ["local-1-4-8-spans-2026031409-0.parquet", "local-1-2-9-spans-2026031409-0.parquet"] {
        fs::write(day.join(orphan), "half a file").expect("a file");
    }
    let foreign = ["other-1-4-8-spans-2026031409-0.parquet", "ducklake-01a1fe39.parquet", "notes.txt"];
    for name in foreign {
        fs::write(day.join(name), "not ours").expect("a file");
    }
    let lake = Lake::open(dir.path()).await.expect("the same lake");
    let mut expected: Vec<String> = kept.into_iter().chain(foreign.map(str::to_owned)).collect();
    expected.sort();
    assert_eq!(data_files(dir.path()), expected);
    assert_eq!(lake.view().files(&TenantId::default(), Signal::Spans).len(), 1);
    // The flush is repeated from the log.
    lake.flush(4, 8, vec![spans(2, 5, START)]).await.expect("a flush");
    assert_eq!(lake.view().files(&TenantId::default(), Signal::Spans).len(), 2);
}

#[tokio::test]
async fn sequences_are_flushed_once_and_in_order() {
    let dir = tempfile::tempdir().expect("a folder");
    let lake = Lake::open(dir.path()).await.expect("a new lake");
    lake.flush(1, 3, vec![spans(1, 10, START)]).await.expect("a flush");
    for (first, through) in [(1, 3), (3, 5), (7, 6)] {
        let refused = lake.flush(first, through, vec![spans(1, 10, START)]).await;
        assert!(matches!(refused, Err(LakeError::Sequence { .. })), "{first} to {through}: {refused:?}");
    }
    // Requests that were all absorbed or empty move the watermark without a file.
    let view = lake.flush(4, 6, vec![]).await.expect("an empty flush");
    assert_eq!((view.files(&TenantId::default(), Signal::Spans).len(), lake.flushed_sequence()), (1, 6));
}

#[tokio::test]
async fn a_second_opener_takes_the_writer_over() {
    let dir = tempfile::tempdir().expect("a folder");
    let first = Lake::open(dir.path()).await.expect("a new lake");
    let second = Lake::open(dir.path()).await.expect("the same lake");
    let fenced = first.flush(1, 1, vec![spans(1, 10, START)]).await;
    assert!(matches!(fenced, Err(LakeError::Fenced { .. })), "{fenced:?}");
    second.flush(1, 1, vec![spans(1, 10, START)]).await.expect("the second one may");
}

/// Runs one statement on the catalog of a closed lake.
async fn change_catalog(dir: &Path, statement: &'static str) {
    use sqlx::{Connection, SqliteConnection};
    let url = format!("sqlite://{}", dir.join("catalog.sqlite").display());
    let mut connection = SqliteConnection::connect(&url).await.expect("the catalog");
    sqlx::query(statement).execute(&mut connection).await.expect("the statement runs");
    connection.close().await.expect("it closes");
}

#[tokio::test]
async fn folders_that_it_would_misread_are_refused() {
    let cases: [(&'static str, &str); 4] = [
        ("UPDATE orrery_format SET version = 1000", "use a newer Orrery"),
        ("DROP TABLE orrery_format", "Orrery did not create"),
        (
            "UPDATE ducklake_column SET column_type = 'varchar' WHERE column_name = 'duration_ns'",
            "column duration_ns of table main.spans",
        ),
        ("UPDATE ducklake_table SET end_snapshot = 1 WHERE table_name = 'logs'", "all its tables"),
    ];
    for (statement, message) in cases {
        let dir = tempfile::tempdir().expect("a folder");
        Lake::open(dir.path()).await.expect("a new lake").close().await.expect("it closes");
        change_catalog(dir.path(), statement).await;
        let refused = Lake::open(dir.path()).await.err().expect("it is refused").to_string();
        assert!(refused.contains(message), "{statement}: {refused}");
    }
}

#[tokio::test]
async fn a_failed_flush_leaves_no_file_and_may_be_repeated() {
    let dir = tempfile::tempdir().expect("a folder");
    let lake = Lake::open(dir.path()).await.expect("a new lake");
    // A folder stands where the second hour's file should go.
    let blocked = dir.path().join("data/main/spans/2026-03-14/local-1-1-2-spans-2026031410-0.parquet");
    fs::create_dir_all(&blocked).expect("a folder");
    let sealed = || vec![spans(1, 10, START), spans(2, 10, START + HOUR)];
    let failed = lake.flush(1, 2, sealed()).await.expect_err("it fails");
    assert!(failed.is_retryable() && failed.to_string().contains("2026031410"), "{failed}");
    assert!(data_files(dir.path()).is_empty());
    assert_eq!((lake.flushed_sequence(), lake.view().files(&TenantId::default(), Signal::Spans).len()), (0, 0));
    fs::remove_dir(&blocked).expect("it is empty");
    lake.flush(1, 2, sealed()).await.expect("it succeeds");
    assert_eq!(data_files(dir.path()).len(), 2);
}

#[tokio::test]
async fn a_flush_whose_caller_went_away_is_finished_or_repeated_never_doubled() {
    let dir = tempfile::tempdir().expect("a folder");
    let lake = Lake::open(dir.path()).await.expect("a new lake");
    let tenant = TenantId::new("acme").expect("a name");
    let sealed = || {
        let batch = support::load_b(&mut Seed(1), 2_000, START);
        vec![SealedBatch { tenant: tenant.clone(), table: Signal::Spans.into(), batch }]
    };
    // Gives up at a later point each time: before the files, between them and the commit, at the commit.
    for patience_us in [0, 50, 500, 2_000, 5_000, 10_000, 20_000, 40_000] {
        let (first, through) = (lake.flushed_sequence() + 1, lake.flushed_sequence() + 5);
        let before: u64 = lake.view().files(&tenant, Signal::Spans).iter().map(|file| file.rows).sum();
        let patience = std::time::Duration::from_micros(patience_us);
        let _ = tokio::time::timeout(patience, lake.flush(first, through, sealed())).await;
        if lake.flushed_sequence() < through {
            lake.flush(first, through, sealed()).await.expect("it is repeated");
        }
        let after: u64 = lake.view().files(&tenant, Signal::Spans).iter().map(|file| file.rows).sum();
        assert_eq!((lake.flushed_sequence(), after), (through, before + 2_000), "after {patience:?}");
    }
    let live = lake.view().files(&tenant, Signal::Spans).len();
    drop(lake);
    let lake = Lake::open(dir.path()).await.expect("the same lake");
    assert_eq!((data_files(dir.path()).len(), lake.view().files(&tenant, Signal::Spans).len()), (live, live));
}

/// Hostile or broken clocks: every row in another hour.
#[tokio::test]
async fn rows_of_hundreds_of_hours_are_in_few_files() {
    const HOURS: usize = 150;
    let dir = tempfile::tempdir().expect("a folder");
    let lake = Lake::open(dir.path()).await.expect("a new lake");
    // Hours without order, the last one as late as a time can be; two hours have more rows than one.
    let far = (0..HOURS as i64).map(|hour| (hour * 67 % HOURS as i64) * 16_000 * HOUR);
    let times = far.chain([i64::MAX, START, START + 1, START + HOUR, START + HOUR + 1]).collect::<Vec<_>>();
    let ids = (0..times.len()).map(|id| Some(format!("{id:016x}"))).collect();
    let batch = support::Rows::new(Signal::Spans, times.len()).times("timestamp", times.clone()).text("span_id", ids);
    let view = lake.flush(1, 1, vec![sealed(Signal::Spans, batch.finish())]).await.expect("a flush");
    let files = view.files(&TenantId::default(), Signal::Spans);
    assert_eq!(files.len(), 64);
    let mut found = Vec::new();
    let mut mixed = 0;
    for file in files.iter() {
        let rows = support::in_table(Signal::Spans, &read(file));
        let stored = rows.column(0).as_primitive::<TimestampNanosecondType>().values();
        assert_eq!(stored.iter().min(), Some(&file.min_timestamp_ns));
        assert_eq!(stored.iter().max(), Some(&file.max_timestamp_ns));
        let is_mixed = file.min_timestamp_ns / HOUR != file.max_timestamp_ns / HOUR;
        assert_eq!(file.path.to_string_lossy().contains("/mixed/"), is_mixed, "{}", file.path.display());
        mixed += usize::from(is_mixed);
        let ids = rows.column(4).as_string::<i32>();
        found.extend((0..rows.num_rows()).map(|row| (ids.value(row).to_owned(), stored[row])));
        // The hours with the most rows keep files of their own.
        assert!(is_mixed || !stored.contains(&START) || stored.len() == 2);
    }
    assert_eq!(mixed, 1);
    found.sort();
    let sent: Vec<_> = times.iter().enumerate().map(|(id, time)| (format!("{id:016x}"), *time)).collect();
    assert_eq!(found, sent);
    let reopened = Lake::open(dir.path()).await.expect("the same lake");
    let ends_of = |lake: &Lake| {
        let files = lake.view().files(&TenantId::default(), Signal::Spans);
        files.iter().map(|file| (file.min_timestamp_ns, file.max_timestamp_ns)).collect::<Vec<_>>()
    };
    assert_eq!(ends_of(&reopened), ends_of(&lake));
}

/// What makes a catalog of version 1 out of the newest: there was no table of alerts, nothing kept for them, no
/// checks, and nothing was counted beforehand.
const TO_VERSION_1: [&str; 15] = [
    "DROP TABLE orrery_span_input",
    "DROP TABLE orrery_rollup",
    "DROP TABLE orrery_rollup_part",
    "DROP TABLE orrery_file_check",
    "DROP TABLE orrery_live_files",
    "DROP TABLE orrery_writer_check",
    "DELETE FROM ducklake_column WHERE table_id IN (SELECT table_id FROM ducklake_table WHERE table_name = 'alerts')",
    "DELETE FROM ducklake_column_tag WHERE table_id IN (SELECT table_id FROM ducklake_table WHERE table_name = 'alerts')",
    "DELETE FROM ducklake_partition_info WHERE table_id IN (SELECT table_id FROM ducklake_table WHERE table_name = 'alerts')",
    "DELETE FROM ducklake_table WHERE table_name = 'alerts'",
    "DROP TABLE orrery_alert_state",
    "DROP TABLE orrery_alert_group",
    "DROP TABLE orrery_alert_history",
    "DROP TABLE orrery_alert_notification",
    "UPDATE orrery_format SET version = 1",
];

#[tokio::test]
async fn a_catalog_of_version_1_gains_the_table_of_alerts_and_keeps_its_rows() {
    let dir = tempfile::tempdir().expect("a folder");
    let tenants = [TenantId::default(), TenantId::new("acme").expect("a name")];
    let of = |tenant: &TenantId, table, batch| SealedBatch { tenant: tenant.clone(), table, batch };
    {
        let lake = Lake::open(dir.path()).await.expect("a new lake");
        let sealed =
            tenants.iter().map(|tenant| of(tenant, TableName::Spans, support::load_b(&mut Seed(1), 30, START)));
        lake.flush(1, 3, sealed.collect()).await.expect("a flush");
        lake.close().await.expect("it closes");
    }
    for statement in TO_VERSION_1 {
        change_catalog(dir.path(), statement).await;
    }
    for opened in 1..=2 {
        let lake = Lake::open(dir.path()).await.expect("an older lake opens");
        assert_eq!(lake.flushed_sequence(), if opened == 1 { 3 } else { 4 });
        let rows =
            |tenant: &TenantId, table: TableName| lake.view().files(tenant, table).iter().map(|f| f.rows).sum::<u64>();
        assert!(tenants.iter().all(|tenant| rows(tenant, TableName::Spans) == 30));
        if opened == 1 {
            let alerts = support::alerts(&mut Seed(2), 5, START);
            let sealed = tenants.iter().map(|tenant| of(tenant, TableName::Alerts, alerts.clone())).collect();
            lake.flush(4, 4, sealed).await.expect("a flush");
        }
        assert!(tenants.iter().all(|tenant| rows(tenant, TableName::Alerts) == 5));
        lake.close().await.expect("it closes");
    }
}
