//! Every kind of bad rule file, with the message and the place that it gets; and that good ones are good.

use std::sync::Arc;

use orrery_alert::memory::MemoryLake;
use orrery_alert::rules::{self, Fault};
use orrery_model::{Identity, SystemClock};
use orrery_query::{Engine, QueryConfig};

fn engine(folder: &std::path::Path) -> Arc<Engine> {
    let config = QueryConfig { temp_dir: folder.join("spill"), threads: 1, ..QueryConfig::default() };
    Engine::new(Arc::new(MemoryLake::default()), config, Arc::new(SystemClock)).expect("an engine")
}

async fn check(engine: &Engine, text: &str) -> Result<usize, Vec<Fault>> {
    let file = rules::file::parse(text)?;
    let session = engine.session(&Identity::default()).await.expect("a session");
    match rules::check::check_file(&session, &file).await {
        Ok(groups) => Ok(groups.iter().map(Vec::len).sum()),
        Err(Ok(faults)) => Err(faults),
        Err(Err(error)) => panic!("{error}"),
    }
}

/// A file with one rule; `more` are further lines of it.
fn rule(sql: &str, more: &str) -> String {
    format!("groups:\n  - name: g\n    rules:\n      - alert: A\n        sql: {sql}\n{more}")
}

#[tokio::test]
async fn good_files_are_good() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = engine(folder.path());
    let whole = r#"
# All that there is.
groups:
  - name: services
    interval: 30s
    query_offset: 1m
    limit: 100
    labels: {team: shop}
    rules:
      - alert: ErrorRatio
        sql: |
          SELECT service_name, service_namespace,
                 avg(CASE WHEN status_code = 'ERROR' THEN 1.0 ELSE 0.0 END) AS value,
                 max(trace_id) AS trace_id
          FROM spans
          WHERE timestamp >= $start AND timestamp < $end AND kind = 'SERVER'
          GROUP BY service_name, service_namespace
          HAVING avg(CASE WHEN status_code = 'ERROR' THEN 1.0 ELSE 0.0 END) > 0.05
        window: 10m
        for: 2m
        keep_firing_for: 5m
        labels:
          severity: page
        annotations:
          summary: "{{ $labels.service_name }} fails {{ $value | humanizePercentage }}"
      - alert: Yesterday
        sql: >-
          SELECT service_name, count(*) AS value FROM spans
          WHERE timestamp BETWEEN $start - INTERVAL '1 day' AND $end - INTERVAL '1 day'
          GROUP BY 1
  - name: empty
    rules: []
"#;
    for (text, rules) in [
        ("", 0),
        ("groups: []\n", 0),
        ("groups:\n  - name: g\n", 0),
        (whole, 2),
        (&rule("SELECT 1 AS value", ""), 1),
        (&rule("SELECT attributes['http.route'] AS route, count(*) AS value FROM logs GROUP BY 1", ""), 1),
        (&rule("SELECT alert, count(*) AS value FROM alerts WHERE timestamp > $start GROUP BY alert", ""), 1),
    ] {
        assert_eq!(check(&engine, text).await, Ok(rules), "{text}");
    }
}

#[tokio::test]
async fn bad_files_say_where_and_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = engine(folder.path());
    let good = "SELECT 1 AS value";
    let cases: Vec<(String, u64, u64, &str)> = vec![
        // YAML.
        ("groups:\n  - name: g\n   rules: []\n".into(), 3, 4, "not YAML"),
        ("groups: [\n".into(), 2, 1, "not YAML"),
        ("- name: g\n".into(), 1, 1, "a rule file is a mapping, not a list"),
        ("groups: 5\n".into(), 1, 9, "groups is a list, not a scalar"),
        ("groups:\n  - g\n".into(), 2, 5, "a group is a mapping, not a scalar"),
        ("groups: []\ngroups: []\n".into(), 2, 1, "groups is there twice, first in line 1"),
        // Keys.
        ("group: []\n".into(), 1, 1, "a rule file has no field group; did you mean groups?"),
        (
            "groups:\n  - name: g\n    intervall: 1m\n".into(),
            3,
            5,
            "a group has no field intervall; did you mean interval?",
        ),
        (rule(good, "        lables: {}\n"), 6, 9, "a rule has no field lables; did you mean labels?"),
        (rule(good, "        severity: page\n"), 6, 9, "a rule has no field severity; its fields are alert, sql,"),
        // What is missing.
        ("groups:\n  - rules: []\n".into(), 2, 5, "a group needs name"),
        ("groups:\n  - name: ''\n".into(), 2, 11, "name is empty"),
        ("groups:\n  - name: g\n    rules:\n      - sql: SELECT 1 AS value\n".into(), 4, 9, "a rule needs alert"),
        ("groups:\n  - name: g\n    rules:\n      - alert: A\n".into(), 4, 9, "a rule needs sql"),
        ("groups:\n  - name: g\n    rules:\n      - alert: A\n        sql:\n".into(), 5, 9, "a rule needs sql"),
        // What is not there yet.
        (
            "groups:\n  - name: g\n    rules:\n      - alert: A\n        expr: up == 0\n".into(),
            5,
            9,
            "PromQL is not there yet: write the condition in the place of expr as sql",
        ),
        (
            "groups:\n  - name: g\n    rules:\n      - record: job:up\n        expr: sum(up)\n".into(),
            4,
            9,
            "recording rules are not there yet",
        ),
        // Durations and numbers.
        (rule(good, "        for: 5 minutes\n"), 6, 14, "for: \"5 minutes\" is no duration"),
        (rule(good, "        keep_firing_for: -1m\n"), 6, 26, "keep_firing_for: \"-1m\" is no duration"),
        (rule(good, "        window: 0s\n"), 6, 9, "window: there are no rows in no time"),
        (rule(good, "        for: [5m]\n"), 6, 14, "for is a text, not a list"),
        (
            "groups:\n  - name: g\n    interval: 100ms\n".into(),
            3,
            5,
            "interval: a group is evaluated at most once a second",
        ),
        ("groups:\n  - name: g\n    limit: many\n".into(), 3, 12, "limit: \"many\" is no whole number from 0"),
        ("groups:\n  - name: g\n    query_offset: 1x\n".into(), 3, 19, "query_offset: \"1x\" is no duration"),
        // Names.
        ("groups:\n  - name: g\n  - name: h\n  - name: g\n".into(), 4, 5, "the file has another group g"),
        (
            rule(good, "      - alert: A\n        sql: SELECT 2 AS value\n"),
            6,
            9,
            "the group has another rule A with the same labels",
        ),
        (rule(good, "        labels:\n          a-b: x\n"), 7, 11, "\"a-b\" is no name of a label"),
        (rule(good, "        labels: {alertname: x}\n"), 6, 18, "the label alertname is the rule's own name"),
        (rule(good, "        labels: {__name__: x}\n"), 6, 18, "\"__name__\" is no name of a label"),
        (rule(good, "        annotations: {9lives: x}\n"), 6, 23, "\"9lives\" is no name of a annotation"),
        (rule(good, "        labels: [severity]\n"), 6, 17, "labels is a mapping, not a list"),
        // Templates.
        (
            rule(good, "        annotations:\n          summary: 'at {{ $value'\n"),
            7,
            20,
            "annotation summary: unclosed action",
        ),
        (
            rule(good, "        labels: {severity: '{{ $nobody }}'}\n"),
            6,
            28,
            "label severity: undefined variable \"$nobody\"",
        ),
        (
            rule(good, "        annotations: {summary: '{{ humanise $value }}'}\n"),
            6,
            32,
            "annotation summary: function \"humanise\" not defined",
        ),
        // SQL.
        (rule("SELEC 1 AS value", ""), 5, 14, "sql of A: Expected"),
        (rule("SELECT 1 AS value FROM spans WHERE (", ""), 5, 50, "sql of A: Expected"),
        (rule("|\n          SELECT 1 AS value\n          FROM spans WHERE (\n", ""), 7, 29, "sql of A: Expected"),
        (rule("|\n          SELECT 1 AS value\n          FRM spans", ""), 7, 11, "sql of A: Expected"),
        (
            rule("|\n          SELECT\n            nobody AS value\n          FROM spans", ""),
            7,
            13,
            "sql of A: No field named nobody",
        ),
        (rule("SELECT 1 AS value; SELECT 2 AS value", ""), 5, 14, "sql of A: more than one statement"),
        (rule("SELECT value FROM spams", ""), 5, 32, "sql of A: table 'orrery.main.spams' not found (the tables are"),
        (rule("\"SELECT nobody AS value FROM spans\"", ""), 5, 22, "sql of A: No field named nobody"),
        (rule("DROP TABLE spans", ""), 5, 14, "sql of A: DROP TABLE spans is refused: only queries run here"),
        (
            rule("SELECT 1 AS value WHERE now() > $begin", ""),
            5,
            14,
            "there is no parameter $begin; there is $start and $end",
        ),
        (rule("SELECT service_name FROM spans", ""), 5, 14, "sql of A: it gives no column value"),
        (rule("SELECT service_name AS value FROM spans", ""), 5, 14, "sql of A: value is VARCHAR, not a number"),
        (
            rule("SELECT duration_ns, 1 AS value FROM spans", ""),
            5,
            14,
            "the column duration_ns is BIGINT: columns are value, trace_id and texts, which are labels",
        ),
        (
            rule("SELECT attributes['http.route'], 1 AS value FROM spans", ""),
            5,
            14,
            "the column attributes['http.route'] has no name for a label",
        ),
        (rule("SELECT 'x' AS alertname, 1 AS value", ""), 5, 14, "the label alertname is the rule's own name"),
        (rule("SELECT 1 AS value, 2 AS trace_id", ""), 5, 14, "trace_id is BIGINT, neither text nor a list of it"),
    ];
    let mut wrong = Vec::new();
    for (text, line, column, message) in cases {
        let faults = check(&engine, &text).await.expect_err(&text);
        let fault = &faults[0];
        let placed = fault.at.line == line && (column == 0 || fault.at.column == column);
        if !placed || !fault.message.contains(message) {
            wrong.push(format!("{text}\n  got {fault}\n  not {line}:{column}: {message}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_rule_of_a_file_gets_its_first_fault() {
    let text = "groups:\n  - name: g\n    rules:\n      - alert: A\n        sql: SELECT 1 AS value\n        for: x\n      \
                - alert: B\n        sql: SELECT 1 AS value\n      - alert: C\n        lables: {}\n  - name: h\n    limit: x\n";
    let folder = tempfile::tempdir().expect("a folder");
    let faults = check(&engine(folder.path()), text).await.expect_err("it is bad");
    let lines: Vec<u64> = faults.iter().map(|fault| fault.at.line).collect();
    assert_eq!(lines, [6, 10, 12]);
}

#[tokio::test]
async fn a_file_is_bounded() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = engine(folder.path());
    let large = format!("groups: []\n# {}\n", "x".repeat(rules::file::MAX_FILE_BYTES));
    assert!(check(&engine, &large).await.expect_err("too large")[0].message.contains("larger than"));
    let many = (0..=rules::file::MAX_RULES).map(|i| format!("      - {{alert: A{i}, sql: SELECT 1 AS value}}\n"));
    let many = format!("groups:\n  - name: g\n    rules:\n{}", many.collect::<String>());
    assert!(check(&engine, &many).await.expect_err("too many")[0].message.contains("a file has at most"));
}
