//! Which files are merged next: small neighbours of one table and hour, many at a time, so that a row is written again only
//! a few times in its life. Sizes in, a range of files out; never opens one.

use std::ops::Range;
use std::sync::Arc;

use hashbrown::HashMap;
use orrery_model::{TableName, TenantId};

use super::CompactionConfig;
use crate::DataFile;
use crate::lake::LakeView;
use crate::parquet::hour_of;

/// Files of one merge.
const MAX_FILES: usize = 64;
/// The largest of many files grows by this factor at least, so that no row is in many such merges.
const MANY_GAIN: f64 = 4.0;
/// A large file is written again for a quarter of its size, not for less.
const SETTLED_GAIN: f64 = 1.25;

/// A table's hour.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct HourId {
    pub(super) tenant: TenantId,
    pub(super) table: TableName,
    /// Since the Unix epoch, or [`crate::parquet::MIXED`] for files with rows of several hours.
    pub(super) hour: u32,
}

/// The live files of an hour, in the order in which their rows were received.
pub(super) struct Hour {
    pub(super) id: HourId,
    pub(super) files: Vec<Arc<DataFile>>,
}

/// The hours that have more than one file, the newest first.
pub(super) fn hours(view: &LakeView) -> Vec<Hour> {
    let mut hours = Vec::new();
    for (tenant, tables) in &view.tables {
        for (table, files) in TableName::ALL.into_iter().zip(tables) {
            let mut by_hour: HashMap<u32, Vec<Arc<DataFile>>> = HashMap::new();
            for file in files.iter() {
                by_hour
                    .entry(hour_of(file.min_timestamp_ns, file.max_timestamp_ns))
                    .or_default()
                    .push(Arc::clone(file));
            }
            for (hour, mut files) in by_hour.into_iter().filter(|(_, files)| files.len() > 1) {
                files.sort_by_key(|file| file.received());
                hours.push(Hour { id: HourId { tenant: tenant.clone(), table, hour }, files });
            }
        }
    }
    hours.sort_by(|a, b| {
        let key = |hour: &Hour| (std::cmp::Reverse(hour.id.hour), hour.id.table);
        key(a).cmp(&key(b)).then_with(|| a.id.tenant.cmp(&b.id.tenant))
    });
    hours
}

/// The neighbours of an hour's files to merge next, by their sizes: many of about one size, or fewer that make a large one
/// together. `settled` is an hour for which nothing new is expected: its files become as few as they can be without
/// writing much again for little.
pub(super) fn choose(sizes: &[u64], settled: bool, config: &CompactionConfig) -> Option<Range<usize>> {
    // Somewhat more than the target: a merged file is smaller than its parts.
    let large = config.target_bytes.saturating_add(config.target_bytes / 4);
    let is_many = |part: &[u64]| {
        (part.len() >= config.many_files || part.iter().sum::<u64>() >= large) && gain(part) >= MANY_GAIN
    };
    let is_worth = |part: &[u64]| gain(part) >= SETTLED_GAIN;
    search(sizes, config, is_many).or_else(|| if settled { search(sizes, config, is_worth) } else { None })
}

/// Neighbours below the target size, of several such parts one of about equal size, which `is_good` takes. Where a part is
/// not good, what lies beside its largest file may be.
fn search(sizes: &[u64], config: &CompactionConfig, is_good: impl Fn(&[u64]) -> bool) -> Option<Range<usize>> {
    let mut pieces: Vec<Range<usize>> = runs(sizes, config.target_bytes.saturating_sub(1)).collect();
    while let Some(piece) = pieces.pop() {
        let part = fitting(sizes, piece.start..even_part(sizes, &piece, config.max_bytes), config.max_bytes);
        if part.len() > 1 && is_good(&sizes[part.clone()]) {
            return Some(part);
        }
        let largest = part.clone().max_by_key(|&i| sizes[i]).unwrap_or(part.start);
        let rests = [part.end..piece.end, part.start..largest, largest + 1..part.end];
        pieces.extend(rests.into_iter().filter(|rest| rest.len() > 1));
    }
    None
}

/// The end of the first of so many parts of about one size as it takes for each to be below the limit.
fn even_part(sizes: &[u64], piece: &Range<usize>, max_bytes: u64) -> usize {
    let total: u64 = sizes[piece.clone()].iter().sum();
    let goal = total.div_ceil(total.div_ceil(max_bytes.max(1)).max(1));
    let mut sum = 0;
    for i in piece.clone() {
        sum += sizes[i];
        if sum >= goal {
            return i + 1;
        }
    }
    piece.end
}

/// As many of the run's first files as do not outgrow the limit together.
fn fitting(sizes: &[u64], run: Range<usize>, max_bytes: u64) -> Range<usize> {
    let mut sum = 0_u64;
    let fits = |&i: &usize| {
        sum = sum.saturating_add(sizes[i]);
        sum <= max_bytes
    };
    let count = run.clone().take(MAX_FILES).take_while(fits).count();
    run.start..run.start + count.max(1).min(run.len())
}

/// The runs of neighbours of at most the size.
fn runs(sizes: &[u64], most: u64) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    sizes.chunk_by(move |a, b| (*a <= most) == (*b <= most)).filter_map(move |chunk| {
        let run = start..start + chunk.len();
        start = run.end;
        (chunk[0] <= most).then_some(run)
    })
}

/// By how much the largest of the files grows.
fn gain(sizes: &[u64]) -> f64 {
    let largest = sizes.iter().copied().max().unwrap_or(0);
    sizes.iter().sum::<u64>() as f64 / largest.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn config() -> CompactionConfig {
        CompactionConfig::default()
    }

    #[test]
    fn files_are_chosen_by_number_and_size() {
        let ten = vec![5 * MIB; 10];
        type Case<'a> = (&'a [u64], bool, Option<Range<usize>>);
        let cases: &[Case<'_>] = &[
            (&[], true, None),
            (&[5 * MIB], true, None),
            (&[5 * MIB, 5 * MIB], false, None),
            (&[5 * MIB, 5 * MIB], true, Some(0..2)),
            (&ten, false, Some(0..10)),
            (&[300 * MIB, 5 * MIB, 5 * MIB], true, Some(1..3)),
            (&[300 * MIB, 5 * MIB, 300 * MIB, 5 * MIB], true, None),
            // A large file is not written again for a small one.
            (&[200 * MIB, 5 * MIB], true, None),
            (&[200 * MIB, 5 * MIB, 4 * MIB], true, Some(1..3)),
            (&[200 * MIB, 30 * MIB, 25 * MIB], true, Some(0..3)),
            (&[100 * MIB; 3], false, None),
            (&[100 * MIB; 4], false, Some(0..4)),
            // Two parts of 300 MiB, not one of 500 and one of 100.
            (&[150 * MIB, 76 * MIB, 75 * MIB, 149 * MIB, 76 * MIB, 75 * MIB], true, Some(0..3)),
            (&[MIB / 50; 200], false, Some(0..64)),
        ];
        for (sizes, settled, expected) in cases {
            assert_eq!(choose(sizes, *settled, &config()), *expected, "{sizes:?}, settled: {settled}");
        }
    }

    /// Flushes of many sizes, late data too: how often a byte is written again, and how many files are left.
    #[test]
    fn a_byte_is_written_again_a_few_times_only() {
        for (flushes, size, late) in
            [(120, MIB / 50, 0), (120, 5 * MIB, 300), (1_100, 6 * MIB, 0), (3_600, 40_000, 2_000), (40, 60 * MIB, 10)]
        {
            let mut files: Vec<u64> = Vec::new();
            let (mut flushed, mut merged, mut most) = (0, 0, 0);
            let mut settle = |files: &mut Vec<u64>, settled: bool| {
                while let Some(run) = choose(files, settled, &config()) {
                    let sum = files[run.clone()].iter().sum();
                    assert!(run.len() > 1 && sum <= config().max_bytes, "{run:?} of {files:?}");
                    merged += sum;
                    files.splice(run, [sum]);
                }
            };
            for i in 0..flushes {
                let size = size / 2 + size * (i * 7 % 11) / 10;
                files.push(size);
                flushed += size;
                settle(&mut files, false);
                most = most.max(files.len());
            }
            settle(&mut files, true);
            for i in 0..late {
                files.push(20_000);
                flushed += 20_000;
                // Now and then it is quiet for a while.
                settle(&mut files, i % 3 == 0);
            }
            settle(&mut files, true);
            let again = merged as f64 / flushed as f64;
            let full = flushed / config().target_bytes;
            println!("{flushes} flushes of {size} B and {late} late: {again:.2} times again, {} files", files.len());
            assert!(again <= 7.0, "{flushes} flushes of {size} B: written {again:.2} times again");
            assert!(most as u64 <= full + 22, "{most} files at once");
            assert!(files.len() as u64 <= full + 6, "{} files are left of {flushed} bytes", files.len());
        }
    }
}
