//! One file a command. This one only says which.

mod columns;
mod config;
mod demo;
mod lake;
mod rules;
mod serve;
mod sql;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Result;

use crate::cli::{Cli, Command, ServerFlags};
use crate::config::Config;
use crate::import;

pub fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        None => serve::run(&cli.serve),
        Some(Command::Serve(flags)) => serve::run(&flags),
        Some(Command::Demo(flags)) => demo::run(&flags),
        Some(Command::Import(flags)) => import::run(&flags),
        Some(Command::Sql(flags)) => sql::run(&flags),
        Some(Command::Config(command)) => config::run(&command),
        Some(Command::Lake(command)) => lake::run(&command),
        Some(Command::Rules(command)) => rules::run(&command),
    }
}

/// All layers of the configuration, for commands that start a server.
fn configuration(flags: &ServerFlags) -> Result<Config> {
    let variables: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let path = flags.config.clone().or_else(|| variables.get("ORRERY_CONFIG").map(Into::into));
    Ok(crate::config::load(path.as_deref(), &variables, &flags.settings()?)?)
}
