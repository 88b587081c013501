//! What notifiers keep: there after a crash, all of a change or none, and beside flushes of the lake.

use orrery_model::{Signal, TenantId};
use orrery_storage::{Lake, NotifierState, SealedBatch};

use crate::support::{self, START, Seed};

fn entry(name: &str, state: &str) -> (String, Option<String>) {
    (name.to_owned(), Some(state.to_owned()))
}

fn kept(entries: &[(&str, &str)]) -> Vec<(String, String)> {
    entries.iter().map(|(name, state)| ((*name).to_owned(), (*state).to_owned())).collect()
}

#[tokio::test]
async fn entries_are_written_replaced_removed_and_there_after_a_crash() {
    let dir = tempfile::tempdir().expect("a folder");
    assert!(NotifierState::open(dir.path()).await.is_err(), "there is no catalog yet");
    let lake = Lake::open(dir.path()).await.expect("a new lake");
    let state = NotifierState::open(dir.path()).await.expect("the lake is open");
    assert_eq!(state.load().await.expect("read"), []);
    state.save(&[entry("a/x", "{}"), entry("a/", "1"), entry("b/é\"", "2")]).await.expect("written");
    state.save(&[entry("a/x", "{\"n\":2}"), ("a/".to_owned(), None), ("c/".to_owned(), None)]).await.expect("written");
    // As a kill would leave it: nothing is closed in order.
    std::mem::forget((lake, state));
    let _lake = Lake::open(dir.path()).await.expect("the same lake");
    let state = NotifierState::open(dir.path()).await.expect("the lake is open");
    assert_eq!(state.load().await.expect("read"), kept(&[("a/x", "{\"n\":2}"), ("b/é\"", "2")]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_and_flushes_do_not_get_into_each_others_way() {
    let dir = tempfile::tempdir().expect("a folder");
    let lake = Lake::open(dir.path()).await.expect("a new lake");
    let state = NotifierState::open(dir.path()).await.expect("the lake is open");
    let writes = async {
        for n in 0..200 {
            state.save(&[entry("a/x", &n.to_string()), entry(&format!("a/{n}"), "{}")]).await.expect("written");
        }
    };
    let flushes = async {
        for n in 1..=20 {
            let batch = support::load_b(&mut Seed(n), 10, START);
            let sealed = SealedBatch { tenant: TenantId::default(), table: Signal::Spans.into(), batch };
            lake.flush(n, n, vec![sealed]).await.expect("a flush");
        }
    };
    tokio::join!(writes, flushes);
    assert_eq!(state.load().await.expect("read").len(), 201);
    assert_eq!(lake.flushed_sequence(), 20);
}
