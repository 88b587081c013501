//! Data points back to OTLP, each in a metric of its own.

use arrow::array::{Array, ArrowPrimitiveType, AsArray, BooleanArray, ListArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, UInt64Type};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, Sum, Summary, SummaryDataPoint, exemplar, metric::Data, number_data_point,
};
use orrery_model::{Scope, Signal};

use super::ExportError;
use super::cells::{Attributes, Columns, Count, Maps, Text, Time, elements};
use crate::decode::TEMPORALITIES;

/// A number column.
struct Number<'a, T: ArrowPrimitiveType>(&'a PrimitiveArray<T>);

impl<T: ArrowPrimitiveType> Number<'_, T> {
    fn get(&self, row: usize) -> Option<T::Native> {
        self.0.is_valid(row).then(|| self.0.value(row))
    }

    fn or_zero(&self, row: usize) -> T::Native {
        self.get(row).unwrap_or_default()
    }
}

/// A column of lists of numbers.
struct NumberLists<'a, T: ArrowPrimitiveType> {
    list: &'a ListArray,
    values: &'a PrimitiveArray<T>,
}

impl<'a, T: ArrowPrimitiveType> NumberLists<'a, T> {
    fn new(columns: Columns<'a>, name: &str) -> Result<Self, ExportError> {
        let list = columns.list(name)?;
        let values = list.values().as_primitive_opt().ok_or_else(|| ExportError::Column(name.to_owned()))?;
        Ok(Self { list, values })
    }

    fn get(&self, row: usize) -> Vec<T::Native> {
        self.values.values()[elements(self.list, row)].to_vec()
    }
}

pub(super) struct Metrics<'a> {
    timestamp: Time<'a>,
    time_source: Text<'a>,
    start_timestamp: Time<'a>,
    name: Text<'a>,
    kind: Text<'a>,
    unit: Text<'a>,
    description: Text<'a>,
    temporality: Text<'a>,
    is_monotonic: &'a BooleanArray,
    value: Number<'a, Float64Type>,
    value_int: Number<'a, Int64Type>,
    count: Number<'a, UInt64Type>,
    sum: Number<'a, Float64Type>,
    min: Number<'a, Float64Type>,
    max: Number<'a, Float64Type>,
    explicit_bounds: NumberLists<'a, Float64Type>,
    bucket_counts: NumberLists<'a, UInt64Type>,
    scale: Number<'a, Int32Type>,
    zero_count: Number<'a, UInt64Type>,
    zero_threshold: Number<'a, Float64Type>,
    positive_offset: Number<'a, Int32Type>,
    positive_bucket_counts: NumberLists<'a, UInt64Type>,
    negative_offset: Number<'a, Int32Type>,
    negative_bucket_counts: NumberLists<'a, UInt64Type>,
    quantiles: &'a ListArray,
    quantile: Number<'a, Float64Type>,
    quantile_value: Number<'a, Float64Type>,
    exemplars: Exemplars<'a>,
    flags: Count<'a>,
    metadata: Maps<'a>,
    attributes: Attributes<'a>,
}

impl<'a> Metrics<'a> {
    pub fn new(batch: &'a RecordBatch) -> Result<Self, ExportError> {
        let columns = Columns::Batch(batch);
        let (quantiles, quantile) = columns.structs("quantiles")?;
        Ok(Self {
            timestamp: columns.time("timestamp")?,
            time_source: columns.text("time_source")?,
            start_timestamp: columns.time("start_timestamp")?,
            name: columns.text("metric_name")?,
            kind: columns.text("type")?,
            unit: columns.text("unit")?,
            description: columns.text("description")?,
            temporality: columns.text("temporality")?,
            is_monotonic: columns.boolean("is_monotonic")?,
            value: Number(columns.number("value")?),
            value_int: Number(columns.number("value_int")?),
            count: Number(columns.number("count")?),
            sum: Number(columns.number("sum")?),
            min: Number(columns.number("min")?),
            max: Number(columns.number("max")?),
            explicit_bounds: NumberLists::new(columns, "explicit_bounds")?,
            bucket_counts: NumberLists::new(columns, "bucket_counts")?,
            scale: Number(columns.number("scale")?),
            zero_count: Number(columns.number("zero_count")?),
            zero_threshold: Number(columns.number("zero_threshold")?),
            positive_offset: Number(columns.number("positive_offset")?),
            positive_bucket_counts: NumberLists::new(columns, "positive_bucket_counts")?,
            negative_offset: Number(columns.number("negative_offset")?),
            negative_bucket_counts: NumberLists::new(columns, "negative_bucket_counts")?,
            quantiles,
            quantile: Number(quantile.number("quantile")?),
            quantile_value: Number(quantile.number("value")?),
            exemplars: Exemplars::new(columns)?,
            flags: columns.count("flags")?,
            metadata: columns.maps("metadata", "metadata_types")?,
            attributes: Attributes::new(columns, Signal::Metrics, Scope::Item)?,
        })
    }

    /// The metric of one row's data point.
    pub fn metric(&self, row: usize) -> Result<Metric, ExportError> {
        let aggregation_temporality = self.temporality.word(row, &TEMPORALITIES)?;
        let data = match self.kind.get(row) {
            Some("GAUGE") => Data::Gauge(Gauge { data_points: vec![self.number(row)?] }),
            Some("SUM") => Data::Sum(Sum {
                data_points: vec![self.number(row)?],
                aggregation_temporality,
                is_monotonic: self.is_monotonic.is_valid(row) && self.is_monotonic.value(row),
            }),
            Some("HISTOGRAM") => {
                Data::Histogram(Histogram { data_points: vec![self.histogram(row)?], aggregation_temporality })
            }
            Some("EXPONENTIAL_HISTOGRAM") => Data::ExponentialHistogram(ExponentialHistogram {
                data_points: vec![self.exponential_histogram(row)?],
                aggregation_temporality,
            }),
            Some("SUMMARY") => Data::Summary(Summary { data_points: vec![self.summary(row)?] }),
            other => {
                return Err(ExportError::Text { what: "a metric type", text: other.unwrap_or_default().to_owned() });
            }
        };
        Ok(Metric {
            name: self.name.string(row),
            description: self.description.string(row),
            unit: self.unit.string(row),
            metadata: self.metadata.attributes(row)?,
            data: Some(data),
        })
    }

    fn time(&self, row: usize) -> u64 {
        if self.time_source.get(row) == Some("sent") { self.timestamp.get(row) } else { 0 }
    }

    fn number(&self, row: usize) -> Result<NumberDataPoint, ExportError> {
        let double = self.value.get(row).map(number_data_point::Value::AsDouble);
        Ok(NumberDataPoint {
            attributes: self.attributes.get(row)?,
            start_time_unix_nano: self.start_timestamp.get(row),
            time_unix_nano: self.time(row),
            exemplars: self.exemplars.get(row)?,
            flags: self.flags.get(row),
            value: self.value_int.get(row).map(number_data_point::Value::AsInt).or(double),
        })
    }

    fn histogram(&self, row: usize) -> Result<HistogramDataPoint, ExportError> {
        Ok(HistogramDataPoint {
            attributes: self.attributes.get(row)?,
            start_time_unix_nano: self.start_timestamp.get(row),
            time_unix_nano: self.time(row),
            count: self.count.or_zero(row),
            sum: self.sum.get(row),
            bucket_counts: self.bucket_counts.get(row),
            explicit_bounds: self.explicit_bounds.get(row),
            exemplars: self.exemplars.get(row)?,
            flags: self.flags.get(row),
            min: self.min.get(row),
            max: self.max.get(row),
        })
    }

    fn exponential_histogram(&self, row: usize) -> Result<ExponentialHistogramDataPoint, ExportError> {
        let buckets = |offset: &Number<Int32Type>, counts: &NumberLists<UInt64Type>| {
            offset.get(row).map(|offset| Buckets { offset, bucket_counts: counts.get(row) })
        };
        Ok(ExponentialHistogramDataPoint {
            attributes: self.attributes.get(row)?,
            start_time_unix_nano: self.start_timestamp.get(row),
            time_unix_nano: self.time(row),
            count: self.count.or_zero(row),
            sum: self.sum.get(row),
            scale: self.scale.or_zero(row),
            zero_count: self.zero_count.or_zero(row),
            positive: buckets(&self.positive_offset, &self.positive_bucket_counts),
            negative: buckets(&self.negative_offset, &self.negative_bucket_counts),
            flags: self.flags.get(row),
            exemplars: self.exemplars.get(row)?,
            min: self.min.get(row),
            max: self.max.get(row),
            zero_threshold: self.zero_threshold.or_zero(row),
        })
    }

    fn summary(&self, row: usize) -> Result<SummaryDataPoint, ExportError> {
        let quantile =
            |i| ValueAtQuantile { quantile: self.quantile.or_zero(i), value: self.quantile_value.or_zero(i) };
        Ok(SummaryDataPoint {
            attributes: self.attributes.get(row)?,
            start_time_unix_nano: self.start_timestamp.get(row),
            time_unix_nano: self.time(row),
            count: self.count.or_zero(row),
            sum: self.sum.or_zero(row),
            quantile_values: elements(self.quantiles, row).map(quantile).collect(),
            flags: self.flags.get(row),
        })
    }
}

struct Exemplars<'a> {
    list: &'a ListArray,
    timestamp: Time<'a>,
    value: Number<'a, Float64Type>,
    value_int: Number<'a, Int64Type>,
    trace_id: Text<'a>,
    span_id: Text<'a>,
    attributes: Maps<'a>,
}

impl<'a> Exemplars<'a> {
    fn new(columns: Columns<'a>) -> Result<Self, ExportError> {
        let (list, columns) = columns.structs("exemplars")?;
        Ok(Self {
            list,
            timestamp: columns.time("timestamp")?,
            value: Number(columns.number("value")?),
            value_int: Number(columns.number("value_int")?),
            trace_id: columns.text("trace_id")?,
            span_id: columns.text("span_id")?,
            attributes: columns.maps("attributes", "attribute_types")?,
        })
    }

    fn get(&self, row: usize) -> Result<Vec<Exemplar>, ExportError> {
        let exemplar = |i| {
            let double = self.value.get(i).map(exemplar::Value::AsDouble);
            Ok(Exemplar {
                filtered_attributes: self.attributes.attributes(i)?,
                time_unix_nano: self.timestamp.get(i),
                span_id: self.span_id.id(i)?,
                trace_id: self.trace_id.id(i)?,
                value: self.value_int.get(i).map(exemplar::Value::AsInt).or(double),
            })
        };
        elements(self.list, row).map(exemplar).collect()
    }
}
