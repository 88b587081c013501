//! When a group is evaluated: at slots an interval apart, moved by a hash of the group's name so that groups do not all
//! come at once, and the same after every start. Pure; knows no clock.

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

/// A group's slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    interval_ns: i64,
    offset_ns: i64,
}

/// The slot to evaluate, and how many before it were left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    pub time_ns: i64,
    pub missed: u64,
}

impl Slots {
    pub fn new(file: &str, group: &str, interval: Duration) -> Self {
        let interval_ns = i64::try_from(interval.as_nanos()).unwrap_or(i64::MAX).max(1);
        let hash = xxh3_64(format!("{file}\0{group}").as_bytes()) >> 1;
        Self { interval_ns, offset_ns: hash.cast_signed() % interval_ns }
    }

    pub const fn interval_ns(&self) -> i64 {
        self.interval_ns
    }

    /// The last slot that is not after a time.
    pub const fn at_or_before(&self, now_ns: i64) -> i64 {
        now_ns - (now_ns - self.offset_ns).rem_euclid(self.interval_ns)
    }

    /// The first slot after a time.
    pub const fn after(&self, now_ns: i64) -> i64 {
        self.at_or_before(now_ns) + self.interval_ns
    }

    /// What is due at `now_ns` when `next_ns` is the slot that is waited for; `None` where that is still to come. Where the
    /// clock was put back, so that the slot is more than an interval away, another one is to be waited for: the next.
    pub fn due(&self, next_ns: i64, now_ns: i64) -> Result<Option<Due>, i64> {
        if now_ns < next_ns {
            return if next_ns - now_ns > self.interval_ns { Err(self.after(now_ns)) } else { Ok(None) };
        }
        let time_ns = self.at_or_before(now_ns);
        let missed = (time_ns - next_ns) / self.interval_ns;
        Ok(Some(Due { time_ns, missed: missed.max(0).cast_unsigned() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: i64 = 1_000_000_000;

    #[test]
    fn slots_are_an_interval_apart_and_never_move() {
        let slots = Slots::new("rules/a.yaml", "services", Duration::from_secs(15));
        let start = 1_700_000_000 * SECOND_NS;
        let first = slots.after(start);
        assert!(first > start && first <= start + 15 * SECOND_NS);
        assert_eq!(slots.at_or_before(first), first);
        assert_eq!(slots.after(first), first + 15 * SECOND_NS);
        assert_eq!(slots.at_or_before(first - 1), first - 15 * SECOND_NS);
        assert_eq!(Slots::new("rules/a.yaml", "services", Duration::from_secs(15)), slots);
        let before_1970 = slots.at_or_before(-SECOND_NS);
        assert!(before_1970 <= -SECOND_NS && before_1970 > -16 * SECOND_NS);
    }

    #[test]
    fn groups_spread_over_the_interval() {
        let quarter = |i: usize| {
            let slots = Slots::new("rules/a.yaml", &format!("group {i}"), Duration::from_secs(60));
            slots.offset_ns / (15 * SECOND_NS)
        };
        let mut counts = [0; 4];
        (0..400).for_each(|i| counts[usize::try_from(quarter(i)).expect("0 to 3")] += 1);
        assert!(counts.iter().all(|count| (70..130).contains(count)), "{counts:?}");
    }

    #[test]
    fn what_is_due_and_what_was_left_out() {
        let slots = Slots { interval_ns: 15 * SECOND_NS, offset_ns: 5 * SECOND_NS };
        let s = |seconds: i64| seconds * SECOND_NS;
        let due = |time, missed| Ok(Some(Due { time_ns: s(time), missed }));
        let cases = [
            ("not yet", 20, 19, Ok(None)),
            ("on time", 20, 20, due(20, 0)),
            ("a little late", 20, 34, due(20, 0)),
            ("one left out", 20, 35, due(35, 1)),
            ("after a night", 20, 20 + 15 * 1000 + 7, due(20 + 15 * 1000, 1000)),
            ("the clock a little back", 20, 6, Ok(None)),
            ("the clock far back", 3620, 21, Err(s(35))),
        ];
        for (name, next, now, expected) in cases {
            assert_eq!(slots.due(s(next), s(now)), expected, "{name}");
        }
    }
}
