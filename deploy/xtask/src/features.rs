//! Checks that the binary alone, each crate's tests and the whole workspace with its tests build every dependency with
//! the same features, so that no dependency is built twice. `deploy/features` is where a difference is mended.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::process::{cargo, output};

/// What people and tasks select, apart from the whole workspace.
const SELECTIONS: [(&str, &str); 6] = [
    ("orrery", "normal,build"),
    ("orrery", "normal,build,dev"),
    ("orrery-query", "normal,build,dev"),
    ("orrery-alert", "normal,build,dev"),
    ("orrery-collector", "normal,build,dev"),
    ("orrery-storage", "normal,build,dev"),
];

/// Every dependency that a selection would build differently.
pub fn check() -> Result<Vec<String>> {
    let whole = tree(&["--workspace", "--edges", "normal,build,dev"])?;
    let mut complaints = Vec::new();
    for (package, edges) in SELECTIONS {
        for line in tree(&["--package", package, "--edges", edges])?.difference(&whole) {
            complaints.push(format!("{package} ({edges}) builds `{line}` unlike the workspace (deploy/features)"));
        }
    }
    Ok(complaints)
}

/// The packages with their features, one a line.
fn tree(selection: &[&str]) -> Result<BTreeSet<String>> {
    let mut command = cargo();
    command.args(["tree", "--locked", "--prefix", "none", "--format", "{p} {f}"]).args(selection);
    let text = output("cargo tree", &mut command)?;
    Ok(text.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).filter(|line| !line.is_empty()).collect())
}
