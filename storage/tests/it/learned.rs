//! Keys that tables learn: a column in the files that are written from then on, merged ones too, and not a value lost;
//! what is refused; and what DuckDB says.

use std::fs::File;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use orrery_model::learned::{FIRST_FIELD_ID, MAX_LEARNED};
use orrery_model::{LearnedColumn, Scope, Signal, TableName, TenantId, ValueType};
use orrery_storage::{CompactionConfig, DataFile, Lake, LakeError, LearnConfig, LearnError, SealedBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::duckdb_shell::DuckDb;
use crate::support::{self, SECOND, START, Seed};

const TENANT: fn() -> TenantId = TenantId::default;

fn spans(seed: &mut Seed, len: usize, start: i64) -> SealedBatch {
    SealedBatch { tenant: TENANT(), table: TableName::Spans, batch: support::load_b(seed, len, start) }
}

fn files(lake: &Lake, table: impl Into<TableName>) -> Vec<Arc<DataFile>> {
    lake.view().files(&TENANT(), table).to_vec()
}

fn read(file: &DataFile) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&file.path).expect("the file is there"))
        .expect("the file is Parquet");
    let schema = reader.schema().clone();
    let batches: Vec<_> = reader.build().expect("it can be read").map(|batch| batch.expect("it can be read")).collect();
    arrow::compute::concat_batches(&schema, &batches).expect("one schema")
}

/// The text values of a key, in the rows' order, from the column if the file has it, else from the map.
fn values(batch: &RecordBatch, key: &str) -> Vec<Option<String>> {
    let column = batch.column_by_name(&format!("attributes.{key}"));
    let column = column.map(|column| arrow::compute::cast(column, &arrow::datatypes::DataType::Utf8).expect("text"));
    let map = batch.column_by_name("other_attributes").expect("the map").as_map();
    let (keys, texts) = (map.keys().as_string::<i32>(), map.values().as_string::<i32>());
    (0..batch.num_rows())
        .map(|row| {
            let offsets = map.value_offsets();
            let in_map = (offsets[row]..offsets[row + 1]).map(|i| i as usize).find(|i| keys.value(*i) == key);
            let in_map = in_map.map(|i| texts.value(i).to_owned());
            let in_column =
                column.as_ref().filter(|c| c.is_valid(row)).map(|c| c.as_string::<i32>().value(row).to_owned());
            assert!(in_map.is_none() || in_column.is_none(), "in both");
            in_map.or(in_column)
        })
        .collect()
}

fn sorted(mut values: Vec<Option<String>>) -> Vec<Option<String>> {
    values.sort();
    values
}

async fn learn(lake: &Lake, key: &str, value_type: ValueType) -> Result<LearnedColumn, LakeError> {
    lake.learn(&TENANT(), TableName::Spans, Scope::Item, key, value_type).await
}

fn config() -> CompactionConfig {
    CompactionConfig { floor_free_bytes: 0, ..CompactionConfig::default() }
}

#[tokio::test]
async fn files_written_after_have_the_column_and_merged_files_take_it_from_the_maps() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut lake = Arc::new(Lake::open(dir.path()).await.expect("a new lake"));
    let mut seed = Seed(4);
    let mut sent = Vec::new();
    for sequence in 1..=4 {
        if sequence == 2 {
            let column = learn(&lake, "user.id", ValueType::String).await.expect("it learns");
            assert_eq!((column.field_id, column.column_name().as_str()), (FIRST_FIELD_ID, "attributes.user.id"));
            let again = learn(&lake, "user.id", ValueType::String).await.expect("it knows");
            assert_eq!(again, column);
            learn(&lake, "nobody.sent", ValueType::String).await.expect("it learns what is not there yet");
        }
        if sequence == 3 {
            lake = Arc::new(Lake::open(dir.path()).await.expect("the same lake"));
        }
        let flush = spans(&mut seed, 200, START + sequence as i64 * SECOND);
        sent.extend(values(&flush.batch, "user.id"));
        lake.flush(sequence, sequence, vec![flush]).await.expect("a flush");
    }
    let parts = files(&lake, Signal::Spans);
    let names = |file: &DataFile| -> Vec<String> {
        let layout = file.layout.as_ref().expect("a layout");
        assert_eq!(layout.lacks(Scope::Item, "user.id"), !layout.learned.is_empty());
        layout.learned.iter().map(LearnedColumn::column_name).collect()
    };
    assert!(names(&parts[0]).is_empty());
    for part in &parts[1..] {
        assert_eq!(names(part), ["attributes.user.id"], "a column without a value is left out");
        let batch = read(part);
        let column = batch.column_by_name("attributes.user.id").expect("the column").as_string::<i32>();
        assert!(column.null_count() < column.len());
        let field = batch.schema().field_with_name("attributes.user.id").expect("the field").clone();
        assert_eq!(field.metadata()["PARQUET:field_id"], FIRST_FIELD_ID.to_string());
    }
    assert_eq!(lake.compact(&config()).await.expect("it merges").merges, 1);
    let [merged] = &files(&lake, Signal::Spans)[..] else { panic!("one file") };
    assert_eq!(names(merged), ["attributes.user.id"]);
    assert_eq!(sorted(values(&read(merged), "user.id")), sorted(sent));
    // And again, from the catalog.
    drop(lake);
    let lake = Lake::open(dir.path()).await.expect("the same lake");
    let [reopened] = &files(&lake, Signal::Spans)[..] else { panic!("one file") };
    assert_eq!(names(reopened), ["attributes.user.id"]);
    assert_eq!(lake.view().learned.of(&TENANT(), TableName::Spans).all().len(), 2);
}

#[tokio::test]
async fn values_of_another_type_stay_in_the_map() {
    let dir = tempfile::tempdir().expect("a folder");
    let lake = Lake::open(dir.path()).await.expect("a new lake");
    learn(&lake, "user.id", ValueType::Int).await.expect("it learns");
    let flush = spans(&mut Seed(1), 50, START);
    let sent = values(&flush.batch, "user.id");
    lake.flush(1, 1, vec![flush]).await.expect("a flush");
    let [file] = &files(&lake, Signal::Spans)[..] else { panic!("one file") };
    assert!(file.layout.as_ref().expect("a layout").learned.is_empty(), "no value is an integer");
    assert_eq!(sorted(values(&read(file), "user.id")), sorted(sent));
}

#[tokio::test]
async fn a_retired_column_stays_in_files_that_have_it_and_comes_into_no_other() {
    let dir = tempfile::tempdir().expect("a folder");
    let lake = Arc::new(Lake::open(dir.path()).await.expect("a new lake"));
    let mut seed = Seed(2);
    let spans_of = TableName::Spans;
    let error = lake.unlearn(&TENANT(), spans_of, Scope::Item, "user.id").await.expect_err("it is not learned");
    assert_eq!(error.to_string(), "table spans has not learned \"user.id\"");
    let column = learn(&lake, "user.id", ValueType::String).await.expect("it learns");
    let mut sent = Vec::new();
    for sequence in 1..=2 {
        let flush = spans(&mut seed, 100, START + sequence as i64 * SECOND);
        sent.extend(values(&flush.batch, "user.id"));
        lake.flush(sequence, sequence, vec![flush]).await.expect("a flush");
        lake.unlearn(&TENANT(), spans_of, Scope::Item, "user.id").await.expect("it is retired");
    }
    let has: Vec<bool> = files(&lake, spans_of)
        .iter()
        .map(|file| file.layout.as_ref().is_some_and(|layout| !layout.learned.is_empty()))
        .collect();
    assert_eq!(has, [true, false]);
    assert_eq!(lake.compact(&config()).await.expect("it merges").merges, 1);
    let merged = files(&lake, spans_of);
    assert_eq!(merged[0].layout.as_ref().expect("a layout").learned, std::slice::from_ref(&column));
    assert_eq!(sorted(values(&read(&merged[0]), "user.id")), sorted(sent));
    drop(lake);
    let lake = Lake::open(dir.path()).await.expect("the same lake");
    let learned = lake.view().learned.of(&TENANT(), spans_of);
    assert!(!learned.is_written(&column), "it stays retired");
    assert_eq!(learn(&lake, "user.id", ValueType::String).await.expect("it is taken into use again"), column);
    assert!(lake.view().learned.of(&TENANT(), spans_of).is_written(&column));
}

#[tokio::test]
async fn what_cannot_have_a_column_is_refused_by_name() {
    let dir = tempfile::tempdir().expect("a folder");
    let lake = Lake::open(dir.path()).await.expect("a new lake");
    let stranger = TenantId::new("stranger").expect("a name");
    learn(&lake, "User.Id", ValueType::String).await.expect("it learns");
    let before = lake.view().id;
    let (string, int) = (ValueType::String, ValueType::Int);
    let long = "k".repeat(201);
    for (tenant, table, scope, key, value_type, message) in [
        (stranger, TableName::Spans, Scope::Item, "k", string, "tenant stranger has no tables yet"),
        (TENANT(), TableName::Alerts, Scope::Item, "k", string, "table alerts has no attributes"),
        (TENANT(), TableName::Spans, Scope::Item, "", string, "\"\" cannot have a column"),
        (TENANT(), TableName::Spans, Scope::Item, "a\nb", string, "cannot have a column"),
        (TENANT(), TableName::Spans, Scope::Item, &long, string, "cannot have a column"),
        (TENANT(), TableName::Spans, Scope::Item, "k", ValueType::Double, "double values cannot have a column"),
        (TENANT(), TableName::Spans, Scope::Item, "http.route", string, "\"attributes.http.route\" from the start"),
        (TENANT(), TableName::Spans, Scope::Item, "HTTP.Route", string, "compared without case"),
        (TENANT(), TableName::Spans, Scope::Item, "user.id", string, "\"attributes.User.Id\", and names"),
        (TENANT(), TableName::Spans, Scope::Item, "User.Id", int, "of type string, and a column keeps its type"),
        (TENANT(), TableName::Spans, Scope::Resource, "service.name", string, "from the start"),
        (TENANT(), TableName::Spans, Scope::Resource, "deployment.environment", string, "rules of its own"),
    ] {
        let error = lake.learn(&tenant, table, scope, key, value_type).await.expect_err(message);
        assert!(error.to_string().contains(message), "{error}");
        assert!(matches!(error, LakeError::Learn(_)) && !error.is_retryable());
    }
    assert_eq!(lake.view().id, before, "nothing has changed");
    for n in 1..MAX_LEARNED {
        learn(&lake, &format!("k{n}"), int).await.expect("it learns");
    }
    let full = learn(&lake, "one.more", int).await.expect_err("a limit");
    assert!(matches!(full, LakeError::Learn(LearnError::Full(TableName::Spans))), "{full}");
    lake.learn(&TENANT(), TableName::Logs, Scope::Item, "one.more", int).await.expect("another table has room");
    drop(lake);
    let lake = Lake::open(dir.path()).await.expect("the same lake");
    assert_eq!(lake.view().learned.of(&TENANT(), TableName::Spans).all().len(), MAX_LEARNED);
    assert!(lake.view().learned.of(&TENANT(), TableName::Metrics).all().is_empty());
}

#[tokio::test]
async fn duckdb_reads_a_key_the_same_before_across_and_after() {
    let dir = tempfile::tempdir().expect("a folder");
    let lake = Arc::new(Lake::open(dir.path()).await.expect("a new lake"));
    let Some(mut duckdb) = DuckDb::attach(&dir.path().join("catalog.sqlite")) else { return };
    let mut seed = Seed(9);
    let mut sent = Vec::new();
    let ask = "SELECT count(attributes['user.id']), count(DISTINCT attributes['user.id']),
               bit_xor(hash(attributes['user.id'])), count(other_attributes['user_agent.original']),
               count(DISTINCT attributes['url.scheme']), bit_xor(hash(attributes['http.route'])) FROM lake.spans_full";
    let mut before = Vec::new();
    for sequence in 1..=3 {
        let flush = spans(&mut seed, 300, START + sequence as i64 * SECOND);
        sent.extend(values(&flush.batch, "user.id").into_iter().flatten());
        lake.flush(sequence, sequence, vec![flush]).await.expect("a flush");
        if sequence == 1 {
            learn(&lake, "user.id", ValueType::String).await.expect("it learns");
            learn(&lake, "it's \"odd\"", ValueType::Int).await.expect("it learns");
            assert_eq!(duckdb.row("SELECT count(\"attributes.user.id\") FROM lake.spans"), ["0"], "an older file");
        }
        if sequence == 3 {
            before = duckdb.row(ask);
            assert_eq!(before[..2], [sent.len().to_string(), sent.len().to_string()]);
        }
    }
    let in_column: usize =
        duckdb.row("SELECT count(\"attributes.user.id\") FROM lake.spans")[0].parse().expect("a number");
    assert!(in_column > 0 && in_column < sent.len(), "{in_column} of {}", sent.len());
    let one = &sent[0];
    let find = format!("SELECT count(*) FROM lake.spans_full WHERE attributes['user.id'] = '{one}'");
    assert_eq!(duckdb.row(&find), ["1"]);
    assert_eq!(lake.compact(&config()).await.expect("it merges").merges, 1);
    assert_eq!(duckdb.row(ask), before, "merged");
    let all = duckdb.row("SELECT count(\"attributes.user.id\") FROM lake.spans");
    assert_eq!(all, [sent.len().to_string()], "a merged file has all of them in the column");
    for _ in 0..2 {
        lake.expire(std::time::Duration::ZERO).await.expect("it expires");
    }
    let mut again = DuckDb::attach(&dir.path().join("catalog.sqlite")).expect("it could be had before");
    assert_eq!(again.row(ask), before, "attached anew");
    let types = "SELECT data_type FROM duckdb_columns() WHERE table_name = 'spans' AND column_index >
                 (SELECT max(column_index) - 2 FROM duckdb_columns() WHERE table_name = 'spans') ORDER BY column_index";
    assert_eq!(again.query(types), [[Some("VARCHAR".to_owned())], [Some("BIGINT".to_owned())]]);
    let lines = again.row("SELECT count(*) FROM lake.logs_full");
    assert_eq!(lines, ["0"], "other tables are as they were");
}

#[tokio::test]
async fn an_integer_comes_back_as_the_integer_that_was_sent() {
    let dir = tempfile::tempdir().expect("a folder");
    let lake = Lake::open(dir.path()).await.expect("a new lake");
    lake.learn(&TENANT(), TableName::Logs, Scope::Item, "line", ValueType::Int).await.expect("it learns");
    // As text the values are no integers.
    let logs = support::logs(&mut Seed(3), 20, START);
    let flush = |sequence, batch| {
        let sealed = SealedBatch { tenant: TENANT(), table: TableName::Logs, batch };
        lake.flush(sequence, sequence, vec![sealed])
    };
    flush(1, logs.clone()).await.expect("a flush");
    let types: Vec<support::Pairs> = (0..20).map(|_| vec![("line".to_owned(), Some("int".to_owned()))]).collect();
    flush(2, support::with_map(&logs, "other_attribute_types", &types)).await.expect("a flush");
    let files = files(&lake, Signal::Logs);
    assert!(read(&files[0]).column_by_name("attributes.line").is_none());
    let second = read(&files[1]);
    let column = second.column_by_name("attributes.line").expect("the column").as_primitive::<Int64Type>();
    let mut lines: Vec<i64> = column.iter().flatten().collect();
    lines.sort_unstable();
    assert_eq!(lines, (0..20).collect::<Vec<i64>>());
    for map in ["other_attributes", "other_attribute_types"] {
        assert_eq!(second.column_by_name(map).expect("the map").as_map().entries().len(), 0, "{map}");
    }
}

#[tokio::test]
async fn dense_keys_are_learned_by_themselves_and_sparse_ones_are_not() {
    let dir = tempfile::tempdir().expect("a folder");
    let lake = Lake::open(dir.path()).await.expect("a new lake");
    let mut seed = Seed(8);
    let config = LearnConfig { least_rows: 1_000, ..LearnConfig::default() };
    let names = |learned: Vec<orrery_storage::LearnedKey>| -> Vec<String> {
        let mut names: Vec<_> = learned
            .iter()
            .map(|key| format!("{} {} {}", key.table, key.column.column_name(), key.column.value_type.word()))
            .collect();
        names.sort();
        names
    };
    lake.flush(1, 1, vec![spans(&mut seed, 900, START)]).await.expect("a flush");
    assert!(lake.learn_dense(&config).await.expect("it looks").is_empty(), "too few rows");
    learn(&lake, "url.scheme", ValueType::String).await.expect("it learns");
    lake.unlearn(&TENANT(), TableName::Spans, Scope::Item, "url.scheme").await.expect("it is retired");
    let lines = support::logs(&mut seed, 2_000, START);
    let types: Vec<support::Pairs> = (0..2_000).map(|_| vec![("line".to_owned(), Some("int".to_owned()))]).collect();
    let lines = support::with_map(&lines, "other_attribute_types", &types);
    let logs = SealedBatch { tenant: TENANT(), table: TableName::Logs, batch: lines };
    lake.flush(2, 2, vec![spans(&mut seed, 3_000, START), logs]).await.expect("a flush");
    let one = LearnConfig { max_columns: 2, ..config.clone() };
    let densest = names(lake.learn_dense(&one).await.expect("it looks"));
    assert_eq!(densest.len(), 2, "one beside the retired one, and one of logs: {densest:?}");
    let rest = names(lake.learn_dense(&config).await.expect("it looks"));
    let expected =
        ["logs attributes.line int", "spans attributes.user.id string", "spans attributes.user_agent.original string"];
    let mut all = [densest, rest].concat();
    all.sort();
    assert_eq!(all, expected, "and not the retired one");
    assert!(lake.learn_dense(&config).await.expect("it looks").is_empty(), "nothing is left");
    // Each of 97 keys is in one of nine spans.
    let tracegen =
        SealedBatch { tenant: TENANT(), table: TableName::Spans, batch: support::load_a(&mut seed, 6_000, START) };
    for sequence in 3..7 {
        lake.flush(sequence, sequence, vec![tracegen.clone()]).await.expect("a flush");
    }
    assert!(lake.learn_dense(&config).await.expect("it looks").is_empty());
    let sparse = LearnConfig { share: 0.05, max_columns: 10, ..config };
    assert_eq!(lake.learn_dense(&sparse).await.expect("it looks").len(), 7, "three are there");
}
