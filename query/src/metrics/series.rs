//! One metric's series over a window, a point a step: what was last seen, or how fast it grew. Never joins series.

use arrow::array::{Array, AsArray, BooleanArray, Float64Array, ListArray, UInt64Array};
use arrow::datatypes::{Float64Type, Int32Type, UInt64Type};
use futures::StreamExt;
use hashbrown::HashMap;
use orrery_api::{MetricInfo, MetricSeries, Point, Series};
use orrery_model::{Scope, Signal};

use super::infos;
use super::quantile::Buckets;
use crate::columns::{Columns, Integers, Text, range, wrong_type};
use crate::records::{Attributes, attribute_columns, select_list};
use crate::spans::node::service_id;
use crate::time::rfc3339;
use crate::{QueryError, Session, Window, quote};

/// Points of a series at most.
const STEPS: i64 = 120;
/// No step is shorter.
const MIN_STEP_NS: i64 = 1_000_000_000;
/// Data points that are read at most.
const MAX_POINTS: usize = 10_000_000;

const COLUMNS: &[&str] = &[
    "series_id",
    "timestamp",
    "start_timestamp",
    "type",
    "temporality",
    "is_monotonic",
    "value",
    "count",
    "sum",
    "explicit_bounds",
    "bucket_counts",
    "scale",
    "zero_count",
    "positive_offset",
    "positive_bucket_counts",
    "negative_offset",
    "negative_bucket_counts",
    "service_name",
    "service_namespace",
];

/// What a point shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Last,
    RateOfCumulative,
    RateOfDelta,
    Mean,
}

/// One data point, reduced to what is shown.
struct Sample {
    time_ns: i64,
    /// The value, or of histograms and summaries the count.
    value: f64,
    sum: f64,
    /// Of a histogram.
    buckets: Option<Box<RawBuckets>>,
}

#[derive(Clone, Default)]
struct RawBuckets {
    bounds: Vec<f64>,
    counts: Vec<f64>,
    /// Scale, offsets and counts of an exponential histogram.
    scale: Option<i32>,
    zeros: f64,
    positive: (i32, Vec<f64>),
    negative: (i32, Vec<f64>),
}

struct Collected {
    shown: Shown,
    service: String,
    attributes: Vec<orrery_api::Attribute>,
    samples: Vec<Sample>,
}

/// The series of a metric, those with the largest values first.
pub async fn series(
    session: &Session,
    condition: &str,
    window: Window,
    name: String,
    limit: usize,
) -> Result<MetricSeries, QueryError> {
    let condition = format!("metric_name = {} AND {condition}", quote(&name));
    let Some(metric) = infos(session, &condition).await?.into_iter().max_by_key(|m| m.points) else {
        return Err(QueryError::not_found(format!("metric {name:?} has no points in the window"))
            .with_hint("GET /api/v1/metrics lists the metrics of a window"));
    };
    let kind = format!("{condition} AND type = {}", quote(&metric.metric_type));
    let collected = collect(session, &kind).await?;
    let step_ns = (window.width_ns() / STEPS).max(MIN_STEP_NS);
    let total = collected.len() as u64;
    let mut all: Vec<(f64, Series)> = collected.into_iter().map(|(id, c)| reduce(id, c, window, step_ns)).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.series_id.cmp(&b.1.series_id)));
    all.truncate(limit);
    let mut receipt = session.receipt();
    receipt.sql = Some(format!("SELECT * FROM metrics WHERE {kind} ORDER BY series_id, timestamp"));
    Ok(MetricSeries {
        shown: shown_words(&metric),
        metric,
        step_ns,
        series: all.into_iter().map(|(_, s)| s).collect(),
        total,
        receipt,
    })
}

fn shown_of(kind: &str, temporality: Option<&str>, monotonic: Option<bool>) -> Shown {
    let rate = if temporality == Some("DELTA") { Shown::RateOfDelta } else { Shown::RateOfCumulative };
    match kind {
        "SUM" if monotonic == Some(true) => rate,
        "HISTOGRAM" | "EXPONENTIAL_HISTOGRAM" => rate,
        "SUMMARY" => Shown::Mean,
        _ => Shown::Last,
    }
}

fn shown_words(metric: &MetricInfo) -> String {
    let unit = match metric.unit.as_deref() {
        None | Some("1" | "") => String::new(),
        Some(unit) => format!(" in {unit}"),
    };
    match (
        shown_of(&metric.metric_type, metric.temporality.as_deref(), metric.is_monotonic),
        metric.metric_type.as_str(),
    ) {
        (Shown::Last, _) => format!("last value{unit}"),
        (Shown::Mean, _) => format!("mean{unit}"),
        (_, "SUM") => format!("increase{unit} per second"),
        _ => format!("measurements per second; p95{unit}"),
    }
}

/// All points by series, in time order.
async fn collect(session: &Session, condition: &str) -> Result<HashMap<String, Collected>, QueryError> {
    let attributes = Scope::ALL.into_iter().flat_map(|scope| attribute_columns(Signal::Metrics, scope));
    let mut columns: Vec<String> = COLUMNS.iter().map(|c| (*c).to_owned()).collect();
    columns.extend(attributes.filter(|c| !COLUMNS.contains(&c.as_str())));
    let query = format!("SELECT {} FROM metrics WHERE {condition}", select_list(columns));
    let mut stream = session.sql(&query).await?;
    let mut found: HashMap<String, Collected> = HashMap::new();
    let mut points = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        points += batch.num_rows();
        if points > MAX_POINTS {
            return Err(QueryError::MemoryExceeded {
                message: format!("the metric has more than {MAX_POINTS} points in the window"),
            });
        }
        read(Columns(&batch), &mut found)?;
    }
    for series in found.values_mut() {
        series.samples.sort_by_key(|s| s.time_ns);
    }
    Ok(found)
}

fn read(batch: Columns<'_>, found: &mut HashMap<String, Collected>) -> Result<(), QueryError> {
    let text = |name| batch.text(name);
    let (id, kind, temporality) = (text("series_id")?, text("type")?, text("temporality")?);
    let (service, namespace) = (text("service_name")?, text("service_namespace")?);
    let monotonic: &BooleanArray = batch.bools("is_monotonic")?;
    let attributes = Attributes::of(batch, Signal::Metrics, Scope::Item)?;
    let samples = Samples::of(batch)?;
    for i in 0..batch.0.num_rows() {
        let series = match found.get_mut(id.or_empty(i)) {
            Some(series) => series,
            None => {
                let is_monotonic = (!monotonic.is_null(i)).then(|| monotonic.value(i));
                found.entry(id.or_empty(i).to_owned()).or_insert(Collected {
                    shown: shown_of(kind.or_empty(i), temporality.get(i), is_monotonic),
                    service: service_id(service.or_empty(i), namespace.get(i)),
                    attributes: attributes.row(i),
                    samples: Vec::new(),
                })
            }
        };
        series.samples.push(samples.row(i)?);
    }
    Ok(())
}

struct Samples<'a> {
    kind: Text<'a>,
    time: Integers<'a>,
    value: &'a Float64Array,
    count: &'a UInt64Array,
    sum: &'a Float64Array,
    bounds: &'a ListArray,
    counts: &'a ListArray,
    scale: &'a arrow::array::Int32Array,
    zeros: &'a UInt64Array,
    positive: (&'a arrow::array::Int32Array, &'a ListArray),
    negative: (&'a arrow::array::Int32Array, &'a ListArray),
}

impl<'a> Samples<'a> {
    fn of(batch: Columns<'a>) -> Result<Self, QueryError> {
        let int32 = |name: &str| -> Result<&'a arrow::array::Int32Array, QueryError> {
            let array = batch.array(name)?;
            array.as_primitive_opt::<Int32Type>().ok_or_else(|| wrong_type(name, array.data_type()))
        };
        Ok(Self {
            kind: batch.text("type")?,
            time: batch.integers("timestamp")?,
            value: batch.float64("value")?,
            count: batch.uint64("count")?,
            sum: batch.float64("sum")?,
            bounds: batch.list("explicit_bounds")?,
            counts: batch.list("bucket_counts")?,
            scale: int32("scale")?,
            zeros: batch.uint64("zero_count")?,
            positive: (int32("positive_offset")?, batch.list("positive_bucket_counts")?),
            negative: (int32("negative_offset")?, batch.list("negative_bucket_counts")?),
        })
    }

    fn row(&self, i: usize) -> Result<Sample, QueryError> {
        let number = |array: &Float64Array| if array.is_null(i) { f64::NAN } else { array.value(i) };
        let time_ns = self.time.or_zero(i);
        let kind = self.kind.or_empty(i);
        if !matches!(kind, "HISTOGRAM" | "EXPONENTIAL_HISTOGRAM" | "SUMMARY") {
            return Ok(Sample { time_ns, value: number(self.value), sum: f64::NAN, buckets: None });
        }
        let count = if self.count.is_null(i) { 0.0 } else { self.count.value(i) as f64 };
        let buckets = match kind {
            "SUMMARY" => None,
            _ => Some(Box::new(self.buckets(i)?)),
        };
        Ok(Sample { time_ns, value: count, sum: number(self.sum), buckets })
    }

    fn buckets(&self, i: usize) -> Result<RawBuckets, QueryError> {
        let side = |(offset, counts): (&arrow::array::Int32Array, &ListArray)| -> Result<(i32, Vec<f64>), QueryError> {
            Ok((if offset.is_null(i) { 0 } else { offset.value(i) }, whole_numbers(counts, i)?))
        };
        Ok(RawBuckets {
            bounds: doubles(self.bounds, i)?,
            counts: whole_numbers(self.counts, i)?,
            scale: (!self.scale.is_null(i)).then(|| self.scale.value(i)),
            zeros: if self.zeros.is_null(i) { 0.0 } else { self.zeros.value(i) as f64 },
            positive: side(self.positive)?,
            negative: side(self.negative)?,
        })
    }
}

fn doubles(list: &ListArray, i: usize) -> Result<Vec<f64>, QueryError> {
    let values = list.values();
    let values = values.as_primitive_opt::<Float64Type>().ok_or_else(|| wrong_type("element", values.data_type()))?;
    Ok(values.values()[range(list.value_offsets(), list.is_null(i), i)].to_vec())
}

fn whole_numbers(list: &ListArray, i: usize) -> Result<Vec<f64>, QueryError> {
    let values = list.values();
    let values = values.as_primitive_opt::<UInt64Type>().ok_or_else(|| wrong_type("element", values.data_type()))?;
    Ok(values.values()[range(list.value_offsets(), list.is_null(i), i)].iter().map(|n| *n as f64).collect())
}

/// A point a step that has data, and the largest value.
fn reduce(series_id: String, collected: Collected, window: Window, step_ns: i64) -> (f64, Series) {
    let Collected { shown, service, attributes, samples } = collected;
    let mut points = Vec::new();
    let step_of = |time_ns: i64| (time_ns - window.start_ns).div_euclid(step_ns);
    let mut before: Option<&Sample> = None;
    let mut at = 0;
    while at < samples.len() {
        let step = step_of(samples[at].time_ns);
        let end = at + samples[at..].iter().take_while(|s| step_of(s.time_ns) == step).count();
        let (value, p95) = point(shown, before, &samples[at..end], step_ns);
        // The first point of a cumulative series says nothing of its growth.
        if shown != Shown::RateOfCumulative || before.is_some() || end - at > 1 {
            let time = window.start_ns.saturating_add(step.saturating_mul(step_ns));
            points.push(Point { time: rfc3339(time), value: value.filter(|v| v.is_finite()), p95 });
        }
        before = Some(&samples[end - 1]);
        at = end;
    }
    let largest = points.iter().filter_map(|p| p.value).fold(f64::NEG_INFINITY, f64::max);
    (largest, Series { series_id, service_name: service, attributes, points })
}

fn point(shown: Shown, before: Option<&Sample>, samples: &[Sample], step_ns: i64) -> (Option<f64>, Option<f64>) {
    let last = samples.last();
    match shown {
        Shown::Last => (last.map(|s| s.value), None),
        Shown::Mean => {
            let (count, sum) = samples.iter().fold((0.0, 0.0), |(c, s), p| (c + p.value, s + p.sum));
            ((count > 0.0).then(|| sum / count), None)
        }
        Shown::RateOfDelta => {
            let mut buckets = Buckets::default();
            samples.iter().filter_map(|s| s.buckets.as_ref()).for_each(|b| add(&mut buckets, b, None));
            let total: f64 = samples.iter().map(|s| s.value).sum();
            (Some(total / (step_ns as f64 / 1e9)), buckets.quantile(0.95))
        }
        Shown::RateOfCumulative => {
            let mut buckets = Buckets::default();
            let mut growth = 0.0;
            let (mut from_ns, mut previous) = (before.map(|b| b.time_ns), before);
            for sample in samples {
                if let Some(previous) = previous {
                    // Less than before: it was reset, and began again at zero.
                    let reset = sample.value < previous.value;
                    growth += if reset { sample.value } else { sample.value - previous.value };
                    if let Some(b) = &sample.buckets {
                        add(&mut buckets, b, previous.buckets.as_deref().filter(|_| !reset));
                    }
                }
                from_ns = from_ns.or(Some(sample.time_ns));
                previous = Some(sample);
            }
            let seconds = last.zip(from_ns).map_or(0.0, |(l, from)| (l.time_ns - from) as f64 / 1e9);
            ((seconds > 0.0).then(|| growth / seconds), buckets.quantile(0.95))
        }
    }
}

/// Adds a histogram's counts, less those that it had before.
fn add(buckets: &mut Buckets, b: &RawBuckets, before: Option<&RawBuckets>) {
    let less = |now: &[f64], then: Option<&[f64]>, shift: i64| -> Vec<f64> {
        let earlier = |i: usize| {
            let at = usize::try_from(i as i64 + shift).ok()?;
            then.and_then(|t| t.get(at)).copied()
        };
        now.iter().enumerate().map(|(i, n)| (n - earlier(i).unwrap_or(0.0)).max(0.0)).collect()
    };
    let Some(scale) = b.scale else {
        let before = before.filter(|p| p.bounds == b.bounds);
        buckets.add_explicit(&b.bounds, &less(&b.counts, before.map(|p| p.counts.as_slice()), 0));
        return;
    };
    // A histogram that changed its scale is taken as if it had begun anew.
    let before = before.filter(|p| p.scale == Some(scale));
    let shift = |now: i32, then: Option<i32>| then.map_or(0, |t| i64::from(now) - i64::from(t));
    let positive =
        less(&b.positive.1, before.map(|p| p.positive.1.as_slice()), shift(b.positive.0, before.map(|p| p.positive.0)));
    let negative =
        less(&b.negative.1, before.map(|p| p.negative.1.as_slice()), shift(b.negative.0, before.map(|p| p.negative.0)));
    buckets.add_exponential(scale, b.positive.0, &positive, false);
    buckets.add_exponential(scale, b.negative.0, &negative, true);
    buckets.add(0.0, 0.0, (b.zeros - before.map_or(0.0, |p| p.zeros)).max(0.0));
}
