//! Keeping what was counted of hours beforehand: all parts of an hour or none, none that is damaged, and whether a flush
//! brought spans of the hour since, whatever was merged.

use std::path::Path;
use std::sync::Arc;

use orrery_model::{Signal, TenantId};
use orrery_storage::{CompactionConfig, Lake, RollupHead, RollupQuery, Rollups, SealedBatch, StoredRollup};

use crate::support::{self, SECOND, START, Seed};

const HOUR: i64 = 3_600 * SECOND;
/// The hour that the spans lie in.
const HOUR_OF_START: i64 = START / HOUR;

async fn flush(lake: &Lake, sequence: u64, start: i64) {
    let batch = support::load_b(&mut Seed(sequence), 20, start);
    let sealed = SealedBatch { tenant: TenantId::default(), table: Signal::Spans.into(), batch };
    lake.flush(sequence, sequence, vec![sealed]).await.expect("a flush");
}

fn newest(lake: &Lake) -> i64 {
    lake.view().files(&TenantId::default(), Signal::Spans).iter().map(|f| f.received().1).max().unwrap_or(0)
}

async fn read(rollups: &Rollups, part: &'static str, newest_file: i64) -> Vec<StoredRollup> {
    let query = RollupQuery { hours: i64::MIN..=i64::MAX, part, newest_file, around_ns: 240 * SECOND };
    rollups.read(&TenantId::default(), &query).await.expect("they can be read")
}

fn head(hour: i64, through_file: i64) -> RollupHead {
    RollupHead { hour, version: 1, through_file, rows: 20, before_rows: 0 }
}

async fn change(dir: &Path, statement: &'static str) {
    use sqlx::{Connection, SqliteConnection};
    let url = format!("sqlite://{}", dir.join("catalog.sqlite").display());
    let mut connection = SqliteConnection::connect(&url).await.expect("the catalog");
    sqlx::query(statement).execute(&mut connection).await.expect("the statement runs");
    connection.close().await.expect("it closes");
}

#[tokio::test]
async fn an_hour_is_there_with_its_parts_until_it_is_forgotten_or_damaged() {
    let dir = tempfile::tempdir().expect("a folder");
    let lake = Lake::open(dir.path()).await.expect("a new lake");
    let (rollups, tenant) = (lake.rollups(), TenantId::default());
    assert!(read(&rollups, "a", 0).await.is_empty());
    let parts = |seed: u8| vec![("a", vec![seed; 100_000]), ("b", vec![]), ("c", (0..=seed).collect())];
    for hour in 5..8 {
        rollups.save(&tenant, &head(hour, 0), &parts(hour as u8)).await.expect("it is kept");
    }
    rollups.save(&tenant, &head(6, 3), &parts(60)[..1]).await.expect("it takes the place of the one before");
    let found = read(&lake.rollups(), "a", 0).await;
    assert_eq!(found.iter().map(|r| r.head).collect::<Vec<_>>(), [head(5, 0), head(6, 3), head(7, 0)]);
    assert!(found.iter().zip([5, 60, 7]).all(|(r, byte)| r.part.as_deref() == Some(&[byte; 100_000])));
    let sizes = |found: Vec<StoredRollup>| found.iter().map(|r| r.part.as_ref().map(Vec::len)).collect::<Vec<_>>();
    assert_eq!(sizes(read(&rollups, "b", 0).await), [Some(0), None, Some(0)]);
    assert_eq!(sizes(read(&rollups, "c", 0).await), [Some(6), None, Some(8)]);
    let other = TenantId::new("acme").expect("a name");
    let query = RollupQuery { hours: 0..=100, part: "a", newest_file: 0, around_ns: 0 };
    assert!(rollups.read(&other, &query).await.expect("an answer").is_empty());

    rollups.forget(&tenant, &[7]).await.expect("it is forgotten");
    rollups.advance(&tenant, &head(5, 9)).await.expect("it is noted");
    assert_eq!(read(&rollups, "", 0).await.iter().map(|r| r.head).collect::<Vec<_>>(), [head(5, 9), head(6, 3)]);
    // A part that was changed, and a row.
    change(dir.path(), "UPDATE orrery_rollup_part SET body = zeroblob(length(body)) WHERE hour = 6").await;
    assert_eq!(read(&rollups, "a", 0).await.len(), 1);
    change(dir.path(), "UPDATE orrery_rollup SET rows = 21 WHERE hour = 5").await;
    // Of the other hour that part was not kept, so no damage of it shows.
    assert_eq!(read(&rollups, "c", 0).await.iter().map(|r| r.head).collect::<Vec<_>>(), [head(6, 3)]);
}

#[tokio::test]
async fn flushes_overtake_the_hours_that_they_bring_spans_of_and_merges_do_not() {
    let dir = tempfile::tempdir().expect("a folder");
    let lake = Arc::new(Lake::open(dir.path()).await.expect("a new lake"));
    let (rollups, tenant) = (lake.rollups(), TenantId::default());
    let middle = HOUR_OF_START * HOUR + HOUR / 2;
    flush(&lake, 1, middle).await;
    flush(&lake, 2, middle + SECOND).await;
    let through = newest(&lake);
    for hour in HOUR_OF_START - 1..=HOUR_OF_START + 2 {
        rollups.save(&tenant, &head(hour, through), &[]).await.expect("it is kept");
    }
    let overtaken = async |newest: i64| {
        let all = read(&rollups, "", newest).await;
        all.iter().filter(|r| r.is_overtaken).map(|r| r.head.hour - HOUR_OF_START).collect::<Vec<_>>()
    };
    assert_eq!(overtaken(newest(&lake)).await, [0; 0]);
    let config = CompactionConfig { floor_free_bytes: 0, ..CompactionConfig::default() };
    assert_eq!(lake.compact(&config).await.expect("it merges").merges, 1);
    assert_eq!(overtaken(newest(&lake)).await, [0; 0], "a merge brings nothing");

    flush(&lake, 3, middle).await;
    assert_eq!(overtaken(newest(&lake)).await, [0]);
    assert_eq!(overtaken(through).await, [0; 0], "who sees the older files does not see it");
    assert_eq!(lake.compact(&config).await.expect("it merges").merges, 1);
    assert_eq!(overtaken(newest(&lake)).await, [0], "though it was merged with what was there");
    rollups.save(&tenant, &head(HOUR_OF_START, newest(&lake)), &[]).await.expect("it is kept");

    // Within the minutes around the next hour's beginning both hours are overtaken.
    flush(&lake, 4, (HOUR_OF_START + 1) * HOUR + 60 * SECOND).await;
    assert_eq!(overtaken(newest(&lake)).await, [0, 1]);
    flush(&lake, 5, (HOUR_OF_START - 1) * HOUR).await;
    assert_eq!(overtaken(newest(&lake)).await, [-1, 0, 1]);
    rollups.forget_files(&tenant, HOUR_OF_START + 2, newest(&lake)).await.expect("they are forgotten");
    assert_eq!(overtaken(newest(&lake)).await, [0; 0]);
}
