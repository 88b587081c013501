//! `orrery rules check`: whether rule files would be taken, and what is wrong with each rule of those that would not.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use super::{Bench, complain};
use crate::say::say;

pub fn run(files: &[PathBuf]) -> Result<ExitCode> {
    let bench = Bench::new()?;
    let mut bad = 0;
    for path in files {
        match bench.plan(path)? {
            Ok(planned) => {
                let rules: usize = planned.queries.iter().map(Vec::len).sum();
                say!("{}: good, {}, {}", path.display(), count(planned.queries.len(), "group"), count(rules, "rule"));
            }
            Err(faults) => {
                bad += 1;
                faults.iter().for_each(|fault| complain(path, fault));
            }
        }
    }
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
