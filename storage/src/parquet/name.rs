//! Names of data files: `{day}/{writer}-{epoch}-{first}-{last}-{table}-{partition}-{n}.parquet` below the table's folder.
//! The same flush repeated writes the same names; no two merges do. Never touches a file.

use chrono::DateTime;
use orrery_model::TableName;

use super::FlushName;
use super::order::MIXED;

/// The partition, and the folder, of files with rows of several hours.
const MIXED_WORD: &str = "mixed";

/// The name of the only writer of a lake with a local catalog.
pub(crate) const WRITER: &str = "local";

/// What stands in the place of the writer where a file was merged from others.
const MERGE: &str = "merge";

/// A data file's name in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileName {
    /// Without `-`.
    pub(crate) writer: String,
    pub(crate) epoch: u64,
    /// The sequences of the flush, inclusive; of a merge the ids of the first and the last flush's file in it.
    pub(crate) first: u64,
    pub(crate) last: u64,
    table: TableName,
    /// `YYYYMMDDHH`, UTC, or [`MIXED_WORD`].
    partition: String,
    /// Counts the files of one flush and partition, or the merges of one epoch.
    n: u32,
}

impl FileName {
    /// `hour` counts from the Unix epoch, or is [`MIXED`].
    pub(crate) fn new(flush: &FlushName, table: TableName, hour: u32) -> Self {
        let time = DateTime::from_timestamp(i64::from(hour) * 3600, 0).filter(|_| hour != MIXED);
        let partition = time.map_or_else(|| MIXED_WORD.to_owned(), |time| time.format("%Y%m%d%H").to_string());
        Self {
            writer: flush.writer.clone(),
            epoch: flush.epoch,
            first: flush.first,
            last: flush.last,
            table,
            partition,
            n: 0,
        }
    }

    /// The name of the epoch's `n`-th merge, of the files that flushes wrote with the ids `received`.
    pub(crate) fn merged(epoch: u64, received: (i64, i64), table: TableName, hour: u32, n: u32) -> Self {
        let (first, last) = (received.0.cast_unsigned(), received.1.cast_unsigned());
        let flush = FlushName { writer: MERGE.to_owned(), epoch, first, last };
        Self { n, ..Self::new(&flush, table, hour) }
    }

    /// Of a path below the table's folder.
    pub(crate) fn of_path(path: &str) -> Option<Self> {
        Self::parse(path.rsplit_once('/').map_or(path, |(_, name)| name))
    }

    /// Whether this lake's own writer gives such names.
    pub(crate) fn is_ours(&self) -> bool {
        self.writer == WRITER || self.writer == MERGE
    }

    /// See [`crate::DataFile::merged_from`].
    pub(crate) fn merged_from(&self) -> Option<(i64, i64)> {
        (self.writer == MERGE).then(|| (self.first.cast_signed(), self.last.cast_signed()))
    }

    /// Below the table's folder: a folder a day keeps folders small.
    pub(crate) fn relative_path(&self) -> String {
        let Self { writer, epoch, first, last, table, partition, n } = self;
        let folder = match partition.as_str() {
            MIXED_WORD => MIXED_WORD.to_owned(),
            hour => format!("{}-{}-{}", &hour[..4], &hour[4..6], &hour[6..8]),
        };
        format!("{folder}/{writer}-{epoch}-{first}-{last}-{table}-{partition}-{n}.parquet")
    }

    /// The parts of a file's name (without folders); `None` for what is no data file.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(".parquet")?.split('-');
        let mut next = || parts.next();
        let parsed = Self {
            writer: next()?.to_owned(),
            epoch: next()?.parse().ok()?,
            first: next()?.parse().ok()?,
            last: next()?.parse().ok()?,
            table: TableName::from_name(next()?)?,
            partition: next()
                .filter(|p| *p == MIXED_WORD || p.len() == 10 && p.bytes().all(|b| b.is_ascii_digit()))?
                .to_owned(),
            n: next()?.parse().ok()?,
        };
        next().is_none().then_some(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_they_hold_and_parse_back() {
        let flush = FlushName { writer: "local".to_owned(), epoch: 3, first: 17, last: 40 };
        let name = FileName::new(&flush, TableName::Spans, 465_067);
        let path = name.relative_path();
        assert_eq!(path, "2023-01-20/local-3-17-40-spans-2023012019-0.parquet");
        assert_eq!(FileName::parse(path.rsplit_once('/').expect("a folder").1), Some(name));
    }

    #[test]
    fn files_of_several_hours_have_a_folder_of_their_own() {
        let flush = FlushName { writer: "local".to_owned(), epoch: 3, first: 17, last: 40 };
        let name = FileName::new(&flush, TableName::Logs, MIXED);
        let path = name.relative_path();
        assert_eq!(path, "mixed/local-3-17-40-logs-mixed-0.parquet");
        assert_eq!(FileName::parse(path.rsplit_once('/').expect("a folder").1), Some(name));
    }

    #[test]
    fn names_of_merges_say_what_is_in_them() {
        let name = FileName::merged(3, (5, 812), TableName::Logs, 465_067, 7);
        let path = name.relative_path();
        assert_eq!(path, "2023-01-20/merge-3-5-812-logs-2023012019-7.parquet");
        let parsed = FileName::of_path(&path).expect("it parses");
        assert_eq!(parsed.merged_from(), Some((5, 812)));
        assert!(parsed.is_ours());
        let flush = FileName::of_path("2023-01-20/local-3-17-40-spans-2023012019-0.parquet").expect("it parses");
        assert_eq!(flush.merged_from(), None);
    }

    #[test]
    fn other_names_are_left_alone() {
        for name in [
            "ducklake-01a1fe39-7518-7206-a614-8f96fcbec9a4.parquet",
            "local-3-17-40-spans-2023012019-0.parquet.tmp",
            "local-3-17-40-spans-2023012019-0-1.parquet",
            "local-3-17-40-users-2023012019-0.parquet",
            "local-3-17-x-spans-2023012019-0.parquet",
            "notes.txt",
        ] {
            assert_eq!(FileName::parse(name), None, "{name}");
        }
    }
}
