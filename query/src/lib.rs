//! Questions to the lake: DataFusion sessions over one snapshot of files and memory, SQL, and the HTTP API. Reads
//! snapshots, never writes telemetry; never imports the collector.

pub mod alerts;
mod asked;
mod attributes;
pub mod attributes_api;
mod columns;
pub mod engine;
pub mod error;
pub mod filter;
pub mod formats;
mod functions;
pub mod graph;
mod histogram;
pub mod http;
pub mod logs;
mod memory;
pub mod metrics;
mod newest;
pub mod openapi;
pub mod prepared;
mod records;
pub mod rollup;
pub mod router;
mod sandbox;
pub mod services;
pub mod session;
pub mod spans;
pub mod sql;
pub mod status;
mod table;
pub mod time;
pub mod trace_tree;
pub mod traces;

pub use alerts::AlertSource;
pub use engine::{Activity, Caches, Engine, Lane, LaneConfig, QueryConfig, SnapshotSource};
pub use error::QueryError;
pub use filter::Filter;
pub use prepared::Prepared;
pub use router::router;
pub use session::{Session, SqlStream, quote};
pub use status::{ServerStatus, StatusSource};
pub use time::Window;
