//! What an upload and a download are given alike.

use std::future::Future;

use tokio_util::sync::CancellationToken;

use crate::{progress::TransferProgress, store::Store, throttle::Throttle};

/// The store, and the strings a transfer is held by. Clones share all of them.
#[derive(Debug, Clone)]
pub struct TransferContext {
    /// The vault's store.
    pub store: Store,
    /// How fast bytes may go.
    pub throttle: Throttle,
    /// How far it is.
    pub progress: TransferProgress,
    /// Ends the transfer: what is open is dropped, what is finished stays.
    pub stop: CancellationToken,
}

/// The transfer was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped on request")]
pub struct Stopped;

impl TransferContext {
    /// A transfer without limit that nobody stops or watches.
    pub fn new(store: Store) -> Self {
        Self {
            store,
            throttle: Throttle::unlimited(),
            progress: TransferProgress::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Runs `work` to its end, or drops it when told to stop.
    pub(crate) async fn unless_stopped<T, E: From<Stopped>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        match self.stop.run_until_cancelled(work).await {
            Some(result) => result,
            None => Err(Stopped.into()),
        }
    }
}
