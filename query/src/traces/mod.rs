//! `GET /api/v1/traces` and `GET /api/v1/traces/{id}`.

mod one;
mod search;

pub use one::trace;
pub use search::search;
