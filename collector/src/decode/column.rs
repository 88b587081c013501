//! Column builders over plain vectors. A column takes values by row number and is filled up with nulls (or zeros) only
//! when a later row has a value or at the end, so a column that a request does not use costs nothing. Never knows what
//! a column means.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, ListArray, MapArray, PrimitiveArray, StringArray, StructArray};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, DataType};
use arrow::error::ArrowError;

/// What the batch does with every column.
pub(super) trait Column {
    /// Takes back whatever rows from `rows` on have put.
    fn truncate(&mut self, rows: usize);
    /// The array of `rows` rows; the builder is left empty.
    fn finish(&mut self, rows: usize, data_type: &DataType, zeros: &Zeros) -> Result<ArrayRef, ArrowError>;
}

/// Zero bytes that all the empty columns of one batch share.
pub(super) struct Zeros(Buffer);

impl Zeros {
    pub fn new(rows: usize) -> Self {
        Self(arrow::buffer::MutableBuffer::from_len_zeroed((rows + 1) * 8).into())
    }

    fn scalars<T: ArrowNativeType>(&self, len: usize) -> ScalarBuffer<T> {
        ScalarBuffer::new(self.0.clone(), 0, len)
    }

    fn offsets(&self, rows: usize) -> OffsetBuffer<i32> {
        OffsetBuffer::new(self.scalars(rows + 1))
    }

    fn nulls(&self, rows: usize) -> NullBuffer {
        NullBuffer::new(BooleanBuffer::new(self.0.clone(), 0, rows))
    }

    pub fn null_text(&self, rows: usize) -> ArrayRef {
        Arc::new(StringArray::new(self.offsets(rows), Buffer::from(&[]), Some(self.nulls(rows))))
    }
}

/// Which rows have a value.
#[derive(Default)]
pub(super) struct Bits {
    words: Vec<u64>,
    set: usize,
}

impl Bits {
    #[inline]
    pub fn set(&mut self, index: usize) {
        let word = index / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (index % 64);
        self.set += 1;
    }

    fn truncate(&mut self, len: usize) {
        self.words.truncate(len.div_ceil(64));
        if !len.is_multiple_of(64) && self.words.len() == len.div_ceil(64) {
            let last = self.words.len() - 1;
            self.words[last] &= (1 << (len % 64)) - 1;
        }
        self.set = self.words.iter().map(|w| w.count_ones() as usize).sum();
    }

    fn finish(&mut self, len: usize) -> Option<NullBuffer> {
        let set = std::mem::take(&mut self.set);
        let mut words = std::mem::take(&mut self.words);
        if set == len {
            return None;
        }
        words.resize(len.div_ceil(64), 0);
        Some(NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(words), 0, len)))
    }
}

/// Where each row begins in the values; rows that put nothing get theirs later.
#[derive(Default)]
struct Offsets(Vec<i32>);

impl Offsets {
    /// Begins a row whose values start at `at`, and ends the ones before it there.
    #[inline]
    fn begin(&mut self, row: usize, at: usize) {
        if self.0.len() == row {
            self.0.push(at as i32);
        } else if self.0.len() < row {
            self.0.resize(row + 1, at as i32);
        }
    }

    /// Forgets the rows from `rows` on and says where their values began.
    fn truncate(&mut self, rows: usize) -> Option<usize> {
        let at = self.0.get(rows).map(|&at| at as usize);
        self.0.truncate(rows);
        at
    }

    fn finish(&mut self, rows: usize, end: usize) -> OffsetBuffer<i32> {
        let mut offsets = std::mem::take(&mut self.0);
        offsets.reserve_exact(rows + 1 - offsets.len());
        offsets.resize(rows + 1, end as i32);
        OffsetBuffer::new(offsets.into())
    }
}

/// Strings, NULL where a row put none.
#[derive(Default)]
pub(super) struct Text {
    offsets: Offsets,
    bytes: Vec<u8>,
    valid: Bits,
}

impl Text {
    #[inline]
    pub fn put(&mut self, row: usize, value: &[u8]) {
        self.begin(row).extend_from_slice(value);
    }

    /// Puts a string unless it is empty: proto3 does not tell an empty string from an absent one.
    #[inline]
    pub fn put_present(&mut self, row: usize, value: &[u8]) {
        if !value.is_empty() {
            self.put(row, value);
        }
    }

    /// Begins the value of a row, which is whatever is appended until the next row begins.
    #[inline]
    pub fn begin(&mut self, row: usize) -> &mut Vec<u8> {
        self.offsets.begin(row, self.bytes.len());
        self.valid.set(row);
        &mut self.bytes
    }

    /// Makes room for `rows` rows of `bytes` bytes in all.
    pub fn reserve(&mut self, rows: usize, bytes: usize) {
        self.offsets.0.reserve_exact(rows + 1);
        self.bytes.reserve_exact(bytes);
    }

    /// The same value for `times` rows.
    pub fn repeat(&mut self, row: usize, value: &[u8], times: usize) {
        for row in row..row + times {
            self.put(row, value);
        }
    }
}

impl Column for Text {
    fn truncate(&mut self, rows: usize) {
        if let Some(at) = self.offsets.truncate(rows) {
            self.bytes.truncate(at);
            self.valid.truncate(rows);
        }
    }

    fn finish(&mut self, rows: usize, _: &DataType, zeros: &Zeros) -> Result<ArrayRef, ArrowError> {
        if self.valid.set == 0 && rows > 0 {
            return Ok(zeros.null_text(rows));
        }
        let bytes = std::mem::take(&mut self.bytes);
        let offsets = self.offsets.finish(rows, bytes.len());
        Ok(Arc::new(StringArray::try_new(offsets, Buffer::from_vec(bytes), self.valid.finish(rows))?))
    }
}

/// Numbers; a row that puts none is NULL, or zero in a column without nulls.
pub(super) struct Numbers<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    valid: Bits,
    nullable: bool,
}

impl<T: ArrowPrimitiveType> Numbers<T> {
    pub fn nullable() -> Self {
        Self { values: Vec::new(), valid: Bits::default(), nullable: true }
    }

    pub fn or_zero() -> Self {
        Self { values: Vec::new(), valid: Bits::default(), nullable: false }
    }

    pub fn reserve(&mut self, rows: usize) {
        self.values.reserve_exact(rows);
    }

    #[inline]
    pub fn put(&mut self, row: usize, value: T::Native) {
        if self.values.len() < row {
            self.values.resize(row, T::Native::default());
        }
        self.values.push(value);
        if self.nullable {
            self.valid.set(row);
        }
    }

    pub fn put_some(&mut self, row: usize, value: Option<T::Native>) {
        if let Some(value) = value {
            self.put(row, value);
        }
    }
}

impl<T: ArrowPrimitiveType> Column for Numbers<T> {
    fn truncate(&mut self, rows: usize) {
        if self.values.len() > rows {
            self.values.truncate(rows);
            self.valid.truncate(rows);
        }
    }

    fn finish(&mut self, rows: usize, _: &DataType, zeros: &Zeros) -> Result<ArrayRef, ArrowError> {
        if self.values.is_empty() {
            let nulls = self.nullable.then(|| zeros.nulls(rows));
            return Ok(Arc::new(PrimitiveArray::<T>::try_new(zeros.scalars(rows), nulls)?));
        }
        let mut values = std::mem::take(&mut self.values);
        values.reserve_exact(rows - values.len());
        values.resize(rows, T::Native::default());
        let nulls = if self.nullable { self.valid.finish(rows) } else { None };
        Ok(Arc::new(PrimitiveArray::<T>::try_new(values.into(), nulls)?))
    }
}

/// Lists of numbers, NULL where a row put none.
pub(super) struct NumberLists<T: ArrowPrimitiveType> {
    offsets: Offsets,
    values: Vec<T::Native>,
    valid: Bits,
}

impl<T: ArrowPrimitiveType> NumberLists<T> {
    pub fn new() -> Self {
        Self { offsets: Offsets::default(), values: Vec::new(), valid: Bits::default() }
    }

    /// The list of a row, to be extended; a row may ask for it again.
    pub fn list(&mut self, row: usize) -> &mut Vec<T::Native> {
        if self.offsets.0.len() <= row {
            self.offsets.begin(row, self.values.len());
            self.valid.set(row);
        }
        &mut self.values
    }
}

impl<T: ArrowPrimitiveType> Column for NumberLists<T> {
    fn truncate(&mut self, rows: usize) {
        if let Some(at) = self.offsets.truncate(rows) {
            self.values.truncate(at);
            self.valid.truncate(rows);
        }
    }

    fn finish(&mut self, rows: usize, data_type: &DataType, zeros: &Zeros) -> Result<ArrayRef, ArrowError> {
        let DataType::List(element) = data_type else { return Err(mismatch("list", data_type)) };
        let values = std::mem::take(&mut self.values);
        let (offsets, nulls) = if self.valid.set == 0 {
            (zeros.offsets(rows), Some(zeros.nulls(rows)))
        } else {
            (self.offsets.finish(rows, values.len()), self.valid.finish(rows))
        };
        let values = Arc::new(PrimitiveArray::<T>::try_new(values.into(), None)?);
        Ok(Arc::new(ListArray::try_new(element.clone(), offsets, values, nulls)?))
    }
}

/// A list of structs: where each row's elements begin. The fields are columns of their own, by element number.
#[derive(Default)]
pub(super) struct Elements {
    offsets: Offsets,
    pub len: usize,
    valid: Bits,
    nullable: bool,
}

impl Elements {
    /// Lists that are NULL for rows which [`Self::begin`] was not called for.
    pub fn nullable() -> Self {
        Self { nullable: true, ..Self::default() }
    }

    /// Begins the list of a row; a row may do so again.
    pub fn begin(&mut self, row: usize) {
        if self.offsets.0.len() <= row {
            self.offsets.begin(row, self.len);
            if self.nullable {
                self.valid.set(row);
            }
        }
    }

    /// Begins the next element of a row's list and gives its number.
    pub fn push(&mut self, row: usize) -> usize {
        self.begin(row);
        self.len += 1;
        self.len - 1
    }

    /// Forgets the rows from `rows` on and says how many elements are left.
    pub fn truncate(&mut self, rows: usize) -> usize {
        if let Some(at) = self.offsets.truncate(rows) {
            self.len = at;
            self.valid.truncate(rows);
        }
        self.len
    }

    /// The list column over its fields' builders.
    pub fn finish(
        &mut self,
        rows: usize,
        data_type: &DataType,
        zeros: &Zeros,
        fields: &mut [&mut dyn Column],
    ) -> Result<ArrayRef, ArrowError> {
        let DataType::List(element) = data_type else { return Err(mismatch("list", data_type)) };
        let DataType::Struct(types) = element.data_type() else { return Err(mismatch("struct", element.data_type())) };
        let len = std::mem::take(&mut self.len);
        let inner = Zeros::new(len);
        let arrays: Result<Vec<_>, _> =
            types.iter().zip(fields).map(|(field, column)| column.finish(len, field.data_type(), &inner)).collect();
        let values = StructArray::try_new(types.clone(), arrays?, None)?;
        let offsets = if len == 0 { zeros.offsets(rows) } else { self.offsets.finish(rows, len) };
        self.offsets = Offsets::default();
        let nulls = if !self.nullable {
            None
        } else if self.valid.set == 0 {
            Some(zeros.nulls(rows))
        } else {
            self.valid.finish(rows)
        };
        Ok(Arc::new(ListArray::try_new(element.clone(), offsets, Arc::new(values), nulls)?))
    }
}

/// Strings without nulls, appended one after the other.
#[derive(Default)]
struct Strings {
    ends: Vec<i32>,
    bytes: Vec<u8>,
}

impl Strings {
    #[inline]
    fn close(&mut self) {
        self.ends.push(self.bytes.len() as i32);
    }

    fn truncate(&mut self, len: usize) {
        self.ends.truncate(len);
        self.bytes.truncate(self.ends.last().map_or(0, |&end| end as usize));
    }

    fn reserve(&mut self, entries: usize, bytes: usize) {
        self.ends.reserve_exact(entries);
        self.bytes.reserve_exact(bytes);
    }

    /// Appends all of `other`, moved by as much as is here.
    fn append(&mut self, other: &Self) {
        let by = self.bytes.len() as i32;
        self.bytes.extend_from_slice(&other.bytes);
        self.ends.extend(other.ends.iter().map(|end| end + by));
    }

    fn finish(&mut self, nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
        let mut offsets = Vec::with_capacity(self.ends.len() + 1);
        offsets.push(0);
        offsets.append(&mut self.ends);
        let bytes = Buffer::from_vec(std::mem::take(&mut self.bytes));
        Ok(Arc::new(StringArray::try_new(OffsetBuffer::new(offsets.into()), bytes, nulls)?))
    }
}

/// `MAP(VARCHAR, VARCHAR)`, empty where a row put nothing.
#[derive(Default)]
pub(super) struct Map {
    offsets: Offsets,
    keys: Strings,
    values: Strings,
    /// The entries whose value is NULL, ascending.
    null_values: Vec<u32>,
}

impl Map {
    /// Begins an entry of a row; its value is what is appended to the vector until [`Self::close`].
    #[inline]
    pub fn open(&mut self, row: usize, key: &[u8]) -> &mut Vec<u8> {
        if self.offsets.0.len() <= row {
            self.offsets.begin(row, self.keys.ends.len());
        }
        self.keys.bytes.extend_from_slice(key);
        self.keys.close();
        &mut self.values.bytes
    }

    #[inline]
    pub fn close(&mut self) {
        self.values.close();
    }

    /// Ends an entry with NULL for its value.
    pub fn close_null(&mut self) {
        self.null_values.push(self.values.ends.len() as u32);
        self.values.close();
    }

    #[inline]
    pub fn put(&mut self, row: usize, key: &[u8], value: &[u8]) {
        self.open(row, key).extend_from_slice(value);
        self.close();
    }

    /// All entries of `other`, a map of one row, for `times` rows.
    pub fn repeat(&mut self, row: usize, other: &Self, times: usize) {
        if other.keys.ends.is_empty() {
            return;
        }
        for row in row..row + times {
            let entries = self.keys.ends.len();
            self.offsets.begin(row, entries);
            self.keys.append(&other.keys);
            self.values.append(&other.values);
            self.null_values.extend(other.null_values.iter().map(|i| i + entries as u32));
        }
    }

    /// Makes room for the entries of `other` `times` over, for each of `runs`.
    pub fn reserve<'a>(&mut self, rows: usize, runs: impl Iterator<Item = (&'a Self, usize)>) {
        let (mut entries, mut keys, mut values) = (0, 0, 0);
        for (other, times) in runs {
            entries += other.keys.ends.len() * times;
            keys += other.keys.bytes.len() * times;
            values += other.values.bytes.len() * times;
        }
        if entries > 0 {
            self.offsets.0.reserve_exact(rows + 1);
            self.keys.reserve(entries, keys);
            self.values.reserve(entries, values);
        }
    }

    /// Bytes a row of this map takes when it is repeated.
    pub fn size_bytes(&self) -> usize {
        self.keys.bytes.len() + self.values.bytes.len() + 8 * self.keys.ends.len()
    }
}

impl Column for Map {
    fn truncate(&mut self, rows: usize) {
        if let Some(at) = self.offsets.truncate(rows) {
            self.keys.truncate(at);
            self.values.truncate(at);
            self.null_values.retain(|&i| (i as usize) < at);
        }
    }

    fn finish(&mut self, rows: usize, data_type: &DataType, zeros: &Zeros) -> Result<ArrayRef, ArrowError> {
        let DataType::Map(field, ordered) = data_type else { return Err(mismatch("map", data_type)) };
        let DataType::Struct(types) = field.data_type() else { return Err(mismatch("struct", field.data_type())) };
        let entries = self.keys.ends.len();
        let offsets = if entries == 0 { zeros.offsets(rows) } else { self.offsets.finish(rows, entries) };
        self.offsets = Offsets::default();
        let nulls = (!self.null_values.is_empty()).then(|| {
            let mut valid = vec![true; entries];
            self.null_values.drain(..).for_each(|i| valid[i as usize] = false);
            NullBuffer::from(valid)
        });
        let (keys, values) = (self.keys.finish(None)?, self.values.finish(nulls)?);
        let entries = StructArray::try_new(types.clone(), vec![keys, values], None)?;
        Ok(Arc::new(MapArray::try_new(field.clone(), offsets, entries, None, *ordered)?))
    }
}

fn mismatch(wanted: &str, found: &DataType) -> ArrowError {
    ArrowError::SchemaError(format!("a {wanted} builder stands at a column of type {found}"))
}
