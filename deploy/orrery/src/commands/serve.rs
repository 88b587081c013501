//! `orrery serve`: start, say where, wait for a signal, drain.

use std::future::Future;
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::ServerFlags;
use crate::config::Config;
use crate::server::{Addresses, Server, page_in};

pub fn run(flags: &ServerFlags) -> Result<ExitCode> {
    serve(flags, |_| std::future::pending())
}

/// Serves until a signal comes, with something running beside it that is dropped at the stop.
pub fn serve<F: Future<Output = Result<()>>>(
    flags: &ServerFlags,
    beside: impl FnOnce(Addresses) -> F,
) -> Result<ExitCode> {
    let config = super::configuration(flags)?;
    crate::log::start(&config.log)?;
    if let Some(open) = config.public_bind() {
        tracing::warn!(
            lacks = open.lacks,
            "listening on public addresses as asked; other machines can reach this server"
        );
    }
    runtime()?.block_on(until_stopped(&config, beside))
}

fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().thread_name("serve").enable_all().build().context("start threads")
}

async fn until_stopped<F: Future<Output = Result<()>>>(
    config: &Config,
    beside: impl FnOnce(Addresses) -> F,
) -> Result<ExitCode> {
    let mut signals = Signals::new()?;
    let server = tokio::select! {
        started = Server::start(config) => started?,
        name = signals.next() => bail!("stopped by {name} before the lake was open; nothing is lost"),
    };
    tracing::info!(
        data_dir = %config.data_dir.display(),
        http = %server.addresses.http,
        otlp_grpc = %server.addresses.otlp_grpc,
        otlp_http = %server.addresses.otlp_http,
        "ready"
    );
    say(&server.addresses.banner());
    std::thread::spawn(page_in);
    let mut hangups = signal(SignalKind::hangup())?;
    let reloads = async {
        while hangups.recv().await.is_some() {
            tracing::info!("looking at the rule files");
            server.reload();
        }
        std::future::pending::<()>().await;
    };
    let failed = tokio::select! {
        name = signals.next() => {
            tracing::info!(signal = name, "stopping");
            None
        }
        () = reloads => None,
        reason = server.failed() => Some(format!("the lake failed: {reason}")),
        ended = beside(server.addresses.clone()) => ended.err().map(|error| format!("{error:#}")),
    };
    tokio::select! {
        stopped = server.stop() => stopped?,
        name = signals.next() => bail!("stopped at once by a second {name}; what is not in files is in the log"),
    }
    match failed {
        Some(reason) => bail!(reason),
        None => {
            tracing::info!("stopped");
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The banner goes to standard output, where scripts read the addresses; nobody may be reading.
fn say(banner: &str) {
    let mut out = std::io::stdout().lock();
    if out.write_all(banner.as_bytes()).and_then(|()| out.flush()).is_err() {
        tracing::debug!("nobody reads standard output");
    }
}

/// The signals that ask for a stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
