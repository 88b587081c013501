//! What the kernel says about this process, under the names that Prometheus' own clients use. Linux only; elsewhere there
//! is nothing to show.

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
