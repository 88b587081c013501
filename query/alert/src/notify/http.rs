//! One POST and its answer, over HTTP/1.1 and TLS. Follows no redirect, uses no proxy, reads no more than it shows, and
//! connects to no address that the configuration does not allow.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use url::Url;

use super::address::Reach;
use super::config::{Credentials, HttpConfig};
use super::failure::{Remedy, SendError};
use super::secret::{Cleaner, Secret, SecretError};

const AGENT: &str = concat!("Orrery/", env!("CARGO_PKG_VERSION"));
/// What is read of an answer, and how many characters of it are shown.
const MAX_ANSWER_BYTES: usize = 4096;
const MAX_SHOWN: usize = 200;
/// The largest head of an answer.
const MAX_HEAD_BYTES: usize = 16 << 10;

pub struct Http {
    url: Secret,
    credentials: Credentials,
    tls: TlsConnector,
    reach: Reach,
    timeout: Duration,
}

/// Where one request goes, read anew for each.
struct Target {
    url: Url,
    authorization: Option<HeaderValue>,
    cleaner: Cleaner,
}

impl Http {
    /// Reads certificates and secrets; says what cannot be used. Names are resolved when they are connected to.
    pub fn new(config: &HttpConfig) -> Result<Self, String> {
        let http = Self {
            url: config.url.clone(),
            credentials: config.credentials.clone(),
            tls: TlsConnector::from(Arc::new(tls(config.ca_file.as_deref())?)),
            reach: if config.allow_private { Reach::Private } else { Reach::Public },
            timeout: config.timeout,
        };
        let target = http.target("").map_err(|error| error.message)?;
        let literal = match target.url.host() {
            Some(url::Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
            Some(url::Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
            _ => None,
        };
        match literal.and_then(|ip| http.reach.refuses(ip)) {
            Some(reason) => Err(reason),
            None => Ok(http),
        }
    }

    /// Posts JSON to the URL with a path behind it. An answer of 2xx is a success.
    pub async fn post_json(&self, path: &str, body: Vec<u8>) -> Result<(), SendError> {
        let target = self.target(path)?;
        let cleaner = &target.cleaner;
        match tokio::time::timeout(self.timeout, self.exchange(&target, body)).await {
            Ok(result) => {
                result.map_err(|error| SendError { message: cleaner.clean(&error.message, 2 * MAX_SHOWN), ..error })
            }
            Err(_) => Err(SendError::wait(format!(
                "no answer from {} within {} s",
                authority(&target.url),
                self.timeout.as_secs_f64()
            ))),
        }
    }

    fn target(&self, path: &str) -> Result<Target, SendError> {
        let unread = |error: SecretError| SendError::wait(error.to_string());
        let text = self.url.read().map_err(unread)?;
        let mut url = address(&text).map_err(SendError::change)?;
        if !path.is_empty() {
            let with_path = format!("{}{path}", url.path().trim_end_matches('/'));
            url.set_path(&with_path);
        }
        let (credentials, secrets) = match &self.credentials {
            Credentials::None => (None, Vec::new()),
            Credentials::Bearer(token) => {
                let token = token.read().map_err(unread)?;
                (Some(format!("Bearer {token}")), vec![token])
            }
            Credentials::Basic { username, password } => {
                let password = password.read().map_err(unread)?;
                let both = format!("{username}:{password}");
                (Some(format!("Basic {}", STANDARD.encode(&both))), vec![password, both])
            }
        };
        let authorization = credentials
            .map(|text| {
                let mut value = HeaderValue::from_str(&text)
                    .map_err(|_| SendError::change("the token or password holds characters that no header can"))?;
                value.set_sensitive(true);
                Ok(value)
            })
            .transpose()?;
        let cleaner = Cleaner::new(secrets.iter().map(String::as_str)).and_url(&url);
        Ok(Target { url, authorization, cleaner })
    }

    async fn exchange(&self, target: &Target, body: Vec<u8>) -> Result<(), SendError> {
        let url = &target.url;
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
        let stream = self.reach.connect(host, port).await?;
        if url.scheme() == "http" {
            return request(stream, target, body).await;
        }
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
            .map_err(|_| SendError::change(format!("{host} is no name that a certificate can have")))?;
        let stream = self
            .tls
            .connect(name, stream)
            .await
            .map_err(|error| SendError::wait(format!("TLS with {}: {error}", authority(url))))?;
        request(stream, target, body).await
    }
}

/// Reads a URL that notifications can go to. What is wrong is said without showing it.
pub fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("the url cannot be read: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("the url must begin with http:// or https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the url holds a user or password; use `username` and `password_file`".to_owned());
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("the url names no host".to_owned());
    }
    Ok(url)
}

/// Host and port, which are no secret.
fn authority(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
}

/// Trusts the certificates of a file, or those that browsers trust.
fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let fail = |error: &dyn std::fmt::Display| format!("ca_file {}: {error}", path.display());
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| fail(&error))? {
                roots.add(certificate.map_err(|error| fail(&error))?).map_err(|error| fail(&error))?;
            }
            if roots.is_empty() {
                return Err(fail(&"it holds no PEM certificate"));
            }
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

async fn request<S>(stream: S, target: &Target, body: Vec<u8>) -> Result<(), SendError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let at = authority(&target.url);
    let broken = |error: hyper::Error| SendError::wait(format!("{at}: {error}"));
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let exchange = async {
        let request = target.request(body)?;
        let response = sender.send_request(request).await.map_err(broken)?;
        judge(response, &at).await
    };
    // The connection is driven here rather than by a task, so that both end together.
    tokio::pin!(exchange, connection);
    tokio::select! {
        result = &mut exchange => result,
        // It ends before the answer is read where the server closes it early, and then the exchange knows how it went.
        _ = &mut connection => exchange.await,
    }
}

impl Target {
    fn request(&self, body: Vec<u8>) -> Result<Request<Full<Bytes>>, SendError> {
        let url = &self.url;
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&url[url::Position::BeforePath..url::Position::AfterQuery])
            .header(HOST, &url[url::Position::BeforeHost..url::Position::AfterPort])
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, "application/json")
            .header(CONTENT_LENGTH, body.len());
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.body(Full::new(Bytes::from(body))).map_err(|_| SendError::change("the url cannot be requested"))
    }
}

/// What an answer means, with the beginning of what it says.
async fn judge(response: Response<Incoming>, at: &str) -> Result<(), SendError> {
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let remedy = match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Remedy::Wait(retry_after(&response)),
        _ if status.is_server_error() => Remedy::Wait(retry_after(&response)),
        _ => Remedy::Change,
    };
    if status.is_redirection() {
        return Err(SendError { message: format!("{at} answered {status}; redirects are not followed"), remedy });
    }
    let said = beginning(response.into_body()).await;
    let said = String::from_utf8_lossy(&said);
    let separator = if said.trim().is_empty() { "" } else { ": " };
    Err(SendError { message: format!("{at} answered {status}{separator}{}", said.trim()), remedy })
}

/// The header's seconds; a date is as good as none.
fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

async fn beginning(mut body: Incoming) -> Vec<u8> {
    let mut read = Vec::new();
    while read.len() < MAX_ANSWER_BYTES
        && let Some(Ok(frame)) = body.frame().await
    {
        if let Ok(data) = frame.into_data() {
            let room = MAX_ANSWER_BYTES - read.len();
            read.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_cannot_be_used_are_refused_without_being_shown() {
        for (text, part) in [
            ("secret-token", "cannot be read"),
            ("ftp://example.com/secret-token", "http://"),
            ("https://user:secret-token@example.com/", "password_file"),
            ("https://secret-token@example.com/", "password_file"),
            ("https://", "cannot be read"),
        ] {
            let error = address(text).expect_err(text);
            assert!(error.contains(part) && !error.contains("secret"), "{error}");
        }
        assert!(address("https://example.com/hook?x=1").is_ok());
    }
}
