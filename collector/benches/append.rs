//! What it costs to make a decoded request durable and visible: CPU time of log and memtable a span, appends a second,
//! how many requests share a sync, and what the rows really take in memory beside what is accounted for.
//! `cargo bench -p orrery-collector --bench append [-- spans]`. On the volume of the system's temporary folder. First
//! flushes are dropped and the decoding is done before the clock starts, so that only log and memtable count; then all of
//! it, from the request's bytes to the files of a real lake, with the most memory that the process ever took.

#[path = "load.rs"]
mod load;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use load::Shape;
use orrery_collector::decode::{DecodeLimits, OtlpDecoder, decode};
use orrery_model::{Signal, SnapshotId, SystemClock, TenantId};
use orrery_storage::fs::RealFileSystem;
use orrery_storage::store::{BoxError, FlushTarget};
use orrery_storage::{Append, LakeView, SealedBatch, Store, StoreConfig};
use parking_lot::Mutex;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PER_REQUEST: usize = 512;
const TASKS: usize = 8;
const START_NS: u64 = 1_700_000_000_000_000_000;

fn main() {
    let spans: usize = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(400_000);
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    for (name, shape) in [("load A", Shape::A), ("load B", Shape::B)] {
        runtime.block_on(run(name, shape, spans));
        runtime.block_on(whole(name, shape, spans));
    }
}

async fn run(name: &str, shape: Shape, spans: usize) {
    let bodies = load::requests(shape, spans, PER_REQUEST, START_NS);
    let bytes: usize = bodies.iter().map(Vec::len).sum();
    let memory_before = resident_bytes();
    let appends: Vec<Append> = bodies.into_iter().enumerate().map(|(i, body)| append(i, body)).collect();
    let accounted: usize = appends.iter().map(|a| orrery_storage::batch_bytes(&a.batch)).sum();
    let resident = resident_bytes().saturating_sub(memory_before);
    println!(
        "{name}: {} B/span on the wire; rows take {} B/span by account, {} B/span resident",
        bytes / spans,
        accounted / spans,
        resident / spans
    );

    let dir = tempfile::tempdir().expect("a temporary folder");
    let config = StoreConfig { dir: dir.path().join("data"), floor_free_bytes: 0, ..StoreConfig::default() };
    let nowhere = Arc::new(Nowhere { flushed: Mutex::new(0) });
    let store =
        Store::open_with(config, Arc::new(OtlpDecoder), Arc::new(SystemClock), Arc::new(RealFileSystem), nowhere)
            .await
            .expect("an empty folder opens");
    let requests = appends.len();
    let queue = Arc::new(Mutex::new(appends));
    let (cpu, started) = (cpu(), Instant::now());
    let tasks = (0..TASKS).map(|_| {
        let (store, queue) = (Arc::clone(&store), Arc::clone(&queue));
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            loop {
                let Some(append) = queue.lock().pop() else { return latencies };
                let started = Instant::now();
                store.append(append).await.expect("there is room");
                latencies.push(started.elapsed());
            }
        })
    });
    let mut latencies = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        latencies.extend(task.await.expect("no task panics"));
    }
    let (elapsed, cpu) = (started.elapsed(), cpu_since(cpu));
    latencies.sort_unstable();
    let status = store.status();
    println!(
        "  {:.2} us CPU/span, {:.1} ms CPU/MB, {:.0} appends/s, {:.0} MB/s, p50 {:.1} ms, p99 {:.1} ms, {} syncs of {:.1} requests and {:.1} ms, log {:.0} B/span",
        cpu.as_secs_f64() * 1e6 / spans as f64,
        cpu.as_secs_f64() * 1e3 / (bytes as f64 / 1e6),
        requests as f64 / elapsed.as_secs_f64(),
        bytes as f64 / 1e6 / elapsed.as_secs_f64(),
        latencies[requests / 2].as_secs_f64() * 1e3,
        latencies[requests * 99 / 100].as_secs_f64() * 1e3,
        status.wal_syncs,
        requests as f64 / status.wal_syncs as f64,
        status.wal_sync_ns as f64 / 1e6 / status.wal_syncs as f64,
        status.wal_written_bytes as f64 / spans as f64,
    );
    store.close().await.expect("the store closes");
}

/// From bytes to files.
async fn whole(name: &str, shape: Shape, spans: usize) {
    let bodies = load::requests(shape, spans, PER_REQUEST, START_NS);
    let bytes: usize = bodies.iter().map(Vec::len).sum();
    let dir = tempfile::tempdir().expect("a temporary folder");
    let config = StoreConfig { dir: dir.path().join("data"), floor_free_bytes: 0, ..StoreConfig::default() };
    let store = Store::open(config, Arc::new(OtlpDecoder), Arc::new(SystemClock)).await.expect("an empty folder opens");
    let queue = Arc::new(Mutex::new(bodies.into_iter().enumerate().collect::<Vec<_>>()));
    reset_peak();
    let before = resident_bytes();
    let (cpu, started) = (cpu(), Instant::now());
    let tasks = (0..TASKS).map(|_| {
        let (store, queue) = (Arc::clone(&store), Arc::clone(&queue));
        tokio::spawn(async move {
            loop {
                let Some((index, body)) = queue.lock().pop() else { return };
                while let Err(error) = store.append(append(index, body.clone())).await {
                    tokio::time::sleep(error.retry_after().expect("the store lives")).await;
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("no task panics");
    }
    let (elapsed, acknowledged) = (started.elapsed(), cpu_since(cpu));
    store.flush().await.expect("the lake takes it");
    let status = store.status();
    println!(
        "  with decoding: {:.0} k spans/CPU-s until acknowledged, {:.0} k flushed; {:.1} s; {} flushes, {} overloads; peak {} MB, of it {} MB before",
        spans as f64 / acknowledged.as_secs_f64() / 1e3,
        spans as f64 / cpu_since(cpu).as_secs_f64() / 1e3,
        elapsed.as_secs_f64(),
        status.flushes,
        status.refused_overloaded,
        peak_bytes() >> 20,
        before >> 20,
    );
    println!("  {name}: {} B/span in files, {} on the wire", status.file_bytes / spans as u64, bytes / spans);
    store.close().await.expect("the store closes");
}

fn append(index: usize, body: Vec<u8>) -> Append {
    let batch =
        decode(Signal::Spans, &body, START_NS as i64, &DecodeLimits::default()).expect("the load is OTLP").batch;
    Append {
        tenant: TenantId::default(),
        signal: Signal::Spans,
        received_ns: START_NS as i64,
        body: body.into(),
        batch,
        body_hash: Some(index as u128),
    }
}

/// Takes every flush and keeps nothing.
struct Nowhere {
    flushed: Mutex<u64>,
}

impl FlushTarget for Nowhere {
    fn flushed_sequence(&self) -> u64 {
        *self.flushed.lock()
    }

    fn view(&self) -> Arc<LakeView> {
        Arc::new(LakeView { id: SnapshotId(0), tables: HashMap::new(), learned: Arc::default() })
    }

    fn flush(&self, _: u64, through: u64, _: Vec<SealedBatch>) -> BoxFuture<'_, Result<Arc<LakeView>, BoxError>> {
        *self.flushed.lock() = through;
        async move { Ok(self.view()) }.boxed()
    }
}

/// User and system time of the process so far, in ticks of 10 ms.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux counts a process' CPU time");
    let after_name = stat.rsplit(')').next().expect("the name is in parentheses");
    let fields: Vec<u64> = after_name.split_whitespace().skip(11).take(2).filter_map(|f| f.parse().ok()).collect();
    Duration::from_millis(fields.iter().sum::<u64>() * 10)
}

fn cpu_since(before: Duration) -> Duration {
    cpu().saturating_sub(before)
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux says what is resident");
    let pages: usize = statm.split(' ').nth(1).and_then(|f| f.parse().ok()).expect("the second number is pages");
    pages * 4096
}

/// Begins the measurement of the peak anew.
fn reset_peak() {
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux resets the peak");
}

fn peak_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux says what the peak was");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("there is a peak");
    let kib: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib << 10
}
