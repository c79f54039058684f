//! How fast a job's nodes may go, said while it is under way.

use ringvault_core::{JobId, api::RateLimit};
use ringvault_fault::around;
use ringvault_state::{StateError, registry::topologies};

use super::{ControlError, have_nodes};
use crate::{Context, audit, workflow::Step};

/// Has each node of a job, or each of one data center, keep to this from now on, on behalf of `actor`. What runs is told
/// at once; what begins later begins with it, retries as well.
pub async fn set_limits(
    ctx: &Context,
    job: JobId,
    limit: &RateLimit,
    actor: &str,
) -> Result<(), ControlError> {
    let limits = limit.limits();
    if limits.is_empty() {
        let why = "give bytes_per_second, requests_per_second or both".to_owned();
        return Err(ControlError::InvalidLimit { job, field: "bytes_per_second", why });
    }
    let mut tx = ctx.db.begin().await.map_err(StateError::from)?;
    let step = Step::lock(ctx, &mut tx, job, actor).await.map_err(ControlError::Drive)?;
    let mut step = step.ok_or(ControlError::UnknownJob { job })?;
    let (kind, state) = (step.job.machine.kind, step.job.machine.state);
    if !kind.has_rate_limit() || state.is_final() || state.is_ending() {
        return Err(ControlError::NoRate { job, kind, state });
    }
    let data_center = limit.data_center.as_deref();
    let ring = topologies::present(step.conn, step.job.cluster()).await?;
    have_nodes(&ring, step.job.cluster(), data_center).map_err(|why| ControlError::InvalidLimit {
        job,
        field: "data_center",
        why,
    })?;
    step.set_limits(data_center, limits).await.map_err(ControlError::Drive)?;
    audit::job_limits(step.conn, &step.job, actor, limit).await?;
    ringvault_state::commit(tx, around!("job.rate")).await?;
    tracing::info!(%job, ?limit, actor, "a job's limits were set");
    ctx.wake.all();
    Ok(())
}
