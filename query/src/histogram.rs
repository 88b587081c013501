//! An exponential histogram of one fixed scale: what every latency percentile of the graph and of the services comes
//! from. Never keeps the values.

use std::sync::LazyLock;

/// 64 buckets between a value and its double: a percentile is off by at most 0.6 %. OTLP's scale 6.
const SCALE: usize = 64;
/// As many as 63 bits have.
const BUCKETS: usize = 63 * SCALE;

/// Counts of non-negative integers (nanoseconds) in buckets `(2^(i/64), 2^((i+1)/64)]`; what is not positive counts as 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    zeros: u64,
    /// The bucket that `counts` begins with.
    offset: usize,
    counts: Vec<u64>,
    total: u64,
    sum: i128,
    min: i64,
    max: i64,
}

/// From so many values upwards they are counted in a [`Tally`] first.
const MANY: usize = 64;

/// Counts on their way to a histogram, all 0 before and after. It stays in the processor's cache, where a window's
/// histograms do not.
pub struct Tally(Box<[u32; BUCKETS]>);

impl Default for Tally {
    fn default() -> Self {
        Self(Box::new([0; BUCKETS]))
    }
}

/// What is known of values beside their buckets.
struct Seen {
    zeros: u64,
    total: u64,
    sum: i128,
    min: i64,
    max: i64,
}

impl Seen {
    /// Gives the bucket of each positive value.
    #[inline]
    fn of(values: impl Iterator<Item = i64>, mut count: impl FnMut(usize)) -> Self {
        let ends = &*ENDS;
        let mut seen = Self { zeros: 0, total: 0, sum: 0, min: i64::MAX, max: i64::MIN };
        for value in values {
            (seen.min, seen.max) = (seen.min.min(value), seen.max.max(value));
            seen.total += 1;
            seen.sum += i128::from(value);
            if value > 0 { count(ends.bucket(value)) } else { seen.zeros += 1 }
        }
        seen
    }
}

/// What a histogram is made of, to be kept and read back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    pub zeros: u64,
    /// The bucket that `counts` begins with; its first and its last count are not 0.
    pub offset: usize,
    pub counts: Vec<u64>,
    pub sum: i128,
    pub min: i64,
    pub max: i64,
}

impl Histogram {
    pub fn record(&mut self, value: i64) {
        self.record_each(std::iter::once(value));
    }

    /// Records values as if one by one; many of them by way of a tally, in less time.
    pub fn record_all(&mut self, values: impl Iterator<Item = i64>, tally: &mut Tally) {
        if values.size_hint().1.is_some_and(|most| most < MANY) {
            return self.record_each(values);
        }
        let seen = Seen::of(values, |bucket| tally.0[bucket] += 1);
        // Every positive value lies between these.
        let range = if seen.max > 0 { ENDS.bucket(seen.min.max(1))..ENDS.bucket(seen.max) + 1 } else { 0..0 };
        let from = range.start;
        let counted = &mut tally.0[range];
        if let Some(first) = counted.iter().position(|&count| count > 0) {
            self.slot(from + first);
            self.slot(from + counted.len() - 1);
            let at = from + first - self.offset;
            for (mine, more) in self.counts[at..].iter_mut().zip(&counted[first..]) {
                *mine += u64::from(*more);
            }
            counted.fill(0);
        }
        self.take(seen);
    }

    fn record_each(&mut self, values: impl Iterator<Item = i64>) {
        let seen = Seen::of(values, |bucket| match self.counts.get_mut(bucket.wrapping_sub(self.offset)) {
            Some(count) => *count += 1,
            None => *self.slot(bucket) += 1,
        });
        self.take(seen);
    }

    /// Takes what was seen of values that are counted.
    fn take(&mut self, seen: Seen) {
        if seen.total == 0 {
            return;
        }
        let (min, max) = if self.total == 0 { (seen.min, seen.max) } else { (self.min, self.max) };
        (self.min, self.max) = (min.min(seen.min), max.max(seen.max));
        self.zeros += seen.zeros;
        self.total += seen.total;
        self.sum += seen.sum;
    }

    pub const fn count(&self) -> u64 {
        self.total
    }

    /// Of all values, or the nearest number that fits.
    pub fn sum(&self) -> i64 {
        i64::try_from(self.sum).unwrap_or(if self.sum < 0 { i64::MIN } else { i64::MAX })
    }

    /// Adds the values of another.
    pub fn merge(&mut self, other: &Self) {
        if other.total == 0 {
            return;
        }
        if self.total == 0 {
            (self.min, self.max) = (other.min, other.max);
        }
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.sum += other.sum;
        self.total += other.total;
        self.zeros += other.zeros;
        if let Some(last) = other.counts.len().checked_sub(1) {
            // The range is widened once.
            self.slot(other.offset);
            self.slot(other.offset + last);
            let at = other.offset - self.offset;
            for (mine, theirs) in self.counts[at..].iter_mut().zip(&other.counts) {
                *mine += theirs;
            }
        }
    }

    pub fn parts(&self) -> Parts {
        let Self { zeros, offset, counts, sum, min, max, .. } = self.clone();
        Parts { zeros, offset, counts, sum, min, max }
    }

    /// The inverse of [`Histogram::parts`]; `None` where the parts are none of a histogram.
    pub fn from_parts(parts: Parts) -> Option<Self> {
        let Parts { zeros, offset, counts, sum, min, max } = parts;
        let ends_count = counts.first().is_none_or(|c| *c > 0) && counts.last().is_none_or(|c| *c > 0);
        if offset.checked_add(counts.len())? > BUCKETS || !ends_count {
            return None;
        }
        let total = counts.iter().try_fold(zeros, |sum, count| sum.checked_add(*count))?;
        Some(Self { zeros, offset, counts, total, sum, min, max })
    }

    /// The value below or at which the share `q` of the values lie: the middle of its bucket, within the smallest and the
    /// largest value seen. 0 where there are none.
    pub fn quantile(&self, q: f64) -> i64 {
        if self.total == 0 {
            return 0;
        }
        let rank = ((q * self.total as f64).ceil() as u64).clamp(1, self.total);
        if rank == self.total && q >= 1.0 {
            return self.max;
        }
        let mut seen = self.zeros;
        if rank <= seen {
            return 0.clamp(self.min, self.max);
        }
        for (i, count) in self.counts.iter().enumerate() {
            seen += count;
            if rank <= seen {
                let middle = ((self.offset + i) as f64 + 0.5) / SCALE as f64;
                return (middle.exp2().round() as i64).clamp(self.min, self.max);
            }
        }
        self.max
    }

    /// The count of a bucket, the range of buckets widened to hold it.
    fn slot(&mut self, bucket: usize) -> &mut u64 {
        if self.counts.is_empty() {
            self.offset = bucket;
        }
        if bucket < self.offset {
            let missing = self.offset - bucket;
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.offset = bucket;
        }
        let at = bucket - self.offset;
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        &mut self.counts[at]
    }
}

/// Of a double.
const FRACTION_BITS: u32 = 52;
const FRACTION: u64 = (1 << FRACTION_BITS) - 1;
/// The parts in which an octave is looked up: so many that each is smaller than the smallest bucket.
const PART_BITS: u32 = 7;

/// The ends of an octave's buckets.
struct Ends {
    /// The fractions of `2^(i/64)`, and behind them one that no fraction is above.
    fractions: [u64; SCALE + 1],
    /// How many of them are below each part.
    below: [u8; 1 << PART_BITS],
}

impl Ends {
    /// The bucket of a positive value: at most 63 × 64 of them.
    #[inline]
    fn bucket(&self, value: i64) -> usize {
        let bits = (value as f64).to_bits();
        let exponent = (bits >> FRACTION_BITS) as usize - 1023;
        let fraction = bits & FRACTION;
        let below = usize::from(self.below[(fraction >> (FRACTION_BITS - PART_BITS)) as usize]);
        // A part of an octave has one end of a bucket in it at most.
        let below = below + usize::from(self.fractions[below] < fraction);
        (exponent * SCALE + below).saturating_sub(1)
    }
}

static ENDS: LazyLock<Ends> = LazyLock::new(|| {
    let fraction = |end: usize| (end as f64 / SCALE as f64).exp2().to_bits() & FRACTION;
    let fractions = std::array::from_fn(|end| if end < SCALE { fraction(end) } else { u64::MAX });
    let first = |part: usize| (part as u64) << (FRACTION_BITS - PART_BITS);
    let below = std::array::from_fn(|part| fractions.iter().filter(|&&end| end < first(part)).count() as u8);
    Ends { fractions, below }
});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// In units of a bucket; exact but for the last bits.
    fn scaled_log2(value: i64) -> f64 {
        (value as f64).log2() * SCALE as f64
    }

    #[test]
    fn powers_of_two_end_their_buckets() {
        let bucket = |value| ENDS.bucket(value);
        for power in 1..63 {
            let value = 1_i64 << power;
            assert_eq!(bucket(value), power * SCALE - 1);
            // Beyond 2^53 a double does not tell them apart.
            if power < 53 {
                assert!(bucket(value + 1) >= power * SCALE);
            }
        }
        assert_eq!((bucket(1), bucket(i64::MAX)), (0, BUCKETS - 1));
    }

    proptest! {
        #[test]
        fn a_value_is_between_the_ends_of_its_bucket(value in 1..i64::MAX, bits in 0..62_u32) {
            let value = (value >> bits).max(1);
            let (bucket, exact) = (ENDS.bucket(value) as f64, scaled_log2(value));
            prop_assert!(value == 1 || bucket - 1e-9 <= exact && exact <= bucket + 1.0 + 1e-9, "{} in {}", exact, bucket);
        }
    }

    proptest! {
        #[test]
        fn many_at_once_are_recorded_as_one_by_one(
            parts in proptest::collection::vec((proptest::collection::vec(any::<i64>(), 0..3 * MANY), 0..63_u32), 1..4)
        ) {
            let (mut at_once, mut one_by_one, mut tally) = (Histogram::default(), Histogram::default(), Tally::default());
            for (values, bits) in parts {
                let values = values.iter().map(|value| value >> bits);
                values.clone().for_each(|value| one_by_one.record(value));
                at_once.record_all(values, &mut tally);
                prop_assert_eq!(&at_once, &one_by_one);
            }
            prop_assert!(tally.0.iter().all(|&count| count == 0));
        }
    }

    #[test]
    fn quantiles_are_near_the_true_ones() {
        let values: Vec<i64> = (1..=10_000).map(|i| i * i).collect();
        let mut whole = Histogram::default();
        values.iter().for_each(|&v| whole.record(v));
        for q in [0.01, 0.5, 0.95, 0.99] {
            let exact = values[(q * values.len() as f64).ceil() as usize - 1] as f64;
            let off = (whole.quantile(q) as f64 - exact).abs() / exact;
            assert!(off < 0.007, "q={q} off by {off}");
        }
        assert_eq!(whole.quantile(1.0), 100_000_000);
        assert_eq!(whole.sum(), values.iter().sum::<i64>());
    }

    #[test]
    fn one_value_is_its_own_percentile_and_odd_values_are_taken() {
        for value in [1, 7, 123_456_789, i64::MAX, 0, -5] {
            let mut h = Histogram::default();
            h.record(value);
            assert_eq!(h.quantile(0.5), value, "{value}");
        }
        assert_eq!(Histogram::default().quantile(0.5), 0);
    }
}
