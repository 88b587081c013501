//! How long to wait after a failure: twice as long each time, with jitter, and no longer than five minutes unless the
//! destination asks for more. Never reads a clock.

use std::time::Duration;

use rand::Rng;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(5 * 60);
/// What a destination may ask for at most.
pub const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// The wait after the given number of failures in a row: between half and all of the doubled time, so that many senders
/// do not come back at once; or what the destination asked for, where that is longer.
pub fn delay(failures: u32, asked: Option<Duration>, rng: &mut impl Rng) -> Duration {
    let doubled = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST);
    let own = doubled.mul_f64(rng.random_range(0.5..=1.0));
    own.max(asked.unwrap_or_default().min(LONGEST_ASKED))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes_with_jitter() {
        let mut rng = SmallRng::seed_from_u64(7);
        for (failures, seconds) in
            [(0, 1), (1, 1), (2, 2), (3, 4), (6, 32), (9, 256), (10, 300), (1000, 300), (u32::MAX, 300)]
        {
            let full = Duration::from_secs(seconds);
            let mut distinct = std::collections::BTreeSet::new();
            for _ in 0..100 {
                let delay = delay(failures, None, &mut rng);
                assert!(delay >= full / 2 && delay <= full, "{failures}: {delay:?}");
                distinct.insert(delay);
            }
            assert!(distinct.len() > 50, "no jitter at {failures}");
        }
    }

    #[test]
    fn what_the_destination_asks_for_is_heeded_within_reason() {
        let mut rng = SmallRng::seed_from_u64(7);
        let mut asked = |seconds| delay(1, Some(Duration::from_secs(seconds)), &mut rng);
        assert_eq!(asked(30), Duration::from_secs(30));
        assert_eq!(asked(1_000_000), LONGEST_ASKED);
        assert!(asked(0) >= FIRST / 2);
    }
}
