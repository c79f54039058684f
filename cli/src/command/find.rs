//! Finding what a person means by a name that may be less than whole.

use ringvault_core::{
    BackupName, ClusterName,
    api::{BackupSummary, JobSummary},
};

use crate::{
    client::{BackupFilter, Client},
    exit::Exit,
    failure::{Failure, Outcome},
};

/// The shortest id that is shown: a time-ordered id's milliseconds, which tell apart all but jobs
/// of the same instant.
const SHORT_ID: usize = 13;

/// The backup of this exact name; without a cluster, the only one of this name over all clusters.
pub(super) async fn backup(
    client: &Client,
    cluster: Option<&ClusterName>,
    name: &BackupName,
) -> Outcome<BackupSummary> {
    let filter =
        BackupFilter { cluster: cluster.cloned(), name: Some(name.clone()), ..BackupFilter::default() };
    let mut found = client.backups(&filter).await?.items;
    // Exact, whatever a server makes of the filter: a name is never a prefix of meaning.
    found.retain(|backup| backup.name == *name);
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(no_backup(cluster, name)),
        _ => Err(many_backups(name, &found)),
    }
}

fn no_backup(cluster: Option<&ClusterName>, name: &BackupName) -> Failure {
    let (place, list) = match cluster {
        Some(cluster) => (format!(" of {cluster}"), format!(" -c {cluster}")),
        None => (String::new(), String::new()),
    };
    Failure::new(Exit::NotFound, "RV-BACKUP-UNKNOWN", format!("there is no backup {name}{place}"))
        .with_next(format!("ringvault backup list{list}"))
}

fn many_backups(name: &BackupName, found: &[BackupSummary]) -> Failure {
    let clusters: Vec<&str> = found.iter().map(|backup| backup.cluster.as_str()).collect();
    let message = format!("several clusters have a backup {name}: {}", clusters.join(", "));
    Failure::new(Exit::Usage, "RV-BACKUP-AMBIGUOUS", message).with_next("say which by -c CLUSTER")
}

/// Each job's id, cut to what tells it from the others in the list.
pub(super) fn short_ids(jobs: &[JobSummary]) -> Vec<String> {
    let ids: Vec<String> = jobs.iter().map(|job| job.id.to_string()).collect();
    let is_unique =
        |length: usize, id: &str| ids.iter().filter(|other| other[..length] == id[..length]).count() == 1;
    ids.iter()
        .map(|id| {
            let unique = (SHORT_ID..id.len()).find(|length| is_unique(*length, id));
            id[..unique.unwrap_or(id.len())].trim_end_matches('-').to_owned()
        })
        .collect()
}
