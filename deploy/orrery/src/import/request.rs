//! What a line is: its signal, told by its content, and how many records it holds. Skips over the records themselves.

use orrery_model::Signal;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The lists that matter, of all three signals; a line has those of one.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Request {
    resource_spans: Option<Vec<Resource>>,
    resource_logs: Option<Vec<Resource>>,
    resource_metrics: Option<Vec<Resource>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Resource {
    scope_spans: Option<Vec<Scope>>,
    scope_logs: Option<Vec<Scope>>,
    scope_metrics: Option<Vec<Scope>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Scope {
    spans: Option<Vec<IgnoredAny>>,
    log_records: Option<Vec<IgnoredAny>>,
    metrics: Option<Vec<Metric>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metric {
    gauge: Option<Points>,
    sum: Option<Points>,
    histogram: Option<Points>,
    exponential_histogram: Option<Points>,
    summary: Option<Points>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Points {
    data_points: Option<Vec<IgnoredAny>>,
}

/// Signal and number of records (spans, log records, data points) of a line.
///
/// # Errors
/// Says why this is no OTLP/JSON request.
pub fn inspect(line: &[u8]) -> Result<(Signal, u64), String> {
    let request: Request = serde_json::from_slice(line).map_err(|error| format!("not OTLP/JSON: {error}"))?;
    let records = |resources: Vec<Resource>| resources.iter().map(Resource::records).sum();
    match (request.resource_spans, request.resource_logs, request.resource_metrics) {
        (Some(spans), None, None) => Ok((Signal::Spans, records(spans))),
        (None, Some(logs), None) => Ok((Signal::Logs, records(logs))),
        (None, None, Some(metrics)) => Ok((Signal::Metrics, records(metrics))),
        (None, None, None) => Err("has none of resourceSpans, resourceLogs and resourceMetrics".to_owned()),
        _ => Err("has more than one of resourceSpans, resourceLogs and resourceMetrics".to_owned()),
    }
}

/// Where OTLP/HTTP takes a signal.
pub const fn path(signal: Signal) -> &'static str {
    match signal {
        Signal::Spans => "/v1/traces",
        Signal::Logs => "/v1/logs",
        Signal::Metrics => "/v1/metrics",
    }
}

impl Resource {
    fn records(&self) -> u64 {
        let lists = [&self.scope_spans, &self.scope_logs, &self.scope_metrics];
        lists.into_iter().flatten().flatten().map(Scope::records).sum()
    }
}

impl Scope {
    fn records(&self) -> u64 {
        let items = [&self.spans, &self.log_records].into_iter().flatten().map(Vec::len).sum::<usize>();
        let points = self.metrics.iter().flatten().map(Metric::points).sum::<usize>();
        (items + points) as u64
    }
}

impl Metric {
    fn points(&self) -> usize {
        let kinds = [&self.gauge, &self.sum, &self.histogram, &self.exponential_histogram, &self.summary];
        kinds.into_iter().flatten().filter_map(|points| points.data_points.as_ref()).map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_tells_signal_and_records() {
        let cases = [
            (
                r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{},{"links":[{}]}]},{"spans":[{}]}]}]}"#,
                Ok((Signal::Spans, 3)),
            ),
            (r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}]}]},{}]}"#, Ok((Signal::Logs, 1))),
            (
                r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":{"dataPoints":[{},{}]}},{"summary":{"dataPoints":[{}]}}]}]}]}"#,
                Ok((Signal::Metrics, 3)),
            ),
            (r#"{"resourceSpans":null,"resourceLogs":[]}"#, Ok((Signal::Logs, 0))),
        ];
        for (line, expected) in cases {
            assert_eq!(inspect(line.as_bytes()), expected, "{line}");
        }
        for line in ["{}", "nonsense", r#"{"resourceSpans":[],"resourceLogs":[]}"#] {
            assert!(inspect(line.as_bytes()).is_err(), "{line}");
        }
    }
}
