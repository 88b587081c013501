//! A key gets a column by hand: asked of a running server by the command line, in new files and not in old ones, and SQL
//! says the same before, across and after; a restart forgets nothing.

use std::process::Output;

use serde_json::{Value, json};

use crate::server::{Folder, Server, orrery, poll};

fn lake(server: &Server, args: &[&str]) -> Output {
    orrery().arg("lake").args(args).args(["--endpoint", &server.http]).output().expect("the command runs")
}

fn succeeds(server: &Server, args: &[&str]) -> String {
    let Output { status, stdout, stderr } = lake(server, args);
    assert!(status.success(), "{args:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("text")
}

fn fails(server: &Server, args: &[&str]) -> String {
    let Output { status, stderr, .. } = lake(server, args);
    assert!(!status.success(), "{args:?}");
    String::from_utf8(stderr).expect("text")
}

/// A log record of this moment with a key of its own.
fn send(server: &Server, order: &str, size: i64) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_nanos();
    let attributes = json!([
        {"key": "order.id", "value": {"stringValue": order}},
        {"key": "size", "value": {"intValue": size.to_string()}},
        {"key": "mixed", "value": if size % 2 == 0 { json!({"intValue": "1"}) } else { json!({"stringValue": "x"}) }},
    ]);
    let record = json!({"timeUnixNano": now.to_string(), "body": {"stringValue": "paid"}, "attributes": attributes});
    let logs = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]});
    server.export_json("logs", &logs);
}

fn found(server: &Server) -> Vec<Vec<Value>> {
    server.sql(
        "select attributes['order.id'], attributes['size'], attributes['mixed'], other_attribute_types['size'] from logs
         where attributes['size'] >= 1 order by attributes['order.id']",
    )
}

#[test]
fn a_key_gets_a_column_and_answers_as_before() {
    let folder = Folder::new();
    let server = Server::start(&folder, &["--set", "storage.flush_age=1h"]);
    let missing = fails(&server, &["promote", "order.id", "--table", "logs"]);
    assert!(
        missing.contains("no record of logs of the last day has \"order.id\"; say --scope and --type"),
        "{missing}"
    );
    send(&server, "o-1", 1);
    send(&server, "o-2", 2);
    server.flush();
    let said = succeeds(&server, &["promote", "order.id", "--table", "logs"]);
    assert_eq!(said, "logs has column attributes.order.id from the next files on\n");
    succeeds(&server, &["promote", "size", "--table", "logs"]);
    let mixed = fails(&server, &["promote", "mixed", "--table", "logs"]);
    assert!(mixed.contains("are of types int, string; say --type"), "{mixed}");
    succeeds(&server, &["promote", "mixed", "--table", "logs", "--type", "int"]);
    for (args, message) in [
        (
            &["promote", "Order.Id", "--table", "logs", "--scope", "item", "--type", "string"][..],
            "compared without case",
        ),
        (&["promote", "order.id", "--table", "logs", "--scope", "item", "--type", "int"], "a column keeps its type"),
        (&["promote", "http.route", "--scope", "item", "--type", "string"], "from the start"),
        (&["demote", "nobody.sent"], "has not learned \"nobody.sent\""),
    ] {
        let error = fails(&server, args);
        assert!(error.contains(message), "{error}");
    }
    let row = |n: i64| {
        let mixed = if n % 2 == 0 { "1" } else { "x" };
        vec![json!(format!("o-{n}")), json!(n.to_string()), json!(mixed), json!("int")]
    };
    assert_eq!(found(&server), [row(1), row(2)], "before");
    send(&server, "o-3", 3);
    send(&server, "o-4", 4);
    server.flush();
    send(&server, "o-5", 5);
    let all = [row(1), row(2), row(3), row(4), row(5)];
    assert_eq!(found(&server), all, "two files and memory");
    let listed = succeeds(&server, &["columns"]);
    assert!(listed.contains("logs     string  in use           1 files  attributes.order.id"), "{listed}");

    let answer = server.get_json("/api/v1/attributes?signal=logs&key=size");
    let size = &answer["attributes"][0];
    assert_eq!((&size["place"], &size["types"], &size["count"]), (&json!("learned"), &json!(["int"]), &json!(5)));
    assert_eq!(
        (&size["cardinality"], &size["cardinality_exact"], &size["bytes"]),
        (&json!(5), &json!(true), &json!(5))
    );
    assert!(server.stop().success());

    let server = Server::start(&folder, &["--set", "storage.flush_age=1h"]);
    assert_eq!(found(&server), all, "after a restart");
    succeeds(&server, &["demote", "order.id", "--table", "logs"]);
    send(&server, "o-6", 6);
    server.flush();
    assert_eq!(found(&server), [&all[..], &[row(6)]].concat(), "and out of use again");
    let listed = succeeds(&server, &["columns"]);
    assert!(listed.contains("logs     string  out of use       2 files  attributes.order.id"), "{listed}");
}

#[test]
fn a_dense_key_gets_a_column_by_itself_unless_that_is_switched_off() {
    let folder = Folder::new();
    let settings = ["--set", "storage.learn_every=100ms", "--set", "storage.learn_rows=10"];
    let server = Server::start(&folder, &[&settings[..], &["--set", "storage.learn_keys=false"]].concat());
    for n in 1..=10 {
        send(&server, &format!("o-{n:02}"), n);
    }
    server.flush();
    let before = found(&server);
    assert_eq!(before.len(), 10);
    assert_eq!(succeeds(&server, &["columns"]), "");
    assert!(server.stop().success());

    let server = Server::start(&folder, &settings);
    let listed = poll("columns are learned", || {
        let listed = succeeds(&server, &["columns"]);
        (listed.lines().count() == 3).then_some(listed)
    });
    for column in ["attributes.order.id", "attributes.size", "attributes.mixed"] {
        assert!(listed.contains(column), "{listed}");
    }
    send(&server, "o-11", 11);
    server.flush();
    let after = found(&server);
    assert_eq!((&after[..10], after.len()), (&before[..], 11));
    let metrics = server.get("/metrics").1;
    assert!(metrics.contains("orrery_store_learned_keys_total 3"), "{metrics}");
}
