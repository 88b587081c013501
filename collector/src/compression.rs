//! Decompression of request bodies with a bound on what comes out: a bomb stops at the limit, having taken no more memory
//! than that, from the budget, as it grew. Never trusts a size that the sender states.

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use crate::budget::Reservation;
use crate::heavy::{HEAVY_BYTES, heavy};
use crate::refusal::{Kind, Refusal};

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    Gzip,
    Zstd,
    /// zlib's format, as HTTP means the word.
    Deflate,
}

/// What is accepted, as the header that says so.
pub const ACCEPTED: &str = "identity, gzip, zstd, deflate";

/// Members of one gzip body: a parallel compressor makes one per 64 KiB or more.
const MAX_MEMBERS: usize = 65_536;

/// The largest window that a zstd frame may ask for, as a power of two: 32 MiB, what the best level of Go's encoder uses.
const ZSTD_WINDOW_LOG: u32 = 25;

/// The first guess at the size of the result is at most this many times the input.
const EXPECTED_RATIO: usize = 64;

impl Encoding {
    /// Reads `Content-Encoding` or `grpc-encoding`.
    pub fn parse(header: &str) -> Result<Self, Refusal> {
        let name = header.trim();
        match name.to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            "deflate" => Ok(Self::Deflate),
            _ => {
                let message = format!("unsupported content encoding {name:?}; use one of {ACCEPTED}");
                Err(Refusal::new(Kind::UnsupportedEncoding, message))
            }
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Deflate => "deflate",
        }
    }
}

/// Decompresses a whole body into at most `limit` bytes, which are taken from the reservation.
pub fn decompress(
    encoding: Encoding,
    input: &[u8],
    limit: usize,
    reservation: &mut Reservation,
) -> Result<Vec<u8>, Refusal> {
    let mut unfolding = Unfolding { encoding, input, out: Vec::new(), limit, reservation };
    let hint = unfolding.size_hint();
    unfolding.make_room(hint)?;
    let mut stream = Stream::new(encoding)?;
    if !unfolding.run(&mut stream, HEAVY_BYTES)? {
        heavy(|| unfolding.run(&mut stream, usize::MAX))?;
    }
    Ok(unfolding.out)
}

enum Stream {
    Flate { state: Decompress, members: usize },
    Zstd { state: Decoder<'static>, frame_done: bool },
}

impl Stream {
    fn new(encoding: Encoding) -> Result<Self, Refusal> {
        match encoding {
            Encoding::Zstd => {
                let unusable = |error: std::io::Error| Refusal::new(Kind::Internal, format!("zstd: {error}"));
                let mut state = Decoder::new().map_err(unusable)?;
                state.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG)).map_err(unusable)?;
                Ok(Self::Zstd { state, frame_done: false })
            }
            Encoding::Deflate => Ok(Self::Flate { state: Decompress::new(true), members: 1 }),
            _ => Ok(Self::Flate { state: Decompress::new_gzip(15), members: 1 }),
        }
    }
}

/// A body on its way from `input` to `out`.
struct Unfolding<'a> {
    encoding: Encoding,
    /// What is not consumed yet.
    input: &'a [u8],
    out: Vec<u8>,
    limit: usize,
    reservation: &'a mut Reservation,
}

impl Unfolding<'_> {
    /// Goes on until the body is whole (true) or `until` bytes are out (false).
    fn run(&mut self, stream: &mut Stream, until: usize) -> Result<bool, Refusal> {
        loop {
            if self.out.len() == self.out.capacity() {
                self.make_room(self.out.len())?;
            }
            let done = match stream {
                Stream::Flate { state, members } => self.inflate(state, members)?,
                Stream::Zstd { state, frame_done } => self.unpack_zstd(state, frame_done)?,
            };
            if self.out.len() > self.limit {
                return Err(self.too_large());
            }
            if done || self.out.len() >= until {
                return Ok(done);
            }
        }
    }

    fn inflate(&mut self, state: &mut Decompress, members: &mut usize) -> Result<bool, Refusal> {
        let (in_before, out_before) = (state.total_in(), self.out.len());
        let status = state
            .decompress_vec(self.input, &mut self.out, FlushDecompress::None)
            .map_err(|error| self.corrupt(error.message().unwrap_or("corrupt stream")))?;
        let consumed = (state.total_in() - in_before) as usize;
        self.input = &self.input[consumed..];
        if status == Status::StreamEnd {
            if self.input.is_empty() {
                return Ok(true);
            }
            if self.encoding != Encoding::Gzip || !self.input.starts_with(&[0x1f, 0x8b]) {
                return Err(self.corrupt("there are bytes after its end"));
            }
            *members += 1;
            if *members > MAX_MEMBERS {
                return Err(self.corrupt("it has too many members"));
            }
            *state = Decompress::new_gzip(15);
            return Ok(false);
        }
        let stuck = consumed == 0 && self.out.len() == out_before && self.out.len() < self.out.capacity();
        if self.input.is_empty() && self.out.len() < self.out.capacity() || stuck {
            return Err(self.corrupt("it ends early"));
        }
        Ok(false)
    }

    fn unpack_zstd(&mut self, state: &mut Decoder<'static>, frame_done: &mut bool) -> Result<bool, Refusal> {
        if self.input.is_empty() && *frame_done {
            return Ok(true);
        }
        let written = self.out.len();
        let mut source = InBuffer::around(self.input);
        let mut target = OutBuffer::around_pos(&mut self.out, written);
        let hint = state.run(&mut source, &mut target);
        let consumed = source.pos();
        let hint = hint.map_err(|error| self.corrupt(&error.to_string()))?;
        self.input = &self.input[consumed..];
        *frame_done = hint == 0;
        if self.input.is_empty() && !*frame_done && self.out.len() < self.out.capacity() {
            return Err(self.corrupt("it ends early"));
        }
        Ok(self.input.is_empty() && *frame_done)
    }

    /// Makes room for `bytes` more, as far as the limit (and one byte beyond, by which it is seen to be passed).
    fn make_room(&mut self, bytes: usize) -> Result<(), Refusal> {
        let bytes = bytes.max(4096).min(self.limit + 1 - self.out.len());
        self.reservation.grow(bytes)?;
        self.out.reserve_exact(bytes);
        Ok(())
    }

    /// A guess at the size of the result, from what the sender states in so far as that is plausible.
    fn size_hint(&self) -> usize {
        let stated = match (self.encoding, self.input) {
            (Encoding::Gzip, [.., a, b, c, d]) => u64::from(u32::from_le_bytes([*a, *b, *c, *d])),
            (Encoding::Zstd, input) => zstd::zstd_safe::get_frame_content_size(input).ok().flatten().unwrap_or(0),
            _ => 0,
        };
        let plausible = self.input.len().saturating_mul(EXPECTED_RATIO);
        let stated = usize::try_from(stated).unwrap_or(usize::MAX).saturating_add(1);
        stated.max(self.input.len().saturating_mul(2)).min(plausible)
    }

    fn too_large(&self) -> Refusal {
        Refusal::new(
            Kind::TooLarge,
            format!("the request exceeds {} bytes when decompressed; send smaller batches", self.limit),
        )
    }

    fn corrupt(&self, what: &str) -> Refusal {
        Refusal::new(Kind::BadData, format!("the {} body cannot be decompressed: {what}", self.encoding.name()))
    }
}

#[cfg(test)]
mod tests;
