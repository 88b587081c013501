//! A record with one bit flipped, made whole again: CRC32C tells which bit it was. Without this the last record of the log,
//! which nothing after it says was synced, could not be told from a torn one, and an acknowledged request would be cut off
//! with the tail. Never changes a file, and never guesses: with more than one bit wrong there is no answer.

use super::format::{RECORD_FIXED_BYTES, payload_crc, payload_of, whole_header};

/// A tenant's name has at most so many bytes.
const MAX_TENANT_BYTES: usize = 64;

/// The record at the beginning of `bytes` with the one bit that is wrong in it put right.
pub fn mend(bytes: &[u8], salt: u64) -> Option<Vec<u8>> {
    if let Some(header) = whole_header(bytes, salt) {
        let payload = payload_of(header, bytes)?;
        let wrong = wrong_bit(payload.len(), crc32c::crc32c(payload) ^ payload_crc(header))?;
        let mut record = bytes[..header.len() + payload.len()].to_vec();
        record[header.len() + wrong / 8] ^= 1 << (wrong % 8);
        return Some(record);
    }
    // A header is short enough to try every bit of it.
    let mut head = bytes[..bytes.len().min(RECORD_FIXED_BYTES + MAX_TENANT_BYTES)].to_vec();
    for bit in 0..head.len() * 8 {
        head[bit / 8] ^= 1 << (bit % 8);
        if let Some(header) = whole_header(&head, salt) {
            let payload = payload_of(header, bytes).filter(|p| crc32c::crc32c(p) == payload_crc(header))?;
            return Some([header, payload].concat());
        }
        head[bit / 8] ^= 1 << (bit % 8);
    }
    None
}

/// Which bit of so many bytes, counted from the first byte's lowest one, changes their CRC by `difference` when it is
/// flipped. No two bits of less than 2^31 do so alike.
fn wrong_bit(bytes: usize, difference: u32) -> Option<usize> {
    let step: Vec<u32> = (0..=u8::MAX).map(|byte| crc32c::crc32c(&[byte]) ^ crc32c::crc32c(&[0])).collect();
    // What flipping each bit of the last byte does; then of the one before it, and so on.
    let mut differences: [u32; 8] = std::array::from_fn(|bit| step[1 << bit]);
    for byte in (0..bytes).rev() {
        if let Some(bit) = differences.iter().position(|d| *d == difference) {
            return Some(byte * 8 + bit);
        }
        for d in &mut differences {
            *d = (*d >> 8) ^ step[(*d & 0xFF) as usize];
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use orrery_model::{TableName, TenantId};

    use super::super::format::{RequestFields, decode_record, encode_request};
    use super::*;

    #[test]
    fn every_single_bit_is_put_right_and_two_never_are() {
        let payload: Vec<u8> = (0..500_u32).map(|at| (at * 37 % 256) as u8).collect();
        let fields = RequestFields {
            tenant: &TenantId::new("acme").expect("a name"),
            table: TableName::Logs,
            received_ns: 7,
            body_hash: Some(9),
            rows: 3,
            codec: 1,
            raw_len: 4000,
            payload: &payload,
            payload_crc: crc32c::crc32c(&payload),
        };
        let mut record = Vec::new();
        encode_request(&mut record, 17, 5, 4, &fields);
        let whole = decode_record(&record, 17).expect("it is whole").0;
        let summed = RECORD_FIXED_BYTES + "acme".len() + payload.len();
        for bit in 0..summed * 8 {
            let mut damaged = record.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_record(&damaged, 17).is_err(), "bit {bit}");
            let mended = mend(&damaged, 17).unwrap_or_else(|| panic!("bit {bit} is found"));
            assert_eq!(decode_record(&mended, 17).expect("it is whole").0, whole, "bit {bit}");
            let other = (bit * 7919 + 13) % (summed * 8);
            if other != bit {
                damaged[other / 8] ^= 1 << (other % 8);
                let wrong = mend(&damaged, 17);
                assert!(wrong.is_none_or(|w| decode_record(&w, 17).is_err()), "bits {bit} and {other}");
            }
        }
    }
}
