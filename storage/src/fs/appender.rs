//! A file written from its beginning to its end, for encoders that want a `Write`, and summed on the way. Never syncs: that
//! is its owner's.

use std::io::{self, Write};

use super::File;
use crate::checksum::{Checksums, Sums};

/// Writes to the end of what it has written. Flushing does nothing, since every write goes to the file.
pub struct Appender {
    file: Box<dyn File>,
    written: u64,
    sums: Sums,
}

impl Appender {
    /// `file` is empty.
    pub fn new(file: Box<dyn File>) -> Self {
        Self { file, written: 0, sums: Sums::default() }
    }

    /// Bytes written so far: the file's size.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Ends what is summed in blocks; gives the table of their sums, which is to be written next.
    pub fn end_blocks(&mut self) -> Vec<u8> {
        self.sums.end_blocks()
    }

    /// Of all that was written; `None` where the blocks were not ended.
    pub fn checksums(&self) -> Option<Checksums> {
        self.sums.finish()
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
        self.sums.add(bytes);
        self.written += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
