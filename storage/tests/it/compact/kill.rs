//! Killed at any step of a merge or an expiry, the lake has every row once, no file too many, and goes on where it was.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::AsArray;
use orrery_model::{TableName, table};
use orrery_storage::fs::RealFileSystem;
use orrery_storage::{Lake, Steps};

use super::{config, files, read, sealed};
use crate::support::{self, SECOND, START, Seed, data_files};

const DIR: &str = "ORRERY_KILL_DIR";
/// The step at which the child kills itself.
const STEP: &str = "ORRERY_KILL_STEP";
const FLUSHES: u64 = 5;
const ROWS: usize = 30;

async fn prepare(dir: &Path) {
    let lake = Lake::open(dir).await.expect("a new lake");
    let mut seed = Seed(1);
    for sequence in 1..=FLUSHES {
        let spans = support::load_b(&mut seed, ROWS, START + sequence as i64 * SECOND);
        let logs = support::logs(&mut seed, ROWS, START + sequence as i64 * SECOND);
        let batches = vec![sealed(TableName::Spans, spans), sealed(TableName::Logs, logs)];
        lake.flush(sequence, sequence, batches).await.expect("a flush");
    }
    lake.close().await.expect("it closes");
}

fn span_ids(lake: &Lake) -> Vec<String> {
    let index = table(TableName::Spans).index_of("span_id");
    let mut ids = Vec::new();
    for file in files(lake, TableName::Spans).iter() {
        let rows = read(TableName::Spans, file);
        ids.extend(rows.column(index).as_string::<i32>().iter().map(|id| id.expect("every span has one").to_owned()));
    }
    ids.sort();
    ids
}

/// The child: merges and expires, and dies at its step.
#[test]
#[ignore = "run by the test below, in a process of its own"]
fn child() {
    let dir = std::env::var(DIR).expect("the parent says where");
    let last: usize = std::env::var(STEP).expect("the parent says when").parse().expect("a number");
    let count = AtomicUsize::new(0);
    let steps = Steps::told_to(move |step| {
        if count.fetch_add(1, Ordering::SeqCst) == last {
            println!("killed: {step}");
            // As from outside: nothing is unwound, nothing is dropped.
            let _ = Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
            std::thread::sleep(Duration::from_secs(60));
        }
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    runtime.block_on(async {
        let lake = Arc::new(Lake::open_told(Path::new(&dir), Arc::new(RealFileSystem), steps).await.expect("the lake"));
        lake.compact(&config()).await.expect("it merges");
        lake.expire(Duration::ZERO).await.expect("it notes the time");
        lake.expire(Duration::ZERO).await.expect("it expires");
    });
}

#[tokio::test]
async fn killed_at_every_step_nothing_is_lost_doubled_or_left_behind() {
    let base = tempfile::tempdir().expect("a folder");
    prepare(base.path()).await;
    let lake = Lake::open(base.path()).await.expect("the lake");
    let all = span_ids(&lake);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), FLUSHES as usize * ROWS);
    lake.close().await.expect("it closes");

    let mut reached = BTreeSet::new();
    for step in 0.. {
        let dir = tempfile::tempdir().expect("a folder");
        let copied = Command::new("cp").arg("-a").arg(base.path().join(".")).arg(dir.path()).status();
        assert!(copied.is_ok_and(|status| status.success()));
        let child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "compact::kill::child", "--ignored", "--nocapture"])
            .env(DIR, dir.path())
            .env(STEP, step.to_string())
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&child.stdout);
        let killed = said.lines().find_map(|line| line.split_once("killed: ")).map(|(_, step)| step.to_owned());

        let lake = Arc::new(Lake::open(dir.path()).await.expect("the lake opens"));
        assert_eq!(span_ids(&lake), all, "killed at {killed:?}");
        let logs: u64 = files(&lake, TableName::Logs).iter().map(|file| file.rows).sum();
        assert_eq!(logs, FLUSHES * ROWS as u64, "killed at {killed:?}");
        let done = lake.compact(&config()).await.expect("it merges");
        assert!(done.failures.is_empty(), "killed at {killed:?}: {:?}", done.failures);
        assert_eq!(span_ids(&lake), all, "killed at {killed:?}, then merged");
        // An expiry needs a newer snapshot than those that it drops.
        lake.flush(FLUSHES + 1, FLUSHES + 1, vec![]).await.expect("an empty flush");
        lake.expire(Duration::ZERO).await.expect("it expires");
        lake.expire(Duration::ZERO).await.expect("it expires");
        let mut live: Vec<String> = [TableName::Spans, TableName::Logs]
            .into_iter()
            .flat_map(|name| files(&lake, name).iter().cloned().collect::<Vec<_>>())
            .map(|file| file.path.file_name().expect("a name").to_string_lossy().into_owned())
            .collect();
        live.sort();
        assert_eq!(data_files(dir.path()), live, "killed at {killed:?}");
        assert_eq!(live.len(), 2);
        match killed {
            Some(step) => reached.insert(step),
            None => {
                assert!(child.status.success(), "{said}\n{}", String::from_utf8_lossy(&child.stderr));
                break;
            }
        };
    }
    println!("killed at {} kinds of steps: {reached:?}", reached.len());
    assert!(reached.len() >= 13, "{reached:?}");
}
