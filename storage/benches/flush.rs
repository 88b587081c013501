//! What a flush costs: `cargo bench -p orrery-storage --bench flush -- [rows]`. Sealed batches of 512 rows to durable,
//! committed files; CPU time is of the whole process, user and system.

#[path = "../tests/it/support/mod.rs"]
mod support;

use std::time::Instant;

use arrow::array::RecordBatch;
use orrery_model::{Signal, TenantId};
use orrery_storage::{Lake, SealedBatch};
use support::{SECOND, START, Seed};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH_ROWS: usize = 512;
/// The cheapest is shown: the machine may be busy.
const RUNS: usize = 3;

type Load = fn(&mut Seed, usize, i64) -> RecordBatch;

fn main() {
    let rows = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(500_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let loads: [(&str, Signal, Load); 4] = [
        ("spans, load A", Signal::Spans, support::load_a),
        ("spans, load B", Signal::Spans, support::load_b),
        ("logs", Signal::Logs, support::logs),
        ("metrics", Signal::Metrics, |seed, len, start| support::metrics(seed, len, 500, start)),
    ];
    for (name, signal, load) in loads {
        let mut seed = Seed(1);
        let mut sealed = Vec::new();
        let mut bytes = 0;
        for index in 0..rows / BATCH_ROWS {
            let batch = load(&mut seed, BATCH_ROWS, START + index as i64 * SECOND / 10);
            bytes += batch.get_array_memory_size();
            sealed.push(SealedBatch { tenant: TenantId::default(), table: signal.into(), batch });
        }
        let rows = sealed.len() * BATCH_ROWS;
        let runs = (0..RUNS).map(|_| {
            // Cargo's target folder is on a real disk, /tmp may be memory.
            let mut dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
            dir.disable_cleanup(std::env::var_os("KEEP").is_some());
            let sealed = sealed.clone();
            runtime.block_on(async {
                let lake = Lake::open(dir.path()).await.expect("the lake opens");
                // Peaks count anew from here.
                std::fs::write("/proc/self/clear_refs", "5").expect("Linux has it");
                let before = memory_mb("VmRSS:");
                let (cpu, wall) = (cpu_seconds(), Instant::now());
                let view = lake.flush(1, 2, sealed).await.expect("the flush is committed");
                let (cpu, wall) = (cpu_seconds() - cpu, wall.elapsed().as_secs_f64());
                let files = view.files(&TenantId::default(), signal);
                let size = files.iter().map(|file| file.size_bytes).sum::<u64>();
                (cpu, wall, files.len(), size, memory_mb("VmHWM:") - before)
            })
        });
        let (cpu, wall, files, size, peak) = runs.min_by(|a, b| a.0.total_cmp(&b.0)).expect("there are runs");
        println!(
            "{name:14} {rows:>8} rows of {:>4} B in memory: {cpu:.2} CPU s ({:.0} k rows/CPU s), {wall:.2} s, {files} files, \
             {:.2} B a row, {peak} MB on top",
            bytes / rows,
            rows as f64 / cpu / 1e3,
            size as f64 / rows as f64,
        );
    }
}

/// User and system time of the process, in steps of a hundredth.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux has it");
    let after = stat.rsplit_once(')').expect("the command is in brackets").1;
    let ticks: Vec<f64> = after.split_whitespace().skip(11).take(2).filter_map(|n| n.parse().ok()).collect();
    ticks.iter().sum::<f64>() / 100.0
}

/// Resident memory, as `/proc/self/status` names it.
fn memory_mb(name: &str) -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux has it");
    line.split_whitespace().next().and_then(|kb| kb.parse::<i64>().ok()).map_or(0, |kb| kb / 1024)
}
