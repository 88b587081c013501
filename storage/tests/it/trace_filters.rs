//! Asking the trace filters of a lake's files: in memory or not, the answers are the same, and the memory is bounded.

use arrow::array::AsArray;
use orrery_model::{Signal, TenantId, table};
use orrery_storage::{FileFilter, Lake, SealedBatch};

use crate::support::{self, SECOND, START, Seed};

const FILES: usize = 12;
const ROWS: usize = 4_000;

#[tokio::test]
async fn filters_answer_alike_from_memory_and_from_the_catalog_and_stay_within_their_bound() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut present: Vec<String> = Vec::new();
    {
        let lake = Lake::open(dir.path()).await.expect("a new lake");
        for file in 0..FILES {
            let batch = support::load_b(&mut Seed(file as u64), ROWS, START + file as i64 * SECOND);
            let ids = batch.column(table(Signal::Spans).index_of("trace_id")).as_string::<i32>();
            present.push(ids.value(ROWS / 2).to_owned());
            let sealed = SealedBatch { tenant: TenantId::default(), table: Signal::Spans.into(), batch };
            lake.flush(file as u64 + 1, file as u64 + 1, vec![sealed]).await.expect("a flush");
        }
        lake.close().await.expect("it closes");
    }
    let lake = Lake::open(dir.path()).await.expect("the same lake");
    let files = lake.view().files(&TenantId::default(), Signal::Spans);
    let bytes: u64 = files.iter().filter_map(|file| file.trace_filter.as_ref()).map(FileFilter::size_bytes).sum();
    assert!(bytes > 5_000, "{bytes} bytes of filters are too few to tell anything");
    for bound in [0, bytes as usize / 3, 1 << 20] {
        let filters = lake.trace_filters(bound);
        for round in 0..3 {
            for (i, id) in present.iter().enumerate() {
                let found = filters.may_hold(&files, &[id]).await.expect("the catalog can be read");
                assert!(found[i], "round {round}: the trace of file {i} is not found");
                assert!(found.iter().filter(|found| **found).count() <= 2, "round {round}: {found:?}");
            }
            let absent = filters.may_hold(&files, &["0123456789abcdef0123456789abcdef"]).await.expect("an answer");
            assert!(absent.iter().filter(|found| **found).count() <= 1, "round {round}: {absent:?}");
            let two = filters.may_hold(&files, &[&present[3], &present[7]]).await.expect("an answer");
            assert!(two[3] && two[7]);
            assert!(filters.bytes() <= bound as u64, "{} bytes are held of {bound}", filters.bytes());
        }
        assert!(bound < bytes as usize || filters.bytes() >= bytes, "what fits is held");
    }
    let url = format!("sqlite://{}", dir.path().join("catalog.sqlite").display());
    use sqlx::Connection;
    let mut connection = sqlx::SqliteConnection::connect(&url).await.expect("the catalog");
    // A flipped bit must not hide a trace.
    sqlx::query("UPDATE orrery_trace_filter SET filter = zeroblob(length(filter)) WHERE data_file_id = $1")
        .bind(files[5].id)
        .execute(&mut connection)
        .await
        .expect("it is changed");
    let refused = lake.trace_filters(1 << 20).may_hold(&files, &[&present[5]]).await;
    assert!(refused.is_err_and(|e| e.to_string().contains("trace filter")), "damage is an error");
    // A filter that the catalog does not have any more rules nothing out.
    let filters = lake.trace_filters(1 << 20);
    sqlx::query("DELETE FROM orrery_trace_filter").execute(&mut connection).await.expect("it is deleted");
    let found = filters.may_hold(&files, &[&present[0]]).await.expect("an answer");
    assert_eq!(found, vec![true; FILES]);
}

#[tokio::test]
async fn files_of_a_table_without_traces_may_hold_any() {
    let dir = tempfile::tempdir().expect("a folder");
    let lake = Lake::open(dir.path()).await.expect("a new lake");
    let batch = support::metrics(&mut Seed(1), 100, 5, START);
    let sealed = vec![SealedBatch { tenant: TenantId::default(), table: Signal::Metrics.into(), batch }];
    let view = lake.flush(1, 1, sealed).await.expect("a flush");
    let files = view.files(&TenantId::default(), Signal::Metrics);
    let found = lake.trace_filters(0).may_hold(&files, &["0123456789abcdef0123456789abcdef"]).await;
    assert_eq!(found.expect("an answer"), [true]);
}
