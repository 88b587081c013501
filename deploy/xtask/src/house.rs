//! The house's own checks, which no other tool makes: who may import whom, how a file begins, how long it may be. Reads
//! only; changes nothing.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process::{cargo, output};
use crate::root;

/// Which of our crates each may import. An edge that is not here fails, and so does a crate that is not.
const IMPORTS: &[(&str, &[&str])] = &[
    ("orrery-features", &[]),
    ("orrery-model", &["orrery-features"]),
    ("orrery-storage", &["orrery-model"]),
    ("orrery-collector", &["orrery-model", "orrery-storage"]),
    ("orrery-api", &[]),
    ("orrery-query", &["orrery-model", "orrery-storage", "orrery-api"]),
    ("orrery-alert", &["orrery-model", "orrery-storage", "orrery-query", "orrery-api"]),
    ("orrery-ui", &["orrery-api"]),
    ("orrery", &["orrery-model", "orrery-storage", "orrery-collector", "orrery-query", "orrery-alert", "orrery-api"]),
    ("xtask", &[]),
];

/// The longest a source file may be, in lines.
const MAX_LINES: usize = 600;

/// Folders that hold no source of ours.
const SKIPPED: [&str; 5] = ["target", "node_modules", "dist", "data", ".git"];

/// Every complaint, none when the house is in order.
pub fn check() -> Result<Vec<String>> {
    let metadata = output("cargo metadata", cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let mut complaints = imports(&serde_json::from_str(&metadata)?);
    for path in sources(root())? {
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let name = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
        complaints.extend(file(&name, &text));
    }
    Ok(complaints)
}

/// The edges between our crates, of every kind of dependency, that are not allowed.
fn imports(metadata: &Value) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = IMPORTS.iter().find(|(known, _)| *known == name) else {
            complaints.push(format!("crate {name} has no place in the order of imports (deploy/xtask/src/house.rs)"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let target = dependency["name"].as_str().unwrap_or_default();
            if dependency["path"].is_string() && !allowed.contains(&target) {
                complaints.push(format!("{name} must not import {target}"));
            }
        }
    }
    complaints
}

fn file(name: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if !text.starts_with("//!") {
        complaints.push(format!("{name}: a file begins with `//!`: what it is, and what it never does"));
    }
    let lines = text.lines().count();
    if lines > MAX_LINES {
        complaints.push(format!("{name}: {lines} lines; a file has at most {MAX_LINES}"));
    }
    complaints
}

/// All Rust files of the project, by path.
fn sources(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type()?.is_dir() {
            if !SKIPPED.iter().any(|skipped| name == *skipped) {
                found.extend(sources(&entry.path())?);
            }
        } else if entry.path().extension().is_some_and(|extension| extension == "rs") {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn edge(from: &str, to: &str) -> Vec<String> {
        imports(&json!({"packages": [{"name": from, "dependencies": [
            {"name": to, "path": "/somewhere"}, {"name": "serde", "path": null},
        ]}]}))
    }

    #[test]
    fn only_listed_imports_pass() {
        let cases = [
            ("orrery-storage", "orrery-model", 0),
            ("orrery", "orrery-query", 0),
            ("orrery-collector", "orrery-query", 1),
            ("orrery-alert", "orrery-query", 0),
            ("orrery-alert", "orrery-collector", 1),
            ("orrery-query", "orrery-alert", 1),
            ("orrery-query", "orrery-collector", 1),
            ("orrery-ui", "orrery-query", 1),
            ("orrery-model", "orrery-storage", 1),
            ("orrery-unheard-of", "orrery-model", 1),
        ];
        for (from, to, complaints) in cases {
            assert_eq!(edge(from, to).len(), complaints, "{from} -> {to}");
        }
    }

    #[test]
    fn a_file_has_a_head_and_an_end() {
        assert!(file("good.rs", "//! Good.\n").is_empty());
        assert_eq!(file("headless.rs", "fn main() {}\n").len(), 1);
        assert_eq!(file("long.rs", &format!("//! Long.\n{}", "\n".repeat(MAX_LINES))).len(), 1);
    }

    #[test]
    fn this_house_is_in_order() {
        assert_eq!(check().expect("the workspace is readable"), Vec::<String>::new());
    }
}
