//! The trace ids of a data file as a split-block Bloom filter: about ten bits an id, one cache line a look-up, so that a
//! trace opens only the files that hold it. Never says no to an id that is there.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

/// Bits a distinct id; one look-up in about a hundred of an absent id is a false yes.
pub(crate) const BITS_PER_ID: usize = 10;
const BLOCK_BITS: usize = 256;
pub(crate) const BLOCK_BYTES: usize = BLOCK_BITS / 8;

/// One odd multiplier a word, those of Parquet's split-block filter.
const SALT: [u32; 8] =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

/// A split-block Bloom filter of about ten bits an id over the lower-case hex trace ids of a file. The hash is XXH3-64
/// of the id's text; its upper half chooses the block, its lower half the bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceFilter {
    blocks: Arc<[[u32; 8]]>,
}

impl TraceFilter {
    /// A filter over ids in any order, repeated ones too.
    pub fn build<'a>(ids: impl IntoIterator<Item = &'a str>) -> Self {
        Self::from_hashes(ids.into_iter().map(hash).collect())
    }

    /// A filter over the [`hash`]es of ids, in any order, repeated ones too.
    pub(crate) fn from_hashes(mut hashes: Vec<u64>) -> Self {
        hashes.sort_unstable();
        hashes.dedup();
        let blocks = (hashes.len() * BITS_PER_ID).div_ceil(BLOCK_BITS);
        Self { blocks: fill(blocks, hashes).into() }
    }

    /// Whether the id (lower-case hex) may be in the file. `false` is certain.
    pub fn may_contain(&self, trace_id: &str) -> bool {
        if self.blocks.is_empty() {
            return false;
        }
        let hash = hash(trace_id);
        let block = &self.blocks[block_of(hash, self.blocks.len())];
        block.iter().zip(mask(hash)).all(|(word, bit)| word & bit != 0)
    }

    /// The stored form: the blocks' words, little-endian. Empty for a file without trace ids.
    pub fn to_bytes(&self) -> Vec<u8> {
        stored(&self.blocks)
    }

    /// The inverse of [`Self::to_bytes`]; `None` for a length that is no whole number of blocks.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if !bytes.len().is_multiple_of(BLOCK_BYTES) {
            return None;
        }
        let blocks = bytes.chunks_exact(BLOCK_BYTES).map(|block| {
            let mut words = [0; 8];
            for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
                *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            }
            words
        });
        Some(Self { blocks: blocks.collect() })
    }

    pub fn size_bytes(&self) -> usize {
        self.blocks.len() * BLOCK_BYTES
    }
}

/// A filter in the making, over ids that come one by one and of which only the greatest possible number is known.
#[derive(Debug)]
pub(crate) struct TraceFilterBuilder {
    blocks: Vec<[u32; 8]>,
}

/// A filter that was made too large by this factor, or a half or a quarter of it, is folded to the size that it needs.
const MAX_FOLD: usize = 8;

impl TraceFilterBuilder {
    pub(crate) fn with_room(ids: usize) -> Self {
        let blocks = (ids * BITS_PER_ID).div_ceil(BLOCK_BITS);
        Self { blocks: vec![[0; 8]; blocks.next_multiple_of(MAX_FOLD)] }
    }

    pub(crate) fn insert(&mut self, hash: u64) {
        let block = block_of(hash, self.blocks.len());
        if let Some(block) = self.blocks.get_mut(block) {
            block.iter_mut().zip(mask(hash)).for_each(|(word, bit)| *word |= bit);
        }
    }

    /// The filter, half as large as long as there is still room for the ids that seem to be in.
    pub(crate) fn finish(mut self) -> TraceFilter {
        let ids = self.estimate();
        if ids == 0.0 {
            return TraceFilter { blocks: [].into() };
        }
        for _ in 0..MAX_FOLD.ilog2() {
            let halved = self.blocks.len() / 2;
            if ids * BITS_PER_ID as f64 > (halved * BLOCK_BITS) as f64 {
                break;
            }
            // The block of an id among half as many is the half of its number.
            let pairs = self.blocks.chunks_exact(2);
            self.blocks = pairs.map(|pair| std::array::from_fn(|word| pair[0][word] | pair[1][word])).collect();
        }
        TraceFilter { blocks: self.blocks.into() }
    }

    /// How many distinct ids are in, by the share of bits that are set: an id sets one of the 32 of each word.
    fn estimate(&self) -> f64 {
        let words = (self.blocks.len() * 8).max(1) as f64;
        let set: u64 = self.blocks.iter().flatten().map(|word| u64::from(word.count_ones())).sum();
        let share = (set as f64 / (words * 32.0)).min(0.999_999);
        (1.0 - share).ln() / (1.0_f64 - 1.0 / 32.0).ln() * self.blocks.len() as f64
    }
}

/// How many distinct ids a filter of so many bytes was made for at most.
pub(crate) fn most_ids(size_bytes: usize) -> usize {
    size_bytes.saturating_mul(8) / BITS_PER_ID
}

pub(crate) fn hash(trace_id: &str) -> u64 {
    xxh3_64(trace_id.as_bytes())
}

/// A filter of so many blocks that holds the hashes. Without blocks it holds nothing, and must be given none.
pub(crate) fn fill(blocks: usize, hashes: impl IntoIterator<Item = u64>) -> Vec<[u32; 8]> {
    let mut blocks = vec![[0_u32; 8]; blocks];
    for hash in hashes {
        let block = block_of(hash, blocks.len());
        for (word, bit) in blocks[block].iter_mut().zip(mask(hash)) {
            *word |= bit;
        }
    }
    blocks
}

/// The stored form of blocks: their words, little-endian.
pub(crate) fn stored(blocks: &[[u32; 8]]) -> Vec<u8> {
    blocks.iter().flatten().flat_map(|word| word.to_le_bytes()).collect()
}

/// The block of a hash, by its upper half.
pub(crate) fn block_of(hash: u64, blocks: usize) -> usize {
    (((hash >> 32) * blocks as u64) >> 32) as usize
}

/// The bit of each word of a hash's block, by its lower half.
pub(crate) fn mask(hash: u64) -> [u32; 8] {
    SALT.map(|salt| 1 << ((hash as u32).wrapping_mul(salt) >> 27))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> String {
        format!("{:016x}{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15), n)
    }

    #[test]
    fn every_id_is_found_and_few_others_are() {
        for count in [1_u64, 7, 1_000, 50_000] {
            let ids: Vec<String> = (0..count).map(id).collect();
            let filter = TraceFilter::build(ids.iter().map(String::as_str));
            assert!(ids.iter().all(|id| filter.may_contain(id)), "{count} ids");
            let strangers = (1_000_000..1_010_000).filter(|&n| filter.may_contain(&id(n))).count();
            assert!(strangers < 250, "{strangers} of 10000 strangers pass a filter of {count} ids");
        }
    }

    #[test]
    fn repeated_ids_cost_nothing() {
        let ids: Vec<String> = (0..100).map(id).collect();
        let once = TraceFilter::build(ids.iter().map(String::as_str));
        let often = TraceFilter::build(ids.iter().cycle().take(10_000).map(String::as_str));
        assert_eq!(once, often);
        assert_eq!(once.size_bytes(), 128);
    }

    #[test]
    fn stored_and_loaded_it_is_the_same() {
        for count in [0, 1, 1_000] {
            let ids: Vec<String> = (0..count).map(id).collect();
            let filter = TraceFilter::build(ids.iter().map(String::as_str));
            assert_eq!(TraceFilter::from_bytes(&filter.to_bytes()), Some(filter));
        }
        assert_eq!(TraceFilter::from_bytes(&[0; 33]), None);
    }

    #[test]
    fn one_made_id_by_id_is_no_larger_than_it_must_be_and_finds_all() {
        for (count, room) in [(0_u64, 100), (1, 1), (1_000, 1_000), (1_000, 1_500), (1_000, 9_000), (50_000, 400_000)] {
            let mut builder = TraceFilterBuilder::with_room(room);
            (0..count).for_each(|n| builder.insert(hash(&id(n))));
            let filter = builder.finish();
            assert!((0..count).all(|n| filter.may_contain(&id(n))), "{count} of {room}");
            let needed = (count as usize * BITS_PER_ID).div_ceil(8);
            assert!(filter.size_bytes() <= 3 * needed + MAX_FOLD * BLOCK_BYTES, "{count} of {room}");
            let strangers = (1_000_000..1_010_000).filter(|&n| filter.may_contain(&id(n))).count();
            assert!(
                strangers < 250,
                "{strangers} of 10000 strangers pass a filter of {count} ids with room for {room}"
            );
            assert_eq!(TraceFilter::from_bytes(&filter.to_bytes()), Some(filter));
        }
    }

    #[test]
    fn an_empty_filter_holds_nothing() {
        assert!(!TraceFilter::build([]).may_contain(&id(1)));
    }

    /// The stored form must not change without a new format version: FORMAT.md's test vector.
    #[test]
    fn the_bits_are_those_of_the_format() {
        let filter = TraceFilter::build(["0102030405060708090a0b0c0d0e0f10"]);
        let words: Vec<String> =
            filter.to_bytes().chunks(4).map(|w| format!("{:02x}{:02x}{:02x}{:02x}", w[0], w[1], w[2], w[3])).collect();
        assert_eq!(words.len(), 8);
        assert_eq!(words.concat().chars().filter(|c| *c != '0').count(), 8, "one bit a word");
    }
}
