//! The lake from outside: the verbs that keep it, what they say and how they end, a backup of a running server and its
//! restore.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::server::{Folder, Server, one_span, orrery, poll};

/// What the command line says and how it ends.
fn lake(args: &[&str]) -> (bool, String) {
    let Output { status, stdout, stderr } = orrery().arg("lake").args(args).output().expect("it runs");
    (status.success(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

fn asked(server: &Server, verb: &str) -> (bool, String) {
    lake(&[verb, "--endpoint", &server.http])
}

/// The number behind a name of the answer.
fn number(said: &str, name: &str) -> u64 {
    let line = said.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}: {said}"));
    line.trim().parse().unwrap_or_else(|_| panic!("{name} is no number: {said}"))
}

/// Sends as many spans, each in a file of its own.
fn send(server: &Server, spans: std::ops::Range<u32>) {
    for n in spans {
        let span = one_span("cart", "add", &format!("{n:032x}"), &format!("{n:016x}"));
        server.export_json("traces", &span);
        server.flush();
    }
}

fn data_files(data: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![data.join("data")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

const COUNT: &str = "select count(distinct span_id) from spans";

#[test]
fn files_are_merged_on_request_and_damage_is_told() {
    let folder = Folder::new();
    let server = Server::start(&folder, &[]);
    send(&server, 1..6);
    let before = data_files(&folder.data()).len();
    let (good, said) = asked(&server, "compact");
    assert!(good, "{said}");
    // Two merges, where the hour has just changed.
    assert!((1..=2).contains(&number(&said, "merges")) && number(&said, "rows") >= 3, "{said}");
    assert_eq!(server.count(COUNT), 5);
    let (_, status) = asked(&server, "status");
    assert!(number(&status, "files") <= 2 && number(&status, "merged_files") >= 3, "{status}");
    assert!(status.contains("compaction         idle"), "{status}");
    let metrics = server.get("/metrics").1;
    assert!(metrics.lines().any(|line| line.starts_with("orrery_compaction_merges_total ") && !line.ends_with(" 0")));

    let (good, said) = asked(&server, "expire");
    assert!(good && number(&said, "deleted_files") == 0, "a query may still read them: {said}");
    assert!(data_files(&folder.data()).len() > before, "the parts stay for now");
    poll("the size of what is to be deleted", || {
        (number(&asked(&server, "status").1, "pending_bytes") > 0).then_some(())
    });

    let (good, said) = asked(&server, "verify");
    assert!(good && number(&said, "rows") == 5 && number(&said, "problems") == 0, "{said}");
    let data = folder.data().display().to_string();
    let (good, said) = lake(&["verify", "--data-dir", &data]);
    assert!(!good && said.contains("in use"), "{said}");
    assert!(server.stop().success());
    let (good, said) = lake(&["verify", "--data-dir", &data]);
    assert!(good && number(&said, "rows") == 5, "{said}");

    let merged = data_files(&folder.data()).into_iter().find(|path| path.to_string_lossy().contains("/merge-"));
    let merged = merged.expect("a merged file");
    let mut bytes = fs::read(&merged).expect("the file");
    bytes[100] ^= 1;
    fs::write(&merged, bytes).expect("written");
    let name = merged.file_name().expect("a name").to_string_lossy().into_owned();
    let (good, said) = lake(&["verify", "--data-dir", &data]);
    assert!(
        !good && said.contains(&name) && said.contains("is damaged: bytes") && number(&said, "problems") == 1,
        "{said}"
    );
    let server = Server::start(&folder, &[]);
    let (good, said) = asked(&server, "verify");
    assert!(!good && said.contains(&name), "{said}");
}

#[test]
fn a_backup_of_a_running_server_is_whole() {
    let (folder, backup) = (Folder::new(), Folder::new());
    let server = Server::start(&folder, &[]);
    send(&server, 1..5);
    let (from, to) = (folder.data(), backup.data());
    fs::create_dir(&to).expect("a new folder");
    let script = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('VACUUM INTO ?', (sys.argv[2],))";
    let copied = Command::new("python3")
        .args(["-c", script])
        .args([from.join("catalog.sqlite"), to.join("catalog.sqlite")])
        .status();
    assert!(copied.expect("Python runs").success());
    // What happens between the two steps is not in the backup and does it no harm.
    send(&server, 5..9);
    assert!(asked(&server, "compact").0 && asked(&server, "expire").0);
    let copied = Command::new("cp").arg("-a").args([from.join("data"), to.join("data")]).status();
    assert!(copied.expect("cp runs").success());
    assert_eq!(server.count(COUNT), 8);

    let (good, said) = lake(&["verify", "--data-dir", &to.display().to_string()]);
    assert!(good && number(&said, "rows") == 4 && number(&said, "orphans") > 0, "{said}");
    let restored = Server::start(&backup, &[]);
    assert_eq!(restored.count(COUNT), 4);
    send(&restored, 100..102);
    assert_eq!(restored.count(COUNT), 6);
    let (good, said) = asked(&restored, "verify");
    assert!(good && number(&said, "rows") == 6 && number(&said, "orphans") == 0, "{said}");
    assert!(restored.stop().success());
    assert_eq!(Server::start(&backup, &[]).count(COUNT), 6);
}

#[test]
fn what_is_to_be_kept_is_checked_when_the_server_starts() {
    let folder = Folder::new();
    let config = folder.write("orrery.toml", "[[retention.tables]]\ntable = \"traces\"\nmax_age = \"7d\"\n");
    let checked = orrery().args(["config", "check", "--config"]).arg(&config).output().expect("it runs");
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(!checked.status.success() && said.contains("orrery.toml:2:9: there is no table \"traces\""), "{said}");
    let config = folder.write("orrery.toml", "[[retention.tables]]\ntable = \"logs\"\nmax_age = \"7d\"\n");
    let checked = orrery().args(["config", "check", "--config"]).arg(&config).output().expect("it runs");
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success() && said.contains("logs: 7d") && said.contains("90% of the disk"), "{said}");
}
