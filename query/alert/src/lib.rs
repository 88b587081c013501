//! Alerting: rules in files, their evaluation over the lake, and what leaves when something is wrong. Reads telemetry
//! through query sessions only; never imports the collector, knows nothing of HTTP listeners.
//!
//! In the order in which a rule meets them: [`rules`] (from a file to a planned query), [`evaluate`] (when, and over which
//! window), [`template`] (labels and annotations), [`state`] (pending, firing, resolved), [`notify`] (whom to tell).

pub mod evaluate;
pub mod labels;
pub mod memory;
pub mod metrics;
pub mod notify;
pub mod rules;
pub mod spelling;
pub mod state;
pub mod template;
pub mod unit;

pub use evaluate::{AlertConfig, AlertError, Alerting, Around};
