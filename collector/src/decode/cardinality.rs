//! How many different attribute keys and metric series a tenant sends: both are counted for as long as they are sent, an
//! hour or two beyond, and what is new at the limit is rejected. A key costs an entry in the dictionaries of every file and a
//! line in every list of keys; a series is the row that every chart begins with. Never counts what was accepted before a
//! restart, never limits replay, and never makes a thread wait for what is known: looking it up is one read of a table.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::fault::{Fault, Reason};

/// What is not sent for so long, and at the latest after twice as long, is forgotten.
const WINDOW_NS: i64 = 3_600_000_000_000;

/// One tenant's keys and series.
#[derive(Debug)]
pub struct Cardinality {
    keys: Active,
    series: Active,
}

impl Cardinality {
    pub fn new(max_keys: usize, max_series: usize) -> Self {
        Self { keys: Active::new(max_keys), series: Active::new(max_series) }
    }

    /// Different attribute keys that are counted now.
    pub fn keys(&self) -> usize {
        self.keys.windows.load().count()
    }

    /// Different series that are counted now.
    pub fn series(&self) -> usize {
        self.series.windows.load().count()
    }
}

/// Things by hash, of which a number may be active.
#[derive(Debug)]
struct Active {
    limit: usize,
    windows: ArcSwap<Windows>,
    /// Held by the thread that replaces the windows.
    turn: Mutex<()>,
}

/// What was sent in this window, and in the one before.
#[derive(Debug)]
struct Windows {
    since_ns: i64,
    current: Table,
    previous: Arc<Table>,
    /// Of the current window, those that are in the previous one too.
    again: AtomicUsize,
}

impl Windows {
    fn count(&self) -> usize {
        (self.current.used.load(Relaxed) + self.previous.used.load(Relaxed)).saturating_sub(self.again.load(Relaxed))
    }
}

impl Active {
    fn new(limit: usize) -> Self {
        let empty = || Table::new(Table::SMALLEST, RandomState::new().hash_one(0));
        let windows =
            Windows { since_ns: 0, current: empty(), previous: Arc::new(empty()), again: AtomicUsize::new(0) };
        Self { limit, windows: ArcSwap::from_pointee(windows), turn: Mutex::new(()) }
    }

    /// The windows as they are at a time; begins one if the last is over.
    fn at(&self, now_ns: i64) -> Arc<Windows> {
        let windows = self.windows.load_full();
        if now_ns.saturating_sub(windows.since_ns) < WINDOW_NS {
            return windows;
        }
        let _turn = self.turn.lock();
        let windows = self.windows.load_full();
        let elapsed = now_ns.saturating_sub(windows.since_ns);
        if elapsed < WINDOW_NS {
            return windows;
        }
        let seed = windows.current.seed;
        let empty = || Table::new(Table::SMALLEST, seed);
        let previous = if elapsed < 2 * WINDOW_NS { windows.current.copy(Table::SMALLEST) } else { empty() };
        let next =
            Windows { since_ns: now_ns, current: empty(), previous: Arc::new(previous), again: AtomicUsize::new(0) };
        self.windows.store(Arc::new(next));
        self.windows.load_full()
    }

    /// Counts what a look at the windows did not find; false where there are as many as may be.
    #[cold]
    fn admit(&self, hash: u64) -> bool {
        let windows = self.windows.load();
        let known = windows.previous.contains(hash);
        // A few threads together may go over the limit by as many.
        if !known && windows.count() >= self.limit && !windows.current.contains(hash) {
            return false;
        }
        if windows.current.insert(hash) && known {
            windows.again.fetch_add(1, Relaxed);
        }
        if windows.current.is_crowded() {
            self.make_room();
        }
        true
    }

    /// Doubles the current table. What another thread puts into the old one meanwhile is counted when it comes again.
    fn make_room(&self) {
        let _turn = self.turn.lock();
        let windows = self.windows.load();
        if windows.current.is_crowded() {
            let next = Windows {
                since_ns: windows.since_ns,
                current: windows.current.copy(windows.current.slots.len() * 2),
                previous: Arc::clone(&windows.previous),
                again: AtomicUsize::new(windows.again.load(Relaxed)),
            };
            self.windows.store(Arc::new(next));
        }
    }
}

/// A set of hashes that threads read and add to without waiting. Half full at most, but for a moment.
#[derive(Debug)]
struct Table {
    /// 0 for none; as many as a power of two.
    slots: Box<[AtomicU64]>,
    used: AtomicUsize,
    /// So that no sender can choose what lies beside what.
    seed: u64,
}

impl Table {
    const SMALLEST: usize = 256;

    fn new(slots: usize, seed: u64) -> Self {
        Self { slots: (0..slots).map(|_| AtomicU64::new(0)).collect(), used: AtomicUsize::new(0), seed: seed | 1 }
    }

    /// The same hashes, in at least so many slots.
    fn copy(&self, slots: usize) -> Self {
        let slots = slots.max((self.used.load(Relaxed) * 2).next_power_of_two());
        let copy = Self::new(slots, self.seed);
        for slot in &self.slots {
            let hash = slot.load(Relaxed);
            if hash != 0 {
                copy.insert(hash);
            }
        }
        copy
    }

    fn is_crowded(&self) -> bool {
        self.used.load(Relaxed) * 2 > self.slots.len()
    }

    #[inline]
    fn first(&self, hash: u64) -> usize {
        (hash.wrapping_mul(self.seed) >> 32) as usize & (self.slots.len() - 1)
    }

    #[inline]
    fn contains(&self, hash: u64) -> bool {
        let mut at = self.first(hash);
        loop {
            match self.slots[at].load(Relaxed) {
                0 => return false,
                found if found == hash => return true,
                _ => at = (at + 1) & (self.slots.len() - 1),
            }
        }
    }

    /// Adds a hash; false where it is there. One that no slot is left for is not added, and counted when it comes again.
    fn insert(&self, hash: u64) -> bool {
        // Some stay empty, so that every search ends.
        if self.used.load(Relaxed) * 8 > self.slots.len() * 7 {
            return false;
        }
        let first = self.first(hash);
        for step in 0..self.slots.len() {
            let slot = &self.slots[(first + step) & (self.slots.len() - 1)];
            match slot.compare_exchange(0, hash, Relaxed, Relaxed) {
                Ok(_) => {
                    self.used.fetch_add(1, Relaxed);
                    return true;
                }
                Err(found) if found == hash => return false,
                Err(_) => {}
            }
        }
        false
    }
}

/// What one request sends, with the tenant's limits.
pub(super) struct Guard<'a> {
    /// With the windows as they were when the request came.
    tenant: Option<(&'a Cardinality, Arc<Windows>, Arc<Windows>)>,
}

impl<'a> Guard<'a> {
    /// Without a tenant everything is admitted.
    pub fn new(tenant: Option<&'a Cardinality>, now_ns: i64) -> Self {
        Self { tenant: tenant.map(|tenant| (tenant, tenant.keys.at(now_ns), tenant.series.at(now_ns))) }
    }

    /// Admits an attribute key by a hash of all its bytes.
    #[inline]
    pub fn key(&self, hash: u64) -> Result<(), Fault> {
        // 0 says that a slot is empty.
        let hash = hash.max(1);
        match &self.tenant {
            Some((tenant, keys, _)) if !keys.current.contains(hash) && !tenant.keys.admit(hash) => {
                Err(Fault::Reject(Reason::Keys { limit: tenant.keys.limit }))
            }
            _ => Ok(()),
        }
    }

    /// Admits a series by its id.
    #[inline]
    pub fn series(&self, id: u128) -> Result<(), Fault> {
        let hash = (id as u64).max(1);
        match &self.tenant {
            Some((tenant, _, series)) if !series.current.contains(hash) && !tenant.series.admit(hash) => {
                Err(Fault::Reject(Reason::Series { limit: tenant.series.limit }))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000_000_000;

    fn key(tenant: &Cardinality, hour: i64, hash: u64) -> bool {
        Guard::new(Some(tenant), NOW + hour * WINDOW_NS).key(hash).is_ok()
    }

    #[test]
    fn what_is_new_at_the_limit_is_refused_and_what_is_no_longer_sent_makes_room() {
        let tenant = Cardinality::new(3, 3);
        assert!((0..3).all(|hash| key(&tenant, 0, hash + 1)));
        assert!(!key(&tenant, 0, 4));
        assert!(key(&tenant, 0, 1), "what is known goes on");
        // 1 is sent in each hour, 2 and 3 are not.
        assert!(key(&tenant, 1, 1) && !key(&tenant, 1, 4));
        assert_eq!(tenant.keys(), 3);
        assert!(key(&tenant, 2, 1));
        assert_eq!(tenant.keys(), 1);
        assert!(key(&tenant, 2, 4) && key(&tenant, 2, 5) && !key(&tenant, 2, 6));
        // After a long silence nothing is known.
        assert!(key(&tenant, 9, 6));
        assert_eq!(tenant.keys(), 1);
    }

    #[test]
    fn many_are_counted_exactly_while_the_table_grows() {
        let tenant = Cardinality::new(10, 50_000);
        let guard = Guard::new(Some(&tenant), NOW);
        for round in 0..2 {
            let refused = (0..60_000_u128).filter(|id| guard.series(id * 0x9E37_79B9_7F4A_7C15).is_err()).count();
            assert_eq!((refused, tenant.series()), (10_000, 50_000), "round {round}");
        }
    }

    #[test]
    fn threads_together_count_each_once() {
        let tenant = Cardinality::new(10, 1_000_000);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..3 {
                        let guard = Guard::new(Some(&tenant), NOW);
                        assert!((1..=20_000).all(|id| guard.series(id * 0x9E37_79B9).is_ok()));
                    }
                });
            }
        });
        assert_eq!(tenant.series(), 20_000);
    }

    #[test]
    fn without_a_tenant_there_is_no_limit() {
        let replay = Guard::new(None, NOW);
        assert!((0..1000).all(|n| replay.key(n).is_ok() && replay.series(n.into()).is_ok()));
    }
}
