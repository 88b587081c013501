//! Sends the fixed set of telemetry with the official SDK of Rust. Not a test itself.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use opentelemetry::logs::{LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId,
    TraceState, TracerProvider as _,
};
use opentelemetry::{Array, Context, InstrumentationScope, KeyValue, Value};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{LogExporter, MetricExporter, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;

/// The SDK brings no HTTP client that this workspace has anyway; `ureq` is one.
#[derive(Debug)]
struct Ureq;

#[async_trait::async_trait]
impl HttpClient for Ureq {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let mut post = ureq::post(parts.uri.to_string());
        for (name, value) in &parts.headers {
            post = post.header(name, value);
        }
        let mut response = post.send(&body[..])?;
        let status = response.status();
        Ok(Response::builder().status(status).body(response.body_mut().read_to_vec()?.into())?)
    }
}

fn exporters(protocol: &str, endpoint: &str) -> (SpanExporter, MetricExporter, LogExporter) {
    if protocol == "grpc" {
        return (
            SpanExporter::builder().with_tonic().with_endpoint(endpoint).build().expect("span exporter"),
            MetricExporter::builder().with_tonic().with_endpoint(endpoint).build().expect("metric exporter"),
            LogExporter::builder().with_tonic().with_endpoint(endpoint).build().expect("log exporter"),
        );
    }
    let url = |path: &str| format!("{endpoint}{path}");
    (
        SpanExporter::builder()
            .with_http()
            .with_http_client(Ureq)
            .with_endpoint(url("/v1/traces"))
            .build()
            .expect("span exporter"),
        MetricExporter::builder()
            .with_http()
            .with_http_client(Ureq)
            .with_endpoint(url("/v1/metrics"))
            .build()
            .expect("metric exporter"),
        LogExporter::builder()
            .with_http()
            .with_http_client(Ureq)
            .with_endpoint(url("/v1/logs"))
            .build()
            .expect("log exporter"),
    )
}

/// Must run within a multi-threaded tokio runtime, which the gRPC exporter needs, but on a thread that may block.
pub fn send(protocol: &str, endpoint: &str) {
    let (spans, metrics, logs) = exporters(protocol, endpoint);
    let resource = Resource::builder()
        .with_attributes([
            KeyValue::new("service.name", format!("exporter-rust-{protocol}")),
            KeyValue::new("service.version", "1.2.3"),
            KeyValue::new("deployment.environment.name", "test"),
            KeyValue::new("custom.resource", "r"),
        ])
        .build();
    let scope = || InstrumentationScope::builder("orrery.exporters").with_version("0.1").build();
    let tracers = SdkTracerProvider::builder().with_batch_exporter(spans).with_resource(resource.clone()).build();
    let meters = SdkMeterProvider::builder().with_periodic_exporter(metrics).with_resource(resource.clone()).build();
    let loggers = SdkLoggerProvider::builder().with_batch_exporter(logs).with_resource(resource).build();

    let tracer = tracers.tracer_with_scope(scope());
    let linked = SpanContext::new(
        TraceId::from(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128),
        SpanId::from(0xb7ad_6b71_6920_3331_u64),
        TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    let array = Value::Array(Array::String(vec!["x".into(), "y".into()]));
    let mut parent = SpanBuilder::from_name("parent")
        .with_kind(SpanKind::Server)
        .with_attributes([
            KeyValue::new("text", "hello"),
            KeyValue::new("int", 42),
            KeyValue::new("double", 1.5),
            KeyValue::new("bool", true),
            KeyValue::new("array", array),
            KeyValue::new("http.request.method", "GET"),
            KeyValue::new("http.response.status_code", 500),
        ])
        .with_links(vec![Link::new(linked, vec![KeyValue::new("why", "retry")], 0)])
        .start(&tracer);
    parent.add_event("happened", vec![KeyValue::new("key", "value")]);
    parent.set_status(Status::error("boom"));
    let ids = parent.span_context().clone();
    let within = Context::new().with_span(parent);
    SpanBuilder::from_name("child").with_kind(SpanKind::Client).start_with_context(&tracer, &within).end();

    let logger = loggers.logger_with_scope(scope());
    let mut record = logger.create_log_record();
    record.set_timestamp(SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 1));
    record.set_severity_number(Severity::Warn);
    record.set_severity_text("WARN");
    record.set_body("hello log".into());
    record.add_attribute("key", "value");
    record.set_trace_context(ids.trace_id(), ids.span_id(), Some(ids.trace_flags()));
    logger.emit(record);
    within.span().end();

    let meter = meters.meter_with_scope(scope());
    let labels = [KeyValue::new("key", "value")];
    meter.u64_counter("exporter.count").with_unit("1").with_description("a counter").build().add(7, &labels);
    meter.i64_up_down_counter("exporter.level").with_unit("1").build().add(-3, &labels);
    let histogram = meter.f64_histogram("exporter.latency").with_unit("ms").build();
    histogram.record(1.0, &labels);
    histogram.record(10.0, &labels);

    tracers.shutdown().expect("the spans are sent");
    meters.shutdown().expect("the metrics are sent");
    loggers.shutdown().expect("the logs are sent");
}
