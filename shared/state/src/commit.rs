//! Commits, with a failpoint on both sides.

use ringvault_fault::Around;
use sqlx::{Postgres, Transaction};

use crate::{StateError, StateResult};

/// Commits. After an error the outcome is unknown, as it is when the answer is lost on its way.
pub async fn commit(tx: Transaction<'_, Postgres>, point: Around) -> StateResult<()> {
    point.run(async { tx.commit().await.map_err(StateError::from) }).await
}
