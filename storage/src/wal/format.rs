//! The bytes of segments and records (`storage/FORMAT.md`, "Write-ahead log"). Pure: reads and writes slices, never
//! files. All numbers are little-endian.

use orrery_model::{TableName, TenantId};

use crate::dedup::{Absorbable, RequestKey};

/// The version of segments and records alike.
pub const VERSION: u8 = 1;
/// A segment's first block: the header, and its copy in the second half.
pub const SEGMENT_HEADER_BYTES: usize = 4096;
const HEADER_COPY_OFFSET: usize = SEGMENT_HEADER_BYTES / 2;
const SEGMENT_MAGIC: [u8; 8] = *b"ORRYWAL\n";
const SEGMENT_FIELDS: usize = 48;

const RECORD_MAGIC: [u8; 4] = *b"\xF5rec";
/// The fixed part of a record's header; the tenant's name follows.
pub const RECORD_FIXED_BYTES: usize = 80;
/// Records begin at multiples of this.
pub const ALIGNMENT: usize = 8;

const KIND_REQUEST: u8 = 1;
const KIND_HASHES: u8 = 2;
pub const CODEC_NONE: u8 = 0;
pub const CODEC_ZSTD: u8 = 1;
const FLAG_HASHED: u32 = 1;
const HASH_BYTES: usize = 32;

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    pub number: u64,
    /// The sequence that its first request has, or would have had.
    pub first_sequence: u64,
    pub created_ns: i64,
    /// Random; part of every checksum of the segment, so that no bytes a sender can choose pass for a record.
    pub salt: u64,
}

/// One record, its payload still compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The last sequence known to be on stable storage when the record was written: damage at or below it is damage to
    /// something acknowledged.
    pub durable: u64,
    pub body: RecordBody<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordBody<'a> {
    Request {
        sequence: u64,
        tenant: TenantId,
        table: TableName,
        received_ns: i64,
        body_hash: Option<u128>,
        rows: u32,
        codec: u8,
        /// Of the payload when decompressed.
        raw_len: u32,
        payload: &'a [u8],
    },
    /// The absorb window's requests, oldest first.
    Hashes(Vec<Absorbable>),
}

/// Why bytes are no segment header or record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// The checksum does not hold, or the bytes end too soon.
    Damaged,
    /// The checksum holds and the version is another.
    Version(u8),
}

/// The fields of a request's record that are known before it has its place in the log.
pub struct RequestFields<'a> {
    pub tenant: &'a TenantId,
    pub table: TableName,
    pub received_ns: i64,
    pub body_hash: Option<u128>,
    pub rows: u32,
    pub codec: u8,
    pub raw_len: u32,
    pub payload: &'a [u8],
    /// CRC32C of `payload`.
    pub payload_crc: u32,
}

impl SegmentHeader {
    pub fn encode(&self) -> Vec<u8> {
        let mut fields = Vec::with_capacity(SEGMENT_FIELDS);
        fields.extend(SEGMENT_MAGIC);
        fields.extend([0; 4]);
        fields.extend([VERSION, 0, 0, 0]);
        fields.extend(self.number.to_le_bytes());
        fields.extend(self.first_sequence.to_le_bytes());
        fields.extend(self.created_ns.to_le_bytes());
        fields.extend(self.salt.to_le_bytes());
        let crc = crc32c::crc32c(&fields[12..]);
        fields[8..12].copy_from_slice(&crc.to_le_bytes());
        let mut block = vec![0; SEGMENT_HEADER_BYTES];
        block[..SEGMENT_FIELDS].copy_from_slice(&fields);
        block[HEADER_COPY_OFFSET..HEADER_COPY_OFFSET + SEGMENT_FIELDS].copy_from_slice(&fields);
        block
    }

    /// Reads the header or, should it be damaged, its copy.
    pub fn decode(block: &[u8]) -> Result<Self, Invalid> {
        let copy = || Self::decode_at(block.get(HEADER_COPY_OFFSET..).unwrap_or_default());
        Self::decode_at(block).or_else(|e| if e == Invalid::Damaged { copy() } else { Err(e) })
    }

    fn decode_at(bytes: &[u8]) -> Result<Self, Invalid> {
        let fields = bytes.get(..SEGMENT_FIELDS).ok_or(Invalid::Damaged)?;
        if fields[..8] != SEGMENT_MAGIC || u32_at(fields, 8) != crc32c::crc32c(&fields[12..]) {
            return Err(Invalid::Damaged);
        }
        if fields[12] != VERSION {
            return Err(Invalid::Version(fields[12]));
        }
        Ok(Self {
            number: u64_at(fields, 16),
            first_sequence: u64_at(fields, 24),
            created_ns: u64_at(fields, 32).cast_signed(),
            salt: u64_at(fields, 40),
        })
    }
}

/// The bytes that a request's record takes, padding included.
pub fn request_len(tenant: &TenantId, payload_len: usize) -> usize {
    (RECORD_FIXED_BYTES + tenant.as_str().len() + payload_len).next_multiple_of(ALIGNMENT)
}

/// Appends a request's record.
pub fn encode_request(out: &mut Vec<u8>, salt: u64, sequence: u64, durable: u64, fields: &RequestFields<'_>) {
    let header = Header {
        kind: KIND_REQUEST,
        codec: fields.codec,
        table: fields.table.code(),
        tenant: fields.tenant.as_str(),
        payload_len: u32::try_from(fields.payload.len()).expect("a compressed body is below MAX_BODY_BYTES"),
        raw_len: fields.raw_len,
        payload_crc: fields.payload_crc,
        rows: fields.rows,
        sequence,
        durable,
        received_ns: fields.received_ns,
        body_hash: fields.body_hash,
    };
    header.encode(out, salt);
    out.extend_from_slice(fields.payload);
    pad(out);
}

/// Appends the record of the absorb window's requests.
pub fn encode_hashes(out: &mut Vec<u8>, salt: u64, durable: u64, created_ns: i64, hashes: &[Absorbable]) {
    let mut payload = Vec::with_capacity(hashes.len() * HASH_BYTES);
    for request in hashes {
        payload.extend(request.key.0.to_le_bytes());
        payload.extend(request.received_ns.to_le_bytes());
        payload.extend(request.sequence.to_le_bytes());
    }
    let len = u32::try_from(payload.len()).expect("MAX_HASHES hashes are below 4 GiB");
    let header = Header {
        kind: KIND_HASHES,
        codec: CODEC_NONE,
        table: 0,
        tenant: "",
        payload_len: len,
        raw_len: len,
        payload_crc: crc32c::crc32c(&payload),
        rows: 0,
        sequence: 0,
        durable,
        received_ns: created_ns,
        body_hash: None,
    };
    header.encode(out, salt);
    out.extend_from_slice(&payload);
    pad(out);
}

/// Reads the record at the beginning of `bytes`; gives it with the length it takes, padding included.
pub fn decode_record(bytes: &[u8], salt: u64) -> Result<(Record<'_>, usize), Invalid> {
    let header = whole_header(bytes, salt).ok_or(Invalid::Damaged)?;
    if header[8] != VERSION {
        return Err(Invalid::Version(header[8]));
    }
    let payload = payload_of(header, bytes).ok_or(Invalid::Damaged)?;
    if payload_crc(header) != crc32c::crc32c(payload) {
        return Err(Invalid::Damaged);
    }
    let body = decode_body(header, payload).ok_or(Invalid::Damaged)?;
    let len = (header.len() + payload.len()).next_multiple_of(ALIGNMENT);
    Ok((Record { durable: u64_at(header, 40), body }, len))
}

/// The header at the beginning of `bytes` if its checksum holds.
pub fn whole_header(bytes: &[u8], salt: u64) -> Option<&[u8]> {
    let fixed = bytes.get(..RECORD_FIXED_BYTES)?;
    let header_len = usize::from(u16::from_le_bytes([fixed[12], fixed[13]]));
    let header = bytes.get(..header_len).filter(|_| fixed[..4] == RECORD_MAGIC)?;
    (header_len >= RECORD_FIXED_BYTES && u32_at(header, 4) == header_crc(header, salt)).then_some(header)
}

/// The bytes behind a header that it says are its payload; `None` where there are fewer.
pub fn payload_of<'a>(header: &[u8], bytes: &'a [u8]) -> Option<&'a [u8]> {
    bytes.get(header.len()..)?.get(..u32_at(header, 16) as usize)
}

/// What the checksum of a header's payload is.
pub fn payload_crc(header: &[u8]) -> u32 {
    u32_at(header, 24)
}

fn decode_body<'a>(header: &[u8], payload: &'a [u8]) -> Option<RecordBody<'a>> {
    match header[9] {
        KIND_REQUEST => Some(RecordBody::Request {
            sequence: u64_at(header, 32),
            tenant: TenantId::new(std::str::from_utf8(&header[RECORD_FIXED_BYTES..]).ok()?).ok()?,
            table: TableName::from_code(header[11])?,
            received_ns: u64_at(header, 48).cast_signed(),
            body_hash: (u32_at(header, 72) & FLAG_HASHED != 0).then(|| u128_at(header, 56)),
            rows: u32_at(header, 28),
            codec: header[10],
            raw_len: u32_at(header, 20),
            payload,
        }),
        KIND_HASHES => {
            let hashes = payload.chunks_exact(HASH_BYTES).map(|hash| Absorbable {
                key: RequestKey(u128_at(hash, 0)),
                received_ns: u64_at(hash, 16).cast_signed(),
                sequence: u64_at(hash, 24),
            });
            Some(RecordBody::Hashes(hashes.collect()))
        }
        _ => None,
    }
}

struct Header<'a> {
    kind: u8,
    codec: u8,
    table: u8,
    tenant: &'a str,
    payload_len: u32,
    raw_len: u32,
    payload_crc: u32,
    rows: u32,
    sequence: u64,
    durable: u64,
    received_ns: i64,
    body_hash: Option<u128>,
}

impl Header<'_> {
    fn encode(&self, out: &mut Vec<u8>, salt: u64) {
        let start = out.len();
        let header_len = RECORD_FIXED_BYTES + self.tenant.len();
        out.extend(RECORD_MAGIC);
        out.extend([0; 4]);
        out.extend([VERSION, self.kind, self.codec, self.table]);
        out.extend(u16::try_from(header_len).expect("a tenant has at most 64 characters").to_le_bytes());
        out.extend([0; 2]);
        out.extend(self.payload_len.to_le_bytes());
        out.extend(self.raw_len.to_le_bytes());
        out.extend(self.payload_crc.to_le_bytes());
        out.extend(self.rows.to_le_bytes());
        out.extend(self.sequence.to_le_bytes());
        out.extend(self.durable.to_le_bytes());
        out.extend(self.received_ns.to_le_bytes());
        out.extend(self.body_hash.unwrap_or(0).to_le_bytes());
        out.extend(if self.body_hash.is_some() { FLAG_HASHED } else { 0 }.to_le_bytes());
        out.extend([0; 4]);
        out.extend(self.tenant.as_bytes());
        debug_assert_eq!(out.len() - start, header_len);
        let crc = header_crc(&out[start..], salt);
        out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    }
}

/// CRC32C of the segment's salt and the header from its ninth byte on.
fn header_crc(header: &[u8], salt: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), &header[8..])
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn u128_at(bytes: &[u8], at: usize) -> u128 {
    u128::from_le_bytes(bytes[at..at + 16].try_into().expect("sixteen bytes"))
}
