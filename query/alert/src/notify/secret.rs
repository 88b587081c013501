//! Secrets: where they come from, and how text is cleaned of them. A secret is never shown, not even by `Debug`.

use std::fmt;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// The longest a secret may be, in bytes.
const MAX_SECRET_BYTES: u64 = 64 << 10;
/// Shorter pieces of a secret's URL, such as `api` or `hooks`, are words that give nothing away.
const MIN_PIECE: usize = 8;
const SHOWN: &str = "[secret]";

/// A password, a token, or an address that is one.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// From the configuration file or an environment variable.
    Text(String),
    /// Read anew for every notification, so that it can be changed without a restart; spaces and line breaks around it
    /// do not count.
    File(PathBuf),
}

/// Why a secret cannot be had. Never says what was read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("secret file {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("secret file {} is empty", path.display())]
    Empty { path: PathBuf },
    #[error("secret file {} is longer than {MAX_SECRET_BYTES} bytes or no text", path.display())]
    NoText { path: PathBuf },
}

impl Secret {
    /// Reads a file that is local and small.
    pub fn read(&self) -> Result<String, SecretError> {
        use std::io::Read;
        let path = match self {
            Self::Text(text) => return Ok(text.clone()),
            Self::File(path) => path,
        };
        let fail = |source| SecretError::Read { path: path.clone(), source };
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(fail)?;
        file.take(MAX_SECRET_BYTES + 1).read_to_end(&mut bytes).map_err(fail)?;
        match String::from_utf8(bytes) {
            Ok(text) if text.len() as u64 <= MAX_SECRET_BYTES => match text.trim() {
                "" => Err(SecretError::Empty { path: path.clone() }),
                trimmed => Ok(trimmed.to_owned()),
            },
            _ => Err(SecretError::NoText { path: path.clone() }),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str(SHOWN),
            Self::File(path) => write!(f, "[secret in {}]", path.display()),
        }
    }
}

/// Takes secrets out of what a destination or a library said.
#[derive(Default)]
pub struct Cleaner {
    /// Longest first, so that no piece is left of a longer one.
    secrets: Vec<String>,
}

impl Cleaner {
    /// Each secret as it is and in the forms in which protocols carry it.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut cleaner = Self::default();
        for secret in secrets.into_iter().filter(|secret| !secret.is_empty()) {
            cleaner.secrets.push(secret.to_owned());
            cleaner.secrets.extend([
                STANDARD.encode(secret),
                STANDARD_NO_PAD.encode(secret),
                URL_SAFE_NO_PAD.encode(secret),
            ]);
        }
        cleaner.sorted()
    }

    /// A URL that is a secret, and whatever of its path and query can be one.
    pub fn and_url(mut self, url: &url::Url) -> Self {
        let pieces = url.path().split('/').chain(url.query().into_iter().flat_map(|query| query.split(['&', '='])));
        let long: Vec<String> = pieces.filter(|piece| piece.len() >= MIN_PIECE).map(str::to_owned).collect();
        let after_host = &url[url::Position::BeforePath..];
        if after_host.len() > 1 {
            self.secrets.extend([url.to_string(), after_host.to_owned()]);
        }
        self.secrets.extend(long);
        self.sorted()
    }

    /// The text on one line, without secrets and control characters, and at most `max` characters of it.
    pub fn clean(&self, text: &str, max: usize) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), SHOWN);
            }
        }
        let words: Vec<&str> =
            text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
        words.join(" ").chars().take(max).collect()
    }

    fn sorted(mut self) -> Self {
        self.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        self.secrets.dedup();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_anew_and_trimmed() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("token");
        let secret = Secret::File(path.clone());
        assert!(matches!(secret.read(), Err(SecretError::Read { .. })));
        for (text, read) in [("first\n", "first"), ("  second \r\n\n", "second")] {
            std::fs::write(&path, text).expect("written");
            assert_eq!(secret.read().expect("a secret"), read);
        }
        std::fs::write(&path, "\n").expect("written");
        assert!(matches!(secret.read(), Err(SecretError::Empty { .. })));
        for bad in [vec![0xff, 0xfe], vec![b'a'; MAX_SECRET_BYTES as usize + 1]] {
            std::fs::write(&path, bad).expect("written");
            assert!(matches!(secret.read(), Err(SecretError::NoText { .. })));
        }
    }

    #[test]
    fn nothing_shows_a_secret() {
        assert_eq!(format!("{:?}", Secret::Text("hunter2".to_owned())), "[secret]");
        let url: url::Url =
            "https://hooks.example.com/services/T0000/B0000/abcdefgh1234?key=s3cr3t-value".parse().expect("a URL");
        let cleaner = Cleaner::new(["hunter2", "user:hunter2"]).and_url(&url);
        for (text, cleaned) in [
            ("password hunter2 is wrong", "password [secret] is wrong"),
            ("Basic dXNlcjpodW50ZXIy refused", "Basic [secret] refused"),
            ("no such hook: /services/T0000/B0000/abcdefgh1234?key=s3cr3t-value", "no such hook: [secret]"),
            ("no hook abcdefgh1234", "no hook [secret]"),
            ("key s3cr3t-value\r\nis\x07 bad", "key [secret] is bad"),
            ("services are down", "[secret] are down"),
        ] {
            assert_eq!(cleaner.clean(text, 200), cleaned);
        }
        assert_eq!(cleaner.clean("one two three", 7), "one two");
    }
}
