//! The official SDKs of six languages send one fixed set of spans, logs and metrics over gRPC and HTTP, and SQL gives
//! every field back. A language whose toolchain is missing is skipped aloud.

mod rust;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::server::{Folder, Server};

/// What a language calls its own: where its SDK cannot send a thing as the others do, the case says so.
struct Client {
    language: &'static str,
    protocols: &'static [&'static str],
    /// The toolchain that must be there.
    tool: &'static str,
    /// Brings the packages in; run once.
    prepare: fn(&Path) -> Vec<Command>,
    command: fn(&Path, &str, &str) -> Command,
    /// Whether integer measurements arrive as integers.
    integers: bool,
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/exporters")
}

fn command(program: impl AsRef<std::ffi::OsStr>, dir: PathBuf, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(dir);
    command
}

/// Python's packages live in a virtual environment outside the sources.
fn python_environment() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("exporter-python")
}

fn javascript(dir: &Path) -> Vec<Command> {
    vec![command("npm", dir.join("javascript"), &["ci", "--no-audit", "--no-fund"])]
}

const CLIENTS: &[Client] = &[
    Client {
        language: "go",
        protocols: &["grpc", "http"],
        tool: "go",
        prepare: |dir| vec![command("go", dir.join("go"), &["build", "-o", "/dev/null", "."])],
        command: |dir, protocol, endpoint| command("go", dir.join("go"), &["run", ".", protocol, endpoint]),
        integers: true,
    },
    Client {
        language: "java",
        protocols: &["grpc", "http"],
        tool: "mvn",
        prepare: |dir| vec![command("mvn", dir.join("java"), &["-q", "-B", "compile"])],
        command: |dir, protocol, endpoint| {
            command("mvn", dir.join("java"), &["-q", "-B", "exec:java", &format!("-Dexec.args={protocol} {endpoint}")])
        },
        integers: true,
    },
    Client {
        language: "python",
        protocols: &["grpc", "http"],
        tool: "python3",
        prepare: |dir| {
            let environment = python_environment();
            vec![
                command("python3", dir.join("python"), &["-m", "venv", &environment.to_string_lossy()]),
                // Not bin/pip, whose first line names the folder that it was made in.
                command(
                    environment.join("bin/python"),
                    dir.join("python"),
                    &["-m", "pip", "-q", "install", "-r", "requirements.txt"],
                ),
            ]
        },
        command: |dir, protocol, endpoint| {
            command(python_environment().join("bin/python"), dir.join("python"), &["client.py", protocol, endpoint])
        },
        integers: true,
    },
    Client {
        language: "node",
        protocols: &["grpc", "http"],
        tool: "node",
        prepare: javascript,
        command: |dir, protocol, endpoint| command("node", dir.join("javascript"), &["node.mjs", protocol, endpoint]),
        integers: false,
    },
    Client {
        language: "browser",
        protocols: &["http"],
        tool: "chromium",
        prepare: javascript,
        command: |dir, protocol, endpoint| {
            command("node", dir.join("javascript"), &["browser.mjs", protocol, endpoint])
        },
        integers: false,
    },
];

fn is_installed(tool: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(tool).is_file()))
}

fn run(mut command: Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}\n{}\n{}", text(&output.stdout), text(&output.stderr));
}

fn endpoint(server: &Server, protocol: &str) -> String {
    if protocol == "grpc" { server.otlp_grpc.clone() } else { server.otlp_http.clone() }
}

fn check_language(language: &str) {
    let client = CLIENTS.iter().find(|c| c.language == language).expect("a listed language");
    if !is_installed(client.tool) {
        eprintln!("SKIPPED: the {language} exporter, since {} is not on the PATH", client.tool);
        return;
    }
    let dir = sources();
    // Node and the browser share a folder of packages.
    static PREPARING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    {
        let _alone = PREPARING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        (client.prepare)(&dir).into_iter().for_each(run);
    }
    let folder = Folder::new();
    let server = Server::start(&folder, &[]);
    for protocol in client.protocols {
        run((client.command)(&dir, protocol, &endpoint(&server, protocol)));
        check_stored(&server, &format!("exporter-{language}-{protocol}"), client.integers);
    }
}

/// Every field of the fixed set, read back by SQL.
fn check_stored(server: &Server, service: &str, integers: bool) {
    let check = |what: &str, select: &str, expected: Value| {
        let query = select.replace("$service", &format!("'{service}'"));
        assert_eq!(Value::from_iter(server.sql(&query)), expected, "{service}: {what}\n{query}");
    };
    check(
        "spans",
        "SELECT name, kind, status_code, status_message, service_version, deployment_environment, \
         resource_attributes['custom.resource'], scope_name, scope_version, time_source, duration_ns >= 0 \
         FROM spans WHERE service_name = $service ORDER BY name",
        json!([
            ["child", "CLIENT", "UNSET", null, "1.2.3", "test", "r", "orrery.exporters", "0.1", "sent", true],
            ["parent", "SERVER", "ERROR", "boom", "1.2.3", "test", "r", "orrery.exporters", "0.1", "sent", true],
        ]),
    );
    check(
        "the tree",
        "SELECT count(*) FROM spans c JOIN spans p ON c.trace_id = p.trace_id AND c.parent_span_id = p.span_id \
         WHERE c.service_name = $service AND c.name = 'child' AND p.name = 'parent' AND p.parent_span_id IS NULL",
        json!([[1]]),
    );
    check(
        "span attributes",
        "SELECT attributes['text'], attributes['int'], attributes['double'], attributes['bool'], attributes['array'], \
         attributes['http.request.method'], \"attributes.http.response.status_code\", other_attribute_types['int'], \
         other_attribute_types['double'], other_attribute_types['bool'], other_attribute_types['array'] \
         FROM spans WHERE service_name = $service AND name = 'parent'",
        json!([["hello", "42", "1.5", "true", "[\"x\",\"y\"]", "GET", 500, "int", "double", "bool", "array"]]),
    );
    check(
        "events and links",
        "SELECT events[1]['name'], events[1]['attributes']['key'], links[1]['trace_id'], links[1]['span_id'], \
         links[1]['attributes']['why'] FROM spans WHERE service_name = $service AND name = 'parent'",
        json!([["happened", "value", "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "retry"]]),
    );
    check(
        "logs",
        "SELECT l.timestamp, l.severity_number, l.severity_text, l.body, l.attributes['key'], \
         l.resource_attributes['custom.resource'], l.scope_name, l.scope_version, s.name FROM logs l JOIN spans s \
         ON l.trace_id = s.trace_id AND l.span_id = s.span_id WHERE l.service_name = $service",
        json!([[
            "2023-11-14T22:13:20.000000001Z",
            13,
            "WARN",
            "hello log",
            "value",
            "r",
            "orrery.exporters",
            "0.1",
            "parent"
        ]]),
    );
    let integer = |n: i64| if integers { json!(n) } else { Value::Null };
    check(
        "metrics",
        "SELECT metric_name, type, unit, description, temporality, is_monotonic, value, value_int, attributes['key'], \
         resource_attributes['custom.resource'], scope_name FROM metrics WHERE service_name = $service AND type = 'SUM' \
         AND metric_name LIKE 'exporter.%' ORDER BY metric_name",
        json!([
            [
                "exporter.count",
                "SUM",
                "1",
                "a counter",
                "CUMULATIVE",
                true,
                7.0,
                integer(7),
                "value",
                "r",
                "orrery.exporters"
            ],
            [
                "exporter.level",
                "SUM",
                "1",
                null,
                "CUMULATIVE",
                false,
                -3.0,
                integer(-3),
                "value",
                "r",
                "orrery.exporters"
            ],
        ]),
    );
    check(
        "histograms",
        "SELECT metric_name, unit, temporality, count, sum, min, max, attributes['key'] FROM metrics \
         WHERE service_name = $service AND type = 'HISTOGRAM' AND metric_name LIKE 'exporter.%'",
        json!([["exporter.latency", "ms", "CUMULATIVE", 2, 11.0, 1.0, 10.0, "value"]]),
    );
}

#[test]
fn go() {
    check_language("go");
}

#[test]
fn java() {
    check_language("java");
}

#[test]
fn python() {
    check_language("python");
}

#[test]
fn node() {
    check_language("node");
}

#[test]
fn browser() {
    check_language("browser");
}

#[test]
fn rust() {
    let folder = Folder::new();
    let server = Server::start(&folder, &[]);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    for protocol in ["grpc", "http"] {
        let endpoint = endpoint(&server, protocol);
        runtime
            .block_on(async { tokio::task::spawn_blocking(move || rust::send(protocol, &endpoint)).await })
            .expect("sent");
        check_stored(&server, &format!("exporter-rust-{protocol}"), true);
    }
}
