//! Rows back to OTLP: the inverse of [`crate::decode`]. Gives the same multiset of (resource, scope, record) as was sent;
//! grouping and the order of attributes are free. Never sends anything.
//!
//! Every message is built with all its fields named, so that a field that OTLP gains stops the build until it has a
//! column.

mod cells;
mod logs;
mod metrics;
mod spans;
mod value;

use arrow::array::RecordBatch;
use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest,
};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::{ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use orrery_model::Signal;

use cells::Shared;

/// Why rows are no OTLP. No retry helps.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("the batch has no column {0} of the type that the table gives it")]
    Column(String),
    #[error("{what} is stored in a form that was never written: {text:?}")]
    Text { what: &'static str, text: String },
}

/// The request that rows of the `spans` table came from.
pub fn traces(batch: &RecordBatch) -> Result<ExportTraceServiceRequest, ExportError> {
    let spans = spans::Spans::new(batch)?;
    let resource_spans = group(batch, Signal::Spans, |row| spans.span(row))?
        .into_iter()
        .map(|group| ResourceSpans {
            resource: Some(group.resource),
            scope_spans: scopes(group.scopes, |scope, schema_url, spans| ScopeSpans { scope, spans, schema_url }),
            schema_url: group.schema_url,
        })
        .collect();
    Ok(ExportTraceServiceRequest { resource_spans })
}

/// The request that rows of the `logs` table came from.
pub fn logs(batch: &RecordBatch) -> Result<ExportLogsServiceRequest, ExportError> {
    let logs = logs::Logs::new(batch)?;
    let scope_logs = |scope, schema_url, log_records| ScopeLogs { scope, log_records, schema_url };
    let resource_logs = group(batch, Signal::Logs, |row| logs.log_record(row))?
        .into_iter()
        .map(|group| ResourceLogs {
            resource: Some(group.resource),
            scope_logs: scopes(group.scopes, scope_logs),
            schema_url: group.schema_url,
        })
        .collect();
    Ok(ExportLogsServiceRequest { resource_logs })
}

/// The request that rows of the `metrics` table came from, a metric for each data point.
pub fn metrics(batch: &RecordBatch) -> Result<ExportMetricsServiceRequest, ExportError> {
    let metrics = metrics::Metrics::new(batch)?;
    let scope_metrics = |scope, schema_url, metrics| ScopeMetrics { scope, metrics, schema_url };
    let resource_metrics = group(batch, Signal::Metrics, |row| metrics.metric(row))?
        .into_iter()
        .map(|group| ResourceMetrics {
            resource: Some(group.resource),
            scope_metrics: scopes(group.scopes, scope_metrics),
            schema_url: group.schema_url,
        })
        .collect();
    Ok(ExportMetricsServiceRequest { resource_metrics })
}

/// Rows that follow each other with one resource.
struct ResourceGroup<T> {
    resource: Resource,
    schema_url: String,
    scopes: Vec<ScopeGroup<T>>,
}

struct ScopeGroup<T> {
    scope: InstrumentationScope,
    schema_url: String,
    records: Vec<T>,
}

fn group<T>(
    batch: &RecordBatch,
    signal: Signal,
    record: impl Fn(usize) -> Result<T, ExportError>,
) -> Result<Vec<ResourceGroup<T>>, ExportError> {
    let shared = Shared::new(batch, signal)?;
    let mut groups: Vec<ResourceGroup<T>> = Vec::new();
    for row in 0..batch.num_rows() {
        let (resource, schema_url) = shared.resource(row)?;
        if groups.last().is_none_or(|g| g.resource != resource || g.schema_url != schema_url) {
            groups.push(ResourceGroup { resource, schema_url, scopes: Vec::new() });
        }
        let scopes = &mut groups.last_mut().expect("a group was pushed above").scopes;
        let (scope, schema_url) = shared.scope(row)?;
        if scopes.last().is_none_or(|g| g.scope != scope || g.schema_url != schema_url) {
            scopes.push(ScopeGroup { scope, schema_url, records: Vec::new() });
        }
        scopes.last_mut().expect("a group was pushed above").records.push(record(row)?);
    }
    Ok(groups)
}

fn scopes<T, S>(
    groups: Vec<ScopeGroup<T>>,
    make: impl Fn(Option<InstrumentationScope>, String, Vec<T>) -> S,
) -> Vec<S> {
    groups.into_iter().map(|group| make(Some(group.scope), group.schema_url, group.records)).collect()
}
