//! The one way of a request, whatever its signal and its door: admission, decompression, JSON to protobuf, decoding,
//! the append, and what is answered. Success means that the storage said the rows are durable. Never knows HTTP or gRPC.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use http::{Extensions, HeaderValue};
use http_body::Body;
use orrery_model::{Clock, Identity, Role, Signal, TenantId};
use orrery_storage::{Append, AppendError, Appended, Store};
use parking_lot::Mutex;
use xxhash_rust::xxh3::Xxh3;

use crate::body;
use crate::budget::{Budget, Reservation};
use crate::compression::{Encoding, decompress};
use crate::decode::{Cardinality, DecodeError, DecodeLimits, Decoded, decode_for};
use crate::heavy::by_weight;
use crate::json::{JsonLimits, transcode};
use crate::metrics::{Gauges, Metrics, Outcome, Protocol, Sample};
use crate::refusal::{Kind, Refusal};
use crate::rpc::{ExportResponse, PartialSuccess};

/// The header, or gRPC metadata, by which a sender names a request (IETF draft-ietf-httpapi-idempotency-key-header).
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Where accepted rows go: the store, or in tests one that is full or slow.
pub trait Sink: Send + Sync + 'static {
    fn append(&self, append: Append) -> impl Future<Output = Result<Appended, AppendError>> + Send;
}

impl Sink for Store {
    fn append(&self, append: Append) -> impl Future<Output = Result<Appended, AppendError>> + Send {
        Store::append(self, append)
    }
}

#[derive(Clone, Debug)]
pub struct CollectorConfig {
    /// Of one request, decompressed; what is over gets 413 or RESOURCE_EXHAUSTED.
    pub max_request_bytes: usize,
    /// Of all requests under way; what does not fit gets 503 or UNAVAILABLE.
    pub in_flight_bytes: usize,
    /// Of one tenant's requests under way; what does not fit gets 429 or RESOURCE_EXHAUSTED with `RetryInfo`.
    pub in_flight_bytes_per_tenant: usize,
    /// How long a request's body may take to arrive.
    pub body_timeout: Duration,
    pub decode: DecodeLimits,
    /// Different attribute keys that one tenant sends within an hour or two; records with new ones beyond are rejected.
    pub max_keys: usize,
    /// Different metric series of the same; data points of new ones beyond are rejected.
    pub max_series: usize,
}

impl Default for CollectorConfig {
    fn default() -> Self {
        Self {
            max_request_bytes: 64 << 20,
            in_flight_bytes: 256 << 20,
            in_flight_bytes_per_tenant: 192 << 20,
            body_timeout: Duration::from_secs(30),
            decode: DecodeLimits::default(),
            max_keys: 10_000,
            max_series: 1_000_000,
        }
    }
}

/// What all receivers share.
pub struct Collector<S = Store> {
    sink: Arc<S>,
    config: CollectorConfig,
    budget: Arc<Budget>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    /// By tenant. Tenants are those of the configuration, so there are few.
    cardinality: Mutex<HashMap<TenantId, Arc<Cardinality>>>,
}

/// A request as it came in.
pub struct Payload {
    pub signal: Signal,
    pub protocol: Protocol,
    pub encoding: Encoding,
    pub wire: Bytes,
    /// What its sender named it by, if anything. Two requests with the same bytes are copies of one another only where
    /// their names are the same too.
    pub idempotency_key: Option<HeaderValue>,
}

/// What a request may still use up, and whose it is.
pub struct Admission {
    tenant: TenantId,
    reservation: Reservation,
}

impl<S: Sink> Collector<S> {
    pub fn new(sink: Arc<S>, config: CollectorConfig, clock: Arc<dyn Clock>) -> Arc<Self> {
        let budget = Budget::new(config.in_flight_bytes, config.in_flight_bytes_per_tenant);
        Arc::new(Self { sink, config, budget, clock, metrics: Metrics::default(), cardinality: Mutex::default() })
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Every metric of the receivers with its value.
    pub fn samples(&self) -> Vec<Sample> {
        let (mut keys, mut series) = (0, 0);
        for tenant in self.cardinality.lock().values() {
            keys += tenant.keys();
            series += tenant.series();
        }
        self.metrics.samples(Gauges { in_flight_bytes: self.budget.used(), keys, series })
    }

    fn cardinality(&self, tenant: &TenantId) -> Arc<Cardinality> {
        let mut all = self.cardinality.lock();
        if let Some(known) = all.get(tenant) {
            return Arc::clone(known);
        }
        let new = Arc::new(Cardinality::new(self.config.max_keys, self.config.max_series));
        all.insert(tenant.clone(), Arc::clone(&new));
        new
    }

    /// Who sends, and that it may. Without an identity in the request's extensions it is the default one.
    pub(crate) fn admit(&self, extensions: &Extensions) -> Result<Admission, Refusal> {
        let identity = extensions.get::<Identity>().cloned().unwrap_or_default();
        if identity.role == Role::Read {
            return Err(Refusal::new(Kind::Forbidden, "this credential may read, not send telemetry"));
        }
        let reservation = self.budget.enter(&identity.tenant);
        Ok(Admission { tenant: identity.tenant, reservation })
    }

    /// Reads a request's body, with so many bytes of its transport's framing.
    pub(crate) async fn read<B>(
        &self,
        body: &mut B,
        framing_bytes: usize,
        admission: &mut Admission,
    ) -> Result<Bytes, Refusal>
    where
        B: Body + Unpin,
        B::Error: std::fmt::Display,
    {
        let CollectorConfig { max_request_bytes: bytes, body_timeout: timeout, .. } = self.config;
        body::read(body, body::Limits { bytes, framing_bytes, timeout }, &mut admission.reservation).await
    }

    /// Stores a request. What is rejected for good of its records is in the response; an error means that nothing of it
    /// was stored.
    pub async fn receive(&self, payload: Payload, mut admission: Admission) -> Result<ExportResponse, Refusal> {
        let Payload { signal, protocol, .. } = payload;
        let key = payload.idempotency_key.clone();
        let received_ns = self.clock.now_ns();
        let door = self.metrics.door(signal, protocol);
        door.wire_bytes.fetch_add(payload.wire.len() as u64, Relaxed);

        let (body, warning) = self.protobuf(payload, &mut admission.reservation)?;
        door.request_bytes.fetch_add(body.len() as u64, Relaxed);
        let cardinality = self.cardinality(&admission.tenant);
        let (decoded, hash) = by_weight(body.len(), || {
            let decoded = decode_for(Some(&cardinality), signal, &body, received_ns, &self.config.decode)?;
            let hash = (!decoded.untimed).then(|| body_hash(&admission.tenant, signal, key.as_ref(), &body));
            Ok::<_, Refusal>((decoded, hash))
        })?;

        let Decoded { batch, rejected, rejections, reject_message, accepted_body, duplicate_keys, .. } = decoded;
        let records = batch.num_rows() as u64;
        let mut outcome = if rejected == 0 { Outcome::Accepted } else { Outcome::Partial };
        if records > 0 {
            admission.reservation.force(batch.get_array_memory_size());
            let append = Append {
                tenant: admission.tenant.clone(),
                signal,
                received_ns,
                body: accepted_body.map_or(body, Bytes::from),
                batch,
                body_hash: hash,
            };
            match self.sink.append(append).await? {
                Appended::Stored => drop(door.records.fetch_add(records, Relaxed)),
                Appended::Absorbed => outcome = Outcome::Duplicate,
            }
        }
        door.rejected_records.fetch_add(rejected, Relaxed);
        if rejected > 0 {
            self.metrics.count_rejections(signal, &rejections);
        }
        door.duplicate_keys.fetch_add(duplicate_keys, Relaxed);
        door.count(outcome);
        Ok(response(rejected, reject_message.or(warning)))
    }

    /// Counts a request that was refused. What its sender is told may quote the request, so the log gets it only where the
    /// fault is ours.
    pub(crate) fn count_refused(&self, signal: Signal, protocol: Protocol, refusal: &Refusal) {
        self.metrics.door(signal, protocol).count(Outcome::Refused(refusal.kind));
        let (protocol, kind) = (protocol.word(), refusal.kind.word());
        if refusal.kind == Kind::Internal {
            tracing::error!(%signal, protocol, error = refusal.message(), "request failed");
        } else {
            tracing::debug!(%signal, protocol, kind, "request refused");
        }
    }

    pub(crate) fn count_unrouted(&self) {
        self.metrics.unrouted.fetch_add(1, Relaxed);
    }

    /// The request decompressed and in protobuf, with what its sender should know about it.
    fn protobuf(&self, payload: Payload, reservation: &mut Reservation) -> Result<(Bytes, Option<String>), Refusal> {
        let limit = self.config.max_request_bytes;
        let body = match payload.encoding {
            Encoding::Identity => payload.wire,
            encoding => Bytes::from(decompress(encoding, &payload.wire, limit, reservation)?),
        };
        // An empty body is the empty request in protobuf; in JSON it is taken for one as well.
        if payload.protocol != Protocol::HttpJson || body.is_empty() {
            return Ok((body, None));
        }
        reservation.grow(body.len())?;
        let limits = JsonLimits { bytes: limit, value_depth: self.config.decode.nesting + 2 };
        let transcoded = by_weight(body.len(), || transcode(payload.signal, &body, limits))?;
        Ok((Bytes::from(transcoded.protobuf), transcoded.warning))
    }
}

/// What tells a copy of a request from another one. Hashed is what was sent, not what was accepted of it.
fn body_hash(tenant: &TenantId, signal: Signal, key: Option<&HeaderValue>, body: &[u8]) -> u128 {
    let mut hasher = Xxh3::new();
    hasher.update(tenant.as_str().as_bytes());
    // No tenant's name holds this byte, so name and body cannot run into one another.
    hasher.update(&[0, signal as u8]);
    if let Some(key) = key {
        hasher.update(&(key.len() as u64).to_le_bytes());
        hasher.update(key.as_bytes());
    }
    hasher.update(body);
    hasher.digest128()
}

fn response(rejected: u64, message: Option<String>) -> ExportResponse {
    let partial_success = (rejected > 0 || message.is_some()).then(|| PartialSuccess {
        rejected: i64::try_from(rejected).unwrap_or(i64::MAX),
        error_message: message.unwrap_or_default(),
    });
    ExportResponse { partial_success }
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        let kind = match error {
            DecodeError::TooLarge { .. } => Kind::TooLarge,
            DecodeError::Columns(_) => Kind::Internal,
            DecodeError::Malformed { .. } | DecodeError::Prost(_) => Kind::BadData,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        let kind = match error {
            AppendError::NoSpace => Kind::NoSpace,
            AppendError::Overloaded => Kind::Busy,
            // A log that failed is a matter of the server's restart, and the sender's data is good.
            AppendError::Closed | AppendError::Fatal(_) => Kind::Closing,
            AppendError::TooLarge { .. } => Kind::TooLarge,
        };
        let refusal = Self::new(kind, error.to_string());
        error.retry_after().map_or(refusal.clone(), |delay| refusal.with_retry_after(delay))
    }
}
