//! One data file against what the catalog says of it. Holds a row group's worth of a few columns at most, a section at a
//! time.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampNanosecondType;
use chrono::{DateTime, Datelike, Timelike};
use orrery_model::{Order, Table, TableName, table};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};

use super::sections::{Filters, GroupFilters, Lost};
use crate::catalog::Says;
use crate::compact::Keys;
use crate::lake::LakeError;
use crate::parquet::{MIXED, hour_of, of_file};
use crate::{DataFile, MapKeys, ReadError, TraceFilter, VerifiedFile, map_keys};

/// What is wrong with the file; nothing where all is well. An error only where it was stopped.
pub(super) fn check(
    name: TableName,
    file: &Arc<DataFile>,
    says: &Says,
    goes_on: &dyn Fn() -> bool,
) -> Result<Vec<String>, LakeError> {
    let mut wrong = check_partition(file, says);
    let handle = match VerifiedFile::open(file) {
        Ok(handle) => handle,
        Err(ReadError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            wrong.push("it is missing".to_owned());
            return Ok(wrong);
        }
        Err(error) => {
            wrong.push(error.to_string());
            return Ok(wrong);
        }
    };
    // Bytes that are not what was written need no reading.
    if let Err(error) = handle.verify() {
        wrong.push(error.to_string());
        return Ok(wrong);
    }
    wrong.extend(check_layout(file));
    match check_rows(table(name), file, &handle, says, goes_on) {
        Ok(found) => wrong.extend(found),
        Err(Ended::Stopped) => return Err(LakeError::Stopped),
        Err(Ended::Unreadable(why)) => wrong.push(why),
    }
    Ok(wrong)
}

/// Why a file was not read to its end.
pub(super) enum Ended {
    Stopped,
    Unreadable(String),
}

pub(super) fn unreadable(error: impl std::fmt::Display) -> Ended {
    Ended::Unreadable(format!("it cannot be read: {error}"))
}

fn check_partition(file: &DataFile, says: &Says) -> Vec<String> {
    let hour = hour_of(file.min_timestamp_ns, file.max_timestamp_ns);
    let time = DateTime::from_timestamp_nanos(file.min_timestamp_ns);
    let keys = [time.year().to_string(), time.month().to_string(), time.day().to_string(), time.hour().to_string()];
    let expected: &[String] = if hour == MIXED { &[] } else { &keys };
    let agree = says.partition == expected;
    let wrong = || format!("its partition is ({}), not ({})", says.partition.join(", "), expected.join(", "));
    (!agree).then(wrong).into_iter().collect()
}

/// By what the catalog says of the maps' keys a query leaves a file unopened.
fn check_layout(file: &Arc<DataFile>) -> Option<String> {
    let layout = file.layout.as_ref()?;
    let agree = |keys: &MapKeys| layout.map_keys.iter().zip(keys).all(|(said, found)| said.is_none() || said == found);
    match map_keys(file) {
        Ok(keys) if agree(&keys) => None,
        Ok(_) => Some("the keys of its maps are others than the catalog says".to_owned()),
        Err(error) => Some(format!("the keys of its maps cannot be read: {error}")),
    }
}

fn check_rows(
    table: &'static Table,
    file: &DataFile,
    handle: &VerifiedFile,
    says: &Says,
    goes_on: &dyn Fn() -> bool,
) -> Result<Vec<String>, Ended> {
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
    let footer = ArrowReaderMetadata::load(handle, options).map_err(unreadable)?;
    let metadata = Arc::clone(footer.metadata());
    let mut wrong = check_footer(table, file, &footer);
    if wrong.iter().any(|what| what.starts_with("it has no column")) {
        return Ok(wrong);
    }
    let filter = match (&says.filter, table.schema.index_of("trace_id")) {
        (Some(bytes), Ok(_)) => Some(TraceFilter::from_bytes(bytes).ok_or_else(|| unreadable("its trace filter"))?),
        _ => None,
    };
    let filters = Filters::of(&metadata);
    if let Some(what) = filters.check(metadata.num_row_groups()) {
        wrong.push(what);
        return Ok(wrong);
    }
    let order = of_file(table, metadata.file_metadata());
    let mut seen = Seen::new(table, order, filter.as_ref());
    for group in 0..metadata.num_row_groups() {
        let filters = filters.load(handle, group)?;
        if let Some(what) = filters.check(group, group_rows(&metadata, group)) {
            wrong.push(what);
            return Ok(wrong);
        }
        let wanted = order.columns.iter().copied().chain(["trace_id", table.ranged]).chain(filters.columns());
        let mask = ProjectionMask::columns(metadata.file_metadata().schema_descr(), wanted);
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(handle.clone(), footer.clone())
            .with_projection(mask)
            .with_row_groups(vec![group])
            .with_batch_size(READ_ROWS)
            .build()
            .map_err(unreadable)?;
        let mut first = 0;
        for batch in reader {
            if !goes_on() {
                return Err(Ended::Stopped);
            }
            let batch = batch.map_err(unreadable)?;
            let rows = batch.num_rows();
            seen.take(batch, &filters, first);
            first += rows;
        }
    }
    wrong.extend(seen.finish(file, says));
    Ok(wrong)
}

/// Rows that are read at once.
const READ_ROWS: usize = 8_192;

fn group_rows(metadata: &ParquetMetaData, group: usize) -> usize {
    usize::try_from(metadata.row_group(group).num_rows()).unwrap_or(0)
}

fn check_footer(table: &Table, file: &DataFile, footer: &ArrowReaderMetadata) -> Vec<String> {
    let metadata = footer.metadata();
    let mut wrong = Vec::new();
    let rows = metadata.file_metadata().num_rows().cast_unsigned();
    let in_groups: i64 = metadata.row_groups().iter().map(|group| group.num_rows()).sum();
    if rows != file.rows || in_groups.cast_unsigned() != file.rows {
        wrong.push(format!(
            "its footer says {rows} rows, its row groups have {in_groups}, and the catalog says {}",
            file.rows
        ));
    }
    for field in table.schema.fields() {
        match footer.schema().field_with_name(field.name()) {
            Ok(found) if found.data_type() != field.data_type() => {
                wrong.push(format!("its column {} is of type {}", field.name(), found.data_type()));
            }
            // Older files lack what the table got later.
            Err(_) if !field.is_nullable() => wrong.push(format!("it has no column {}", field.name())),
            _ => {}
        }
    }
    for column in file.layout.iter().flat_map(|layout| &layout.learned) {
        match footer.schema().field_with_name(&column.column_name()) {
            Ok(found) if *found.data_type() == column.data_type() => {}
            Ok(found) => wrong.push(format!("its column {} is of type {}", found.name(), found.data_type())),
            Err(_) => wrong.push(format!("it has no column {}, which the catalog says it has", column.column_name())),
        }
    }
    wrong
}

/// What is known of the rows so far.
struct Seen<'a> {
    table: &'static Table,
    order: Order,
    filter: Option<&'a TraceFilter>,
    rows: u64,
    times: Option<(i64, i64)>,
    word_range: Option<(String, String)>,
    word_nulls: u64,
    /// The last row of the batch before.
    last: Option<RecordBatch>,
    out_of_order: u64,
    lost_ids: u64,
    lost: Lost,
}

impl<'a> Seen<'a> {
    fn new(table: &'static Table, order: Order, filter: Option<&'a TraceFilter>) -> Self {
        let (times, word_range, last) = (None, None, None);
        Self {
            table,
            order,
            filter,
            rows: 0,
            times,
            word_range,
            word_nulls: 0,
            last,
            out_of_order: 0,
            lost_ids: 0,
            lost: Lost::default(),
        }
    }

    /// Takes in rows, the first of which is that one of its row group.
    fn take(&mut self, batch: RecordBatch, filters: &GroupFilters, first: usize) {
        if batch.num_rows() == 0 {
            return;
        }
        self.rows += batch.num_rows() as u64;
        let column = |name: &str| batch.column_by_name(name).expect("the footer was checked for it");
        for &time in column("timestamp").as_primitive::<TimestampNanosecondType>().values() {
            let (min, max) = self.times.get_or_insert((time, time));
            *min = time.min(*min);
            *max = time.max(*max);
        }
        let keys = column(self.table.ranged).as_string::<i32>();
        self.word_nulls += keys.null_count() as u64;
        for word in keys.iter().flatten() {
            match &mut self.word_range {
                Some((min, max)) => {
                    if word < min.as_str() {
                        word.clone_into(min);
                    }
                    if word > max.as_str() {
                        word.clone_into(max);
                    }
                }
                None => self.word_range = Some((word.to_owned(), word.to_owned())),
            }
        }
        self.compare(&batch);
        if let (Some(filter), Some(ids)) = (self.filter, batch.column_by_name("trace_id")) {
            let ids = ids.as_string::<i32>();
            self.lost_ids += ids.iter().flatten().filter(|id| !filter.may_contain(id)).count() as u64;
        }
        filters.look(first, &batch, &mut self.lost);
        self.last = Some(batch.slice(batch.num_rows() - 1, 1));
    }

    fn compare(&mut self, batch: &RecordBatch) {
        let keys = Keys::of(self.order, batch);
        if let Some(last) = &self.last
            && Keys::of(self.order, last).compare(0, &keys, 0) == Ordering::Greater
        {
            self.out_of_order += 1;
        }
        let falls = |row: &usize| keys.compare(row - 1, &keys, *row) == Ordering::Greater;
        self.out_of_order += (1..keys.len()).filter(falls).count() as u64;
    }

    fn finish(self, file: &DataFile, says: &Says) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.rows != file.rows {
            wrong.push(format!("{} rows were read, the catalog says {}", self.rows, file.rows));
        }
        if self.times != Some((file.min_timestamp_ns, file.max_timestamp_ns)) {
            let time = |ns: i64| DateTime::from_timestamp_nanos(ns).to_rfc3339();
            let found = self.times.map_or_else(String::new, |(min, max)| format!("{} to {}", time(min), time(max)));
            let said = format!("{} to {}", time(file.min_timestamp_ns), time(file.max_timestamp_ns));
            wrong.push(format!("its times are from {found}, the catalog says from {said}"));
        }
        // Long words are not kept.
        if says.word_range.is_some() && says.word_range != self.word_range {
            let key = self.table.ranged;
            wrong.push(format!("its {key} is from other values than the catalog says: {:?}", self.word_range));
        }
        if says.word_nulls != self.word_nulls {
            let key = self.table.ranged;
            wrong.push(format!("{} of its {key} are NULL, the catalog says {}", self.word_nulls, says.word_nulls));
        }
        for (count, what) in [
            (self.out_of_order, "rows are not in the table's order"),
            (self.lost_ids, "trace ids are not in its trace filter: a look-up would not find them"),
            (self.lost.words, "words are not in its word filters: a search would not find them"),
            (self.lost.values, "values are not in its value filters: a search would not find them"),
        ] {
            if count > 0 {
                wrong.push(format!("{count} {what}"));
            }
        }
        wrong
    }
}
