//! Rows as bytes: JSON, NDJSON, CSV, Arrow IPC and Parquet, written batch by batch. Never holds more than a batch (Parquet:
//! a row group).

mod cell;
mod columnar;
mod names;
mod text;

pub use names::sql_type;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use orrery_api::{Receipt, SqlFormat};

use crate::QueryError;

/// Writes one answer. Each step appends to `out`.
pub trait Writer: Send {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), QueryError>;
    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), QueryError>;
    fn end(&mut self, receipt: &Receipt, out: &mut Vec<u8>) -> Result<(), QueryError>;

    /// The end of an answer that failed after rows were sent. `false` where the format cannot say so; the transfer must
    /// then be cut off, so that nobody takes the rows for all.
    fn fail(&mut self, error: &QueryError, receipt: &Receipt, out: &mut Vec<u8>) -> bool {
        let _ = (error, receipt, out);
        false
    }
}

/// The writer of a format.
pub fn writer(format: SqlFormat, schema: &SchemaRef) -> Result<Box<dyn Writer>, QueryError> {
    Ok(match format {
        SqlFormat::Json => Box::new(text::Json::new(schema)),
        SqlFormat::Ndjson => Box::new(text::Ndjson::new(schema)),
        SqlFormat::Csv => Box::new(text::Csv::new(schema)),
        SqlFormat::Arrow => Box::new(columnar::Arrow::new(schema)?),
        SqlFormat::Parquet => Box::new(columnar::Parquet::new(schema)?),
    })
}

pub const fn content_type(format: SqlFormat) -> &'static str {
    match format {
        SqlFormat::Json => "application/json",
        SqlFormat::Ndjson => "application/x-ndjson",
        SqlFormat::Csv => "text/csv; charset=utf-8; header=present",
        SqlFormat::Arrow => "application/vnd.apache.arrow.stream",
        SqlFormat::Parquet => "application/vnd.apache.parquet",
    }
}

/// The rows of batches as JSON values, one array a row, in the form of the `json` format.
pub fn json_rows(batches: &[RecordBatch]) -> Result<Vec<Vec<serde_json::Value>>, QueryError> {
    let mut rows = Vec::new();
    let mut text = Vec::new();
    for batch in batches {
        let cells = cell::cells(batch)?;
        for row in 0..batch.num_rows() {
            text.clear();
            text::array(&cells, row, &mut text);
            rows.push(serde_json::from_slice(&text).map_err(QueryError::internal)?);
        }
    }
    Ok(rows)
}
