//! Which files are not kept any longer: what is older than was asked, or more than was asked, or more than the disk has
//! room for. Whole hours go, the oldest first; of the newest hour, the files that were received first. Sizes and times in,
//! ids of files out: never removes anything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use orrery_model::{TableName, TenantId};

use crate::DataFile;
use crate::lake::LakeView;
use crate::parquet::{MIXED, hour_of};

/// How long, and how much, is kept. `None` is without limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Hours that ended longer ago are dropped. A time in the future is as old as now.
    pub max_age: Option<Duration>,
    /// Of Parquet files.
    pub max_bytes: Option<u64>,
    /// Parquet files as a share of what they and the free space of their disk are together, in percent.
    pub max_disk_percent: Option<u8>,
}

/// Limits of one table, which go before those of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableLimits {
    /// `None` is each tenant; a rule for one tenant goes before it.
    pub tenant: Option<TenantId>,
    pub table: TableName,
    pub limits: Limits,
}

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetentionConfig {
    /// `max_age` is that of each table that has none of its own; bytes and share are of all tables and tenants together.
    pub all: Limits,
    pub tables: Vec<TableLimits>,
    /// Where a share of the disk is set for all, so many bytes are left free at least.
    pub free_bytes: u64,
}

/// The disk that the files are on.
#[derive(Clone, Copy, Debug)]
pub struct Disk {
    pub free_bytes: u64,
    /// Files that are dropped already and about to be deleted.
    pub pending_bytes: u64,
}

/// Why files are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Age,
    Bytes,
    Disk,
}

impl Why {
    pub const ALL: [Self; 3] = [Self::Age, Self::Bytes, Self::Disk];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Bytes => "bytes",
            Self::Disk => "disk",
        }
    }
}

/// Files of one table and hour that are to go.
#[derive(Clone, Debug)]
pub struct Dropped {
    pub tenant: TenantId,
    pub table: TableName,
    pub files: Vec<Arc<DataFile>>,
    pub why: Why,
}

impl Dropped {
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size_bytes).sum()
    }

    pub fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }
}

impl RetentionConfig {
    /// What limits a table: of each limit the one that was said for it most closely. Bytes and share of all are not among
    /// them.
    fn of(&self, tenant: &TenantId, table: TableName) -> Limits {
        let mut limits = Limits { max_age: self.all.max_age, ..Limits::default() };
        let fits = |rule: &&TableLimits| rule.table == table && rule.tenant.as_ref().is_none_or(|of| of == tenant);
        let mut rules: Vec<&TableLimits> = self.tables.iter().filter(fits).collect();
        rules.sort_by_key(|rule| rule.tenant.is_some());
        for TableLimits { limits: own, .. } in rules {
            limits.max_age = own.max_age.or(limits.max_age);
            limits.max_bytes = own.max_bytes.or(limits.max_bytes);
            limits.max_disk_percent = own.max_disk_percent.or(limits.max_disk_percent);
        }
        limits
    }

    fn needs_disk(&self) -> bool {
        let all = std::iter::once(&self.all).chain(self.tables.iter().map(|rule| &rule.limits));
        all.into_iter().any(|limits| limits.max_disk_percent.is_some())
    }
}

/// The files of one table and hour, or one file of several hours.
struct Group {
    tenant: TenantId,
    table: TableName,
    /// Since the Unix epoch, of the newest row, which is not in the future.
    hour: i64,
    newest_ns: i64,
    /// Those received first first.
    files: Vec<Arc<DataFile>>,
}

impl Group {
    fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size_bytes).sum()
    }
}

/// What is to go at a moment. `disk` is asked only where a share of it is set; where it does not answer, no file goes for
/// lack of room.
pub fn choose(
    view: &LakeView,
    config: &RetentionConfig,
    now_ns: i64,
    disk: impl FnOnce() -> Option<Disk>,
) -> Vec<Dropped> {
    let live: u64 = view.all_files().map(|file| file.size_bytes).sum();
    let room = config.needs_disk().then(disk).flatten().map(|disk| live + disk.pending_bytes + disk.free_bytes);
    let mut dropped = Vec::new();
    let mut kept: Vec<Group> = Vec::new();
    for (tenant, tables) in &view.tables {
        for (table, files) in TableName::ALL.into_iter().zip(tables) {
            let limits = config.of(tenant, table);
            let (old, mut groups): (Vec<_>, Vec<_>) =
                groups(tenant, table, files, now_ns).into_iter().partition(|group| is_past(group, &limits, now_ns));
            dropped.extend(old.into_iter().map(|group| drop_of(group, Why::Age)));
            for (most, why) in [(limits.max_bytes, Why::Bytes), (share(limits.max_disk_percent, room), Why::Disk)] {
                if let Some(most) = most {
                    groups = shed(groups, most, why, &mut dropped);
                }
            }
            kept.extend(groups);
        }
    }
    let floor = room.filter(|_| config.all.max_disk_percent.is_some()).map(|r| r.saturating_sub(config.free_bytes));
    let of_disk = share(config.all.max_disk_percent, room).into_iter().chain(floor).min();
    for (most, why) in [(config.all.max_bytes, Why::Bytes), (of_disk, Why::Disk)] {
        if let Some(most) = most {
            kept = shed(kept, most, why, &mut dropped);
        }
    }
    dropped
}

fn is_past(group: &Group, limits: &Limits, now_ns: i64) -> bool {
    limits.max_age.is_some_and(|age| {
        let age_ns = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
        group.newest_ns < now_ns.saturating_sub(age_ns)
    })
}

fn share(percent: Option<u8>, room: Option<u64>) -> Option<u64> {
    let (percent, room) = (percent?, room?);
    Some(u64::try_from(u128::from(room) * u128::from(percent) / 100).unwrap_or(u64::MAX))
}

fn groups(tenant: &TenantId, table: TableName, files: &[Arc<DataFile>], now_ns: i64) -> Vec<Group> {
    let mut by_hour: BTreeMap<(u32, i64), Vec<Arc<DataFile>>> = BTreeMap::new();
    for file in files {
        let hour = hour_of(file.min_timestamp_ns, file.max_timestamp_ns);
        // Files of several hours have nothing in common.
        let own = if hour == MIXED { file.id } else { 0 };
        by_hour.entry((hour, own)).or_default().push(Arc::clone(file));
    }
    let group = |mut files: Vec<Arc<DataFile>>| {
        files.sort_by_key(|file| file.received());
        let newest_ns = files.iter().map(|file| file.max_timestamp_ns.min(now_ns)).max().unwrap_or(now_ns);
        let hour = newest_ns.div_euclid(crate::HOUR_NS);
        Group { tenant: tenant.clone(), table, hour, newest_ns, files }
    };
    by_hour.into_values().map(group).collect()
}

fn drop_of(group: Group, why: Why) -> Dropped {
    Dropped { tenant: group.tenant, table: group.table, files: group.files, why }
}

/// Takes away until the rest has at most so many bytes: gives the rest.
fn shed(mut groups: Vec<Group>, most: u64, why: Why, dropped: &mut Vec<Dropped>) -> Vec<Group> {
    let mut bytes: u64 = groups.iter().map(Group::bytes).sum();
    if bytes <= most {
        return groups;
    }
    let newest = groups.iter().map(|group| group.hour).max().unwrap_or_default();
    groups.sort_by(|a, b| {
        b.newest_ns.cmp(&a.newest_ns).then(b.table.cmp(&a.table)).then_with(|| b.tenant.cmp(&a.tenant))
    });
    while bytes > most
        && let Some(oldest) = groups.pop_if(|group| group.hour < newest)
    {
        bytes -= oldest.bytes();
        dropped.push(drop_of(oldest, why));
    }
    // What is left is the newest hour, of several tables perhaps.
    while bytes > most {
        let first = groups.iter_mut().min_by_key(|group| group.files.first().map(|file| file.received()));
        let Some(group) = first else { break };
        let file = group.files.remove(0);
        bytes -= file.size_bytes;
        dropped.push(Dropped { tenant: group.tenant.clone(), table: group.table, files: vec![file], why });
        groups.retain(|group| !group.files.is_empty());
    }
    groups
}

#[cfg(test)]
mod tests;
