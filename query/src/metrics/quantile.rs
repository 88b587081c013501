//! Quantiles of OTLP histograms: within a bucket by linear interpolation, as PromQL's `histogram_quantile` does. Pure.

use std::collections::BTreeMap;

/// Counts by the bucket's upper bound; the last bound may be infinite.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    /// From the ordered bits of the upper bound to (lower bound, upper bound, count).
    counts: BTreeMap<i64, (f64, f64, f64)>,
}

impl Buckets {
    pub fn add(&mut self, lower: f64, upper: f64, count: f64) {
        if count > 0.0 {
            self.counts.entry(ordered(upper)).or_insert((lower, upper, 0.0)).2 += count;
        }
    }

    /// An explicit-bounds histogram's buckets.
    pub fn add_explicit(&mut self, bounds: &[f64], counts: &[f64]) {
        for (i, &count) in counts.iter().enumerate() {
            let upper = bounds.get(i).copied().unwrap_or(f64::INFINITY);
            // The lowest bucket of positive bounds begins at 0, as in PromQL.
            let lower = match i.checked_sub(1) {
                Some(before) => bounds.get(before).copied().unwrap_or(f64::NEG_INFINITY),
                None if upper > 0.0 => 0.0,
                None => f64::NEG_INFINITY,
            };
            self.add(lower, upper, count);
        }
    }

    /// An exponential histogram's buckets of one sign: bucket `i` holds `base^(offset+i)` to `base^(offset+i+1)`.
    pub fn add_exponential(&mut self, scale: i32, offset: i32, counts: &[f64], negative: bool) {
        let bound = |index: i64| (index as f64 * (-f64::from(scale)).exp2()).exp2();
        for (i, &count) in counts.iter().enumerate() {
            let index = i64::from(offset) + i as i64;
            let (near, far) = (bound(index), bound(index + 1));
            let (lower, upper) = if negative { (-far, -near) } else { (near, far) };
            self.add(lower, upper, count);
        }
    }

    /// `None` where nothing was counted.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let total: f64 = self.counts.values().map(|b| b.2).sum();
        if total <= 0.0 {
            return None;
        }
        let rank = q * total;
        let mut before = 0.0;
        for &(lower, upper, count) in self.counts.values() {
            if before + count >= rank {
                if upper.is_infinite() {
                    return Some(lower).filter(|l| l.is_finite());
                }
                if lower.is_infinite() {
                    return Some(upper);
                }
                return Some(lower + (upper - lower) * ((rank - before) / count));
            }
            before += count;
        }
        self.counts.values().last().map(|b| b.1)
    }
}

/// Bits that order as the numbers do.
fn ordered(value: f64) -> i64 {
    let bits = value.to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_where_the_counts_say() {
        let mut explicit = Buckets::default();
        explicit.add_explicit(&[1.0, 2.0, 4.0], &[10.0, 10.0, 10.0, 0.0]);
        assert_eq!(explicit.quantile(0.5), Some(1.5));
        assert_eq!(explicit.quantile(1.0), Some(4.0));
        explicit.add_explicit(&[1.0, 2.0, 4.0], &[0.0, 0.0, 0.0, 300.0]);
        assert_eq!(explicit.quantile(0.95), Some(4.0));
        let mut exponential = Buckets::default();
        exponential.add_exponential(0, 1, &[4.0, 4.0], false);
        exponential.add_exponential(0, 1, &[8.0], true);
        exponential.add(0.0, 0.0, 4.0);
        assert_eq!(exponential.quantile(0.4), Some(-2.0));
        assert_eq!(exponential.quantile(0.5), Some(0.0));
        assert_eq!(exponential.quantile(0.8), Some(4.0));
        assert_eq!(exponential.quantile(0.9), Some(6.0));
        assert_eq!(Buckets::default().quantile(0.5), None);
    }
}
