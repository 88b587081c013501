//! The rows of Orrery's own tables as the log keeps them: an Arrow IPC stream, which says itself what its columns are. No
//! receiver makes one, so there is no OTLP to decode again.

use arrow::array::{RecordBatch, new_null_array};
use arrow::compute::concat_batches;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use orrery_model::TableName;

pub(super) fn encode(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref())?;
    writer.write(batch)?;
    writer.into_inner()
}

/// The inverse, with the columns of the table as it is: those that the record does not have are NULL, where they may be.
pub(super) fn decode(table: TableName, body: &[u8]) -> Result<RecordBatch, String> {
    let decoded = || -> Result<RecordBatch, ArrowError> {
        let reader = StreamReader::try_new(body, None)?;
        let stored = reader.schema();
        let batches = reader.collect::<Result<Vec<_>, _>>()?;
        let batch = concat_batches(&stored, &batches)?;
        let schema = &orrery_model::table(table).schema;
        let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
            Some(column) => column.clone(),
            None => new_null_array(field.data_type(), batch.num_rows()),
        });
        RecordBatch::try_new(schema.clone(), columns.collect())
    };
    decoded().map_err(|error| format!("rows of {table}: {error}"))
}
