//! What workers of an older release cannot do.
//!
//! One that does not announce an ability would not understand its tasks, and nobody would know why they do not
//! begin: so the job is refused, with the names of those nodes.

use std::fmt;

use ringvault_core::{
    HostId,
    job::{JobSpec, RestoreMethod},
    restore::STREAM_CAPABILITY,
    rows::ROWS_CAPABILITY,
};
use ringvault_state::{
    PgConnection,
    registry::{
        topologies,
        workers::{self, LiveWorker},
    },
};

use super::SubmitError;
use crate::{Context, config::delta};

/// What came with a later release than the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ability {
    /// Restoring by streams.
    Stream,
    /// Reading rows for their digest.
    Rows,
}

impl Ability {
    /// What a job asks for.
    const fn needed(spec: &JobSpec) -> Option<Self> {
        let method = match spec {
            JobSpec::Restore(spec) => spec.method,
            JobSpec::Drill(spec) => spec.method,
            JobSpec::Digest(_) => return Some(Self::Rows),
            JobSpec::Backup(_) | JobSpec::Verify(_) | JobSpec::Purge(_) => return None,
        };
        match method {
            RestoreMethod::Stream => Some(Self::Stream),
            RestoreMethod::Auto | RestoreMethod::Copy | RestoreMethod::Slice | RestoreMethod::Import => None,
        }
    }

    /// As workers announce it.
    const fn capability(self) -> &'static str {
        match self {
            Self::Stream => STREAM_CAPABILITY,
            Self::Rows => ROWS_CAPABILITY,
        }
    }

    /// What to do where it is missing.
    pub(super) const fn way_out(self) -> &'static str {
        match self {
            Self::Stream => "update these workers, or choose another --method",
            Self::Rows => "update these workers",
        }
    }
}

impl fmt::Display for Ability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stream => "be restored by streams",
            Self::Rows => "be read row by row",
        })
    }
}

/// Every live worker of the cluster that does the work can do what is asked of it.
pub(super) async fn check(ctx: &Context, conn: &mut PgConnection, spec: &JobSpec) -> Result<(), SubmitError> {
    let Some(ability) = Ability::needed(spec) else { return Ok(()) };
    let cluster = spec.cluster();
    let silence = delta(ctx.config.timing.worker_silence);
    let attempts = ctx.config.retry.max_attempts;
    let live = workers::live(conn, std::slice::from_ref(cluster), silence, attempts).await?;
    let cannot = |worker: &&LiveWorker| !worker.capabilities.iter().any(|can| can == ability.capability());
    let hosts: Vec<HostId> = live.iter().filter(cannot).filter_map(|worker| worker.host_id).collect();
    if hosts.is_empty() {
        return Ok(());
    }
    let ring = topologies::present(conn, cluster).await?;
    let name = |host: &HostId| ring.node(*host).map_or_else(|| host.to_string(), |node| node.address.clone());
    Err(SubmitError::TooOld { cluster: cluster.clone(), nodes: hosts.iter().map(name).collect(), ability })
}
