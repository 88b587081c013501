//! Admission: how many bytes of requests may be under way at once, in all and per tenant. Taken as the bytes arrive and
//! unfold, before anything is decoded, and given back when the request is answered. Never waits: what does not fit is
//! refused at once, and the client comes again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use hashbrown::HashMap;
use orrery_model::TenantId;
use parking_lot::Mutex;

use crate::refusal::{Kind, Refusal};

pub struct Budget {
    total: Share,
    tenant_limit: usize,
    /// One entry a tenant that ever sent; tenants come from credentials, so there are few.
    tenants: Mutex<HashMap<TenantId, Arc<Share>>>,
}

/// A count of bytes that stays under its limit.
struct Share {
    used: AtomicUsize,
    limit: usize,
}

impl Budget {
    pub fn new(limit: usize, tenant_limit: usize) -> Arc<Self> {
        let total = Share { used: AtomicUsize::new(0), limit };
        Arc::new(Self { total, tenant_limit, tenants: Mutex::default() })
    }

    /// The bytes under way.
    pub fn used(&self) -> usize {
        self.total.used.load(Relaxed)
    }

    /// A reservation of nothing yet.
    pub fn enter(self: &Arc<Self>, tenant: &TenantId) -> Reservation {
        let mut tenants = self.tenants.lock();
        let share = tenants.get(tenant).cloned().unwrap_or_else(|| {
            let share = Arc::new(Share { used: AtomicUsize::new(0), limit: self.tenant_limit });
            tenants.insert(tenant.clone(), Arc::clone(&share));
            share
        });
        Reservation { budget: Arc::clone(self), tenant: share, bytes: 0 }
    }
}

impl Share {
    fn take(&self, bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(Relaxed, Relaxed, fits).is_ok()
    }
}

/// Bytes held by one request; given back on drop.
pub struct Reservation {
    budget: Arc<Budget>,
    tenant: Arc<Share>,
    bytes: usize,
}

impl Reservation {
    /// Takes `bytes` more, or says why not: 429 where the tenant has used up its share, 503 where all together have.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        if !self.tenant.take(bytes) {
            let limit = self.tenant.limit;
            return Err(Refusal::new(
                Kind::TenantBusy,
                format!("the tenant's requests under way exceed {limit} bytes; retry later, or send fewer at once"),
            ));
        }
        if !self.budget.total.take(bytes) {
            self.tenant.used.fetch_sub(bytes, Relaxed);
            let limit = self.budget.total.limit;
            return Err(Refusal::new(Kind::Busy, format!("the requests under way exceed {limit} bytes; retry later")));
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Takes `bytes` more even if they do not fit: for what is already in memory, so that others are refused instead.
    pub fn force(&mut self, bytes: usize) {
        self.tenant.used.fetch_add(bytes, Relaxed);
        self.budget.total.used.fetch_add(bytes, Relaxed);
        self.bytes += bytes;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.tenant.used.fetch_sub(self.bytes, Relaxed);
        self.budget.total.used.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_cannot_take_what_others_need() {
        let budget = Budget::new(100, 60);
        let (a, b) = (TenantId::new("a").expect("valid"), TenantId::new("b").expect("valid"));
        let mut first = budget.enter(&a);
        first.grow(60).expect("fits");
        assert_eq!(budget.enter(&a).grow(1).expect_err("share used up").kind, Kind::TenantBusy);
        let mut second = budget.enter(&b);
        second.grow(40).expect("fits");
        assert_eq!(second.grow(1).expect_err("all used up").kind, Kind::Busy);
        drop(first);
        assert_eq!(budget.used(), 40);
        second.grow(20).expect("the failed attempt left nothing behind");
        second.force(500);
        assert_eq!(budget.enter(&a).grow(1).expect_err("over").kind, Kind::Busy);
        drop(second);
        assert_eq!(budget.used(), 0);
    }
}
