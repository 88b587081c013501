//! `orrery rules test`: runs the unit tests of rule files and says what did not hold.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use orrery_alert::unit::{self, UnderTest, file};

use super::rows::Rows;
use super::{Bench, Planned, beside, complain};
use crate::say::say;

pub fn run(files: &[PathBuf]) -> Result<ExitCode> {
    let bench = Bench::new()?;
    let mut failed = 0;
    for path in files {
        say!("{}", path.display());
        failed += test_file(&bench, path)?;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How many tests failed; a file that cannot be read is one.
fn test_file(bench: &Bench, path: &Path) -> Result<usize> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let tests = match file::parse(&text) {
        Ok(tests) => tests,
        Err(fault) => {
            complain(path, &fault);
            return Ok(1);
        }
    };
    let mut planned: Vec<Planned> = Vec::with_capacity(tests.rule_files.len());
    for named in &tests.rule_files {
        let rules = beside(path, &named.text);
        match bench.plan(&rules)? {
            Ok(good) => planned.push(good),
            Err(faults) => {
                faults.iter().for_each(|fault| complain(&rules, fault));
                return Ok(1);
            }
        }
    }
    let groups: Vec<UnderTest<'_>> = planned
        .iter()
        .flat_map(|planned| planned.file.groups.iter().zip(&planned.queries))
        .map(|(group, queries)| UnderTest { group, queries })
        .collect();
    let mut failed = 0;
    for test in &tests.tests {
        let run = unit::run(test, tests.evaluation_interval, &groups, &bench.engine, &bench.lake, &Rows);
        match bench.runtime.block_on(run) {
            Ok(failures) if failures.is_empty() => say!("  ok: {}", test.name),
            Ok(failures) => {
                failed += 1;
                say!("  FAILED: {}", test.name);
                for failure in failures {
                    say!("    {}", failure.replace('\n', "\n    "));
                }
            }
            Err(fault) => {
                failed += 1;
                complain(path, &fault);
            }
        }
    }
    Ok(failed)
}
