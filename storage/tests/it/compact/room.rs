//! A full disk, for files and for the catalog: the lake stays as it was, and merges when there is room again. In a small
//! file system of memory, mounted in a user namespace; skipped, said aloud, where the system does not allow one.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use orrery_model::TableName;
use orrery_storage::fs::RealFileSystem;
use orrery_storage::{Lake, Steps};

use super::{config, files, sealed};
use crate::support::{self, SECOND, START, Seed, data_files};

const DIR: &str = "ORRERY_FULL_DIR";
/// The step at which the disk is filled.
const STEP: &str = "ORRERY_FULL_STEP";

/// Writes zeros until nothing more fits.
fn fill(dir: &Path) {
    use std::io::Write;
    let mut file = std::fs::File::options().append(true).create(true).open(dir.join("filler")).expect("a file");
    let mut block = 1 << 20;
    while block > 0 {
        match file.write_all(&vec![0; block]) {
            Ok(()) => {}
            Err(_) => block /= 2,
        }
    }
}

#[test]
#[ignore = "run by the test below, in a file system of its own"]
fn child() {
    let dir = std::path::PathBuf::from(std::env::var(DIR).expect("the parent says where"));
    let full_at = std::env::var(STEP).expect("the parent says when");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    runtime.block_on(async {
        let (place, at, filled) = (dir.clone(), full_at.clone(), AtomicBool::new(false));
        let steps = Steps::told_to(move |step| {
            if step == at && !filled.swap(true, Ordering::SeqCst) {
                fill(&place);
            }
        });
        let lake = Arc::new(Lake::open_told(&dir.join("lake"), Arc::new(RealFileSystem), steps).await.expect("a lake"));
        let mut seed = Seed(1);
        for sequence in 1..=8 {
            let batch = support::load_b(&mut seed, 4_000, START + sequence as i64 * SECOND);
            lake.flush(sequence, sequence, vec![sealed(TableName::Spans, batch)]).await.expect("a flush");
        }
        let (before, names) = (files(&lake, TableName::Spans), data_files(&dir.join("lake")));
        let done = lake.compact(&config()).await.expect("it says what became of it");
        let ids = |files: &[Arc<orrery_storage::DataFile>]| files.iter().map(|file| file.id).collect::<Vec<_>>();
        // A commit may find the room that it needs in what SQLite's log has already.
        let names = if done.merges == 1 && full_at != "inputs are open" {
            assert!(done.failures.is_empty(), "{done:?}");
            assert_eq!(files(&lake, TableName::Spans).len(), 1);
            println!("failed: nothing");
            data_files(&dir.join("lake"))
        } else {
            assert_eq!((done.merges, done.failures.len()), (0, 1), "{done:?}");
            assert_eq!(ids(&files(&lake, TableName::Spans)), ids(&before));
            assert_eq!(data_files(&dir.join("lake")), names, "nothing is left of the merge");
            println!("failed: {}", done.failures[0]);
            names
        };

        let late = || vec![sealed(TableName::Spans, support::load_b(&mut Seed(2), 1_000, START))];
        // The merge has given its room back.
        fill(&dir);
        assert!(lake.flush(9, 9, late()).await.is_err(), "there is no room for a flush either");
        assert_eq!(data_files(&dir.join("lake")), names, "nothing is left of the flush");
        std::fs::remove_file(dir.join("filler")).expect("it is there");
        let again = lake.compact(&config()).await.expect("it merges");
        assert_eq!(done.merges + again.merges, 1, "{again:?}");
        lake.flush(9, 9, late()).await.expect("a flush");
        drop(lake);
        let lake = Lake::open(&dir.join("lake")).await.expect("the same lake");
        let rows: Vec<u64> = files(&lake, TableName::Spans).iter().map(|file| file.rows).collect();
        assert_eq!(rows, [32_000, 1_000]);
        println!("done");
    });
}

#[test]
fn a_full_disk_leaves_the_lake_as_it_was() {
    for step in ["inputs are open", "the merge is verified", "files are added"] {
        let dir = tempfile::tempdir().expect("a folder");
        let output = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
            .arg("mount -t tmpfs -o size=16m tmpfs \"$0\" || exit 77; exec \"$1\" --exact compact::room::child --ignored --nocapture")
            .arg(dir.path())
            .arg(std::env::current_exe().expect("this test"))
            .env(DIR, dir.path())
            .env(STEP, step)
            .output();
        let said = match &output {
            Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
            Err(_) => String::new(),
        };
        match output {
            Ok(output) if said.contains("failed: ") => {
                assert!(output.status.success(), "{step}: {said}\n{}", String::from_utf8_lossy(&output.stderr));
                println!("full when {step}: {}", said.lines().find(|line| line.contains("failed")).unwrap_or_default());
            }
            Ok(output) if output.status.code() != Some(77) && !said.is_empty() => {
                panic!("{step}: {said}\n{}", String::from_utf8_lossy(&output.stderr))
            }
            _ => {
                eprintln!("SKIPPED: a full disk: needs unshare(1) with user namespaces and tmpfs");
                return;
            }
        }
    }
}
