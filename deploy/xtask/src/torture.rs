//! The tests of durability at full size, one after another, from one seed: power cuts, failing calls, full disks, flipped
//! bits, kills, races, a backlog. The tests are those of `cargo xtask test`, which runs a sample of each. Ends with a
//! table of what was done and, for each part that failed, the command that does the same again.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::build_binary;
use crate::process::{cargo, run_lines};

/// A part: its name, its package, and the tests of the package's `it` that it is.
struct Part {
    name: &'static str,
    package: &'static str,
    tests: &'static str,
}

const fn part(name: &'static str, package: &'static str, tests: &'static str) -> Part {
    Part { name, package, tests }
}

const PARTS: [Part; 14] = [
    part("power-log", "orrery-storage", "durability::power::nothing_acknowledged"),
    part("power-files", "orrery-storage", "durability::power::nothing_is_lost"),
    part("sync", "orrery-storage", "durability::syncs::"),
    part("flips-log", "orrery-storage", "durability::flips::"),
    part("flips-files", "orrery-query", "flips::"),
    part("flips-catalog", "orrery-storage", "durability::flips_catalog::"),
    part("disk-log", "orrery", "full_disk::the_log"),
    part("disk-floor", "orrery", "full_disk::ingest_stops"),
    part("disk-keep", "orrery", "full_disk::the_oldest"),
    part("disk-files", "orrery", "full_disk::data_files"),
    part("disk-spill", "orrery", "full_disk::a_query"),
    part("race", "orrery-storage", "compact::race::two_merges"),
    part("kill", "orrery", "kill::"),
    part("backlog", "orrery", "backlog::"),
];

/// What the command line says.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    seed: u32,
    only: Vec<String>,
    full: bool,
}

impl Asked {
    fn parse(args: &[String]) -> Result<Self> {
        let mut asked = Self { seed: random_seed(), only: Vec::new(), full: true };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--seed" => asked.seed = value()?.parse().context("--seed needs a number")?,
                "--only" => asked.only.push(value()?.clone()),
                "--sample" => asked.full = false,
                other => {
                    bail!("{other:?} is not known; usage: cargo xtask torture [--seed N] [--only NAME]… [--sample]")
                }
            }
        }
        if let Some(unknown) = asked.only.iter().find(|name| PARTS.iter().all(|part| part.name != *name)) {
            let names: Vec<_> = PARTS.iter().map(|part| part.name).collect();
            bail!("there is no part {unknown:?}; the parts are {}", names.join(", "));
        }
        Ok(asked)
    }

    fn wants(&self, part: &Part) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == part.name)
    }

    /// What does the same part again.
    fn again(&self, part: &Part) -> String {
        let sample = if self.full { "" } else { " --sample" };
        format!("cargo xtask torture{sample} --seed {} --only {}", self.seed, part.name)
    }
}

/// What came of a part.
struct Done {
    passed: bool,
    /// The lines in which its tests say what they did.
    said: Vec<String>,
    time: Duration,
}

pub fn run(args: &[String]) -> Result<ExitCode> {
    let asked = Asked::parse(args)?;
    println!("seed {}", asked.seed);
    if PARTS.iter().any(|part| part.package == "orrery" && asked.wants(part)) {
        build_binary()?;
    }
    let mut rows = Vec::new();
    for part in PARTS.iter().filter(|part| asked.wants(part)) {
        eprintln!("\n== {}", part.name);
        rows.push((part, run_part(&asked, part)?));
    }
    println!("\ntorture, seed {}, {}:", asked.seed, if asked.full { "full size" } else { "a sample" });
    for (part, done) in &rows {
        let verdict = if done.passed { "passed" } else { "FAILED" };
        println!("{:<12} {verdict} in {} s", part.name, done.time.as_secs());
        for line in &done.said {
            println!("             {line}");
        }
        if !done.passed {
            println!("             again: {}", asked.again(part));
        }
    }
    let failed = rows.iter().filter(|(_, done)| !done.passed).count();
    println!("{} passed, {failed} failed", rows.len() - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_part(asked: &Asked, part: &Part) -> Result<Done> {
    let started = Instant::now();
    let mut command = cargo();
    command.args(["test", "--locked", "--release", "--package", part.package, "--test", "it", "--"]);
    command.args(["--nocapture", "--test-threads=1", part.tests]);
    command.env("ORRERY_TORTURE", if asked.full { "full" } else { "sample" });
    command.env("ORRERY_SEED", asked.seed.to_string());
    let mut said = Vec::new();
    let mut ran = false;
    let prefix = format!("torture {}: ", part.name);
    let passed = run_lines(part.name, &mut command, |line| {
        // The test harness writes the test's name into the same line.
        if let Some((_, text)) = line.split_once(&prefix) {
            ran = true;
            if !text.starts_with("seed ") {
                said.push(text.to_owned());
            }
        }
    })?;
    if passed && !ran {
        said.push(format!("no test of this name ran: {} of {}", part.tests, part.package));
    }
    Ok(Done { passed: passed && ran, said, time: started.elapsed() })
}

fn random_seed() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    // The lower half of a hash is as random as the whole.
    RandomState::new().hash_one("seed") as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Asked> {
        Asked::parse(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn seed_and_parts_are_taken_and_given_back() {
        let asked = parse(&["--seed", "17", "--only", "sync", "--sample"]).expect("well formed");
        assert_eq!(asked, Asked { seed: 17, only: vec!["sync".to_owned()], full: false });
        let wanted: Vec<_> = PARTS.iter().filter(|part| asked.wants(part)).collect();
        assert_eq!(wanted.len(), 1);
        assert_eq!(asked.again(wanted[0]), "cargo xtask torture --sample --seed 17 --only sync");
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for args in [&["--only", "nothing"][..], &["--seed", "x"], &["--seed"], &["kill"]] {
            assert!(parse(args).is_err(), "{args:?}");
        }
    }
}
