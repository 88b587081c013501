//! Connections that send requests made beforehand and time each acknowledgement. They never build a request themselves.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    Http,
    Grpc,
}

/// One signal's requests and how to send them.
pub struct Batch<'a> {
    /// `traces`, `logs` or `metrics`.
    pub signal: &'a str,
    pub requests: &'a [Bytes],
    /// Requests a second in all, `None` for as fast as they are acknowledged.
    pub rate: Option<f64>,
}

/// Sends all requests over `connections` connections; the time each took, in no order.
pub fn send(protocol: Protocol, port: u16, connections: usize, batch: &Batch<'_>) -> Vec<Duration> {
    let next = AtomicUsize::new(0);
    let started = Instant::now();
    let take = || {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if let Some(rate) = batch.rate {
            let due = started + Duration::from_secs_f64(index as f64 / rate);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        batch.requests.get(index)
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..connections)
            .map(|_| {
                scope.spawn(|| match protocol {
                    Protocol::Http => http_worker(port, batch.signal, &take),
                    Protocol::Grpc => grpc_worker(port, batch.signal, &take),
                })
            })
            .collect();
        workers.into_iter().flat_map(|w| w.join().expect("a connection failed")).collect()
    })
}

fn http_worker<'a>(port: u16, signal: &str, take: &dyn Fn() -> Option<&'a Bytes>) -> Vec<Duration> {
    let mut connection = HttpConnection::open(port);
    let mut latencies = Vec::new();
    while let Some(body) = take() {
        let started = Instant::now();
        connection.post(&format!("/v1/{signal}"), body);
        latencies.push(started.elapsed());
    }
    latencies
}

/// A keep-alive HTTP/1.1 connection that knows just what the benchmark needs.
pub struct HttpConnection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl HttpConnection {
    pub fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the receiver listens");
        stream.set_nodelay(true).expect("nodelay");
        Self { stream, buffer: vec![0; 4096] }
    }

    /// Posts OTLP protobuf; panics on any answer but a full success.
    pub fn post(&mut self, path: &str, body: &[u8]) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.stream.write_all(head.as_bytes()).expect("the request is written");
        self.stream.write_all(body).expect("the request is written");
        let mut filled = 0;
        let (head_end, length) = loop {
            let n = self.stream.read(&mut self.buffer[filled..]).expect("an answer");
            assert!(n > 0, "the server closed the connection");
            filled += n;
            if let Some(end) = self.buffer[..filled].windows(4).position(|w| w == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase();
                assert!(head.starts_with("http/1.1 200"), "{head}");
                let length = head.lines().find_map(|l| l.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
                break (end + 4, length.unwrap_or(0));
            }
        };
        while filled < head_end + length {
            filled += self.stream.read(&mut self.buffer[filled..]).expect("the answer's body");
        }
        assert_eq!(length, 0, "a partial success: {:?}", String::from_utf8_lossy(&self.buffer[head_end..filled]));
    }
}

fn grpc_worker<'a>(port: u16, signal: &str, take: &dyn Fn() -> Option<&'a Bytes>) -> Vec<Duration> {
    let service = match signal {
        "traces" => "trace.v1.TraceService",
        "logs" => "logs.v1.LogsService",
        _ => "metrics.v1.MetricsService",
    };
    let path =
        http::uri::PathAndQuery::try_from(format!("/opentelemetry.proto.collector.{service}/Export")).expect("a path");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://127.0.0.1:{port}")).expect("a URI");
        let mut client = tonic::client::Grpc::new(endpoint.connect().await.expect("the receiver listens"));
        let mut latencies = Vec::new();
        while let Some(body) = take() {
            let started = Instant::now();
            client.ready().await.expect("the connection is open");
            let answer = client.unary(tonic::Request::new(body.clone()), path.clone(), RawCodec).await;
            let answer = answer.expect("the request is accepted").into_inner();
            assert!(answer.is_empty(), "a partial success: {:?}", String::from_utf8_lossy(&answer));
            latencies.push(started.elapsed());
        }
        latencies
    })
}

/// Passes encoded messages through as they are.
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = tonic::Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), tonic::Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = tonic::Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, tonic::Status> {
        let length = buffer.remaining();
        Ok(Some(buffer.copy_to_bytes(length)))
    }
}
