//! The server and its command line from outside: the binary as a child process, in one program for all tests, so that it
//! is compiled and linked once. A file or folder is a module, named on the command line:
//! `cargo test --release -p orrery --test it kill::`. They share a process: none changes its environment.

mod alert_delivery;
mod backlog;
mod columns;
mod demo;
mod exporters;
mod full_disk;
mod import;
mod kill;
mod lake;
mod ledger;
mod limits;
mod notifiers;
mod rules;
mod security;
mod server;
mod start;
mod stop;
#[path = "../../../../storage/tests/it/torture/mod.rs"]
mod torture;
mod trainticket_graph;
mod upgrade;
