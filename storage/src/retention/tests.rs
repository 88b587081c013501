//! What goes and what stays, by cases: files as (tenant, table, hour before now, size), in the order of receipt.

use std::collections::HashMap;
use std::path::PathBuf;

use orrery_model::SnapshotId;

use super::*;

const HOUR: i64 = crate::HOUR_NS;
const NOW: i64 = 500_000 * HOUR + HOUR / 2;

type File = (&'static str, TableName, i64, u64);

fn file(id: i64, min_timestamp_ns: i64, max_timestamp_ns: i64, size_bytes: u64) -> Arc<DataFile> {
    Arc::new(DataFile {
        id,
        path: PathBuf::from(id.to_string()),
        size_bytes,
        footer_bytes: 0,
        rows: 10,
        min_timestamp_ns,
        max_timestamp_ns,
        trace_filter: None,
        checksums: None,
        merged_from: None,
        layout: None,
    })
}

fn view(files: &[File]) -> LakeView {
    let mut tables: HashMap<TenantId, [Arc<Vec<Arc<DataFile>>>; TableName::COUNT]> = HashMap::new();
    for (id, (tenant, table, ago, size_bytes)) in (1..).zip(files) {
        let time = NOW - ago * HOUR;
        let of_tenant = tables.entry(TenantId::new(tenant).expect("a name")).or_default();
        Arc::make_mut(&mut of_tenant[table.index()]).push(file(id, time, time, *size_bytes));
    }
    LakeView { id: SnapshotId(1), tables, learned: Arc::default() }
}

/// Ids of the files that go, and why, in order of id.
fn gone(view: &LakeView, config: &RetentionConfig, disk: Option<Disk>) -> Vec<(i64, Why)> {
    let dropped = choose(view, config, NOW, || disk);
    let mut gone: Vec<_> = dropped.iter().flat_map(|d| d.files.iter().map(|file| (file.id, d.why))).collect();
    gone.sort_by_key(|(id, _)| *id);
    gone
}

fn all(limits: Limits) -> RetentionConfig {
    RetentionConfig { all: limits, ..RetentionConfig::default() }
}

fn hours(n: u64) -> Option<Duration> {
    Some(Duration::from_secs(n * 3600))
}

use TableName::{Logs, Metrics, Spans};

#[test]
fn without_limits_everything_stays() {
    let view = view(&[("main", Spans, 100_000, 1 << 40), ("main", Logs, -50, 5)]);
    assert_eq!(gone(&view, &RetentionConfig::default(), None), []);
}

#[test]
fn hours_that_ended_longer_ago_go() {
    let view = view(&[
        ("main", Spans, 30, 5),
        ("main", Spans, 24, 5),
        ("main", Spans, 23, 5),
        ("main", Logs, 30, 5),
        ("acme", Logs, 30, 5),
        ("main", Metrics, -9_000, 5),
    ]);
    let age = |hours| Limits { max_age: hours, ..Limits::default() };
    let config = all(age(hours(24)));
    assert_eq!(gone(&view, &config, None), [(1, Why::Age), (4, Why::Age), (5, Why::Age)]);
    // A table's own age goes before that of all, a tenant's before that.
    let rule = |tenant: Option<&str>, table, limits| TableLimits {
        tenant: tenant.map(|name| TenantId::new(name).expect("a name")),
        table,
        limits,
    };
    let tables = vec![rule(Some("acme"), Logs, age(hours(48))), rule(None, Logs, age(hours(8)))];
    let config = RetentionConfig { tables, ..config };
    assert_eq!(gone(&view, &config, None), [(1, Why::Age), (4, Why::Age)]);
}

#[test]
fn a_file_of_several_hours_goes_by_its_newest_row() {
    for (newest, goes) in [(NOW - 25 * HOUR, true), (NOW - 23 * HOUR, false), (i64::MAX, false)] {
        let mut tables: [Arc<Vec<Arc<DataFile>>>; TableName::COUNT] = Default::default();
        tables[Spans.index()] = Arc::new(vec![file(1, 0, newest, 5)]);
        let view =
            LakeView { id: SnapshotId(1), tables: [(TenantId::default(), tables)].into(), learned: Arc::default() };
        let config = all(Limits { max_age: hours(24), ..Limits::default() });
        assert_eq!(!gone(&view, &config, None).is_empty(), goes, "{newest}");
    }
}

#[test]
fn the_oldest_hours_go_whole_until_the_rest_is_small_enough() {
    let of_spans = [("main", Spans, 3, 10), ("main", Spans, 2, 10), ("main", Spans, 3, 10), ("main", Spans, 1, 10)];
    let spans = |max_bytes| RetentionConfig {
        tables: vec![TableLimits {
            tenant: None,
            table: Spans,
            limits: Limits { max_bytes: Some(max_bytes), ..Limits::default() },
        }],
        ..RetentionConfig::default()
    };
    let others = [("main", Logs, 9, 100), ("acme", Spans, 8, 10)];
    let view = view(&of_spans.into_iter().chain(others).collect::<Vec<_>>());
    assert_eq!(gone(&view, &spans(40), None), []);
    // The hour before last has two files, which go together, though one would do; other tables and tenants are apart.
    assert_eq!(gone(&view, &spans(39), None), [(1, Why::Bytes), (3, Why::Bytes)]);
    assert_eq!(gone(&view, &spans(19), None), [(1, Why::Bytes), (2, Why::Bytes), (3, Why::Bytes)]);
    // Of all together the oldest goes, whosever it is.
    let together = |max_bytes| all(Limits { max_bytes: Some(max_bytes), ..Limits::default() });
    assert_eq!(gone(&view, &together(149), None), [(5, Why::Bytes)]);
    assert_eq!(gone(&view, &together(49), None), [(5, Why::Bytes), (6, Why::Bytes)]);
}

#[test]
fn of_the_newest_hour_go_the_files_that_were_received_first() {
    let view = view(&[
        ("main", Logs, 0, 10),
        ("main", Spans, 0, 10),
        ("main", Logs, 0, 10),
        ("main", Spans, 1, 10),
        ("main", Spans, 0, 10),
    ]);
    let together = |max_bytes| all(Limits { max_bytes: Some(max_bytes), ..Limits::default() });
    let ids = |max_bytes| gone(&view, &together(max_bytes), None).iter().map(|(id, _)| *id).collect::<Vec<_>>();
    assert_eq!(ids(45), [4]);
    assert_eq!(ids(35), [1, 4]);
    assert_eq!(ids(15), [1, 2, 3, 4]);
    assert_eq!(ids(0), [1, 2, 3, 4, 5]);
}

#[test]
fn the_disk_is_never_filled() {
    let view = view(&[("main", Spans, 3, 300), ("main", Logs, 2, 300), ("main", Spans, 1, 300)]);
    let disk = |free_bytes, pending_bytes| Some(Disk { free_bytes, pending_bytes });
    let percent = |percent| all(Limits { max_disk_percent: Some(percent), ..Limits::default() });
    // 900 of 1,000.
    assert_eq!(gone(&view, &percent(90), disk(100, 0)), []);
    assert_eq!(gone(&view, &percent(90), disk(99, 0)), [(1, Why::Disk)]);
    assert_eq!(gone(&view, &percent(50), disk(100, 0)), [(1, Why::Disk), (2, Why::Disk)]);
    // What is dropped and not deleted yet will be free soon.
    assert_eq!(gone(&view, &percent(90), disk(0, 100)), []);
    // Where the system does not say, nothing goes.
    assert_eq!(gone(&view, &percent(1), None), []);
    // However small the share that is to be free, so many bytes are.
    let floor = RetentionConfig { free_bytes: 400, ..percent(99) };
    assert_eq!(gone(&view, &floor, disk(100, 0)), [(1, Why::Disk)]);
    assert_eq!(gone(&view, &floor, disk(400, 0)), []);
    // A share of one table.
    let tables = vec![TableLimits { tenant: None, table: Spans, limits: percent(50).all }];
    let config = RetentionConfig { tables, ..RetentionConfig::default() };
    assert_eq!(gone(&view, &config, disk(100, 0)), [(1, Why::Disk)]);
}
