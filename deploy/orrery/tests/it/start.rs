//! How the server starts, and why it does not: what configuration it takes from where, and what it says of a taken port, a
//! data folder that is in use or cannot be written, a bad line, and an address that is open to everyone.

use std::net::TcpListener;
use std::process::Output;

use crate::server::{self, Folder, Server, orrery, poll};

fn run(args: &[&str], variables: &[(&str, &str)]) -> Output {
    orrery().args(args).envs(variables.iter().copied()).output().expect("the binary runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn flags_win_over_variables_over_the_file_over_defaults() {
    let folder = Folder::new();
    let file = folder
        .write("orrery.toml", "http = \"127.0.0.1:1001\"\notlp_grpc = \"127.0.0.1:1002\"\ndata_dir = \"there\"\n");
    let file = file.to_str().expect("text");
    let variables =
        [("ORRERY_HTTP", "127.0.0.1:2001"), ("ORRERY_OTLP_GRPC", "127.0.0.1:2002"), ("ORRERY_CONFIG", file)];
    let output = run(&["config", "check", "--http", "127.0.0.1:3001", "--set", "query.deadline=5s"], &variables);
    assert!(output.status.success(), "{}", stderr(&output));
    let shown = stdout(&output);
    for line in [
        "http           127.0.0.1:3001",
        "otlp_grpc      127.0.0.1:2002",
        "data_dir       there",
        "otlp_http      127.0.0.1:4318",
        "query          512MiB of memory, 5s at most",
        "the configuration is good",
    ] {
        assert!(shown.contains(line), "{line:?} is not in:\n{shown}");
    }
}

#[test]
fn a_bad_configuration_is_refused_with_its_place() {
    let folder = Folder::new();
    let cases: [(&str, &[&str], &str); 6] = [
        ("[storage]\nmemtabel = \"1MiB\"\n", &[], "orrery.toml:2:1: unknown key `memtabel`; did you mean `memtable`?"),
        ("http = \n", &[], "orrery.toml:1:"),
        ("[tls]\ncert = \"c.pem\"\n", &[], "missing field `key`"),
        ("", &["--http", "8080"], "--http: \"8080\": invalid socket address syntax"),
        ("", &["--set", "storage.flush_age=soon"], "--storage-flush-age: \"soon\" is not a span of time"),
        ("", &["--set", "nonsense"], "expected KEY=VALUE"),
    ];
    for (text, flags, message) in cases {
        let file = folder.write("orrery.toml", text);
        for command in [&["config", "check"][..], &["serve"]] {
            let mut args = command.to_vec();
            args.extend(["--config", file.to_str().expect("text")]);
            args.extend(flags);
            let output = run(&args, &[]);
            assert_eq!(output.status.code(), Some(1), "{args:?}");
            assert!(stderr(&output).contains(message), "{message:?} is not in: {}", stderr(&output));
        }
    }
    let output = run(&["serve", "--config", "/nowhere/orrery.toml"], &[]);
    assert!(stderr(&output).contains("/nowhere/orrery.toml"), "{}", stderr(&output));
}

#[test]
fn a_taken_port_is_named_with_the_flag_that_helps() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    for flag in ["--http", "--otlp-grpc", "--otlp-http"] {
        let folder = Folder::new();
        let mut args = vec!["serve", "--data-dir"];
        let data = folder.data();
        args.push(data.to_str().expect("text"));
        for other in ["--http", "--otlp-grpc", "--otlp-http"] {
            args.extend([other, if other == flag { address.as_str() } else { "127.0.0.1:0" }]);
        }
        let output = run(&args, &[]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1));
        assert!(said.contains(&address) && said.contains("is taken") && said.contains(flag), "{said}");
    }
}

#[test]
fn a_data_folder_in_use_names_its_holder() {
    let folder = Folder::new();
    let first = Server::start(&folder, &[]);
    let said = Server::try_start(&folder, &mut orrery(), &[]).err().expect("the folder is in use");
    assert!(said.contains("in use by") && said.contains(&format!("process {}", first.pid())), "{said}");
    assert!(first.stop().success());
    // A holder that is gone does not count.
    Server::start(&folder, &[]).kill();
    assert!(Server::start(&folder, &[]).stop().success());
}

#[test]
fn a_data_folder_that_cannot_be_written_is_named() {
    let folder = Folder::new();
    let file = folder.write("a-file", "");
    let data = file.join("data");
    let ports = ["--http", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0"];
    let output = orrery().args(ports).arg("--data-dir").arg(&data).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(data.to_str().expect("text")), "{}", stderr(&output));
}

#[test]
fn a_public_address_is_refused_until_it_is_asked_for() {
    let folder = Folder::new();
    let said = Server::try_start(&folder, &mut orrery(), &["--set", "http=0.0.0.0:0"]).err().expect("refused");
    assert!(said.contains("0.0.0.0:0") && said.contains("--insecure-public-bind"), "{said}");
    let server = Server::start(&folder, &["--set", "http=0.0.0.0:0", "--insecure-public-bind"]);
    assert_eq!(server.get("/-/healthy").0, 200);
    assert!(folder.log().contains("other machines can reach this server"), "{}", folder.log());
}

#[test]
fn apis_of_other_systems_say_that_they_are_not_built() {
    let folder = Folder::new();
    let server = Server::start(&folder, &[]);
    for path in ["/prometheus/api/v1/query?query=up", "/tempo/api/search", "/jaeger/api/traces", "/loki/api/v1/labels"]
    {
        let (status, body) = server.get(path);
        assert_eq!(status, 501, "{path}: {body}");
        assert!(body.contains("\"hint\""), "{path}: {body}");
    }
}

#[test]
fn probes_and_metrics_answer() {
    let folder = Folder::new();
    let server = Server::start(&folder, &["--log-format", "json"]);
    assert_eq!(server.get("/-/healthy"), (200, "healthy\n".to_owned()));
    assert_eq!(server.get("/-/ready"), (200, "ready\n".to_owned()));
    server.export_json("traces", &server::one_span("cart", "add", &"a".repeat(32), &"b".repeat(16)));
    let (status, metrics) = server.get("/metrics");
    assert_eq!(status, 200);
    for line in [
        "orrery_receiver_records_total{signal=\"spans\",protocol=\"http_json\"} 1",
        "orrery_store_rows_total 1",
        "# TYPE orrery_wal_syncs_total counter",
        "orrery_query_sessions 0",
        "orrery_query_trace_filter_bytes ",
        "orrery_query_token_filter_bytes ",
        "process_resident_memory_bytes ",
        "process_cpu_seconds_total ",
    ] {
        assert!(metrics.contains(line), "{line:?} is not in:\n{metrics}");
    }
    let ready = poll("the log", || folder.log().lines().next().map(str::to_owned));
    let line: serde_json::Value = serde_json::from_str(&ready).expect("a line of JSON");
    assert_eq!(line["message"], "ready");
}

#[test]
fn a_reader_who_leaves_early_is_no_panic() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = orrery().args(["config", "check"]).stdout(writer).output().expect("it runs");
    assert_eq!(output.status.code(), Some(141), "as of a program that SIGPIPE ends");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
