//! How fast a job's nodes may send and fetch, said while it is under way.

use ringvault_core::JobId;
use ringvault_fault::around;
use ringvault_state::StateError;

use super::ControlError;
use crate::{Context, audit, workflow::Step};

/// Has each node of a job keep to so many bytes a second (0: no limit) from now on, on behalf of `actor`. What runs is
/// told at once; what begins later begins with it, retries as well.
pub async fn set_rate(
    ctx: &Context,
    job: JobId,
    bytes_per_second: u64,
    actor: &str,
) -> Result<(), ControlError> {
    let mut tx = ctx.db.begin().await.map_err(StateError::from)?;
    let step = Step::lock(ctx, &mut tx, job, actor).await.map_err(ControlError::Drive)?;
    let mut step = step.ok_or(ControlError::UnknownJob { job })?;
    let (kind, state) = (step.job.machine.kind, step.job.machine.state);
    if !kind.has_rate_limit() || state.is_final() || state.is_ending() {
        return Err(ControlError::NoRate { job, kind, state });
    }
    step.set_rate(bytes_per_second).await.map_err(ControlError::Drive)?;
    audit::job_rate(step.conn, &step.job, actor, bytes_per_second).await?;
    ringvault_state::commit(tx, around!("job.rate")).await?;
    tracing::info!(%job, bytes_per_second, actor, "a job's rate was set");
    ctx.wake.all();
    Ok(())
}
