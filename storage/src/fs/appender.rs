//! A file written from its beginning to its end, for encoders that want a `Write`. Never syncs: that is its owner's.

use std::io::{self, Write};

use super::File;

/// Writes to the end of what it has written. Flushing does nothing, since every write goes to the file.
pub struct Appender {
    file: Box<dyn File>,
    written: u64,
}

impl Appender {
    /// `file` is empty.
    pub fn new(file: Box<dyn File>) -> Self {
        Self { file, written: 0 }
    }

    /// Bytes written so far: the file's size.
    pub fn written(&self) -> u64 {
        self.written
    }

    pub fn file(&self) -> &dyn File {
        &*self.file
    }

    pub fn into_file(self) -> Box<dyn File> {
        self.file
    }
}

impl Write for Appender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(self.written, bytes)?;
        self.written += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
