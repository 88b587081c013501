//! Whether the server lives and whether it is ready: `/-/healthy` and `/-/ready`. Asks the lake nothing.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use parking_lot::RwLock;

/// Where the server is in its life; shared by whoever moves it on and the probes.
#[derive(Clone, Default)]
pub struct Health(Arc<RwLock<Phase>>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// The log is being read.
    #[default]
    Starting,
    Ready,
    /// No new work is taken; what is under way is finished.
    Draining,
    /// The lake has failed and only a restart helps.
    Failed(String),
}

impl Health {
    pub fn set(&self, phase: Phase) {
        *self.0.write() = phase;
    }

    pub fn phase(&self) -> Phase {
        self.0.read().clone()
    }
}

pub fn router(health: Health) -> Router {
    Router::new().route("/-/healthy", get(async || "healthy\n")).route("/-/ready", get(ready)).with_state(health)
}

async fn ready(State(health): State<Health>) -> Response {
    let (status, text) = match health.phase() {
        Phase::Ready => (StatusCode::OK, "ready\n".to_owned()),
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting: reading the log\n".to_owned()),
        Phase::Draining => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned()),
        Phase::Failed(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("failed: {reason}\n")),
    };
    (status, text).into_response()
}
