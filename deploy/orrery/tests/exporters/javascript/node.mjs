// Sends the fixed set of telemetry with the official SDK of JavaScript on Node: node.mjs grpc|http ENDPOINT.

const [protocol, endpoint] = process.argv.slice(2);
const flavour = protocol === "grpc" ? "grpc" : "proto";
const { OTLPTraceExporter } = await import(`@opentelemetry/exporter-trace-otlp-${flavour}`);
const { OTLPMetricExporter } = await import(`@opentelemetry/exporter-metrics-otlp-${flavour}`);
const { OTLPLogExporter } = await import(`@opentelemetry/exporter-logs-otlp-${flavour}`);
const { send } = await import("./send.mjs");

const url = (path) => (protocol === "grpc" ? endpoint : endpoint + path);
await send(`exporter-node-${protocol}`, {
  traces: new OTLPTraceExporter({ url: url("/v1/traces") }),
  metrics: new OTLPMetricExporter({ url: url("/v1/metrics") }),
  logs: new OTLPLogExporter({ url: url("/v1/logs") }),
});
