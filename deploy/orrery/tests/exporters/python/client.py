"""Sends the fixed set of telemetry with the official SDK of Python: client.py grpc|http ENDPOINT."""

import sys

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

protocol, endpoint = sys.argv[1:]
if protocol == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    exporter = lambda kind, path: kind(endpoint=endpoint, insecure=True)
else:
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    exporter = lambda kind, path: kind(endpoint=endpoint + path)

resource = Resource.create(
    {
        "service.name": f"exporter-python-{protocol}",
        "service.version": "1.2.3",
        "deployment.environment.name": "test",
        "custom.resource": "r",
    }
)
tracers = TracerProvider(resource=resource)
tracers.add_span_processor(BatchSpanProcessor(exporter(OTLPSpanExporter, "/v1/traces")))
meters = MeterProvider(
    resource=resource,
    metric_readers=[PeriodicExportingMetricReader(exporter(OTLPMetricExporter, "/v1/metrics"), 3_600_000)],
)
loggers = LoggerProvider(resource=resource)
loggers.add_log_record_processor(BatchLogRecordProcessor(exporter(OTLPLogExporter, "/v1/logs")))

tracer = tracers.get_tracer("orrery.exporters", "0.1")
link = trace.Link(
    trace.SpanContext(0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, True), attributes={"why": "retry"}
)
attributes = {
    "text": "hello",
    "int": 42,
    "double": 1.5,
    "bool": True,
    "array": ["x", "y"],
    "http.request.method": "GET",
    "http.response.status_code": 500,
}
with tracer.start_as_current_span("parent", kind=trace.SpanKind.SERVER, attributes=attributes, links=[link]) as parent:
    parent.add_event("happened", {"key": "value"})
    parent.set_status(trace.StatusCode.ERROR, "boom")
    with tracer.start_as_current_span("child", kind=trace.SpanKind.CLIENT):
        pass
    loggers.get_logger("orrery.exporters", "0.1").emit(
        LogRecord(
            timestamp=1_700_000_000_000_000_001,
            context=trace.set_span_in_context(parent),
            severity_number=SeverityNumber.WARN,
            severity_text="WARN",
            body="hello log",
            attributes={"key": "value"},
        )
    )

meter = meters.get_meter("orrery.exporters", "0.1")
meter.create_counter("exporter.count", unit="1", description="a counter").add(7, {"key": "value"})
meter.create_up_down_counter("exporter.level", unit="1").add(-3, {"key": "value"})
histogram = meter.create_histogram("exporter.latency", unit="ms")
histogram.record(1.0, {"key": "value"})
histogram.record(10.0, {"key": "value"})

for provider in (tracers, meters, loggers):
    provider.shutdown()
