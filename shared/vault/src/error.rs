//! What can go wrong with a vault, with the names of what it went wrong for.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use ringvault_core::{BackupName, ClusterName, JobId, TaskError, text};

use crate::{
    config::ConfigError,
    crypt::secret::{KeyId, NoRandomness, listed},
    layout::InvalidKey,
    manifest::{ManifestError, ManifestObjectError},
    store::{StoreError, StoreErrorKind},
};

/// A result of the vault.
pub type VaultResult<T> = Result<T, VaultError>;

/// A failure of the vault.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// A request to the store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no vault here yet.
    #[error("there is no vault at {url}: it has no vault.json")]
    NotInitialised {
        /// The vault's address.
        url: String,
    },
    /// Another deployment writes here.
    #[error(
        "the vault at {url} belongs to deployment {owner:?}, and this is {deployment:?}: it may read, not write"
    )]
    OtherOwner {
        /// The vault's address.
        url: String,
        /// The vault's owner; empty where an init was cut short.
        owner: String,
        /// Who wanted to write.
        deployment: String,
    },
    /// There is a vault here already.
    #[error("there is a vault at {url} already, with id {vault_id}; nothing was changed")]
    AlreadyInitialised {
        /// The vault's address.
        url: String,
        /// The id of the vault that is there.
        vault_id: String,
    },
    /// The vault was written by a newer version.
    #[error("{key}: format version {found} is not known here, the newest known is {known}")]
    UnsupportedVersion {
        /// The record.
        key: String,
        /// Its version.
        found: u32,
        /// The newest known.
        known: u32,
    },
    /// The vault is encrypted, and no key is configured.
    #[error("the vault at {url} is encrypted and no key is configured; it opens with {}", listed(.wanted))]
    KeyMissing {
        /// The vault's address.
        url: String,
        /// The key-encryption keys that open it.
        wanted: Vec<KeyId>,
    },
    /// None of the configured keys opens the vault.
    #[error("the vault at {url} opens with key {}, and {} is given", listed(.wanted), listed(.given))]
    WrongKey {
        /// The vault's address.
        url: String,
        /// The key-encryption keys that open it.
        wanted: Vec<KeyId>,
        /// Those that are configured.
        given: Vec<KeyId>,
    },
    /// A key is configured, or a rotation asked for, and the vault is not encrypted.
    #[error(
        "the vault at {url} is not encrypted, and a key is configured or asked for; nothing was read or written"
    )]
    NotEncrypted {
        /// The vault's address.
        url: String,
    },
    /// Another rotation came first.
    #[error(
        "the keys of the vault at {url} were changed by somebody else just now: generation {generation} is there; nothing was changed"
    )]
    KeysChanged {
        /// The vault's address.
        url: String,
        /// The generation.
        generation: u64,
    },
    /// The system has no randomness.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The store does not do what the vault's correctness rests on.
    #[error("the store at {url} cannot hold a vault: {why}")]
    UnfitStore {
        /// The vault's address.
        url: String,
        /// What it does wrong.
        why: String,
    },
    /// A record of the vault cannot be understood.
    #[error("{key} is damaged or not a record of a vault: {why}")]
    Malformed {
        /// The record.
        key: String,
        /// What is wrong with it.
        why: String,
    },
    /// A manifest or list names something it may not name.
    #[error("{inside} names a key it may not name: {cause}")]
    ForbiddenKey {
        /// The manifest or list.
        inside: String,
        /// Which key, and why not.
        cause: InvalidKey,
    },
    /// The cluster's id is bound to another ring.
    #[error("cluster {cluster} of this vault is another ring: {why}")]
    ClusterBound {
        /// The cluster's id.
        cluster: ClusterName,
        /// In what they differ.
        why: String,
    },
    /// The cluster's id is bound to no ring.
    #[error("cluster {cluster} is not bound to a ring: no backup of it was ever begun here")]
    ClusterUnknown {
        /// The cluster's id.
        cluster: ClusterName,
    },
    /// The name belongs to another backup, which may be long gone.
    #[error("backup {backup} of {cluster} exists already, made by job {job}; names are never used again")]
    NameTaken {
        /// The cluster.
        cluster: ClusterName,
        /// The name.
        backup: BackupName,
        /// The job it belongs to.
        job: JobId,
    },
    /// No such backup.
    #[error("there is no backup {backup} of {cluster} in the vault")]
    NoSuchBackup {
        /// The cluster.
        cluster: ClusterName,
        /// The name.
        backup: BackupName,
    },
    /// The backup has no seal yet.
    #[error("backup {backup} of {cluster} is not sealed: it is still running, or its job ended")]
    NotSealed {
        /// The cluster.
        cluster: ClusterName,
        /// The name.
        backup: BackupName,
    },
    /// An abort marker stands in the seal's place.
    #[error("backup {backup} of {cluster} was aborted: {reason}")]
    Aborted {
        /// The cluster.
        cluster: ClusterName,
        /// The name.
        backup: BackupName,
        /// Why it was aborted.
        reason: String,
    },
    /// The backup is sealed, by another job, or where it was to be aborted.
    #[error("backup {backup} of {cluster} is sealed already")]
    AlreadySealed {
        /// The cluster.
        cluster: ClusterName,
        /// The name.
        backup: BackupName,
    },
    /// A purge has expired the backup.
    #[error("backup {backup} of {cluster} has expired: purge {purge} takes it away")]
    Expired {
        /// The cluster.
        cluster: ClusterName,
        /// The name.
        backup: BackupName,
        /// The purge.
        purge: u64,
    },
    /// The backup is locked.
    #[error(
        "backup {backup} of {cluster} is locked until {until}: until then nobody can delete it, and nothing was expired"
    )]
    BackupLocked {
        /// The cluster.
        cluster: ClusterName,
        /// The name.
        backup: BackupName,
        /// When its lock ends.
        until: DateTime<Utc>,
    },
    /// The settings ask for locks and the bucket has none.
    #[error("[vault.lock] is set and the bucket of {url} has no Object Lock; nothing was written")]
    NoObjectLock {
        /// The vault's address.
        url: String,
    },
    /// A purge was asked to go on that is not ready.
    #[error("purge {purge} of {cluster}: {why}")]
    PurgeState {
        /// The cluster.
        cluster: ClusterName,
        /// The purge.
        purge: u64,
        /// What stands in its way.
        why: String,
    },
    /// Objects that should have been deleted are still there.
    #[error("{count} objects could not be deleted, the first is {first}", first = first.key)]
    NotDeleted {
        /// How many.
        count: usize,
        /// One of them.
        first: StoreError,
    },
    /// A manifest breaks a rule of its format.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A temporary file cannot be written or read.
    #[error("temporary file in {folder}: {cause}", folder = folder.display())]
    Scratch {
        /// Where.
        folder: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// A part of the program gave up.
    #[error("an internal task failed: {0}")]
    Internal(String),
    /// The work was told to stop.
    #[error("stopped as asked")]
    Cancelled,
}

impl From<ringvault_fault::Injected> for VaultError {
    fn from(error: ringvault_fault::Injected) -> Self {
        StoreError::from(error).into()
    }
}

impl VaultError {
    /// A record that cannot be understood.
    pub(crate) fn malformed(key: &str, why: impl std::fmt::Display) -> Self {
        Self::Malformed { key: key.to_owned(), why: text::cause(why) }
    }

    /// A temporary file that cannot be written or read.
    pub(crate) fn scratch(folder: &Path, cause: std::io::Error) -> Self {
        Self::Scratch { folder: folder.to_owned(), cause }
    }

    /// Whether it is the store that says so, and this.
    pub fn is_store(&self, kind: StoreErrorKind) -> bool {
        matches!(self, Self::Store(error) if error.kind == kind)
    }

    /// As a task reports it.
    pub fn to_task_error(&self) -> TaskError {
        let (code, next) = match self {
            Self::Store(error) => return error.to_task_error(),
            Self::NotDeleted { first, .. } => {
                let mut task = first.to_task_error();
                task.message = self.to_string();
                return task;
            }
            Self::Manifest(error) => return error.to_task_error(),
            Self::Scratch { .. } => {
                return TaskError::environment("RV-DISK", self.to_string())
                    .with_next("make room for temporary files");
            }
            Self::Internal(_) => return TaskError::transient("RV-INTERNAL", self.to_string()),
            Self::Config(_) => {
                ("RV-VAULT-CONFIG", "mend the vault's settings, then ringvault vault check --config FILE")
            }
            Self::NotInitialised { .. } => ("RV-VAULT-NONE", "ringvault vault init --config FILE"),
            Self::OtherOwner { .. } => (
                "RV-VAULT-OWNER",
                "give this deployment a vault of its own, or set deployment in its [vault] settings; when the owner is gone for good: ringvault vault takeover --config FILE",
            ),
            Self::AlreadyInitialised { .. } => ("RV-VAULT-EXISTS", "ringvault vault check --config FILE"),
            Self::UnsupportedVersion { .. } => {
                ("RV-VAULT-VERSION", "use the version of ringvault that wrote it, or newer")
            }
            Self::KeyMissing { .. } => (
                "RV-KEY-MISSING",
                "name the key in the settings: [vault.encryption] key_file = \"FILE\" (or key_env); then ringvault key list --config FILE",
            ),
            Self::WrongKey { .. } => (
                "RV-KEY-WRONG",
                "name the key that is wanted in [vault.encryption], or the former one in other_key_files; ringvault key list --config FILE",
            ),
            Self::NotEncrypted { .. } => (
                "RV-VAULT-PLAIN",
                "take [vault.encryption] out of the settings, or make a vault of its own: ringvault vault init --encrypt --config FILE",
            ),
            Self::KeysChanged { .. } => ("RV-KEY-CHANGED", "ringvault key list --config FILE, then again"),
            Self::NoRandomness(_) => {
                return TaskError::environment("RV-RANDOM", self.to_string())
                    .with_next("look at the machine's source of randomness");
            }
            Self::UnfitStore { .. } => {
                ("RV-VAULT-UNFIT", "choose a store that keeps to If-None-Match and ranges")
            }
            Self::Malformed { .. } => ("RV-VAULT-DAMAGED", "ringvault verify run on the backup concerned"),
            Self::ForbiddenKey { .. } => (
                "RV-MANIFEST",
                "ringvault verify run on the backup concerned; somebody else may have written it",
            ),
            Self::ClusterBound { .. } => (
                "RV-CLUSTER-BOUND",
                "give this cluster an id of its own, or ringvault cluster rebind after the loss of all its machines",
            ),
            Self::ClusterUnknown { .. } => {
                ("RV-CLUSTER-UNKNOWN", "ringvault catalog list shows what the vault holds")
            }
            Self::NameTaken { .. } => ("RV-BACKUP-NAME", "choose another name"),
            Self::NoSuchBackup { .. } => {
                ("RV-BACKUP-404", "ringvault catalog list shows what the vault holds")
            }
            Self::NotSealed { .. } => ("RV-BACKUP-UNSEALED", "wait for its job, or take another backup"),
            Self::Aborted { .. } => ("RV-BACKUP-DEAD", "take another backup"),
            Self::AlreadySealed { .. } => ("RV-BACKUP-SEALED", "ringvault backup show"),
            Self::Expired { .. } => {
                ("RV-BACKUP-EXPIRED", "choose another backup: expiry is never taken back")
            }
            Self::BackupLocked { .. } => {
                ("RV-BACKUP-LOCKED", "wait for the lock to end: ringvault backup list")
            }
            Self::NoObjectLock { .. } => (
                "RV-VAULT-LOCK",
                "make a bucket with Object Lock (it is best chosen when a bucket is made), or take [vault.lock] out of the settings; ringvault vault check --config FILE",
            ),
            Self::PurgeState { .. } => ("RV-PURGE", "ringvault purge run again"),
            Self::Cancelled => ("RV-CANCELLED", "nothing: the job was told to stop"),
        };
        TaskError::permanent(code, self.to_string()).with_next(next)
    }
}

impl From<ManifestObjectError> for VaultError {
    fn from(error: ManifestObjectError) -> Self {
        match error {
            ManifestObjectError::Store(error) => Self::Store(error),
            ManifestObjectError::Manifest(error) => Self::Manifest(error),
        }
    }
}
