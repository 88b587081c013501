//! The formats that people read: JSON, NDJSON and CSV.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use orrery_api::{ApiError, ErrorBody, Receipt, SqlColumn};

use super::cell::{Cell, cells, json, string};
use super::{Writer, sql_type};
use crate::QueryError;

/// A row as a JSON array.
pub(super) fn array(cells: &[Box<dyn Cell>], row: usize, out: &mut Vec<u8>) {
    out.push(b'[');
    for (n, cell) in cells.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        json(cell.as_ref(), row, out);
    }
    out.push(b']');
}

fn to_json(value: &impl serde::Serialize, out: &mut Vec<u8>) -> Result<(), QueryError> {
    serde_json::to_writer(out, value).map_err(QueryError::internal)
}

fn error_of(error: &QueryError) -> ApiError {
    ApiError { code: error.code().into(), message: error.to_string(), hint: error.hint().map(str::to_owned) }
}

/// `{"columns": […], "rows": [[…]], "receipt": {…}}`. An answer that fails half-way ends with an `error` beside what
/// there is, and says so in its receipt's `partial`.
pub(super) struct Json {
    columns: Vec<SqlColumn>,
    rows: u64,
}

impl Json {
    pub fn new(schema: &SchemaRef) -> Self {
        let column =
            |f: &arrow::datatypes::FieldRef| SqlColumn { name: f.name().clone(), data_type: sql_type(f.data_type()) };
        Self { columns: schema.fields().iter().map(column).collect(), rows: 0 }
    }
}

impl Writer for Json {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), QueryError> {
        out.extend_from_slice(b"{\"columns\":");
        to_json(&self.columns, out)?;
        out.extend_from_slice(b",\"rows\":[");
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), QueryError> {
        let cells = cells(batch)?;
        for row in 0..batch.num_rows() {
            if self.rows > 0 {
                out.push(b',');
            }
            self.rows += 1;
            out.push(b'\n');
            array(&cells, row, out);
        }
        Ok(())
    }

    fn end(&mut self, receipt: &Receipt, out: &mut Vec<u8>) -> Result<(), QueryError> {
        out.extend_from_slice(b"],\n\"receipt\":");
        to_json(receipt, out)?;
        out.extend_from_slice(b"}\n");
        Ok(())
    }

    fn fail(&mut self, error: &QueryError, receipt: &Receipt, out: &mut Vec<u8>) -> bool {
        let partial = Some(format!("ended after {} rows: {error}", self.rows));
        out.extend_from_slice(b"],\n\"receipt\":");
        let written = to_json(&Receipt { partial, ..receipt.clone() }, out).is_ok();
        out.extend_from_slice(b",\n\"error\":");
        let written = written && to_json(&error_of(error), out).is_ok();
        out.extend_from_slice(b"}\n");
        written
    }
}

/// One object a row; a line with an `error` ends an answer that fails half-way.
pub(super) struct Ndjson {
    names: Vec<String>,
}

impl Ndjson {
    pub fn new(schema: &SchemaRef) -> Self {
        Self { names: schema.fields().iter().map(|f| f.name().clone()).collect() }
    }
}

impl Writer for Ndjson {
    fn begin(&mut self, _out: &mut Vec<u8>) -> Result<(), QueryError> {
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), QueryError> {
        let cells = cells(batch)?;
        for row in 0..batch.num_rows() {
            out.push(b'{');
            for (n, (name, cell)) in self.names.iter().zip(&cells).enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                string(name, out);
                out.push(b':');
                json(cell.as_ref(), row, out);
            }
            out.extend_from_slice(b"}\n");
        }
        Ok(())
    }

    fn end(&mut self, _receipt: &Receipt, _out: &mut Vec<u8>) -> Result<(), QueryError> {
        Ok(())
    }

    fn fail(&mut self, error: &QueryError, _receipt: &Receipt, out: &mut Vec<u8>) -> bool {
        let written = to_json(&ErrorBody { error: error_of(error) }, out).is_ok();
        out.push(b'\n');
        written
    }
}

/// RFC 4180 with a header line. NULL is nothing at all, the empty string a pair of quotes.
pub(super) struct Csv {
    names: Vec<String>,
}

impl Csv {
    pub fn new(schema: &SchemaRef) -> Self {
        Self { names: schema.fields().iter().map(|f| f.name().clone()).collect() }
    }
}

impl Writer for Csv {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), QueryError> {
        for (n, name) in self.names.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            field(name.as_bytes(), out);
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), QueryError> {
        let cells = cells(batch)?;
        let mut text = Vec::new();
        for row in 0..batch.num_rows() {
            for (n, cell) in cells.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                if !cell.is_null(row) {
                    text.clear();
                    cell.text(row, &mut text);
                    field(&text, out);
                }
            }
            out.extend_from_slice(b"\r\n");
        }
        Ok(())
    }

    fn end(&mut self, _receipt: &Receipt, _out: &mut Vec<u8>) -> Result<(), QueryError> {
        Ok(())
    }
}

fn field(text: &[u8], out: &mut Vec<u8>) {
    if !text.is_empty() && !text.iter().any(|b| matches!(b, b'"' | b',' | b'\r' | b'\n')) {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for &byte in text {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}
