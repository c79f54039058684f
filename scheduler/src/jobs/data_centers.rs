//! Data centers that a job names are there.

use std::collections::BTreeSet;

use ringvault_core::{
    ClusterName,
    cluster::Topology,
    job::{BackupSpec, JobSpec},
};
use ringvault_state::{PgConnection, jobs::JobRow, registry::topologies};

use super::{POLICY_SOURCE, SubmitError};

/// The data center that a backup is asked of has nodes.
pub(super) async fn asked_of(conn: &mut PgConnection, spec: &JobSpec) -> Result<(), SubmitError> {
    let JobSpec::Backup(BackupSpec { cluster, dc: Some(dc), .. }) = spec else { return Ok(()) };
    let ring = topologies::present(conn, cluster).await?;
    have_nodes(&ring, cluster, Some(dc.as_str())).map_err(|why| SubmitError::Invalid { field: "dc", why })
}

/// The data centers that have limits of their own have nodes: of a misspelt one nothing would be limited. What a policy
/// fires is not refused for it, or a data center that is gone would end its backups.
pub(super) async fn limited(conn: &mut PgConnection, job: &JobRow) -> Result<(), SubmitError> {
    let limited = job.spec.limits().data_centers;
    if limited.is_empty() || job.source == POLICY_SOURCE {
        return Ok(());
    }
    let ring = topologies::present(conn, job.cluster()).await?;
    have_nodes(&ring, job.cluster(), limited.keys().map(String::as_str))
        .map_err(|why| SubmitError::Invalid { field: "data_centers", why })
}

/// Whether each of these data centers has nodes in a ring, as far as it is known. Otherwise which has none, and which
/// have.
pub(crate) fn have_nodes<'a>(
    ring: &Topology,
    cluster: &ClusterName,
    data_centers: impl IntoIterator<Item = &'a str>,
) -> Result<(), String> {
    let known: BTreeSet<&str> = ring.nodes.iter().map(|node| node.dc.as_str()).collect();
    match data_centers.into_iter().find(|name| !known.is_empty() && !known.contains(name)) {
        None => Ok(()),
        Some(name) => {
            let known = known.into_iter().collect::<Vec<_>>().join(", ");
            Err(format!("{name:?} has no node; {cluster} has {known}"))
        }
    }
}
