//! The ids of spans, between hex and numbers. Never says whether a span of an id exists.

/// A hex trace id as a number.
#[inline]
pub fn parse_trace_id(hex: impl AsRef<[u8]>) -> Option<u128> {
    let (high, low) = hex.as_ref().split_at_checked(16)?;
    Some((u128::from(sixteen(high)?) << 64) | u128::from(sixteen(low)?))
}

/// A hex span id as a number. All zeros, OTLP's "no span", is `None`.
#[inline]
pub fn parse_span_id(hex: impl AsRef<[u8]>) -> Option<u64> {
    sixteen(hex.as_ref()).filter(|&id| id != 0)
}

/// The trace ids of neighbours, of which mostly several are the same.
#[derive(Default)]
pub struct TraceIds<'a> {
    hex: &'a [u8],
    id: Option<u128>,
}

impl<'a> TraceIds<'a> {
    /// The next one as a number.
    #[inline]
    pub fn next(&mut self, hex: &'a [u8]) -> Option<u128> {
        // Ids of the right length are compared without a call.
        let is_same = match (<&[u8; 32]>::try_from(hex), <&[u8; 32]>::try_from(self.hex)) {
            (Ok(this), Ok(last)) => this == last,
            _ => false,
        };
        if !is_same {
            *self = Self { hex, id: parse_trace_id(hex) };
        }
        self.id
    }
}

pub fn trace_id_hex(id: u128) -> String {
    format!("{id:032x}")
}

pub fn span_id_hex(id: u64) -> String {
    format!("{id:016x}")
}

#[inline]
fn sixteen(hex: &[u8]) -> Option<u64> {
    let (high, low) = hex.split_at_checked(8)?;
    let high = eight(high.try_into().ok()?)?;
    Some((u64::from(high) << 32) | u64::from(eight(low.try_into().ok()?)?))
}

/// Eight digits at once, a byte of a word each, since every row of a large window has eight of these.
#[inline]
fn eight(digits: [u8; 8]) -> Option<u32> {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let text = u64::from_be_bytes(digits);
    // Of a letter bit 6 is set and the low four bits count from 1, of a digit it is not and they count from 0.
    let letter = (text >> 6) & EACH;
    let text = text | (0x20 * letter);
    let values = (text & (0x0f * EACH)) + 9 * letter;
    // Written again it is the same, or it was no hex.
    let above_nine = ((values + 0x76 * EACH) >> 7) & EACH;
    let again = values + 0x30 * EACH + 0x27 * above_nine;
    if again != text || values & (0xf0 * EACH) != 0 {
        return None;
    }
    let pairs = (values | (values >> 4)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs | (pairs >> 8)) & 0x0000_ffff_0000_ffff;
    Some((fours | (fours >> 16)) as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_hex_of_its_length_is_no_id() {
        for text in [
            "",
            "0",
            "+000000000000001",
            "000000000000000g",
            "0000000000000000",
            "00000000000000011",
            "è00000000000000",
        ] {
            assert_eq!(parse_span_id(text), None, "{text:?}");
        }
        assert_eq!(parse_span_id("00f067aa0ba902B7"), Some(0x00f0_67aa_0ba9_02b7));
        assert_eq!(parse_trace_id("0".repeat(32)), Some(0));
        for text in
            [&"0".repeat(31), &"0".repeat(33), "4bf92f3577b34da6a3ce929d0e0e473 ", "4bf92f3577b34da6a3ce929d0e0e473/"]
        {
            assert_eq!(parse_trace_id(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn ids_are_read_as_they_are_written(trace: u128, span: u64) {
            prop_assert_eq!(parse_trace_id(trace_id_hex(trace)), Some(trace));
            prop_assert_eq!(parse_trace_id(trace_id_hex(trace).to_uppercase()), Some(trace));
            prop_assert_eq!(parse_span_id(span_id_hex(span)), Some(span).filter(|&id| id != 0));
        }

        #[test]
        fn other_texts_are_read_as_the_standard_library_reads_them(text in "[0-9a-gA-G/:@`+ -]{16}|\\PC{4,16}") {
            let plain = text.len() == 16 && !text.starts_with('+');
            let expected = plain.then(|| u64::from_str_radix(&text, 16).ok()).flatten().filter(|&id| id != 0);
            prop_assert_eq!(parse_span_id(&text), expected);
        }
    }
}
