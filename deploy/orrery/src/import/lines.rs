//! The lines of the files, one OTLP/JSON request each: plain or zstd, told apart by their first bytes. Holds one line in
//! memory at a time, of a length that is bounded.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use sha2::{Digest as _, Sha256};

/// A line longer than this is refused: the server's own limit of a request is lower.
pub const MAX_LINE_BYTES: u64 = 256 << 20;

const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const BUFFER_BYTES: usize = 1 << 20;

/// A line and where it stands.
pub struct Line {
    pub text: Vec<u8>,
    pub file: Arc<PathBuf>,
    /// From one.
    pub number: u64,
}

impl Line {
    pub fn place(&self) -> String {
        format!("{}:{}", self.file.display(), self.number)
    }

    /// Names the line to the server: a file may hold one request twice and mean both, while a line that is sent again is
    /// to be absorbed.
    pub fn idempotency_key(&self) -> String {
        let digest = Sha256::digest(self.place().as_bytes());
        digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Reads a file line by line; empty lines are passed over.
pub struct Lines {
    reader: Box<dyn BufRead + Send>,
    file: Arc<PathBuf>,
    number: u64,
}

impl Lines {
    /// `read` counts the bytes of the file as they are read, for whoever shows progress.
    pub fn open(path: &Path, read: Arc<AtomicU64>) -> Result<Self> {
        let open = || -> io::Result<Box<dyn BufRead + Send>> {
            let mut file = BufReader::with_capacity(BUFFER_BYTES, Counted { file: File::open(path)?, read });
            if file.fill_buf()?.starts_with(&ZSTD_MAGIC) {
                let decoder = zstd::Decoder::with_buffer(file)?;
                return Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder)));
            }
            Ok(Box::new(file))
        };
        let reader = open().with_context(|| format!("open {}", path.display()))?;
        Ok(Self { reader, file: Arc::new(path.to_owned()), number: 0 })
    }

    pub fn next_line(&mut self) -> Result<Option<Line>> {
        loop {
            let mut text = Vec::new();
            let limited = (&mut self.reader).take(MAX_LINE_BYTES);
            let read = { limited }.read_until(b'\n', &mut text);
            let place = || format!("{}:{}", self.file.display(), self.number + 1);
            if read.with_context(|| format!("read {}", place()))? == 0 {
                return Ok(None);
            }
            if text.len() as u64 == MAX_LINE_BYTES && !text.ends_with(b"\n") {
                bail!("{}: a line has at most {MAX_LINE_BYTES} bytes", place());
            }
            self.number += 1;
            let end = text.trim_ascii_end().len();
            text.truncate(end);
            if !text.is_empty() {
                return Ok(Some(Line { text, file: Arc::clone(&self.file), number: self.number }));
            }
        }
    }
}

struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}
