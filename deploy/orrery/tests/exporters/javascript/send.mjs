// The fixed set of telemetry in JavaScript, for Node and for the browser page alike.

import { SpanKind, SpanStatusCode, context, trace } from "@opentelemetry/api";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BasicTracerProvider, BatchSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import { LoggerProvider, BatchLogRecordProcessor } from "@opentelemetry/sdk-logs";

export async function send(service, exporters) {
  const resource = resourceFromAttributes({
    "service.name": service,
    "service.version": "1.2.3",
    "deployment.environment.name": "test",
    "custom.resource": "r",
  });
  const tracers = new BasicTracerProvider({ resource, spanProcessors: [new BatchSpanProcessor(exporters.traces)] });
  const reader = new PeriodicExportingMetricReader({ exporter: exporters.metrics, exportIntervalMillis: 3_600_000 });
  const meters = new MeterProvider({ resource, readers: [reader] });
  const loggers = new LoggerProvider({ resource, processors: [new BatchLogRecordProcessor({ exporter: exporters.logs })] });

  const tracer = tracers.getTracer("orrery.exporters", "0.1");
  const linked = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", traceFlags: 1 };
  const parent = tracer.startSpan("parent", {
    kind: SpanKind.SERVER,
    attributes: {
      text: "hello",
      int: 42,
      double: 1.5,
      bool: true,
      array: ["x", "y"],
      "http.request.method": "GET",
      "http.response.status_code": 500,
    },
    links: [{ context: linked, attributes: { why: "retry" } }],
  });
  parent.addEvent("happened", { key: "value" });
  parent.setStatus({ code: SpanStatusCode.ERROR, message: "boom" });
  const within = trace.setSpan(context.active(), parent);
  tracer.startSpan("child", { kind: SpanKind.CLIENT }, within).end();
  loggers.getLogger("orrery.exporters", "0.1").emit({
    timestamp: [1_700_000_000, 1],
    severityNumber: 13,
    severityText: "WARN",
    body: "hello log",
    attributes: { key: "value" },
    context: within,
  });
  parent.end();

  const meter = meters.getMeter("orrery.exporters", "0.1");
  meter.createCounter("exporter.count", { unit: "1", description: "a counter" }).add(7, { key: "value" });
  meter.createUpDownCounter("exporter.level", { unit: "1" }).add(-3, { key: "value" });
  const histogram = meter.createHistogram("exporter.latency", { unit: "ms" });
  histogram.record(1, { key: "value" });
  histogram.record(10, { key: "value" });

  await Promise.all([tracers, meters, loggers].map((provider) => provider.shutdown()));
}
