//! A number of bytes of working memory that several share: queries and the merging of files. Never more is given out than
//! there is, but to who says that it has the bytes already.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes, and how many of them are taken.
#[derive(Debug)]
pub struct MemoryBudget {
    limit: usize,
    used: AtomicUsize,
}

impl MemoryBudget {
    pub const fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0) }
    }

    pub const fn limit(&self) -> usize {
        self.limit
    }

    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes bytes, or gives how many are taken where that would be too many. [`MemoryBudget::give_back`] undoes it.
    pub fn try_take(&self, bytes: usize) -> Result<(), usize> {
        let sum = |used: usize| used.checked_add(bytes).filter(|&sum| sum <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum).map(|_| ())
    }

    /// Takes bytes whatever the limit says: they are in use already.
    pub fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Takes so many bytes, or none; given back when dropped.
    pub fn try_hold_all(self: &Arc<Self>, bytes: usize) -> Option<HeldMemory> {
        self.try_hold(bytes, bytes)
    }

    /// Takes as many bytes as there are, between the two numbers; given back when dropped.
    pub(crate) fn try_hold(self: &Arc<Self>, least: usize, most: usize) -> Option<HeldMemory> {
        let left = self.limit.saturating_sub(self.used());
        let bytes = left.min(most);
        if bytes < least || self.try_take(bytes).is_err() {
            return None;
        }
        Some(HeldMemory { budget: Arc::clone(self), bytes })
    }
}

/// Bytes that are taken for as long as this lives.
#[derive(Debug)]
pub struct HeldMemory {
    budget: Arc<MemoryBudget>,
    bytes: usize,
}

impl HeldMemory {
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for HeldMemory {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_given_out_than_there_is() {
        let budget = Arc::new(MemoryBudget::new(100));
        let held = budget.try_hold(20, 60).expect("there is room");
        assert_eq!((held.bytes, budget.try_take(41)), (60, Err(60)));
        let rest = budget.try_hold(20, 60).expect("there is a little room");
        assert_eq!((rest.bytes, budget.used()), (40, 100));
        assert!(budget.try_hold(1, 60).is_none());
        drop((held, rest));
        assert_eq!(budget.used(), 0);
    }
}
