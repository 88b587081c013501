//! What is said of a file that is not what the catalog says, each thing by itself.

use std::fs::File;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use orrery_model::{LearnedColumn, Scope, ValueType};
use parquet::arrow::ArrowWriter;

use super::*;
use crate::{FileLayout, TraceFilter};

use crate::support::{self, START, Seed};

/// A file without sums, and what a catalog that is right says of it.
fn good(folder: &Path, rows: &RecordBatch) -> (DataFile, Says) {
    let path = folder.join("file.parquet");
    let mut writer = ArrowWriter::try_new(File::create(&path).expect("a file"), rows.schema(), None).expect("a writer");
    writer.write(rows).expect("written");
    writer.close().expect("a footer");
    let file = DataFile {
        id: 1,
        size_bytes: std::fs::metadata(&path).expect("the file").len(),
        path,
        footer_bytes: 0,
        rows: rows.num_rows() as u64,
        min_timestamp_ns: START,
        max_timestamp_ns: START + 99_000_000,
        trace_filter: None,
        checksums: None,
        merged_from: None,
        layout: None,
    };
    let says = Says {
        filter: Some(
            TraceFilter::build((0..1000).map(|n| format!("{n:032x}")).collect::<Vec<_>>().iter().map(|s| &**s))
                .to_bytes(),
        ),
        word_range: Some(("ads".to_owned(), "shipping".to_owned())),
        word_nulls: 0,
        partition: ["2026", "3", "14", "9"].map(str::to_owned).to_vec(),
    };
    (file, says)
}

/// A hundred log records in the table's order.
fn sorted() -> RecordBatch {
    let rows = support::logs(&mut Seed(3), 100, START);
    let table = orrery_model::table(TableName::Logs);
    let order = {
        let keys = crate::compact::Keys::of(table.order, &rows);
        let mut order: Vec<usize> = (0..rows.num_rows()).collect();
        order.sort_by(|&a, &b| keys.compare(a, &keys, b));
        order
    };
    let order: UInt32Array = order.into_iter().map(|row| row as u32).collect();
    take_record_batch(&rows, &order).expect("rows of the batch")
}

fn said(file: DataFile, says: &Says) -> Vec<String> {
    file::check(TableName::Logs, &Arc::new(file), says, &|| true).expect("nobody stops it")
}

#[test]
fn of_a_file_that_is_whole_nothing_is_said() {
    let dir = tempfile::tempdir().expect("a folder");
    let (file, says) = good(dir.path(), &sorted());
    assert_eq!(said(file, &says), Vec::<String>::new());
}

#[test]
fn whatever_is_wrong_with_a_file_is_said() {
    type Change = fn(&mut DataFile, &mut Says);
    let cases: &[(Change, &str)] = &[
        (|file, _| file.rows += 1, "its footer says 100 rows, its row groups have 100, and the catalog says 101"),
        (|file, _| file.rows += 1, "100 rows were read, the catalog says 101"),
        (|file, _| file.min_timestamp_ns -= 1, "its times are from 2026-03-14T09:00:00+00:00"),
        (|file, _| file.max_timestamp_ns += 1, "its times are from"),
        (|file, _| file.size_bytes += 1, "is damaged: it has"),
        (|file, _| file.path.set_extension("gone").then_some(()).expect("another name"), "it is missing"),
        (
            |file, _| {
                let map_keys = [None, None, Some(Vec::new())];
                file.layout = Some(FileLayout { map_keys, learned: Vec::new() }.into());
            },
            "the keys of its maps are others than the catalog says",
        ),
        (
            |file, _| {
                let (scope, key, value_type) = (Scope::Item, "k".to_owned(), ValueType::Int);
                let learned = vec![LearnedColumn { field_id: 10_000, scope, key, value_type }];
                file.layout = Some(FileLayout { learned, ..FileLayout::default() }.into());
            },
            "it has no column attributes.k, which the catalog says it has",
        ),
        (|_, says| says.word_nulls = 3, "0 of its service_name are NULL, the catalog says 3"),
        (|_, says| says.word_range = Some(("ads".into(), "email".into())), "its service_name is from other values"),
        (|_, says| says.partition[3] = "10".into(), "its partition is (2026, 3, 14, 10), not (2026, 3, 14, 9)"),
        (|_, says| says.partition.clear(), "its partition is (), not (2026, 3, 14, 9)"),
        (|_, says| says.filter = Some(Vec::new()), "50 trace ids are not in its trace filter"),
        (|_, says| says.filter = Some(vec![1]), "it cannot be read: its trace filter"),
    ];
    for (change, expected) in cases {
        let dir = tempfile::tempdir().expect("a folder");
        let (mut file, mut says) = good(dir.path(), &sorted());
        change(&mut file, &mut says);
        let said = said(file, &says);
        assert!(said.iter().any(|what| what.contains(expected)), "{expected}: {said:?}");
    }
}

#[test]
fn rows_out_of_order_and_columns_that_are_not_the_tables_are_said() {
    let dir = tempfile::tempdir().expect("a folder");
    let rows = sorted();
    let mut order: Vec<u32> = (0..100).collect();
    order.swap(0, 99);
    let mixed = take_record_batch(&rows, &UInt32Array::from(order)).expect("rows of the batch");
    let (file, says) = good(dir.path(), &mixed);
    assert_eq!(said(file, &says), ["2 rows are not in the table's order"]);

    let index = rows.schema().index_of("service_name").expect("it has services");
    let mut less = rows;
    less.remove_column(index);
    let (file, says) = good(dir.path(), &less);
    assert_eq!(said(file, &says), ["it has no column service_name"]);
}

#[test]
fn it_stops_when_it_is_told_to() {
    let dir = tempfile::tempdir().expect("a folder");
    let (file, says) = good(dir.path(), &sorted());
    let ended = file::check(TableName::Logs, &Arc::new(file), &says, &|| false);
    assert!(matches!(ended, Err(LakeError::Stopped)));
}
