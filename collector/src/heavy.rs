//! Work that would keep a runtime thread from its other connections for too long. Never spawns anything: the work stays
//! in its task, and the runtime moves its other tasks to another thread.

use tokio::runtime::{Handle, RuntimeFlavor};

/// From here on decompressing or decoding takes milliseconds rather than microseconds.
pub const HEAVY_BYTES: usize = 1 << 20;

/// Runs `work`, letting another thread take over this one's tasks where the runtime has several.
pub fn heavy<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Runs work on `bytes` bytes, as [`heavy`] if they are many.
pub fn by_weight<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    if bytes > HEAVY_BYTES { heavy(work) } else { work() }
}
