//! Puts small batches together, so that a query over ten thousand tiny requests does not see ten thousand batches, and
//! so that a span on its own does not cost the hundred array headers of a batch. Works beside the appends, sixteen
//! neighbours at a time, level by level: a row is copied a few times at most. Never changes the order of rows.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use orrery_model::TenantId;
use parking_lot::{Condvar, Mutex};

use super::{Held, Memtable, batch_bytes};

/// Batches of this many rows and more stay as they are.
const SMALL_ROWS: usize = 256;
/// So many neighbours of one level become one batch.
const RUN: usize = 16;
/// At most so many at once.
const MAX_RUN: usize = 256;
/// A run stops before its strings could outgrow 32-bit offsets.
const MAX_RUN_BYTES: usize = 16 << 20;
/// The level of batches that are not touched again.
const DONE: u8 = u8::MAX;

pub(super) fn is_small(batch: &RecordBatch) -> bool {
    batch.num_rows() < SMALL_ROWS
}

/// Wakes the coalescer.
#[derive(Default)]
pub(super) struct Waker {
    state: Mutex<Wanted>,
    woken: Condvar,
}

#[derive(Default)]
struct Wanted {
    work: bool,
    stop: bool,
}

impl Waker {
    pub(super) fn wake(&self) {
        self.state.lock().work = true;
        self.woken.notify_one();
    }

    fn stop(&self) {
        self.state.lock().stop = true;
        self.woken.notify_one();
    }

    /// Waits for work; gives false when it is time to stop.
    fn wait(&self) -> bool {
        let mut wanted = self.state.lock();
        while !wanted.work && !wanted.stop {
            self.woken.wait(&mut wanted);
        }
        wanted.work = false;
        !wanted.stop
    }
}

/// A run of neighbours in the active part.
struct Run {
    part: u64,
    tenant: TenantId,
    table: usize,
    at: usize,
    held: Vec<Held>,
}

impl Memtable {
    /// Coalesces until [`Memtable::stop_coalescing`] is called. For a thread of its own.
    pub fn coalesce(&self) {
        while self.coalescer.wait() {
            while self.coalesce_one() {}
        }
    }

    pub fn stop_coalescing(&self) {
        self.coalescer.stop();
    }

    /// Puts one run together; gives false where there is none.
    fn coalesce_one(&self) -> bool {
        let Some(run) = self.find_run() else { return false };
        let schema = run.held[0].batch.schema();
        let joined = concat_batches(&schema, run.held.iter().map(|h| &**h.batch));
        // The error is an overflow of offsets, ruled out by MAX_RUN_BYTES; if it comes, the batches stay as they are.
        let replacement = match joined {
            Ok(batch) => {
                let level = if is_small(&batch) { run.held[0].level + 1 } else { DONE };
                vec![Held { bytes: batch_bytes(&batch), batch: Arc::new(batch.into()), level }]
            }
            Err(error) => {
                tracing::warn!(%error, "small batches of the memtable could not be put together");
                run.held.iter().map(|h| Held { level: DONE, ..h.clone() }).collect()
            }
        };
        self.replace(&run, replacement);
        true
    }

    fn find_run(&self) -> Option<Run> {
        let state = self.state.lock();
        for (tenant, tables) in &state.active.tables {
            for (table, held) in tables.iter().enumerate() {
                if let Some((at, len)) = longest_run(held) {
                    let held = held[at..at + len].to_vec();
                    return Some(Run { part: state.active.id, tenant: tenant.clone(), table, at, held });
                }
            }
        }
        None
    }

    /// Appends only add behind the run and only this thread replaces, so it is still where it was, unless the part has
    /// been sealed meanwhile: then its flush has the batches and they stay as they are.
    fn replace(&self, run: &Run, replacement: Vec<Held>) {
        let mut state = self.state.lock();
        if state.active.id != run.part {
            return;
        }
        let before: usize = run.held.iter().map(|h| h.bytes).sum();
        let after: usize = replacement.iter().map(|h| h.bytes).sum();
        let tables = state.active.tables.get_mut(&run.tenant).expect("a part keeps its tenants");
        let replaced: Vec<Held> = tables[run.table].splice(run.at..run.at + run.held.len(), replacement).collect();
        state.active.bytes = (state.active.bytes + after).saturating_sub(before);
        self.bytes.fetch_add(after, Ordering::Relaxed);
        self.bytes.fetch_sub(before, Ordering::Relaxed);
        drop(state);
        drop(replaced);
    }
}

/// The first run of at least [`RUN`] small neighbours of one level.
fn longest_run(held: &[Held]) -> Option<(usize, usize)> {
    let mut at = 0;
    while at < held.len() {
        let level = held[at].level;
        let mut bytes = 0;
        let fits = |h: &&Held| {
            bytes += h.bytes;
            h.level == level && is_small(&h.batch) && bytes <= MAX_RUN_BYTES
        };
        let len = held[at..].iter().take(MAX_RUN).take_while(fits).count();
        if len >= RUN && level != DONE {
            return Some((at, len));
        }
        at += len.max(1);
    }
    None
}
