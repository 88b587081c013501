//! A cursor over protobuf wire bytes: keys, varints, fixed words and length-delimited fields. Knows no message; it never
//! copies and never allocates.

use super::fault::{Fault, Reason};

/// Groups within groups that are skipped; more is malformed.
const MAX_GROUPS: usize = 64;

pub(crate) const fn varint(field: u32) -> u32 {
    field << 3
}
pub(crate) const fn fixed64(field: u32) -> u32 {
    field << 3 | 1
}
pub(crate) const fn len(field: u32) -> u32 {
    field << 3 | 2
}
pub(crate) const fn fixed32(field: u32) -> u32 {
    field << 3 | 5
}

/// The keys of fields by wire type and number, to match on.
pub(crate) mod keys {
    use super::{fixed32, fixed64, len, varint};

    pub const VARINT_1: u32 = varint(1);
    pub const VARINT_2: u32 = varint(2);
    pub const VARINT_3: u32 = varint(3);
    pub const VARINT_4: u32 = varint(4);
    pub const VARINT_5: u32 = varint(5);
    pub const VARINT_6: u32 = varint(6);
    pub const VARINT_7: u32 = varint(7);
    pub const VARINT_8: u32 = varint(8);
    pub const VARINT_10: u32 = varint(10);
    pub const VARINT_12: u32 = varint(12);
    pub const VARINT_14: u32 = varint(14);
    pub const FIXED64_1: u32 = fixed64(1);
    pub const FIXED64_2: u32 = fixed64(2);
    pub const FIXED64_3: u32 = fixed64(3);
    pub const FIXED64_4: u32 = fixed64(4);
    pub const FIXED64_5: u32 = fixed64(5);
    pub const FIXED64_6: u32 = fixed64(6);
    pub const FIXED64_7: u32 = fixed64(7);
    pub const FIXED64_8: u32 = fixed64(8);
    pub const FIXED64_11: u32 = fixed64(11);
    pub const FIXED64_12: u32 = fixed64(12);
    pub const FIXED64_13: u32 = fixed64(13);
    pub const FIXED64_14: u32 = fixed64(14);
    pub const LEN_1: u32 = len(1);
    pub const LEN_2: u32 = len(2);
    pub const LEN_3: u32 = len(3);
    pub const LEN_4: u32 = len(4);
    pub const LEN_5: u32 = len(5);
    pub const LEN_6: u32 = len(6);
    pub const LEN_7: u32 = len(7);
    pub const LEN_8: u32 = len(8);
    pub const LEN_9: u32 = len(9);
    pub const LEN_10: u32 = len(10);
    pub const LEN_11: u32 = len(11);
    pub const LEN_12: u32 = len(12);
    pub const LEN_13: u32 = len(13);
    pub const LEN_15: u32 = len(15);
    pub const FIXED32_6: u32 = fixed32(6);
    pub const FIXED32_8: u32 = fixed32(8);
    pub const FIXED32_16: u32 = fixed32(16);
}

/// What is left of one message.
#[derive(Clone, Copy)]
pub(crate) struct Wire<'a> {
    rest: &'a [u8],
    /// Whether each string is checked where it is read. The first pass over a request does not: it leaves that to the
    /// check of each column as a whole.
    check_text: bool,
}

impl<'a> Wire<'a> {
    pub fn new(bytes: &'a [u8], check_text: bool) -> Self {
        Self { rest: bytes, check_text }
    }

    /// The same bytes with every string checked.
    pub fn checked(self) -> Self {
        Self { check_text: true, ..self }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The address of the next byte; [`Fault::Malformed`] carries such addresses until the request's start is known.
    pub fn address(&self) -> usize {
        self.rest.as_ptr().addr()
    }

    #[cold]
    fn malformed(&self, what: &'static str) -> Fault {
        Fault::Malformed { address: self.address(), what }
    }

    /// The next field's key (number and wire type), `None` at the end of the message.
    #[inline(always)]
    pub fn key(&mut self) -> Result<Option<u32>, Fault> {
        let Some(&first) = self.rest.first() else { return Ok(None) };
        if first < 0x80 {
            if first < 8 {
                return Err(self.malformed("field number 0"));
            }
            self.rest = &self.rest[1..];
            return Ok(Some(u32::from(first)));
        }
        self.long_key().map(Some)
    }

    fn long_key(&mut self) -> Result<u32, Fault> {
        let at = *self;
        let key = u32::try_from(self.varint()?).map_err(|_| at.malformed("field number out of range"))?;
        if key < 8 { Err(at.malformed("field number 0")) } else { Ok(key) }
    }

    #[inline(always)]
    pub fn varint(&mut self) -> Result<u64, Fault> {
        match self.rest {
            [first, rest @ ..] if *first < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*first))
            }
            [first, second, rest @ ..] if *second < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*first & 0x7f) | u64::from(*second) << 7)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0;
        for (i, &byte) in self.rest.iter().take(10).enumerate() {
            if i == 9 && byte > 1 {
                return Err(self.malformed("varint longer than 64 bits"));
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.rest = &self.rest[i + 1..];
                return Ok(value);
            }
        }
        Err(self.malformed(if self.rest.len() < 10 { "truncated varint" } else { "varint longer than 64 bits" }))
    }

    #[inline(always)]
    pub fn fixed64(&mut self) -> Result<u64, Fault> {
        let Some((word, rest)) = self.rest.split_first_chunk() else { return Err(self.malformed("truncated fixed64")) };
        self.rest = rest;
        Ok(u64::from_le_bytes(*word))
    }

    pub fn double(&mut self) -> Result<f64, Fault> {
        self.fixed64().map(f64::from_bits)
    }

    #[inline(always)]
    pub fn fixed32(&mut self) -> Result<u32, Fault> {
        let Some((word, rest)) = self.rest.split_first_chunk() else { return Err(self.malformed("truncated fixed32")) };
        self.rest = rest;
        Ok(u32::from_le_bytes(*word))
    }

    /// A varint as `int32` and enums read it: the low 32 bits.
    #[inline(always)]
    pub fn int32(&mut self) -> Result<i32, Fault> {
        Ok(self.varint()? as i32)
    }

    /// A varint as `uint32` reads it: the low 32 bits.
    #[inline(always)]
    pub fn uint32(&mut self) -> Result<u32, Fault> {
        Ok(self.varint()? as u32)
    }

    pub fn sint32(&mut self) -> Result<i32, Fault> {
        let raw = self.varint()? as u32;
        Ok((raw >> 1) as i32 ^ -((raw & 1) as i32))
    }

    #[inline(always)]
    pub fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.varint()?;
        if length > self.rest.len() as u64 {
            return Err(self.malformed("length beyond the end of the message"));
        }
        let (bytes, rest) = self.rest.split_at(length as usize);
        self.rest = rest;
        Ok(bytes)
    }

    /// A string field. Its bytes are UTF-8 where strings are checked one by one.
    #[inline(always)]
    pub fn text(&mut self) -> Result<&'a [u8], Fault> {
        let bytes = self.bytes()?;
        if self.check_text && simdutf8::basic::from_utf8(bytes).is_err() {
            return Err(Fault::Reject(Reason::Utf8));
        }
        Ok(bytes)
    }

    #[inline(always)]
    pub fn message(&mut self) -> Result<Wire<'a>, Fault> {
        Ok(Wire { rest: self.bytes()?, check_text: self.check_text })
    }

    /// Skips a field that has no meaning here. `known` has the bit of each field number that the message does have:
    /// such a field with another wire type is malformed, as prost has it, and never lost in silence.
    #[cold]
    pub fn skip(&mut self, key: u32, known: u32) -> Result<(), Fault> {
        if key >> 3 < 32 && known >> (key >> 3) & 1 == 1 {
            return Err(self.malformed("wrong wire type"));
        }
        self.skip_value(key, 0)
    }

    /// Skips the value of any field.
    #[inline]
    pub fn skip_value(&mut self, key: u32, groups: usize) -> Result<(), Fault> {
        match key & 7 {
            0 => self.varint().map(drop),
            1 => self.fixed64().map(drop),
            2 => self.bytes().map(drop),
            3 => self.skip_group(key >> 3, groups + 1),
            5 => self.fixed32().map(drop),
            4 => Err(self.malformed("end of a group that did not begin")),
            _ => Err(self.malformed("unknown wire type")),
        }
    }

    fn skip_group(&mut self, field: u32, groups: usize) -> Result<(), Fault> {
        if groups > MAX_GROUPS {
            return Err(self.malformed("groups nested too deep"));
        }
        while let Some(key) = self.key()? {
            if key == field << 3 | 4 {
                return Ok(());
            }
            self.skip_value(key, groups)?;
        }
        Err(self.malformed("group without an end"))
    }
}
