//! Has the lake learn dense keys now and then, in a task of its own. Never holds up an append or a flush.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Shared;

/// Until told to stop. A failure is tried again the next time.
pub(super) async fn run(shared: Arc<Shared>) {
    let Some(lake) = shared.target.lake() else { return };
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = tokio::time::sleep(shared.config.learn.every) => {}
        }
        tokio::select! {
            () = shared.stop.cancelled() => return,
            learned = lake.learn_dense(&shared.config.learn) => match learned {
                Ok(keys) => {
                    shared.counters.learned_keys.fetch_add(keys.len() as u64, Ordering::Relaxed);
                }
                Err(error) => tracing::warn!(%error, "the newest files could not be looked at for dense keys"),
            },
        }
    }
}
