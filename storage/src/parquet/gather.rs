//! The columns of a run in the order of its rows, without copying text once more: a column of text is the batches' values
//! one after another, and a dictionary whose keys are the rows' places in them; the encoder reads through the keys.
//! Never encodes.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, MapArray, RecordBatch, StructArray, UInt32Array, new_null_array,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::{concat, interleave};
use arrow::datatypes::{DataType, Field, Fields, UInt32Type};
use arrow::error::ArrowError;

/// The rows of a run over the batches that hold them.
pub(crate) struct Gather<'a> {
    pub(crate) batches: Vec<&'a RecordBatch>,
    /// Batch and row of each.
    pub(crate) rows: Vec<(usize, usize)>,
    /// The place of each row in the batches one after another. `None` where the run has few of the batches' rows, and
    /// copying the rows is cheaper than putting whole columns together.
    places: Option<ScalarBuffer<u32>>,
}

/// One column, ready to be read in any range of the run's rows.
pub(crate) enum Column<'a> {
    Null(DataType),
    Text(ArrayRef),
    /// `shifts` take an entry's place in its own batch to that among all entries.
    Map {
        shifts: Vec<i64>,
        maps: Vec<&'a MapArray>,
        keys: ArrayRef,
        values: ArrayRef,
    },
    Copied(Vec<&'a dyn Array>),
}

impl<'a> Gather<'a> {
    /// Of all the batches only those that the rows are of: a flush of many hours must not look at every batch for every
    /// hour.
    pub(crate) fn new(batches: &'a [RecordBatch], rows: &[(usize, usize)]) -> Self {
        let mut numbers = vec![usize::MAX; batches.len()];
        let mut kept = Vec::new();
        let mut firsts = Vec::new();
        let mut total = 0;
        let rows: Vec<(usize, usize)> = rows
            .iter()
            .map(|&(batch, row)| {
                if numbers[batch] == usize::MAX {
                    numbers[batch] = kept.len();
                    kept.push(&batches[batch]);
                    firsts.push(total);
                    total += batches[batch].num_rows();
                }
                (numbers[batch], row)
            })
            .collect();
        let dense = rows.len() >= total / 2 && u32::try_from(total).is_ok();
        let places = dense.then(|| rows.iter().map(|(batch, row)| (firsts[*batch] + row) as u32).collect());
        Self { batches: kept, rows, places }
    }

    /// Whether a column is NULL in all of the batches.
    pub(super) fn is_null(&self, index: usize) -> bool {
        self.batches.iter().map(|batch| batch.column(index)).all(|column| column.null_count() == column.len())
    }

    pub(crate) fn column(&self, index: usize) -> Result<Column<'a>, ArrowError> {
        let columns: Vec<&'a dyn Array> = self.batches.iter().map(|batch| batch.column(index).as_ref()).collect();
        let data_type = columns[0].data_type();
        if columns.iter().all(|column| column.null_count() == column.len()) {
            return Ok(Column::Null(data_type.clone()));
        }
        let text_map = |entries: &Field| match entries.data_type() {
            DataType::Struct(fields) => fields.iter().all(|field| *field.data_type() == DataType::Utf8),
            _ => false,
        };
        match data_type {
            DataType::Utf8 if self.places.is_some() => Ok(Column::Text(concat(&columns)?)),
            DataType::Map(entries, _) if self.places.is_some() && text_map(entries) => Self::map(&columns),
            _ => Ok(Column::Copied(columns)),
        }
    }

    fn map(columns: &[&'a dyn Array]) -> Result<Column<'a>, ArrowError> {
        let maps: Vec<&MapArray> = columns.iter().map(|column| column.as_map()).collect();
        // A batch may be a part of another, whose entries lie beside its own.
        let own: Vec<Range<usize>> = maps.iter().map(|map| entries_of(map)).collect();
        let total: usize = own.iter().map(Range::len).sum();
        if u32::try_from(total).is_err() || maps.iter().any(|map| map.null_count() > 0) {
            return Ok(Column::Copied(columns.to_vec()));
        }
        let shifts = own
            .iter()
            .scan(0, |first, own| {
                let shift = *first as i64 - own.start as i64;
                *first += own.len();
                Some(shift)
            })
            .collect();
        let put_together = |column: fn(&MapArray) -> &ArrayRef| {
            let parts: Vec<ArrayRef> =
                maps.iter().zip(&own).map(|(map, own)| column(map).slice(own.start, own.len())).collect();
            concat(&parts.iter().map(|part| part.as_ref() as &dyn Array).collect::<Vec<_>>())
        };
        Ok(Column::Map { shifts, keys: put_together(MapArray::keys)?, values: put_together(MapArray::values)?, maps })
    }

    /// The column in a range of the run's rows, as the encoder takes it: text as a dictionary, the rest plain.
    pub(crate) fn read(&self, column: &Column<'_>, range: Range<usize>) -> Result<ArrayRef, ArrowError> {
        match column {
            Column::Null(data_type) => Ok(new_null_array(data_type, range.len())),
            Column::Copied(columns) => interleave(columns, &self.rows[range]),
            Column::Text(values) => {
                let places = self.places.as_ref().expect("text is put together for dense runs only");
                dictionary(places.slice(range.start, range.len()), values)
            }
            Column::Map { shifts, maps, keys, values } => {
                let rows = &self.rows[range];
                let mut lengths = Vec::with_capacity(rows.len());
                let mut places = Vec::new();
                for &(batch, row) in rows {
                    let offsets = maps[batch].value_offsets();
                    let (start, end) = (i64::from(offsets[row]), i64::from(offsets[row + 1]));
                    lengths.push((end - start) as usize);
                    places.extend((start..end).map(|entry| (shifts[batch] + entry) as u32));
                }
                let places = ScalarBuffer::from(places);
                let children = vec![dictionary(places.clone(), keys)?, dictionary(places, values)?];
                let DataType::Map(entries, sorted) = maps[0].data_type() else { unreachable!("a map is a map") };
                let DataType::Struct(fields) = entries.data_type() else {
                    unreachable!("a map's entries are a struct")
                };
                let fields: Fields = fields
                    .iter()
                    .zip(&children)
                    .map(|(field, child)| field.as_ref().clone().with_data_type(child.data_type().clone()))
                    .collect();
                let pairs = StructArray::try_new(fields, children, None)?;
                let entries = Field::new(entries.name(), pairs.data_type().clone(), false);
                let offsets = OffsetBuffer::from_lengths(lengths);
                Ok(Arc::new(MapArray::try_new(Arc::new(entries), offsets, pairs, None, *sorted)?))
            }
        }
    }
}

/// The entries of the map's rows among those of the array that it is a part of.
fn entries_of(map: &MapArray) -> Range<usize> {
    let offsets = map.value_offsets();
    let end = |offset: Option<&i32>| offset.map_or(0, |offset| *offset as usize);
    end(offsets.first())..end(offsets.last())
}

fn dictionary(places: ScalarBuffer<u32>, values: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let keys = UInt32Array::new(places, None);
    Ok(Arc::new(DictionaryArray::<UInt32Type>::try_new(keys, Arc::clone(values))?))
}
