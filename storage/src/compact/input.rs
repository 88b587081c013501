//! A data file as it is merged: opened, measured, and read a batch at a time in its own order. Never holds more of it than
//! a batch and a page of each column.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, UInt32Array, new_null_array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{FieldRef, Schema, SchemaRef, TimestampNanosecondType};
use arrow::error::ArrowError;
use orrery_model::{LearnedColumn, Order, Table};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Type;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use crate::lake::LakeError;
use crate::parquet::{RECEIVED, is_null_in, learn, of_file, second_of};
use crate::{DataFile, VerifiedFile};

/// What a fixed-width value or an offset takes in memory.
const VALUE_BYTES: usize = 8;
/// The largest dictionary of most columns.
const DICTIONARY_BYTES: usize = 1 << 20;
/// What older versions wrote at most: rows of a page, and a row group's dictionary of trace ids.
const MOST_PAGE_ROWS: usize = 20_000;
const TRACE_ID_DICTIONARY_BYTES: usize = 8 << 20;

/// A file whose footer has been read and agrees with the catalog.
pub(super) struct Opened {
    pub(super) file: Arc<DataFile>,
    handle: VerifiedFile,
    metadata: ArrowReaderMetadata,
}

/// What reading a file takes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Need {
    /// Pages and dictionaries of all columns.
    pub(super) reader_bytes: usize,
    /// A row as Arrow holds it, where rows are largest.
    pub(super) row_bytes: usize,
}

impl Opened {
    pub(super) fn open(file: &Arc<DataFile>) -> Result<Self, LakeError> {
        let handle = VerifiedFile::open(file).map_err(|error| unreadable(&file.path)(error.into()))?;
        let metadata = ArrowReaderMetadata::load(&handle, ArrowReaderOptions::new()).map_err(unreadable(&file.path))?;
        let rows = metadata.metadata().file_metadata().num_rows().cast_unsigned();
        if rows != file.rows {
            let message = format!("it has {rows} rows, the catalog says {}", file.rows);
            return Err(unreadable(&file.path)(ParquetError::General(message)));
        }
        Ok(Self { file: Arc::clone(file), handle, metadata })
    }

    pub(super) fn need(&self, table: &Table) -> Need {
        let metadata = self.metadata.metadata();
        let mut need = need(metadata);
        if of_file(table, metadata.file_metadata()) != table.order {
            // All of it, as it came and sorted.
            let rows = usize::try_from(self.file.rows).unwrap_or(usize::MAX);
            need.reader_bytes = need.reader_bytes.saturating_add(need.row_bytes.saturating_mul(rows).saturating_mul(2));
        }
        need
    }

    /// Whether a row may be other than NULL in a column.
    pub(super) fn holds(&self, column: &str) -> bool {
        !is_null_in(self.metadata.metadata(), column)
    }

    /// Starts reading the columns of `schema`. A file with a column that is none of `all` is refused.
    pub(super) fn read(
        self,
        table: &'static Table,
        all: &Schema,
        schema: SchemaRef,
        learned: &[LearnedColumn],
        batch_rows: usize,
    ) -> Result<Input, LakeError> {
        let path = &self.file.path;
        let is_unknown = |field: &&FieldRef| all.index_of(field.name()).is_err();
        if let Some(field) = self.metadata.schema().fields().iter().find(is_unknown) {
            let message = format!("its column {} is none of the table, and would be lost", field.name());
            return Err(unreadable(path)(ParquetError::General(message)));
        }
        let is_in_order = of_file(table, self.metadata.metadata().file_metadata()) == table.order;
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(self.handle, self.metadata)
            .with_batch_size(batch_rows)
            .build()
            .map_err(unreadable(path))?;
        let rest = RecordBatch::new_empty(Arc::clone(&schema));
        let mut input =
            Input { file: self.file, reader, table, schema, learned: learned.to_vec(), rest, is_at_end: false };
        if !is_in_order {
            input.sort()?;
        }
        Ok(input)
    }
}

fn need(metadata: &ParquetMetaData) -> Need {
    let mut need = Need::default();
    let leaves = metadata.file_metadata().schema_descr().num_columns();
    let mut reader_bytes = vec![0; leaves];
    for group in metadata.row_groups() {
        let rows = usize::try_from(group.num_rows()).unwrap_or(1).max(1);
        let mut row_bytes = 0;
        for (column, held) in group.columns().iter().zip(&mut reader_bytes) {
            *held = page_bytes(column, rows).max(*held);
            let values = usize::try_from(column.num_values()).unwrap_or(0);
            let text = match column.column_type() {
                Type::BYTE_ARRAY => text_bytes(column),
                _ => 0,
            };
            row_bytes += (values * VALUE_BYTES + text).div_ceil(rows);
        }
        need.row_bytes = need.row_bytes.max(row_bytes);
    }
    need.reader_bytes = reader_bytes.iter().sum();
    need
}

/// A page and the dictionary, twice: as they are read and as they are decoded.
fn page_bytes(column: &ColumnChunkMetaData, rows: usize) -> usize {
    let whole = usize::try_from(column.uncompressed_size()).unwrap_or(0);
    let page = (whole / rows.div_ceil(MOST_PAGE_ROWS)).min(whole);
    let dictionary = if column.dictionary_page_offset().is_some() {
        let is_trace_id = column.column_path().parts() == ["trace_id"];
        whole.min(if is_trace_id { TRACE_ID_DICTIONARY_BYTES } else { DICTIONARY_BYTES })
    } else {
        0
    };
    2 * (page + dictionary)
}

fn text_bytes(column: &ColumnChunkMetaData) -> usize {
    let known = column.unencoded_byte_array_data_bytes().and_then(|bytes| usize::try_from(bytes).ok());
    // A file of another program may not say; its pages say the least that it can be.
    known.unwrap_or_else(|| usize::try_from(column.uncompressed_size()).unwrap_or(0))
}

/// A file that is being read: the rows that were read and are not merged yet, and the reader of the others.
pub(super) struct Input {
    pub(super) file: Arc<DataFile>,
    reader: ParquetRecordBatchReader,
    table: &'static Table,
    schema: SchemaRef,
    /// Those of its columns that the table has learned.
    learned: Vec<LearnedColumn>,
    /// With the columns of the merged file.
    pub(super) rest: RecordBatch,
    pub(super) is_at_end: bool,
}

impl Input {
    /// Makes sure that there are rows in `rest`, unless the file is at its end.
    pub(super) fn fill(&mut self) -> Result<(), LakeError> {
        while self.rest.num_rows() == 0 && !self.is_at_end {
            match self.reader.next() {
                Some(batch) => self.rest = self.fitted(&batch.map_err(|e| unreadable(&self.file.path)(e.into()))?)?,
                None => self.is_at_end = true,
            }
        }
        Ok(())
    }

    /// Reads all of a file that is sorted in another way than its table is now, and sorts it.
    fn sort(&mut self) -> Result<(), LakeError> {
        let mut batches = Vec::new();
        while let Some(batch) = self.reader.next() {
            batches.push(self.fitted(&batch.map_err(|e| unreadable(&self.file.path)(e.into()))?)?);
        }
        let sorted = concat_batches(&self.schema, &batches).and_then(|all| {
            let keys = Keys::of(self.table.order, &all);
            let rows = u32::try_from(keys.len()).map_err(|_| ArrowError::OffsetOverflowError(keys.len()))?;
            let mut order: Vec<u32> = (0..rows).collect();
            // Rows of equal keys stay as they came.
            order.sort_by(|&a, &b| keys.compare(a as usize, &keys, b as usize));
            take_record_batch(&all, &UInt32Array::from(order))
        });
        self.rest = sorted.map_err(|error| unreadable(&self.file.path)(error.into()))?;
        self.is_at_end = true;
        Ok(())
    }

    /// Takes the first `rows` of what was read.
    pub(super) fn take(&mut self, rows: usize) -> RecordBatch {
        let taken = self.rest.slice(0, rows);
        self.rest = self.rest.slice(rows, self.rest.num_rows() - rows);
        taken
    }

    /// The batch with the columns of the merged file.
    fn fitted(&self, batch: &RecordBatch) -> Result<RecordBatch, LakeError> {
        let batch = &*learn(batch, &self.learned).map_err(|error| unreadable(&self.file.path)(error.into()))?;
        let column = |field: &Arc<arrow::datatypes::Field>| -> Result<ArrayRef, String> {
            match batch.column_by_name(field.name()) {
                Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
                Some(column) => Err(format!("its column {} is of type {}", field.name(), column.data_type())),
                None if field.name() == RECEIVED => {
                    Ok(Arc::new(Int64Array::from_value(self.file.id, batch.num_rows())))
                }
                None if field.is_nullable() => Ok(new_null_array(field.data_type(), batch.num_rows())),
                None => Err(format!("it has no column {}", field.name())),
            }
        };
        let columns: Result<Vec<ArrayRef>, String> = self.schema.fields().iter().map(column).collect();
        columns
            .and_then(|columns| {
                RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(|error| error.to_string())
            })
            .map_err(|message| unreadable(&self.file.path)(ParquetError::General(message)))
    }

    pub(super) fn keys(&self) -> Keys<'_> {
        Keys::of(self.table.order, &self.rest)
    }
}

/// What rows are ordered by.
pub(crate) struct Keys<'a> {
    by_second: bool,
    words: Vec<&'a StringArray>,
    times: &'a [i64],
}

impl<'a> Keys<'a> {
    /// Of a batch with the table's columns, in any order.
    pub(crate) fn of(order: Order, batch: &'a RecordBatch) -> Self {
        let column = |name: &str| batch.column_by_name(name).expect("the batch has the columns of the order");
        Self {
            by_second: order.by_second,
            words: order.words().iter().map(|word| column(word).as_string()).collect(),
            times: column("timestamp").as_primitive::<TimestampNanosecondType>().values(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    /// The order of a row and one of other rows: by the second where it counts, by the words' bytes, NULL first, then by time.
    pub(crate) fn compare(&self, row: usize, other: &Self, other_row: usize) -> std::cmp::Ordering {
        if self.by_second {
            let order = second_of(self.times[row]).cmp(&second_of(other.times[other_row]));
            if order.is_ne() {
                return order;
            }
        }
        for (a, b) in self.words.iter().zip(&other.words) {
            let of = |array: &'a StringArray, row: usize| array.is_valid(row).then(|| array.value(row).as_bytes());
            let order = of(a, row).cmp(&of(b, other_row));
            if order.is_ne() {
                return order;
            }
        }
        self.times[row].cmp(&other.times[other_row])
    }
}

pub(super) fn unreadable(path: &Path) -> impl FnOnce(ParquetError) -> LakeError {
    let path = path.to_owned();
    move |source| LakeError::Unreadable { path, source }
}
