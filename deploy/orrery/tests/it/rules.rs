//! `orrery rules`, and rules in a running server: alerts come, are told in SQL and over HTTP, and outlive a kill.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server::{Folder, PATIENCE, Server, orrery};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/rules")
}

fn rules(args: &[&str]) -> Output {
    orrery().arg("rules").args(args).output().expect("the binary starts")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_starter_rules_are_good_and_their_tests_pass() {
    let path = |name: &str| examples().join(name).display().to_string();
    let checked = rules(&["check", &path("starter.yaml")]);
    assert!(checked.status.success() && said(&checked).contains("good, 5 groups, 7 rules"), "{}", said(&checked));
    let tested = rules(&["test", &path("starter_test.yaml"), &path("starter_day_test.yaml")]);
    assert!(tested.status.success(), "{}", said(&tested));
    assert_eq!(said(&tested).matches("  ok: ").count(), 9, "{}", said(&tested));
}

#[test]
fn a_bad_file_and_a_failing_test_say_where() {
    let folder = Folder::new();
    let bad = folder.write("bad.yaml", "groups:\n  - name: g\n    rules:\n      - alert: A\n        expr: up == 0\n");
    let checked = rules(&["check", &bad.display().to_string()]);
    assert!(!checked.status.success());
    let expected = format!("{}:5:9: PromQL is not there yet", bad.display());
    assert!(said(&checked).contains(&expected), "{}", said(&checked));
    folder.write("good.yaml", "groups: [{name: g, rules: [{alert: A, sql: SELECT count(*) AS value FROM logs}]}]\n");
    let test = folder.write(
        "test.yaml",
        "rule_files: [good.yaml]\ntests:\n  - name: wrong\n    alert_rule_test:\n      - {eval_time: 1m, alertname: A}\n",
    );
    let tested = rules(&["test", &test.display().to_string()]);
    assert!(!tested.status.success());
    assert!(
        said(&tested).contains("FAILED: wrong") && said(&tested).contains("expected: nothing"),
        "{}",
        said(&tested)
    );
}

/// A configuration and a rule over logs whose alert names the service.
fn configured(folder: &Folder) -> PathBuf {
    std::fs::create_dir_all(folder.path("rules")).expect("a folder");
    folder.write("rules/logs.yaml", &rule("bursts"));
    folder.write("orrery.toml", "rules = [\"rules/*.yaml\"]\n")
}

fn rule(group: &str) -> String {
    format!(
        "groups:\n  - name: {group}\n    interval: 1s\n    rules:\n      - alert: Errors\n        sql: |\n          \
         SELECT service_name, count(*) AS value, max(trace_id) AS trace_id FROM logs\n          \
         WHERE timestamp >= $start AND timestamp < $end AND severity_number >= 17 GROUP BY 1\n        \
         window: 1h\n        labels: {{severity: page}}\n        annotations: {{summary: '{{{{ $labels.service_name }}}} logs {{{{ $value }}}}'}}\n"
    )
}

fn send_error(server: &Server) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_nanos();
    let record = json!({"timeUnixNano": now.to_string(), "severityNumber": 17, "body": {"stringValue": "no"},
                        "traceId": "0af7651916cd43dd8448eb211c80319c"});
    let resource = json!({"attributes": [{"key": "service.name", "value": {"stringValue": "cart"}}]});
    server.export_json(
        "logs",
        &json!({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [record]}]}]}),
    );
}

/// The alerts, once they are as asked.
fn alerts_once(server: &Server, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let alerts = server.get_json("/api/v1/alerts");
        if condition(&alerts) {
            return alerts;
        }
        assert!(Instant::now() < deadline, "{what} did not happen: {alerts:#}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn fires(alerts: &Value) -> bool {
    alerts["alerts"].as_array().is_some_and(|all| all.iter().any(|alert| alert["state"] == "firing"))
}

#[test]
fn an_alert_fires_is_told_and_outlives_a_kill() {
    let folder = Folder::new();
    let config = configured(&folder).display().to_string();
    let server = Server::start(&folder, &["--config", &config]);
    send_error(&server);
    let alerts = alerts_once(&server, "firing", fires);
    let alert = &alerts["alerts"][0];
    assert_eq!(alert["labels"], json!({"alertname": "Errors", "service_name": "cart", "severity": "page"}));
    assert_eq!((&alert["annotations"]["summary"], &alert["service"]), (&json!("cart logs 1"), &json!("cart")));
    assert_eq!(alert["trace_ids"], json!(["0af7651916cd43dd8448eb211c80319c"]));
    assert_eq!(alerts["files"], json!([{"path": "rules/logs.yaml", "error": null}]));
    let history = "SELECT alert, previous_state, state, labels['service_name'], trace_ids[1] FROM alerts";
    let expected = json!(["Errors", "inactive", "firing", "cart", "0af7651916cd43dd8448eb211c80319c"]);
    let deadline = Instant::now() + PATIENCE;
    while server.sql(history).is_empty() {
        assert!(Instant::now() < deadline, "the history is empty");
    }
    assert_eq!(json!(server.sql(history)), json!([expected]));
    assert!(server.get("/metrics").1.contains("orrery_alerts{state=\"firing\"} 1"));
    let since = alert["active_since"].clone();

    // Dropped, so killed.
    drop(server);
    let server = Server::start(&folder, &["--config", &config]);
    let alerts = alerts_once(&server, "an evaluation after the kill", |alerts| {
        fires(alerts) && alerts["groups"][0]["last_evaluation"].is_string()
    });
    assert_eq!(alerts["alerts"][0]["active_since"], since);
    assert_eq!(json!(server.sql(history)), json!([expected]), "the history has it once");
}

#[test]
fn files_are_taken_up_while_the_server_runs() {
    let folder = Folder::new();
    let config = configured(&folder).display().to_string();
    let server = Server::start(&folder, &["--config", &config]);
    send_error(&server);
    alerts_once(&server, "firing", fires);
    // A bad version is refused, and the rules of before go on.
    folder.write("rules/logs.yaml", "groups:\n  - nmae: bursts\n");
    server.signal("HUP");
    let alerts = alerts_once(&server, "the refusal", |alerts| alerts["files"][0]["error"].is_object());
    assert_eq!(alerts["files"][0]["error"]["line"], 2);
    assert!(fires(&alerts), "{alerts:#}");
    // Another group is another rule: the old alert resolves, the new one fires.
    folder.write("rules/logs.yaml", &rule("renamed"));
    server.signal("HUP");
    alerts_once(&server, "the new group's alert", |alerts| {
        fires(alerts) && alerts["alerts"][0]["group"] == "renamed" && alerts["files"][0]["error"].is_null()
    });
    let resolved = "SELECT count(*) FROM alerts WHERE rule_group = 'bursts' AND state = 'resolved'";
    let deadline = Instant::now() + PATIENCE;
    while server.count(resolved) == 0 {
        assert!(Instant::now() < deadline, "the old alert never resolved");
    }
}
