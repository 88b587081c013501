import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.logs.Severity;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanContext;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.api.trace.TraceFlags;
import io.opentelemetry.api.trace.TraceState;
import io.opentelemetry.context.Context;
import io.opentelemetry.exporter.otlp.http.logs.OtlpHttpLogRecordExporter;
import io.opentelemetry.exporter.otlp.http.metrics.OtlpHttpMetricExporter;
import io.opentelemetry.exporter.otlp.http.trace.OtlpHttpSpanExporter;
import io.opentelemetry.exporter.otlp.logs.OtlpGrpcLogRecordExporter;
import io.opentelemetry.exporter.otlp.metrics.OtlpGrpcMetricExporter;
import io.opentelemetry.exporter.otlp.trace.OtlpGrpcSpanExporter;
import io.opentelemetry.sdk.logs.SdkLoggerProvider;
import io.opentelemetry.sdk.logs.export.BatchLogRecordProcessor;
import io.opentelemetry.sdk.logs.export.LogRecordExporter;
import io.opentelemetry.sdk.metrics.SdkMeterProvider;
import io.opentelemetry.sdk.metrics.export.MetricExporter;
import io.opentelemetry.sdk.metrics.export.PeriodicMetricReader;
import io.opentelemetry.sdk.resources.Resource;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.export.BatchSpanProcessor;
import io.opentelemetry.sdk.trace.export.SpanExporter;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** Sends the fixed set of telemetry with the official SDK of Java: Exporter grpc|http ENDPOINT. */
public final class Exporter {
  private static final String SCOPE = "orrery.exporters";

  public static void main(String[] args) {
    boolean grpc = args[0].equals("grpc");
    String endpoint = args[1];
    SpanExporter spans =
        grpc
            ? OtlpGrpcSpanExporter.builder().setEndpoint(endpoint).build()
            : OtlpHttpSpanExporter.builder().setEndpoint(endpoint + "/v1/traces").build();
    MetricExporter metrics =
        grpc
            ? OtlpGrpcMetricExporter.builder().setEndpoint(endpoint).build()
            : OtlpHttpMetricExporter.builder().setEndpoint(endpoint + "/v1/metrics").build();
    LogRecordExporter logs =
        grpc
            ? OtlpGrpcLogRecordExporter.builder().setEndpoint(endpoint).setCompression("gzip").build()
            : OtlpHttpLogRecordExporter.builder().setEndpoint(endpoint + "/v1/logs").setCompression("gzip").build();

    Resource resource =
        Resource.getDefault()
            .merge(
                Resource.create(
                    Attributes.builder()
                        .put("service.name", "exporter-java-" + args[0])
                        .put("service.version", "1.2.3")
                        .put("deployment.environment.name", "test")
                        .put("custom.resource", "r")
                        .build()));
    SdkTracerProvider tracers =
        SdkTracerProvider.builder()
            .setResource(resource)
            .addSpanProcessor(BatchSpanProcessor.builder(spans).build())
            .build();
    SdkMeterProvider meters =
        SdkMeterProvider.builder()
            .setResource(resource)
            .registerMetricReader(PeriodicMetricReader.create(metrics))
            .build();
    SdkLoggerProvider loggers =
        SdkLoggerProvider.builder()
            .setResource(resource)
            .addLogRecordProcessor(BatchLogRecordProcessor.builder(logs).build())
            .build();

    Attributes keyValue = Attributes.of(AttributeKey.stringKey("key"), "value");
    var tracer = tracers.tracerBuilder(SCOPE).setInstrumentationVersion("0.1").build();
    SpanContext linked =
        SpanContext.create(
            "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", TraceFlags.getSampled(), TraceState.getDefault());
    Span parent =
        tracer
            .spanBuilder("parent")
            .setSpanKind(SpanKind.SERVER)
            .addLink(linked, Attributes.of(AttributeKey.stringKey("why"), "retry"))
            .setAttribute("text", "hello")
            .setAttribute("int", 42)
            .setAttribute("double", 1.5)
            .setAttribute("bool", true)
            .setAttribute(AttributeKey.stringArrayKey("array"), List.of("x", "y"))
            .setAttribute("http.request.method", "GET")
            .setAttribute("http.response.status_code", 500)
            .startSpan();
    parent.addEvent("happened", keyValue);
    parent.setStatus(StatusCode.ERROR, "boom");
    Context within = Context.root().with(parent);
    tracer.spanBuilder("child").setParent(within).setSpanKind(SpanKind.CLIENT).startSpan().end();
    loggers
        .loggerBuilder(SCOPE)
        .setInstrumentationVersion("0.1")
        .build()
        .logRecordBuilder()
        .setContext(within)
        .setTimestamp(1_700_000_000_000_000_001L, TimeUnit.NANOSECONDS)
        .setSeverity(Severity.WARN)
        .setSeverityText("WARN")
        .setBody("hello log")
        .setAllAttributes(keyValue)
        .emit();
    parent.end();

    var meter = meters.meterBuilder(SCOPE).setInstrumentationVersion("0.1").build();
    meter.counterBuilder("exporter.count").setUnit("1").setDescription("a counter").build().add(7, keyValue);
    meter.upDownCounterBuilder("exporter.level").setUnit("1").build().add(-3, keyValue);
    var histogram = meter.histogramBuilder("exporter.latency").setUnit("ms").build();
    histogram.record(1, keyValue);
    histogram.record(10, keyValue);

    tracers.shutdown().join(10, TimeUnit.SECONDS);
    meters.shutdown().join(10, TimeUnit.SECONDS);
    loggers.shutdown().join(10, TimeUnit.SECONDS);
  }
}
