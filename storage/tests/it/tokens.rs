//! The token filters of the files that a flush writes: found by their footer, of every section, right about each row.

use std::fs::File;
use std::os::unix::fs::FileExt;

use arrow::array::AsArray;
use bytes::Bytes;
use orrery_model::{Signal, TenantId};
use orrery_storage::token_filter::{RowGroupTokens, TokenFilters, Word};
use orrery_storage::{Lake, SealedBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::support::{self, SECOND, START, Seed};

#[tokio::test]
async fn every_row_of_a_flushed_file_is_in_its_sections_filter() {
    let dir = tempfile::tempdir().expect("a folder");
    let lake = Lake::open(dir.path()).await.expect("a new lake");
    let mut seed = Seed(11);
    let batches = (0..40).map(|i| SealedBatch {
        tenant: TenantId::default(),
        table: Signal::Logs.into(),
        batch: support::logs(&mut seed, 500, START + i * SECOND),
    });
    let view = lake.flush(1, 40, batches.collect()).await.expect("a flush");
    let files = view.files(&TenantId::default(), Signal::Logs);
    let [data] = files.as_slice() else { panic!("one hour is one file") };
    let file = File::open(&data.path).expect("the file");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.try_clone().expect("a handle")).expect("Parquet");
    let metadata = reader.metadata().clone();
    let entries = metadata.file_metadata().key_value_metadata().expect("the filters' places");
    let filters = TokenFilters::of(entries, "body").expect("the places can be read");
    assert_eq!(filters.row_groups(), metadata.num_row_groups());
    let loaded: Vec<RowGroupTokens> = (0..filters.row_groups())
        .map(|row_group| {
            let range = filters.range(row_group);
            let footer = data.size_bytes - data.footer_bytes - 8;
            assert!(range.end <= footer, "the filters lie before the footer");
            let mut bytes = vec![0; (range.end - range.start) as usize];
            file.read_exact_at(&mut bytes, range.start).expect("the bytes are there");
            filters.load(row_group, Bytes::from(bytes)).expect("as many as said")
        })
        .collect();

    let (mut row, mut strangers) = (0, 0);
    let place = |row: usize| {
        let mut first = 0;
        for (group, tokens) in metadata.row_groups().iter().zip(&loaded) {
            let rows = group.num_rows() as usize;
            assert_eq!(tokens.sections(), rows.div_ceil(filters.section_rows()));
            if row < first + rows {
                return (tokens, (row - first) / filters.section_rows());
            }
            first += rows;
        }
        panic!("row {row} is in no row group");
    };
    for batch in reader.build().expect("it can be read") {
        let batch = batch.expect("it can be read");
        for text in batch["body"].as_string::<i32>().iter() {
            let (tokens, section) = place(row);
            for word in Word::all_of(text.expect("every record has a body")) {
                assert!(tokens.may_hold(section, &word), "row {row}");
            }
            strangers += usize::from(tokens.may_hold(section, &Word::all_of(&format!("stranger{row}"))[0]));
            row += 1;
        }
    }
    assert_eq!(row as u64, data.rows);
    assert_eq!(row, 20_000);
    assert!(strangers * 40 < row, "{strangers} of {row} absent words pass");
}
