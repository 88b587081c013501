//! What notifiers keep over restarts: text under keys, in the catalog's database. A key is the notifier's name, a slash,
//! and what its queue calls the entry; the worker's own entry has nothing behind the slash.

use std::collections::HashMap;

use async_trait::async_trait;
use orrery_storage::{LakeError, NotifierState};

use super::config::NotifierConfig;
use super::queue::Change;

/// Keeps entries until they are removed.
#[async_trait]
pub trait NotifyState: Send + Sync {
    /// All entries, in any order.
    async fn load(&self) -> Result<Vec<(String, String)>, StateError>;

    /// Writes entries, and removes those without a value, all or none of them, so that a power cut cannot take them back.
    async fn save(&self, changes: Vec<Change>) -> Result<(), StateError>;
}

/// Why it could not be read or kept.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StateError(pub String);

#[async_trait]
impl NotifyState for NotifierState {
    async fn load(&self) -> Result<Vec<(String, String)>, StateError> {
        self.load().await.map_err(StateError::from)
    }

    async fn save(&self, changes: Vec<Change>) -> Result<(), StateError> {
        self.save(&changes).await.map_err(StateError::from)
    }
}

impl From<LakeError> for StateError {
    fn from(error: LakeError) -> Self {
        // The database's own words are the error's source.
        let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        Self(format!("{error}{source}"))
    }
}

pub fn key(notifier: &str, entry: &str) -> String {
    format!("{notifier}/{entry}")
}

/// The entries of each configured notifier, without its name; what belongs to no notifier any more is removed.
pub async fn load(
    state: &dyn NotifyState,
    configs: &[NotifierConfig],
) -> Result<HashMap<String, Vec<(String, String)>>, StateError> {
    let mut rows: HashMap<String, Vec<(String, String)>> = HashMap::new();
    let mut orphans = Vec::new();
    for (key, value) in state.load().await? {
        match key.split_once('/') {
            Some((name, entry)) if configs.iter().any(|config| config.name == name) => {
                rows.entry(name.to_owned()).or_default().push((entry.to_owned(), value));
            }
            _ => orphans.push((key, None)),
        }
    }
    if !orphans.is_empty() {
        state.save(orphans).await?;
    }
    Ok(rows)
}
