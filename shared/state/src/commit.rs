//! Commits, with a failpoint on both sides.

use ringvault_fault::Around;
use sqlx::{Postgres, Transaction};

use crate::{StateError, StateResult};

/// A transaction. Without a commit it comes to nothing.
pub type Tx<'a> = Transaction<'a, Postgres>;

/// Commits. After an error the outcome is unknown, as it is when the answer is lost on its way.
pub async fn commit(tx: Tx<'_>, point: Around) -> StateResult<()> {
    point.run(async { tx.commit().await.map_err(StateError::from) }).await
}
