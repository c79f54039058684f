//! Looks whether clusters are late: that is no event of the workflow, it is that nothing happened.
//!
//! The leader looks; what it finds new is written, with the notices of it, in one transaction, and what
//! was told is not told again until it has been otherwise. So two leaders at a time tell it once.

use ringvault_core::{
    ClusterName,
    api::{ClusterStatus, RpoState},
    notice::Happening,
};
use ringvault_fault::around;
use ringvault_state::{StateError, StateResult, notices, read::status};
use tokio_util::sync::CancellationToken;

use super::{Telling, tell};
use crate::{Context, api::fleet, config::delta};

const LATE: &str = "late";

/// Looks until told to stop; twenty polls, ten seconds unless configured otherwise, lie between two looks.
pub(super) async fn run(ctx: &Context, stop: &CancellationToken) {
    let pause = ctx.config.timing.poll * 20;
    while !stop.is_cancelled() {
        if let Err(error) = look(ctx).await {
            tracing::warn!(%error, "could not look for clusters that are late");
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
}

async fn look(ctx: &Context) -> StateResult<()> {
    let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
    if status::leader(&mut conn).await?.as_deref() != Some(ctx.config.id.as_str()) {
        return Ok(());
    }
    let clusters = fleet(&mut conn, delta(ctx.config.timing.worker_silence)).await?;
    let told = notices::holding(&mut conn, LATE).await?;
    drop(conn);
    for cluster in &clusters {
        let is_told = told.iter().any(|name| name == cluster.cluster.as_str());
        if (cluster.rpo == RpoState::Late) != is_told {
            change(ctx, cluster).await?;
        }
    }
    for gone in told.iter().filter(|told| !clusters.iter().any(|known| known.cluster.as_str() == **told)) {
        if let Ok(cluster) = ClusterName::new(gone.as_str()) {
            let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
            around!("notices.forget-condition").run(notices::ends(&mut conn, &cluster, LATE)).await?;
        }
    }
    Ok(())
}

async fn change(ctx: &Context, status: &ClusterStatus) -> StateResult<()> {
    let cluster = &status.cluster;
    let mut tx = ctx.db.begin().await.map_err(StateError::from)?;
    let now = ringvault_state::now(&mut tx).await?;
    let telling = if status.rpo == RpoState::Late {
        if !notices::begins(&mut tx, cluster, LATE).await? {
            return Ok(());
        }
        late(status)
    } else {
        let Some(since) = notices::ends(&mut tx, cluster, LATE).await? else {
            return Ok(());
        };
        let title = format!("{cluster} is no longer late");
        let text = format!("{title}: it was since {}.", since.format("%Y-%m-%dT%H:%M:%SZ"));
        told(Happening::Recovered, cluster, title, text)
    };
    tell(ctx, &mut tx, now, &telling).await?;
    ringvault_state::commit(tx, around!("notices.condition")).await?;
    ctx.wake.notices.notify_waiters();
    Ok(())
}

fn late(status: &ClusterStatus) -> Telling {
    let cluster = &status.cluster;
    let hours = |seconds: u64| format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60);
    let target = status.rpo_target_seconds.map(hours).unwrap_or_default();
    let have = match &status.last_good {
        Some(good) => format!("the newest good backup, {}, is {} old", good.backup, hours(good.age_seconds)),
        None => "there is no good backup of all that its policies are about".to_owned(),
    };
    let text = format!("{have}; a policy allows {target}.\nNext: ringvault job list -c {cluster}");
    told(Happening::Late, cluster, format!("{cluster} is late: its recovery point is too old"), text)
}

fn told(event: Happening, cluster: &ClusterName, title: String, text: String) -> Telling {
    Telling { event, cluster: Some(cluster.clone()), job: None, title, text, data: None }
}
