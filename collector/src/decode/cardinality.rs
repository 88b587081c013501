//! How many different attribute keys and metric series a tenant sends: both are kept for as long as they are sent, an hour
//! or two beyond, and what is new at the limit is rejected. A key costs an entry in the dictionaries of every file and a
//! line in every list of keys; a series is the row that every chart begins with. Never counts what was accepted before a
//! restart, and never limits replay.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use hashbrown::HashSet;
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use super::fault::{Fault, Reason};

/// What is not sent for so long, and at the latest after twice as long, is forgotten.
pub const WINDOW_NS: i64 = 3_600_000_000_000;
/// Threads that decode one tenant's requests meet in one of these.
const SHARDS: usize = 16;

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
        self.keys.count.load(Relaxed)
    }

    /// Different series that are counted now.
    pub fn series(&self) -> usize {
        self.series.count.load(Relaxed)
    }
}

/// Things by hash, of which a number may be active.
#[derive(Debug)]
struct Active {
    limit: usize,
    count: AtomicUsize,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    /// When the current window began; 0 before the first.
    since_ns: i64,
    current: HashSet<u64>,
    /// Of the window before, without those that are in the current one.
    previous: HashSet<u64>,
}

impl Active {
    fn new(limit: usize) -> Self {
        Self { limit, count: AtomicUsize::new(0), shards: Default::default() }
    }

    /// Counts a thing; false where it is new and there are as many as may be.
    fn admit(&self, hash: u64, now_ns: i64) -> bool {
        let shard = &self.shards[hash as usize % SHARDS];
        if self.admit_to(&mut shard.lock(), hash, now_ns) {
            return true;
        }
        // What is no longer sent may lie in shards that nothing came to since.
        for shard in &self.shards {
            self.forget(&mut shard.lock(), now_ns);
        }
        self.admit_to(&mut shard.lock(), hash, now_ns)
    }

    fn admit_to(&self, shard: &mut Shard, hash: u64, now_ns: i64) -> bool {
        self.forget(shard, now_ns);
        if shard.current.contains(&hash) {
            return true;
        }
        if !shard.previous.remove(&hash) {
            // Shards count together, so a few threads may go over the limit by as many.
            if self.count.load(Relaxed) >= self.limit {
                return false;
            }
            self.count.fetch_add(1, Relaxed);
        }
        shard.current.insert(hash);
        true
    }

    /// Begins a window if one is over.
    fn forget(&self, shard: &mut Shard, now_ns: i64) {
        let elapsed = now_ns.saturating_sub(shard.since_ns);
        if elapsed < WINDOW_NS {
            return;
        }
        let before = std::mem::take(&mut shard.current);
        let kept = if elapsed < 2 * WINDOW_NS { before.len() } else { 0 };
        let forgotten = shard.previous.len() + before.len() - kept;
        shard.previous = if kept > 0 { before } else { HashSet::new() };
        self.count.fetch_sub(forgotten, Relaxed);
        shard.since_ns = now_ns;
    }
}

/// What one request sends, with the tenant's limits. Keys that a request repeats are looked up once.
pub(super) struct Guard<'a> {
    tenant: Option<&'a Cardinality>,
    now_ns: i64,
    /// Hashes of keys that were admitted, by their lower bits.
    admitted: [Cell<u64>; 256],
}

impl<'a> Guard<'a> {
    /// Without a tenant everything is admitted.
    pub fn new(tenant: Option<&'a Cardinality>, now_ns: i64) -> Self {
        // No place holds a hash that belongs there.
        Self { tenant, now_ns, admitted: std::array::from_fn(|place| Cell::new(!(place as u64))) }
    }

    /// Admits an attribute key, given with a hash of it that is as good as this process needs.
    #[inline]
    pub fn key(&self, hash: u64, key: &[u8]) -> Result<(), Fault> {
        let place = &self.admitted[hash as usize % 256];
        if place.get() == hash {
            return Ok(());
        }
        self.new_key(place, hash, key)
    }

    fn new_key(&self, place: &Cell<u64>, hash: u64, key: &[u8]) -> Result<(), Fault> {
        if let Some(tenant) = self.tenant
            && !tenant.keys.admit(xxh3_64(key), self.now_ns)
        {
            return Err(Fault::Reject(Reason::Keys { limit: tenant.keys.limit }));
        }
        place.set(hash);
        Ok(())
    }

    /// Admits a series by its id.
    #[inline]
    pub fn series(&self, id: u128) -> Result<(), Fault> {
        match self.tenant {
            Some(tenant) if !tenant.series.admit(id as u64, self.now_ns) => {
                Err(Fault::Reject(Reason::Series { limit: tenant.series.limit }))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_at_the_limit_is_refused_and_what_is_no_longer_sent_makes_room() {
        let active = Active::new(3);
        let hour = |n: i64| 1_700_000_000_000_000_000 + n * WINDOW_NS;
        assert!((0..3).all(|hash| active.admit(hash, hour(0))));
        assert!(!active.admit(3, hour(0)));
        assert!(active.admit(1, hour(0)), "what is known goes on");
        // 1 is sent in each window, 0 and 2 are not.
        assert!(active.admit(1, hour(1)));
        assert!(!active.admit(3, hour(1)));
        assert!(active.admit(1, hour(2)));
        assert!(active.admit(3, hour(2)) && active.admit(4, hour(2)) && !active.admit(5, hour(2)));
        assert_eq!(active.count.load(Relaxed), 3);
    }

    #[test]
    fn a_request_asks_for_each_key_once() {
        let tenant = Cardinality::new(2, 2);
        let guard = Guard::new(Some(&tenant), 5);
        for _ in 0..3 {
            assert!(guard.key(10, b"a").is_ok() && guard.key(11, b"b").is_ok());
            assert!(matches!(guard.key(12, b"c"), Err(Fault::Reject(Reason::Keys { limit: 2 }))));
        }
        assert_eq!((tenant.keys(), tenant.series()), (2, 0));
        assert!(guard.series(1).is_ok() && guard.series(2).is_ok() && guard.series(1).is_ok());
        assert!(matches!(guard.series(3), Err(Fault::Reject(Reason::Series { limit: 2 }))));
        let replay = Guard::new(None, 5);
        assert!((0..1000).all(|n| replay.key(n, b"k").is_ok() && replay.series(n.into()).is_ok()));
    }
}
