//! The value axis of a chart: round ticks over a range of numbers or durations. Never draws.

/// Round ticks from zero (or below, where values are) to at least the largest value: (ticks, top).
pub fn ticks(least: f64, largest: f64, most: usize) -> Vec<f64> {
    let low = least.min(0.0);
    let high = if largest > low { largest } else { low + 1.0 };
    let step = round_up((high - low) / most.max(1) as f64);
    let mut at = (low / step).floor() * step;
    let mut found = vec![at];
    // The count bounds the loop where rounding would not end it.
    while at < high && found.len() < most + 3 {
        at += step;
        found.push(at);
    }
    found
}

/// The next of 1, 2, 2.5, 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let head = value / power;
    let round = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|r| head <= *r * 1.000_001).unwrap_or(10.0);
    round * power
}

/// Points of a polyline through equal steps, for a small chart of the given size; the largest value touches the top.
pub fn spark(values: &[u64], width: f64, height: f64) -> String {
    let most = values.iter().copied().max().unwrap_or(0).max(1) as f64;
    let step = width / values.len().saturating_sub(1).max(1) as f64;
    let point = |(i, v): (usize, &u64)| format!("{:.1},{:.1}", i as f64 * step, height - *v as f64 / most * height);
    values.iter().enumerate().map(point).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_the_top() {
        assert_eq!(ticks(0.0, 9.0, 4), vec![0.0, 2.5, 5.0, 7.5, 10.0]);
        assert_eq!(ticks(0.0, 0.0, 4).len(), 5);
        assert_eq!(ticks(-3.0, 5.0, 4), vec![-4.0, -2.0, 0.0, 2.0, 4.0, 6.0]);
        for top in [1e-9, 0.3, 7.0, 1234.5, 8e11] {
            let found = ticks(0.0, top, 5);
            assert!(*found.last().unwrap() >= top && found.len() <= 8, "{top}: {found:?}");
        }
    }

    #[test]
    fn a_sparkline_spans_its_box() {
        assert_eq!(spark(&[0, 5, 10], 100.0, 20.0), "0.0,20.0 50.0,10.0 100.0,0.0");
        assert_eq!(spark(&[0, 0], 10.0, 10.0), "0.0,10.0 10.0,10.0");
    }
}
