//! `GET /api/v1/metrics` (the catalogue) and `GET /api/v1/metrics?name=…` (one metric's series over a window).

use serde::{Deserialize, Serialize};

use crate::{Attribute, Receipt};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// By name.
    pub metrics: Vec<MetricInfo>,
    pub receipt: Receipt,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricInfo {
    pub name: String,
    /// GAUGE, SUM, HISTOGRAM, EXPONENTIAL_HISTOGRAM or SUMMARY.
    #[serde(rename = "type")]
    pub metric_type: String,
    pub unit: Option<String>,
    pub description: Option<String>,
    pub temporality: Option<String>,
    pub is_monotonic: Option<bool>,
    pub series: u64,
    pub points: u64,
    pub services: Vec<String>,
    pub last_seen: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricSeries {
    pub metric: MetricInfo,
    /// The width of a point. A point is the last value of its step (gauges), the increase per second (monotonic sums and
    /// the counts of histograms) or the mean (summaries).
    pub step_ns: i64,
    /// What `value` of a point is, in words with its unit.
    pub shown: String,
    /// By their largest value, largest first; at most `limit` (20 by default).
    pub series: Vec<Series>,
    /// All series that match, however many `series` holds.
    pub total: u64,
    pub receipt: Receipt,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    pub series_id: String,
    pub service_name: String,
    pub attributes: Vec<Attribute>,
    pub points: Vec<Point>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    pub time: String,
    /// `None` where the value is NaN or not recorded.
    pub value: Option<f64>,
    /// The 95th percentile, of histograms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95: Option<f64>,
}
