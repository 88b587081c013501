//! The accept loops: TCP, TLS where configured, HTTP/1.1 and HTTP/2 by what the client speaks, and a stop that lets
//! requests under way finish. Knows nothing of what is served.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::door::Door;

/// How long a client may take for its TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an HTTP/1 connection may go without a request. Exporters send every 10, 60 or 300 seconds; closing just then
/// would lose what some of them never send again.
const IDLE_TIMEOUT: Duration = Duration::from_secs(330);
/// How long to wait after the process ran out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// HTTP/2 streams at once on one connection; a client with more waits.
const MAX_STREAMS: u32 = 256;
/// HTTP/2 receive windows, so that a request of some megabytes needs no round trip for each 64 KiB.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// HTTP/2 pings find peers that went away without a word.
const PING_EVERY: Duration = Duration::from_secs(60);

/// A bound address and what is behind it.
pub struct Listener {
    pub socket: TcpListener,
    pub door: Arc<Door>,
    pub tls: Option<TlsAcceptor>,
    pub max_connections: usize,
}

/// Why an address could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(
        "{address} ({what}) is taken by another program; stop that one, or choose another address, for example \
         {flag} {}:{}", address.ip(), address.port().wrapping_add(1)
    )]
    Taken { address: SocketAddr, what: &'static str, flag: &'static str },
    #[error("cannot listen on {address} ({what}, {flag}): {source}")]
    Io { address: SocketAddr, what: &'static str, flag: &'static str, source: io::Error },
}

/// Binds an address; `flag` is what the error suggests.
pub async fn bind(address: SocketAddr, what: &'static str, flag: &'static str) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::Taken { address, what, flag },
        _ => BindError::Io { address, what, flag, source },
    })
}

impl Listener {
    /// Accepts until `stop`, then returns when every connection has finished what it was doing.
    pub async fn run(self, stop: CancellationToken) {
        let graceful = GracefulShutdown::new();
        let places = Arc::new(Semaphore::new(self.max_connections));
        let builder = Arc::new(http_builder());
        loop {
            let next = async {
                let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
                (place, self.socket.accept().await)
            };
            let (place, accepted) = tokio::select! {
                () = stop.cancelled() => break,
                next = next => next,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    pause_after(&error).await;
                    continue;
                }
            };
            let (door, tls, builder) = (Arc::clone(&self.door), self.tls.clone(), Arc::clone(&builder));
            let (watcher, stop) = (graceful.watcher(), stop.clone());
            tokio::spawn(async move {
                let _place = place;
                if let Some(error) = serve(stream, tls, &builder, door, watcher, stop).await {
                    tracing::debug!(error, "connection ended early");
                }
            });
        }
        drop(self.socket);
        graceful.shutdown().await;
    }
}

fn http_builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(PING_EVERY);
    builder
}

/// Serves one connection to its end and returns what cut it short.
async fn serve(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    builder: &Builder<TokioExecutor>,
    door: Arc<Door>,
    watcher: Watcher,
    stop: CancellationToken,
) -> Option<String> {
    // Small answers must not wait for the client's acknowledgement of earlier ones; where it cannot be had, they do.
    let _ = stream.set_nodelay(true);
    let Some(acceptor) = tls else { return speak(stream, builder, door, watcher).await };
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream));
    tokio::select! {
        () = stop.cancelled() => None,
        shaken = handshake => match shaken {
            Ok(Ok(stream)) => speak(stream, builder, door, watcher).await,
            Ok(Err(error)) => Some(format!("TLS handshake: {error}")),
            Err(_) => Some("TLS handshake took too long".to_owned()),
        },
    }
}

async fn speak<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    builder: &Builder<TokioExecutor>,
    door: Arc<Door>,
    watcher: Watcher,
) -> Option<String> {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let door = Arc::clone(&door);
        async move { Ok::<Response<Body>, Infallible>(door.answer(request.map(Body::new)).await) }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    watcher.watch(connection).await.err().map(|error| error.to_string())
}

/// A connection that broke before it was accepted is its own affair; a lack of descriptors needs a pause.
async fn pause_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::warn!(%error, "cannot accept a connection");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}
