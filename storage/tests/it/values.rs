//! The value filters of the files that flushes and merges write: found by their footer, right about each row.

use std::sync::Arc;

use arrow::array::AsArray;
use orrery_model::{Signal, TenantId};
use orrery_storage::value_filter::{ValueFilters, hash};
use orrery_storage::{CompactionConfig, Lake, SealedBatch, VerifiedFile};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::support::{self, SECOND, START, Seed};

#[tokio::test]
async fn every_value_is_in_its_sections_filter_flushed_and_merged() {
    let dir = tempfile::tempdir().expect("a folder");
    let lake = Arc::new(Lake::open(dir.path()).await.expect("a new lake"));
    let mut seed = Seed(17);
    for sequence in 1..=2 {
        let batches = (0..10).map(|i| SealedBatch {
            tenant: TenantId::default(),
            table: Signal::Spans.into(),
            batch: support::load_b(&mut seed, 1_000, START + i * SECOND),
        });
        lake.flush(sequence, sequence, batches.collect()).await.expect("a flush");
    }
    let spans = || lake.view().files(&TenantId::default(), Signal::Spans);
    assert_eq!(spans().len(), 2);
    for file in spans().iter() {
        check(file);
    }
    let config = CompactionConfig { floor_free_bytes: 0, ..CompactionConfig::default() };
    lake.compact(&config).await.expect("it merges");
    assert_eq!(spans().len(), 1);
    check(&spans()[0]);
}

fn check(file: &Arc<orrery_storage::DataFile>) {
    let handle = VerifiedFile::open(file).expect("the file");
    let reader = ParquetRecordBatchReaderBuilder::try_new(handle.clone()).expect("Parquet");
    let metadata = reader.metadata().clone();
    let said = metadata.file_metadata().key_value_metadata().expect("the filters' places");
    let filters = ValueFilters::of(said).expect("the places can be read");
    let columns: Vec<&str> = filters.columns().map(|(column, _)| column).collect();
    // An address is of one span, a route of many.
    assert!(columns.contains(&"trace_id") && columns.contains(&"attributes.client.address"), "{columns:?}");
    assert!(!columns.contains(&"attributes.http.route"), "{columns:?}");
    assert_eq!(metadata.num_row_groups(), 1);
    let section_rows = filters.section_rows();
    let rows: Vec<_> = reader.build().expect("it can be read").collect::<Result<_, _>>().expect("it can be read");
    let rows = arrow::compute::concat_batches(&rows[0].schema(), &rows).expect("one schema");
    for column in columns {
        let bytes = handle.read(filters.range(column, 0).expect("of every row group")).expect("the bytes are there");
        let sections = filters.load(column, 0, bytes).expect("as many as said");
        assert_eq!(sections.len(), rows.num_rows().div_ceil(section_rows));
        let held = rows.column_by_name(column).expect("a column of the file").as_string::<i32>();
        let mut strangers = 0;
        for (row, value) in held.iter().enumerate() {
            let section = row / section_rows;
            assert!(value.is_none_or(|value| sections.may_hold(section, hash(value))), "{column} of row {row}");
            strangers += usize::from(sections.may_hold(section, hash(&format!("stranger {row}"))));
        }
        let rare = if column == "trace_id" { 200 } else { 8 };
        assert!(strangers * rare < rows.num_rows(), "{strangers} absent values of {column} pass");
    }
}
