// The page's script: the same telemetry as the Node client, through the browser's exporters.

import { diag, DiagConsoleLogger, DiagLogLevel } from "@opentelemetry/api";
import { OTLPLogExporter } from "@opentelemetry/exporter-logs-otlp-http";
import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-http";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { send } from "./send.mjs";

diag.setLogger(new DiagConsoleLogger(), DiagLogLevel.WARN);
send("exporter-browser-http", {
  traces: new OTLPTraceExporter({ url: `${ENDPOINT}/v1/traces` }),
  metrics: new OTLPMetricExporter({ url: `${ENDPOINT}/v1/metrics` }),
  logs: new OTLPLogExporter({ url: `${ENDPOINT}/v1/logs` }),
}).then(
  () => (document.title = "sent"),
  (error) => (document.title = String(error)),
);
