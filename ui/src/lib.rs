//! The dashboard: a client-rendered Leptos application over the public HTTP API. It imports only the API's types; no
//! request leaves the origin, and nothing is put into the document but text nodes.
//!
//! What is pure (windows, figures, the address, layout) builds and is tested natively; the pages exist in the browser
//! only.

pub mod address;
pub mod alerting;
pub mod colour;
pub mod facets;
pub mod filter;
pub mod flame;
pub mod format;
pub mod instant;
pub mod map_compare;
pub mod map_labels;
pub mod map_view;
pub mod partial;
pub mod range;
pub mod scale;
pub mod setup;
pub mod unit;
pub mod waterfall;

#[cfg(target_arch = "wasm32")]
mod alerts;
#[cfg(target_arch = "wasm32")]
mod app;
#[cfg(target_arch = "wasm32")]
mod context;
#[cfg(target_arch = "wasm32")]
mod fetch;
#[cfg(target_arch = "wasm32")]
mod pages;
#[cfg(target_arch = "wasm32")]
mod parts;
#[cfg(target_arch = "wasm32")]
mod shell;
