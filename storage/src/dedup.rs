//! Duplicate requests: which requests were stored within the absorb window, and which are under way. A copy of the
//! former is absorbed at once, a copy of the latter waits for its outcome. Never keeps more than [`MAX_HASHES`]: beyond
//! that the oldest are forgotten early, and counted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hashbrown::HashMap;
use orrery_model::{TableName, TenantId};
use parking_lot::Mutex;
use tokio::sync::watch;
use xxhash_rust::xxh3::Xxh3;

/// About 70 MB. Ten minutes of 1,700 requests a second.
pub const MAX_HASHES: usize = 1 << 20;

/// What a request is recognised by: tenant, table and the hash of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestKey(pub u128);

impl RequestKey {
    pub fn new(tenant: &TenantId, table: TableName, body_hash: u128) -> Self {
        let mut hasher = Xxh3::new();
        hasher.update(&body_hash.to_le_bytes());
        hasher.update(&[table.code()]);
        hasher.update(tenant.as_str().as_bytes());
        Self(hasher.digest128())
    }
}

/// The requests known, shared by the appends, the log's writer and replay.
pub struct Dedup {
    window_ns: i64,
    known: Mutex<Known>,
    forgotten: AtomicU64,
}

#[derive(Default)]
struct Known {
    requests: HashMap<RequestKey, State>,
    /// Oldest first.
    stored: VecDeque<Absorbable>,
}

/// A stored request that a copy is absorbed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absorbable {
    pub key: RequestKey,
    pub received_ns: i64,
    /// Its place in the log: should that turn out to be lost, a copy must be stored.
    pub sequence: u64,
}

enum State {
    /// Under way: the receiver learns how it ends.
    Pending(watch::Receiver<Outcome>),
    Stored,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Pending,
    Stored,
    Failed,
}

/// What [`Dedup::claim`] found.
pub enum Claimed {
    /// The caller's is the first: it must store the request and say so.
    First(Claim),
    /// Stored before.
    Absorbed,
}

/// The duty to store a request. Dropped without [`Claim::stored`], the request counts as never sent and a waiting copy
/// takes over.
pub struct Claim {
    dedup: Arc<Dedup>,
    key: RequestKey,
    received_ns: i64,
    outcome: watch::Sender<Outcome>,
}

impl Dedup {
    pub fn new(window: Duration) -> Self {
        Self {
            window_ns: i64::try_from(window.as_nanos()).unwrap_or(i64::MAX),
            known: Mutex::default(),
            forgotten: AtomicU64::new(0),
        }
    }

    /// Waits while a copy is under way, and takes over should it fail.
    pub async fn claim(self: &Arc<Self>, key: RequestKey, received_ns: i64) -> Claimed {
        loop {
            let mut pending = match self.try_claim(key, received_ns) {
                Ok(claimed) => return claimed,
                Err(pending) => pending,
            };
            // An error means that the sender is gone, which is a failure too.
            if let Ok(outcome) = pending.wait_for(|o| *o != Outcome::Pending).await
                && *outcome == Outcome::Stored
            {
                return Claimed::Absorbed;
            }
        }
    }

    fn try_claim(self: &Arc<Self>, key: RequestKey, received_ns: i64) -> Result<Claimed, watch::Receiver<Outcome>> {
        let mut known = self.known.lock();
        known.expire(received_ns.saturating_sub(self.window_ns));
        match known.requests.get(&key) {
            Some(State::Stored) => return Ok(Claimed::Absorbed),
            Some(State::Pending(receiver)) => return Err(receiver.clone()),
            None => {}
        }
        let (outcome, receiver) = watch::channel(Outcome::Pending);
        known.requests.insert(key, State::Pending(receiver));
        Ok(Claimed::First(Claim { dedup: Arc::clone(self), key, received_ns, outcome }))
    }

    /// Takes in what the log holds, oldest first. What has left the window by `now_ns` is passed over.
    pub fn restore(&self, request: Absorbable, now_ns: i64) {
        if request.received_ns < now_ns.saturating_sub(self.window_ns) {
            return;
        }
        self.insert(&mut self.known.lock(), request);
    }

    /// The stored requests that are still in the window, for the head of a log segment.
    pub fn live(&self, now_ns: i64) -> Vec<Absorbable> {
        let mut known = self.known.lock();
        known.expire(now_ns.saturating_sub(self.window_ns));
        known.stored.iter().copied().collect()
    }

    /// Requests that a copy would be absorbed for.
    pub fn count(&self) -> usize {
        self.known.lock().stored.len()
    }

    /// Requests forgotten before their window ended, for lack of room.
    pub fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Relaxed)
    }

    fn insert(&self, known: &mut Known, request: Absorbable) {
        if matches!(known.requests.insert(request.key, State::Stored), Some(State::Stored)) {
            return;
        }
        known.stored.push_back(request);
        if known.stored.len() > MAX_HASHES
            && let Some(oldest) = known.stored.pop_front()
        {
            known.requests.remove(&oldest.key);
            self.forgotten.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Known {
    /// Forgets what was received before `horizon_ns`. Requests are stored nearly in the order of receipt; one that is
    /// out of order is kept a little longer.
    fn expire(&mut self, horizon_ns: i64) {
        while let Some(&oldest) = self.stored.front()
            && oldest.received_ns < horizon_ns
        {
            self.stored.pop_front();
            self.requests.remove(&oldest.key);
        }
    }
}

impl Claim {
    /// The request is durable and visible: copies are absorbed from here on.
    pub fn stored(self, sequence: u64) {
        let request = Absorbable { key: self.key, received_ns: self.received_ns, sequence };
        self.dedup.insert(&mut self.dedup.known.lock(), request);
        self.outcome.send_replace(Outcome::Stored);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if *self.outcome.borrow() != Outcome::Pending {
            return;
        }
        self.dedup.known.lock().requests.remove(&self.key);
        self.outcome.send_replace(Outcome::Failed);
    }
}
