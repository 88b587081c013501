//! Which files the configuration's patterns name. Reads their text and nothing more; relative patterns begin at the
//! configuration's folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::file::MAX_FILE_BYTES;
use super::yaml::{Fault, Position};

/// Files beyond this are not looked at, and that is said.
pub const MAX_FILES: usize = 1_000;

/// `rules = ["rules/*.yaml"]`.
#[derive(Clone, Debug, Default)]
pub struct Patterns {
    base: PathBuf,
    patterns: Vec<String>,
}

/// A file's text, or why it cannot be read.
pub type Text = Result<String, Fault>;

impl Patterns {
    /// Refuses what is no pattern.
    pub fn new(base: &Path, patterns: &[String]) -> Result<Self, String> {
        for pattern in patterns {
            glob::Pattern::new(pattern).map_err(|error| format!("{pattern:?} is no pattern of files: {error}"))?;
        }
        Ok(Self { base: base.to_owned(), patterns: patterns.to_vec() })
    }

    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The files that there are, by the path that people know them by: as the pattern writes it. Blocks.
    pub fn read(&self) -> BTreeMap<String, Text> {
        let mut files = BTreeMap::new();
        for pattern in &self.patterns {
            let base = glob::Pattern::escape(&self.base.to_string_lossy());
            let absolute = if Path::new(pattern).is_absolute() || base.is_empty() {
                pattern.clone()
            } else {
                format!("{base}/{pattern}")
            };
            let found = glob::glob(&absolute).map(|paths| paths.flatten().filter(|path| path.is_file()));
            for path in found.into_iter().flatten() {
                let shown = path.strip_prefix(&self.base).unwrap_or(&path).display().to_string();
                if files.len() >= MAX_FILES && !files.contains_key(&shown) {
                    tracing::error!(limit = MAX_FILES, "there are more rule files than are read");
                    return files;
                }
                files.entry(shown).or_insert_with(|| text(&path));
            }
        }
        files
    }
}

/// A rule file's text. Blocks.
pub fn text(path: &Path) -> Text {
    let fail = |error: std::io::Error| Fault::new(Position::default(), format!("it cannot be read: {error}"));
    let size = std::fs::metadata(path).map_err(fail)?.len();
    if size > MAX_FILE_BYTES as u64 {
        let message = format!("{size} bytes; a rule file has at most {MAX_FILE_BYTES}");
        return Err(Fault::new(Position::default(), message));
    }
    String::from_utf8(std::fs::read(path).map_err(fail)?).map_err(|error| {
        let (good, bad) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        let last = good.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let column = String::from_utf8_lossy(last).chars().count() + 1;
        Fault::new(Position { line: line as u64, column: column as u64 }, format!("not UTF-8: byte {:#04x}", bad[0]))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn patterns_find_files_once_and_by_the_names_that_they_are_known_by() {
        let dir = tempfile::tempdir().expect("a folder");
        let odd = dir.path().join("a[b]");
        fs::create_dir_all(odd.join("rules/more")).expect("folders");
        for name in ["rules/one.yaml", "rules/two.yml", "rules/more/three.yaml", "rules/notes.txt"] {
            fs::write(odd.join(name), name).expect("a file");
        }
        let names = |patterns: &[&str]| {
            let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
            Patterns::new(&odd, &patterns).expect("patterns").read().into_keys().collect::<Vec<_>>()
        };
        assert_eq!(names(&["rules/*.yaml"]), ["rules/one.yaml"]);
        assert_eq!(
            names(&["rules/**/*.yaml", "rules/*.y*ml"]),
            ["rules/more/three.yaml", "rules/one.yaml", "rules/two.yml"]
        );
        assert_eq!(names(&["rules/none.yaml"]), Vec::<String>::new());
        assert!(Patterns::new(&odd, &["a[".to_owned()]).is_err());
        let absolute = dir.path().join("other.yaml");
        fs::write(&absolute, [0xff, 0xfe]).expect("a file");
        let absolute = absolute.display().to_string();
        let files = Patterns::new(&odd, std::slice::from_ref(&absolute)).expect("a pattern").read();
        assert!(files[&absolute].as_ref().is_err_and(|why| why.message.contains("UTF-8")));
    }
}
