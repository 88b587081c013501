//! Filters over a few thousand rows each, by which a search leaves most of a file unread: where those of a row group lie,
//! and whether one may hold a hash. What is hashed is for others to say. Never says no to what is there.

use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::trace_filter::{BLOCK_BYTES, block_of, mask};

/// Rows that one filter is about, a part of a row group: what is common is in every filter once more, so that smaller
/// sections cost bytes, and larger ones more rows read for what is rare.
pub(crate) const SECTION_ROWS: usize = 8_192;

/// Filters of sections as they are written, `None` for one that is not worth having.
pub(crate) type SectionFilters = Vec<Option<Vec<u8>>>;

/// Where the filters of one row group lie, one after another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    offset: u64,
    /// The size of each section's filter in blocks; `None` where there is none, and the section may hold anything.
    blocks: Vec<Option<u32>>,
}

impl Place {
    #[cfg(test)]
    pub(crate) fn new(offset: u64, blocks: Vec<Option<u32>>) -> Self {
        Self { offset, blocks }
    }

    /// Of filters that begin at the offset.
    pub(crate) fn of(offset: u64, filters: &SectionFilters) -> Self {
        let blocks = |filter: &Vec<u8>| u32::try_from(filter.len() / BLOCK_BYTES).expect("filters are small");
        Self { offset, blocks: filters.iter().map(|filter| filter.as_ref().map(blocks)).collect() }
    }

    /// The bytes of the file that hold the filters.
    pub(crate) fn range(&self) -> Range<u64> {
        let blocks: u64 = self.blocks.iter().flatten().map(|blocks| u64::from(*blocks)).sum();
        self.offset..self.offset.saturating_add(blocks.saturating_mul(BLOCK_BYTES as u64))
    }

    /// The filters in the bytes of [`Self::range`]; `None` where they are too few.
    pub(crate) fn load(&self, bytes: Bytes) -> Option<Sections> {
        let mut at = 0;
        let section = |blocks: &Option<u32>| {
            blocks.map(|blocks| {
                let start = at;
                at += blocks as usize * BLOCK_BYTES;
                start..at
            })
        };
        let sections: Vec<_> = self.blocks.iter().map(section).collect();
        (bytes.len() == at).then_some(Sections { bytes, sections })
    }
}

/// The filters of a row group's sections.
#[derive(Clone, Debug)]
pub struct Sections {
    bytes: Bytes,
    sections: Vec<Option<Range<usize>>>,
}

impl Sections {
    pub fn len(&self) -> usize {
        self.sections.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sections.is_empty()
    }

    /// Whether something of that hash may be in the section. `false` is certain.
    pub fn may_hold(&self, section: usize, hash: u64) -> bool {
        let Some(Some(range)) = self.sections.get(section) else { return true };
        // A filter without blocks is of rows that hold nothing.
        let filter = &self.bytes[range.clone()];
        let start = block_of(hash, filter.len() / BLOCK_BYTES) * BLOCK_BYTES;
        let Some(block) = filter.get(start..start + BLOCK_BYTES) else { return false };
        block.chunks_exact(4).zip(mask(hash)).all(|(bytes, bit)| {
            let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            word & bit != 0
        })
    }

    pub fn size_bytes(&self) -> usize {
        self.bytes.len() + self.sections.len() * size_of::<Option<Range<usize>>>()
    }
}
