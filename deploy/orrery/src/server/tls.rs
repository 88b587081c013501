//! TLS from a certificate file and a key file, for all addresses alike. Reads the files once; never generates a
//! certificate.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;

use crate::config::Tls;

/// `h2` first: gRPC needs it, browsers and exporters take what they can.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

pub fn acceptor(tls: &Tls) -> Result<TlsAcceptor> {
    let path = tls.cert.display();
    let chain = CertificateDer::pem_file_iter(&tls.cert)
        .and_then(|certificates| certificates.collect::<Result<Vec<CertificateDer<'static>>, _>>())
        .with_context(|| format!("read the TLS certificates (tls.cert) from {path}"))?;
    ensure!(!chain.is_empty(), "{path} (tls.cert) holds no PEM certificate");
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .with_context(|| format!("read the TLS private key (tls.key) from {}", tls.key.display()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("TLS versions")?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .with_context(|| format!("the TLS certificate {path} and key {} do not fit", tls.key.display()))?;
    config.alpn_protocols = PROTOCOLS.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(TlsAcceptor::from(Arc::new(config)))
}
