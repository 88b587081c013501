//! The file system as the write-ahead log and the writers of data files see it: few calls, each of which a test can make
//! fail or be the last before the power goes. Data files are read past it, since reading changes nothing. Never hides a
//! sync: a file's bytes are durable after [`File::sync_data`], its name after [`FileSystem::sync_dir`] of the folder that
//! holds it, and nothing is before.

mod appender;
mod real;

pub use appender::Appender;
pub use real::RealFileSystem;

use std::io;
use std::path::Path;

/// Folders and names. Paths are absolute, or relative to the working folder.
pub trait FileSystem: Send + Sync + 'static {
    /// Creates a folder whose parent exists; one that is already there is no error. Durable after `sync_dir` of the parent.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Creates an empty file for reading and writing; `AlreadyExists` where there is one.
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Opens a file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// The names of a folder's entries, in no order. Names that are no Unicode are left out.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Renames within a folder or to another; both folders need a `sync_dir` to make it durable.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn unlink(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder that is empty, and no other. One that stays does no harm: the default does nothing.
    fn remove_dir(&self, _path: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Makes the folder's entries durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Bytes that an unprivileged writer may still use on the volume of `path`.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
}

/// An open file, written at offsets.
pub trait File: Send + Sync {
    /// Reserves the first `len` bytes, which read as zeros, so that later writes need no room and change no size.
    fn preallocate(&self, len: u64) -> io::Result<()>;
    /// Writes all of `bytes`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Reads until `buffer` is full or the file ends; gives the bytes read.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    fn size(&self) -> io::Result<u64>;
    /// Cuts the file, or extends it with zeros.
    fn set_size(&self, size: u64) -> io::Result<()>;
    /// fdatasync: the bytes and the size are on stable storage when it returns. After an error nothing may be assumed
    /// about them, ever again: a second call that succeeds proves nothing.
    fn sync_data(&self) -> io::Result<()>;
}

/// Whether the volume, or the user's share of it, is full. Trying again helps once there is room.
pub fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
