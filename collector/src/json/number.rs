//! Scalars as OTLP/JSON writes them: numbers as numbers or strings, ids in hex, bytes in base64. Never allocates for a
//! number.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// An integer of any width. A point or an exponent is allowed where the value is still an integer, as protobuf's JSON
/// mapping has it. Beyond 128 bits the number saturates, which is out of every field's range.
pub fn integer(text: &[u8]) -> Result<i128, String> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return Err(not_a_number(text, "an integer"));
    }
    let mut value: i128 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return integral_double(text);
        }
        value = value.saturating_mul(10).saturating_add(i128::from(digit - b'0'));
    }
    Ok(if negative { -value } else { value })
}

/// A double. `NaN`, `Infinity` and `-Infinity` come as strings.
pub fn double(text: &[u8]) -> Result<f64, String> {
    match text {
        b"NaN" => return Ok(f64::NAN),
        b"Infinity" => return Ok(f64::INFINITY),
        b"-Infinity" => return Ok(f64::NEG_INFINITY),
        // Rust also reads `inf`, `nan` and a leading `+`; JSON has none of them.
        [b'-' | b'0'..=b'9', ..] => {}
        _ => return Err(not_a_number(text, "a number, \"NaN\", \"Infinity\" or \"-Infinity\"")),
    }
    let number = std::str::from_utf8(text).ok().and_then(|t| t.parse::<f64>().ok());
    match number {
        Some(n) if n.is_finite() => Ok(n),
        Some(_) => Err(format!("{} does not fit in a double", shown(text))),
        None => Err(not_a_number(text, "a number")),
    }
}

/// Appends the bytes of a hex id in either case. An odd number of digits is no whole number of bytes: it gives a length
/// that is wrong for every id, and the decoder rejects the record that has it.
pub fn hex(text: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let pairs = text.chunks_exact(2);
    let odd = !pairs.remainder().is_empty();
    for pair in pairs {
        let (Some(high), Some(low)) = (nibble(pair[0]), nibble(pair[1])) else { return Err(not_hex(text)) };
        out.push(high << 4 | low);
    }
    if odd {
        nibble(text[text.len() - 1]).ok_or_else(|| not_hex(text))?;
        if matches!(text.len() / 2, 0 | 8 | 16) {
            out.push(0);
        }
    }
    Ok(())
}

/// Bytes in base64, standard or URL-safe, padded or not.
pub fn base64(text: &[u8]) -> Result<Vec<u8>, String> {
    const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
    const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
    let engine = if memchr::memchr2(b'-', b'_', text).is_some() { URL_SAFE } else { STANDARD };
    engine.decode(text).map_err(|error| format!("{} is not base64: {error}", shown(text)))
}

/// A value as an error message shows it: short, and printable.
pub fn shown(text: &[u8]) -> String {
    let cut: String = String::from_utf8_lossy(&text[..text.len().min(160)]).chars().take(40).collect();
    let dots = if cut.len() < text.len() { "…" } else { "" };
    format!("\"{}{dots}\"", cut.escape_debug())
}

fn integral_double(text: &[u8]) -> Result<i128, String> {
    let value = double(text).map_err(|_| not_a_number(text, "an integer"))?;
    // 2^64: beyond every 64-bit field, and below it every integral double is exact in 128 bits.
    if value.fract() != 0.0 || !value.is_finite() {
        return Err(not_a_number(text, "an integer"));
    }
    Ok(value as i128)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn not_hex(text: &[u8]) -> String {
    format!("{} is not hex; OTLP/JSON writes trace and span ids in hex, not in base64", shown(text))
}

fn not_a_number(text: &[u8], wanted: &str) -> String {
    format!("expected {wanted}, found {}", shown(text))
}
