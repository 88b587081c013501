//! The tests of what the crate promises, in one program: each further one would link DataFusion again. A file or folder is
//! a module, named on the command line: `cargo test --release -p orrery-query --test it engine::golden`. They share a
//! process: none changes its environment.

mod api;
mod engine;
mod fixture;
mod flips;
#[path = "../../../storage/tests/it/support/mod.rs"]
mod support;
#[path = "../../../storage/tests/it/torture/mod.rs"]
mod torture;
