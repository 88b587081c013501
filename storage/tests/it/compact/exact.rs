//! A merged file holds exactly the rows of its parts, in the table's order, rows of equal keys in the order in which they
//! were received, and says of spans which flush brought each.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Int64Type, TimestampNanosecondType};
use orrery_model::{TableName, TenantId, table};
use orrery_storage::{CompactionConfig, DataFile, Lake, RECEIVED, SealedBatch};

use super::{config, files, random, read, read_whole, sealed};
use crate::support::{self, HOUR, SECOND, START, Seed, data_files};

/// Rows as they must come out, and the flush's file of each.
struct Expected {
    rows: RecordBatch,
    /// Right for spans only, once files have been merged.
    received: Vec<i64>,
    ends: (i64, i64),
}

/// The rows of the files, earlier received first, in a stable sort by the table's key.
fn expected(name: TableName, files: &[Arc<DataFile>]) -> Expected {
    let mut files: Vec<_> = files.to_vec();
    files.sort_by_key(|file| file.received());
    let batches: Vec<RecordBatch> = files.iter().map(|file| read(name, file)).collect();
    let received: Vec<i64> = files.iter().flat_map(|file| received(file)).collect();
    let all = concat_batches(&table(name).schema, &batches).expect("one schema");
    let order = sorted(name, &all);
    let rows = take_record_batch(&all, &UInt32Array::from(order.clone())).expect("rows of the batch");
    Expected {
        rows,
        received: order.iter().map(|row| received[*row as usize]).collect(),
        ends: (files[0].received().0, files[files.len() - 1].received().1),
    }
}

/// The flush's file of each row of a file.
fn received(file: &DataFile) -> Vec<i64> {
    match read_whole(file).column_by_name(RECEIVED) {
        Some(column) => column.as_primitive::<Int64Type>().values().to_vec(),
        None => vec![file.id; file.rows as usize],
    }
}

fn sorted(name: TableName, rows: &RecordBatch) -> Vec<u32> {
    let table = table(name);
    let words: Vec<_> =
        table.order.words().iter().map(|word| rows.column(table.index_of(word)).as_string::<i32>()).collect();
    let times = rows.column(table.index_of("timestamp")).as_primitive::<TimestampNanosecondType>();
    let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
    order.sort_by_key(|row| {
        let row = *row as usize;
        let second = if table.order.by_second { times.value(row).div_euclid(SECOND) } else { 0 };
        let words = words.iter().map(|word| word.is_valid(row).then(|| word.value(row)));
        (second, words.collect::<Vec<_>>(), times.value(row))
    });
    order
}

/// The file is what came of the rows, and the lake knows of it what is true.
async fn check(lake: &Lake, name: TableName, file: &Arc<DataFile>, expected: &Expected) {
    let rows = read(name, file);
    assert_eq!(rows.num_rows(), expected.rows.num_rows(), "{name}");
    for (column, (found, wanted)) in table(name).columns.iter().zip(rows.columns().iter().zip(expected.rows.columns()))
    {
        assert!(found == wanted, "{name}.{} differs", column.name);
    }
    let whole = read_whole(file);
    match whole.column_by_name(RECEIVED) {
        Some(found) => assert_eq!(found.as_primitive::<Int64Type>().values(), expected.received.as_slice()),
        None => assert_ne!(name, TableName::Spans, "nothing says when the rows were received"),
    }
    let ends = |times: &RecordBatch| {
        let times = times.column(table(name).index_of("timestamp")).as_primitive::<TimestampNanosecondType>();
        (*times.values().iter().min().expect("rows"), *times.values().iter().max().expect("rows"))
    };
    assert_eq!((file.min_timestamp_ns, file.max_timestamp_ns), ends(&rows));
    assert_eq!(file.rows as usize, rows.num_rows());
    assert_eq!(file.size_bytes, std::fs::metadata(&file.path).expect("the file").len());
    assert_eq!(file.merged_from, Some(expected.ends));
    let filters = lake.trace_filters(1 << 20);
    for id in rows.column_by_name("trace_id").into_iter().flat_map(|ids| ids.as_string::<i32>().iter().flatten()) {
        let held = filters.may_hold(std::slice::from_ref(file), &[id]).await;
        assert_eq!(held.expect("the catalog can be read"), [true], "{id}");
    }
}

async fn open(dir: &tempfile::TempDir) -> Arc<Lake> {
    Arc::new(Lake::open(dir.path()).await.expect("a lake"))
}

#[tokio::test]
async fn every_table_and_column_is_merged_exactly_again_and_again() {
    for name in TableName::ALL {
        for (round, lens) in [vec![1, 1], vec![500, 1, 300], vec![40; 23], vec![0, 7, 0, 9], vec![2_000, 3_000, 10]]
            .into_iter()
            .enumerate()
        {
            let dir = tempfile::tempdir().expect("a folder");
            let lake = open(&dir).await;
            let mut seed = Seed(round as u64 + 100 * name.index() as u64);
            let mut sequence = 0;
            for len in lens {
                sequence += 1;
                let batch = random::batch(&mut seed, name, len, START, 20 * SECOND);
                lake.flush(sequence, sequence, vec![sealed(name, batch)]).await.expect("a flush");
            }
            let first = expected(name, &files(&lake, name));
            let parts = files(&lake, name).len() as u64;
            let done = lake.compact(&config()).await.expect("it merges");
            assert_eq!((done.merges, done.files, done.rows), (1, parts, first.received.len() as u64));
            assert_eq!(files(&lake, name).len(), 1);
            check(&lake, name, &files(&lake, name)[0], &first).await;

            // What comes late is merged in, before and behind what was there.
            for _ in 0..2 {
                sequence += 1;
                let batch = random::batch(&mut seed, name, 400, START - 5 * SECOND, 30 * SECOND);
                let batch = random::in_hour(&batch, START);
                lake.flush(sequence, sequence, vec![sealed(name, batch)]).await.expect("a flush");
            }
            let late = expected(name, &files(&lake, name));
            let done = lake.compact(&config()).await.expect("it merges");
            assert!(done.failures.is_empty(), "{:?}", done.failures);
            if files(&lake, name).len() > 1 {
                // The first is so large that little more is not worth it; what came late is one file.
                assert_eq!(files(&lake, name).len(), 2, "{name}, round {round}");
                continue;
            }
            check(&lake, name, &files(&lake, name)[0], &late).await;
            let view = lake.view();
            drop(lake);
            let lake = open(&dir).await;
            let again = &lake.view().files(&TenantId::default(), name)[0];
            let same = &view.files(&TenantId::default(), name)[0];
            assert_eq!((again.id, again.rows, again.received()), (same.id, same.rows, same.received()));
            check(&lake, name, again, &late).await;
        }
    }
}

#[tokio::test]
async fn hundreds_of_tiny_files_become_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let lake = open(&dir).await;
    let mut seed = Seed(9);
    for sequence in 1..=300 {
        let batch = support::load_b(&mut seed, 3, START + sequence as i64 * SECOND);
        lake.flush(sequence, sequence, vec![sealed(TableName::Spans, batch)]).await.expect("a flush");
    }
    let wanted = expected(TableName::Spans, &files(&lake, TableName::Spans));
    let done = lake.compact(&config()).await.expect("it merges");
    assert!(done.merges > 1 && done.failures.is_empty(), "{done:?}");
    assert_eq!(files(&lake, TableName::Spans).len(), 1);
    check(&lake, TableName::Spans, &files(&lake, TableName::Spans)[0], &wanted).await;
    assert_eq!(lake.compact(&config()).await.expect("nothing to do"), orrery_storage::Compacted::default());
}

#[tokio::test]
async fn hours_tables_and_tenants_are_never_mixed() {
    let dir = tempfile::tempdir().expect("a folder");
    let lake = open(&dir).await;
    let acme = TenantId::new("acme").expect("a name");
    let mut seed = Seed(4);
    for sequence in 1..=3 {
        let mut batches = Vec::new();
        // The same hour of two days, and the next hour.
        for start in [START, START + 24 * HOUR, START + HOUR] {
            for name in TableName::ALL {
                let batch = random::batch(&mut seed, name, 50, start, 60 * SECOND);
                batches.push(SealedBatch { tenant: acme.clone(), table: name, batch: batch.clone() });
                batches.push(sealed(name, batch));
            }
        }
        lake.flush(sequence, sequence, batches).await.expect("a flush");
    }
    let before = lake.view();
    let done = lake.compact(&config()).await.expect("it merges");
    assert_eq!((done.merges, done.files), (24, 72));
    let after = lake.view();
    for tenant in [acme, TenantId::default()] {
        for name in TableName::ALL {
            let files = after.files(&tenant, name);
            assert_eq!(files.len(), 3);
            for file in files.iter() {
                let hour = file.min_timestamp_ns / HOUR;
                assert_eq!(file.max_timestamp_ns / HOUR, hour);
                let parts: Vec<_> = before.files(&tenant, name).iter().cloned().collect();
                let parts: Vec<_> = parts.into_iter().filter(|part| part.min_timestamp_ns / HOUR == hour).collect();
                check(&lake, name, file, &expected(name, &parts)).await;
                assert!(file.path.starts_with(dir.path().canonicalize().expect("it is there").join("data")));
            }
        }
    }
}

#[tokio::test]
async fn a_merge_waits_while_queries_have_the_memory() {
    let dir = tempfile::tempdir().expect("a folder");
    let lake = open(&dir).await;
    // Where queries have all of it, the merge waits and says so.
    let taken = Arc::new(orrery_storage::MemoryBudget::new(64 << 20));
    let none = CompactionConfig { memory: taken, ..config() };
    let batch = support::load_a(&mut Seed(2), 100, START);
    for sequence in 1..=2 {
        lake.flush(sequence, sequence, vec![sealed(TableName::Spans, batch.clone())]).await.expect("a flush");
    }
    let done = lake.compact(&none).await.expect("it waits");
    assert_eq!((done.put_off, done.merges, files(&lake, TableName::Spans).len()), (1, 0, 2));
    assert_eq!(lake.compact(&config()).await.expect("it merges").merges, 1);
}

#[tokio::test]
async fn large_files_have_row_groups_and_word_filters_as_those_of_flushes() {
    let dir = tempfile::tempdir().expect("a folder");
    let lake = open(&dir).await;
    let mut seed = Seed(5);
    for sequence in 1..=3 {
        let batch = support::logs(&mut seed, 120_000, START + sequence as i64 * SECOND);
        lake.flush(sequence, sequence, vec![sealed(TableName::Logs, batch)]).await.expect("a flush");
    }
    let wanted = expected(TableName::Logs, &files(&lake, TableName::Logs));
    lake.compact(&config()).await.expect("it merges");
    let file = &files(&lake, TableName::Logs)[0];
    check(&lake, TableName::Logs, file, &wanted).await;
    let metadata = parquet::file::metadata::ParquetMetaDataReader::new()
        .parse_and_finish(&std::fs::File::open(&file.path).expect("the file"))
        .expect("a footer");
    let rows: Vec<i64> = metadata.row_groups().iter().map(|group| group.num_rows()).collect();
    assert_eq!(rows, [262_144, 97_856]);
    assert!(metadata.row_groups().iter().all(|group| group.sorting_columns().is_some_and(|keys| keys.len() == 2)));
    let places = metadata.file_metadata().key_value_metadata().expect("where the word filters lie");
    assert!(places.iter().any(|pair| pair.key == orrery_storage::token_filter::TokenFilters::KEY));
}

#[tokio::test]
async fn a_damaged_file_stops_only_its_own_hour() {
    let dir = tempfile::tempdir().expect("a folder");
    let lake = open(&dir).await;
    let mut seed = Seed(8);
    for sequence in 1..=2 {
        let batches =
            [START, START + HOUR].map(|start| sealed(TableName::Spans, support::load_b(&mut seed, 100, start)));
        lake.flush(sequence, sequence, batches.to_vec()).await.expect("a flush");
    }
    let before = files(&lake, TableName::Spans);
    std::fs::write(&before[0].path, "no Parquet").expect("it can be written");
    let names = data_files(dir.path());
    let done = lake.compact(&config()).await.expect("it goes on");
    assert_eq!((done.merges, done.failures.len()), (1, 1));
    assert!(done.failures[0].contains(&before[0].path.display().to_string()), "{:?}", done.failures);
    let after = files(&lake, TableName::Spans);
    assert_eq!(after.len(), 3);
    assert!([before[0].id, before[2].id].iter().all(|id| after.iter().any(|file| file.id == *id)));
    // Nothing is left of the merge that failed; the parts of the other wait to be deleted.
    assert_eq!(data_files(dir.path()).len(), names.len() + 1);
}

#[tokio::test]
async fn files_of_several_hours_are_merged_with_each_other_only() {
    const HOURS: i64 = 80;
    let dir = tempfile::tempdir().expect("a folder");
    let lake = open(&dir).await;
    let mut seed = Seed(6);
    for sequence in 1..=2 {
        let rows = (0..HOURS).map(|hour| random::batch(&mut seed, TableName::Logs, 2, START + hour * HOUR, SECOND));
        let batches = rows.map(|batch| sealed(TableName::Logs, batch)).collect();
        lake.flush(sequence, sequence, batches).await.expect("a flush");
    }
    let is_mixed = |file: &&Arc<DataFile>| file.min_timestamp_ns / HOUR != file.max_timestamp_ns / HOUR;
    let before = files(&lake, TableName::Logs);
    let mixed: Vec<_> = before.iter().filter(is_mixed).cloned().collect();
    assert_eq!(mixed.len(), 2);
    let done = lake.compact(&config()).await.expect("it merges");
    assert!(done.failures.is_empty(), "{:?}", done.failures);
    let after = files(&lake, TableName::Logs);
    let merged: Vec<_> = after.iter().filter(is_mixed).cloned().collect();
    assert_eq!((merged.len(), after.len() * 2), (1, before.len()));
    check(&lake, TableName::Logs, &merged[0], &expected(TableName::Logs, &mixed)).await;
    assert!(merged[0].path.parent().is_some_and(|folder| folder.ends_with("logs/mixed")));
    assert_eq!(after.iter().map(|file| file.rows).sum::<u64>(), 4 * HOURS as u64);
}
