//! The pages, one a file or a folder.

pub mod alerts;
pub mod logs;
pub mod map;
pub mod metrics;
pub mod services;
pub mod sql;
pub mod start;
pub mod trace;
pub mod traces;
