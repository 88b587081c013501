//! The project's own tasks, `cargo xtask <task>`: build the dashboard, build and start the server, run every test. Never
//! part of the product, and never called by a build script.

mod alertmanager;
mod browser;
mod dashboard;
mod features;
mod house;
mod process;
mod test;
mod torture;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

const USAGE: &str = "\
usage: cargo xtask <task>
  run [ARGS…]    build the dashboard and the release binary, then start `orrery ARGS…`
  dashboard      build the dashboard into ui/dist
  test [PART…]   every check and test; the parts are: format, house, clippy, cargo, browser
  torture [--seed N] [--only NAME]… [--sample]
                 power cuts, failing syncs, full disks, flipped bits, kills and races at full size
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.first().map(String::as_str) {
        Some("run") => run(&args[1..]),
        Some("dashboard") => dashboard::build().map(|()| ExitCode::SUCCESS),
        Some("test") => test::run(&args[1..]),
        Some("torture") => torture::run(&args[1..]),
        Some("help" | "--help" | "-h") => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            eprint!("{USAGE}");
            Ok(ExitCode::from(2))
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}

/// Builds everything and becomes the server, so that a signal reaches it.
fn run(args: &[String]) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    dashboard::build()?;
    let binary = build_binary()?;
    let error = Command::new(&binary).args(args).exec();
    Err(error).with_context(|| format!("start {}", binary.display()))
}

/// Builds the release binary and returns its path.
fn build_binary() -> Result<PathBuf> {
    process::run("cargo build", process::cargo().args(["build", "--release", "--package", "orrery"]))?;
    Ok(target_dir().join("release/orrery"))
}

/// The workspace's folder.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("xtask lies two folders below the workspace")
}

/// Where cargo puts what it builds.
fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}
