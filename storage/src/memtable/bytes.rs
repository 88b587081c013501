//! What a batch really takes in memory. Arrow's own figure counts a buffer once for each array that shares it, and the
//! decoder shares one for all columns that are NULL throughout. Never exact to the byte: allocators round.

use arrow::array::{Array, ArrayData, RecordBatch};
use arrow::buffer::Buffer;

/// An array's own structures: the array, its `Arc`, its type's `Arc`s.
const ARRAY_BYTES: usize = 160;
/// A buffer's `Arc` and bookkeeping.
const BUFFER_BYTES: usize = 64;

/// The bytes a batch holds; of a buffer that others hold too, its share.
pub fn batch_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| data_bytes(&column.to_data())).sum()
}

fn data_bytes(data: &ArrayData) -> usize {
    let buffers: usize = data.buffers().iter().map(buffer_bytes).sum();
    let nulls = data.nulls().map_or(0, |n| buffer_bytes(n.buffer()));
    let children: usize = data.child_data().iter().map(data_bytes).sum();
    ARRAY_BYTES + buffers + nulls + children
}

fn buffer_bytes(buffer: &Buffer) -> usize {
    // `to_data` holds each buffer once more.
    let holders = buffer.strong_count().saturating_sub(1).max(1);
    (buffer.capacity() + BUFFER_BYTES) / holders
}
