//! One service of the shop: its own resource, tracer, logger and meters, each the OpenTelemetry SDK's, sending over
//! OTLP/gRPC as any other program would. Knows nothing of the shop's business.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::metrics::{Counter, Histogram, MeterProvider};
use opentelemetry::trace::{Link, SpanContext, SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_otlp::{LogExporter, MetricExporter, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{SdkLogger, SdkLoggerProvider};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

/// How often metrics are sent.
const METRICS_EVERY: Duration = Duration::from_secs(10);
/// The scope of all that the shop records.
const SCOPE: &str = "orrery.demo";

/// What went wrong, in the words of `error.type` and of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: &'static str,
    pub message: &'static str,
}

pub type Outcome = Result<(), Fault>;

pub struct Service {
    pub name: &'static str,
    tracer: SdkTracer,
    logger: SdkLogger,
    /// Seconds of requests served, by route and outcome.
    served: Histogram<f64>,
    /// Business events, by kind.
    events: Counter<u64>,
    /// Flushed and closed when the service goes.
    _providers: (SdkTracerProvider, SdkLoggerProvider, SdkMeterProvider),
}

impl Service {
    /// Must be called within a tokio runtime, which the exporters' connections use.
    pub fn start(name: &'static str, version: &'static str, endpoint: &str) -> Result<Self> {
        let resource = Resource::builder()
            .with_service_name(name)
            .with_attributes([
                KeyValue::new("service.version", version),
                KeyValue::new("service.instance.id", format!("{name}-1")),
                KeyValue::new("deployment.environment.name", "demo"),
                KeyValue::new("host.name", "demo-host"),
            ])
            .build();
        let spans = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build().context("span exporter")?;
        let logs = LogExporter::builder().with_tonic().with_endpoint(endpoint).build().context("log exporter")?;
        let metrics =
            MetricExporter::builder().with_tonic().with_endpoint(endpoint).build().context("metric exporter")?;
        let tracers = SdkTracerProvider::builder().with_resource(resource.clone()).with_batch_exporter(spans).build();
        let loggers = SdkLoggerProvider::builder().with_resource(resource.clone()).with_batch_exporter(logs).build();
        let reader = PeriodicReader::builder(metrics).with_interval(METRICS_EVERY).build();
        let meters = SdkMeterProvider::builder().with_resource(resource).with_reader(reader).build();
        let scope = InstrumentationScope::builder(SCOPE).with_version(env!("CARGO_PKG_VERSION")).build();
        let meter = meters.meter_with_scope(scope.clone());
        Ok(Self {
            name,
            tracer: tracers.tracer_with_scope(scope.clone()),
            logger: loggers.logger_with_scope(scope),
            served: meter
                .f64_histogram("http.server.request.duration")
                .with_unit("s")
                .with_description("duration of requests served")
                .with_boundaries(vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5])
                .build(),
            events: meter.u64_counter("shop.events").with_unit("{event}").with_description("business events").build(),
            _providers: (tracers, loggers, meters),
        })
    }

    /// Opens a span under `parent`.
    pub fn span(&self, parent: &Context, kind: SpanKind, name: String, attributes: Vec<KeyValue>) -> Op<'_> {
        self.linked(parent, kind, name, attributes, None)
    }

    /// Opens a span with a link, as a consumer does to the message's producer.
    pub fn linked(
        &self,
        parent: &Context,
        kind: SpanKind,
        name: String,
        attributes: Vec<KeyValue>,
        link: Option<SpanContext>,
    ) -> Op<'_> {
        let links = link.map(|context| Link::new(context, vec![], 0)).into_iter().collect();
        let builder = self.tracer.span_builder(name).with_kind(kind).with_attributes(attributes).with_links(links);
        let span = builder.start_with_context(&self.tracer, parent);
        Op { service: self, context: parent.with_span(span), started: Instant::now() }
    }

    /// Records the duration of a request that was served.
    pub fn served(&self, op: &Op<'_>, method: &'static str, route: &'static str, status: i64) {
        let attributes = [
            KeyValue::new("http.request.method", method),
            KeyValue::new("http.route", route),
            KeyValue::new("http.response.status_code", status),
        ];
        self.served.record(op.started.elapsed().as_secs_f64(), &attributes);
    }

    pub fn count(&self, event: &'static str) {
        self.events.add(1, &[KeyValue::new("shop.event", event)]);
    }

    /// Writes a log record that belongs to a span.
    pub fn log(&self, context: &Context, severity: Severity, body: String, attributes: &[(&'static str, i64)]) {
        let mut record = self.logger.create_log_record();
        let span = context.span().span_context().clone();
        record.set_trace_context(span.trace_id(), span.span_id(), Some(span.trace_flags()));
        record.set_timestamp(std::time::SystemTime::now());
        record.set_severity_number(severity);
        record.set_severity_text(severity.name());
        record.set_body(AnyValue::from(body));
        for (key, value) in attributes {
            record.add_attribute(*key, *value);
        }
        self.logger.emit(record);
    }
}

/// A span that is open, of one service.
pub struct Op<'a> {
    service: &'a Service,
    pub context: Context,
    started: Instant,
}

impl Op<'_> {
    pub fn set(&self, key: &'static str, value: impl Into<opentelemetry::Value>) {
        self.context.span().set_attribute(KeyValue::new(key, value));
    }

    pub fn span_context(&self) -> SpanContext {
        self.context.span().span_context().clone()
    }

    /// Closes the span; a fault becomes its status, an exception event and a log record.
    pub fn end(self, outcome: &Outcome) {
        let span = self.context.span();
        if let Err(fault) = outcome {
            span.set_status(Status::error(fault.message));
            span.set_attribute(KeyValue::new("error.type", fault.kind));
            span.add_event(
                "exception",
                vec![KeyValue::new("exception.type", fault.kind), KeyValue::new("exception.message", fault.message)],
            );
            self.service.log(&self.context, Severity::Error, format!("{}: {}", fault.kind, fault.message), &[]);
        }
        span.end();
    }
}
