//! The command line: what can be said, and what it means. Runs nothing.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Traces, logs and metrics over OTLP, kept in an open lake, asked in SQL and in the browser.
#[derive(Debug, Parser)]
#[command(name = "orrery", version, max_term_width = 100, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub serve: ServerFlags,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take telemetry, answer queries, serve the dashboard (what `orrery` alone does)
    Serve(ServerFlags),
    /// Serve, with a small live shop sending its telemetry here
    Demo(DemoFlags),
    /// Send files of OTLP/JSON lines, plain or zstd, to a running server
    Import(ImportFlags),
    /// Ask a running server in SQL
    Sql(SqlFlags),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look at and keep a running server's lake
    #[command(subcommand)]
    Lake(LakeCommand),
    /// Check and try alert rules
    #[command(subcommand)]
    Rules(RulesCommand),
}

/// Flags of whatever starts a server. Each is also an `ORRERY_…` variable and a key of the config file.
#[derive(Clone, Debug, Default, Args)]
pub struct ServerFlags {
    /// TOML configuration file [env: ORRERY_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder of the lake [default: ./data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Address of dashboard and API [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub http: Option<String>,
    /// Address of OTLP/gRPC [default: 127.0.0.1:4317]
    #[arg(long, value_name = "ADDRESS")]
    pub otlp_grpc: Option<String>,
    /// Address of OTLP/HTTP [default: 127.0.0.1:4318]
    #[arg(long, value_name = "ADDRESS")]
    pub otlp_http: Option<String>,
    /// `text` or `json` [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Level or tracing directives [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Listen on public addresses without tokens or without TLS
    #[arg(long)]
    pub insecure_public_bind: bool,
    /// Any other key of the config file, as in `--set storage.flush_age=5s`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

#[derive(Clone, Debug, Args)]
pub struct DemoFlags {
    #[command(flatten)]
    pub server: ServerFlags,
    /// Visits to the shop a second
    #[arg(long, default_value_t = 4.0, value_name = "N")]
    pub rate: f64,
}

#[derive(Clone, Debug, Args)]
pub struct ImportFlags {
    /// OTLP/JSON lines as the Collector's file exporter writes them; zstd is recognised by its content
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Move all times so that the newest of all the files is now
    #[arg(long)]
    pub shift_to_now: bool,
    /// Replay in the data's own time, N times as fast; with --shift-to-now each record's time is when it is sent, or before
    #[arg(long, value_name = "N")]
    pub speed: Option<f64>,
    /// The server's OTLP/HTTP address
    #[arg(long, default_value = "http://127.0.0.1:4318", env = "ORRERY_OTLP_ENDPOINT", value_name = "URL")]
    pub endpoint: String,
    /// Requests under way at once
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,
    #[command(flatten)]
    pub credentials: Credentials,
}

#[derive(Clone, Debug, Args)]
pub struct SqlFlags {
    /// One SELECT over spans, logs and metrics
    pub query: String,
    #[arg(long, value_enum, default_value_t = OutputFormat::Table)]
    pub format: OutputFormat,
    #[command(flatten)]
    pub target: Target,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    Table,
    Csv,
    Json,
    Ndjson,
    Arrow,
    Parquet,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say whether the configuration is good, and what it comes to
    Check(ServerFlags),
    /// Read a token from standard input and print the SHA-256 that the config file holds
    HashToken,
}

#[derive(Debug, Subcommand)]
pub enum LakeCommand {
    /// Write all rows in memory to Parquet, so that other programs see them
    Flush(Target),
    /// What is stored, in memory and in files, and how it is kept
    Status(Target),
    /// Merge small files at once; the server does it by itself, too
    Compact(Target),
    /// Drop what need not be kept, and delete files that no query reads any more
    Expire(Target),
    /// Read every file against the catalog; exit with 1 where something is wrong
    Verify(VerifyFlags),
    /// Give an attribute key a column, in the files that are written from then on
    Promote(PromoteFlags),
    /// Put a key that was given a column back into the map, in the files that are written from then on
    Demote(KeyFlags),
    /// The keys that were given a column
    Columns(Target),
}

#[derive(Clone, Debug, Args)]
pub struct VerifyFlags {
    /// The data folder of a server that does not run; without it a running server verifies its own
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    #[command(flatten)]
    pub target: Target,
}

/// An attribute key of a table.
#[derive(Clone, Debug, Args)]
pub struct KeyFlags {
    /// The key as it is sent, such as user.id
    pub key: String,
    #[arg(long, default_value = "spans", value_parser = ["spans", "logs", "metrics"], value_name = "TABLE")]
    pub table: String,
    /// Where it is set [default: the only scope that has it]
    #[arg(long, value_parser = ["item", "resource", "scope"], value_name = "SCOPE")]
    pub scope: Option<String>,
    #[command(flatten)]
    pub target: Target,
}

#[derive(Clone, Debug, Args)]
pub struct PromoteFlags {
    #[command(flatten)]
    pub key: KeyFlags,
    /// The values that the column holds; others stay in the map [default: the type of the last day's values]
    #[arg(long = "type", value_parser = ["string", "int"], value_name = "TYPE")]
    pub value_type: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// Say whether rule files are good, or where they are not
    Check(FilesFlags),
    /// Run unit tests of rules (promtool's form, with rows of telemetry)
    Test(FilesFlags),
    /// Say when the rules of a file would have fired over what a running server holds
    Backtest(BacktestFlags),
}

#[derive(Clone, Debug, Args)]
pub struct FilesFlags {
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub struct BacktestFlags {
    /// A rule file
    pub file: PathBuf,
    /// How far back to begin
    #[arg(long, default_value = "7d", value_name = "DURATION")]
    pub since: String,
    /// Time between evaluations [default: the group's interval, or a multiple of it that gives at most 1000]
    #[arg(long, value_name = "DURATION")]
    pub step: Option<String>,
    /// Only the rules of this name
    #[arg(long, value_name = "NAME")]
    pub alert: Option<String>,
    #[command(flatten)]
    pub target: Target,
}

/// Which server a client command talks to.
#[derive(Clone, Debug, Args)]
pub struct Target {
    /// The server's dashboard and API address
    #[arg(long, default_value = "http://127.0.0.1:8080", env = "ORRERY_ENDPOINT", value_name = "URL")]
    pub endpoint: String,
    #[command(flatten)]
    pub credentials: Credentials,
}

#[derive(Clone, Debug, Args)]
pub struct Credentials {
    /// Bearer token
    #[arg(long, env = "ORRERY_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Certificates (PEM) to trust instead of the well-known authorities'
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

impl ServerFlags {
    /// The settings that were given, by key.
    pub fn settings(&self) -> anyhow::Result<Vec<(&'static str, String)>> {
        let given = [
            ("data_dir", &self.data_dir),
            ("http", &self.http),
            ("otlp_grpc", &self.otlp_grpc),
            ("otlp_http", &self.otlp_http),
            ("log.format", &self.log_format),
            ("log.level", &self.log_level),
        ];
        let mut settings: Vec<_> = given.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))).collect();
        if self.insecure_public_bind {
            settings.push(("insecure_public_bind", "true".to_owned()));
        }
        for pair in &self.set {
            let known = crate::config::settings();
            let setting =
                pair.split_once('=').and_then(|(key, value)| Some((known.iter().find(|s| s.key == key)?, value)));
            let Some((setting, value)) = setting else {
                let keys: Vec<&str> = known.iter().map(|setting| setting.key).collect();
                anyhow::bail!("--set {pair}: expected KEY=VALUE, where KEY is one of {}", keys.join(", "));
            };
            settings.push((setting.key, value.to_owned()));
        }
        Ok(settings)
    }
}
