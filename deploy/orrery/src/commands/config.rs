//! `orrery config`: whether the configuration is good, and the hash of a token.

use std::io::Read;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use orrery_alert::notify::Notifiers;

use crate::auth;
use crate::cli::{ConfigCommand, ServerFlags};
use crate::config::Notifier;

pub fn run(command: &ConfigCommand) -> Result<ExitCode> {
    match command {
        ConfigCommand::Check(flags) => check(flags),
        ConfigCommand::HashToken => hash_token(),
    }
}

/// Shows what all layers come to, without hashes and secrets.
fn check(flags: &ServerFlags) -> Result<ExitCode> {
    let config = super::configuration(flags)?;
    let notifiers: Vec<_> = config.notifiers.iter().map(Notifier::config).collect();
    Notifiers::check(&notifiers)?;
    println!("data_dir       {}", config.data_dir.display());
    println!("http           {}", config.http);
    println!("otlp_grpc      {}", config.otlp_grpc);
    println!("otlp_http      {}", config.otlp_http);
    println!("tls            {}", if config.tls.is_some() { "on" } else { "off" });
    for token in &config.tokens {
        println!("token          {} ({:?} of tenant {})", token.name, token.role, token.tenant);
    }
    for pattern in &config.rules {
        println!("rules          {pattern}");
    }
    for notifier in &config.notifiers {
        println!("notifier       {} ({})", notifier.name(), notifier.kind());
    }
    println!("memtable       {}, flushed after {}", config.storage.memtable, config.storage.flush_age);
    let merges = &config.compaction;
    let merged = format!(
        "into files of {} to {}, files they replace kept {:?}",
        merges.target_size,
        merges.max_size,
        config.grace()
    );
    println!("compaction     {}", if merges.enabled { &merged } else { "off" });
    println!("retention      {}", config.retention);
    for table in &config.retention.tables {
        println!("retention      {table}");
    }
    println!("query          {} of memory, {} at most", config.query.memory, config.query.deadline);
    println!("the configuration is good");
    Ok(ExitCode::SUCCESS)
}

fn hash_token() -> Result<ExitCode> {
    let mut token = String::new();
    std::io::stdin().read_to_string(&mut token)?;
    let token = token.trim_end_matches(['\r', '\n']);
    ensure!(
        !token.is_empty(),
        "give the token on standard input, for example: openssl rand -hex 32 | tee token | orrery config hash-token"
    );
    ensure!(token.is_ascii() && !token.contains(char::is_whitespace), "a token is printable ASCII without spaces");
    println!("{}", auth::hash(token));
    Ok(ExitCode::SUCCESS)
}
