//! `orrery lake`: asks a running server to flush, what it holds, and for columns of attribute keys.

use std::process::ExitCode;

use anyhow::Result;

use super::columns;
use crate::cli::{LakeCommand, Target};
use crate::client::Client;

pub fn run(command: &LakeCommand) -> Result<ExitCode> {
    let answer = match command {
        LakeCommand::Flush(target) => client(target)?.post("/api/v1/lake/flush", "", "application/json")?,
        LakeCommand::Status(target) => client(target)?.get("/api/v1/lake/status")?,
        LakeCommand::Promote(flags) => return columns::promote(flags),
        LakeCommand::Demote(flags) => return columns::demote(flags),
        LakeCommand::Columns(target) => return columns::list(target),
    };
    let answer: serde_json::Map<String, serde_json::Value> = serde_json::from_reader(answer)?;
    for (name, value) in answer {
        println!("{name:<18} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    Ok(ExitCode::SUCCESS)
}

fn client(target: &Target) -> Result<Client> {
    Client::new(&target.endpoint, &target.credentials)
}
