//! From spans to people: a rule over what is sent in fires, its alert reaches a webhook that fails at first over a
//! `kill -9`, and a real Alertmanager (`ALERTMANAGER`, or on the PATH) and its webhook; then it ends, and both are told.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::server::{Folder, Server, one_span, poll};

const RULES: &str = r#"
groups:
  - name: shop
    interval: 1s
    rules:
      - alert: Errors
        sql: >-
          SELECT service_name, count(*) AS value FROM spans
          WHERE timestamp >= $start AND timestamp <= $end AND status_code = 'ERROR' GROUP BY service_name
        window: 20s
        labels: {severity: page}
        annotations: {summary: "{{ $labels.service_name }} fails"}
"#;

/// A webhook's receiver that writes down what it is told and answers with a status that can be changed.
struct Sink {
    url: String,
    told: Arc<Mutex<Vec<Value>>>,
    status: Arc<AtomicU16>,
}

impl Sink {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/s3cr3t-hook-part", listener.local_addr().expect("an address"));
        let sink = Self { url, told: Arc::default(), status: Arc::new(AtomicU16::new(200)) };
        let (told, status) = (Arc::clone(&sink.told), Arc::clone(&sink.status));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // Who hangs up is heard of no more.
                let _ = hear(stream, &told, status.load(SeqCst));
            }
        });
        sink
    }

    fn told(&self) -> Vec<Value> {
        self.told.lock().expect("nobody panics with it").clone()
    }

    fn wait_for(&self, status: &str) -> Value {
        poll(status, || self.told().into_iter().find(|told| told["status"] == status))
    }
}

fn hear(mut stream: TcpStream, told: &Mutex<Vec<Value>>, status: u16) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    told.lock().expect("nobody panics with it").push(serde_json::from_slice(&body).expect("JSON"));
    write!(stream, "HTTP/1.1 {status} Status\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}

/// Killed when dropped.
struct Alertmanager {
    child: Child,
    url: String,
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A real one on the example's configuration with shorter times; `None`, and a word about it, where there is no binary.
fn alertmanager(folder: &Folder, webhook: &str) -> Option<Alertmanager> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["prometheus-alertmanager", "alertmanager"];
    let on_path =
        || std::env::split_paths(&path).flat_map(|dir| names.map(|name| dir.join(name))).find(|f| f.is_file());
    let Some(binary) = std::env::var_os("ALERTMANAGER").map(PathBuf::from).or_else(on_path) else {
        eprintln!("SKIPPED: the way through Alertmanager: none on the PATH; Debian has prometheus-alertmanager");
        return None;
    };
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/alertmanager/alertmanager.yml");
    let mut config = std::fs::read_to_string(example).expect("the example");
    let shorter =
        [("http://127.0.0.1:9099/alerts", webhook), ("wait: 30s", "wait: 1s"), ("interval: 5m", "interval: 1s")];
    for (from, to) in shorter {
        assert!(config.contains(from), "{from}");
        config = config.replace(from, to);
    }
    let config = folder.write("alertmanager.yml", &config);
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let child = Command::new(binary)
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.path={}", folder.path("alertmanager").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--cluster.listen-address=")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("Alertmanager starts");
    Some(Alertmanager { child, url: format!("http://127.0.0.1:{port}") })
}

fn failed_span() -> Value {
    let mut request = one_span("cart", "add", &"a".repeat(32), &"1".repeat(16));
    request["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["status"] = json!({"code": 2});
    request
}

#[test]
fn what_is_sent_in_is_told_to_people_and_so_is_its_end() {
    let (folder, direct, through) = (Folder::new(), Sink::start(), Sink::start());
    let alertmanager = alertmanager(&folder, &through.url);
    folder.write("shop.yaml", RULES);
    let mut config = format!(
        "rules = [\"shop.yaml\"]\n[[notifiers]]\nname = \"team\"\nkind = \"webhook\"\nurl = \"{}\"\nallow_private = true\n\
         group_by = [\"alertname\"]\ngroup_wait = \"1s\"\ngroup_interval = \"1s\"\n",
        direct.url
    );
    if let Some(alertmanager) = &alertmanager {
        config += &format!(
            "[[notifiers]]\nname = \"am\"\nkind = \"alertmanager\"\nurl = \"{}\"\nallow_private = true\n",
            alertmanager.url
        );
    }
    let file = folder.write("orrery.toml", &config);
    std::fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("set");
    let args = ["--config", file.to_str().expect("text")];

    direct.status.store(503, SeqCst);
    let server = Server::start(&folder, &args);
    server.export_json("traces", &failed_span());
    poll("the first attempt", || (!direct.told().is_empty()).then_some(()));
    let failing = |server: &Server| {
        let alerts = server.get_json("/api/v1/alerts");
        alerts["notifiers"].as_array().expect("notifiers").iter().find(|n| n["name"] == "team").cloned().expect("team")
    };
    let status = poll("the failure to be seen", || Some(failing(&server)).filter(|n| n["failing_since"].is_string()));
    assert!(status["last_error"].as_str().is_some_and(|error| error.contains("503")), "{status}");
    let shown = format!("{}{}{}", server.get_json("/api/v1/alerts"), server.get("/metrics").1, folder.log());
    assert!(shown.contains("a notification could not be sent") && !shown.contains("s3cr3t"), "{shown}");

    server.kill();
    direct.told.lock().expect("nobody panics with it").clear();
    direct.status.store(200, SeqCst);
    let server = Server::start(&folder, &args);
    let told = direct.wait_for("firing");
    assert_eq!((&told["receiver"], &told["version"]), (&json!("team"), &json!("4")));
    assert_eq!(told["groupLabels"], json!({"alertname": "Errors"}));
    let labels = json!({"alertname": "Errors", "service_name": "cart", "severity": "page"});
    assert_eq!(told["alerts"][0]["labels"], labels);
    assert_eq!(told["alerts"][0]["annotations"]["summary"], "cart fails");
    if alertmanager.is_some() {
        assert_eq!(through.wait_for("firing")["alerts"][0]["labels"], labels);
    }
    // Nothing fails any more, and the window moves on.
    assert_eq!(direct.wait_for("resolved")["alerts"][0]["labels"], labels);
    if alertmanager.is_some() {
        assert_eq!(through.wait_for("resolved")["alerts"][0]["labels"], labels);
    }
    assert!(failing(&server)["failing_since"].is_null());
    assert!(!folder.log().contains("s3cr3t"));
}
