//! Takes rejected fields out of a request, on the wire: every other byte stays, unknown fields included, only the
//! lengths of the messages around them change. Never judges a record itself.

use orrery_model::Signal;

use super::fault::Fault;
use super::wire::Wire;

/// The numbers of the fields that lead to a record, from the request inwards.
const fn path(signal: Signal) -> &'static [&'static [u32]] {
    match signal {
        Signal::Spans | Signal::Logs => &[&[1], &[2], &[2]],
        Signal::Metrics => &[&[1], &[2], &[2], &[5, 7, 9, 10, 11], &[1]],
    }
}

/// The request without the fields that begin at `rejected`, offsets in ascending order.
pub(super) fn strip(signal: Signal, body: &[u8], rejected: &[usize]) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::with_capacity(body.len());
    strip_message(path(signal), body, body, rejected, &mut out)?;
    Ok(out)
}

fn strip_message(
    path: &[&[u32]],
    body: &[u8],
    message: &[u8],
    rejected: &[usize],
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let mut wire = Wire::new(message, false);
    loop {
        let start = wire.address() - message.as_ptr().addr();
        let Some(key) = wire.key()? else { return Ok(()) };
        let before_value = wire;
        wire.skip_value(key, 0)?;
        let end = wire.address() - message.as_ptr().addr();
        let offset = message.as_ptr().addr() - body.as_ptr().addr();
        let within = &rejected[rejected.partition_point(|&at| at < offset + start)..];
        let within = &within[..within.partition_point(|&at| at < offset + end)];
        match path.split_first() {
            Some((fields, deeper)) if key & 7 == 2 && fields.contains(&(key >> 3)) && !within.is_empty() => {
                if within[0] == offset + start {
                    continue;
                }
                let mut inner = Vec::new();
                let mut value = before_value;
                strip_message(deeper, body, value.bytes()?, within, &mut inner)?;
                write_varint(out, u64::from(key));
                write_varint(out, inner.len() as u64);
                out.append(&mut inner);
            }
            _ => out.extend_from_slice(&message[start..end]),
        }
    }
}

fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
