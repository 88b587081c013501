//! Notifiers as the binary has them: checked, counted, and without a word of their secrets.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::server::{Folder, Server, orrery};

const SECRETS: [&str; 3] = ["s3cr3t", "czNjcjN0", "hunter2"];

fn private(path: &Path) -> &str {
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).expect("set");
    path.to_str().expect("text")
}

fn assert_shows_no_secret(text: &str) {
    assert!(SECRETS.iter().all(|secret| !text.contains(secret)), "{text}");
}

/// What `config check` says and whether it is content.
fn check(folder: &Folder, text: &str) -> (bool, String) {
    let file = folder.write("orrery.toml", text);
    let output = orrery()
        .args(["config", "check", "--config", private(&file)])
        .env("HOOK_URL", "http://127.0.0.1:1/s3cr3t-hook")
        .output()
        .expect("the binary starts");
    (
        output.status.success(),
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)),
    )
}

#[test]
fn a_check_names_what_is_wrong_and_shows_no_secret() {
    let folder = Folder::new();
    let hook = |keys: &str| format!("[[notifiers]]\nname = \"team\"\nkind = \"webhook\"\n{keys}\n");
    let cases = [
        ("url = \"https://example.com/s3cr3t-hook\"", true, "notifier       team (webhook)"),
        ("url_env = \"HOOK_URL\"\nallow_private = true", true, "team (webhook)"),
        ("url_env = \"HOOK_URL\"", false, "127.0.0.1 is not an address of the public Internet"),
        ("url_env = \"NO_SUCH\"", false, "the environment variable NO_SUCH is not set"),
        ("url_file = \"/nonexistent/url\"", false, "/nonexistent/url"),
        ("url = \"s3cr3t-hook\"", false, "cannot be read"),
        ("url = \"https://me:hunter2@example.com/\"", false, "the url holds a user or password"),
        ("url = \"https://example.com/s3cr3t\"\npasswort = \"hunter2\"", false, "unknown key `passwort`"),
        ("url = \"https://example.com/s3cr3t\"\ntoken = [\"hunter2\"]", false, "orrery.toml:5:9"),
        ("url = \"https://example.com/s3cr3t\"\ntoken = \"hunter2", false, "orrery.toml:5"),
        ("url = \"https://example.com/s3cr3t\"\nca_file = \"/nonexistent/ca\"", false, "ca_file /nonexistent/ca"),
    ];
    for (keys, good, part) in cases {
        let (succeeded, said) = check(&folder, &hook(keys));
        assert!(succeeded == good && said.contains(part), "{keys}: {said}");
        assert_shows_no_secret(&said);
    }
    let file = folder.write("orrery.toml", &hook("url = \"https://example.com/s3cr3t-hook\""));
    std::fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("set");
    let refused = Server::try_start(&folder, &mut orrery(), &["--config", file.to_str().expect("text")]);
    let refused = refused.err().expect("others may read the file");
    assert!(refused.contains("others may read it (mode 644)"), "{refused}");
    assert_shows_no_secret(&refused);
}

#[test]
fn the_example_beside_alertmanagers_is_good_and_each_notifier_is_counted() {
    let folder = Folder::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/alertmanager/orrery.toml");
    let server = Server::start(&folder, &["--config", example.to_str().expect("text")]);
    let (status, metrics) = server.get("/metrics");
    assert_eq!(status, 200);
    let sample = "orrery_notifier_sent_total{notifier=\"alertmanager\",kind=\"alertmanager\"} 0";
    assert!(metrics.contains(sample), "{metrics}");
    assert!(metrics.contains("# TYPE orrery_notifier_queued gauge"), "{metrics}");
}
