//! Every check and every test of the project in one go: what CI runs. Ends with one line, `N passed, N failed`, summed
//! over all of them. A failing part never keeps the later ones from running.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::process::{cargo, run as start, run_lines};
use crate::{alertmanager, browser, build_binary, dashboard, features, house};

/// How many passed and how many failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
}

impl Tally {
    fn one(succeeded: bool) -> Self {
        if succeeded { Self { passed: 1, failed: 0 } } else { Self { passed: 0, failed: 1 } }
    }
}

/// A part's name, as given on the command line, and what it runs.
type Part = (&'static str, fn() -> Result<Tally>);

const PARTS: [Part; 5] = [
    ("format", format),
    ("house", house_checks),
    ("clippy", clippy),
    ("cargo", cargo_tests),
    ("browser", browser::run),
];

pub fn run_parts(names: &[String]) -> Result<Vec<Part>> {
    if let Some(unknown) = names.iter().find(|name| PARTS.iter().all(|(part, _)| part != name)) {
        bail!("there is no part {unknown:?}; the parts are format, house, clippy, cargo, browser");
    }
    Ok(PARTS.into_iter().filter(|(name, _)| names.is_empty() || names.iter().any(|n| n == name)).collect())
}

pub fn run(names: &[String]) -> Result<ExitCode> {
    let parts = run_parts(names)?;
    let mut rows: Vec<(&str, Tally, Duration)> = Vec::new();
    if parts.iter().any(|(name, _)| matches!(*name, "clippy" | "cargo" | "browser")) {
        let started = Instant::now();
        let built = dashboard::build();
        report("dashboard", built.as_ref().err());
        rows.push(("dashboard", Tally::one(built.is_ok()), started.elapsed()));
    }
    for (name, part) in parts {
        eprintln!("\n== {name}");
        let started = Instant::now();
        let tally = part().unwrap_or_else(|error| {
            report(name, Some(&error));
            Tally::one(false)
        });
        rows.push((name, tally, started.elapsed()));
    }
    println!("\n{:<12} {:>8} {:>8} {:>10}", "part", "passed", "failed", "time");
    let mut sum = Tally::default();
    for (name, tally, time) in rows {
        println!("{name:<12} {:>8} {:>8} {:>9}s", tally.passed, tally.failed, time.as_secs());
        sum.passed += tally.passed;
        sum.failed += tally.failed;
    }
    println!("{} passed, {} failed", sum.passed, sum.failed);
    Ok(if sum.failed == 0 && sum.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn report(name: &str, error: Option<&anyhow::Error>) {
    if let Some(error) = error {
        eprintln!("{name}: {error:#}");
    }
}

fn format() -> Result<Tally> {
    Ok(Tally::one(start("cargo fmt", cargo().args(["fmt", "--all", "--check"])).is_ok()))
}

fn house_checks() -> Result<Tally> {
    let mut tally = Tally::default();
    for complaints in [house::check()?, features::check()?] {
        for complaint in &complaints {
            eprintln!("{complaint}");
        }
        let one = Tally::one(complaints.is_empty());
        tally.passed += one.passed;
        tally.failed += one.failed;
    }
    Ok(tally)
}

fn clippy() -> Result<Tally> {
    let mut command = cargo();
    command.args(["clippy", "--locked", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    Ok(Tally::one(start("cargo clippy", &mut command).is_ok()))
}

fn cargo_tests() -> Result<Tally> {
    build_binary()?;
    let mut tally = Tally::default();
    let mut command = cargo();
    command.args(["test", "--locked", "--release", "--workspace", "--no-fail-fast"]);
    if let Some(path) = alertmanager::find() {
        command.env("ALERTMANAGER", path);
    }
    let succeeded = run_lines("cargo test", &mut command, |line| {
        if let Some(counted) = result_line(line) {
            tally.passed += counted.passed;
            tally.failed += counted.failed;
        }
    })?;
    // A test that does not compile, or a harness that crashes, prints no result line.
    if !succeeded && tally.failed == 0 {
        tally.failed = 1;
    }
    Ok(tally)
}

/// The counts of a test harness's `test result: ok. 12 passed; 0 failed; …`.
fn result_line(line: &str) -> Option<Tally> {
    let (_, counts) = line.split_once("test result: ")?.1.split_once(". ")?;
    let mut tally = Tally::default();
    for count in counts.split("; ") {
        match count.split_once(' ') {
            Some((n, "passed")) => tally.passed = n.parse().ok()?,
            Some((n, "failed")) => tally.failed = n.parse().ok()?,
            _ => {}
        }
    }
    Some(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s";
        assert_eq!(result_line(line), Some(Tally { passed: 12, failed: 3 }));
        assert_eq!(result_line("running 12 tests"), None);
    }

    #[test]
    fn parts_are_chosen_by_name() {
        let chosen = run_parts(&["house".to_owned()]).expect("house is a part");
        assert_eq!(chosen.len(), 1);
        assert!(run_parts(&["nothing".to_owned()]).is_err());
    }
}
