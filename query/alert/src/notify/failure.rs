//! Why a notification did not arrive, and whether another attempt can help. Its words reach the log and the API, so a
//! failure is never made from text that was not cleaned of secrets.

use std::time::Duration;

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SendError {
    pub message: String,
    pub remedy: Remedy,
}

/// What can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The destination cannot be reached or has too much to do. It may have said how long to wait.
    Wait(Option<Duration>),
    /// It refuses this notification. The same one would be refused again, a later one of the group perhaps not.
    Change,
}

impl SendError {
    pub fn wait(message: impl Into<String>) -> Self {
        Self { message: message.into(), remedy: Remedy::Wait(None) }
    }

    pub fn change(message: impl Into<String>) -> Self {
        Self { message: message.into(), remedy: Remedy::Change }
    }
}
