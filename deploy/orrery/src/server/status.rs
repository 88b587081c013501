//! What the server knows of itself, for `GET /api/v1/status`. Reads; never changes anything.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use orrery_query::{ServerStatus, StatusSource};
use orrery_storage::Store;

use super::Addresses;

pub struct Status {
    store: Arc<Store>,
    addresses: Addresses,
    data_dir: PathBuf,
    started: Instant,
}

impl Status {
    pub fn new(store: Arc<Store>, addresses: Addresses, data_dir: PathBuf) -> Self {
        // A relative path says little to someone who does not know where the server was started.
        let data_dir = data_dir.canonicalize().unwrap_or(data_dir);
        Self { store, addresses, data_dir, started: Instant::now() }
    }
}

impl StatusSource for Status {
    fn server(&self) -> ServerStatus {
        let store = self.store.status();
        ServerStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: self.started.elapsed().as_secs(),
            data_dir: self.data_dir.display().to_string(),
            otlp_grpc: self.addresses.url(self.addresses.otlp_grpc),
            otlp_http: self.addresses.url(self.addresses.otlp_http),
            wal_bytes: store.wal_bytes,
            memtable_bytes: (store.memtable.active_bytes + store.memtable.sealed_bytes) as u64,
            free_bytes: store.free_bytes.unwrap_or_default(),
            refusing: store.refusing.map(|reason| reason.to_string()),
        }
    }
}
