//! Data folders that older versions left: `fixtures/format-<version>`, made by a server of that version that was killed, with
//! rows in files and rows in the log only. SQLite's file is packed by zstd. This server reads all of it, once, and goes on.

use std::fs;
use std::path::Path;

use crate::server::{Folder, Server, one_span, orrery};

/// What each fixture holds, by SQL.
const HOLDS: [(&str, &str); 5] = [
    ("select count(*) || ' ' || count(distinct span_id) || ' ' || count(distinct trace_id) from spans", "20 20 5"),
    ("select count(*) || ' ' || min(body) || ' ' || max(body) from logs", "5 order 1 paid order 5 paid"),
    ("select count(*) || ' ' || sum(value_int) from metrics", "5 15"),
    ("select count(*) from spans where attributes['user.id'] = 'u4'", "4"),
    ("select count(*) from logs where has_word(body, 'paid')", "5"),
];

fn unpack(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name");
        if path.is_dir() {
            unpack(&path, &to.join(name));
        } else if path.extension().is_some_and(|end| end == "zst") {
            let packed = fs::read(&path).expect("the file");
            let bytes = zstd::decode_all(packed.as_slice()).expect("zstd");
            fs::write(to.join(path.file_stem().expect("a name")), bytes).expect("written");
        } else {
            fs::copy(&path, to.join(name)).expect("copied");
        }
    }
}

fn check(server: &Server, when: &str) {
    for (query, expected) in HOLDS {
        let body = serde_json::json!({"query": query, "format": "csv"}).to_string();
        let (status, answer) = server.post(&format!("{}/api/v1/sql", server.http), "application/json", body.as_bytes());
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert_eq!((status, answer.lines().nth(1)), (200, Some(expected)), "{when}: {query}: {answer}");
    }
}

#[test]
fn folders_of_older_versions_are_read_and_written_on() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut versions = 0;
    for fixture in fs::read_dir(fixtures).expect("the fixtures") {
        let fixture = fixture.expect("an entry").path();
        let folder = Folder::new();
        unpack(&fixture, &folder.data());
        let named = |when: &str| format!("{}, {when}", fixture.display());
        let server = Server::start(&folder, &["--set", "storage.flush_age=1h"]);
        let status = server.get_json("/api/v1/lake/status");
        assert_eq!((&status["file_rows"], &status["memory_rows"]), (&18.into(), &12.into()), "{}", named("status"));
        check(&server, &named("opened"));
        server.flush();
        let lake = |verb: &str| orrery().args(["lake", verb, "--endpoint", &server.http]).output().expect("it runs");
        let merged = lake("compact");
        assert!(merged.status.success(), "{}", String::from_utf8_lossy(&merged.stdout));
        // Files of both versions, three tables.
        assert_eq!(server.get_json("/api/v1/lake/status")["files"], 3, "{}", named("merged"));
        check(&server, &named("merged"));
        let verified = lake("verify");
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
        server.export_json("traces", &one_span("cart", "add", &"a".repeat(32), &"1".repeat(16)));
        assert!(server.stop().success(), "{}", folder.log());
        let server = Server::start(&folder, &[]);
        assert_eq!(server.count("select count(*) from spans"), 21, "{}", named("started again"));
        versions += 1;
    }
    assert!(versions > 0);
}
