//! What is acknowledged is kept, once: power cuts, full disks, bit flips, copies, two servers on one folder.

#![allow(clippy::unwrap_used)]

mod disk;
mod flips;
mod flips_catalog;
mod harness;
mod keep;
mod power;
mod real;
mod refusals;
mod syncs;
