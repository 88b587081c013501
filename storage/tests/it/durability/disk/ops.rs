//! What changes names and bytes on the disk, kept until it is synced: applied whole, or torn by the toss of a coin.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const SECTOR: usize = 512;

#[derive(Clone, Copy, Debug)]
pub enum Node {
    Dir,
    File(u64),
}

#[derive(Clone, Debug)]
pub enum NameOp {
    Link(PathBuf, Node),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf, Node),
}

#[derive(Clone, Debug)]
pub enum FileOp {
    Size(usize),
    Write(usize, Vec<u8>),
}

impl NameOp {
    pub fn apply(&self, names: &mut BTreeMap<PathBuf, Node>) {
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

    pub fn is_in(&self, dir: &Path) -> bool {
        match self {
            Self::Link(path, _) | Self::Unlink(path) => path.parent() == Some(dir),
            Self::Rename(from, to, _) => from.parent() == Some(dir) || to.parent() == Some(dir),
        }
    }
}

impl FileOp {
    pub fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Size(size) => bytes.resize(*size, 0),
            Self::Write(offset, data) => {
                bytes.resize(bytes.len().max(offset + data.len()), 0);
                bytes[*offset..offset + data.len()].copy_from_slice(data);
            }
        }
    }

    pub fn tear(&self, bytes: &mut Vec<u8>, coin: &mut Coin) {
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
pub struct Coin(u64);

impl Coin {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn toss(&mut self) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 40 & 1 == 1
    }
}
