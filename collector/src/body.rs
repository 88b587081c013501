//! Reading a request's body into one piece, within the limit and the budget. Never decompresses, and never copies a body
//! that arrives in one piece.

use std::pin::pin;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;

use crate::budget::Reservation;
use crate::refusal::{Kind, Refusal};

/// What is allocated on the word of a `Content-Length` alone.
const TRUSTED_BYTES: usize = 1 << 20;

/// How much of a refused request is read and dropped, so that a client that is still sending sees the answer rather than
/// a connection reset.
const LINGER_BYTES: usize = 256 << 20;
const LINGER: Duration = Duration::from_secs(2);

/// How large a body may be, and how long it may take.
#[derive(Clone, Copy)]
pub struct Limits {
    /// Of the request itself.
    pub bytes: usize,
    /// Of the transport's framing around it.
    pub framing_bytes: usize,
    pub timeout: Duration,
}

/// Reads a body. Its bytes are taken from the reservation as they arrive.
pub async fn read<B>(body: &mut B, limits: Limits, reservation: &mut Reservation) -> Result<Bytes, Refusal>
where
    B: Body + Unpin,
    B::Error: std::fmt::Display,
{
    tokio::time::timeout(limits.timeout, collect(body, limits, reservation)).await.unwrap_or_else(|_| {
        Err(Refusal::new(Kind::TooSlow, format!("the request's body did not arrive within {:?}", limits.timeout)))
    })
}

/// Reads on after a refusal and drops what comes, for a while.
pub async fn linger<B: Body + Unpin>(body: &mut B) {
    let drain = async {
        let mut dropped = 0;
        while let Some(Ok(frame)) = body.frame().await {
            dropped += frame.data_ref().map_or(0, Buf::remaining);
            if dropped > LINGER_BYTES {
                break;
            }
        }
    };
    // Whether all of it came or not, the answer goes out now.
    let _ = tokio::time::timeout(LINGER, pin!(drain)).await;
}

async fn collect<B>(body: &mut B, limits: Limits, reservation: &mut Reservation) -> Result<Bytes, Refusal>
where
    B: Body + Unpin,
    B::Error: std::fmt::Display,
{
    let most = limits.bytes + limits.framing_bytes;
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if declared > most {
        return Err(too_large(limits.bytes));
    }
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Refusal::new(Kind::BadData, format!("the request's body broke off: {error}")))?;
        let Ok(mut data) = frame.into_data() else { continue };
        let length = data.remaining();
        if first.len().max(rest.len()) + length > most {
            return Err(too_large(limits.bytes));
        }
        reservation.grow(length)?;
        if first.is_empty() && rest.is_empty() {
            first = data.copy_to_bytes(length);
            continue;
        }
        if rest.is_empty() {
            rest.reserve(declared.min(TRUSTED_BYTES).max(first.len() + length));
            rest.extend_from_slice(&first);
        }
        while data.has_remaining() {
            let piece = data.chunk();
            rest.extend_from_slice(piece);
            let length = piece.len();
            data.advance(length);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

fn too_large(limit: usize) -> Refusal {
    Refusal::new(Kind::TooLarge, format!("the request exceeds {limit} bytes; send smaller batches"))
}
