//! Reads the log back after a stop of any kind: in order, each record once, telling a torn tail (the newest segment's
//! unacknowledged end, cut off) from damage (kept for quarantine and reported). Never drops anything silently.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::format::{ALIGNMENT, Invalid, Record, RecordBody, SEGMENT_HEADER_BYTES, SegmentHeader, decode_record};
use super::mend::mend;
use super::{SUFFIX, UNFINISHED_SUFFIX, WalError, segment_path};
use crate::fs::FileSystem;

/// A segment that no writer has open.
#[derive(Clone, Debug)]
pub struct SegmentInfo {
    pub number: u64,
    pub path: PathBuf,
    /// No request of the segment has a higher one.
    pub last_sequence: u64,
    pub bytes: u64,
    /// Goes to quarantine instead of being deleted.
    pub damaged: bool,
}

/// Bytes of the log that cannot be read though they were once on stable storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub path: PathBuf,
    pub offset: u64,
    pub bytes: u64,
}

/// What a scan found besides the records.
#[derive(Debug, Default)]
pub struct Scan {
    pub segments: Vec<SegmentInfo>,
    pub last_sequence: u64,
    /// The number that the next segment gets.
    pub next_number: u64,
    /// Unacknowledged bytes cut off the newest segment.
    pub torn_bytes: u64,
    pub damage: Vec<Damage>,
    /// Sequences that are neither in the log nor flushed, ascending.
    pub missing: Vec<RangeInclusive<u64>>,
}

/// A record handed to the visitor, with the path of its segment for messages.
pub struct Scanned<'a> {
    pub record: Record<'a>,
    pub segment: &'a Path,
    pub offset: u64,
    /// What was found missing so far: all that is, of the sequences before this record.
    pub missing: &'a [RangeInclusive<u64>],
}

/// Reads all segments of `dir` in order. `visit` gets each record, flushed ones included (their hashes count still);
/// it gives false where it cannot make sense of one, which then counts as damage. Cuts off a torn tail, durably, before
/// returning. Requests up to `flushed` need not be there.
pub fn scan(
    fs: &dyn FileSystem,
    dir: &Path,
    flushed: u64,
    visit: &mut dyn FnMut(&Scanned<'_>) -> bool,
) -> Result<Scan, WalError> {
    let numbers = numbers(fs, dir)?;
    let scan = Scan { last_sequence: flushed, next_number: 1, ..Scan::default() };
    let mut scanner = Scanner { fs, dir, flushed, visit, log_last: None, scan };
    for (index, &number) in numbers.iter().enumerate() {
        scanner.segment(number, index + 1 == numbers.len())?;
        scanner.scan.next_number = number + 1;
    }
    Ok(scanner.scan)
}

/// The numbers of the segments, ascending. Removes segments that were being made when the power went.
fn numbers(fs: &dyn FileSystem, dir: &Path) -> Result<Vec<u64>, WalError> {
    let mut numbers = Vec::new();
    for name in fs.list(dir).map_err(WalError::io("list", dir))? {
        if name.ends_with(UNFINISHED_SUFFIX) {
            let path = dir.join(name);
            fs.unlink(&path).map_err(WalError::io("remove", &path))?;
        } else if let Some(number) = name.strip_suffix(SUFFIX).and_then(|stem| stem.parse().ok()) {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

struct Scanner<'a> {
    fs: &'a dyn FileSystem,
    dir: &'a Path,
    flushed: u64,
    visit: &'a mut dyn FnMut(&Scanned<'_>) -> bool,
    /// The last sequence met in the log itself, flushed or not; `None` before the first segment.
    log_last: Option<u64>,
    scan: Scan,
}

impl Scanner<'_> {
    fn segment(&mut self, number: u64, newest: bool) -> Result<(), WalError> {
        let path = segment_path(self.dir, number);
        let bytes = read_all(self.fs, &path)?;
        let header = match SegmentHeader::decode(&bytes) {
            Ok(header) => header,
            Err(Invalid::Version(version)) => return Err(WalError::UnknownVersion { path, offset: 0, version }),
            // A segment gets its name after its head is synced, so a damaged head is damage, wherever it is.
            Err(Invalid::Damaged) => {
                self.damage(&path, 0, bytes.len());
                self.finish(number, path, bytes.len(), true);
                return Ok(());
            }
        };
        self.expect(header.first_sequence);
        self.log_last = Some(header.first_sequence.saturating_sub(1));
        let damage_before = self.scan.damage.len();
        let mut end = self.records(&path, &bytes, header.salt, newest)?;
        if end < bytes.len() && newest && !is_zero(&bytes[end..]) {
            self.scan.torn_bytes += trimmed(&bytes[end..]) as u64;
            tracing::info!(wal.segment = %path.display(), wal.offset = end, "cut the torn tail off the log");
            let file = self.fs.open(&path).map_err(WalError::io("open", &path))?;
            file.set_size(end as u64)
                .and_then(|()| file.sync_data())
                .map_err(WalError::io("cut the tail of", &path))?;
        } else {
            end = bytes.len();
        }
        let damaged = self.scan.damage.len() > damage_before;
        self.finish(number, path, end, damaged);
        Ok(())
    }

    /// Visits the segment's records; gives the offset where they end.
    fn records(&mut self, path: &Path, bytes: &[u8], salt: u64, newest: bool) -> Result<usize, WalError> {
        let mut at = SEGMENT_HEADER_BYTES;
        let mut head_read = false;
        let mut mended;
        while at < bytes.len() {
            let mut found = decode_record(&bytes[at..], salt);
            if found == Err(Invalid::Damaged) {
                if head_read && is_zero(&bytes[at..]) {
                    break;
                }
                mended = mend(&bytes[at..], salt);
                if let Some(record) = &mended {
                    found = decode_record(record, salt);
                    self.damage(path, at, record.len());
                }
            }
            let (record, len) = match found {
                Ok(found) => found,
                Err(Invalid::Version(version)) => {
                    return Err(WalError::UnknownVersion { path: path.to_owned(), offset: at as u64, version });
                }
                Err(Invalid::Damaged) => {
                    let next = next_record(bytes, at, salt);
                    // The head was synced before the segment got its name; a request is synced before any record says so.
                    let torn =
                        head_read && next.is_none_or(|(_, durable)| self.log_last.is_some_and(|last| durable <= last));
                    if newest && torn {
                        break;
                    }
                    let end = next.map_or(bytes.len(), |(offset, _)| offset);
                    self.damage(path, at, trimmed(&bytes[at..end]));
                    head_read = true;
                    at = end;
                    continue;
                }
            };
            if let RecordBody::Request { sequence, .. } = record.body {
                if self.log_last.is_some_and(|last| sequence <= last) {
                    // Two records of one sequence: never written by this program.
                    self.damage(path, at, len);
                    at += len;
                    continue;
                }
                self.expect(sequence);
                self.log_last = Some(sequence);
            }
            head_read = true;
            if !(self.visit)(&Scanned { record, segment: path, offset: at as u64, missing: &self.scan.missing }) {
                self.damage(path, at, len);
            }
            at += len;
        }
        Ok(at.min(bytes.len()))
    }

    /// Notes a gap before `sequence`; what was flushed is not missed.
    fn expect(&mut self, sequence: u64) {
        let next = self.log_last.map_or(0, |last| last + 1).max(self.flushed + 1);
        if sequence > next {
            self.scan.missing.push(next..=sequence - 1);
            tracing::error!(wal.first = next, wal.last = sequence - 1, "requests are missing from the log");
        }
    }

    fn damage(&mut self, path: &Path, offset: usize, bytes: usize) {
        tracing::error!(
            wal.segment = %path.display(), wal.offset = offset, wal.bytes = bytes,
            "the log is damaged; the segment will be kept in quarantine"
        );
        self.scan.damage.push(Damage { path: path.to_owned(), offset: offset as u64, bytes: bytes as u64 });
    }

    fn finish(&mut self, number: u64, path: PathBuf, bytes: usize, damaged: bool) {
        let last_sequence = self.log_last.unwrap_or(0);
        self.scan.last_sequence = self.scan.last_sequence.max(last_sequence);
        self.scan.segments.push(SegmentInfo { number, path, last_sequence, bytes: bytes as u64, damaged });
    }
}

fn read_all(fs: &dyn FileSystem, path: &Path) -> Result<Vec<u8>, WalError> {
    let read = || {
        let file = fs.open(path)?;
        let size = usize::try_from(file.size()?).map_err(std::io::Error::other)?;
        let mut bytes = vec![0; size];
        let filled = file.read_at(0, &mut bytes)?;
        bytes.truncate(filled);
        Ok(bytes)
    };
    read().map_err(WalError::io("read", path))
}

/// The next whole record after `at`: where it begins and its `durable`.
fn next_record(bytes: &[u8], at: usize, salt: u64) -> Option<(usize, u64)> {
    let from = (at + 1).next_multiple_of(ALIGNMENT);
    (from..bytes.len()).step_by(ALIGNMENT).find_map(|offset| match decode_record(&bytes[offset..], salt) {
        Ok((record, _)) => Some((offset, record.durable)),
        // Its checksum holds, so it is a record; reading on from it ends with the right error.
        Err(Invalid::Version(_)) => Some((offset, u64::MAX)),
        Err(Invalid::Damaged) => None,
    })
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| *b == 0)
}

/// The length without trailing zeros.
fn trimmed(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1)
}
