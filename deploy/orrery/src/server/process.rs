//! What the kernel says about this process, under the names that Prometheus' own clients use, and what is asked of it for
//! the process. Linux only; elsewhere there is nothing to show.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Name, kind, help, value.
pub type Sample = (&'static str, &'static str, &'static str, f64);

pub fn metrics() -> Vec<Sample> {
    let mut samples = Vec::new();
    if let Some(seconds) = cpu_seconds() {
        samples.push(("process_cpu_seconds_total", "counter", "user and system CPU time", seconds));
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    for (field, name, help) in [
        ("VmRSS:", "process_resident_memory_bytes", "resident memory"),
        ("VmHWM:", "process_resident_memory_peak_bytes", "the most resident memory so far"),
        ("VmSize:", "process_virtual_memory_bytes", "virtual memory"),
    ] {
        if let Some(kib) = value(&status, field) {
            samples.push((name, "gauge", help, kib * 1024.0));
        }
    }
    if let Some(threads) = value(&status, "Threads:") {
        samples.push(("process_threads", "gauge", "threads", threads));
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        samples.push(("process_open_fds", "gauge", "open file descriptors", open.count() as f64));
    }
    samples
}

fn value(status: &str, field: &str) -> Option<f64> {
    status.lines().find_map(|line| line.strip_prefix(field))?.split_whitespace().next()?.parse().ok()
}

/// The kernel maps as many pages around one that is asked for, where it has them.
const MAPPED_AT_ONCE: usize = 64 << 10;

/// Reads the program's code before somebody waits for it. What no request has used so far is on the disk only, and the
/// first request that needs it would stop a dozen times, for a millisecond each.
pub fn page_in() {
    if let Err(error) = touch_code() {
        tracing::debug!(%error, "the program is read as it is used");
    }
}

fn touch_code() -> io::Result<()> {
    let program = std::fs::read_link("/proc/self/exe")?;
    let program = program.to_string_lossy();
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let memory = File::open("/proc/self/mem")?;
    for map in maps.lines().filter(|map| map.ends_with(&*program)) {
        let Some((start, end)) = code(map) else { continue };
        for address in (start..end).step_by(MAPPED_AT_ONCE) {
            memory.read_at(&mut [0], address)?;
        }
    }
    Ok(())
}

/// The addresses of a line of `/proc/self/maps`, if it is code.
fn code(map: &str) -> Option<(u64, u64)> {
    let (addresses, rest) = map.split_once(' ')?;
    let (start, end) = addresses.split_once('-')?;
    let address = |text| u64::from_str_radix(text, 16).ok();
    rest.starts_with("r-x").then_some((address(start)?, address(end)?))
}

/// What the kernel shows user space, whatever it counts in itself.
const TICKS_PER_SECOND: f64 = 100.0;

/// Fields 14 and 15 of `/proc/self/stat`, in clock ticks.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name and may hold anything but its closing bracket.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / TICKS_PER_SECOND)
}
