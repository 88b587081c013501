//! Pieces that several pages are made of. A piece knows the context, never a page.

pub mod alert;
pub mod attributes;
pub mod chart;
pub mod clock;
pub mod copy;
pub mod facets;
pub mod filter_bar;
pub mod icon;
pub mod log_row;
pub mod popover;
pub mod receipt;
pub mod service;
pub mod size;
pub mod sort;
pub mod spark;
pub mod state;
