//! A start with ten times as much in the log as memory may hold: it is flushed as it is read, so that memory stays within
//! its limit, and all rows are there.

use crate::ledger::{Ledger, Shape};
use crate::server::{self, Folder, Server};
use crate::torture::Torture;

const SHAPE: Shape = Shape { spans: 500, noise: 40, per_hour: 0 };
/// What the store's rows may take is this much of `storage.memtable`.
const MEMORY_FACTOR: u64 = 3;
const BACKLOG_FACTOR: u64 = 10;
/// Rows that are read ahead, rows on their way into a file, and the encoded file.
const WORKING_FACTOR: u64 = 3;
const WORKING_BYTES: u64 = 64 << 20;

#[test]
fn a_backlog_of_ten_times_the_memory_limit_is_read_within_the_limit() {
    let torture = Torture::start("backlog");
    let memtable_mib = torture.size(4, 32) as u64;
    let limit = MEMORY_FACTOR * (memtable_mib << 20);
    let folder = Folder::new();
    let mut ledger = Ledger::new(SHAPE);

    let settings = |memtable| {
        // A segment is read whole.
        let others = ["storage.flush_age=24h", "storage.min_free=1B", "storage.wal_segment=4MiB", memtable];
        others.into_iter().flat_map(|setting| ["--set", setting]).collect::<Vec<_>>()
    };
    let server = Server::start(&folder, &settings("storage.memtable=64GiB"));
    let mut backlog = 0;
    while backlog < BACKLOG_FACTOR * limit {
        assert_eq!(ledger.send_until_refused(&server.otlp_http, 50), None);
        backlog = number(&server, "memory_bytes");
    }
    let hoarded = peak_bytes(&server);
    assert_eq!(number(&server, "files"), 0, "nothing was flushed");
    server.kill();

    let memtable = format!("storage.memtable={memtable_mib}MiB");
    let small = settings(memtable.as_str());
    let empty = Folder::new();
    // What the allocator keeps of freed memory for a second depends on the second.
    let start = |folder: &Folder| {
        let mut command = server::orrery();
        command.env("MIMALLOC_PURGE_DELAY", "0");
        Server::try_start(folder, &mut command, &small).unwrap_or_else(|log| panic!("the server did not start:\n{log}"))
    };
    let idle = peak_bytes(&start(&empty));
    let server = start(&folder);
    let peak = peak_bytes(&server);
    let rows = (ledger.acknowledged.len() * SHAPE.spans) as u64;
    let (in_files, in_memory) = (number(&server, "file_rows"), number(&server, "memory_rows"));
    assert_eq!(in_files + in_memory, rows, "rows in files and in memory");
    assert!(in_files > rows / 2, "{in_files} of {rows} rows were flushed during the replay");
    let memory = number(&server, "memory_bytes");
    assert!(memory <= limit, "{memory} bytes of rows in memory, the limit is {limit}");
    let bound = idle + WORKING_FACTOR * limit + WORKING_BYTES;
    assert!(peak <= bound, "the start took {peak} bytes, {idle} when empty; the bound is {bound}");
    assert!(hoarded > bound, "the backlog fits into the bound: {hoarded} of {bound}");
    ledger.check(&server, "after the replay");
    assert_eq!(ledger.send_until_refused(&server.otlp_http, 5), None);
    server.flush();
    ledger.check(&server, "after the last flush");
    torture.done(format!(
        "a log of {} MiB of rows, a memory limit of {} MiB: {in_files} of {rows} rows flushed during the replay, peak RSS \
         {} MiB ({} MiB when empty, {} MiB with all rows in memory), 0 lost, 0 twice",
        backlog >> 20,
        limit >> 20,
        peak >> 20,
        idle >> 20,
        hoarded >> 20,
    ));
}

fn number(server: &Server, field: &str) -> u64 {
    let status = server.get_json("/api/v1/lake/status");
    status[field].as_u64().unwrap_or_else(|| panic!("{field} of {status}"))
}

/// The most memory that the server has had.
fn peak_bytes(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("the server lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says it");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
    kib << 10
}
