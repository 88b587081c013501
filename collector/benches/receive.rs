//! What the receivers cost: requests of 512 spans, and of one, over eight connections into a sink that drops the rows, by door and
//! compression. Spans per CPU-second count the user and system time of the server's threads alone, the sockets included;
//! what decoding alone takes stands beside it, the rest is the receivers' and the network's. Run with
//! `cargo bench -p orrery-collector --bench receive`.

#[path = "load.rs"]
mod load;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{BufMut, Bytes, BytesMut};
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use orrery_collector::decode::{DecodeLimits, decode};
use orrery_collector::{Collector, CollectorConfig, Sink, both_router};
use orrery_model::{Signal, SystemClock};
use orrery_storage::{Append, AppendError, Appended};
use tokio::net::{TcpListener, TcpStream};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Spans in all and per request: batches as a Collector sends them, and what a request costs by itself.
const SIZES: [(usize, usize); 2] = [(200_000, 512), (10_000, 1)];
const CONNECTIONS: usize = 8;
const SERVER_THREADS: &str = "receive-server";

struct Nowhere;

impl Sink for Nowhere {
    async fn append(&self, _: Append) -> Result<Appended, AppendError> {
        Ok(Appended::Stored)
    }
}

fn main() {
    let (address, _server) = serve();
    let titles = ["load", "spans", "door", "spans/CPU-s", "us per request", "MB on the wire"];
    println!(
        "{:<5} {:>5}  {:<20} {:>12} {:>15} {:>15}",
        titles[0], titles[1], titles[2], titles[3], titles[4], titles[5]
    );
    for ((name, shape), (spans, per_request)) in
        [("A", load::Shape::A), ("B", load::Shape::B)].into_iter().flat_map(|load| SIZES.map(|size| (load, size)))
    {
        let start = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
        let bodies: Vec<Bytes> =
            load::requests(shape, spans, per_request, start).into_iter().map(Bytes::from).collect();
        row(name, (spans, per_request), "decoding alone", decoding(&bodies), &bodies);
        for encoding in ["identity", "gzip", "zstd"] {
            let packed: Vec<Bytes> = bodies.iter().map(|body| compress(encoding, body)).collect();
            for grpc in [false, true] {
                let before = server_cpu();
                send_all(address, &packed, encoding, grpc);
                let door = if grpc { "gRPC" } else { "HTTP" };
                row(name, (spans, per_request), &format!("{door} {encoding}"), server_cpu() - before, &packed);
            }
        }
    }
}

/// The CPU time of decoding, on a thread that does nothing else.
fn decoding(bodies: &[Bytes]) -> Duration {
    let work = || {
        for body in bodies {
            std::hint::black_box(decode(Signal::Spans, body, 1, &DecodeLimits::default()).expect("good requests"));
        }
        server_cpu()
    };
    let before = server_cpu();
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(SERVER_THREADS.to_owned()).spawn_scoped(scope, work);
        thread.expect("a thread").join().expect("no panic") - before
    })
}

fn row(load: &str, (spans, per_request): (usize, usize), what: &str, cpu: Duration, bodies: &[Bytes]) {
    let rate = spans as f64 / cpu.as_secs_f64();
    let each = cpu.as_secs_f64() * 1e6 / bodies.len() as f64;
    let megabytes = bodies.iter().map(Bytes::len).sum::<usize>() as f64 / 1e6;
    println!("{load:<5} {per_request:>5}  {what:<20} {rate:>12.0} {each:>15.0} {megabytes:>15.1}");
}

fn serve() -> (SocketAddr, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name(SERVER_THREADS)
        .enable_all()
        .build()
        .expect("threads");
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let collector = Collector::new(Arc::new(Nowhere), CollectorConfig::default(), Arc::new(SystemClock));
    runtime.spawn(async move { axum::serve(listener, both_router(collector)).await });
    (address, runtime)
}

/// The CPU time of the server's threads so far, the kernel's part included.
fn server_cpu() -> Duration {
    let mut nanoseconds = 0;
    for task in std::fs::read_dir("/proc/self/task").expect("Linux").flatten() {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if name.trim() == SERVER_THREADS {
            let stat = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            nanoseconds += stat.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Duration::from_nanos(nanoseconds)
}

fn send_all(address: SocketAddr, bodies: &[Bytes], encoding: &'static str, grpc: bool) {
    let client = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a thread");
    client.block_on(async {
        let mut connections = tokio::task::JoinSet::new();
        for n in 0..CONNECTIONS {
            let bodies: Vec<Bytes> = bodies.iter().skip(n).step_by(CONNECTIONS).cloned().collect();
            connections.spawn(send(address, bodies, encoding, grpc));
        }
        while let Some(done) = connections.join_next().await {
            done.expect("every request is answered with success");
        }
    });
}

async fn send(address: SocketAddr, bodies: Vec<Bytes>, encoding: &'static str, grpc: bool) {
    let stream = TcpStream::connect(address).await.expect("connects");
    stream.set_nodelay(true).expect("an option");
    let io = TokioIo::new(stream);
    if grpc {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.expect("HTTP/2");
        tokio::spawn(connection);
        for body in bodies {
            let mut framed = BytesMut::with_capacity(5 + body.len());
            framed.put_u8(u8::from(encoding != "identity"));
            framed.put_u32(body.len() as u32);
            framed.put_slice(&body);
            let request = Request::post(format!("http://localhost{}", orrery_collector::grpc::PATHS[0].1))
                .header(header::CONTENT_TYPE, "application/grpc")
                .header("grpc-encoding", encoding);
            let request = request.body(Full::new(framed.freeze())).expect("a request");
            let answer = sender.send_request(request).await.expect("an answer");
            let body = answer.into_body().collect().await.expect("a whole answer");
            assert_eq!(body.trailers().and_then(|t| t.get("grpc-status")).map(|s| s.as_bytes()), Some(&b"0"[..]));
        }
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.expect("HTTP/1");
        tokio::spawn(connection);
        for body in bodies {
            let request = Request::post("/v1/traces")
                .header(header::HOST, "localhost")
                .header(header::CONTENT_TYPE, "application/x-protobuf")
                .header(header::CONTENT_ENCODING, encoding);
            let answer =
                sender.send_request(request.body(Full::new(body)).expect("a request")).await.expect("an answer");
            assert_eq!(answer.status(), 200);
            answer.into_body().collect().await.expect("a whole answer");
        }
    }
}

fn compress(encoding: &str, body: &Bytes) -> Bytes {
    match encoding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(body).expect("in memory");
            Bytes::from(encoder.finish().expect("in memory"))
        }
        "zstd" => Bytes::from(zstd::encode_all(&body[..], 3).expect("in memory")),
        _ => body.clone(),
    }
}
