//! A door: one address, who may come in, and the router behind it once the lake is open. Refuses in the words of the
//! protocol that is spoken; never answers a request itself.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use http::{Method, Request, Response};
use tower::ServiceExt;

use super::host::HostCheck;
use super::refuse::{Refusal, refuse};
use super::{dashboard, metrics};
use crate::auth::{Need, Tokens};

/// Which protocol a door speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Dashboard, API, and what operators ask.
    Dashboard,
    /// OTLP over gRPC and over HTTP: which, each request says by its content type.
    Otlp,
}

pub struct Door {
    kind: Kind,
    tokens: Arc<Tokens>,
    /// Only the dashboard's door has one.
    hosts: Option<HostCheck>,
    /// Empty until the lake is open.
    router: OnceLock<Router>,
    /// What needs no lake: `/-/healthy` and `/-/ready`.
    early: Router,
}

impl Door {
    pub fn dashboard(tokens: Arc<Tokens>, hosts: HostCheck, early: Router) -> Self {
        Self { kind: Kind::Dashboard, tokens, hosts: Some(hosts), router: OnceLock::new(), early }
    }

    pub fn otlp(tokens: Arc<Tokens>) -> Self {
        Self { kind: Kind::Otlp, tokens, hosts: None, router: OnceLock::new(), early: Router::new() }
    }

    /// Opens the door. A second call changes nothing.
    pub fn open(&self, router: Router) {
        let _ = self.router.set(router);
    }

    pub async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let mut response = self.admit(request).await;
        if self.kind == Kind::Dashboard {
            dashboard::secure(response.headers_mut());
        }
        response
    }

    async fn admit(&self, mut request: Request<Body>) -> Response<Body> {
        if let Some(hosts) = &self.hosts
            && let Err(reason) = hosts.check(&request)
        {
            return refuse(self.kind, &request, &Refusal::WrongHost(reason));
        }
        if let Some(need) = self.need(&request) {
            match self.tokens.allow(request.headers(), need) {
                Ok(identity) => {
                    request.extensions_mut().insert(identity);
                }
                Err(denied) => return refuse(self.kind, &request, &Refusal::Denied(denied)),
            }
        }
        if self.kind == Kind::Dashboard && request.uri().path().starts_with("/-/") {
            return send(self.early.clone(), request).await;
        }
        match self.router.get() {
            Some(router) => send(router.clone(), request).await,
            None => refuse(self.kind, &request, &Refusal::Starting),
        }
    }

    /// What a request asks of its credential; `None` where anyone may.
    fn need(&self, request: &Request<Body>) -> Option<Need> {
        let path = request.uri().path();
        match self.kind {
            // A browser sends no credential when it asks whether it may send.
            Kind::Otlp if request.method() == Method::OPTIONS => None,
            Kind::Otlp => Some(Need::Ingest),
            Kind::Dashboard if path.starts_with("/api/v1/lake/") && request.method() != Method::GET => {
                Some(Need::Admin)
            }
            Kind::Dashboard if path.starts_with("/api/") => Some(Need::Read),
            Kind::Dashboard if path == "/metrics" && !metrics::wants_page(request.headers()) => Some(Need::Read),
            // The dashboard's own files hold no data, and a probe has no token.
            Kind::Dashboard => None,
        }
    }
}

async fn send(router: Router, request: Request<Body>) -> Response<Body> {
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
