//! Unit tests of rules, as `promtool test rules` runs them: rows of telemetry at times of the test's own, the rules
//! evaluated over them, and the alerts that fire compared with those that were expected. Over a lake in memory; no server,
//! no clock.

pub mod file;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::TimestampNanosecondType;
use orrery_api::Labels;
use orrery_model::{Identity, Signal, table};
use orrery_query::Engine;

use self::file::{Expected, InputRow, UnitTest};
use crate::evaluate::group::nanoseconds;
use crate::evaluate::query;
use crate::memory::MemoryLake;
use crate::rules::yaml::Fault;
use crate::rules::{Checked, Group, Rule, duration};
use crate::state::{Alerts, State, Terms};

/// The start of every test: 2024-01-01T00:00:00Z.
pub const START_NS: i64 = 1_704_067_200_000_000_000;

/// Makes rows of a signal's table as a receiver would.
pub trait RowMaker {
    /// One batch of rows with their times, in nanoseconds since the Unix epoch. `Err` is what is wrong with a row, and where.
    fn rows(&self, signal: Signal, rows: &[(i64, &InputRow)]) -> Result<RecordBatch, Fault>;
}

/// A group of the files under test.
pub struct UnderTest<'a> {
    pub group: &'a Group,
    pub queries: &'a [Checked],
}

/// A table's rows in the order of their times.
struct Rows {
    batch: RecordBatch,
    times: Vec<i64>,
}

struct Running<'a> {
    group: &'a Group,
    rule: &'a Rule,
    checked: &'a Checked,
    terms: Terms,
    alerts: Alerts,
}

/// Runs one test. Gives what did not hold, nothing where all did.
pub async fn run(
    test: &UnitTest,
    interval: Duration,
    groups: &[UnderTest<'_>],
    engine: &Arc<Engine>,
    lake: &MemoryLake,
    maker: &dyn RowMaker,
) -> Result<Vec<String>, Fault> {
    let tables = tables(test, maker)?;
    let mut rules: Vec<Running<'_>> = groups
        .iter()
        .flat_map(|under| {
            under.group.rules.iter().zip(under.queries).map(|(rule, checked)| (under.group, rule, checked))
        })
        .map(|(group, rule, checked)| Running {
            group,
            rule,
            checked,
            terms: Terms {
                for_ns: nanoseconds(rule.hold),
                keep_firing_for_ns: nanoseconds(rule.keep_firing_for),
                limit: group.limit,
                interval_ns: nanoseconds(interval),
            },
            alerts: Alerts::default(),
        })
        .collect();
    let mut failures = Vec::new();
    let mut expected: BTreeMap<Duration, Vec<&Expected>> = BTreeMap::new();
    for one in &test.expected {
        expected.entry(one.eval_time).or_default().push(one);
    }
    let last = expected.keys().next_back().copied().unwrap_or_default();
    let mut time = Duration::ZERO;
    loop {
        show_until(lake, &tables, time);
        for rule in &mut rules {
            evaluate(engine, rule, time, &mut failures).await;
        }
        // An alert stays as it is until the next evaluation.
        let next = time + interval;
        for one in expected.range(time..next).flat_map(|(_, all)| all) {
            failures.extend(compare(one, &rules));
        }
        if next > last {
            return Ok(failures);
        }
        time = next;
    }
}

fn tables(test: &UnitTest, maker: &dyn RowMaker) -> Result<Vec<(Signal, Rows)>, Fault> {
    let mut tables = Vec::new();
    for signal in Signal::ALL {
        let mut batches = Vec::new();
        for input in test.input.iter().filter(|input| input.signal == signal) {
            let rows: Vec<(i64, &InputRow)> =
                input.times.iter().map(|time| (START_NS + nanoseconds(*time), &input.row)).collect();
            batches.push(maker.rows(signal, &rows)?);
        }
        let schema = &table(signal).schema;
        let all = concat_batches(schema, &batches).expect("rows of one table");
        let times = |batch: &RecordBatch| {
            batch.column(0).as_primitive::<TimestampNanosecondType>().values().iter().copied().collect::<Vec<i64>>()
        };
        let unsorted = times(&all);
        let mut order: Vec<u32> = (0..all.num_rows() as u32).collect();
        order.sort_by_key(|row| unsorted[*row as usize]);
        let batch = take_record_batch(&all, &UInt32Array::from(order)).expect("the same rows");
        tables.push((signal, Rows { times: times(&batch), batch }));
    }
    Ok(tables)
}

/// What is in the lake at a time of the test.
fn show_until(lake: &MemoryLake, tables: &[(Signal, Rows)], time: Duration) {
    let now_ns = START_NS + nanoseconds(time);
    for (signal, rows) in tables {
        let there = rows.times.partition_point(|time| *time <= now_ns);
        lake.put((*signal).into(), vec![rows.batch.slice(0, there)]);
    }
}

async fn evaluate(engine: &Arc<Engine>, running: &mut Running<'_>, time: Duration, failures: &mut Vec<String>) {
    let rule = running.rule;
    let now_ns = START_NS + nanoseconds(time);
    let end_ns = now_ns - nanoseconds(running.group.query_offset);
    let result = async {
        let session = engine.session(&Identity::default()).await?;
        query::rows(&session, running.checked, end_ns - nanoseconds(rule.window), end_ns).await
    };
    let refused = match result.await {
        Ok(rows) => {
            let samples = query::samples(rule, rows, "");
            running.alerts.evaluate(&running.terms, now_ns, samples).1.map(|refused| refused.to_string())
        }
        Err(why) => Some(why.to_string()),
    };
    if let Some(why) = refused {
        failures.push(format!("{} failed at {}: {why}", rule.alert, duration::print(time)));
    }
}

fn compare(expected: &Expected, rules: &[Running<'_>]) -> Option<String> {
    let named = rules.iter().filter(|running| {
        running.rule.alert == expected.alert && expected.group.as_ref().is_none_or(|group| *group == running.group.name)
    });
    let mut known = false;
    let mut found: Vec<(Labels, Labels)> = Vec::new();
    for running in named {
        known = true;
        let firing = running.alerts.iter().filter(|(_, alert)| alert.state == State::Firing);
        found.extend(firing.map(|(_, alert)| (alert.labels.clone(), alert.annotations.clone())));
    }
    let time = duration::print(expected.eval_time);
    if !known {
        return Some(format!("line {}: there is no alert {}", expected.at.line, expected.alert));
    }
    let mut wanted = expected.alerts.clone();
    wanted.sort();
    found.sort();
    if wanted == found {
        return None;
    }
    let mut text = format!("line {}: {} at {time}\n  expected:", expected.at.line, expected.alert);
    list(&mut text, &wanted);
    text.push_str("\n  got:");
    list(&mut text, &found);
    Some(text)
}

fn list(text: &mut String, alerts: &[(Labels, Labels)]) {
    if alerts.is_empty() {
        text.push_str(" nothing");
    }
    for (labels, annotations) in alerts {
        let _ = write!(text, "\n    labels {labels:?}\n    annotations {annotations:?}");
    }
}
