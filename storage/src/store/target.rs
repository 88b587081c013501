//! Where sealed rows go: the lake or, in a test of power cuts, a model of one. Never more than one flush at a time.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::BoxError;
use crate::lake::{Lake, LakeView, SealedBatch};

/// What the store flushes to.
pub trait FlushTarget: Send + Sync + 'static {
    /// The sequence through which all is in files.
    fn flushed_sequence(&self) -> u64;
    /// The sequence through which nothing needs the log any more, not even after damage to what was committed last.
    fn settled_sequence(&self) -> u64 {
        self.flushed_sequence()
    }
    /// The files of the newest snapshot.
    fn view(&self) -> Arc<LakeView>;
    /// The lake behind it; `None` for a model of one.
    fn lake(&self) -> Option<&Lake> {
        None
    }
    /// Puts the rows of `first..=through` and the new watermark into the files at once, or not at all. After an error the
    /// same rows come again.
    fn flush(
        &self,
        first: u64,
        through: u64,
        sealed: Vec<SealedBatch>,
    ) -> BoxFuture<'_, Result<Arc<LakeView>, BoxError>>;
}

impl FlushTarget for Lake {
    fn flushed_sequence(&self) -> u64 {
        Self::flushed_sequence(self)
    }

    fn settled_sequence(&self) -> u64 {
        Self::settled_sequence(self)
    }

    fn view(&self) -> Arc<LakeView> {
        Self::view(self)
    }

    fn lake(&self) -> Option<&Lake> {
        Some(self)
    }

    fn flush(
        &self,
        first: u64,
        through: u64,
        sealed: Vec<SealedBatch>,
    ) -> BoxFuture<'_, Result<Arc<LakeView>, BoxError>> {
        async move { Ok(Self::flush(self, first, through, sealed).await?) }.boxed()
    }
}
