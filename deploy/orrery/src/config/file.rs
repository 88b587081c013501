//! Reads the TOML file and says exactly where it is wrong: file, line, column, and the key that was probably meant.

use std::path::Path;

use orrery_alert::spelling::edits;

use super::{Config, ConfigError};

pub fn read(path: &Path) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::File { path: path.to_owned(), message: error.to_string() })?;
    parse(path, &text)
}

pub fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let (line, column) = position(text, error.span().map_or(0, |span| span.start));
        ConfigError::Line { path: path.to_owned(), line, column, message: explain(error.message()) }
    })
}

/// Line and column from one, counted in characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// An unknown key gets the nearest known one beside it instead of a list of all.
fn explain(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    match quoted.next() {
        Some(unknown) if message.starts_with("unknown field") => {
            let known: Vec<&str> = quoted.collect();
            match nearest(unknown, known.iter().copied()) {
                Some(near) => format!("unknown key `{unknown}`; did you mean `{near}`?"),
                None => format!("unknown key `{unknown}`; known here: {}", known.join(", ")),
            }
        }
        _ => message.lines().next().unwrap_or(message).to_owned(),
    }
}

/// The candidate that takes the fewest edits to reach, where that is less than half of the word.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (edits(word, candidate), candidate))
        .min()
        .filter(|(distance, _)| distance * 2 <= word.chars().count())
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_file_line_column_and_the_nearest_key() {
        let cases = [
            ("data_dri = \"x\"\n", "orrery.toml:1:1: unknown key `data_dri`; did you mean `data_dir`?"),
            ("[storage]\nmemtabel = \"1MiB\"\n", "orrery.toml:2:1: unknown key `memtabel`; did you mean `memtable`?"),
            (
                "\n[storage]\n  memtable = \"lots\"\n",
                "orrery.toml:3:14: \"lots\" is not a size; write for example \"96MiB\"",
            ),
            ("http = 8080\n", "orrery.toml:1:8: invalid type: integer `8080`, expected socket address"),
            ("[log]\nformat = \"xml\"\n", "orrery.toml:2:10: unknown variant `xml`, expected `text` or `json`"),
        ];
        for (text, message) in cases {
            let error = parse(Path::new("orrery.toml"), text).expect_err(text);
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn an_empty_file_gives_the_defaults() {
        let config = parse(Path::new("orrery.toml"), "").expect("nothing is required");
        assert_eq!(config.http.port(), 8080);
        assert_eq!(config.storage.memtable.0, 96 << 20);
    }
}
