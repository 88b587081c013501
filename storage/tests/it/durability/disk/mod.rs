//! A file system in memory that knows what a power cut would leave: a file's bytes are durable after its `sync_data`, a
//! name after `sync_dir` of its folder. The power can go before or after any call that changes something, calls can be
//! made to fail, and the volume has a size. Two knobs leave a kind of sync out, to show that the tests would notice. What
//! lies below one folder can be kept as real files too, for those who read past the file system.

mod ops;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use ops::{Coin, FileOp, NameOp, Node};
use orrery_storage::fs::{File, FileSystem};

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

/// Which call fails, once.
#[derive(Clone, Copy, Debug)]
enum Failing {
    /// The next one of this kind.
    Next(Call, io::ErrorKind),
    /// The one with this index.
    At(usize, io::ErrorKind),
}

#[derive(Clone)]
pub struct Disk(Arc<Mutex<State>>);

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
    fail: Option<Failing>,
    /// Below this folder the live files are real as well.
    mirrored: Option<PathBuf>,
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
            mirrored: None,
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

    /// Keeps what lies below `dir`, a folder that is there, as real files too.
    pub fn mirroring(self, dir: &Path) -> Self {
        self.state().mirrored = Some(dir.to_owned());
        self
    }

    pub fn fail_next(&self, call: Call, kind: io::ErrorKind) {
        self.state().fail = Some(Failing::Next(call, kind));
    }

    /// Lets the call with this index, counted from now, fail. A sync that fails has lost, as on Linux, what it should have
    /// written, and the next one knows nothing of that.
    pub fn fail_at(&self, index: usize, kind: io::ErrorKind) {
        let mut state = self.state();
        state.calls.clear();
        state.fail = Some(Failing::At(index, kind));
    }

    /// Whether a failure that was asked for has not happened.
    pub fn is_failing(&self) -> bool {
        self.state().fail.is_some()
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

    /// A file's bytes as they are read.
    pub fn bytes(&self, path: &Path) -> Vec<u8> {
        let state = self.state();
        let Some(Node::File(inode)) = state.live.get(path) else { panic!("{} is a file", path.display()) };
        state.inodes[inode].live.clone()
    }

    /// The same disk under another root.
    pub fn moved(self, from: &Path, to: &Path) -> Self {
        {
            let mut state = self.state();
            let moved = |names: &BTreeMap<PathBuf, Node>| {
                names.iter().map(|(path, node)| (to.join(path.strip_prefix(from).unwrap()), *node)).collect()
            };
            (state.live, state.durable) = (moved(&state.live), moved(&state.durable));
            state.root = to.to_owned();
        }
        self
    }

    pub fn names(&self, dir: &Path) -> Vec<String> {
        self.list(dir).unwrap()
    }

    /// The disk as it is found after the power came back.
    pub fn restart(&self, loss: Loss) -> Self {
        let mut state = self.state();
        state.powered = false;
        let mut coin = Coin::new(if let Loss::Torn(seed) = loss { seed } else { 0 });
        let torn = matches!(loss, Loss::Torn(_));
        let mut names = state.durable.clone();
        for op in &state.pending {
            if torn && coin.toss() {
                op.apply(&mut names);
            }
        }
        // What lies in a folder that is gone is gone.
        let all = names.clone();
        let below_root = |path: &&Path| path.starts_with(&state.root);
        names.retain(|path, _| path.ancestors().take_while(below_root).all(|folder| all.contains_key(folder)));
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
            new.mirrored = state.mirrored.clone();
            new.write_mirror();
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
        let now = |failing: &mut Failing| match failing {
            Failing::Next(kind_of_call, _) => *kind_of_call == call,
            Failing::At(at, _) => *at == index,
        };
        if let Some(Failing::Next(_, kind) | Failing::At(_, kind)) = state.fail.take_if(now) {
            if call == Call::SyncData {
                run(&mut Inside { state: &mut state, fails: true })?;
            }
            return Err(kind.into());
        }
        let result = run(&mut Inside { state: &mut state, fails: false });
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
pub struct Inside<'a> {
    state: &'a mut State,
    /// A sync that fails.
    fails: bool,
}

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
        if let Some(path) = self.mirrored_path(id) {
            let file = fs::OpenOptions::new().write(true).open(path)?;
            match &op {
                FileOp::Size(size) => file.set_len(*size as u64)?,
                FileOp::Write(offset, data) => file.write_all_at(data, *offset as u64)?,
            }
        }
        self.inodes.get_mut(&id).unwrap().pending.push(op);
        Ok(())
    }

    fn name(&mut self, op: NameOp) {
        op.apply(&mut self.live);
        let mirrored = |path: &Path| self.mirrored.as_ref().is_some_and(|dir| path.starts_with(dir));
        match &op {
            NameOp::Link(path, Node::Dir) if mirrored(path) => drop(fs::create_dir(path)),
            NameOp::Link(path, Node::File(_)) if mirrored(path) => fs::write(path, []).unwrap(),
            NameOp::Unlink(path) if mirrored(path) => fs::remove_file(path).unwrap(),
            NameOp::Rename(from, to, _) if mirrored(from) => fs::rename(from, to).unwrap(),
            _ => {}
        }
        self.pending.push(op);
    }

    /// Where a file that still has a name is a real one.
    fn mirrored_path(&self, id: u64) -> Option<&Path> {
        let dir = self.mirrored.as_ref()?;
        let is_it =
            |(path, node): &(&PathBuf, &Node)| matches!(node, Node::File(n) if *n == id) && path.starts_with(dir);
        self.live.iter().find(is_it).map(|(path, _)| path.as_path())
    }

    /// Makes the real files those of this disk.
    fn write_mirror(&self) {
        let Some(dir) = &self.mirrored else { return };
        if dir.exists() {
            fs::remove_dir_all(dir).unwrap();
        }
        // Parents sort before their children.
        for (path, node) in self.live.iter().filter(|(path, _)| path.starts_with(dir)) {
            match node {
                Node::Dir => fs::create_dir(path).unwrap(),
                Node::File(id) => fs::write(path, &self.inodes[id].live).unwrap(),
            }
        }
    }
}

impl FileSystem for Disk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.step(Call::CreateDir, |s| {
            if !s.state.live.contains_key(path) {
                s.state.name(NameOp::Link(path.to_owned(), Node::Dir));
            }
            Ok(())
        })
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let id = self.step(Call::Create, |s| {
            if s.state.live.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let id = s.state.inodes.keys().max().map_or(0, |last| last + 1);
            s.state.inodes.insert(id, Inode::default());
            s.state.name(NameOp::Link(path.to_owned(), Node::File(id)));
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
            let node = *s.state.live.get(from).ok_or(io::ErrorKind::NotFound)?;
            s.state.name(NameOp::Rename(from.to_owned(), to.to_owned(), node));
            Ok(())
        })
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.step(Call::Unlink, |s| {
            s.state.live.get(path).ok_or(io::ErrorKind::NotFound)?;
            s.state.name(NameOp::Unlink(path.to_owned()));
            Ok(())
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.step(Call::SyncDir, |s| {
            if s.state.ignore.sync_dir {
                return Ok(());
            }
            let (synced, left) = std::mem::take(&mut s.state.pending).into_iter().partition(|op| op.is_in(dir));
            s.state.pending = left;
            let synced: Vec<NameOp> = synced;
            synced.iter().for_each(|op| op.apply(&mut s.state.durable));
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
        self.disk.step(Call::Preallocate, |s| s.state.file(self.id, FileOp::Size(usize::try_from(len).unwrap())))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let op = FileOp::Write(usize::try_from(offset).unwrap(), bytes.to_vec());
        self.disk.step(Call::Write, |s| s.state.file(self.id, op))
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
        self.disk.step(Call::SetSize, |s| s.state.file(self.id, FileOp::Size(usize::try_from(size).unwrap())))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.step(Call::SyncData, |s| {
            let inode = s.state.inodes.get_mut(&self.id).unwrap();
            if s.fails {
                // Any part of it was written, and the rest is forgotten.
                let mut coin = Coin::new(inode.pending.len() as u64);
                let Inode { durable, pending, .. } = inode;
                pending.drain(..).for_each(|op| op.tear(durable, &mut coin));
            } else if !s.state.ignore.sync_data {
                inode.durable.clone_from(&inode.live);
                inode.pending.clear();
            }
            Ok(())
        })
    }
}
