//! The receivers on real sockets: one binary, since each test binary links Arrow and the catalog anew.

mod bad_input;
mod common;
mod conformance;
mod http;
mod overload;
