//! The server under measurement: the real binary as a child process, and what the kernel and its own API say of it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

pub struct Server {
    child: Child,
    pub http: u16,
    pub otlp_http: u16,
    pub otlp_grpc: u16,
    dir: Folder,
}

/// A folder that goes with its last user.
#[derive(Clone)]
pub struct Folder(Arc<PathBuf>);

impl Folder {
    /// An empty one below `parent`, which should lie on a real disk.
    pub fn new(parent: &Path) -> Self {
        let dir = parent.join(format!("orrery-bench-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("the bench folder can be made");
        Self(Arc::new(dir))
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if Arc::strong_count(&self.0) == 1 {
            let _ = std::fs::remove_dir_all(&*self.0);
        }
    }
}

impl Server {
    /// Starts the binary on free ports over an empty folder below `parent`.
    pub fn start(parent: &Path) -> Self {
        Self::start_in(&Folder::new(parent), &[])
    }

    /// Starts it over what the folder holds, with more flags.
    pub fn start_in(dir: &Folder, flags: &[&str]) -> Self {
        let dir = dir.clone();
        let [http, otlp_http, otlp_grpc] = [free_port(), free_port(), free_port()];
        let child = Command::new(env!("CARGO_BIN_EXE_orrery"))
            .args(["--http", &format!("127.0.0.1:{http}"), "--otlp-http", &format!("127.0.0.1:{otlp_http}")])
            .args(["--otlp-grpc", &format!("127.0.0.1:{otlp_grpc}"), "--data-dir"])
            .arg(dir.join("data"))
            .args(flags)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.join("log")).expect("the log can be made"))
            .spawn()
            .expect("the server starts");
        let server = Self { child, http, otlp_http, otlp_grpc, dir };
        let deadline = Instant::now() + Duration::from_secs(20);
        while ureq::get(server.url("/-/ready")).call().is_err() {
            assert!(
                Instant::now() < deadline,
                "the server is not ready after 20 s; its log is {:?}",
                server.dir.join("log")
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.http)
    }

    /// User and system time the process has used, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("the server runs");
        ticks(&stat) as f64 / 100.0
    }

    /// Of its threads of a name.
    pub fn cpu_seconds_of(&self, name: &str) -> f64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("the server runs");
        let stats = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
        let ticks = stats.filter(|stat| stat.contains(&format!("({name})"))).map(|stat| ticks(&stat));
        ticks.sum::<u64>() as f64 / 100.0
    }

    /// The most memory the process has held, in MB.
    pub fn peak_rss_mb(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the server runs");
        let line = status.lines().find(|l| l.starts_with("VmHWM")).expect("VmHWM");
        line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).expect("kB") / 1000.0
    }

    pub fn sql(&self, query: &str) -> Vec<Vec<Value>> {
        let body = serde_json::json!({ "query": query }).to_string();
        let mut response = ureq::post(self.url("/api/v1/sql"))
            .header("content-type", "application/json")
            .send(body)
            .unwrap_or_else(|e| panic!("{query}: {e}"));
        let text = response.body_mut().with_config().limit(1 << 30).read_to_string().expect("an answer");
        let value: Value = serde_json::from_str(&text).expect("JSON");
        serde_json::from_value(value["rows"].clone()).expect("rows")
    }

    pub fn count(&self, table: &str) -> u64 {
        self.sql(&format!("SELECT count(*) FROM {table}"))[0][0].as_u64().expect("a count")
    }

    pub fn flush(&self) {
        self.lake("flush");
    }

    /// What `GET` of a path of the API answers.
    pub fn get(&self, path: &str) -> Value {
        let mut response = ureq::get(self.url(path)).call().unwrap_or_else(|e| panic!("{path}: {e}"));
        let text = response.body_mut().with_config().limit(1 << 30).read_to_string().expect("an answer");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Runs `orrery lake VERB` and waits for its end.
    pub fn lake(&self, verb: &str) {
        let done = Command::new(env!("CARGO_BIN_EXE_orrery"))
            .args(["lake", verb, "--endpoint", &self.url("")])
            .stdout(Stdio::null())
            .status()
            .expect("orrery lake runs");
        assert!(done.success(), "orrery lake {verb} failed");
    }

    /// The value of one sample of `/metrics`, labels included in `name` where it has some.
    pub fn metric(&self, name: &str) -> f64 {
        let text = ureq::get(self.url("/metrics")).call().expect("/metrics").body_mut().read_to_string().expect("text");
        let line = text.lines().find(|l| l.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        line.and_then(|l| l.rsplit(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("no metric {name}"))
    }

    /// The catalog, which has the files' filters and the roll-ups.
    pub fn catalog_bytes(&self) -> u64 {
        std::fs::metadata(self.dir.join("data/catalog.sqlite")).expect("the catalog").len()
    }

    /// Bytes of the Parquet files, and of the whole data folder less the log's preallocated segments.
    pub fn bytes_on_disk(&self) -> (u64, u64) {
        let (mut parquet, mut all) = (0, 0);
        let mut folders = vec![self.dir.join("data")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("the data folder is readable").flatten() {
                let Ok(metadata) = entry.metadata() else { continue };
                let name = entry.file_name().to_string_lossy().into_owned();
                if metadata.is_dir() && name != "wal" {
                    folders.push(entry.path());
                } else if metadata.is_file() {
                    all += metadata.len();
                    parquet += if name.ends_with(".parquet") { metadata.len() } else { 0 };
                }
            }
        }
        (parquet, all)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

/// What a process or thread has taken, in user space and in the kernel.
fn ticks(stat: &str) -> u64 {
    let fields: Vec<&str> = stat[stat.rfind(')').expect("stat names the process") + 2..].split(' ').collect();
    fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime")
}
