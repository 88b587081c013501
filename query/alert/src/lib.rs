//! Alerting: rules in files, their evaluation over the lake, and what leaves when something is wrong. Reads telemetry
//! through query sessions only; never imports the collector, knows nothing of HTTP listeners.

pub mod notify;
