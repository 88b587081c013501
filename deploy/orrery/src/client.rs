//! The command line's way to a running server: URLs, the token, TLS, and errors that say what the server said. Never
//! retries by itself.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use orrery_api::ErrorBody;
use orrery_collector::IDEMPOTENCY_KEY;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::{Agent, Body, http::Response};

use crate::cli::Credentials;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// What is read of an answer that should be short.
const MAX_ERROR_BYTES: u64 = 64 << 10;

pub struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
}

impl Client {
    /// `endpoint` is scheme, host and port, as in `http://127.0.0.1:8080`.
    pub fn new(endpoint: &str, credentials: &Credentials) -> Result<Self> {
        ensure!(
            endpoint.starts_with("http://") || endpoint.starts_with("https://"),
            "{endpoint:?} is not a URL such as http://127.0.0.1:8080"
        );
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .max_idle_connections_per_host(256)
            .user_agent(concat!("orrery/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &credentials.ca_file {
            config = config.tls_config(TlsConfig::builder().root_certs(trusted(path)?).build());
        }
        Ok(Self {
            agent: config.build().new_agent(),
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: credentials.token.clone(),
        })
    }

    pub fn get(&self, path: &str) -> Result<ureq::BodyReader<'static>> {
        let mut request = self.agent.get(self.url(path));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.answered(request.call())
    }

    pub fn post(&self, path: &str, body: &str, content_type: &str) -> Result<ureq::BodyReader<'static>> {
        self.answered(self.send(path, body.as_bytes(), content_type, None))
    }

    /// One request and its answer, whatever its status. The idempotency key tells it from another one with the same body.
    pub fn send(
        &self,
        path: &str,
        body: &[u8],
        content_type: &str,
        idempotency_key: Option<&str>,
    ) -> Result<Response<Body>, ureq::Error> {
        let mut request = self.agent.post(self.url(path)).header("content-type", content_type);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(key) = idempotency_key {
            request = request.header(IDEMPOTENCY_KEY, key);
        }
        request.send(body)
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.endpoint)
    }

    fn answered(&self, response: Result<Response<Body>, ureq::Error>) -> Result<ureq::BodyReader<'static>> {
        let response =
            response.with_context(|| format!("no answer from {}; is a server running there?", self.endpoint))?;
        let status = response.status();
        let body = response.into_body();
        if status.is_success() {
            return Ok(body.into_with_config().limit(u64::MAX).reader());
        }
        let mut text = String::new();
        body.into_reader().take(MAX_ERROR_BYTES).read_to_string(&mut text).context("read the server's answer")?;
        match serde_json::from_str::<ErrorBody>(&text) {
            Ok(ErrorBody { error }) => match error.hint {
                Some(hint) => bail!("{} ({})\nhint: {hint}", error.message, error.code),
                None => bail!("{} ({})", error.message, error.code),
            },
            Err(_) => bail!("{} answered {status}: {}", self.endpoint, text.trim()),
        }
    }
}

fn trusted(path: &Path) -> Result<RootCerts> {
    let pem = std::fs::read(path).with_context(|| format!("read certificates from {}", path.display()))?;
    let mut certificates: Vec<Certificate<'static>> = Vec::new();
    for item in ureq::tls::parse_pem(&pem) {
        if let PemItem::Certificate(certificate) =
            item.with_context(|| format!("certificates in {}", path.display()))?
        {
            certificates.push(certificate);
        }
    }
    ensure!(!certificates.is_empty(), "{} holds no PEM certificate", path.display());
    Ok(certificates.into())
}
