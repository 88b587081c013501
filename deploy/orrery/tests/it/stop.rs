//! How the server stops: a signal lets requests under way finish and leaves every row in files; a kill loses nothing that
//! was acknowledged; the next start has all of it, once.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::server::{Folder, Server, one_span, poll};

/// A request is under way once its bytes count as such.
fn wait_until_under_way(server: &Server) {
    poll("the request to arrive", || {
        let (_, metrics) = server.get("/metrics");
        metrics
            .lines()
            .any(|line| line.starts_with("orrery_receiver_in_flight_bytes") && !line.ends_with(" 0"))
            .then_some(())
    });
}

#[test]
fn what_was_acknowledged_survives_a_stop_and_a_kill() {
    let folder = Folder::new();
    let count = "select count(*) from spans";
    let server = Server::start(&folder, &[]);
    server.export_json("traces", &one_span("cart", "add", &"a".repeat(32), &"1".repeat(16)));
    assert_eq!(server.count(count), 1);
    assert!(server.stop().success());

    let server = Server::start(&folder, &["--set", "storage.flush_age=1h"]);
    assert_eq!(server.get_json("/api/v1/lake/status")["file_rows"], 1, "the stop flushed");
    let second = one_span("cart", "add", &"a".repeat(32), &"2".repeat(16));
    server.export_json("traces", &second);
    server.kill();

    let server = Server::start(&folder, &["--set", "storage.flush_age=1h"]);
    assert_eq!(server.count(count), 2, "the log had the second");
    server.export_json("traces", &second);
    assert_eq!(server.count(count), 2, "a copy of the request is absorbed after the restart, too");
    server.flush();
    assert_eq!(server.count(count), 2);
    assert_eq!(server.get_json("/api/v1/lake/status")["memory_rows"], 0);
    server.kill();
    assert_eq!(Server::start(&folder, &[]).count(count), 2);
}

#[test]
fn a_signal_lets_a_request_under_way_finish() {
    let folder = Folder::new();
    let mut server = Server::start(&folder, &[]);
    let address = server.otlp_http.trim_start_matches("http://").to_owned();
    let body = one_span("cart", "add", &"a".repeat(32), &"1".repeat(16)).to_string();
    let mut connection = TcpStream::connect(&address).expect("connected");
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let (first, rest) = body.split_at(10);
    connection.write_all(head.as_bytes()).expect("sent");
    connection.write_all(first.as_bytes()).expect("sent");
    wait_until_under_way(&server);
    server.signal("TERM");
    poll("the port to close", || TcpStream::connect(&address).err());
    connection.write_all(rest.as_bytes()).expect("the connection is still open");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(server.wait().success(), "{}", folder.log());
    assert_eq!(Server::start(&folder, &[]).count("select count(*) from spans"), 1);
}

#[test]
fn a_client_that_never_finishes_does_not_hold_up_the_stop() {
    let folder = Folder::new();
    let server = Server::start(&folder, &["--set", "drain_timeout=200ms"]);
    let address = server.otlp_http.trim_start_matches("http://").to_owned();
    let mut connection = TcpStream::connect(&address).expect("connected");
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
    );
    connection.write_all(head.as_bytes()).expect("sent");
    wait_until_under_way(&server);
    assert!(server.stop().success(), "{}", folder.log());
    assert!(folder.log().contains("cut short"), "{}", folder.log());
}
