//! The fields of data points that only some metric types have, gathered from the wire before they are put. The four
//! messages differ in their field numbers only.

use arrow::datatypes::{Float64Type, Int32Type, Int64Type, UInt64Type};

use super::column::{Column, Elements, NumberLists, Numbers, Zeros};
use super::fault::Fault;
use super::wire::keys::*;
use super::wire::{Wire, len, varint};
use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

/// The five metric types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Gauge,
    Sum,
    Histogram,
    ExponentialHistogram,
    Summary,
}

impl Kind {
    /// The type that the field of `Metric` with this key holds.
    pub const fn of_key(key: u32) -> Option<Self> {
        match key {
            LEN_5 => Some(Self::Gauge),
            LEN_7 => Some(Self::Sum),
            LEN_9 => Some(Self::Histogram),
            LEN_10 => Some(Self::ExponentialHistogram),
            LEN_11 => Some(Self::Summary),
            _ => None,
        }
    }

    pub const fn word(self) -> &'static str {
        match self {
            Self::Gauge => "GAUGE",
            Self::Sum => "SUM",
            Self::Histogram => "HISTOGRAM",
            Self::ExponentialHistogram => "EXPONENTIAL_HISTOGRAM",
            Self::Summary => "SUMMARY",
        }
    }

    /// Where the fields stand that all points have.
    pub const fn fields(self) -> CommonFields {
        let (attributes, exemplars, flags, known) = match self {
            Self::Gauge | Self::Sum => (7, Some(len(5)), 8, 0b1_1111_1100),
            Self::Histogram => (9, Some(len(8)), 10, 0b1_1111_1111_1100),
            Self::ExponentialHistogram => (1, Some(len(11)), 10, 0b111_1111_1111_1110),
            Self::Summary => (7, None, 8, 0b1_1111_1100),
        };
        CommonFields { attributes: len(attributes), exemplars, flags: varint(flags), known }
    }
}

/// Keys of fields, and the bits of all known field numbers.
pub(super) struct CommonFields {
    pub attributes: u32,
    pub exemplars: Option<u32>,
    pub flags: u32,
    pub known: u32,
}

/// `as_double` or `as_int`: the value as a double, and as it was sent where that is an integer.
#[derive(Clone, Copy, Default)]
pub(super) struct NumberValue {
    pub value: Option<f64>,
    pub int: Option<i64>,
}

impl NumberValue {
    pub fn double(value: f64) -> Self {
        Self { value: Some(value), int: None }
    }

    pub fn int(value: i64) -> Self {
        Self { value: Some(value as f64), int: Some(value) }
    }
}

/// The columns of the values of data points.
pub(super) struct Points {
    value: Numbers<Float64Type>,
    value_int: Numbers<Int64Type>,
    count: Numbers<UInt64Type>,
    sum: Numbers<Float64Type>,
    min: Numbers<Float64Type>,
    max: Numbers<Float64Type>,
    explicit_bounds: NumberLists<Float64Type>,
    bucket_counts: NumberLists<UInt64Type>,
    scale: Numbers<Int32Type>,
    zero_count: Numbers<UInt64Type>,
    zero_threshold: Numbers<Float64Type>,
    positive_offset: Numbers<Int32Type>,
    positive_bucket_counts: NumberLists<UInt64Type>,
    negative_offset: Numbers<Int32Type>,
    negative_bucket_counts: NumberLists<UInt64Type>,
    quantiles: Quantiles,
}

/// What a point has at most once.
#[derive(Default)]
pub(super) struct Singles<'a> {
    number: NumberValue,
    count: u64,
    sum: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    scale: i32,
    zero_count: u64,
    zero_threshold: f64,
    positive: Option<Wire<'a>>,
    negative: Option<Wire<'a>>,
}

impl Points {
    pub fn new() -> Self {
        Self {
            value: Numbers::nullable(),
            value_int: Numbers::nullable(),
            count: Numbers::nullable(),
            sum: Numbers::nullable(),
            min: Numbers::nullable(),
            max: Numbers::nullable(),
            explicit_bounds: NumberLists::new(),
            bucket_counts: NumberLists::new(),
            scale: Numbers::nullable(),
            zero_count: Numbers::nullable(),
            zero_threshold: Numbers::nullable(),
            positive_offset: Numbers::nullable(),
            positive_bucket_counts: NumberLists::new(),
            negative_offset: Numbers::nullable(),
            negative_bucket_counts: NumberLists::new(),
            quantiles: Quantiles::new(),
        }
    }

    pub fn columns(&mut self) -> [(&'static str, &mut dyn Column); 16] {
        [
            ("value", &mut self.value),
            ("value_int", &mut self.value_int),
            ("count", &mut self.count),
            ("sum", &mut self.sum),
            ("min", &mut self.min),
            ("max", &mut self.max),
            ("explicit_bounds", &mut self.explicit_bounds),
            ("bucket_counts", &mut self.bucket_counts),
            ("scale", &mut self.scale),
            ("zero_count", &mut self.zero_count),
            ("zero_threshold", &mut self.zero_threshold),
            ("positive_offset", &mut self.positive_offset),
            ("positive_bucket_counts", &mut self.positive_bucket_counts),
            ("negative_offset", &mut self.negative_offset),
            ("negative_bucket_counts", &mut self.negative_bucket_counts),
            ("quantiles", &mut self.quantiles),
        ]
    }

    /// Takes a field that not all types have; false where the type does not have it either.
    pub fn field<'a>(
        &mut self,
        kind: Kind,
        row: usize,
        key: u32,
        wire: &mut Wire<'a>,
        singles: &mut Singles<'a>,
    ) -> Result<bool, Fault> {
        match (kind, key) {
            (Kind::Gauge | Kind::Sum, FIXED64_4) => singles.number = NumberValue::double(wire.double()?),
            (Kind::Gauge | Kind::Sum, FIXED64_6) => {
                singles.number = NumberValue::int(wire.fixed64()? as i64);
            }
            (Kind::Gauge | Kind::Sum, _) => return Ok(false),
            (_, FIXED64_4) => singles.count = wire.fixed64()?,
            (_, FIXED64_5) => singles.sum = Some(wire.double()?),
            (Kind::Summary, LEN_6) => self.quantiles.quantile(row, wire.message()?)?,
            (Kind::Histogram, LEN_6 | FIXED64_6) => {
                repeated(key, wire, self.bucket_counts.list(row), Wire::fixed64)?;
            }
            (Kind::Histogram, LEN_7 | FIXED64_7) => {
                repeated(key, wire, self.explicit_bounds.list(row), Wire::double)?;
            }
            (Kind::Histogram, FIXED64_11) => singles.min = Some(wire.double()?),
            (Kind::Histogram, FIXED64_12) => singles.max = Some(wire.double()?),
            (Kind::ExponentialHistogram, VARINT_6) => singles.scale = wire.sint32()?,
            (Kind::ExponentialHistogram, FIXED64_7) => singles.zero_count = wire.fixed64()?,
            (Kind::ExponentialHistogram, LEN_8) => set_once(&mut singles.positive, wire.message()?)?,
            (Kind::ExponentialHistogram, LEN_9) => set_once(&mut singles.negative, wire.message()?)?,
            (Kind::ExponentialHistogram, FIXED64_12) => singles.min = Some(wire.double()?),
            (Kind::ExponentialHistogram, FIXED64_13) => singles.max = Some(wire.double()?),
            (Kind::ExponentialHistogram, FIXED64_14) => singles.zero_threshold = wire.double()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Puts what was gathered of a row, and the lists that its type has even if they are empty.
    pub fn put(&mut self, kind: Kind, row: usize, singles: &Singles<'_>) -> Result<(), Fault> {
        match kind {
            Kind::Gauge | Kind::Sum => {
                self.value.put_some(row, singles.number.value);
                self.value_int.put_some(row, singles.number.int);
                return Ok(());
            }
            Kind::Histogram => {
                self.explicit_bounds.list(row);
                self.bucket_counts.list(row);
            }
            Kind::ExponentialHistogram => {
                self.scale.put(row, singles.scale);
                self.zero_count.put(row, singles.zero_count);
                self.zero_threshold.put(row, singles.zero_threshold);
                buckets(row, singles.positive, &mut self.positive_offset, &mut self.positive_bucket_counts)?;
                buckets(row, singles.negative, &mut self.negative_offset, &mut self.negative_bucket_counts)?;
            }
            Kind::Summary => self.quantiles.elements.begin(row),
        }
        self.count.put(row, singles.count);
        // A summary's sum is a plain field: not sent means zero.
        self.sum.put_some(row, if kind == Kind::Summary { singles.sum.or(Some(0.0)) } else { singles.sum });
        self.min.put_some(row, singles.min);
        self.max.put_some(row, singles.max);
        Ok(())
    }
}

/// Extends a list by a repeated number, packed or not.
fn repeated<'a, T>(
    key: u32,
    wire: &mut Wire<'a>,
    list: &mut Vec<T>,
    read: impl Fn(&mut Wire<'a>) -> Result<T, Fault>,
) -> Result<(), Fault> {
    if key & 7 == 2 {
        let mut packed = wire.message()?;
        while !packed.is_empty() {
            list.push(read(&mut packed)?);
        }
    } else {
        list.push(read(wire)?);
    }
    Ok(())
}

fn set_once<'a>(slot: &mut Option<Wire<'a>>, message: Wire<'a>) -> Result<(), Fault> {
    if slot.replace(message).is_some() { Err(Fault::Irregular) } else { Ok(()) }
}

/// Puts `Buckets` of an exponential histogram, nothing where there is no such message.
fn buckets(
    row: usize,
    message: Option<Wire<'_>>,
    offset_column: &mut Numbers<Int32Type>,
    counts: &mut NumberLists<UInt64Type>,
) -> Result<(), Fault> {
    let Some(mut wire) = message else { return Ok(()) };
    let mut offset = 0;
    let list = counts.list(row);
    while let Some(key) = wire.key()? {
        match key {
            VARINT_1 => offset = wire.sint32()?,
            LEN_2 | VARINT_2 => repeated(key, &mut wire, list, Wire::varint)?,
            _ => wire.skip(key, 0b110)?,
        }
    }
    offset_column.put(row, offset);
    Ok(())
}

/// The list of a summary's quantiles.
struct Quantiles {
    elements: Elements,
    quantile: Numbers<Float64Type>,
    value: Numbers<Float64Type>,
}

impl Quantiles {
    fn new() -> Self {
        Self { elements: Elements::nullable(), quantile: Numbers::or_zero(), value: Numbers::or_zero() }
    }

    fn quantile(&mut self, row: usize, mut wire: Wire<'_>) -> Result<(), Fault> {
        let (mut quantile, mut value) = (0.0, 0.0);
        while let Some(key) = wire.key()? {
            match key {
                FIXED64_1 => quantile = wire.double()?,
                FIXED64_2 => value = wire.double()?,
                _ => wire.skip(key, 0b110)?,
            }
        }
        let i = self.elements.push(row);
        self.quantile.put(i, quantile);
        self.value.put(i, value);
        Ok(())
    }
}

impl Column for Quantiles {
    fn truncate(&mut self, rows: usize) {
        let len = self.elements.truncate(rows);
        self.quantile.truncate(len);
        self.value.truncate(len);
    }

    fn finish(&mut self, rows: usize, data_type: &DataType, zeros: &Zeros) -> Result<ArrayRef, ArrowError> {
        self.elements.finish(rows, data_type, zeros, &mut [&mut self.quantile, &mut self.value])
    }
}
