//! DuckDB, a program that knows nothing of Orrery, attached to a catalog. Runs in a process of its own: two SQLite
//! libraries in one crash each other.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::LazyLock;

const PACKAGES: [&str; 3] =
    ["duckdb==1.5.5", "duckdb-extension-ducklake==1.5.5", "duckdb-extension-sqlite-scanner==1.5.5"];

/// A Python with DuckDB, made once below the target folder; `None` where there is no Python or no network.
fn python() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("duckdb-1.5.5");
    let python = folder.join("bin/python");
    let works = |python: &Path| {
        let check = "import duckdb, duckdb_extension_ducklake, duckdb_extension_sqlite_scanner";
        Command::new(python).args(["-c", check]).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    if works(&python) {
        return Some(python);
    }
    let run = |command: &mut Command| command.stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    let made = run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))
        && run(Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(PACKAGES));
    (made && works(&python)).then_some(python)
}

/// DuckDB attached to a catalog.
pub struct DuckDb {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl DuckDb {
    /// `None`, said aloud, where DuckDB cannot be had.
    pub fn attach(catalog: &Path) -> Option<Self> {
        Self::attach_with(catalog, "")
    }

    pub fn attach_with(catalog: &Path, options: &str) -> Option<Self> {
        static PYTHON: LazyLock<Option<PathBuf>> = LazyLock::new(python);
        let Some(python) = PYTHON.as_ref() else {
            eprintln!("SKIPPED: DuckDB reads the lake: needs python3 with venv and {} from PyPI", PACKAGES.join(", "));
            return None;
        };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/duckdb_shell.py");
        let mut child = Command::new(python)
            .arg(script)
            .arg(catalog)
            .arg(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let input = child.stdin.take().expect("it has an input");
        let output = BufReader::new(child.stdout.take().expect("it has an output"));
        let mut duckdb = Self { child, input, output };
        assert_eq!(duckdb.answer()["version"], "1.5.5");
        Some(duckdb)
    }

    pub fn query(&mut self, sql: &str) -> Vec<Vec<Option<String>>> {
        writeln!(self.input, "{}", sql.replace('\n', " ")).expect("DuckDB takes a query");
        let answer = self.answer();
        assert!(answer["error"].is_null(), "{sql}: {}", answer["error"]);
        serde_json::from_value(answer["rows"].clone()).expect("rows of text")
    }

    pub fn row(&mut self, sql: &str) -> Vec<String> {
        let rows = self.query(sql);
        assert_eq!(rows.len(), 1, "{sql}: {rows:?}");
        rows[0].iter().map(|value| value.clone().unwrap_or_else(|| "NULL".to_owned())).collect()
    }

    fn answer(&mut self) -> serde_json::Value {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("DuckDB answers");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("DuckDB answered {line:?}"))
    }
}

impl Drop for DuckDb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
