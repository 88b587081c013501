//! A real HTTP server that writes down what it is asked and answers as it is told, in plain or over TLS.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;

const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
    pub after: Duration,
}

impl Answer {
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: String::new(), after: Duration::ZERO }
    }

    pub fn with(mut self, header: &'static str, value: &str) -> Self {
        self.headers.push((header, value.to_owned()));
        self
    }

    pub fn saying(mut self, body: &str) -> Self {
        self.body = body.to_owned();
        self
    }

    pub fn after(mut self, time: Duration) -> Self {
        self.after = time;
        self
    }
}

pub struct Sink {
    pub address: SocketAddr,
    tls: bool,
    seen: Arc<Seen>,
    task: tokio::task::JoinHandle<()>,
}

struct Seen {
    asked: Mutex<Vec<Asked>>,
    /// The answers to come; the last one is given again and again.
    answers: Mutex<VecDeque<Answer>>,
    connections: std::sync::atomic::AtomicUsize,
}

impl Sink {
    pub async fn start() -> Self {
        Self::serve(None).await
    }

    /// With a certificate for `localhost` that its own key has signed, which is returned as PEM.
    pub async fn start_tls() -> (Self, String) {
        let (acceptor, pem) = acceptor();
        (Self::serve(Some(acceptor)).await, pem)
    }

    async fn serve(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Seen {
            asked: Mutex::default(),
            answers: Mutex::new(VecDeque::from([Answer::status(200)])),
            connections: Default::default(),
        });
        let is_tls = tls.is_some();
        let task = tokio::spawn(accept(listener, tls, Arc::clone(&seen)));
        Self { address, tls: is_tls, seen, task }
    }

    pub fn url(&self, path: &str) -> String {
        match self.tls {
            true => format!("https://localhost:{}{path}", self.address.port()),
            false => format!("http://{}{path}", self.address),
        }
    }

    pub fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        *self.seen.answers.lock() = answers.into_iter().collect();
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.seen.asked.lock().clone()
    }

    pub fn connections(&self) -> usize {
        self.seen.connections.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Waits until it was asked so often.
    pub async fn wait_for(&self, requests: usize) -> Vec<Asked> {
        poll(&format!("{requests} requests"), || Some(self.asked()).filter(|asked| asked.len() >= requests)).await
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, seen: Arc<Seen>) {
    while let Ok((stream, _)) = listener.accept().await {
        seen.connections.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let (seen, tls) = (Arc::clone(&seen), tls.clone());
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| answer(Arc::clone(&seen), request));
            let server = hyper::server::conn::http1::Builder::new();
            // A client that hangs up is none of the sink's business.
            let _ = match tls {
                None => server.serve_connection(TokioIo::new(stream), service).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => server.serve_connection(TokioIo::new(stream), service).await,
                    Err(_) => Ok(()),
                },
            };
        });
    }
}

async fn answer(seen: Arc<Seen>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default();
    let path = head.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    seen.asked.lock().push(Asked { method: head.method.to_string(), path, headers: head.headers, body });
    let answer = {
        let mut answers = seen.answers.lock();
        if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() }.expect("there is an answer")
    };
    tokio::time::sleep(answer.after).await;
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    Ok(response.body(Full::new(Bytes::from(answer.body))).expect("a response"))
}

/// TLS with a certificate for `localhost`, and the certificate as PEM.
pub fn acceptor() -> (TlsAcceptor, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("they fit");
    (TlsAcceptor::from(Arc::new(config)), made.cert.pem())
}

/// Asks again and again until there is an answer.
pub async fn poll<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
