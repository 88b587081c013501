//! The memory of queries: each one's own fair pool under a budget that all share, with the merging of files. Never counts
//! the memory of ingest.

use std::fmt;
use std::sync::Arc;

use datafusion::common::resources_datafusion_err;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use orrery_storage::MemoryBudget;

/// One query's pool: fair among its own operators, bounded by its share, counted in the common budget.
#[derive(Debug)]
pub struct QueryPool {
    own: FairSpillPool,
    share: usize,
    budget: Arc<MemoryBudget>,
}

impl QueryPool {
    pub fn new(share: usize, budget: Arc<MemoryBudget>) -> Self {
        Self { own: FairSpillPool::new(share), share, budget }
    }
}

impl fmt::Display for QueryPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "query(share: {}, used: {})", self.share, self.own.reserved())
    }
}

impl MemoryPool for QueryPool {
    fn name(&self) -> &str {
        "query"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.own.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.own.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.own.grow(reservation, additional);
        self.budget.take(additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.own.shrink(reservation, shrink);
        self.budget.give_back(shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.budget.try_take(additional).map_err(|used| {
            resources_datafusion_err!(
                "{additional} bytes more were asked for while all queries together hold {used} of {}",
                self.budget.limit()
            )
        })?;
        self.own.try_grow(reservation, additional).inspect_err(|_| self.budget.give_back(additional))
    }

    fn reserved(&self) -> usize {
        self.own.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.share)
    }
}
