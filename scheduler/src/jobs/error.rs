//! Why a job was not accepted, or would not do what it was told.

use ringvault_core::{
    BackupName, ClusterName, JobId, PolicyName,
    backup::BackupState,
    job::{IllegalTransition, JobKind, JobState},
    policy::Window,
};
use ringvault_state::StateError;
use ringvault_vault::VaultError;

use super::{Action, ability::Ability};
use crate::workflow::DriveError;

/// Why a job was not accepted. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// No worker ever announced the cluster.
    #[error("cluster {cluster} is not known: no worker has announced it")]
    UnknownCluster {
        /// The cluster.
        cluster: ClusterName,
    },
    /// The backup's name belongs to another backup, which may be long gone.
    #[error("backup {backup} of {cluster} exists already; names are never used again")]
    NameTaken {
        /// The cluster.
        cluster: ClusterName,
        /// The name.
        backup: BackupName,
    },
    /// There is no such backup.
    #[error("there is no backup {backup} of {cluster}")]
    UnknownBackup {
        /// The cluster.
        cluster: ClusterName,
        /// The name.
        backup: BackupName,
    },
    /// Nothing of the cluster can be restored, or nothing is known that can.
    #[error("{cluster} has no backup that can be restored: there is nothing to try")]
    NoBackup {
        /// The cluster.
        cluster: ClusterName,
    },
    /// The backup is not in a state for it.
    #[error("backup {backup} of {cluster} is {}: it cannot be {wanted}", state.as_str())]
    BackupState {
        /// The cluster.
        cluster: ClusterName,
        /// The name.
        backup: BackupName,
        /// Where it is in its life.
        state: BackupState,
        /// What was wanted of it.
        wanted: &'static str,
    },
    /// The backup is held.
    #[error("backup {backup} of {cluster} is held by {}: it cannot be purged", by.join(", "))]
    Held {
        /// The cluster.
        cluster: ClusterName,
        /// The name.
        backup: BackupName,
        /// Names of holds, ids of jobs.
        by: Vec<String>,
    },
    /// Workers are of a release that does not know how to do it.
    #[error("{} of {cluster} cannot {ability}: their workers are of an older release", nodes.join(", "))]
    TooOld {
        /// Whose workers would do it.
        cluster: ClusterName,
        /// Addresses.
        nodes: Vec<String>,
        /// What they cannot do.
        ability: Ability,
    },
    /// A truncate, or an offline restore, without the target's name.
    #[error("the restore takes away what {target} holds, and is not confirmed: `confirm` must be {target}")]
    NotConfirmed {
        /// The target.
        target: ClusterName,
    },
    /// A reserved field.
    #[error("`{field}` cannot be done by this version")]
    Unsupported {
        /// The field.
        field: &'static str,
    },
    /// Fields that do not make sense.
    #[error("`{field}` {why}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The idempotency key was used for something else.
    #[error("the idempotency key {key:?} of {source_name} was used for another request")]
    KeyReused {
        /// The asker.
        source_name: String,
        /// The key.
        key: String,
    },
    /// The vault could not be asked.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The database could not be asked.
    #[error(transparent)]
    State(#[from] StateError),
    /// The job could not be written.
    #[error(transparent)]
    Drive(#[from] DriveError),
}

impl SubmitError {
    /// Stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownCluster { .. } => "RV-CLUSTER-UNKNOWN",
            Self::NameTaken { .. } => "RV-BACKUP-EXISTS",
            Self::UnknownBackup { .. } | Self::NoBackup { .. } => "RV-BACKUP-UNKNOWN",
            Self::BackupState { .. } => "RV-BACKUP-STATE",
            Self::Held { .. } => "RV-BACKUP-HELD",
            Self::TooOld { .. } => "RV-WORKER-TOO-OLD",
            Self::NotConfirmed { .. } => "RV-NOT-CONFIRMED",
            Self::Unsupported { .. } => "RV-UNSUPPORTED",
            Self::Invalid { .. } => "RV-INVALID",
            Self::KeyReused { .. } => "RV-KEY-REUSED",
            Self::Vault(_) => "RV-VAULT",
            Self::State(_) | Self::Drive(_) => "RV-STATE",
        }
    }

    /// Whether the request itself is refused, for good; otherwise a dependency failed and the same
    /// request may succeed later.
    pub const fn is_refusal(&self) -> bool {
        !matches!(self, Self::Vault(_) | Self::State(_) | Self::Drive(_))
    }

    /// As the failure of a dependency, if it is not a refusal.
    pub fn into_failure(self) -> Result<DriveError, Self> {
        match self {
            Self::Vault(error) => Ok(error.into()),
            Self::State(error) => Ok(error.into()),
            Self::Drive(error) => Ok(error),
            refusal => Err(refusal),
        }
    }

    /// What the reader can do.
    pub fn next(&self) -> Option<String> {
        match self {
            Self::UnknownCluster { .. } => Some("ringvault cluster list".to_owned()),
            Self::UnknownBackup { cluster, .. }
            | Self::NoBackup { cluster }
            | Self::BackupState { cluster, .. } => Some(format!("ringvault backup list -c {cluster}")),
            Self::Held { .. } => Some("ringvault hold list".to_owned()),
            Self::TooOld { cluster, ability, .. } => {
                Some(format!("ringvault node list -c {cluster}; {}", ability.way_out()))
            }
            Self::NotConfirmed { target } => Some(format!("--confirm={target}")),
            _ => None,
        }
    }
}

/// Why a job would not do what it was told. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// There is no such job.
    #[error("there is no job {job}")]
    UnknownJob {
        /// The job.
        job: JobId,
    },
    /// Not in its state.
    #[error("job {job}: {}", refusal(*action, why))]
    Refused {
        /// The job.
        job: JobId,
        /// What it was told.
        action: Action,
        /// Why not.
        why: IllegalTransition,
    },
    /// It works in its policy's window alone.
    #[error(
        "job {job} cannot be resumed now: policy {policy} lets it work from {window} only, and it goes on by itself then"
    )]
    OutsideWindow {
        /// The job.
        job: JobId,
        /// The policy.
        policy: PolicyName,
        /// Its window.
        window: Window,
    },
    /// Nothing of it moves at a rate, or not any more.
    #[error("job {job}: {}", no_rate(*kind, *state))]
    NoRate {
        /// The job.
        job: JobId,
        /// What it does.
        kind: JobKind,
        /// Where it is.
        state: JobState,
    },
    /// What was said of how fast it may go cannot hold.
    #[error("job {job}: {field}: {why}")]
    InvalidLimit {
        /// The job.
        job: JobId,
        /// Of the limit's.
        field: &'static str,
        /// What is wrong.
        why: String,
    },
    /// Another job must come first.
    #[error("job {job} cannot be retried while job {other} works on {cluster}")]
    InTheWay {
        /// The job.
        job: JobId,
        /// The other one.
        other: JobId,
        /// On what.
        cluster: ClusterName,
    },
    /// The database could not be asked.
    #[error(transparent)]
    State(#[from] StateError),
    /// The change could not be written.
    #[error(transparent)]
    Drive(DriveError),
}

impl ControlError {
    /// Stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownJob { .. } => "RV-JOB-UNKNOWN",
            Self::Refused { why: IllegalTransition::PastNoReturn, .. } => "RV-JOB-NO-RETURN",
            Self::Refused { .. } => "RV-JOB-STATE",
            Self::OutsideWindow { .. } => "RV-JOB-WINDOW",
            Self::InTheWay { .. } => "RV-JOB-IN-THE-WAY",
            Self::NoRate { .. } => "RV-JOB-RATE",
            Self::InvalidLimit { .. } => "RV-JOB-LIMIT",
            Self::State(_) | Self::Drive(_) => "RV-STATE",
        }
    }

    /// Whether it is refused, for good; otherwise a dependency failed.
    pub const fn is_refusal(&self) -> bool {
        !matches!(self, Self::State(_) | Self::Drive(_))
    }

    /// As the failure of a dependency, if it is not a refusal.
    pub fn into_failure(self) -> Result<DriveError, Self> {
        match self {
            Self::State(error) => Ok(error.into()),
            Self::Drive(error) => Ok(error),
            refusal => Err(refusal),
        }
    }
}

fn refusal(action: Action, why: &IllegalTransition) -> String {
    match why {
        IllegalTransition::Pair { state, .. } => action.refusal(*state),
        other => other.to_string(),
    }
}

fn no_rate(kind: JobKind, state: JobState) -> String {
    let kind = kind.as_str();
    if state.is_final() || state.is_ending() {
        return format!("it is {}: nothing of it will move at any rate", state.as_str());
    }
    format!("a {kind} has no rate: only backups, restores and drills have")
}
