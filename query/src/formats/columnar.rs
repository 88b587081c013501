//! The formats that programs read: an Arrow IPC stream, and Parquet.

use std::io::Write;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamWriter;
use orrery_api::Receipt;
use parking_lot::Mutex;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::Writer;
use crate::QueryError;

/// Rows of a row group: what a Parquet answer holds in memory.
const GROUP_ROWS: usize = 64 << 10;

/// Bytes that a writer has written and nobody has taken yet.
#[derive(Clone, Default)]
struct Pending(Arc<Mutex<Vec<u8>>>);

impl Pending {
    fn take_into(&self, out: &mut Vec<u8>) {
        out.append(&mut self.0.lock());
    }
}

impl Write for Pending {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(super) struct Arrow {
    pending: Pending,
    writer: StreamWriter<Pending>,
}

impl Arrow {
    pub fn new(schema: &SchemaRef) -> Result<Self, QueryError> {
        let pending = Pending::default();
        Ok(Self { writer: StreamWriter::try_new(pending.clone(), schema)?, pending })
    }
}

impl Writer for Arrow {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), QueryError> {
        self.pending.take_into(out);
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), QueryError> {
        self.writer.write(batch)?;
        self.pending.take_into(out);
        Ok(())
    }

    fn end(&mut self, _receipt: &Receipt, out: &mut Vec<u8>) -> Result<(), QueryError> {
        self.writer.finish()?;
        self.pending.take_into(out);
        Ok(())
    }
}

pub(super) struct Parquet {
    pending: Pending,
    /// `None` once finished.
    writer: Option<ArrowWriter<Pending>>,
}

impl Parquet {
    pub fn new(schema: &SchemaRef) -> Result<Self, QueryError> {
        let pending = Pending::default();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .build();
        let writer = ArrowWriter::try_new(pending.clone(), Arc::clone(schema), Some(properties))
            .map_err(QueryError::internal)?;
        Ok(Self { writer: Some(writer), pending })
    }
}

impl Writer for Parquet {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), QueryError> {
        self.pending.take_into(out);
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), QueryError> {
        if let Some(writer) = &mut self.writer {
            writer.write(batch).map_err(QueryError::internal)?;
        }
        self.pending.take_into(out);
        Ok(())
    }

    fn end(&mut self, _receipt: &Receipt, out: &mut Vec<u8>) -> Result<(), QueryError> {
        if let Some(writer) = self.writer.take() {
            writer.close().map_err(QueryError::internal)?;
        }
        self.pending.take_into(out);
        Ok(())
    }
}
