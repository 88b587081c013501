//! A real Alertmanager between our notifier and a webhook: what fires and what ends reaches the webhook, and our own
//! webhook says the same of it, word for word. Needs the binary (`ALERTMANAGER`, or on the PATH), and says aloud where it
//! is not there.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use orrery_model::{Clock, SystemClock};
use serde_json::Value;

use super::super::config::{ChannelConfig, GroupBy, Grouping, NotifierConfig};
use super::super::{Alert, Notifiers, Notify, State};
use super::http::{to, webhook};
use super::sink::{Sink, poll};
use super::{MemoryState, SECOND, alert};

const NAMES: [&str; 2] = ["prometheus-alertmanager", "alertmanager"];

fn binary() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("ALERTMANAGER") {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    NAMES.iter().flat_map(|name| dirs.iter().map(move |dir| dir.join(name))).find(|file| file.is_file())
}

/// Killed when dropped.
struct Alertmanager {
    child: Child,
    url: String,
    dir: tempfile::TempDir,
}

impl Alertmanager {
    /// Runs the example's configuration, with a webhook of ours and shorter times.
    fn start(binary: &Path, webhook: &str) -> Self {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/examples/alertmanager/alertmanager.yml");
        let mut config =
            std::fs::read_to_string(&example).unwrap_or_else(|error| panic!("{}: {error}", example.display()));
        for (from, to) in [
            ("http://127.0.0.1:9099/alerts", webhook),
            ("group_wait: 30s", "group_wait: 1s"),
            ("group_interval: 5m", "group_interval: 1s"),
        ] {
            assert!(config.contains(from), "the example has {from:?}");
            config = config.replace(from, to);
        }
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("alertmanager.yml"), config).expect("written");
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
        let log = std::fs::File::create(dir.path().join("log")).expect("a log file");
        let child = Command::new(binary)
            .arg(format!("--config.file={}", dir.path().join("alertmanager.yml").display()))
            .arg(format!("--storage.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("Alertmanager starts");
        Self { child, url: format!("http://127.0.0.1:{port}"), dir }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// What both say alike; names, fingerprints and the program's own address are each one's own.
fn assert_alike(theirs: &Value, ours: &Value) {
    assert_eq!(keys(theirs), keys(ours));
    for key in ["status", "groupLabels", "commonLabels", "commonAnnotations", "version", "groupKey", "truncatedAlerts"]
    {
        assert_eq!(theirs[key], ours[key], "{key}");
    }
    let (theirs, ours) = (&theirs["alerts"][0], &ours["alerts"][0]);
    assert_eq!(keys(theirs), keys(ours));
    for key in ["status", "labels", "annotations", "startsAt", "endsAt", "generatorURL"] {
        assert_eq!(theirs[key], ours[key], "{key}");
    }
    assert_eq!(theirs["fingerprint"].as_str().map(str::len), Some(16));
}

#[tokio::test]
async fn a_real_alertmanager_takes_what_fires_and_what_ends_and_speaks_as_we_do() {
    let Some(binary) = binary() else {
        eprintln!(
            "SKIPPED: no Alertmanager ({}) on the PATH; Debian has it: prometheus-alertmanager",
            NAMES.join(", ")
        );
        return;
    };
    let (through_it, direct) = (Sink::start().await, Sink::start().await);
    let alertmanager = Alertmanager::start(&binary, &through_it.url("/alerts"));
    let grouping = Grouping {
        by: GroupBy::Labels(vec!["alertname".to_owned(), "service_name".to_owned()]),
        wait: Duration::from_secs(1),
        interval: Duration::from_secs(1),
        ..Grouping::default()
    };
    let configs = [
        NotifierConfig {
            name: "alertmanager".to_owned(),
            channel: ChannelConfig::Alertmanager(to(alertmanager.url.clone())),
            grouping: grouping.clone(),
        },
        NotifierConfig { name: "team".to_owned(), channel: webhook(to(direct.url("/alerts"))), grouping },
    ];
    let notifiers =
        Notifiers::start(&configs, "http://orrery.example.com", Arc::<MemoryState>::default(), Arc::new(SystemClock))
            .await
            .expect("started");
    let now_ns = SystemClock.now_ns();
    let firing = Alert {
        // Alertmanager keeps milliseconds.
        starts_at_ns: now_ns - now_ns % 1_000_000,
        ends_at_ns: now_ns + 240 * SECOND,
        ..alert(&[("alertname", "High \"error\" ratio"), ("service_name", "cart\\1"), ("severity", "page")])
    };
    notifiers.take(vec![firing.clone()]);
    // It may not listen yet: the first attempts may fail, and are made again.
    let theirs = through_it.wait_for(1).await[0].json();
    let ours = direct.wait_for(1).await[0].json();
    assert_eq!(theirs["status"], "firing", "{}", alertmanager.log());
    assert_alike(&theirs, &ours);
    assert_eq!(theirs["alerts"][0]["endsAt"], "0001-01-01T00:00:00Z");

    let ended_ns = SystemClock.now_ns();
    let ended_ns = ended_ns - ended_ns % 1_000_000;
    notifiers.take(vec![Alert { state: State::Resolved, ends_at_ns: ended_ns, ..firing }]);
    let resolved =
        |sink: &Sink| sink.asked().iter().map(|asked| asked.json()).find(|said| said["status"] == "resolved");
    let theirs = poll("the end through Alertmanager", || resolved(&through_it)).await;
    let ours = poll("the end", || resolved(&direct)).await;
    assert_alike(&theirs, &ours);
    // What was received is counted once its answer has come.
    let counted = || {
        let status = notifiers.status();
        status.iter().all(|status| status.sent >= 2 && status.failing_since.is_none()).then_some(())
    };
    poll("both to have sent both", counted).await;
    notifiers.stop().await;
}
