//! The compression of log records, done by the task that brings the request. Never makes a context twice on a thread.

use std::cell::RefCell;

/// A request of more is refused; the receivers' limit is far lower.
pub const MAX_BODY_BYTES: usize = 1 << 30;
const LEVEL: i32 = 1;
/// A scratch buffer that has grown beyond this is given back.
const MAX_SCRATCH_BYTES: usize = 4 << 20;

struct Compressor {
    context: zstd::bulk::Compressor<'static>,
    scratch: Vec<u8>,
}

thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor>> = const { RefCell::new(None) };
}

/// The body as one zstd frame.
pub fn compress(body: &[u8]) -> std::io::Result<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|slot| {
        let compressor = match slot {
            Some(compressor) => compressor,
            None => slot.insert(Compressor { context: zstd::bulk::Compressor::new(LEVEL)?, scratch: Vec::new() }),
        };
        let scratch = &mut compressor.scratch;
        scratch.clear();
        scratch.reserve(zstd::zstd_safe::compress_bound(body.len()));
        compressor.context.compress_to_buffer(body, scratch)?;
        let compressed = scratch.to_vec();
        if scratch.capacity() > MAX_SCRATCH_BYTES {
            *scratch = Vec::new();
        }
        Ok(compressed)
    })
}

/// The inverse. `raw_len` is what the record says the body's length is.
pub fn decompress(payload: &[u8], raw_len: usize) -> std::io::Result<Vec<u8>> {
    let body = zstd::bulk::decompress(payload, raw_len)?;
    if body.len() == raw_len {
        Ok(body)
    } else {
        Err(std::io::Error::other("the body is shorter than its record says"))
    }
}
