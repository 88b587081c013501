//! Writing one run of rows as a Parquet file: a column at a time is gathered in the run's order, encoded and let go, so
//! that memory holds one column and the encoded rest. Never decides the order.

use std::borrow::BorrowMut;
use std::io::{ErrorKind, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Schema;
use orrery_model::{LearnedColumn, Table};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, compute_leaves};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::writer::SerializedFileWriter;

use super::encoders::{Encoder, Encoders};
use super::gather::Gather;
use super::held::always_held;
use super::learned::with_learned;
use super::order::Run;
use super::properties::writer_properties;
use super::text::WordRange;
use super::tokens::{TokenBuilder, TokenPlaces};
use super::values::{self, ValueBuilder, ValuePlaces};
use super::{ColumnRange, ColumnStatistics, io};
use crate::checksum::Checksums;
use crate::fs::{Appender, File, FileSystem};
use crate::lake::LakeError;
use crate::section_filter::SectionFilters;
use crate::trace_filter::{self, TraceFilter};

/// Rows of a row group: the unit that a reader prunes, and that a query gives to one core.
pub(super) const ROW_GROUP_ROWS: usize = 1 << 18;

/// What a finished file is, beyond its rows.
pub(crate) struct Encoded {
    pub(crate) file: Box<dyn File>,
    pub(crate) size_bytes: u64,
    pub(crate) footer_bytes: u64,
    pub(crate) checksums: Option<Checksums>,
    pub(crate) columns: Vec<ColumnStatistics>,
    pub(crate) trace_filter: Option<TraceFilter>,
}

/// Writes the run to the file, which is not synced yet. The batches have the columns of the table and behind them those that
/// it has learned; the file has those of them that hold anything. An existing file of that name is a torn flush's, and overwritten.
pub(crate) fn write_run(
    fs: &dyn FileSystem,
    path: &Path,
    table: &Table,
    learned: &[LearnedColumn],
    batches: &[RecordBatch],
    run: &Run,
) -> Result<Encoded, LakeError> {
    let fail = |source| LakeError::Parquet { path: path.to_owned(), source };
    let gather = Gather::new(batches, &run.rows);
    let columns = with_learned(&table.schema, learned);
    let is_held = |index: &usize| always_held(table, columns.field(*index)) || !gather.is_null(*index);
    let held: Vec<usize> = (0..columns.fields().len()).filter(is_held).collect();
    let columns = Arc::new(columns.project(&held).expect("the columns are the schema's"));
    let schema = ArrowSchemaConverter::new().convert(&columns).map_err(fail)?;
    let properties = writer_properties(table, &schema);
    let mut appender = create(fs, path)?;
    let mut writer = SerializedFileWriter::new(&mut appender, schema.root_schema_ptr(), properties).map_err(fail)?;
    let encoders = Encoders::new(&writer, &columns).map_err(fail)?;

    let ranges: Vec<Range<usize>> = (0..run.rows.len())
        .step_by(ROW_GROUP_ROWS)
        .map(|start| start..run.rows.len().min(start + ROW_GROUP_ROWS))
        .collect();
    let encoders: Result<Vec<_>, _> = (0..ranges.len()).map(|index| encoders.of_row_group(index)).collect();
    let groups = encode_columns(&columns, &held, &gather, &ranges, encoders.map_err(fail)?).map_err(fail)?;
    let mut words = None;
    let mut values = (!values::columns(&columns).is_empty()).then(ValuePlaces::new);
    for (index, group) in groups.into_iter().enumerate() {
        let mut row_group = writer.next_row_group().map_err(fail)?;
        for chunk in group.chunks {
            chunk.append_to_row_group(&mut row_group).map_err(fail)?;
        }
        row_group.close().map_err(fail)?;
        if let Some(filters) = group.words {
            words.get_or_insert_with(TokenPlaces::new).write(&mut writer, &filters).map_err(fail)?;
        }
        if let Some(values) = &mut values {
            for (column, filters) in group.values {
                values.write(&mut writer, index, columns.field(column).name(), &filters).map_err(fail)?;
            }
        }
    }
    if let Some(words) = words {
        words.finish(&mut writer);
    }
    if let Some(values) = values {
        values.finish(&mut writer, ranges.len());
    }
    write_sums(&mut writer).map_err(io("write", path))?;
    let metadata = writer.close().map_err(fail)?;
    Ok(Encoded {
        checksums: appender.checksums(),
        size_bytes: appender.written(),
        footer_bytes: footer_bytes(&appender).map_err(io("read the footer of", path))?,
        columns: column_statistics(table, &gather, run, &metadata),
        trace_filter: trace_ids(table, &gather),
        file: appender.into_file(),
    })
}

/// An empty file, in the place of any that is there.
pub(crate) fn create(fs: &dyn FileSystem, path: &Path) -> Result<Appender, LakeError> {
    let created = match fs.create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => fs.unlink(path).and_then(|()| fs.create(path)),
        created => created,
    };
    Ok(Appender::new(created.map_err(io("create", path))?))
}

/// Writes the sums of the columns; the page indexes and the footer come next.
pub(crate) fn write_sums<W: Write + BorrowMut<Appender> + Send>(
    writer: &mut SerializedFileWriter<W>,
) -> std::io::Result<()> {
    writer.flush()?;
    let table = writer.inner_mut().borrow_mut().end_blocks();
    writer.write_all(&table)
}

/// A row group that is encoded.
#[derive(Default)]
struct EncodedGroup {
    chunks: Vec<ArrowColumnChunk>,
    /// Where the table has bodies.
    words: Option<SectionFilters>,
    /// By column.
    values: Vec<(usize, SectionFilters)>,
}

/// The columns of the schema, which are these of the batches.
fn encode_columns(
    schema: &Schema,
    held: &[usize],
    gather: &Gather<'_>,
    ranges: &[Range<usize>],
    encoders: Vec<Vec<Encoder>>,
) -> parquet::errors::Result<Vec<EncodedGroup>> {
    let filtered = values::columns(schema);
    let mut encoders: Vec<_> = encoders.into_iter().map(Vec::into_iter).collect();
    let mut groups: Vec<EncodedGroup> = ranges.iter().map(|_| EncodedGroup::default()).collect();
    for (index, field) in schema.fields().iter().enumerate() {
        let column = gather.column(held[index])?;
        for ((range, encoders), group) in ranges.iter().zip(&mut encoders).zip(&mut groups) {
            let rows = gather.read(&column, range.clone())?;
            if field.name() == "body" {
                let mut builder = TokenBuilder::new();
                builder.add(&rows);
                group.words = Some(builder.finish());
            }
            if filtered.contains(&index) {
                let mut builder = ValueBuilder::new(field.name());
                builder.add(&rows);
                group.values.extend(builder.finish().map(|filters| (index, filters)));
            }
            // The encoder knows text behind a dictionary; the file has the type of the table.
            let field = field.as_ref().clone().with_data_type(rows.data_type().clone());
            for leaf in compute_leaves(&field, &rows)? {
                let mut encoder = encoders.next().expect("every leaf has an encoder");
                encoder.write(&leaf)?;
                group.chunks.push(encoder.close()?);
            }
        }
    }
    Ok(groups)
}

/// The size of the footer, which DuckLake keeps: the length that stands before the closing `PAR1`.
pub(crate) fn footer_bytes(written: &Appender) -> std::io::Result<u64> {
    let mut tail = [0; 8];
    let start = written.written().checked_sub(8).ok_or(ErrorKind::UnexpectedEof)?;
    if written.file().read_at(start, &mut tail)? < tail.len() {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]).into())
}

/// The statistics that the catalog keeps.
fn column_statistics(
    table: &Table,
    gather: &Gather<'_>,
    run: &Run,
    metadata: &ParquetMetaData,
) -> Vec<ColumnStatistics> {
    let timestamp = ColumnStatistics {
        index: table.index_of("timestamp"),
        size_bytes: compressed_bytes(metadata, "timestamp"),
        nulls: 0,
        range: ColumnRange::Timestamp(run.min_timestamp_ns, run.max_timestamp_ns),
    };
    let mut words = WordRange::default();
    let index = table.index_of(table.ranged);
    let columns: Vec<_> = gather.batches.iter().map(|batch| batch.column(index).as_string::<i32>()).collect();
    words.take(gather.rows.iter().map(|&(batch, row)| columns[batch].is_valid(row).then(|| columns[batch].value(row))));
    let size_bytes = compressed_bytes(metadata, table.ranged);
    let ranged = ColumnStatistics { index, size_bytes, nulls: words.nulls(), range: words.range() };
    vec![timestamp, ranged]
}

pub(super) fn compressed_bytes(metadata: &ParquetMetaData, column: &str) -> u64 {
    metadata
        .row_groups()
        .iter()
        .flat_map(|group| group.columns())
        .filter(|chunk| chunk.column_path().parts() == [column])
        .map(|chunk| chunk.compressed_size().cast_unsigned())
        .sum()
}

fn trace_ids(table: &Table, gather: &Gather<'_>) -> Option<TraceFilter> {
    let Gather { batches, rows, .. } = gather;
    let index = table.schema.index_of("trace_id").ok()?;
    let columns: Vec<_> = batches.iter().map(|batch| batch.column(index).as_string::<i32>()).collect();
    let hashes = rows
        .iter()
        .filter(|(batch, row)| columns[*batch].is_valid(*row))
        .map(|(batch, row)| trace_filter::hash(columns[*batch].value(*row)))
        .collect();
    Some(TraceFilter::from_hashes(hashes))
}
