//! A real server for tests: the binary as a child process on ports of its own, and the few requests every test makes.
//! Never waits on a sleep alone: it polls with a deadline. The server dies with its handle.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The longest a server may take to become ready, to stop, and to do what a test polls for.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The folder of the lake and of what the server logged; removed with the value.
pub struct Folder {
    root: TempDir,
}

impl Folder {
    pub fn new() -> Self {
        Self { root: tempfile::tempdir().expect("a temporary folder") }
    }

    pub fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Writes a file beside the data, such as a configuration.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("written");
        path
    }

    /// What servers on this folder logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("stderr")).unwrap_or_default()
    }
}

/// A running server.
pub struct Server {
    child: Child,
    /// Base URLs.
    pub http: String,
    pub otlp_grpc: String,
    pub otlp_http: String,
    /// Sent with every request when set.
    pub token: Option<String>,
}

/// The binary under test.
pub fn orrery() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orrery"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ORRERY_")) {
        command.env_remove(name);
    }
    command
}

impl Server {
    /// Starts on a folder with further arguments (`--set storage.flush_age=1h` and the like) and waits until it is ready.
    pub fn start(folder: &Folder, args: &[&str]) -> Self {
        Self::try_start(folder, &mut orrery(), args).unwrap_or_else(|log| panic!("the server did not start:\n{log}"))
    }

    /// Like [`Server::start`], with a prepared command; what it logged where it ends instead.
    pub fn try_start(folder: &Folder, command: &mut Command, args: &[&str]) -> Result<Self, String> {
        let log = File::options().create(true).append(true).open(folder.path("stderr")).expect("a log file");
        let mut child = command
            .args(args.iter().take_while(|arg| !arg.starts_with('-')))
            .args(["--http", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0", "--data-dir"])
            .arg(folder.data())
            .args(args.iter().skip_while(|arg| !arg.starts_with('-')))
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let mut url = |name: &str| {
            lines
                .by_ref()
                .map_while(Result::ok)
                .find_map(|line| line.trim().strip_prefix(name).map(|url| url.trim().to_owned()))
        };
        match (url("dashboard"), url("OTLP/gRPC"), url("OTLP/HTTP")) {
            (Some(http), Some(otlp_grpc), Some(otlp_http)) => {
                Ok(Self { child, http, otlp_grpc, otlp_http, token: None })
            }
            _ => {
                child.wait().expect("the server ended");
                Err(folder.log())
            }
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a request of OTLP/HTTP: `traces`, `logs` or `metrics`; returns status and body.
    pub fn export(&self, signal: &str, content_type: &str, body: &[u8]) -> (u16, Vec<u8>) {
        self.post(&format!("{}/v1/{signal}", self.otlp_http), content_type, body)
    }

    /// Sends OTLP/JSON and expects it to be taken.
    pub fn export_json(&self, signal: &str, body: &Value) {
        let (status, answer) = self.export(signal, "application/json", body.to_string().as_bytes());
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    }

    /// The rows of a query.
    pub fn sql(&self, query: &str) -> Vec<Vec<Value>> {
        let body = json!({"query": query, "format": "json"}).to_string();
        let (status, answer) = self.post(&format!("{}/api/v1/sql", self.http), "application/json", body.as_bytes());
        let text = String::from_utf8_lossy(&answer);
        assert_eq!(status, 200, "{query}: {text}");
        let answer: Value = serde_json::from_slice(&answer).expect("a JSON answer");
        answer["rows"].as_array().expect("rows").iter().map(|row| row.as_array().expect("a row").clone()).collect()
    }

    /// The one number that a query gives.
    pub fn count(&self, query: &str) -> u64 {
        let rows = self.sql(query);
        let value = &rows[0][0];
        value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_else(|| panic!("{query} gave {value}"))
    }

    /// A path of the dashboard's port that answers JSON.
    pub fn get_json(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("a JSON answer")
    }

    pub fn get(&self, path: &str) -> (u16, String) {
        let mut request = agent().get(format!("{}{path}", self.http));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        read(request.call().expect("an answer"))
    }

    pub fn post(&self, url: &str, content_type: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut request = agent().post(url).header("content-type", content_type);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = request.send(body).expect("an answer");
        let status = response.status().as_u16();
        (status, response.into_body().into_with_config().limit(u64::MAX).read_to_vec().expect("a body"))
    }

    /// Writes all that is in memory to files.
    pub fn flush(&self) {
        let (status, body) = self.post(&format!("{}/api/v1/lake/flush", self.http), "application/json", b"");
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
    }

    /// SIGTERM, and how it ended.
    pub fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    pub fn wait(&mut self) -> ExitStatus {
        poll("the server to end", || self.child.try_wait().expect("a child"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks again and again until there is an answer; panics after [`PATIENCE`].
pub fn poll<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    polled(ask).unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain for {what}"))
}

/// Asks again and again until there is an answer, for [`PATIENCE`].
pub fn polled<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The folder of data that no one here wrote, `ORRERY_SHARED` or `../shared` beside the workspace; says aloud when it is
/// missing.
pub fn shared(test: &str) -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("two folders up").to_owned();
    let path = std::env::var_os("ORRERY_SHARED").map_or_else(|| workspace.join("../shared"), PathBuf::from);
    if path.join("data").is_dir() {
        return Some(path);
    }
    eprintln!("SKIPPED: {test}: no {} (set ORRERY_SHARED)", path.display());
    None
}

/// HTTP statuses are answers here, not errors.
pub fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).build().new_agent()
}

pub fn read(response: ureq::http::Response<ureq::Body>) -> (u16, String) {
    let status = response.status().as_u16();
    let mut text = String::new();
    response.into_body().into_reader().read_to_string(&mut text).expect("text");
    (status, text)
}

/// An OTLP/JSON trace request of one span.
pub fn one_span(service: &str, name: &str, trace_id: &str, span_id: &str) -> Value {
    let start = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_nanos();
    json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
        "scopeSpans": [{"spans": [{
            "traceId": trace_id, "spanId": span_id, "name": name, "kind": 2,
            "startTimeUnixNano": start.to_string(), "endTimeUnixNano": (start + 1_000_000).to_string(),
        }]}],
    }]})
}
