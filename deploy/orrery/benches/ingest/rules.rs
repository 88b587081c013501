//! What alert rules cost: five hundred of them every 15 s over a day of spans, beside ingest and without it.
//! A round ingests the same number of spans twice over the same day, without rules and
//! with them: nothing of one is in the windows of the other.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::Options;
use crate::loads::load::{SERVICES_B, Shape};
use crate::loads::{Stream, now_ns, spans_per_trace};
use crate::server::{Folder, Server};

const DAY: Duration = Duration::from_secs(86_400);
const INTERVAL: Duration = Duration::from_secs(15);
const RULES_PER_GROUP: usize = 10;
/// What a round ingests, spread over the last hour; it takes longer than an interval of the rules.
const SPANS_PER_ROUND: usize = 5_000_000;
const HOUR: Duration = Duration::from_secs(3_600);
/// Longer than an interval, so that every rule has been planned and evaluated.
const SETTLE: Duration = Duration::from_secs(20);
const WATCH: Duration = Duration::from_secs(60);

pub fn measure(options: &Options) {
    let folder = Folder::new(&options.dir);
    let config = write_rules(&folder.join("rules"), options.rules);
    fill(&folder, options.spans);
    copy(&folder, "data", "day");
    idle(&folder, &config, options.rules);
    let mut shares = Vec::new();
    for round in 1..=options.rounds {
        // In turns, and each over the same day.
        let (without, with) = if round % 2 == 1 {
            (ingest_rate(&folder, &[]), ingest_rate(&folder, &["--config", &config]))
        } else {
            let with = ingest_rate(&folder, &["--config", &config]);
            (ingest_rate(&folder, &[]), with)
        };
        shares.push(with / without);
        println!(
            "  round {round}: {without:.0} spans/s without rules, {with:.0} with, {:.1} %",
            100.0 * with / without
        );
    }
    shares.sort_by(f64::total_cmp);
    println!("  ingest rate with rules, median of {}: {:.1} %", shares.len(), 100.0 * shares[shares.len() / 2]);
}

/// A folder of the benchmark in the place of another.
fn copy(folder: &Folder, from: &str, to: &str) {
    let (from, to) = (folder.join(from), folder.join(to));
    let _ = std::fs::remove_dir_all(&to);
    let copied = Command::new("cp").arg("-r").args([&from, &to]).status().expect("cp runs");
    assert!(copied.success(), "{} can be copied", from.display());
}

/// A day that ends now.
fn fill(folder: &Folder, spans: usize) {
    let server = Server::start_in(folder, &[]);
    let interval_ns = DAY.as_nanos() as u64 / (spans as u64 / spans_per_trace(Shape::B) + 1);
    let start_ns = now_ns() - DAY.as_nanos() as u64;
    Stream { shape: Shape::B, spans, start_ns, interval_ns }.send(server.otlp_http);
    server.flush();
    server.lake("compact");
    assert_eq!(server.count("spans"), spans as u64, "stored = acknowledged");
}

/// What the rules cost with nothing else to do, and whether they keep up.
fn idle(folder: &Folder, config: &str, rules: usize) {
    let server = Server::start_in(folder, &["--config", config]);
    // The hours of the day are counted once, whatever the rules are.
    let mut hours = -1.0;
    while hours != server.metric("orrery_rollup_hours") {
        hours = server.metric("orrery_rollup_hours");
        std::thread::sleep(SETTLE);
    }
    let before = server.cpu_seconds();
    std::thread::sleep(WATCH);
    let cores = (server.cpu_seconds() - before) / WATCH.as_secs_f64();
    println!("{rules} rules every {} s: {cores:.3} of a core", INTERVAL.as_secs());
    report(&server, rules);
}

fn report(server: &Server, rules: usize) {
    let alerts = server.get("/api/v1/alerts");
    let groups = alerts["groups"].as_array().expect("groups");
    let evaluated: Vec<_> = groups.iter().flat_map(|g| g["rules"].as_array().expect("rules")).collect();
    assert_eq!(evaluated.len(), rules, "all rules are loaded: {}", alerts["files"]);
    for rule in &evaluated {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    let missed: u64 = groups.iter().filter_map(|g| g["missed"].as_u64()).sum();
    let slowest = groups.iter().filter_map(|g| g["evaluation_ms"].as_f64()).fold(0.0, f64::max);
    println!("  intervals missed {missed}, slowest group of {RULES_PER_GROUP} rules {slowest:.0} ms");
}

/// Spans a second of wall clock until the last is acknowledged.
fn ingest_rate(folder: &Folder, flags: &[&str]) -> f64 {
    copy(folder, "day", "data");
    let server = Server::start_in(folder, flags);
    std::thread::sleep(SETTLE);
    let interval_ns = HOUR.as_nanos() as u64 / (SPANS_PER_ROUND as u64 / spans_per_trace(Shape::B) + 1);
    let start_ns = now_ns() - HOUR.as_nanos() as u64;
    let taken = Stream { shape: Shape::B, spans: SPANS_PER_ROUND, start_ns, interval_ns }.send(server.otlp_http);
    SPANS_PER_ROUND as f64 / taken.as_secs_f64()
}

/// Rules of four kinds over the load's services, and the configuration that names them.
fn write_rules(dir: &Path, rules: usize) -> String {
    let services = SERVICES_B;
    let mut text = String::from("groups:\n");
    for rule in 0..rules {
        if rule % RULES_PER_GROUP == 0 {
            let group = rule / RULES_PER_GROUP;
            writeln!(text, "  - name: group-{group}\n    interval: {}s\n    rules:", INTERVAL.as_secs())
                .expect("a String takes everything");
        }
        let service = services[rule % services.len()];
        let window = "timestamp >= $start AND timestamp < $end";
        let sql = match rule / services.len() % 4 {
            0 => format!(
                "SELECT count(*) FILTER (WHERE status_code = 'ERROR') * 1.0 / count(*) AS value FROM spans WHERE {window} \
                 AND service_name = '{service}' AND kind = 'SERVER' HAVING count(*) > 0"
            ),
            1 => format!(
                "SELECT approx_percentile_cont(duration_ns, 0.99) / 1e9 AS value FROM spans WHERE {window} AND \
                 service_name = '{service}' HAVING count(*) > 0"
            ),
            2 => format!(
                "SELECT name AS operation, count(*) * 1.0 AS value FROM spans WHERE {window} AND service_name = \
                 '{service}' AND status_code = 'ERROR' GROUP BY name HAVING count(*) > 1000000"
            ),
            _ => format!(
                "SELECT attributes['http.route'] AS route, avg(duration_ns) / 1e9 AS value FROM spans WHERE {window} AND \
                 service_name = '{service}' GROUP BY 1 HAVING avg(duration_ns) > 1e12"
            ),
        };
        writeln!(text, "      - alert: Rule{rule}\n        for: 1m\n        sql: {sql:?}").expect("a String takes all");
    }
    std::fs::create_dir_all(dir).expect("the rules' folder can be made");
    std::fs::write(dir.join("rules.yaml"), text).expect("the rules can be written");
    let config = dir.join("orrery.toml");
    std::fs::write(&config, format!("rules = [{:?}]\n", dir.join("rules.yaml")))
        .expect("the configuration can be written");
    config.to_str().expect("a path in UTF-8").to_owned()
}
