//! The tests of what the crate promises, in one program: each further one would link Arrow, Parquet and SQLite again. A
//! file or folder is a module, named on the command line: `cargo test --release -p orrery-storage --test it compact::`.
//! They share a process: none changes its environment, and what must die or mount something runs in a child.

mod alert_state;
mod compact;
mod duckdb;
mod duckdb_merged;
mod duckdb_shell;
mod durability;
mod lake;
mod layouts;
mod learned;
mod notifier_state;
mod rollups;
mod support;
mod tokens;
mod torture;
mod trace_filters;
mod values;
mod verify;
