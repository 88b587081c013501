//! The rule files as they are at this moment: those that were read, checked and found good, and what is wrong with the
//! others. A file that turns bad keeps its rules of before. Evaluates nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use orrery_model::Identity;
use orrery_query::{Engine, Lane};
use xxhash_rust::xxh3::xxh3_64;

use crate::rules::{self, Checked, Fault, Group, Patterns, Position};

/// A good file.
#[derive(Debug)]
pub struct Loaded {
    pub path: String,
    /// Each group with its rules' queries.
    pub groups: Vec<(Group, Vec<Checked>)>,
}

/// A file as it was last looked at.
#[derive(Debug)]
pub struct Looked {
    /// Of the text, or of why there is none; `None` where it is to be looked at again, whatever it says.
    hash: Option<u64>,
    /// The last good version.
    pub good: Option<Arc<Loaded>>,
    /// What is wrong with this version, the first thing first.
    pub faults: Vec<Fault>,
}

/// By path.
#[derive(Debug, Default)]
pub struct Files(pub BTreeMap<String, Looked>);

impl Files {
    /// Looks at all files that the patterns name. Says whether anything is other than before.
    pub async fn look(&mut self, patterns: &Patterns, engine: &Arc<Engine>, lane: &Lane) -> bool {
        let patterns = patterns.clone();
        let texts = tokio::task::spawn_blocking(move || patterns.read()).await;
        let Ok(texts) = texts else { return false };
        let mut changed = false;
        let mut looked = BTreeMap::new();
        for (path, text) in texts {
            let before = self.0.remove(&path);
            let hash = xxh3_64(match &text {
                Ok(text) => text.as_bytes(),
                Err(fault) => fault.message.as_bytes(),
            });
            let looked_at = match before {
                Some(before) if before.hash == Some(hash) => before,
                before => {
                    changed = true;
                    let good = before.and_then(|before| before.good);
                    load(&path, text, hash, good, engine, lane).await
                }
            };
            looked.insert(path, looked_at);
        }
        for path in self.0.keys() {
            changed = true;
            tracing::info!(file = path, "a rule file is gone");
        }
        self.0 = looked;
        changed
    }
}

async fn load(
    path: &str,
    text: rules::find::Text,
    hash: u64,
    before: Option<Arc<Loaded>>,
    engine: &Arc<Engine>,
    lane: &Lane,
) -> Looked {
    let parsed = match text {
        Ok(text) => rules::file::parse(&text),
        Err(fault) => Err(vec![fault]),
    };
    let checked = match parsed {
        Ok(file) => match engine.session_in(lane, &Identity::default()).await {
            Ok(session) => rules::check::check_file(&session, &file).await.map(|queries| (file, queries)),
            Err(error) => Err(Err(error)),
        },
        Err(faults) => Err(Ok(faults)),
    };
    match checked {
        Ok((file, queries)) => {
            let rules: usize = queries.iter().map(Vec::len).sum();
            tracing::info!(file = path, groups = file.groups.len(), rules, "rules loaded");
            let groups = file.groups.into_iter().zip(queries).collect();
            Looked { hash: Some(hash), good: Some(Arc::new(Loaded { path: path.to_owned(), groups })), faults: vec![] }
        }
        Err(Ok(faults)) => {
            for fault in &faults {
                let (line, column) = (fault.at.line, fault.at.column);
                tracing::error!(file = path, line, column, fault = fault.message, "a rule file is refused");
            }
            Looked { hash: Some(hash), good: before, faults }
        }
        // Not the file's fault: another look may find it good.
        Err(Err(error)) => {
            tracing::error!(file = path, %error, "a rule file cannot be checked and will be looked at again");
            let fault = Fault::new(Position::default(), format!("it cannot be checked: {error}"));
            Looked { hash: None, good: before, faults: vec![fault] }
        }
    }
}
