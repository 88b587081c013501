//! How a scan is cut into slices of time, from where its rows lie: by what is known before anything is read, as if the rows
//! of a file were even over its time, and by how many were found so far. Never reads a row.

/// A slice is at most so many times what was read before it.
const GROWTH: f64 = 8.0;
/// A slice may be so many times as large as it is meant to be.
const TOLERANCE: f64 = 1.125;
/// A slice is meant to hold so many times the rows that are still wanted.
const MARGIN: f64 = 1.5;

/// Times from the first to the last, inclusive, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    pub min_ns: i64,
    pub max_ns: i64,
}

impl Slice {
    pub const ALL: Self = Self { min_ns: i64::MIN, max_ns: i64::MAX };

    pub fn and(self, other: Self) -> Self {
        Self { min_ns: self.min_ns.max(other.min_ns), max_ns: self.max_ns.min(other.max_ns) }
    }

    /// Whether some times between these two, inclusive, are in it.
    pub const fn meets(self, min_ns: i64, max_ns: i64) -> bool {
        max_ns >= self.min_ns && min_ns <= self.max_ns
    }

    /// Whether all times between these two are in it.
    pub const fn holds(self, min_ns: i64, max_ns: i64) -> bool {
        min_ns >= self.min_ns && max_ns <= self.max_ns
    }
}

/// Rows of about even times from the first to the last, inclusive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Extent {
    pub min_ns: i64,
    pub max_ns: i64,
    pub rows: f64,
}

impl Extent {
    /// The rows with times up to this one.
    fn until(&self, ns: i64) -> f64 {
        let width = |from: i64, to: i64| (i128::from(to) - i128::from(from) + 1) as f64;
        if ns < self.min_ns {
            0.0
        } else {
            self.rows * width(self.min_ns, ns.min(self.max_ns)) / width(self.min_ns, self.max_ns)
        }
    }

    /// The part with times in a slice, if there is one.
    pub fn within(&self, slice: Slice) -> Option<Self> {
        let (min_ns, max_ns) = (self.min_ns.max(slice.min_ns), self.max_ns.min(slice.max_ns));
        let before = min_ns.checked_sub(1).map_or(0.0, |ns| self.until(ns));
        (min_ns <= max_ns).then(|| Self { min_ns, max_ns, rows: self.until(max_ns) - before })
    }

    /// Backwards in time.
    const fn reversed(self) -> Self {
        Self { min_ns: self.max_ns.saturating_neg(), max_ns: self.min_ns.saturating_neg(), rows: self.rows }
    }
}

/// The slices of a scan, one after another: they do not overlap, and together they are all of time.
#[derive(Debug)]
pub(super) struct Slices {
    /// In the order of reading: backwards where the newest rows come first.
    extents: Vec<Extent>,
    newest_first: bool,
    first_rows: f64,
    /// Where the next slice begins, in the order of reading; `None` once the last was given.
    next: Option<i64>,
    /// Rows of all slices, and of those given so far, about.
    total: f64,
    given: f64,
}

impl Slices {
    pub fn new(extents: Vec<Extent>, newest_first: bool, first_rows: f64) -> Self {
        let extents: Vec<_> = if newest_first { extents.into_iter().map(Extent::reversed).collect() } else { extents };
        let total = extents.iter().map(|extent| extent.rows).sum();
        Self { extents, newest_first, first_rows, next: Some(i64::MIN), total, given: 0.0 }
    }

    /// The slice to read when `found` of the `wanted` rows were in those before it.
    pub fn next(&mut self, found: usize, wanted: usize) -> Option<Slice> {
        let from = self.next?;
        let rows = self.rows(found, wanted);
        // What little would be left is read along.
        let last = if self.left() < 2.0 * rows { None } else { self.reach(from, rows) };
        self.given = last.map_or(self.total, |last| self.until(last));
        self.next = last.and_then(|last| last.checked_add(1));
        let last = last.unwrap_or(i64::MAX);
        Some(match self.newest_first {
            true if self.next.is_none() => Slice { min_ns: i64::MIN, max_ns: from.saturating_neg() },
            true => Slice { min_ns: last.saturating_neg(), max_ns: from.saturating_neg() },
            false => Slice { min_ns: from, max_ns: last },
        })
    }

    /// How many rows were not in any slice yet, about.
    pub fn left(&self) -> f64 {
        self.total - self.given
    }

    /// How many rows the next slice is to have.
    fn rows(&self, found: usize, wanted: usize) -> f64 {
        if self.given == 0.0 {
            return self.first_rows;
        }
        let missing = wanted.saturating_sub(found) as f64;
        let expected = if found == 0 { f64::INFINITY } else { MARGIN * missing * self.given / found as f64 };
        expected.clamp(self.given, GROWTH * self.given)
    }

    /// How many rows there are up to a time, about.
    fn until(&self, ns: i64) -> f64 {
        self.extents.iter().map(|extent| extent.until(ns)).sum()
    }

    /// A time, from one on, up to which there are so many rows beyond those given, or a few more; `None` where that is the
    /// last of all.
    fn reach(&self, from: i64, rows: f64) -> Option<i64> {
        let first = self.extents.iter().map(|extent| extent.min_ns).min()?;
        let last = self.extents.iter().map(|extent| extent.max_ns).max()?;
        let (mut low, mut high) = (from.max(first), last);
        while low < high {
            let middle = (i128::from(low) + i128::from(high)).div_euclid(2) as i64;
            let beyond = self.until(middle) - self.given;
            if beyond < rows {
                low = middle + 1;
            } else {
                high = middle;
                // Of thousands of files, near enough is found in a few steps.
                if beyond <= rows * TOLERANCE {
                    break;
                }
            }
        }
        (high < last).then_some(high)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn extents() -> impl Strategy<Value = Vec<Extent>> {
        let time = prop_oneof![-1_000_i64..1_000, Just(i64::MIN), Just(i64::MAX), any::<i64>()];
        let extent = (time.clone(), time, 0_u32..10_000).prop_map(|(a, b, rows)| Extent {
            min_ns: a.min(b),
            max_ns: a.max(b),
            rows: f64::from(rows),
        });
        prop::collection::vec(extent, 0..8)
    }

    proptest! {
        #[test]
        fn slices_follow_one_another_and_are_all_of_time(extents in extents(), newest_first: bool, found in 0_usize..20) {
            let mut slices = Slices::new(extents, newest_first, 50.0);
            let mut edge = None;
            let mut count = 0;
            while let Some(slice) = slices.next(found, 20) {
                prop_assert!(slice.min_ns <= slice.max_ns, "{slice:?}");
                let (begin, end) = if newest_first { (slice.max_ns, slice.min_ns) } else { (slice.min_ns, slice.max_ns) };
                match edge {
                    None => prop_assert_eq!(begin, if newest_first { i64::MAX } else { i64::MIN }),
                    Some(edge) if newest_first => prop_assert_eq!(begin, edge - 1),
                    Some(edge) => prop_assert_eq!(begin, edge + 1),
                }
                edge = Some(end);
                count += 1;
                prop_assert!(count < 40, "each is as large as all before it, about");
            }
            prop_assert_eq!(edge, Some(if newest_first { i64::MIN } else { i64::MAX }));
            prop_assert!(slices.left().abs() < 1e-6);
        }
    }

    #[test]
    fn a_slice_grows_with_what_was_not_found() {
        let hour = Extent { min_ns: 0, max_ns: 3_599_999, rows: 3_600_000.0 };
        for newest_first in [true, false] {
            let mut slices = Slices::new(vec![hour], newest_first, 1_000.0);
            let mut given = 0.0;
            // What was found of the rows wanted, and how many times as large as all before it the next slice is.
            for (found, wanted, times) in
                [(0, 20, None), (0, 20, Some(8.0)), (18, 20, Some(1.0)), (5, 20, Some(4.5)), (9, 9_000, Some(8.0))]
            {
                let slice = slices.next(found, wanted).expect("a slice");
                let rows = hour.within(slice).expect("rows").rows;
                let expected = times.map_or(1_000.0, |times| times * given);
                assert!((expected..=expected * TOLERANCE).contains(&rows), "{rows} instead of {expected}");
                given += rows;
                assert_eq!(slices.left(), 3_600_000.0 - given);
            }
        }
        let mut slices = Slices::new(vec![hour], false, 2_000_000.0);
        assert_eq!(slices.next(0, 20), Some(Slice::ALL), "little would be left");
        assert_eq!(slices.next(0, 20), None);
    }

    #[test]
    fn a_part_of_an_extent_has_its_share_of_rows() {
        let extent = Extent { min_ns: 10, max_ns: 19, rows: 100.0 };
        let part = |min_ns, max_ns| extent.within(Slice { min_ns, max_ns });
        assert_eq!(part(i64::MIN, i64::MAX), Some(extent));
        assert_eq!(part(15, 16), Some(Extent { min_ns: 15, max_ns: 16, rows: 20.0 }));
        assert_eq!(part(0, 10), Some(Extent { min_ns: 10, max_ns: 10, rows: 10.0 }));
        assert_eq!(part(20, 30), None);
        assert_eq!(part(17, 12), None);
    }
}
