//! `orrery rules`: what can be said of rule files before a server evaluates them. One file a command.

mod backtest;
mod check;
mod rows;
mod unit;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use orrery_alert::memory::MemoryLake;
use orrery_alert::rules::{self, Checked, Fault, RuleFile};
use orrery_model::{Identity, SystemClock};
use orrery_query::{Engine, QueryConfig};
use tempfile::TempDir;

use crate::cli::RulesCommand;

pub fn run(command: &RulesCommand) -> Result<ExitCode> {
    match command {
        RulesCommand::Check(flags) => check::run(&flags.files),
        RulesCommand::Test(flags) => unit::run(&flags.files),
        RulesCommand::Backtest(flags) => backtest::run(flags),
    }
}

/// An engine over a lake in memory, for planning and for tests.
struct Bench {
    runtime: tokio::runtime::Runtime,
    lake: Arc<MemoryLake>,
    engine: Arc<Engine>,
    _spill: TempDir,
}

/// A rule file that can be evaluated.
struct Planned {
    file: RuleFile,
    /// Group by group, in the order of the file.
    queries: Vec<Vec<Checked>>,
}

impl Bench {
    fn new() -> Result<Self> {
        let spill = tempfile::tempdir().context("make a folder for queries that spill")?;
        let lake = Arc::new(MemoryLake::default());
        let config = QueryConfig { temp_dir: spill.path().to_owned(), ..QueryConfig::default() };
        let engine = Engine::new(Arc::clone(&lake) as _, config, Arc::new(SystemClock))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a thread")?;
        Ok(Self { runtime, lake, engine, _spill: spill })
    }

    /// Reads and plans a rule file; `Err` within is what is wrong with it.
    fn plan(&self, path: &Path) -> Result<Result<Planned, Vec<Fault>>> {
        let read = rules::find::text(path).map_err(|fault| vec![fault]);
        let file = match read.and_then(|text| rules::file::parse(&text)) {
            Ok(file) => file,
            Err(faults) => return Ok(Err(faults)),
        };
        let planned = self.runtime.block_on(async {
            let session = self.engine.session(&Identity::default()).await.map_err(Err)?;
            rules::check::check_file(&session, &file).await
        });
        match planned {
            Ok(queries) => Ok(Ok(Planned { file, queries })),
            Err(Ok(faults)) => Ok(Err(faults)),
            Err(Err(error)) => Err(error.into()),
        }
    }
}

/// As compilers say it, so that editors find the place.
fn complain(path: &Path, fault: &Fault) {
    eprintln!("{}:{}:{}: {}", path.display(), fault.at.line, fault.at.column, fault.message);
}

/// A file's path as another file beside it names it.
fn beside(file: &Path, named: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(named)
}
