//! `orrery rules backtest`: what the rules of a file would have done over the telemetry of a running server. Asks it the
//! rules' queries, evaluation by evaluation; changes nothing there.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use orrery_alert::evaluate::group::nanoseconds;
use orrery_alert::evaluate::{DEFAULT_INTERVAL, query};
use orrery_alert::labels::ALERT_NAME;
use orrery_alert::rules::check::Row;
use orrery_alert::rules::{Group, Rule, duration};
use orrery_alert::state::{Alerts, State, Terms, Transition};
use orrery_api::{Labels, SqlResponse};
use orrery_model::{Clock, SystemClock};
use orrery_query::time::rfc3339;
use serde_json::{Value, json};

use super::{Bench, complain};
use crate::cli::BacktestFlags;
use crate::client::Client;
use crate::say::say;

/// Evaluations of one rule, where the interval would make more; `--step` decides otherwise.
const MOST_EVALUATIONS: u32 = 1_000;

/// What a rule would have done.
#[derive(Default)]
struct Record {
    transitions: Vec<(i64, Transition)>,
    fired: usize,
    /// Nanoseconds, of all its alerts.
    firing_ns: i64,
    failures: Vec<String>,
}

pub fn run(flags: &BacktestFlags) -> Result<ExitCode> {
    let bench = Bench::new()?;
    let planned = match bench.plan(&flags.file)? {
        Ok(planned) => planned,
        Err(faults) => {
            faults.iter().for_each(|fault| complain(&flags.file, fault));
            return Ok(ExitCode::FAILURE);
        }
    };
    let span = |text: &str| duration::parse(text).map_err(|why| anyhow!(why));
    let since = span(&flags.since).context("--since")?;
    let step = flags.step.as_deref().map(span).transpose().context("--step")?;
    let client = Client::new(&flags.target.endpoint, &flags.target.credentials)?;
    let now_ns = SystemClock.now_ns();
    let mut found = false;
    let mut failed = false;
    for group in &planned.file.groups {
        for rule in group.rules.iter().filter(|rule| flags.alert.as_ref().is_none_or(|name| *name == rule.alert)) {
            found = true;
            let interval = step.unwrap_or_else(|| step_of(group, since));
            let record = backtest(&client, group, rule, now_ns - nanoseconds(since), now_ns, interval)?;
            failed |= !record.failures.is_empty();
            show(rule, group, &record, interval);
        }
    }
    if !found {
        bail!("{} has no such alert", flags.file.display());
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The group's interval, or a multiple of it that keeps the evaluations few.
fn step_of(group: &Group, since: Duration) -> Duration {
    let interval = group.interval.unwrap_or(DEFAULT_INTERVAL);
    let evaluations = since.as_nanos().div_ceil(interval.as_nanos());
    let multiple = evaluations.div_ceil(u128::from(MOST_EVALUATIONS)).max(1);
    interval * u32::try_from(multiple).unwrap_or(u32::MAX)
}

fn backtest(
    client: &Client,
    group: &Group,
    rule: &Rule,
    from_ns: i64,
    to_ns: i64,
    interval: Duration,
) -> Result<Record> {
    let terms = Terms {
        for_ns: nanoseconds(rule.hold),
        keep_firing_for_ns: nanoseconds(rule.keep_firing_for),
        limit: group.limit,
        interval_ns: nanoseconds(interval),
    };
    let (mut alerts, mut record) = (Alerts::default(), Record::default());
    let mut firing: BTreeMap<String, i64> = BTreeMap::new();
    let mut time_ns = from_ns;
    while time_ns <= to_ns {
        let end_ns = time_ns - nanoseconds(group.query_offset);
        match rows(client, rule, end_ns - nanoseconds(rule.window), end_ns) {
            Ok(rows) => {
                let samples = query::samples(rule, rows, client.endpoint());
                let (outcome, refused) = alerts.evaluate(&terms, time_ns, samples);
                for transition in outcome.transitions {
                    let key = transition.fingerprint.to_string();
                    if transition.to == Some(State::Firing) {
                        record.fired += 1;
                        firing.insert(key, time_ns);
                    } else if let Some(since_ns) = firing.remove(&key) {
                        record.firing_ns += time_ns - since_ns;
                    }
                    record.transitions.push((time_ns, transition));
                }
                if let Some(refused) = refused {
                    record.failures.push(format!("{}: {refused}", rfc3339(time_ns)));
                }
            }
            // The first answer says whether the server can be asked at all.
            Err(error) if time_ns == from_ns => return Err(error),
            Err(error) => record.failures.push(format!("{}: {error:#}", rfc3339(time_ns))),
        }
        time_ns += nanoseconds(interval);
    }
    record.firing_ns += firing.values().map(|since_ns| to_ns - since_ns).sum::<i64>();
    Ok(record)
}

fn rows(client: &Client, rule: &Rule, start_ns: i64, end_ns: i64) -> Result<Vec<Row>> {
    let body = json!({"query": rule.sql.text, "start": start_ns.to_string(), "end": end_ns.to_string()});
    let answer = client.post("/api/v1/sql", &body.to_string(), "application/json")?;
    let answer: SqlResponse = serde_json::from_reader(BufReader::new(answer)).context("read the answer")?;
    let names: Vec<&str> = answer.columns.iter().map(|column| column.name.as_str()).collect();
    Ok(answer.rows.iter().filter_map(|row| read(&names, row)).collect())
}

/// A row as the server evaluates it; `None` of one whose value is NULL.
fn read(names: &[&str], cells: &[Value]) -> Option<Row> {
    let mut row = Row { value: f64::NAN, ..Row::default() };
    for (name, cell) in names.iter().zip(cells) {
        match (*name, cell) {
            ("value", Value::Null) => return None,
            ("value", cell) => row.value = cell.as_f64().or_else(|| cell.as_str()?.parse().ok()).unwrap_or(f64::NAN),
            ("trace_id" | "trace_ids", _) => {}
            (name, Value::String(text)) if !text.is_empty() => {
                row.labels.insert(name.to_owned(), text.clone());
            }
            _ => {}
        }
    }
    Some(row)
}

fn show(rule: &Rule, group: &Group, record: &Record, interval: Duration) {
    say!("{} (group {}, evaluated every {})", rule.alert, group.name, duration::print(interval));
    for (time_ns, transition) in &record.transitions {
        let word = match (transition.from, transition.to) {
            (_, Some(State::Firing)) => "firing",
            (_, Some(State::Resolved)) => "resolved",
            (_, Some(State::Pending)) => "pending",
            (_, None) => "inactive",
        };
        let value = transition.alert.value;
        say!("  {}  {word:<8}  {}  value {value}", &rfc3339(*time_ns)[..19], labels(&transition.alert.labels));
    }
    for failure in &record.failures {
        say!("  FAILED {failure}");
    }
    let fired = Duration::from_nanos(record.firing_ns.unsigned_abs());
    match record.fired {
        0 => say!("  would not have fired"),
        1 => say!("  would have fired once, for {}", duration::print(fired)),
        n => say!("  would have fired {n} times, for {} together", duration::print(fired)),
    }
}

fn labels(labels: &Labels) -> String {
    let pairs = labels.iter().filter(|(name, _)| *name != ALERT_NAME);
    let pairs: Vec<String> = pairs.map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_the_server_evaluates_them() {
        let names = ["service_name", "route", "value", "trace_id"];
        let row = read(&names, &[json!("cart"), Value::Null, json!(3), json!("aa")]).expect("a row");
        assert_eq!((row.value, row.labels.len(), row.labels["service_name"].as_str()), (3.0, 1, "cart"));
        assert!(read(&names, &[json!("cart"), Value::Null, Value::Null, json!("aa")]).is_none());
        assert!(read(&["value"], &[json!("NaN")]).expect("a row").value.is_nan());
    }
}
