//! Receivers for OTLP, admission, and the decoding of OTLP into rows: the one pipeline for all signals. Takes bytes from
//! the network and hands rows to the storage; never keeps anything itself and never answers a query.

mod body;
mod budget;
mod compression;
mod cors;
pub mod decode;
pub mod export;
pub mod grpc;
mod heavy;
pub mod http;
pub mod json;
mod metrics;
mod pipeline;
mod refusal;
pub mod rpc;

pub use self::http::http_router;
pub use cors::cors;
pub use grpc::{both_router, grpc_router};
pub use metrics::{Metric, Metrics, Outcome, Protocol, Sample};
pub use pipeline::{Collector, CollectorConfig, IDEMPOTENCY_KEY, Sink};
pub use refusal::{Kind, Refusal};
