//! Single bits flipped in the catalog's file and in SQLite's log beside it, each followed by a start, a flush and another
//! start: the same files with the same rows and the same watermark, or an error. Never a panic, never a file forgotten,
//! counted otherwise or removed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orrery_model::{Signal, TableName, TenantId};
use orrery_storage::{Lake, LakeView, SealedBatch};

use super::harness::request;
use crate::torture::{Torture, scratch};

const CATALOG: [&str; 2] = ["catalog.sqlite", "catalog.sqlite-wal"];

/// What came of a flip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Seen {
    /// Opened, flushed to and opened again, with the same files.
    Same,
    /// The first start says what is wrong.
    RefusedAtTheStart,
    /// The flush, or the start after it.
    RefusedLater,
}

/// What a lake says of itself, as text that tells any difference.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    flushed_sequence: u64,
    /// By path below the data folder.
    files: BTreeMap<String, String>,
}

impl Said {
    fn of(dir: &Path, lake: &Lake) -> Self {
        let view: Arc<LakeView> = lake.view();
        let mut files = BTreeMap::new();
        for (tenant, tables) in &view.tables {
            for (table, of_table) in TableName::ALL.iter().zip(tables) {
                for file in of_table.iter() {
                    let path = file.path.strip_prefix(dir).unwrap().display().to_string();
                    let facts = format!(
                        "{tenant} {table} {} {} {} {} {}..{} {:?} {:?}",
                        file.id,
                        file.size_bytes,
                        file.footer_bytes,
                        file.rows,
                        file.min_timestamp_ns,
                        file.max_timestamp_ns,
                        file.checksums,
                        file.trace_filter
                    );
                    assert!(files.insert(path.clone(), facts).is_none(), "{path} is there twice");
                }
            }
        }
        Self { flushed_sequence: lake.flushed_sequence(), files }
    }
}

fn sealed(tenant: &TenantId, id: i64) -> SealedBatch {
    SealedBatch { tenant: tenant.clone(), table: Signal::Logs.into(), batch: request(id).batch }
}

/// A lake of two tenants and a dozen files, as a stop without warning leaves it: copied while it is open.
async fn original(dir: &Path) -> Said {
    let live = dir.join("live");
    fs::create_dir(&live).unwrap();
    let lake = Lake::open(&live).await.unwrap();
    let tenants = [TenantId::default(), TenantId::new("acme").unwrap()];
    for flush in 0..6 {
        let batches = (0..4).map(|n| sealed(&tenants[n % 2], flush * 4 + i64::try_from(n).unwrap() / 2));
        let first = u64::try_from(flush).unwrap() * 10 + 1;
        lake.flush(first, first + 9, batches.collect()).await.unwrap();
    }
    let said = Said::of(&live.canonicalize().unwrap(), &lake);
    assert!(said.files.len() > 10, "{} files", said.files.len());
    for name in CATALOG {
        fs::copy(live.join(name), dir.join(name)).unwrap();
    }
    said
}

/// Puts the data files, as links, and the catalog into a new folder.
fn copy(from: &Path, to: &Path, said: &Said) {
    for path in said.files.keys() {
        fs::create_dir_all(to.join(path).parent().unwrap()).unwrap();
        fs::hard_link(from.join("live").join(path), to.join(path)).unwrap();
    }
    for name in CATALOG {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

async fn flip(dir: PathBuf, name: &'static str, bit: usize, said: Said) -> Result<Seen, String> {
    let file = dir.join(name);
    let mut bytes = fs::read(&file).unwrap();
    bytes[bit / 8] ^= 1 << (bit % 8);
    fs::write(&file, bytes).unwrap();
    let seen = use_it(&dir, &said).await?;
    let lost: Vec<_> = said.files.keys().filter(|path| !dir.join(path).is_file()).collect();
    if lost.is_empty() { Ok(seen) } else { Err(format!("{seen:?}, and files were removed: {lost:?}")) }
}

async fn use_it(dir: &Path, said: &Said) -> Result<Seen, String> {
    let mut expected = said.clone();
    {
        let Ok(lake) = Lake::open(dir).await else { return Ok(Seen::RefusedAtTheStart) };
        let found = Said::of(dir, &lake);
        if found != expected {
            return Err(format!("at the start it says {found:?}"));
        }
        let (first, through) = (said.flushed_sequence + 1, said.flushed_sequence + 2);
        let Ok(_) = lake.flush(first, through, vec![sealed(&TenantId::default(), 1000)]).await else {
            return Ok(Seen::RefusedLater);
        };
        let after = Said::of(dir, &lake);
        expected.flushed_sequence = through;
        expected.files.extend(after.files.clone().into_iter().filter(|(path, _)| !said.files.contains_key(path)));
        if after != expected || after.files.len() != said.files.len() + 1 {
            return Err(format!("after a flush it says {after:?}"));
        }
    }
    let Ok(lake) = Lake::open(dir).await else { return Ok(Seen::RefusedLater) };
    let found = Said::of(dir, &lake);
    if found == expected { Ok(Seen::Same) } else { Err(format!("after the flush and a start it says {found:?}")) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_of_the_catalog_is_told_or_changes_nothing() {
    let torture = Torture::start("flips-catalog");
    let mut random = torture.random(1);
    let flips = torture.size(300, 10_000);
    let dir = scratch();
    let root = dir.path().canonicalize().unwrap();
    let said = original(&root).await;
    let sizes = CATALOG.map(|name| usize::try_from(fs::metadata(root.join(name)).unwrap().len()).unwrap());
    let (mut seen, mut faults) = (BTreeMap::<Seen, usize>::new(), Vec::new());
    for flip_index in 0..flips {
        let at = random.below(sizes[0] + sizes[1] / 4);
        let (name, byte) = if at < sizes[0] { (CATALOG[0], at) } else { (CATALOG[1], random.below(sizes[1])) };
        let bit = byte * 8 + random.below(8);
        let to = root.join(format!("flip-{flip_index}"));
        fs::create_dir(&to).unwrap();
        copy(&root, &to, &said);
        match tokio::spawn(flip(to.clone(), name, bit, said.clone())).await {
            Ok(Ok(what)) => *seen.entry(what).or_default() += 1,
            Ok(Err(fault)) => faults.push(format!("bit {bit} of {name}: {fault}")),
            Err(panic) => faults.push(format!("bit {bit} of {name}: {panic}")),
        }
        fs::remove_dir_all(to).unwrap();
    }
    assert!(faults.is_empty(), "{} of {flips}: {:.2000}", faults.len(), faults.join("\n"));
    assert!(seen.get(&Seen::RefusedAtTheStart).is_some_and(|n| *n > flips / 50), "{seen:?}");
    torture.done(format!("{flips} bits flipped, 0 panics, 0 silent differences, 0 files removed: {seen:?}"));
}
