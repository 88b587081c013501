//! The steps of a change to the lake, told to whoever listens: how a test stops the process, or fails, between any two.
//! Never changes what is done.

use std::sync::Arc;

/// Called with the name of each step that a commit, a merge or a deletion has just reached.
type Listener = Arc<dyn Fn(&'static str) + Send + Sync>;

/// Nobody listens by default. The steps in the order of a merge's life: `inputs are open`, `a row group is written`,
/// `the merge is written`, `the merge is durable`, `the merge is verified`; of a replacement: `a replacement begins`,
/// `files are ended`, `files are added`, `the snapshot is made`, `a replacement is committed`; of an expiry: `snapshots are
/// dropped`, `files are scheduled`, `an expiry is committed`, `a file is deleted`, `deleted files are forgotten`.
#[derive(Clone, Default)]
pub struct Steps(Option<Listener>);

impl Steps {
    /// `listener` runs on the thread that does the work, within a catalog transaction too: it must not wait for the lake.
    pub fn told_to(listener: impl Fn(&'static str) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    pub(crate) fn reached(&self, step: &'static str) {
        if let Some(listener) = &self.0 {
            listener(step);
        }
    }
}
