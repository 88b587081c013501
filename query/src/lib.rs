//! Questions to the lake: DataFusion sessions over one snapshot of files and memory, SQL, and the HTTP API. Reads
//! snapshots, never writes telemetry; never imports the collector.

mod attributes;
pub mod engine;
pub mod error;
pub mod filter;
mod functions;
pub mod http;
mod memory;
pub mod router;
mod sandbox;
pub mod session;
pub mod sql;
mod table;
pub mod time;

pub use engine::{Engine, QueryConfig, SnapshotSource};
pub use error::QueryError;
pub use filter::Filter;
pub use router::router;
pub use session::{Session, SqlStream, quote};
pub use time::Window;
