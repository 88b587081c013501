//! Start after a stop of any kind: what the log holds and the files do not is decoded again, as it was accepted, into the
//! memtable, and flushed as it goes where there is much. Never decides anything anew: no limits, the record's own
//! receive time.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use orrery_model::{Clock, TableName, TenantId};
use tokio::sync::mpsc;

use super::{FlushTarget, StoreConfig, StoreError, blocking, compress, own};
use crate::Decode;
use crate::dedup::{Absorbable, Dedup, RequestKey};
use crate::fs::FileSystem;
use crate::memtable::{Memtable, Rows, batch_bytes};
use crate::wal::{CODEC_ZSTD, Damage, RecordBody, Scan, Scanned, WalError};

/// Decoded requests between the reader and the memtable.
const AHEAD: usize = 16;

/// What was found at the start.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    pub requests: u64,
    pub rows: u64,
    /// Bytes of unacknowledged requests that the stop had cut short.
    pub torn_bytes: u64,
    /// Places in the log that can no longer be read; their segments go to `wal/quarantine`.
    pub damage: Vec<Damage>,
    /// Requests that are neither in the log nor in a file.
    pub missing: u64,
}

impl Recovery {
    pub(super) fn new(scan: &Scan, requests: u64, rows: u64) -> Self {
        let missing = scan.missing.iter().map(|range| range.end() - range.start() + 1).sum();
        Self { requests, rows, torn_bytes: scan.torn_bytes, damage: scan.damage.clone(), missing }
    }
}

pub(super) struct Replayed {
    pub memtable: Memtable,
    pub scan: Scan,
    pub requests: u64,
    pub rows: u64,
}

/// Reads the log into a new memtable.
pub(super) async fn replay(
    config: &StoreConfig,
    wal_dir: &Path,
    fs: &Arc<dyn FileSystem>,
    decode: &Arc<dyn Decode>,
    clock: &dyn Clock,
    dedup: &Arc<Dedup>,
    target: &Arc<dyn FlushTarget>,
) -> Result<Replayed, StoreError> {
    let flushed = target.flushed_sequence();
    let memtable = Memtable::new(flushed, target.view());
    let (sender, mut decoded) = mpsc::channel(AHEAD);
    let reader = Reader {
        fs: Arc::clone(fs),
        dir: wal_dir.to_owned(),
        decode: Arc::clone(decode),
        dedup: Arc::clone(dedup),
        now_ns: clock.now_ns(),
        flushed,
        sender,
    };
    let scan = tokio::spawn(blocking(move || reader.read()));
    let (mut requests, mut rows) = (0, 0);
    while let Some((sequence, request)) = decoded.recv().await {
        requests += 1;
        rows += Rows::count(&request);
        memtable.publish(sequence, std::iter::once(request));
        if memtable.active_bytes() >= config.memtable_bytes {
            memtable.seal();
            flush_ahead(config, &memtable, target).await?;
        }
    }
    let scan = scan.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
    if requests > 0 || !scan.damage.is_empty() || !scan.missing.is_empty() {
        tracing::info!(
            wal.requests = requests,
            wal.rows = rows,
            wal.torn_bytes = scan.torn_bytes,
            wal.damaged = scan.damage.len(),
            wal.missing = ?scan.missing,
            "read the log back"
        );
    }
    Ok(Replayed { memtable, scan, requests, rows })
}

/// Flushes what is sealed. Where that fails, reading goes on as long as there is memory for it.
async fn flush_ahead(
    config: &StoreConfig,
    memtable: &Memtable,
    target: &Arc<dyn FlushTarget>,
) -> Result<(), StoreError> {
    while let Some(part) = memtable.oldest_sealed() {
        match target.flush(part.first, part.through, part.batches()).await {
            Ok(view) => memtable.flushed(&part, view),
            Err(error) if memtable.bytes() < config.overload_bytes() => {
                tracing::error!(%error, "a flush of what the log holds failed and will be tried again");
                return Ok(());
            }
            Err(error) => return Err(StoreError::Flush(error.to_string().into())),
        }
    }
    Ok(())
}

/// The reading side, on a blocking thread.
struct Reader {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    decode: Arc<dyn Decode>,
    dedup: Arc<Dedup>,
    now_ns: i64,
    flushed: u64,
    sender: mpsc::Sender<(u64, Rows)>,
}

impl Reader {
    fn read(self) -> Result<Scan, WalError> {
        crate::wal::scan(&*self.fs, &self.dir, self.flushed, &mut |scanned| match self.visit(scanned) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(
                    wal.segment = %scanned.segment.display(), wal.offset = scanned.offset, error,
                    "a record of the log cannot be decoded"
                );
                false
            }
        })
    }

    fn visit(&self, scanned: &Scanned<'_>) -> Result<(), String> {
        match &scanned.record.body {
            RecordBody::Hashes(hashes) => {
                let is_missing = |h: &&Absorbable| scanned.missing.iter().any(|range| range.contains(&h.sequence));
                for request in hashes.iter().filter(|h| !is_missing(h)) {
                    self.dedup.restore(*request, self.now_ns);
                }
                Ok(())
            }
            &RecordBody::Request {
                sequence,
                ref tenant,
                table,
                received_ns,
                body_hash,
                rows,
                codec,
                raw_len,
                payload,
            } => {
                let restore = || {
                    let Some(hash) = body_hash else { return };
                    let key = RequestKey::new(tenant, table, hash);
                    self.dedup.restore(Absorbable { key, received_ns, sequence }, self.now_ns);
                };
                if sequence <= self.flushed {
                    restore();
                    return Ok(());
                }
                if codec != CODEC_ZSTD {
                    return Err(format!("codec {codec} is unknown"));
                }
                let body = compress::decompress(payload, raw_len as usize).map_err(|e| e.to_string())?;
                let decoded = self.rows(tenant, table, received_ns, &body)?;
                if Rows::count(&decoded) != u64::from(rows) {
                    let found = Rows::count(&decoded);
                    tracing::error!(
                        wal.sequence = sequence,
                        rows,
                        found,
                        "a request has other rows than it was accepted with"
                    );
                }
                restore();
                // The receiver goes only with an error of its own.
                let _ = self.sender.blocking_send((sequence, decoded));
                Ok(())
            }
        }
    }

    fn rows(&self, tenant: &TenantId, table: TableName, received_ns: i64, body: &[u8]) -> Result<Rows, String> {
        let batch = match table.signal() {
            Some(signal) => self.decode.decode(signal, body, received_ns)?,
            None => own::decode(table, body)?,
        };
        let bytes = batch_bytes(&batch);
        Ok(Rows { tenant: tenant.clone(), table, batch: Arc::new(batch.into()), bytes })
    }
}
