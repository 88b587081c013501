//! The encoders of a file's columns. Doubles are encoded in two ways, and of each row group the smaller form is written:
//! the bytes of the values apart are best for what never repeats, whole values for what was rounded or stands still.

use std::io::Write;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowLeafColumn, ArrowRowGroupWriterFactory};
use parquet::errors::Result;
use parquet::file::writer::SerializedFileWriter;

use super::properties::{is_double, whole_doubles};

/// Makes the encoders of one row group after the other.
pub(super) struct Encoders {
    factory: ArrowRowGroupWriterFactory,
    /// Of each leaf, whether it is encoded in two ways.
    twice: Vec<bool>,
    /// The other way, of these leaves only.
    whole: Option<ArrowRowGroupWriterFactory>,
}

impl Encoders {
    /// Of the columns of a file that is being written.
    pub fn new(writer: &SerializedFileWriter<impl Write + Send>, columns: &SchemaRef) -> Result<Self> {
        let twice = writer.schema_descr().columns().iter().map(|leaf| is_double(leaf)).collect();
        let doubles = columns.fields().iter().filter(|field| is_plain_double(field)).cloned().collect::<Vec<_>>();
        let whole = if doubles.is_empty() {
            None
        } else {
            let doubles: SchemaRef = Schema::new(doubles).into();
            let schema = ArrowSchemaConverter::new().convert(&doubles)?;
            let nowhere = SerializedFileWriter::new(std::io::sink(), schema.root_schema_ptr(), whole_doubles())?;
            Some(ArrowRowGroupWriterFactory::new(&nowhere, doubles))
        };
        Ok(Self { factory: ArrowRowGroupWriterFactory::new(writer, columns.clone()), twice, whole })
    }

    /// An encoder for each leaf.
    pub fn of_row_group(&self, index: usize) -> Result<Vec<Encoder>> {
        let whole = match &self.whole {
            Some(whole) => whole.create_column_writers(index)?,
            None => Vec::new(),
        };
        let mut whole = whole.into_iter();
        let columns = self.factory.create_column_writers(index)?.into_iter().zip(&self.twice);
        let encoder = |(first, twice): (_, &bool)| Encoder { first, whole: twice.then(|| whole.next()).flatten() };
        Ok(columns.map(encoder).collect())
    }
}

fn is_plain_double(field: &Field) -> bool {
    *field.data_type() == DataType::Float64
}

/// Encodes one leaf of a row group.
pub(super) struct Encoder {
    first: ArrowColumnWriter,
    whole: Option<ArrowColumnWriter>,
}

impl Encoder {
    pub fn write(&mut self, leaf: &ArrowLeafColumn) -> Result<()> {
        self.first.write(leaf)?;
        self.whole.as_mut().map_or(Ok(()), |whole| whole.write(leaf))
    }

    /// Bytes that it holds.
    pub fn memory_size(&self) -> usize {
        self.first.memory_size() + self.whole.as_ref().map_or(0, ArrowColumnWriter::memory_size)
    }

    /// The smaller form.
    pub fn close(self) -> Result<ArrowColumnChunk> {
        let first = self.first.close()?;
        let Some(whole) = self.whole else { return Ok(first) };
        let whole = whole.close()?;
        let bytes = |chunk: &ArrowColumnChunk| chunk.close().bytes_written;
        Ok(if bytes(&whole) < bytes(&first) { whole } else { first })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch};
    use arrow::datatypes::Float64Type;
    use bytes::Bytes;
    use orrery_model::{TableName, table};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::arrow::arrow_writer::compute_leaves;
    use parquet::basic::Encoding;

    use super::*;

    /// A file of two columns of doubles, a row group each time.
    fn file(groups: &[[Vec<Option<f64>>; 2]]) -> Bytes {
        let metrics = table(TableName::Metrics);
        let columns = ["value", "sum"].map(|name| metrics.schema.field_with_name(name).expect("a column").clone());
        let columns: SchemaRef = Schema::new(columns.to_vec()).into();
        let schema = ArrowSchemaConverter::new().convert(&columns).expect("a schema");
        let apart = whole_doubles().as_ref().clone().into_builder().set_encoding(Encoding::BYTE_STREAM_SPLIT).build();
        let mut writer =
            SerializedFileWriter::new(Vec::new(), schema.root_schema_ptr(), apart.into()).expect("a writer");
        let encoders = Encoders::new(&writer, &columns).expect("encoders");
        for (index, group) in groups.iter().enumerate() {
            let mut row_group = writer.next_row_group().expect("a row group");
            let each = encoders.of_row_group(index).expect("encoders").into_iter().zip(columns.fields()).zip(group);
            for ((mut encoder, field), values) in each {
                let values: ArrayRef = Arc::new(Float64Array::from(values.clone()));
                for leaf in compute_leaves(field, &values).expect("a leaf") {
                    encoder.write(&leaf).expect("it is encoded");
                }
                encoder.close().expect("it is encoded").append_to_row_group(&mut row_group).expect("it is written");
            }
            row_group.close().expect("it is written");
        }
        writer.into_inner().expect("a file").into()
    }

    #[test]
    fn each_row_group_of_a_column_of_doubles_has_the_smaller_form() {
        let seed = |i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let random = |i: u64| f64::from_bits((seed(i) >> 12) | (1023 << 52));
        let never: Vec<_> = (0..20_000).map(|i| Some(random(i))).collect();
        let again: Vec<_> = (0..20_000).map(|i| (i % 7 != 0).then(|| random(i % 100))).collect();
        let file = file(&[[never.clone(), again.clone()], [again.clone(), never.clone()]]);
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a file");
        let encodings = |group: usize| {
            let columns = reader.metadata().row_group(group).columns();
            columns.iter().map(|c| c.encodings().any(|e| e == Encoding::BYTE_STREAM_SPLIT)).collect::<Vec<_>>()
        };
        assert_eq!([encodings(0), encodings(1)], [[true, false], [false, true]]);
        let rows: Vec<RecordBatch> = reader.build().expect("rows").map(|batch| batch.expect("rows")).collect();
        let read = |column: usize| {
            let values = rows.iter().flat_map(|batch| batch.column(column).as_primitive::<Float64Type>().iter());
            values.collect::<Vec<_>>()
        };
        assert_eq!(read(0), [never.clone(), again.clone()].concat());
        assert_eq!(read(1), [again, never].concat());
    }
}
