//! `orrery lake`: asks a running server what it holds, or to flush, merge, drop or verify, and for columns of attribute keys;
//! verifies the folder of one that does not run. What is wrong is in the exit code, too.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use orrery_model::SystemClock;
use orrery_storage::{DataLock, Verified};
use serde_json::{Map, Value};

use super::columns;
use crate::cli::{LakeCommand, Target};
use crate::client::Client;
use crate::say::say;

pub fn run(command: &LakeCommand) -> Result<ExitCode> {
    match command {
        LakeCommand::Status(target) => show(client(target)?.get("/api/v1/lake/status")?),
        LakeCommand::Flush(target) => show(post(target, "flush")?),
        LakeCommand::Compact(target) => show(post(target, "compact")?),
        LakeCommand::Expire(target) => show(post(target, "expire")?),
        LakeCommand::Verify(flags) => {
            let verified = match &flags.data_dir {
                Some(dir) => verify_folder(dir)?,
                None => serde_json::from_reader(post(&flags.target, "verify")?)?,
            };
            Ok(tell(&verified))
        }
        LakeCommand::Promote(flags) => columns::promote(flags),
        LakeCommand::Demote(flags) => columns::demote(flags),
        LakeCommand::Columns(target) => columns::list(target),
    }
}

/// One line a value of the answer.
fn show(answer: ureq::BodyReader<'static>) -> Result<ExitCode> {
    let answer: Map<String, Value> = serde_json::from_reader(answer)?;
    for (name, value) in &answer {
        say!("{name:<18} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    // What a merge could not do is in the answer; a script must not take it for done.
    let failed = answer.get("failures").and_then(Value::as_array).is_some_and(|failures| !failures.is_empty());
    let waits = answer.get("put_off").and_then(Value::as_u64).is_some_and(|put_off| put_off > 0);
    Ok(if failed || waits { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn verify_folder(dir: &Path) -> Result<Verified> {
    let _lock = DataLock::take(dir, &SystemClock).context("without --data-dir, the server that runs there verifies")?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().context("start a thread")?;
    // Nobody writes: every file that the catalog does not name is an orphan.
    Ok(runtime.block_on(orrery_storage::verify(dir, Duration::ZERO, || true))?)
}

/// Problems first, as they were found, then the counts.
fn tell(verified: &Verified) -> ExitCode {
    for problem in &verified.problems {
        say!("{}: {}", problem.place, problem.problem);
    }
    for orphan in &verified.orphans {
        say!("{orphan}: not in the catalog; the server removes it");
    }
    for (name, count) in [
        ("files", verified.files),
        ("rows", verified.rows),
        ("bytes", verified.bytes),
        ("orphans", verified.orphan_count),
        ("problems", verified.problem_count),
    ] {
        say!("{name:<18} {count}");
    }
    if verified.problem_count == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn post(target: &Target, verb: &str) -> Result<ureq::BodyReader<'static>> {
    client(target)?.post(&format!("/api/v1/lake/{verb}"), "", "application/json")
}

fn client(target: &Target) -> Result<Client> {
    Client::new(&target.endpoint, &target.credentials)
}
