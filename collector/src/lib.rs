//! From OTLP on the wire to rows in the store: receivers, admission and decoding, one pipeline for all signals. Never
//! queries anything.

pub mod decode;
pub mod export;
