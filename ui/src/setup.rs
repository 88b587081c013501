//! What the Start page offers to copy: how an exporter of each language is pointed here. Text only.

/// A first rule file: errors and latency of every service, without a threshold that only one system has.
pub const FIRST_RULES: &str = r#"groups:
  - name: services
    interval: 30s
    rules:
      - alert: ErrorRatio
        sql: |
          SELECT service_name, service_namespace,
                 count(*) FILTER (WHERE status_code = 'ERROR') * 1.0 / count(*) AS value
          FROM spans
          WHERE timestamp >= $start AND timestamp < $end AND kind IN ('SERVER', 'CONSUMER')
          GROUP BY service_name, service_namespace
          HAVING count(*) >= 20 AND value > 0.05
        for: 2m
        labels:
          severity: critical
        annotations:
          summary: "{{ $labels.service_name }} fails {{ $value | humanizePercentage }} of its calls"
      - alert: SlowCalls
        sql: |
          SELECT service_name, service_namespace, approx_percentile_cont(duration_ns, 0.95) / 1e9 AS value
          FROM spans
          WHERE timestamp >= $start AND timestamp < $end AND kind IN ('SERVER', 'CONSUMER')
          GROUP BY service_name, service_namespace
          HAVING count(*) >= 20 AND value > 2
        for: 5m
        keep_firing_for: 5m
        labels:
          severity: warning
        annotations:
          summary: "the 95th percentile of {{ $labels.service_name }} is {{ $value | humanizeDuration }}"
"#;

/// The configuration that reads it.
pub const RULES_CONFIG: &str = "rules = [\"rules/*.yaml\"]\n";

/// The configuration of a first notifier; the address of its webhook is a secret, so that it stands in the environment.
pub const NOTIFIER_CONFIG: &str = "[[notifiers]]\nname = \"team\"\nkind = \"slack\"\nurl_env = \"SLACK_WEBHOOK_URL\"\n";

/// One tab of the Start page.
pub struct Guide {
    /// For the URL.
    pub id: &'static str,
    pub title: &'static str,
    /// What to do, in order: a sentence and a block to copy.
    pub steps: Vec<(&'static str, String)>,
}

/// An address that exporters reach, `http://host:port`, from one with or without a scheme. One that listens everywhere is
/// given as another program on this machine says it.
pub fn reachable(address: &str) -> String {
    let local = address.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]");
    if local.contains("://") { local } else { format!("http://{local}") }
}

/// The guides, given where exporters reach this server: the URLs of OTLP/gRPC and of OTLP/HTTP.
pub fn guides(grpc: &str, http: &str) -> Vec<Guide> {
    let host = grpc.split_once("://").map_or(grpc, |(_, host)| host);
    let plain = !grpc.starts_with("https://");
    let env = format!(
        "export OTEL_EXPORTER_OTLP_ENDPOINT={http}\nexport OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf\nexport OTEL_SERVICE_NAME=my-service\nexport OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=dev"
    );
    vec![
        guide("env", "Any SDK", vec![("Every OpenTelemetry SDK reads these variables.", env.clone()), (
            "Or over gRPC:",
            format!("export OTEL_EXPORTER_OTLP_ENDPOINT={grpc}\nexport OTEL_EXPORTER_OTLP_PROTOCOL=grpc"),
        )]),
        guide("java", "Java", vec![(
            "The agent instruments a running program; no code changes.",
            format!(
                "java -javaagent:opentelemetry-javaagent.jar \\\n  -Dotel.service.name=my-service \\\n  -Dotel.exporter.otlp.endpoint={http} \\\n  -Dotel.exporter.otlp.protocol=http/protobuf \\\n  -jar app.jar"
            ),
        )]),
        guide("python", "Python", vec![
            ("Install the distribution and what instruments your libraries.", "pip install opentelemetry-distro opentelemetry-exporter-otlp\nopentelemetry-bootstrap -a install".to_owned()),
            ("Run with the endpoint.", format!("{env}\nexport OTEL_LOGS_EXPORTER=otlp\nopentelemetry-instrument python app.py")),
        ]),
        guide("node", "Node.js", vec![
            ("Install the automatic instrumentation.", "npm install @opentelemetry/api @opentelemetry/auto-instrumentations-node".to_owned()),
            ("Run with it.", format!("{env}\nnode --require @opentelemetry/auto-instrumentations-node/register app.js")),
        ]),
        guide("go", "Go", vec![
            ("Add the SDK and an exporter.", "go get go.opentelemetry.io/otel \\\n  go.opentelemetry.io/otel/sdk \\\n  go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc".to_owned()),
            ("In main:", format!(
                "exporter, err := otlptracegrpc.New(ctx,\n    otlptracegrpc.WithEndpointURL(\"{grpc}\"))\nif err != nil {{\n    log.Fatal(err)\n}}\nprovider := trace.NewTracerProvider(trace.WithBatcher(exporter))\ndefer provider.Shutdown(ctx)\notel.SetTracerProvider(provider)"
            )),
        ]),
        guide("rust", "Rust", vec![
            ("Add the crates.", "cargo add opentelemetry opentelemetry_sdk\ncargo add opentelemetry-otlp --features grpc-tonic".to_owned()),
            ("In main:", format!(
                "let exporter = opentelemetry_otlp::SpanExporter::builder()\n    .with_tonic()\n    .with_endpoint(\"{grpc}\")\n    .build()?;\nlet provider = opentelemetry_sdk::trace::SdkTracerProvider::builder()\n    .with_batch_exporter(exporter)\n    .build();\nopentelemetry::global::set_tracer_provider(provider);"
            )),
        ]),
        guide("browser", "Browser", vec![
            ("Install the web SDK.", "npm install @opentelemetry/sdk-trace-web @opentelemetry/exporter-trace-otlp-http".to_owned()),
            ("Cross-origin requests are allowed on the OTLP/HTTP port.", format!(
                "import {{ WebTracerProvider, BatchSpanProcessor }} from '@opentelemetry/sdk-trace-web';\nimport {{ OTLPTraceExporter }} from '@opentelemetry/exporter-trace-otlp-http';\n\nconst exporter = new OTLPTraceExporter({{ url: '{http}/v1/traces' }});\nnew WebTracerProvider({{ spanProcessors: [new BatchSpanProcessor(exporter)] }}).register();"
            )),
        ]),
        guide("collector", "Collector", vec![(
            "In the Collector's configuration, beside the receivers that you have:",
            format!(
                "receivers:\n  otlp:\n    protocols:\n      grpc:\n      http:\nprocessors:\n  batch:\nexporters:\n  otlp/orrery:\n    endpoint: {host}\n    tls:\n      insecure: {plain}\nservice:\n  pipelines:\n    traces:  {{ receivers: [otlp], processors: [batch], exporters: [otlp/orrery] }}\n    metrics: {{ receivers: [otlp], processors: [batch], exporters: [otlp/orrery] }}\n    logs:    {{ receivers: [otlp], processors: [batch], exporters: [otlp/orrery] }}"
            ),
        )]),
        guide("curl", "curl", vec![("One span, by hand.", curl(http))]),
    ]
}

fn guide(id: &'static str, title: &'static str, steps: Vec<(&'static str, String)>) -> Guide {
    Guide { id, title, steps }
}

fn curl(http: &str) -> String {
    format!(
        r#"now=$(date +%s%N)
curl -sS {http}/v1/traces -H 'Content-Type: application/json' -d @- <<JSON
{{"resourceSpans": [{{
  "resource": {{"attributes": [{{"key": "service.name", "value": {{"stringValue": "hello"}}}}]}},
  "scopeSpans": [{{"spans": [{{
    "traceId": "$(openssl rand -hex 16)", "spanId": "$(openssl rand -hex 8)",
    "name": "first span", "kind": 2,
    "startTimeUnixNano": "$now", "endTimeUnixNano": "$((now + 42000000))"
  }}]}}]
}}]}}
JSON"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guide_names_this_server() {
        let all = guides(&reachable("0.0.0.0:4317"), &reachable("http://127.0.0.1:4318"));
        assert!(all.len() >= 8);
        for guide in &all {
            let named = guide.steps.iter().any(|(_, text)| text.contains("127.0.0.1:431"));
            assert!(named, "{}", guide.title);
            assert!(!guide.steps.iter().any(|(_, text)| text.contains("://http")), "{}", guide.title);
        }
    }
}
