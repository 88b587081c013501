//! Single bits flipped in data files, each followed by queries over them: the same rows, or an error that names the file.
//! Never a panic, never rows that are silently others.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use orrery_model::{Identity, Signal, SystemClock, TableName, TenantId};
use orrery_query::{Engine, QueryConfig, SnapshotSource};
use orrery_storage::{DataFile, Lake, SealedBatch, Snapshot, TableSnapshot};

use crate::support::{self, START, Seed};
use crate::torture::{Torture, scratch};

/// A source that always gives the same snapshot.
struct Fixed(Arc<Snapshot>);

impl SnapshotSource for Fixed {
    fn snapshot(&self, _tenant: &TenantId) -> Arc<Snapshot> {
        Arc::clone(&self.0)
    }
}

/// What came of a flip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Seen {
    /// No query read the byte.
    Same,
    /// At least one query ended with an error that names the file; the others had the same rows.
    Told,
}

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Where the sources of the tests are, as panics name them.
const TESTS: &str = "query/tests/";

async fn write(dir: &Path) -> Arc<Snapshot> {
    let lake = Lake::open(dir).await.expect("a new lake");
    let tenant = TenantId::default();
    let mut seed = Seed(7);
    let batches = [
        (Signal::Spans, support::load_b(&mut seed, 2_000, START)),
        (Signal::Logs, support::logs(&mut seed, 500, START)),
        (Signal::Metrics, support::metrics(&mut seed, 500, 20, START)),
    ];
    let sealed = batches.map(|(signal, batch)| SealedBatch { tenant: tenant.clone(), table: signal.into(), batch });
    let view = lake.flush(1, 3, sealed.into()).await.expect("a flush");
    let tables = TableName::ALL.map(|table| TableSnapshot { files: view.files(&tenant, table), memory: Vec::new() });
    Arc::new(Snapshot { id: view.id, tenant, sequence: 3, tables })
}

/// What is asked of a table's files.
fn queries(table: TableName) -> Vec<String> {
    let mut queries = vec![
        format!("SELECT count(*), min(timestamp), max(timestamp) FROM {table}"),
        format!("SELECT count(*) FROM {table} WHERE attributes['user.id'] IS NOT NULL"),
    ];
    queries.push(match table {
        TableName::Spans => "SELECT * FROM spans ORDER BY timestamp, span_id".to_owned(),
        TableName::Logs => "SELECT * FROM logs ORDER BY timestamp, body".to_owned(),
        _ => format!("SELECT * FROM {table} ORDER BY series_id, timestamp"),
    });
    if table == TableName::Spans {
        queries.push(
            "SELECT name, duration_ns FROM spans WHERE service_name = 'cart' AND kind = 'SERVER' ORDER BY timestamp, span_id"
                .to_owned(),
        );
    }
    queries
}

async fn ask(engine: &Engine, query: &str) -> Result<RecordBatch, String> {
    let session = engine.session(&Identity::default()).await.map_err(|e| e.to_string())?;
    let (batches, _) = session.collect(query).await.map_err(|e| e.to_string())?;
    let schema = batches.first().ok_or("no batch")?.schema();
    concat_batches(&schema, &batches).map_err(|e| e.to_string())
}

fn engine(snapshot: &Arc<Snapshot>, spill: &Path) -> Arc<Engine> {
    let config = QueryConfig { temp_dir: spill.to_owned(), threads: 1, ..QueryConfig::default() };
    Engine::new(Arc::new(Fixed(Arc::clone(snapshot))), config, Arc::new(SystemClock)).expect("an engine")
}

async fn judge(engine: &Engine, file: &DataFile, expected: &[(String, RecordBatch)]) -> Result<Seen, String> {
    let mut seen = Seen::Same;
    for (query, rows) in expected {
        match ask(engine, query).await {
            Ok(found) if found == *rows => {}
            Ok(found) => return Err(format!("{query} gives {} rows, not the {}", found.num_rows(), rows.num_rows())),
            Err(error) if error.contains(&file.path.display().to_string()) => seen = Seen::Told,
            Err(error) => return Err(format!("{query} ends with an error that does not name the file: {error}")),
        }
    }
    Ok(seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_of_a_data_file_is_told_or_changes_nothing() {
    let torture = Torture::start("flips-files");
    let mut random = torture.random(1);
    let flips = torture.size(150, 10_000);
    let dir = scratch();
    let snapshot = write(&dir.path().join("lake")).await;
    let spill = dir.path().join("spill");
    let mut cases = Vec::new();
    for table in TableName::ALL {
        let [file] = snapshot.tables[table.index()].files.as_slice() else { continue };
        let mut expected = Vec::new();
        for query in queries(table) {
            let rows = ask(&engine(&snapshot, &spill), &query).await.unwrap_or_else(|e| panic!("{query}: {e}"));
            expected.push((query, rows));
        }
        cases.push((Arc::clone(file), std::fs::read(&file.path).expect("a file"), expected));
    }
    assert_eq!(cases.len(), 3, "spans, logs and metrics");
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // What fails in another test beside this one is no panic of the engine.
        if info.location().is_none_or(|at| !at.file().starts_with(TESTS)) {
            PANICS.fetch_add(1, Ordering::Relaxed);
        }
        hook(info);
    }));
    let (mut seen, mut faults) = (BTreeMap::<Seen, usize>::new(), Vec::new());
    for _ in 0..flips {
        let (file, bytes, expected) = &cases[random.below(cases.len())];
        let bit = random.below(bytes.len() * 8);
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&file.path, flipped).expect("written");
        match judge(&engine(&snapshot, &spill), file, expected).await {
            Ok(what) => *seen.entry(what).or_default() += 1,
            Err(fault) => faults.push(format!("bit {bit} of {}: {fault}", file.path.display())),
        }
        std::fs::write(&file.path, bytes).expect("written");
    }
    assert!(faults.is_empty(), "{} of {flips}: {:.2000}", faults.len(), faults.join("\n"));
    assert_eq!(PANICS.load(Ordering::Relaxed), 0, "panics");
    assert!(seen.get(&Seen::Told).is_some_and(|n| *n > flips / 2), "{seen:?}");
    torture
        .done(format!("{flips} bits flipped in {} data files, 0 panics, 0 silent differences: {seen:?}", cases.len()));
}
