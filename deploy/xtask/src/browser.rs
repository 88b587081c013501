//! The dashboard's tests: Playwright in Chromium against the real binary on ports of its own, with data of its own.
//! Installs Chromium and the npm packages where they are missing. Never touches a server that was already running.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::process::{on_path, output, run as start};
use crate::test::Tally;
use crate::{build_binary, root, target_dir};

const CHROMIUM: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

pub fn run() -> Result<Tally> {
    let tests = &root().join("ui/tests");
    let chromium = chromium()?;
    ensure!(on_path("npm"), "npm is missing; install Node.js 20 or later");
    if !up_to_date(tests) {
        start(
            "npm ci",
            Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(tests).envs(NO_DOWNLOAD),
        )?;
    }
    let server = Server::start(&build_binary()?)?;
    let results = target_dir().join("playwright-results.json");
    let _ = fs::remove_file(&results);
    let mut command = Command::new("npx");
    command
        .args(["playwright", "test", "--reporter=list,json"])
        .current_dir(tests)
        .envs(NO_DOWNLOAD)
        .env("PLAYWRIGHT_JSON_OUTPUT_NAME", &results)
        .env("CHROMIUM", chromium)
        .env("ORRERY_URL", &server.dashboard)
        .env("ORRERY_OTLP_HTTP_URL", &server.otlp_http)
        .env("ORRERY_OTLP_GRPC_URL", &server.otlp_grpc)
        .env("ORRERY_UI_RESULTS", target_dir().join("playwright"))
        .env("ORRERY_SHARED", std::env::var_os("ORRERY_SHARED").unwrap_or_else(|| root().join("../shared").into()));
    let outcome = start("playwright", &mut command);
    let text = fs::read_to_string(&results).context("playwright left no results")?;
    let tally = counts(&serde_json::from_str(&text)?);
    if tally.failed == 0 {
        outcome?;
    }
    Ok(tally)
}

/// Playwright would fetch browsers of its own.
const NO_DOWNLOAD: [(&str, &str); 1] = [("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1")];

fn counts(results: &Value) -> Tally {
    let count = |name: &str| results["stats"][name].as_u64().unwrap_or(0);
    Tally { passed: count("expected") + count("flaky"), failed: count("unexpected") }
}

/// Whether the installed packages are those of the lock file.
fn up_to_date(tests: &Path) -> bool {
    let modified = |path: PathBuf| fs::metadata(path).and_then(|meta| meta.modified()).ok();
    match (modified(tests.join("node_modules/.package-lock.json")), modified(tests.join("package-lock.json"))) {
        (Some(installed), Some(locked)) => installed >= locked,
        _ => false,
    }
}

/// The browser's path: `CHROMIUM`, else one on PATH, else Debian's package.
fn chromium() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("CHROMIUM") {
        return Ok(path.into());
    }
    if let Some(found) = find_chromium() {
        return Ok(found);
    }
    ensure!(
        on_path("apt-get"),
        "Chromium is missing and there is no apt-get to install it; install it and put it on PATH, or name it in CHROMIUM"
    );
    let user = output("id", Command::new("id").arg("-u"))?;
    let apt = |args: &[&str]| {
        let mut command = if user.trim() == "0" { Command::new("apt-get") } else { Command::new("sudo") };
        if user.trim() != "0" {
            command.args(["-n", "apt-get"]);
        }
        command.args(args).env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    run_apt(&mut apt(&["update", "-q"]))?;
    run_apt(&mut apt(&["install", "-q", "-y", "--no-install-recommends", "chromium"]))?;
    find_chromium().context("apt-get installed chromium, but it is not on PATH")
}

fn run_apt(command: &mut Command) -> Result<()> {
    start("installing Chromium", command)
        .context("Chromium is missing and could not be installed; install it as root: apt-get install chromium")
}

fn find_chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    CHROMIUM.iter().flat_map(|name| dirs.iter().map(move |dir| dir.join(name))).find(|file| file.is_file())
}

/// The server under test. Killed, and its data removed, when dropped.
struct Server {
    child: Child,
    data: PathBuf,
    dashboard: String,
    otlp_grpc: String,
    otlp_http: String,
}

impl Server {
    fn start(binary: &Path) -> Result<Self> {
        let data = std::env::temp_dir().join(format!("orrery-browser-{}", std::process::id()));
        let mut child = Command::new(binary)
            .args(["--http", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0"])
            .args(["--log-level", "warn", "--data-dir"])
            .arg(&data)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", binary.display()))?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let mut server =
            Self { child, data, dashboard: String::new(), otlp_grpc: String::new(), otlp_http: String::new() };
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            let Some(url) = line.split_whitespace().last().filter(|word| word.starts_with("http")) else { continue };
            match line.split_whitespace().next() {
                Some("dashboard") => server.dashboard = url.to_owned(),
                Some("OTLP/gRPC") => server.otlp_grpc = url.to_owned(),
                Some("OTLP/HTTP") => server.otlp_http = url.to_owned(),
                _ => {}
            }
            if ![&server.dashboard, &server.otlp_grpc, &server.otlp_http].iter().any(|url| url.is_empty()) {
                return Ok(server);
            }
        }
        bail!("the server ended before it named its addresses")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.data);
    }
}
