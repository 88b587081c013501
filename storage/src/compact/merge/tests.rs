//! How much is merged at once, and what becomes of columns that are not the table's.

use arrow::array::{AsArray, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema};
use orrery_model::{Scope, ValueType};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::fs::RealFileSystem;
use crate::support::{self, SECOND, START, Seed};

#[test]
fn as_many_files_are_merged_at_once_as_the_memory_holds() {
    let need = Need { reader_bytes: 4 << 20, row_bytes: 1_000 };
    let huge = Need { reader_bytes: 4 << 20, row_bytes: 10 << 20 };
    let of_rows = |mib: usize| (64 << 20) + (mib << 20);
    assert_eq!(fit(&[need; 10], of_rows(1_000)), (10, MAX_BATCH_ROWS));
    let (count, rows) = fit(&[need; 10], of_rows(100));
    assert_eq!(count, 10);
    assert!((2_900..3_200).contains(&rows), "{rows}");
    let (count, rows) = fit(&[need; 60], of_rows(100));
    assert!((20..=24).contains(&count) && rows >= MIN_BATCH_ROWS, "{count} files, {rows} rows");
    assert_eq!(fit(&[huge; 10], of_rows(100)), (2, MIN_BATCH_ROWS), "fewer than two would be no merge");
}

/// Three log records, one a second from the given one on, with one more column where it is given. The catalog knows of the
/// learned ones.
fn file(folder: &Path, id: i64, first: i64, more: Option<Field>, learned: Vec<LearnedColumn>) -> Arc<DataFile> {
    let rows = support::logs(&mut Seed(id.cast_unsigned()), 3, START);
    let times = (0..3).map(|row| START + (first + row) * SECOND);
    let mut fields: Vec<_> = rows.schema().fields().to_vec();
    let mut columns = rows.columns().to_vec();
    columns[table(TableName::Logs).index_of("timestamp")] =
        Arc::new(arrow::array::TimestampNanosecondArray::from_iter_values(times));
    columns[table(TableName::Logs).index_of("service_name")] = Arc::new(StringArray::from(vec!["shop"; 3]));
    if let Some(field) = more {
        columns.push(Arc::new(StringArray::from(vec!["u-7"; 3])));
        fields.push(Arc::new(field));
    }
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("the columns fit");
    let path = folder.join(format!("{id}.parquet"));
    let mut writer = ArrowWriter::try_new(std::fs::File::create(&path).expect("a file"), batch.schema(), None)
        .expect("the schema is Parquet's too");
    writer.write(&batch).expect("written");
    writer.close().expect("a footer");
    Arc::new(DataFile {
        id,
        size_bytes: std::fs::metadata(&path).expect("the file").len(),
        path,
        footer_bytes: 0,
        rows: 3,
        min_timestamp_ns: START + first * SECOND,
        max_timestamp_ns: START + (first + 2) * SECOND,
        trace_filter: None,
        checksums: None,
        merged_from: None,
        layout: Some(Arc::new(FileLayout { learned, ..FileLayout::default() })),
    })
}

fn merge(folder: &Path, files: Vec<Arc<DataFile>>) -> Result<RecordBatch, LakeError> {
    let job = Job {
        tenant: TenantId::default(),
        table: TableName::Logs,
        hour: crate::parquet::hour_of(START, START),
        files,
        learned: Arc::default(),
        fs: Arc::new(RealFileSystem),
        data_path: folder.to_owned(),
        epoch: 1,
        number: 1,
        memory_bytes: 1 << 30,
    };
    let merged = job.run(&Around { steps: &Steps::default(), claim: &|_| (), goes_on: &|| true })?;
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&merged.written.path).expect("the merged file"))
            .expect("it is Parquet");
    let schema = Arc::clone(reader.schema());
    let batches: Vec<_> = reader.build().expect("it can be read").map(|batch| batch.expect("rows")).collect();
    Ok(concat_batches(&schema, &batches).expect("one schema"))
}

#[test]
fn a_column_that_only_one_part_has_is_carried_where_the_catalog_knows_it_and_refused_where_not() {
    let user = LearnedColumn {
        field_id: 10_000,
        scope: Scope::Item,
        key: "user.id".to_owned(),
        value_type: ValueType::String,
    };
    let parts = |dir: &Path, field: Field, learned: Vec<LearnedColumn>| {
        vec![file(dir, 1, 0, None, vec![]), file(dir, 2, 1, Some(field), learned)]
    };
    let dir = tempfile::tempdir().expect("a folder");
    let rows = merge(dir.path(), parts(dir.path(), user.field(), vec![user.clone()])).expect("it merges");
    let users = rows.column_by_name("attributes.user.id").expect("it is carried").as_string::<i32>();
    // Of rows of one time those of the part that was received first come first.
    assert_eq!(users.iter().collect::<Vec<_>>(), [None, None, Some("u-7"), None, Some("u-7"), Some("u-7")]);

    for field in [user.field(), Field::new("colour", DataType::Utf8, true)] {
        let dir = tempfile::tempdir().expect("a folder");
        let name = field.name().clone();
        let error = merge(dir.path(), parts(dir.path(), field, vec![])).expect_err("it would be lost");
        let message = crate::store::chain(&error);
        assert!(message.contains(&format!("its column {name} is none of the table, and would be lost")), "{message}");
        let left = std::fs::read_dir(dir.path()).expect("a folder").filter(|entry| {
            entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some_and(|end| end == "parquet"))
        });
        assert_eq!(left.count(), 2, "nothing is left of the merge");
    }
}
