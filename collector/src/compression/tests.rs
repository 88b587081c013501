//! Every encoding there and back, and every way in which a body can be bad.

use std::io::Write;

use flate2::write::{GzEncoder, ZlibEncoder};
use orrery_model::TenantId;

use super::*;
use crate::budget::Budget;

const LIMIT: usize = 1 << 20;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("in memory")
}

fn unpack(encoding: Encoding, input: &[u8]) -> Result<Vec<u8>, String> {
    let budget = Budget::new(4 * LIMIT, 4 * LIMIT);
    let result = decompress(encoding, input, LIMIT, &mut budget.enter(&TenantId::default()));
    assert_eq!(budget.used(), 0, "all is given back");
    result.map_err(|refusal| format!("{:?}: {refusal}", refusal.kind))
}

#[test]
fn what_was_packed_comes_out_again() {
    let noise: Vec<u8> = (0u32..300_000).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let bodies = [b"".to_vec(), b"a".to_vec(), vec![7; LIMIT], noise[..4095].to_vec(), noise[..4096].to_vec(), noise];
    for body in &bodies {
        for (encoding, packed) in [
            (Encoding::Gzip, gzip(body)),
            (Encoding::Zstd, zstd(body)),
            (Encoding::Deflate, zlib(body)),
            // Several members, or frames, are one body.
            (Encoding::Gzip, [gzip(&body[..body.len() / 2]), gzip(b""), gzip(&body[body.len() / 2..])].concat()),
            (Encoding::Zstd, [zstd(&body[..body.len() / 3]), zstd(b""), zstd(&body[body.len() / 3..])].concat()),
        ] {
            let unpacked = unpack(encoding, &packed);
            assert!(
                unpacked.as_ref() == Ok(body),
                "{encoding:?} of {} bytes: {:?}",
                body.len(),
                unpacked.map(|b| b.len())
            );
        }
    }
}

#[test]
fn bad_bodies_are_refused_for_good() {
    let body: Vec<u8> = (0..50_000u32).flat_map(u32::to_le_bytes).collect();
    type Pack = fn(&[u8]) -> Vec<u8>;
    for (encoding, pack) in [(Encoding::Gzip, gzip as Pack), (Encoding::Zstd, zstd), (Encoding::Deflate, zlib)] {
        let packed = pack(&body);
        for cut in [0, 1, 5, 10, packed.len() / 2, packed.len() - 1] {
            let error = unpack(encoding, &packed[..cut]).expect_err("truncated");
            let name = encoding.name();
            assert_eq!(
                error,
                format!("BadData: the {name} body cannot be decompressed: it ends early"),
                "cut at {cut}"
            );
        }
        let trailing = [&packed[..], b"more"].concat();
        assert!(unpack(encoding, &trailing).expect_err("trailing").starts_with("BadData"), "{encoding:?}");
        assert!(
            unpack(encoding, b"not compressed at all").expect_err("garbage").starts_with("BadData"),
            "{encoding:?}"
        );
        let mut flipped = packed.clone();
        let last = flipped.len() - 6;
        flipped[last] ^= 0x55;
        let error = unpack(encoding, &flipped);
        // zstd's frames carry no checksum unless asked for.
        assert!(encoding == Encoding::Zstd || error.expect_err("a flipped bit").starts_with("BadData"));
    }
}

#[test]
fn a_bomb_stops_at_the_limit_and_at_the_budget() {
    let bomb = vec![0; 32 * LIMIT];
    type Pack = fn(&[u8]) -> Vec<u8>;
    for (encoding, pack) in [(Encoding::Gzip, gzip as Pack), (Encoding::Zstd, zstd), (Encoding::Deflate, zlib)] {
        let packed = pack(&bomb);
        let error = unpack(encoding, &packed).expect_err("a bomb");
        assert_eq!(error, "TooLarge: the request exceeds 1048576 bytes when decompressed; send smaller batches");
        let budget = Budget::new(LIMIT / 2, 4 * LIMIT);
        let refusal =
            decompress(encoding, &packed, LIMIT, &mut budget.enter(&TenantId::default())).expect_err("no budget");
        assert_eq!(refusal.kind, Kind::Busy);
        let exact = pack(&bomb[..LIMIT]);
        assert_eq!(unpack(encoding, &exact).map(|b| b.len()), Ok(LIMIT), "the limit itself is allowed");
        assert!(unpack(encoding, &pack(&bomb[..=LIMIT])).expect_err("one more is not").starts_with("TooLarge"));
    }
}

#[test]
fn many_empty_members_are_no_body() {
    let members = gzip(b"").repeat(MAX_MEMBERS + 2);
    let error = unpack(Encoding::Gzip, &members).expect_err("too many");
    assert_eq!(error, "BadData: the gzip body cannot be decompressed: it has too many members");
}
