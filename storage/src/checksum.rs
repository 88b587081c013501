//! Checksums of data files, so that a damaged byte is an error that names the file and never a wrong answer. A file's
//! columns are summed in blocks; the sums are a table behind the columns, at the head of the file's tail, which is summed
//! as a whole in the catalog. Every read of a data file goes through [`VerifiedFile`]. Never repairs anything.

use std::fs;
use std::io::{self, Read};
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::{Buf, Bytes};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use crate::DataFile;

/// The unit that is read and verified. A sum is 4 bytes, so sums are 0.006 % of a file.
const BLOCK_BYTES: u64 = 64 << 10;
/// Of one sum, CRC32C, little-endian.
const SUM_BYTES: usize = 4;

/// What the catalog knows of a file's checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksums {
    /// Where the blocks end and the tail begins: the table of the blocks' sums, page indexes and footer, to the file's end.
    pub tail_offset: u64,
    /// CRC32C of the tail.
    pub tail_crc: u32,
}

/// Why bytes of a data file are not to be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("cannot read the data file {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("the data file {} is damaged: bytes {start} to {end} are not what was written", path.display())]
    Damaged { path: PathBuf, start: u64, end: u64 },
    #[error("the data file {} is damaged: it has {found} bytes, not {expected}", path.display())]
    Size { path: PathBuf, found: u64, expected: u64 },
}

impl From<ReadError> for ParquetError {
    fn from(error: ReadError) -> Self {
        Self::External(Box::new(error))
    }
}

/// Sums of a file while it is written from its beginning to its end.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    /// Of the whole blocks.
    blocks: Vec<u32>,
    /// Of the block that is being written, or of the tail.
    current: u32,
    in_block: u64,
    tail_offset: Option<u64>,
}

impl Sums {
    pub(crate) fn add(&mut self, mut bytes: &[u8]) {
        while self.tail_offset.is_none() && bytes.len() as u64 >= BLOCK_BYTES - self.in_block {
            let room = usize::try_from(BLOCK_BYTES - self.in_block).expect("less than a block");
            let (block, rest) = bytes.split_at(room);
            self.blocks.push(crc32c::crc32c_append(self.current, block));
            (self.current, self.in_block) = (0, 0);
            bytes = rest;
        }
        self.current = crc32c::crc32c_append(self.current, bytes);
        self.in_block += bytes.len() as u64;
    }

    /// Ends the last block; gives the table, which is to be written next.
    pub(crate) fn end_blocks(&mut self) -> Vec<u8> {
        self.tail_offset = Some(self.blocks.len() as u64 * BLOCK_BYTES + self.in_block);
        if self.in_block > 0 {
            self.blocks.push(self.current);
        }
        (self.current, self.in_block) = (0, 0);
        std::mem::take(&mut self.blocks).into_iter().flat_map(u32::to_le_bytes).collect()
    }

    /// `None` where the table was never asked for.
    pub(crate) fn finish(&self) -> Option<Checksums> {
        self.tail_offset.map(|tail_offset| Checksums { tail_offset, tail_crc: self.current })
    }
}

/// A data file, open for reading; every byte that it gives has been verified. Files of a format without checksums are
/// read as they are. Cloning shares the file.
#[derive(Clone, Debug)]
pub struct VerifiedFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: fs::File,
    data: Arc<DataFile>,
    blocks: OnceLock<Arc<[u32]>>,
    tail: OnceLock<Bytes>,
}

impl VerifiedFile {
    /// Opens the file; it has to be as long as the catalog says.
    pub fn open(data: &Arc<DataFile>) -> Result<Self, ReadError> {
        let failed = |source| ReadError::Io { path: data.path.clone(), source };
        let file = fs::File::open(&data.path).map_err(failed)?;
        let found = file.metadata().map_err(failed)?.len();
        if found != data.size_bytes {
            return Err(ReadError::Size { path: data.path.clone(), found, expected: data.size_bytes });
        }
        let data = Arc::clone(data);
        Ok(Self(Arc::new(Inner { file, data, blocks: OnceLock::new(), tail: OnceLock::new() })))
    }

    /// Opens a file whose [`VerifiedFile::sums`] are known from before.
    pub fn open_with(data: &Arc<DataFile>, sums: Arc<[u32]>) -> Result<Self, ReadError> {
        let file = Self::open(data)?;
        file.0.blocks.get_or_init(|| sums);
        Ok(file)
    }

    /// The blocks' sums, which [`VerifiedFile::open_with`] takes; none for a file of a format without.
    pub fn sums(&self) -> Result<Arc<[u32]>, ReadError> {
        let Some(Checksums { tail_offset, .. }) = self.0.data.checksums else { return Ok(Arc::default()) };
        if let Some(sums) = self.0.blocks.get() {
            return Ok(Arc::clone(sums));
        }
        let tail = self.tail()?;
        let count = usize::try_from(tail_offset.div_ceil(BLOCK_BYTES)).unwrap_or(usize::MAX);
        let table = tail.get(..count.saturating_mul(SUM_BYTES)).ok_or_else(|| self.damaged(tail_offset..self.len()))?;
        let sum = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let sums = table.chunks_exact(SUM_BYTES).map(sum).collect();
        Ok(Arc::clone(self.0.blocks.get_or_init(|| sums)))
    }

    pub fn path(&self) -> &Path {
        &self.0.data.path
    }

    /// The bytes of each range, in the order asked for. Blocks that ranges share are read and verified once.
    pub fn read_ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, ReadError> {
        let mut wanted: Vec<Range<u64>> = ranges.iter().map(|range| self.widened(range)).collect();
        wanted.sort_by_key(|range| range.start);
        let mut merged: Vec<Range<u64>> = Vec::with_capacity(wanted.len());
        for range in wanted {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        if merged.len() > 1 {
            merged.iter().for_each(|range| self.announce(range));
        }
        let read: Vec<Bytes> = merged.iter().map(|range| self.read_widened(range)).collect::<Result<_, _>>()?;
        let part = |range: &Range<u64>| {
            let index = merged.partition_point(|wide| wide.start <= range.start).saturating_sub(1);
            let (wide, bytes) = merged.get(index).zip(read.get(index)).ok_or_else(|| self.short())?;
            let start = usize::try_from(range.start.saturating_sub(wide.start)).unwrap_or(usize::MAX);
            let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
            match start.checked_add(length) {
                Some(end) if end <= bytes.len() => Ok(bytes.slice(start..end)),
                _ => Err(self.short()),
            }
        };
        ranges.iter().map(part).collect()
    }

    /// Has the kernel fetch a range while others are read: a disk answers many at once.
    fn announce(&self, range: &Range<u64>) {
        let length = NonZeroU64::new(range.end.saturating_sub(range.start));
        // It is a hint: without it the range is read all the same.
        let _ = rustix::fs::fadvise(&self.0.file, range.start, length, rustix::fs::Advice::WillNeed);
    }

    pub fn read(&self, range: Range<u64>) -> Result<Bytes, ReadError> {
        self.read_ranges(std::slice::from_ref(&range)).map(|mut bytes| bytes.swap_remove(0))
    }

    /// Reads and verifies all of the file.
    pub fn verify(&self) -> Result<(), ReadError> {
        self.tail()?;
        let end = self.tail_offset();
        for start in (0..end).step_by(usize::try_from(BLOCK_BYTES).expect("64 KiB")) {
            self.read_blocks(&(start..end.min(start + BLOCK_BYTES)))?;
        }
        Ok(())
    }

    /// All of the file for a file without checksums.
    fn tail_offset(&self) -> u64 {
        self.0.data.checksums.map_or(self.len(), |sums| sums.tail_offset)
    }

    /// The whole blocks that a range lies in, and the tail as far as it reaches into it.
    fn widened(&self, range: &Range<u64>) -> Range<u64> {
        if self.0.data.checksums.is_none() {
            return range.clone();
        }
        let tail_offset = self.tail_offset();
        let start = if range.start < tail_offset { range.start / BLOCK_BYTES * BLOCK_BYTES } else { range.start };
        let end = if range.end <= tail_offset {
            range.end.div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES).min(tail_offset)
        } else {
            range.end
        };
        start..end.max(start)
    }

    fn read_widened(&self, range: &Range<u64>) -> Result<Bytes, ReadError> {
        let tail_offset = self.tail_offset();
        if range.end > self.len() || range.end < range.start {
            return Err(self.short());
        }
        if range.end <= tail_offset {
            return self.read_blocks(range);
        }
        let tail = self.tail()?;
        let within = |offset: u64| usize::try_from(offset - tail_offset).unwrap_or(usize::MAX);
        if range.start >= tail_offset {
            return Ok(tail.slice(within(range.start)..within(range.end)));
        }
        let mut bytes = self.read_blocks(&(range.start..tail_offset))?.to_vec();
        bytes.extend_from_slice(&tail[..within(range.end)]);
        Ok(bytes.into())
    }

    /// Bytes before the tail, from a block's beginning to a block's end.
    fn read_blocks(&self, range: &Range<u64>) -> Result<Bytes, ReadError> {
        let bytes = self.read_unverified(range)?;
        if self.0.data.checksums.is_some() {
            let sums = self.sums()?;
            let first = usize::try_from(range.start / BLOCK_BYTES).unwrap_or(usize::MAX);
            let blocks = bytes.chunks(usize::try_from(BLOCK_BYTES).expect("64 KiB"));
            for (index, block) in blocks.enumerate() {
                if sums.get(first.saturating_add(index)) != Some(&crc32c::crc32c(block)) {
                    let start = range.start + index as u64 * BLOCK_BYTES;
                    return Err(self.damaged(start..start + block.len() as u64));
                }
            }
        }
        Ok(bytes)
    }

    fn tail(&self) -> Result<Bytes, ReadError> {
        if let Some(tail) = self.0.tail.get() {
            return Ok(tail.clone());
        }
        let range = self.tail_offset()..self.len();
        if range.end < range.start {
            return Err(self.short());
        }
        let tail = self.read_unverified(&range)?;
        if self.0.data.checksums.is_some_and(|sums| sums.tail_crc != crc32c::crc32c(&tail)) {
            return Err(self.damaged(range));
        }
        Ok(self.0.tail.get_or_init(|| tail).clone())
    }

    fn read_unverified(&self, range: &Range<u64>) -> Result<Bytes, ReadError> {
        let length = usize::try_from(range.end - range.start).map_err(|_| self.short())?;
        let mut bytes = vec![0; length];
        let read = self.0.file.read_exact_at(&mut bytes, range.start);
        read.map_err(|source| ReadError::Io { path: self.path().to_owned(), source })?;
        Ok(bytes.into())
    }

    fn damaged(&self, range: Range<u64>) -> ReadError {
        ReadError::Damaged { path: self.path().to_owned(), start: range.start, end: range.end }
    }

    /// A range beyond the file's end was asked for: its footer, or what the catalog says, is wrong.
    fn short(&self) -> ReadError {
        self.damaged(self.tail_offset().min(self.len())..self.len())
    }
}

impl Length for VerifiedFile {
    fn len(&self) -> u64 {
        self.0.data.size_bytes
    }
}

impl ChunkReader for VerifiedFile {
    type T = Sequential;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Sequential> {
        Ok(Sequential { file: self.clone(), next: start, buffer: Bytes::new() })
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        Ok(self.read(start..start.saturating_add(length as u64))?)
    }
}

/// Reads on from a place, a block at a time.
#[derive(Debug)]
pub struct Sequential {
    file: VerifiedFile,
    next: u64,
    buffer: Bytes,
}

impl Read for Sequential {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.buffer.is_empty() {
            let end = (self.next / BLOCK_BYTES + 1).saturating_mul(BLOCK_BYTES).min(self.file.len());
            if end <= self.next {
                return Ok(0);
            }
            self.buffer = self.file.read(self.next..end).map_err(io::Error::other)?;
            self.next = end;
        }
        let length = into.len().min(self.buffer.len());
        self.buffer.copy_to_slice(&mut into[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of two blocks and a bit, its table and a few bytes more.
    fn written(dir: &Path) -> (Arc<DataFile>, Vec<u8>) {
        let mut sums = Sums::default();
        let mut bytes: Vec<u8> = (0..2 * BLOCK_BYTES + 1000).map(|at| (at * 31 % 251) as u8).collect();
        for part in bytes.chunks(7001) {
            sums.add(part);
        }
        let mut tail = sums.end_blocks();
        tail.extend(b"the footer");
        sums.add(&tail);
        bytes.extend(tail);
        let path = dir.join("file");
        fs::write(&path, &bytes).expect("written");
        let data = DataFile {
            id: 1,
            path,
            size_bytes: bytes.len() as u64,
            footer_bytes: 0,
            rows: 0,
            min_timestamp_ns: 0,
            max_timestamp_ns: 0,
            trace_filter: None,
            merged_from: None,
            checksums: sums.finish(),
            layout: None,
        };
        (Arc::new(data), bytes)
    }

    #[test]
    fn what_is_whole_is_read_and_each_flipped_bit_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().expect("a folder");
        let (data, bytes) = written(dir.path());
        let len = bytes.len() as u64;
        let file = VerifiedFile::open(&data).expect("it opens");
        let tail = data.checksums.expect("it was summed").tail_offset;
        let ranges = [5..9, BLOCK_BYTES - 1..BLOCK_BYTES + 1, 0..len, tail - 3..tail + 3, tail..len, 7..7];
        let read = file.read_ranges(&ranges).expect("it is whole");
        for (range, read) in ranges.iter().zip(read) {
            assert_eq!(read, bytes[range.start as usize..range.end as usize], "{range:?}");
        }
        let mut all = Vec::new();
        file.get_read(3).expect("a reader").read_to_end(&mut all).expect("it is whole");
        assert_eq!(all, bytes[3..]);
        file.verify().expect("it is whole");
        let sums = file.sums().expect("it is whole");

        for at in [0, BLOCK_BYTES - 1, BLOCK_BYTES, tail - 1, tail, tail + 5, len - 1] {
            let mut damaged = bytes.clone();
            damaged[at as usize] ^= 16;
            fs::write(&data.path, &damaged).expect("written");
            let file = VerifiedFile::open(&data).expect("it opens");
            let error = file.read(at..at + 1).expect_err("a bit is wrong").to_string();
            assert!(error.contains(&data.path.display().to_string()) && error.contains("damaged"), "{error}");
            assert!(file.verify().is_err());
            let file = VerifiedFile::open_with(&data, Arc::clone(&sums)).expect("it opens");
            assert!(file.read(at..at + 1).is_err(), "with sums known from before");
        }
        fs::write(&data.path, &bytes[1..]).expect("written");
        assert!(matches!(VerifiedFile::open(&data), Err(ReadError::Size { .. })));
    }

    #[test]
    fn what_lies_beyond_the_end_is_an_error() {
        let dir = tempfile::tempdir().expect("a folder");
        let (data, bytes) = written(dir.path());
        let file = VerifiedFile::open(&data).expect("it opens");
        let len = bytes.len() as u64;
        for range in [len..len + 1, 0..len + 1, u64::MAX - 1..u64::MAX, len + 5..len + 9] {
            assert!(file.read(range.clone()).is_err(), "{range:?}");
        }
    }
}
