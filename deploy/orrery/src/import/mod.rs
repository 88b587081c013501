//! `orrery import`: sends files of OTLP/JSON lines to a running server, as they are or moved in time, as fast as it takes
//! them or in their own time. Knows the server only by its OTLP port.

mod lines;
mod request;
mod sender;
mod times;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use orrery_model::{Clock, Signal, SystemClock};
use parking_lot::Mutex;

use crate::cli::ImportFlags;
use crate::client::Client;
use crate::say::say;
use lines::{Line, Lines};
use sender::{Sender, Tally};
use times::{Times, times};

/// Notes of rejected records that are printed; the rest is counted.
const MAX_NOTES: usize = 10;
/// How often the progress is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(200);

/// When lines are sent and how far their times are moved.
struct Plan {
    shift_ns: i64,
    pace: Option<Pace>,
}

/// Replays from `start` on: a line of the time t is due (t - first) / speed later.
struct Pace {
    start: Instant,
    first_ns: u64,
    speed: f64,
}

pub fn run(flags: &ImportFlags) -> Result<ExitCode> {
    ensure!(flags.speed.is_none_or(|speed| speed.is_finite() && speed > 0.0), "--speed must be above 0");
    let client = Client::new(&flags.endpoint, &flags.credentials)?;
    let size: u64 = flags
        .files
        .iter()
        .map(|path| Ok(std::fs::metadata(path).with_context(|| format!("open {}", path.display()))?.len()))
        .sum::<Result<u64>>()?;
    let plan = Plan::new(flags)?;
    let (tally, read) = (Tally::default(), Arc::new(AtomicU64::new(0)));
    let sender = Sender { client: &client, tally: &tally, shift_ns: plan.shift_ns };
    let started = Instant::now();
    let bar = bar(size);
    let notes = send_all(flags, &plan, &sender, &read, &bar)?;
    bar.finish_and_clear();
    for note in notes.iter().take(MAX_NOTES) {
        eprintln!("{note}");
    }
    say!("{}", summary(&tally, started.elapsed()));
    Ok(ExitCode::SUCCESS)
}

impl Plan {
    /// Reads the files once where times matter.
    fn new(flags: &ImportFlags) -> Result<Self> {
        if !flags.shift_to_now && flags.speed.is_none() {
            return Ok(Self { shift_ns: 0, pace: None });
        }
        let mut all: Option<Times> = None;
        for path in &flags.files {
            let mut lines = Lines::open(path, Arc::default())?;
            while let Some(line) = lines.next_line()? {
                if let Some(found) = times(&line.text) {
                    all = Some(all.map_or(found, |all| all.join(found)));
                }
            }
        }
        let all = all.context("no record of these files has a time")?;
        let now_ns = SystemClock.now_ns();
        let length_ns = all.newest_ns - all.oldest_ns;
        // With a speed the newest is sent last, so it is moved to when that will be; all others then lie before the
        // moment in which they are sent.
        let ends_ns = flags.speed.map_or(0, |speed| (length_ns as f64 / speed) as i64);
        let shift_ns =
            if flags.shift_to_now { now_ns.saturating_add(ends_ns).saturating_sub_unsigned(all.newest_ns) } else { 0 };
        let pace = flags.speed.map(|speed| Pace { start: Instant::now(), first_ns: all.oldest_ns, speed });
        Ok(Self { shift_ns, pace })
    }
}

/// Reads, waits where a pace is set, and hands the lines to the threads that send. Returns the notes.
fn send_all(
    flags: &ImportFlags,
    plan: &Plan,
    sender: &Sender<'_>,
    read: &Arc<AtomicU64>,
    bar: &ProgressBar,
) -> Result<Vec<String>> {
    let threads = usize::from(flags.concurrency);
    let (queue, lines) = mpsc::sync_channel::<Line>(threads);
    let (lines, notes, failure) = (Mutex::new(lines), Mutex::new(Vec::new()), Mutex::new(None));
    let done = Mutex::new(false);
    std::thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let next = lines.lock().recv();
                        let Ok(line) = next else { return };
                        // After a failure the queue is emptied, so that whoever fills it comes to its end.
                        if failure.lock().is_some() {
                            continue;
                        }
                        match sender.send(line) {
                            Ok(note) => notes.lock().extend(note),
                            Err(error) => drop(failure.lock().get_or_insert(error)),
                        }
                    }
                })
            })
            .collect();
        let drawing = scope.spawn(|| draw(bar, sender.tally, read, &done));
        let fed = feed(&flags.files, plan, &queue, read, &failure);
        drop(queue);
        for worker in workers {
            worker.join().map_err(|_| anyhow::anyhow!("a sending thread panicked"))?;
        }
        *done.lock() = true;
        drawing.thread().unpark();
        fed
    })?;
    match failure.into_inner() {
        Some(error) => {
            bar.abandon();
            Err(error.context(format!("{} records were sent before", sender.tally.all())))
        }
        None => Ok(notes.into_inner()),
    }
}

/// Reads the files, one after the other, or with a pace all at once in the order of their times.
fn feed(
    files: &[PathBuf],
    plan: &Plan,
    queue: &mpsc::SyncSender<Line>,
    read: &Arc<AtomicU64>,
    failure: &Mutex<Option<anyhow::Error>>,
) -> Result<()> {
    let Some(pace) = &plan.pace else {
        for path in files {
            let mut lines = Lines::open(path, Arc::clone(read))?;
            while let Some(line) = lines.next_line()? {
                if failure.lock().is_some() || queue.send(line).is_err() {
                    return Ok(());
                }
            }
        }
        return Ok(());
    };
    // The next line of each file with the time at which its request would have been made.
    let mut sources = Vec::new();
    for path in files {
        let mut lines = Lines::open(path, Arc::clone(read))?;
        if let Some(next) = lines.next_line()? {
            sources.push((newest(&next, pace.first_ns), next, lines));
        }
    }
    while let Some(i) = (0..sources.len()).min_by_key(|i| sources[*i].0) {
        let (due_ns, line, mut lines) = sources.swap_remove(i);
        if let Some(next) = lines.next_line()? {
            sources.push((newest(&next, due_ns), next, lines));
        }
        let offset = Duration::from_nanos(due_ns - pace.first_ns).div_f64(pace.speed);
        while let Some(left) = (pace.start + offset).checked_duration_since(Instant::now()) {
            if failure.lock().is_some() {
                return Ok(());
            }
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
        if queue.send(line).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// A line without a time goes with the one before it.
fn newest(line: &Line, otherwise_ns: u64) -> u64 {
    times(&line.text).map_or(otherwise_ns, |times| times.newest_ns)
}

fn bar(size: u64) -> ProgressBar {
    let bar = ProgressBar::new(size);
    let style =
        ProgressStyle::with_template("{bar:32} {percent:>3}%  {msg}  {elapsed}").expect("the template is right");
    bar.set_style(style);
    bar
}

fn draw(bar: &ProgressBar, tally: &Tally, read: &AtomicU64, done: &Mutex<bool>) {
    let started = Instant::now();
    while !*done.lock() {
        bar.set_position(read.load(Ordering::Relaxed));
        let records = tally.all();
        let rate = records as f64 / started.elapsed().as_secs_f64().max(0.001);
        bar.set_message(format!("{} records, {}/s", short(records as f64), short(rate)));
        std::thread::park_timeout(DRAW_EVERY);
    }
}

fn summary(tally: &Tally, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(0.001);
    let mut text = format!(
        "imported {} spans, {} log records and {} data points in {seconds:.1} s: {} records/s",
        tally.of(Signal::Spans),
        tally.of(Signal::Logs),
        tally.of(Signal::Metrics),
        (tally.all() as f64 / seconds) as u64,
    );
    for (count, what) in [(&tally.rejected, "records were rejected"), (&tally.retries, "requests were sent again")] {
        let count = count.load(Ordering::Relaxed);
        if count > 0 {
            text.push_str(&format!("; {count} {what}"));
        }
    }
    text
}

/// `12.4 k`
fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.2} M", v / 1e6),
        v if v >= 1e3 => format!("{:.1} k", v / 1e3),
        v => format!("{v:.0}"),
    }
}
