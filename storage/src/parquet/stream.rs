//! Writing a file from sorted rows that come batch by batch: every column's encoder is open at once, so that memory holds
//! one row group in its encoded form and one batch. Never decides the order.

use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{SchemaRef, TimestampNanosecondType};
use orrery_model::Table;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::compute_leaves;
use parquet::file::writer::SerializedFileWriter;

use super::encode::{ROW_GROUP_ROWS, compressed_bytes, create, footer_bytes, write_sums};
use super::encoders::{Encoder, Encoders};
use super::properties::writer_properties;
use super::text::{Texts, WordRange};
use super::tokens::{TokenBuilder, TokenPlaces};
use super::values::{self, ValueBuilder, ValuePlaces};
use super::{ColumnRange, ColumnStatistics, io};
use crate::TraceFilter;
use crate::checksum::Checksums;
use crate::fs::{Appender, FileSystem};
use crate::lake::LakeError;
use crate::trace_filter::{self, TraceFilterBuilder};

/// A row group ends before its rows are many where they are large: what the encoders hold at most, about.
pub(crate) const ROW_GROUP_BYTES: usize = 64 << 20;

/// A file while it is written. Dropped before [`StreamWriter::finish`] it leaves a part of a file behind.
pub(crate) struct StreamWriter {
    table: &'static Table,
    /// The columns of the file.
    schema: SchemaRef,
    path: PathBuf,
    writer: SerializedFileWriter<Appender>,
    encoders: Encoders,
    /// The encoders of the row group under way, a leaf each.
    columns: Vec<Encoder>,
    group_rows: usize,
    groups: usize,
    rows: u64,
    places: Places,
    times: Option<(i64, i64)>,
    word: WordRange,
    /// Of the ids in a column.
    filter: Option<(usize, TraceFilterBuilder)>,
    /// Where the table has bodies.
    tokens: Option<Tokens>,
    /// The values of the row group under way, by column.
    values: Vec<(usize, ValueBuilder)>,
    /// Where the filters of those before lie.
    value_places: ValuePlaces,
}

/// Columns of which something is kept for the catalog.
struct Places {
    timestamp: usize,
    ranged: usize,
}

/// The words of the row group under way, and where the filters of those before lie.
struct Tokens {
    column: usize,
    words: TokenBuilder,
    places: TokenPlaces,
}

impl StreamWriter {
    /// Creates the file. `trace_ids` is how many distinct ids there can be at most.
    pub(crate) fn create(
        fs: &dyn FileSystem,
        path: &Path,
        table: &'static Table,
        schema: SchemaRef,
        trace_ids: usize,
    ) -> Result<Self, LakeError> {
        let fail = |source| LakeError::Parquet { path: path.to_owned(), source };
        let parquet = ArrowSchemaConverter::new().convert(&schema).map_err(fail)?;
        let properties = writer_properties(table, &parquet);
        let appender = create(fs, path)?;
        let writer = SerializedFileWriter::new(appender, parquet.root_schema_ptr(), properties).map_err(fail)?;
        let encoders = Encoders::new(&writer, &schema).map_err(fail)?;
        let columns = encoders.of_row_group(0).map_err(fail)?;
        let place = |column: &str| schema.index_of(column).map_err(|error| fail(error.into()));
        let places = Places { timestamp: place("timestamp")?, ranged: place(table.ranged)? };
        let trace_id = schema.index_of("trace_id").ok();
        let body = schema.index_of("body").ok();
        let values = values::columns(&schema);
        let values =
            values.into_iter().map(|column| (column, ValueBuilder::new(schema.field(column).name()))).collect();
        Ok(Self {
            table,
            schema,
            path: path.to_owned(),
            writer,
            encoders,
            columns,
            group_rows: 0,
            groups: 0,
            rows: 0,
            times: None,
            word: WordRange::default(),
            filter: trace_id.map(|column| (column, TraceFilterBuilder::with_room(trace_ids))),
            places,
            tokens: body.map(|column| Tokens { column, words: TokenBuilder::new(), places: TokenPlaces::new() }),
            values,
            value_places: ValuePlaces::new(),
        })
    }

    /// Appends rows, which follow all before in the table's order. Text may stand behind a dictionary.
    pub(crate) fn write(&mut self, columns: &[ArrayRef]) -> Result<(), LakeError> {
        let rows = columns.first().map_or(0, |column| column.len());
        let mut start = 0;
        while start < rows {
            let len = (rows - start).min(ROW_GROUP_ROWS - self.group_rows);
            if len == rows {
                self.append(columns)?;
            } else {
                let part: Vec<ArrayRef> = columns.iter().map(|column| column.slice(start, len)).collect();
                self.append(&part)?;
            }
            start += len;
            if self.group_rows == ROW_GROUP_ROWS || self.held_bytes() >= ROW_GROUP_BYTES {
                self.end_row_group()?;
            }
        }
        Ok(())
    }

    /// Row groups that are in the file.
    pub(crate) fn row_groups(&self) -> usize {
        self.groups
    }

    /// Writes the footer. The file is not synced yet.
    pub(crate) fn finish(mut self) -> Result<Streamed, LakeError> {
        if self.group_rows > 0 {
            self.end_row_group()?;
        }
        if let Some(tokens) = self.tokens {
            tokens.places.finish(&mut self.writer);
        }
        if !self.values.is_empty() {
            self.value_places.finish(&mut self.writer, self.groups);
        }
        write_sums(&mut self.writer).map_err(io("write", &self.path))?;
        let metadata = self.writer.finish().map_err(|source| LakeError::Parquet { path: self.path.clone(), source })?;
        let (min_timestamp_ns, max_timestamp_ns) = self.times.unwrap_or_default();
        let key = self.table.ranged;
        let timestamp = ColumnStatistics {
            index: self.table.index_of("timestamp"),
            size_bytes: compressed_bytes(&metadata, "timestamp"),
            nulls: 0,
            range: ColumnRange::Timestamp(min_timestamp_ns, max_timestamp_ns),
        };
        let word = ColumnStatistics {
            index: self.table.index_of(key),
            size_bytes: compressed_bytes(&metadata, key),
            nulls: self.word.nulls(),
            range: self.word.range(),
        };
        let appender = self.writer.inner();
        Ok(Streamed {
            rows: self.rows,
            min_timestamp_ns,
            max_timestamp_ns,
            size_bytes: appender.written(),
            footer_bytes: footer_bytes(appender).map_err(io("read the footer of", &self.path))?,
            checksums: appender.checksums(),
            columns: vec![timestamp, word],
            trace_filter: self.filter.map(|(_, filter)| filter.finish()),
            writer: self.writer,
        })
    }

    fn append(&mut self, columns: &[ArrayRef]) -> Result<(), LakeError> {
        self.note(columns);
        self.encode(columns).map_err(|source| LakeError::Parquet { path: self.path.clone(), source })?;
        let rows = columns[0].len();
        self.group_rows += rows;
        self.rows += rows as u64;
        Ok(())
    }

    fn encode(&mut self, columns: &[ArrayRef]) -> parquet::errors::Result<()> {
        let mut encoders = self.columns.iter_mut();
        for (field, column) in self.schema.fields().iter().zip(columns) {
            // The encoder knows text behind a dictionary; the file has the type of the table.
            let field = field.as_ref().clone().with_data_type(column.data_type().clone());
            for leaf in compute_leaves(&field, column)? {
                encoders.next().expect("every leaf has an encoder").write(&leaf)?;
            }
        }
        Ok(())
    }

    fn held_bytes(&self) -> usize {
        self.columns.iter().map(Encoder::memory_size).sum()
    }

    fn end_row_group(&mut self) -> Result<(), LakeError> {
        let columns = std::mem::take(&mut self.columns);
        self.write_row_group(columns).map_err(|source| LakeError::Parquet { path: self.path.clone(), source })?;
        self.group_rows = 0;
        self.groups += 1;
        Ok(())
    }

    fn write_row_group(&mut self, columns: Vec<Encoder>) -> parquet::errors::Result<()> {
        let mut group = self.writer.next_row_group()?;
        for column in columns {
            column.close()?.append_to_row_group(&mut group)?;
        }
        group.close()?;
        if let Some(tokens) = &mut self.tokens {
            tokens.places.write(&mut self.writer, &tokens.words.finish())?;
        }
        for (column, values) in &mut self.values {
            if let Some(filters) = values.finish() {
                let name = self.schema.field(*column).name();
                self.value_places.write(&mut self.writer, self.groups, name, &filters)?;
            }
        }
        self.columns = self.encoders.of_row_group(self.groups + 1)?;
        Ok(())
    }

    /// Takes in what the catalog keeps of the rows.
    fn note(&mut self, columns: &[ArrayRef]) {
        let times = columns[self.places.timestamp].as_primitive::<TimestampNanosecondType>().values();
        for &time in times {
            let (min, max) = self.times.get_or_insert((time, time));
            *min = time.min(*min);
            *max = time.max(*max);
        }
        let words = &columns[self.places.ranged];
        self.word.take(Texts::of(words.as_ref()).iter());
        if let Some(tokens) = &mut self.tokens {
            tokens.words.add(columns[tokens.column].as_ref());
        }
        for (column, values) in &mut self.values {
            values.add(columns[*column].as_ref());
        }
        if let Some((column, filter)) = &mut self.filter {
            let ids = Texts::of(columns[*column].as_ref());
            // A trace's spans of one service are often neighbours.
            let mut last = None;
            for id in ids.iter().flatten() {
                if last != Some(id) {
                    filter.insert(trace_filter::hash(id));
                    last = Some(id);
                }
            }
        }
    }
}

/// What a finished file is.
pub(crate) struct Streamed {
    writer: SerializedFileWriter<Appender>,
    pub(crate) size_bytes: u64,
    pub(crate) footer_bytes: u64,
    pub(crate) checksums: Option<Checksums>,
    pub(crate) columns: Vec<ColumnStatistics>,
    pub(crate) trace_filter: Option<TraceFilter>,
    pub(crate) rows: u64,
    pub(crate) min_timestamp_ns: i64,
    pub(crate) max_timestamp_ns: i64,
}

impl Streamed {
    /// Puts the file's bytes on stable storage, not its name.
    pub(crate) fn sync(&self) -> std::io::Result<()> {
        self.writer.inner().file().sync_data()
    }
}
