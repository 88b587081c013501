//! `orrery config`: whether the configuration is good, and the hash of a token.

use std::io::Read;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use orrery_alert::notify::Notifiers;

use crate::auth;
use crate::cli::{ConfigCommand, ServerFlags};
use crate::config::Notifier;
use crate::say::say;

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
    say!("data_dir       {}", config.data_dir.display());
    say!("http           {}", config.http);
    say!("otlp_grpc      {}", config.otlp_grpc);
    say!("otlp_http      {}", config.otlp_http);
    say!("tls            {}", if config.tls.is_some() { "on" } else { "off" });
    for token in &config.tokens {
        say!("token          {} ({:?} of tenant {})", token.name, token.role, token.tenant);
    }
    for pattern in &config.rules {
        say!("rules          {pattern}");
    }
    for notifier in &config.notifiers {
        say!("notifier       {} ({})", notifier.name(), notifier.kind());
    }
    say!("memtable       {}, flushed after {}", config.storage.memtable, config.storage.flush_age);
    let merges = &config.compaction;
    let merged = format!(
        "into files of {} to {}, files they replace kept {:?}",
        merges.target_size,
        merges.max_size,
        config.grace()
    );
    say!("compaction     {}", if merges.enabled { &merged } else { "off" });
    say!("retention      {}", config.retention);
    for table in &config.retention.tables {
        say!("retention      {table}");
    }
    say!("query          {} of memory, {} at most", config.query.memory, config.query.deadline);
    say!("the configuration is good");
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
    say!("{}", auth::hash(token));
    Ok(ExitCode::SUCCESS)
}
