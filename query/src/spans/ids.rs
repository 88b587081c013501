//! The ids of spans, between hex and numbers. Never says whether a span of an id exists.

use std::ops::Range;

use arrow::array::{Array, StringArray};

use crate::columns::Text;

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

pub fn trace_id_hex(id: u128) -> String {
    format!("{id:032x}")
}

pub fn span_id_hex(id: u64) -> String {
    format!("{id:016x}")
}

/// The ids of a column of span ids, 0 where there is none.
pub fn span_ids(column: &Text<'_>, rows: usize) -> Vec<u64> {
    if let Text::Utf8(column) = column
        && let Some(ids) = span_ids_at_once(column)
    {
        return ids;
    }
    let mut ids = Vec::with_capacity(rows);
    column.each(rows, |hex| ids.push(parse_span_id(hex).unwrap_or(0)));
    ids
}

/// The same where all that is there are ids, as they nearly always are.
fn span_ids_at_once(column: &StringArray) -> Option<Vec<u64>> {
    let text = of_one_length(column, 16)?;
    let mut bytes = vec![0; text.len() / 2];
    faster_hex::hex_decode(text, &mut bytes).ok()?;
    let ids = bytes.as_chunks().0.iter().map(|id| u64::from_be_bytes(*id));
    let Some(nulls) = column.nulls() else { return Some(ids.collect()) };
    let mut all = vec![0; column.len()];
    nulls.valid_indices().zip(ids).for_each(|(row, id)| all[row] = id);
    Some(all)
}

/// Runs of neighbours of one trace in a column of trace ids: the trace, `None` where the id is none, and its first row.
pub fn trace_runs(column: &Text<'_>, rows: usize) -> Vec<(Option<u128>, usize)> {
    let mut runs: Vec<(Option<u128>, usize)> = Vec::new();
    if let Text::Utf8(column) = column
        && column.null_count() == 0
        && let Some(text) = of_one_length(column, 32)
    {
        let ids = text.as_chunks::<32>().0;
        let is_first = |row: usize| row == 0 || ids[row] != ids[row - 1];
        runs.extend((0..ids.len()).filter(|&row| is_first(row)).map(|row| (parse_trace_id(ids[row]), row)));
        return runs;
    }
    let (mut last, mut row) = (None, 0);
    column.each(rows, |hex| {
        if last != Some(hex) {
            runs.push((parse_trace_id(hex), row));
            last = Some(hex);
        }
        row += 1;
    });
    runs
}

/// The ranges of such runs, of so many rows in all.
pub fn ranges<T: Copy>(runs: &[(T, usize)], rows: usize) -> impl Iterator<Item = (T, Range<usize>)> {
    let ends = runs.iter().skip(1).map(|run| run.1).chain([rows]);
    runs.iter().zip(ends).map(|(&(trace, from), to)| (trace, from..to))
}

/// All values one after the other, if each that is there has so many bytes and a NULL has none.
fn of_one_length(column: &StringArray, length: i32) -> Option<&[u8]> {
    let ends = column.value_offsets();
    let lengths = ends.windows(2).map(|ends| ends[1] - ends[0]);
    let others = match column.nulls() {
        None => lengths.filter(|&of| of != length).count(),
        Some(nulls) => lengths.zip(nulls).filter(|&(of, is_there)| of != i32::from(is_there) * length).count(),
    };
    (others == 0).then(|| &column.value_data()[ends[0] as usize..ends[ends.len() - 1] as usize])
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

    /// Runs of ids, of NULL, and now and then of what is no id.
    fn column(length: usize, id: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = StringArray> {
        let other = prop_oneof![
            Just(None),
            Just(Some(String::new())),
            Just(Some("0".repeat(length))),
            Just(Some("g".repeat(length))),
            Just(Some("1".repeat(length + 1))),
        ];
        let value = (id, any::<bool>()).prop_map(|(id, is_upper)| if is_upper { id.to_uppercase() } else { id });
        let rows = |value: BoxedStrategy<Option<String>>| proptest::collection::vec((value, 1..4_usize), 0..12);
        let whole = value.prop_map(Some).boxed();
        let with_nulls = prop_oneof![whole.clone(), Just(None)].boxed();
        let mixed = prop_oneof![3 => whole.clone(), 1 => other].boxed();
        prop_oneof![rows(whole), rows(with_nulls), rows(mixed)]
            .prop_map(|rows| rows.into_iter().flat_map(|(value, times)| vec![value; times]).collect())
    }

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
        fn columns_of_ids_are_read_as_their_values_one_by_one(
            span in column(16, any::<u64>().prop_map(span_id_hex)),
            trace in column(32, any::<u128>().prop_map(trace_id_hex)),
        ) {
            for array in [&span, &span.slice(span.len() / 3, span.len() / 2)] {
                let expected: Vec<_> = array.iter().map(|id| id.and_then(parse_span_id).unwrap_or(0)).collect();
                prop_assert_eq!(span_ids(&Text::Utf8(array), array.len()), expected);
            }
            for array in [&trace, &trace.slice(trace.len() / 3, trace.len() / 2)] {
                let expected: Vec<_> = array.iter().map(|id| id.and_then(parse_trace_id)).collect();
                let runs = trace_runs(&Text::Utf8(array), array.len());
                let found: Vec<_> =
                    ranges(&runs, array.len()).flat_map(|(trace, rows)| vec![trace; rows.len()]).collect();
                prop_assert_eq!(found, expected);
            }
        }

        #[test]
        fn other_texts_are_read_as_the_standard_library_reads_them(text in "[0-9a-gA-G/:@`+ -]{16}|\\PC{4,16}") {
            let plain = text.len() == 16 && !text.starts_with('+');
            let expected = plain.then(|| u64::from_str_radix(&text, 16).ok()).flatten().filter(|&id| id != 0);
            prop_assert_eq!(parse_span_id(&text), expected);
        }
    }
}
