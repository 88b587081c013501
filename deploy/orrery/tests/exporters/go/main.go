// Command exporter sends the fixed set of telemetry with the official SDK of Go: exporter grpc|http ENDPOINT.
package main

import (
	"context"
	"log"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	otellog "go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func exporters(ctx context.Context, protocol, endpoint string) (sdktrace.SpanExporter, sdkmetric.Exporter, sdklog.Exporter) {
	host := strings.TrimPrefix(endpoint, "http://")
	if protocol == "grpc" {
		return must(otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(host), otlptracegrpc.WithInsecure())),
			must(otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithEndpoint(host), otlpmetricgrpc.WithInsecure())),
			must(otlploggrpc.New(ctx, otlploggrpc.WithEndpoint(host), otlploggrpc.WithInsecure()))
	}
	return must(otlptracehttp.New(ctx, otlptracehttp.WithEndpoint(host), otlptracehttp.WithInsecure(), otlptracehttp.WithCompression(otlptracehttp.GzipCompression))),
		must(otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpoint(host), otlpmetrichttp.WithInsecure())),
		must(otlploghttp.New(ctx, otlploghttp.WithEndpoint(host), otlploghttp.WithInsecure()))
}

func main() {
	ctx := context.Background()
	protocol, endpoint := os.Args[1], os.Args[2]
	spans, metrics, logs := exporters(ctx, protocol, endpoint)
	res := resource.NewSchemaless(
		attribute.String("service.name", "exporter-go-"+protocol),
		attribute.String("service.version", "1.2.3"),
		attribute.String("deployment.environment.name", "test"),
		attribute.String("custom.resource", "r"),
	)
	tracers := sdktrace.NewTracerProvider(sdktrace.WithBatcher(spans), sdktrace.WithResource(res))
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewPeriodicReader(metrics)), sdkmetric.WithResource(res))
	loggers := sdklog.NewLoggerProvider(sdklog.WithProcessor(sdklog.NewBatchProcessor(logs)), sdklog.WithResource(res))

	tracer := tracers.Tracer("orrery.exporters", trace.WithInstrumentationVersion("0.1"))
	linked := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID:    must(trace.TraceIDFromHex("0af7651916cd43dd8448eb211c80319c")),
		SpanID:     must(trace.SpanIDFromHex("b7ad6b7169203331")),
		TraceFlags: trace.FlagsSampled,
	})
	within, parent := tracer.Start(ctx, "parent", trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(
			attribute.String("text", "hello"),
			attribute.Int("int", 42),
			attribute.Float64("double", 1.5),
			attribute.Bool("bool", true),
			attribute.StringSlice("array", []string{"x", "y"}),
			attribute.String("http.request.method", "GET"),
			attribute.Int("http.response.status_code", 500),
		),
		trace.WithLinks(trace.Link{SpanContext: linked, Attributes: []attribute.KeyValue{attribute.String("why", "retry")}}))
	parent.AddEvent("happened", trace.WithAttributes(attribute.String("key", "value")))
	parent.SetStatus(codes.Error, "boom")
	_, child := tracer.Start(within, "child", trace.WithSpanKind(trace.SpanKindClient))
	child.End()

	var record otellog.Record
	record.SetTimestamp(time.Unix(0, 1_700_000_000_000_000_001))
	record.SetSeverity(otellog.SeverityWarn)
	record.SetSeverityText("WARN")
	record.SetBody(attribute.StringValue("hello log"))
	record.AddAttributes(attribute.String("key", "value"))
	loggers.Logger("orrery.exporters", otellog.WithInstrumentationVersion("0.1")).Emit(within, record)
	parent.End()

	meter := meters.Meter("orrery.exporters", metric.WithInstrumentationVersion("0.1"))
	labels := metric.WithAttributes(attribute.String("key", "value"))
	must(meter.Int64Counter("exporter.count", metric.WithUnit("1"), metric.WithDescription("a counter"))).Add(ctx, 7, labels)
	must(meter.Int64UpDownCounter("exporter.level", metric.WithUnit("1"))).Add(ctx, -3, labels)
	histogram := must(meter.Float64Histogram("exporter.latency", metric.WithUnit("ms")))
	histogram.Record(ctx, 1, labels)
	histogram.Record(ctx, 10, labels)

	for _, shutdown := range []func(context.Context) error{tracers.Shutdown, meters.Shutdown, loggers.Shutdown} {
		if err := shutdown(ctx); err != nil {
			log.Fatal(err)
		}
	}
}
