//! A file system in memory that knows what a power cut would leave: a file's bytes are durable after its `sync_data`, a
//! name after `sync_dir` of its folder. The power can go before or after any call that changes something, calls can be
//! made to fail, and the volume has a size. Two knobs leave a kind of sync out, to show that the tests would notice.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use orrery_storage::fs::{File, FileSystem};

const SECTOR: usize = 512;

/// What of the unsynced survives a cut.
#[derive(Clone, Copy, Debug)]
pub enum Loss {
    /// Nothing.
    All,
    /// Any part: names and 512-byte sectors one by one, by the seed's choice.
    Torn(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Before,
    After,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    CreateDir,
    Create,
    Rename,
    Unlink,
    SyncDir,
    Preallocate,
    Write,
    SetSize,
    SyncData,
    /// A transaction of the lake's model.
    Commit,
}

/// Syncs that do nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ignore {
    pub sync_data: bool,
    pub sync_dir: bool,
}

#[derive(Clone)]
pub struct Disk(Arc<Mutex<State>>);

#[derive(Clone, Copy, Debug)]
enum Node {
    Dir,
    File(u64),
}

#[derive(Clone, Debug)]
enum NameOp {
    Link(PathBuf, Node),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf, Node),
}

#[derive(Clone, Debug)]
enum FileOp {
    Size(usize),
    Write(usize, Vec<u8>),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<FileOp>,
}

struct State {
    root: PathBuf,
    live: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    pending: Vec<NameOp>,
    inodes: HashMap<u64, Inode>,
    calls: Vec<Call>,
    cut: Option<(usize, When)>,
    powered: bool,
    ignore: Ignore,
    capacity: u64,
    /// The next call of this kind fails so.
    fail: Option<(Call, io::ErrorKind)>,
}

impl Disk {
    pub fn new(root: &Path) -> Self {
        let live: BTreeMap<_, _> = [(root.to_owned(), Node::Dir)].into();
        Self(Arc::new(Mutex::new(State {
            root: root.to_owned(),
            durable: live.clone(),
            live,
            pending: Vec::new(),
            inodes: HashMap::new(),
            calls: Vec::new(),
            cut: None,
            powered: true,
            ignore: Ignore::default(),
            capacity: u64::MAX,
            fail: None,
        })))
    }

    pub fn ignoring(self, ignore: Ignore) -> Self {
        self.state().ignore = ignore;
        self
    }

    /// Cuts the power at the call with this index, counted from now.
    pub fn cut_at(&self, index: usize, when: When) {
        let mut state = self.state();
        state.calls.clear();
        state.cut = Some((index, when));
    }

    pub fn fail_next(&self, call: Call, kind: io::ErrorKind) {
        self.state().fail = Some((call, kind));
    }

    pub fn set_capacity(&self, bytes: u64) {
        self.state().capacity = bytes;
    }

    pub fn used(&self) -> u64 {
        self.state().used()
    }

    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    pub fn is_powered(&self) -> bool {
        self.state().powered
    }

    /// Changes a file's stored bytes behind everyone's back.
    pub fn corrupt(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let Some(Node::File(inode)) = state.live.get(path).copied() else { panic!("{} is a file", path.display()) };
        let inode = state.inodes.get_mut(&inode).unwrap();
        change(&mut inode.live);
        inode.durable.clone_from(&inode.live);
    }

    pub fn names(&self, dir: &Path) -> Vec<String> {
        self.list(dir).unwrap()
    }

    /// The disk as it is found after the power came back.
    pub fn restart(&self, loss: Loss) -> Self {
        let mut state = self.state();
        state.powered = false;
        let mut coin = Coin(match loss {
            Loss::All => 1,
            Loss::Torn(seed) => seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
        });
        let torn = matches!(loss, Loss::Torn(_));
        let mut names = state.durable.clone();
        for op in &state.pending {
            if torn && coin.toss() {
                op.apply(&mut names);
            }
        }
        // What lies in a folder that is gone is gone.
        let all = names.clone();
        names.retain(|path, _| path == &state.root || all.contains_key(path.parent().unwrap()));
        let mut inodes = HashMap::new();
        for node in names.values() {
            let Node::File(id) = node else { continue };
            let inode = &state.inodes[id];
            let mut bytes = inode.durable.clone();
            if torn {
                inode.pending.iter().for_each(|op| op.tear(&mut bytes, &mut coin));
            }
            inodes.insert(*id, Inode { live: bytes.clone(), durable: bytes, pending: Vec::new() });
        }
        let next = Self::new(&state.root);
        {
            let mut new = next.state();
            new.live = names.clone();
            new.durable = names;
            new.inodes = inodes;
            new.ignore = state.ignore;
        }
        next
    }

    /// Runs a call that changes something, unless the power is off or goes now.
    pub fn step<T>(&self, call: Call, run: impl FnOnce(&mut Inside<'_>) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state();
        if !state.powered {
            return Err(io::Error::other("the power is off"));
        }
        let index = state.calls.len();
        state.calls.push(call);
        let cut = state.cut.filter(|(at, _)| *at == index).map(|(_, when)| when);
        if cut == Some(When::Before) {
            state.powered = false;
            return Err(io::Error::other("the power goes"));
        }
        if let Some((_, kind)) = state.fail.take_if(|(failing, _)| *failing == call) {
            return Err(kind.into());
        }
        let result = run(&mut Inside(&mut state));
        if cut == Some(When::After) {
            state.powered = false;
            return Err(io::Error::other("the power goes"));
        }
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The state within a call.
pub struct Inside<'a>(&'a mut State);

impl State {
    fn used(&self) -> u64 {
        let files = self.live.values().filter_map(|n| if let Node::File(id) = n { Some(id) } else { None });
        files.map(|id| self.inodes[id].live.len() as u64).sum()
    }

    fn file(&mut self, id: u64, op: FileOp) -> io::Result<()> {
        let before = self.inodes[&id].live.len();
        let mut after = self.inodes[&id].live.clone();
        op.apply(&mut after);
        if after.len() > before && self.used() + (after.len() - before) as u64 > self.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let inode = self.inodes.get_mut(&id).unwrap();
        inode.live = after;
        inode.pending.push(op);
        Ok(())
    }

    fn name(&mut self, op: NameOp) {
        op.apply(&mut self.live);
        self.pending.push(op);
    }
}

impl NameOp {
    fn apply(&self, names: &mut BTreeMap<PathBuf, Node>) {
        match self {
            Self::Link(path, node) => {
                names.insert(path.clone(), *node);
            }
            Self::Unlink(path) => {
                names.remove(path);
            }
            Self::Rename(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }

    fn is_in(&self, dir: &Path) -> bool {
        match self {
            Self::Link(path, _) | Self::Unlink(path) => path.parent() == Some(dir),
            Self::Rename(from, to, _) => from.parent() == Some(dir) || to.parent() == Some(dir),
        }
    }
}

impl FileOp {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Size(size) => bytes.resize(*size, 0),
            Self::Write(offset, data) => {
                bytes.resize(bytes.len().max(offset + data.len()), 0);
                bytes[*offset..offset + data.len()].copy_from_slice(data);
            }
        }
    }

    fn tear(&self, bytes: &mut Vec<u8>, coin: &mut Coin) {
        match self {
            Self::Size(_) => {
                if coin.toss() {
                    self.apply(bytes);
                }
            }
            Self::Write(offset, data) => {
                let mut at = 0;
                while at < data.len() {
                    let end = ((offset + at) / SECTOR * SECTOR + SECTOR - offset).min(data.len());
                    if coin.toss() {
                        Self::Write(offset + at, data[at..end].to_vec()).apply(bytes);
                    }
                    at = end;
                }
            }
        }
    }
}

/// xorshift64.
struct Coin(u64);

impl Coin {
    fn toss(&mut self) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 40 & 1 == 1
    }
}

impl FileSystem for Disk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.step(Call::CreateDir, |s| {
            if !s.0.live.contains_key(path) {
                s.0.name(NameOp::Link(path.to_owned(), Node::Dir));
            }
            Ok(())
        })
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let id = self.step(Call::Create, |s| {
            if s.0.live.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let id = s.0.inodes.keys().max().map_or(0, |last| last + 1);
            s.0.inodes.insert(id, Inode::default());
            s.0.name(NameOp::Link(path.to_owned(), Node::File(id)));
            Ok(id)
        })?;
        Ok(Box::new(OpenFile { disk: self.clone(), id }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let Some(Node::File(id)) = self.state().live.get(path).copied() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        Ok(Box::new(OpenFile { disk: self.clone(), id }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        let inside = state.live.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(Call::Rename, |s| {
            let node = *s.0.live.get(from).ok_or(io::ErrorKind::NotFound)?;
            s.0.name(NameOp::Rename(from.to_owned(), to.to_owned(), node));
            Ok(())
        })
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.step(Call::Unlink, |s| {
            s.0.live.get(path).ok_or(io::ErrorKind::NotFound)?;
            s.0.name(NameOp::Unlink(path.to_owned()));
            Ok(())
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.step(Call::SyncDir, |s| {
            if s.0.ignore.sync_dir {
                return Ok(());
            }
            let (synced, left) = std::mem::take(&mut s.0.pending).into_iter().partition(|op| op.is_in(dir));
            s.0.pending = left;
            let synced: Vec<NameOp> = synced;
            synced.iter().for_each(|op| op.apply(&mut s.0.durable));
            Ok(())
        })
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        let state = self.state();
        Ok(state.capacity.saturating_sub(state.used()))
    }
}

struct OpenFile {
    disk: Disk,
    id: u64,
}

impl File for OpenFile {
    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.disk.step(Call::Preallocate, |s| s.0.file(self.id, FileOp::Size(usize::try_from(len).unwrap())))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let op = FileOp::Write(usize::try_from(offset).unwrap(), bytes.to_vec());
        self.disk.step(Call::Write, |s| s.0.file(self.id, op))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let state = self.disk.state();
        let bytes = &state.inodes[&self.id].live;
        let from = usize::try_from(offset).unwrap().min(bytes.len());
        let len = buffer.len().min(bytes.len() - from);
        buffer[..len].copy_from_slice(&bytes[from..from + len]);
        Ok(len)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.state().inodes[&self.id].live.len() as u64)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.disk.step(Call::SetSize, |s| s.0.file(self.id, FileOp::Size(usize::try_from(size).unwrap())))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.step(Call::SyncData, |s| {
            if !s.0.ignore.sync_data {
                let inode = s.0.inodes.get_mut(&self.id).unwrap();
                inode.durable.clone_from(&inode.live);
                inode.pending.clear();
            }
            Ok(())
        })
    }
}
