//! Holds by hand, told to the vault, so that they outlive the database.

use ringvault_core::api::{HoldKind, HoldView};
use ringvault_fault::around;
use ringvault_state::{PgConnection, StateError, backups, holds as repository, read::holds};
use ringvault_vault::{HoldRecord, HoldReleased};

use super::CatalogError;
use crate::Context;

fn record_of(hold: &HoldView) -> HoldRecord {
    HoldRecord::new(
        (&hold.cluster, &hold.backup),
        &hold.name,
        hold.reason.as_deref(),
        (&hold.set_by, hold.set_at),
    )
}

/// Writes a hold into the vault, in the transaction that sets it and before its commit. The caller has
/// the lock of the backup's row.
pub async fn record_hold(
    ctx: &Context,
    conn: &mut PgConnection,
    hold: &HoldView,
) -> Result<(), CatalogError> {
    ctx.vault.put_hold(&record_of(hold)).await?;
    repository::recorded(conn, (&hold.cluster, &hold.backup), &hold.name).await?;
    Ok(())
}

/// Writes into the vault that a hold is let go, before the commit of it.
pub async fn record_release(
    ctx: &Context,
    hold: &HoldView,
    released: HoldReleased,
) -> Result<(), CatalogError> {
    let record = HoldRecord { released: Some(released), ..record_of(hold) };
    Ok(ctx.vault.put_hold(&record).await?)
}

/// Tells the vault of holds that it does not know: those of the first releases. At most `limit`; how
/// many it was told of.
pub async fn record_missing_holds(ctx: &Context, limit: i64) -> Result<usize, CatalogError> {
    let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
    let missing = repository::not_recorded(&mut conn, limit).await?;
    drop(conn);
    for (cluster, backup, name) in &missing {
        let mut tx = ctx.db.begin().await.map_err(StateError::from)?;
        backups::lock(&mut tx, cluster, backup).await?;
        let held = holds::of_backup(&mut tx, cluster, backup).await?;
        if let Some(hold) = held.iter().find(|hold| hold.name == *name && hold.kind == HoldKind::Legal) {
            record_hold(ctx, &mut tx, hold).await?;
            ringvault_state::commit(tx, around!("hold.record")).await?;
            tracing::info!(%cluster, %backup, hold = name, "the vault knows of the hold now");
        }
    }
    Ok(missing.len())
}
