//! What alerting keeps is there after whatever ended the process, and beside the flushes of the lake.

use std::sync::Arc;

use orrery_model::{TableName, TenantId};
use orrery_storage::{AlertChanges, AlertState, Kept, KeptAlert, Lake, SealedBatch};

use crate::support::{self, START, Seed};

fn alert(rule: &str, fingerprint: &str, state: &str) -> KeptAlert {
    KeptAlert { rule: rule.to_owned(), fingerprint: fingerprint.to_owned(), state: state.to_owned() }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test]
async fn what_was_kept_is_there_again() {
    let dir = tempfile::tempdir().expect("a folder");
    assert!(AlertState::open(dir.path()).await.is_err(), "there is no lake");
    let lake = Lake::open(dir.path()).await.expect("a new lake");
    let state = AlertState::open(dir.path()).await.expect("its database");
    assert_eq!(state.load().await.expect("nothing"), Kept::default());
    let first = AlertChanges {
        put: vec![alert("a", "1", "pending"), alert("a", "2", "pending"), alert("b", "1", "firing")],
        history: texts(&["one", "two", "three"]),
        evaluated: vec![("group".to_owned(), START)],
        ..AlertChanges::default()
    };
    state.apply(&first).await.expect("kept");
    let second = AlertChanges {
        put: vec![alert("a", "1", "firing")],
        remove: vec![("a".to_owned(), "2".to_owned()), ("b".to_owned(), "9".to_owned())],
        history: texts(&["four"]),
        evaluated: vec![("group".to_owned(), START + 1)],
    };
    state.apply(&second).await.expect("kept");
    let expected = Kept {
        alerts: vec![alert("a", "1", "firing"), alert("b", "1", "firing")],
        last_evaluations: [("group".to_owned(), START + 1)].into(),
    };
    assert_eq!(state.load().await.expect("read"), expected);

    let history = state.history(2).await.expect("read");
    assert_eq!(history.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    state.forget_history(history[1].0).await.expect("forgotten");

    // Dropped, not closed.
    drop((state, lake));
    let _lake = Lake::open(dir.path()).await.expect("the same lake");
    let state = AlertState::open(dir.path()).await.expect("its database");
    assert_eq!(state.load().await.expect("read"), expected);
    let left: Vec<_> = state.history(10).await.expect("read").into_iter().map(|(_, text)| text).collect();
    assert_eq!(left, ["three", "four"]);
}

#[test]
fn later_changes_replace_earlier_ones() {
    let mut changes = AlertChanges {
        put: vec![alert("a", "1", "pending"), alert("a", "2", "pending")],
        remove: vec![("a".to_owned(), "3".to_owned())],
        history: texts(&["one"]),
        evaluated: vec![("g".to_owned(), 1), ("h".to_owned(), 1)],
    };
    changes.extend(AlertChanges {
        put: vec![alert("a", "3", "firing"), alert("a", "1", "firing")],
        remove: vec![("a".to_owned(), "2".to_owned())],
        history: texts(&["two"]),
        evaluated: vec![("g".to_owned(), 2)],
    });
    assert_eq!(changes.put, [alert("a", "3", "firing"), alert("a", "1", "firing")]);
    assert_eq!(changes.remove, [("a".to_owned(), "2".to_owned())]);
    assert_eq!(changes.history, ["one", "two"]);
    assert_eq!(changes.evaluated, [("h".to_owned(), 1), ("g".to_owned(), 2)]);
}

/// Two writers of one database: neither waits so long that it fails, neither loses anything.
#[tokio::test(flavor = "multi_thread")]
async fn keeping_goes_on_beside_flushes() {
    const ROUNDS: u64 = 60;
    let dir = tempfile::tempdir().expect("a folder");
    let lake = Arc::new(Lake::open(dir.path()).await.expect("a new lake"));
    let state = AlertState::open(dir.path()).await.expect("its database");
    let flushes = tokio::spawn({
        let lake = Arc::clone(&lake);
        async move {
            for sequence in 1..=ROUNDS {
                let batch = support::alerts(&mut Seed(sequence), 10, START);
                let sealed = SealedBatch { tenant: TenantId::default(), table: TableName::Alerts, batch };
                lake.flush(sequence, sequence, vec![sealed]).await.expect("a flush");
            }
        }
    });
    for round in 0..ROUNDS {
        let changes = AlertChanges {
            put: vec![alert("a", &round.to_string(), "firing")],
            history: vec![round.to_string()],
            ..AlertChanges::default()
        };
        state.apply(&changes).await.expect("kept");
    }
    flushes.await.expect("the flushes ended");
    assert_eq!(state.load().await.expect("read").alerts.len() as u64, ROUNDS);
    assert_eq!(state.history(1_000).await.expect("read").len() as u64, ROUNDS);
    assert_eq!(
        lake.view().files(&TenantId::default(), TableName::Alerts).iter().map(|f| f.rows).sum::<u64>(),
        10 * ROUNDS
    );
}
