//! Keys that a table has learned answer as before: in files from before, in files since, in merged ones and in memory.

use std::sync::Arc;

use orrery_model::{Identity, LearnedColumn, Scope, Signal, SystemClock, TableName, TenantId, ValueType};
use orrery_query::Engine;
use orrery_storage::{CompactionConfig, Lake, MemoryBatch, SealedBatch, TableSnapshot};

use crate::fixture::{self, Fixed, Row, rows};

/// Where the rows of the fixture are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The first rows in files from before, the next in files with columns, the last in memory.
    Mixed,
    /// The last ones in a file too.
    Files,
    /// All in one file.
    Merged,
}

/// The keys that are learned, each of one of the types that its values have.
type Keys = &'static [(&'static str, ValueType)];

pub const INTS: Keys = &[
    ("user.id", ValueType::Int),
    ("big", ValueType::Int),
    ("ok", ValueType::String),
    ("load", ValueType::String),
    ("nobody.sent", ValueType::Int),
];
pub const TEXTS: Keys = &[("user.id", ValueType::String), ("big", ValueType::String), ("load", ValueType::Int)];

/// An engine over the rows of [`rows`] in a lake that learned the keys after its first file.
pub async fn engine(place: Place, keys: Keys) -> (Arc<Engine>, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lake = Arc::new(Lake::open(folder.path()).await.expect("a new lake"));
    let tenant = TenantId::default();
    let batches = |signal, rows: Vec<Row>| rows.chunks(3).map(|rows| fixture::batch(signal, rows)).collect::<Vec<_>>();
    let mut spans = batches(Signal::Spans, rows::spans());
    let memory: Vec<_> = if place == Place::Mixed { spans.pop().into_iter().collect() } else { Vec::new() };
    for (sequence, batch) in (1..).zip(spans) {
        let seal = |table, batch| SealedBatch { tenant: tenant.clone(), table, batch };
        let mut sealed = vec![seal(TableName::Spans, batch)];
        if sequence == 1 {
            sealed.extend(batches(Signal::Logs, rows::logs()).into_iter().map(|batch| seal(TableName::Logs, batch)));
            sealed.extend(
                batches(Signal::Metrics, rows::metrics()).into_iter().map(|batch| seal(TableName::Metrics, batch)),
            );
        }
        lake.flush(sequence, sequence, sealed).await.expect("a flush");
        if sequence == 1 {
            for (key, value_type) in keys {
                lake.learn(&tenant, TableName::Spans, Scope::Item, key, *value_type).await.expect("it learns");
            }
        }
    }
    if place == Place::Merged {
        let config = CompactionConfig { floor_free_bytes: 0, ..CompactionConfig::default() };
        assert_eq!(lake.compact(&config).await.expect("it merges").merges, 1);
    }
    let files = |signal: Signal| lake.view().files(&tenant, signal);
    let spans = TableSnapshot { files: files(Signal::Spans), memory: MemoryBatch::all(memory) };
    let table = |signal| TableSnapshot { files: files(signal), memory: Vec::new() };
    let snapshot = fixture::snapshot([spans, table(Signal::Logs), table(Signal::Metrics)]);
    let engine = Engine::new(Arc::new(Fixed(snapshot)), fixture::config(folder.path()), Arc::new(SystemClock));
    (engine.expect("an engine"), folder)
}

/// Everywhere that learned keys are.
pub async fn engines() -> Vec<(String, (Arc<Engine>, tempfile::TempDir))> {
    let mut engines = Vec::new();
    for place in [Place::Mixed, Place::Files, Place::Merged] {
        for (name, keys) in [("integers", INTS), ("texts", TEXTS)] {
            engines.push((format!("{place:?}, learned {name}"), engine(place, keys).await));
        }
    }
    engines
}

async fn names(engine: &Engine, query: &str) -> (Vec<String>, u64, u64) {
    let session = engine.session(&Identity::default()).await.expect("a session");
    let (batches, receipt) = session.collect(query).await.expect(query);
    let rows = orrery_query::formats::json_rows(&batches).expect("rows");
    let mut names: Vec<String> = rows.iter().map(|row| row[0].as_str().expect("a name").to_owned()).collect();
    names.sort();
    (names, receipt.files, receipt.rows_scanned)
}

#[tokio::test]
async fn the_fixture_has_values_in_columns_and_in_maps() {
    let columns = |place, keys| async move {
        let (engine, _folder) = engine(place, keys).await;
        let snapshot = engine.snapshot(&Identity::default());
        let of_file = |learned: &[LearnedColumn]| learned.iter().map(|c| c.key.clone()).collect::<Vec<_>>();
        let files = snapshot.table(Signal::Spans).files.iter();
        files.map(|file| of_file(&file.layout.as_ref().expect("a layout").learned)).collect::<Vec<_>>()
    };
    let none: Vec<&str> = Vec::new();
    assert_eq!(columns(Place::Mixed, INTS).await, [none.clone(), vec!["user.id"], vec!["load"]]);
    assert_eq!(columns(Place::Files, INTS).await, [none.clone(), vec!["user.id"], vec!["load"], vec!["big", "ok"]]);
    assert_eq!(columns(Place::Merged, INTS).await, [["user.id", "big", "ok", "load"]]);
    assert_eq!(columns(Place::Mixed, TEXTS).await, [none.clone(), vec!["user.id"], none]);
}

#[tokio::test]
async fn a_column_answers_without_the_map_and_rules_files_out() {
    let (engine, _folder) = engine(Place::Files, INTS).await;
    for (condition, found, files) in [
        // In the map of the first file, the column of the second; s07's is a double.
        ("attributes['user.id'] = 10", vec!["s05"], 4),
        ("attributes['big'] = '9007199254740992'", vec!["s12"], 1),
        ("attributes['big'] IS NOT NULL", vec!["s11", "s12"], 1),
        ("attributes['nobody.sent'] = 1", vec![], 0),
    ] {
        let query = format!("SELECT name FROM spans WHERE {condition}");
        let (names, opened, _) = names(&engine, &query).await;
        assert_eq!((names, opened), (found.into_iter().map(str::to_owned).collect(), files), "{condition}");
    }
    let session = engine.session(&Identity::default()).await.expect("a session");
    let query = "EXPLAIN SELECT name FROM spans WHERE attributes['big'] = '9007199254740992'";
    let (plan, _) = session.collect(query).await.expect("a plan");
    let plan = arrow::util::pretty::pretty_format_batches(&plan).expect("text").to_string();
    assert!(plan.contains("attributes.big@"), "{plan}");
    assert!(!plan.contains("map_get"), "no map of the file has the key: {plan}");
}

#[tokio::test]
async fn the_stored_maps_are_as_if_nothing_had_been_learned() {
    let (memory, _folder) = fixture::engine(fixture::Placement::Memory);
    for query in [
        "SELECT name, other_attributes, other_attribute_types FROM spans",
        "SELECT other_attribute_types['user.id'], count(*) FROM spans GROUP BY 1 ORDER BY 1",
        "SELECT name FROM spans WHERE other_attributes['big'] IS NOT NULL ORDER BY 1",
        "SELECT name, attributes['ok'], other_attribute_types FROM spans WHERE attributes['user.id'] > 5",
        "SELECT * FROM spans",
        "SELECT attributes, count(*) FROM spans GROUP BY attributes",
    ] {
        let rows = |engine: Arc<Engine>| async move {
            let session = engine.session(&Identity::default()).await.expect("a session");
            let (batches, _) = session.collect(query).await.expect(query);
            let mut rows: Vec<String> = orrery_query::formats::json_rows(&batches)
                .expect("rows")
                .into_iter()
                .map(|row| serde_json::Value::Array(row).to_string())
                .collect();
            rows.sort();
            rows
        };
        let expected = rows(memory.clone()).await;
        for (name, (engine, _folder)) in engines().await {
            assert_eq!(rows(engine).await, expected, "{name}: {query}");
        }
    }
}
