//! A full disk, for real: the data folder is a small volume in memory, in namespaces of the test's own. What does not fit
//! is refused with the code that says so, reading goes on, ingest resumes by itself when there is room, and nothing that was
//! acknowledged is lost. Where the system permits no namespaces it is skipped, aloud.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::ledger::{Answer, Ledger, Shape};
use crate::server::{self, Folder, Server, orrery};
use crate::torture::{Random, Torture};

const VOLUME_MIB: usize = 48;
/// With room for what a sort spills.
const LARGE_VOLUME_MIB: usize = 384;
/// About 100 KiB a request.
const SHAPE: Shape = Shape { spans: 100, noise: 1000, per_hour: 0 };
const MOST: usize = 2_000;

/// Small segments, no flush by itself, and nothing dropped for lack of room.
const SMALL: [&str; 8] = [
    "--set",
    "storage.wal_segment=1MiB",
    "--set",
    "storage.memtable=1GiB",
    "--set",
    "storage.flush_age=24h",
    "--set",
    "retention.max_disk=100%",
];

/// A volume of its own in the place of the data folder. It is there for those in its namespaces only, and goes with them.
struct Volume {
    holder: Child,
    data: PathBuf,
}

impl Volume {
    fn make(folder: &Folder, size_mib: usize) -> Result<Self, String> {
        let data = folder.data();
        fs::create_dir(&data).expect("a new folder");
        let script = format!("mount -t tmpfs -o size={size_mib}m tmpfs \"$0\" && echo mounted && exec cat >/dev/null");
        let mut holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
            .arg(&data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        let mut line = String::new();
        let stdout = holder.stdout.take().expect("stdout is piped");
        if BufReader::new(stdout).read_line(&mut line).is_ok() && line.trim() == "mounted" {
            return Ok(Self { holder, data });
        }
        let output = holder.wait_with_output().expect("it has ended");
        Err(format!("no volume in a namespace: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }

    /// The data folder as it is seen from here.
    fn path(&self) -> PathBuf {
        let inside = self.data.strip_prefix("/").expect("a temporary folder's path is absolute");
        Path::new("/proc").join(self.holder.id().to_string()).join("root").join(inside)
    }

    /// Starts a server within the namespaces.
    fn start(&self, folder: &Folder, args: &[&str]) -> Result<Server, String> {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().to_string(), "--user", "--mount", "--preserve-credentials"]);
        command.arg(orrery().get_program());
        for (name, _) in orrery().get_envs() {
            command.env_remove(name);
        }
        Server::try_start(folder, &mut command, args)
    }

    /// Takes all the room that is left but about `spare` bytes.
    fn fill(&self, spare: usize) {
        let path = self.path().join("ballast");
        let mut ballast = File::options().create(true).append(true).open(&path).expect("a file on the volume");
        for block in [64 << 10, 4 << 10] {
            while ballast.write_all(&vec![0; block]).is_ok() {}
        }
        let len = ballast.metadata().expect("the ballast").len();
        ballast.set_len(len.saturating_sub(spare as u64)).expect("cut");
    }

    fn make_room(&self) {
        fs::remove_file(self.path().join("ballast")).expect("the ballast is removed");
    }

    /// The data files and what else lies in their folders.
    fn data_files(&self) -> usize {
        let mut folders = vec![self.path().join("data")];
        let mut files = 0;
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() { folders.push(path) } else { files += 1 }
            }
        }
        files
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Runs on a new volume, unless the system does not permit one.
fn on_a_volume(torture: Torture, size_mib: usize, run: impl FnOnce(&Folder, &Volume, &mut Random) -> String) {
    let folder = Folder::new();
    match Volume::make(&folder, size_mib) {
        Ok(volume) => {
            let done = run(&folder, &volume, &mut torture.random(1));
            torture.done(done);
        }
        Err(why) => torture.skipped(why),
    }
}

fn assert_no_space(answer: Option<Answer>) {
    match answer {
        Some(Answer::Refused { status: 503, retry_after: Some(_) }) => {}
        other => panic!("a full disk is answered with 503 and when to try again, not {other:?}"),
    }
}

fn with(more: &[&'static str]) -> Vec<&'static str> {
    SMALL.iter().copied().chain(more.iter().copied()).collect()
}

/// Ingest resumes without anyone's help.
fn resumes(ledger: &mut Ledger, server: &Server) {
    server::poll("ingest to resume", || {
        let request = ledger.next();
        let answer = ledger.shape.export(&server.otlp_http, request);
        ledger.note(request, &answer);
        (answer == Answer::Stored).then_some(())
    });
    ledger.settle(&server.otlp_http);
}

#[test]
fn the_log_finds_no_room() {
    on_a_volume(Torture::start("disk-log"), VOLUME_MIB, |folder, volume, random| {
        let args = with(&["--set", "storage.min_free=1B"]);
        let server = volume.start(folder, &args).expect("there is room");
        let mut ledger = Ledger::new(SHAPE);
        for round in 0..3 {
            assert_eq!(ledger.send_until_refused(&server.otlp_http, 1 + random.below(20)), None);
            volume.fill(random.below(512 << 10));
            assert_no_space(ledger.send_until_refused(&server.otlp_http, MOST));
            ledger.check(&server, &format!("on the full disk, round {round}"));
            volume.make_room();
            resumes(&mut ledger, &server);
            ledger.check(&server, &format!("with room again, round {round}"));
        }
        volume.fill(0);
        assert_no_space(ledger.send_until_refused(&server.otlp_http, MOST));
        server.kill();
        // On a disk that is full it starts, or says why not.
        let restarted = match volume.start(folder, &args) {
            Ok(server) => {
                ledger.check(&server, "started on the full disk");
                assert_no_space(ledger.send_until_refused(&server.otlp_http, MOST));
                volume.make_room();
                server
            }
            Err(log) => {
                assert!(log.contains("full") || log.contains("No space"), "{log}");
                volume.make_room();
                volume.start(folder, &args).expect("there is room")
            }
        };
        resumes(&mut ledger, &restarted);
        restarted.flush();
        ledger.check(&restarted, "after the last flush");
        format!("full four times, {} requests acknowledged, 0 lost, 0 twice", ledger.acknowledged.len())
    });
}

#[test]
fn ingest_stops_at_the_floor_of_free_space_and_resumes() {
    on_a_volume(Torture::start("disk-floor"), VOLUME_MIB, |folder, volume, random| {
        let server = volume.start(folder, &with(&["--set", "storage.min_free=16MiB"])).expect("there is room");
        let mut ledger = Ledger::new(SHAPE);
        assert_eq!(ledger.send_until_refused(&server.otlp_http, 1 + random.below(20)), None);
        volume.fill(15 << 20);
        assert_no_space(ledger.send_until_refused(&server.otlp_http, MOST));
        // What lies below the floor is there for flushes.
        server.flush();
        ledger.check(&server, "below the floor");
        volume.make_room();
        resumes(&mut ledger, &server);
        ledger.check(&server, "above the floor");
        format!("{} requests acknowledged, 0 lost, 0 twice", ledger.acknowledged.len())
    });
}

/// As small as the volume; nothing is said of retention.
const KEEPING: [&str; 6] =
    ["--set", "storage.wal_segment=1MiB", "--set", "storage.memtable=1MiB", "--set", "storage.min_free=4MiB"];

#[test]
fn the_oldest_hours_go_before_the_disk_is_full() {
    let torture = Torture::start("disk-keep");
    // Of what the volume takes.
    let volumes = torture.size(1, 4) + 1;
    on_a_volume(torture, VOLUME_MIB, |folder, volume, random| {
        let server = volume.start(folder, &KEEPING).expect("there is room");
        let mut ledger = Ledger::new(Shape { per_hour: 20 + random.below(10), ..SHAPE });
        let (mut refused, mut files_bytes) = (0, 0);
        while files_bytes < (volumes * VOLUME_MIB) << 20 {
            let request = ledger.next();
            server::poll("ingest to resume", || {
                let answer = ledger.shape.export(&server.otlp_http, request);
                refused += usize::from(answer != Answer::Stored);
                ledger.note(request, &answer);
                (answer == Answer::Stored).then_some(())
            });
            if request.is_multiple_of(10) {
                let status = server.get_json("/api/v1/lake/status");
                let bytes = |name: &str| status[name].as_u64().expect("a number") as usize;
                files_bytes = bytes("file_bytes") + bytes("dropped_bytes");
                assert!(bytes("free_bytes") > 0, "the volume is full");
            }
        }
        server.flush();
        let query = "SELECT CAST(extract(epoch FROM date_trunc('hour', timestamp)) AS BIGINT) AS hour, count(*) \
                     FROM spans GROUP BY 1 ORDER BY 1 DESC";
        let dropped = || server.get_json("/api/v1/lake/status")["dropped_rows"].as_u64().expect("a number");
        let (dropped, hours) = server::poll("nothing to be dropped", || {
            let (before, hours) = (dropped(), server.sql(query));
            (dropped() == before).then_some((before, hours))
        });
        let hours: Vec<_> = hours.iter().map(|row| (row[0].as_u64(), row[1].as_u64())).collect();
        let kept: u64 = hours.iter().filter_map(|(_, rows)| *rows).sum();
        assert_eq!(kept + dropped, (ledger.acknowledged.len() * SHAPE.spans) as u64, "{hours:?}");
        assert!(dropped > 0, "what was sent is more than the volume takes");
        // Whole hours went, the oldest: what is left is as it was sent, to the last one.
        let mut sent = BTreeMap::new();
        for request in &ledger.acknowledged {
            *sent.entry(ledger.shape.hour(*request)).or_insert(0) += SHAPE.spans as u64;
        }
        let newest = sent.iter().rev().take(hours.len()).map(|(hour, rows)| (Some(*hour), Some(*rows)));
        assert_eq!(hours, newest.collect::<Vec<_>>());
        let metrics = server.get("/metrics").1;
        let by_disk =
            |line: &str| line.strip_prefix(r#"orrery_retention_dropped_rows_total{why="disk"} "#)?.parse().ok();
        let by_disk: Option<u64> = metrics.lines().find_map(by_disk);
        assert!(by_disk.is_some_and(|rows| rows >= dropped), "{metrics}");
        assert!(!folder.log().contains("No space"), "{}", folder.log());
        format!(
            "{} MiB of files on {VOLUME_MIB} MiB, {} of {} hours left, whole, {refused} answers were to try again",
            files_bytes >> 20,
            hours.len(),
            sent.len()
        )
    });
}

#[test]
fn data_files_find_no_room() {
    on_a_volume(Torture::start("disk-files"), VOLUME_MIB, |folder, volume, random| {
        let server = volume.start(folder, &with(&["--set", "storage.min_free=1B"])).expect("there is room");
        let mut ledger = Ledger::new(SHAPE);
        for round in 0..3 {
            // More than fits into the spare room as a file.
            assert_eq!(ledger.send_until_refused(&server.otlp_http, 30), None);
            volume.fill(random.below(1 << 20));
            let files = volume.data_files();
            let (status, answer) = server.post(&format!("{}/api/v1/lake/flush", server.http), "application/json", b"");
            let answer = String::from_utf8_lossy(&answer).into_owned();
            assert_eq!(status, 507, "{answer}");
            assert!(answer.contains("disk_full") && answer.contains("hint"), "{answer}");
            assert_eq!(volume.data_files(), files, "a failed flush leaves nothing, round {round}");
            ledger.check(&server, &format!("after the failed flush, round {round}"));
            volume.make_room();
            // It is tried again by itself.
            let rows = (ledger.acknowledged.len() * SHAPE.spans) as u64;
            server::poll("the flush", || {
                let status = server.get_json("/api/v1/lake/status");
                (status["file_rows"].as_u64() == Some(rows)).then_some(())
            });
            ledger.check(&server, &format!("after the flush, round {round}"));
            resumes(&mut ledger, &server);
        }
        server.kill();
        let server = volume.start(folder, &with(&[])).expect("there is room");
        ledger.check(&server, "after the restart");
        format!("three flushes failed and were repeated, {} requests, 0 lost, 0 twice", ledger.acknowledged.len())
    });
}

#[test]
fn a_query_finds_no_room_to_spill() {
    on_a_volume(Torture::start("disk-spill"), LARGE_VOLUME_MIB, |folder, volume, random| {
        let args = with(&["--set", "storage.min_free=1B", "--set", "query.memory=128MiB"]);
        let server = volume.start(folder, &args).expect("there is room");
        let mut ledger = Ledger::new(SHAPE);
        assert_eq!(ledger.send_until_refused(&server.otlp_http, 30), None);
        server.flush();
        // 160 MB to sort, more than a query's share of the memory.
        let sort = "SELECT max(place) FROM (SELECT row_number() OVER (ORDER BY -value) AS place \
                    FROM generate_series(1, 10000000))";
        let sort = format!(r#"{{"query": "{sort}", "format": "csv"}}"#);
        let url = format!("{}/api/v1/sql", server.http);
        let ask = || server.post(&url, "application/json", sort.as_bytes());
        volume.fill(random.below(64 << 10));
        let (status, answer) = ask();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert_eq!(status, 507, "{}", &answer[..answer.len().min(500)]);
        assert!(answer.contains("spill_full") && answer.contains("hint"), "{answer}");
        ledger.check(&server, "after the query");
        volume.make_room();
        let (status, answer) = ask();
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer[..answer.len().min(500)]));
        resumes(&mut ledger, &server);
        ledger.check(&server, "with room");
        format!("a sort was refused and then answered, {} requests, 0 lost", ledger.acknowledged.len())
    });
}
