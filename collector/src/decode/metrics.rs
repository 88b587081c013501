//! Metrics: a row for each data point, with what its metric says of all of them.

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::{DataType, Int64Type, TimestampNanosecondType};
use arrow::error::ArrowError;

use super::any::{Any, key_value, write_int};
use super::attributes::{Maps, unique};
use super::batch::{Batch, Noted, Records};
use super::column::{Column, Numbers, Text, Zeros};
use super::exemplars::Exemplars;
use super::fault::{Fault, Reason};
use super::points::{Kind, Points, Singles};
use super::series;
use super::spans::{put_count, put_hex, time};
use super::wire::keys::*;
use super::wire::{Wire, fixed64, len};

/// 1, 2, 3, 5, 7, 9, 10, 11 and 12.
const METRIC_FIELDS: u32 = 0b1_1110_1010_1110;
/// The words of `AggregationTemporality` by number.
pub(crate) const TEMPORALITIES: [&str; 3] = ["UNSPECIFIED", "DELTA", "CUMULATIVE"];

/// The columns of metrics.
pub(super) struct Metrics {
    timestamp: Numbers<TimestampNanosecondType>,
    time_source: Text,
    start_timestamp: Numbers<TimestampNanosecondType>,
    metric_name: Text,
    kind: Text,
    unit: Text,
    description: Text,
    temporality: Text,
    is_monotonic: Booleans,
    points: Points,
    exemplars: Exemplars,
    flags: Numbers<Int64Type>,
    series_id: Text,
    metadata: Maps,
    /// Room to encode a series in.
    scratch: Vec<u8>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            timestamp: Numbers::or_zero(),
            time_source: Text::default(),
            start_timestamp: Numbers::nullable(),
            metric_name: Text::default(),
            kind: Text::default(),
            unit: Text::default(),
            description: Text::default(),
            temporality: Text::default(),
            is_monotonic: Booleans::default(),
            points: Points::new(),
            exemplars: Exemplars::new(),
            flags: Numbers::or_zero(),
            series_id: Text::default(),
            metadata: Maps::default(),
            scratch: Vec::new(),
        }
    }
}

/// What a metric says of its points.
struct Metric<'a> {
    name: &'a [u8],
    description: &'a [u8],
    unit: &'a [u8],
    kind: Kind,
    /// The `Gauge`, `Sum` or so.
    data: Wire<'a>,
    temporality: Option<Vec<u8>>,
    is_monotonic: Option<bool>,
    metadata: Maps,
    digest: u128,
}

impl Records for Metrics {
    fn decode(&mut self, batch: &mut Batch, at: usize, record: Wire<'_>) -> Result<(), Fault> {
        let metric = match self.metric(batch, record) {
            Ok(Some(metric)) => metric,
            Ok(None) => return Ok(()),
            Err(Fault::Reject(reason)) => {
                batch.reject(at, reason, Self::count(record)?);
                return Ok(());
            }
            Err(fault) => return Err(fault),
        };
        let shared_bytes = batch.row_bytes;
        batch.row_bytes += metric.name.len() + metric.description.len() + metric.unit.len();
        batch.row_bytes += metric.metadata.values.size_bytes() + metric.metadata.types.size_bytes();
        let mut attributes = Vec::new();
        let mut data = metric.data;
        loop {
            let at = data.address();
            match data.key()? {
                None => break,
                Some(LEN_1) => {
                    let point = data.message()?;
                    batch.row(self, at, |me, batch, row| me.point(batch, row, &metric, point, &mut attributes))?;
                }
                Some(key) => data.skip_value(key, 0)?,
            }
        }
        batch.row_bytes = shared_bytes;
        Ok(())
    }

    fn count(mut record: Wire<'_>) -> Result<u64, Fault> {
        let mut count = 0;
        while let Some(key) = record.key()? {
            if Kind::of_key(key).is_none() {
                record.skip_value(key, 0)?;
                continue;
            }
            let mut data = record.message()?;
            while let Some(key) = data.key()? {
                count += u64::from(key == len(1));
                data.skip_value(key, 0)?;
            }
        }
        Ok(count)
    }

    fn columns(&mut self) -> Vec<(&'static str, &mut dyn Column)> {
        let mut columns: Vec<(&'static str, &mut dyn Column)> = vec![
            ("timestamp", &mut self.timestamp),
            ("time_source", &mut self.time_source),
            ("start_timestamp", &mut self.start_timestamp),
            ("metric_name", &mut self.metric_name),
            ("type", &mut self.kind),
            ("unit", &mut self.unit),
            ("description", &mut self.description),
            ("temporality", &mut self.temporality),
            ("is_monotonic", &mut self.is_monotonic),
            ("exemplars", &mut self.exemplars),
            ("flags", &mut self.flags),
            ("series_id", &mut self.series_id),
            ("metadata", &mut self.metadata.values),
            ("metadata_types", &mut self.metadata.types),
        ];
        columns.extend(self.points.columns());
        columns
    }

    /// A metric has at least one point as a rule.
    fn reserve(&mut self, metrics: usize) {
        self.timestamp.reserve(metrics);
        self.time_source.reserve(metrics, metrics * "sent".len());
        self.metric_name.reserve(metrics, 0);
        self.kind.reserve(metrics, metrics * "GAUGE".len());
        self.series_id.reserve(metrics, metrics * 32);
    }
}

impl Metrics {
    /// Reads a `Metric` up to its points; `None` where it has no data and so no points.
    fn metric<'a>(&mut self, batch: &mut Batch, record: Wire<'a>) -> Result<Option<Metric<'a>>, Fault> {
        let (mut name, mut description, mut unit) = (&[][..], &[][..], &[][..]);
        let (mut data, mut has_metadata) = (None, false);
        let mut wire = record;
        while let Some(key) = wire.key()? {
            match (key, Kind::of_key(key)) {
                (LEN_1, _) => name = wire.text()?,
                (LEN_2, _) => description = wire.text()?,
                (LEN_3, _) => unit = wire.text()?,
                (LEN_12, _) => {
                    has_metadata = true;
                    wire.bytes()?;
                }
                (_, Some(kind)) => {
                    if data.replace((kind, wire.message()?)).is_some() {
                        return Err(Fault::Irregular);
                    }
                }
                _ => wire.skip(key, METRIC_FIELDS)?,
            }
        }
        let mut metadata = Maps::default();
        if has_metadata {
            let (attributes, duplicate_keys) = unique(record, 12, &batch.limits)?;
            batch.note_duplicate_keys(duplicate_keys);
            for (key, value) in attributes {
                metadata.put(0, key, value, batch.limits.nesting)?;
            }
        }
        let Some((kind, data)) = data else { return Ok(None) };
        let (temporality, is_monotonic) = read_data(kind, data)?;
        let (resource, scope) = batch.digests();
        let identity = [name, kind.word().as_bytes(), unit, temporality.as_deref().unwrap_or_default()];
        let digest = series::metric_digest(resource, scope, identity);
        Ok(Some(Metric { name, description, unit, kind, data, temporality, is_monotonic, metadata, digest }))
    }

    fn point<'a>(
        &mut self,
        batch: &mut Batch,
        row: usize,
        metric: &Metric<'a>,
        mut wire: Wire<'a>,
        attributes: &mut Vec<(&'a [u8], Any<'a>)>,
    ) -> Result<Noted, Fault> {
        let (mut start, mut at, mut flags, mut duplicate_keys) = (0, 0, 0, 0);
        let mut singles = Singles::default();
        let (fields, limits) = (metric.kind.fields(), batch.limits);
        attributes.clear();
        while let Some(key) = wire.key()? {
            if key == fields.attributes {
                if attributes.len() == limits.attributes {
                    return Err(Fault::Reject(Reason::Attributes { limit: limits.attributes }));
                }
                attributes.push(key_value(wire.message()?)?);
            } else if key == fixed64(2) {
                start = wire.fixed64()?;
            } else if key == fixed64(3) {
                at = wire.fixed64()?;
            } else if key == fields.flags {
                flags = wire.uint32()?;
            } else if Some(key) == fields.exemplars {
                duplicate_keys += self.exemplars.exemplar(row, wire.message()?, &limits)?;
            } else if !self.points.field(metric.kind, row, key, &mut wire, &mut singles)? {
                wire.skip(key, fields.known)?;
            }
        }
        duplicate_keys += batch.attributes.put_set(row, attributes, &limits)?;
        let id = series::series_id(metric.digest, attributes, &limits, &mut self.scratch)?;
        put_hex(&mut self.series_id, row, &id.to_be_bytes());
        let sent = time("time_unix_nano", at)?;
        let timestamp = sent.unwrap_or(batch.received_ns);
        self.timestamp.put(row, timestamp);
        self.time_source.put(row, if sent.is_some() { b"sent" } else { b"received" });
        self.start_timestamp.put_some(row, time("start_time_unix_nano", start)?);
        put_count(&mut self.flags, row, flags);
        self.points.put(metric.kind, row, &singles)?;
        self.put_metric(row, metric);
        limits.guard.series(id)?;
        batch.touch(timestamp)?;
        Ok(Noted { untimed: sent.is_none(), duplicate_keys })
    }

    fn put_metric(&mut self, row: usize, metric: &Metric<'_>) {
        self.metric_name.put_present(row, metric.name);
        self.kind.put(row, metric.kind.word().as_bytes());
        self.unit.put_present(row, metric.unit);
        self.description.put_present(row, metric.description);
        if let Some(temporality) = &metric.temporality {
            self.temporality.put(row, temporality);
        }
        if let Some(is_monotonic) = metric.is_monotonic {
            self.is_monotonic.put(row, is_monotonic);
        }
        self.metadata.values.repeat(row, &metric.metadata.values, 1);
        self.metadata.types.repeat(row, &metric.metadata.types, 1);
    }
}

/// What a `Gauge`, `Sum` or so says beside its points: temporality as a word, and whether it only rises.
fn read_data(kind: Kind, mut data: Wire<'_>) -> Result<(Option<Vec<u8>>, Option<bool>), Fault> {
    let has_temporality = matches!(kind, Kind::Sum | Kind::Histogram | Kind::ExponentialHistogram);
    let known = match kind {
        Kind::Gauge | Kind::Summary => 0b10,
        Kind::Sum => 0b1110,
        Kind::Histogram | Kind::ExponentialHistogram => 0b110,
    };
    let (mut temporality, mut is_monotonic) = (0, false);
    while let Some(key) = data.key()? {
        match key {
            LEN_1 => drop(data.bytes()?),
            VARINT_2 if has_temporality => temporality = data.int32()?,
            VARINT_3 if kind == Kind::Sum => is_monotonic = data.varint()? != 0,
            _ => data.skip(key, known)?,
        }
    }
    let word = || match usize::try_from(temporality).ok().and_then(|i| TEMPORALITIES.get(i)) {
        Some(word) => word.as_bytes().to_vec(),
        None => {
            let mut digits = Vec::new();
            write_int(&mut digits, i64::from(temporality));
            digits
        }
    };
    Ok((has_temporality.then(word), (kind == Kind::Sum).then_some(is_monotonic)))
}

/// Booleans, NULL where a row put none.
#[derive(Default)]
struct Booleans(Vec<Option<bool>>);

impl Booleans {
    fn put(&mut self, row: usize, value: bool) {
        self.0.resize(row, None);
        self.0.push(Some(value));
    }
}

impl Column for Booleans {
    fn truncate(&mut self, rows: usize) {
        self.0.truncate(rows);
    }

    fn finish(&mut self, rows: usize, _: &DataType, _: &Zeros) -> Result<ArrayRef, ArrowError> {
        let mut values = std::mem::take(&mut self.0);
        values.resize(rows, None);
        Ok(std::sync::Arc::new(BooleanArray::from(values)))
    }
}
