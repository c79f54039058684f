//! What stands in a seal's place, and the abort marker that can take it.

use chrono::{DateTime, Utc};
use ringvault_core::{BackupName, ClusterName, JobId, backup::BackupFigures, cluster::CoverageReport};
use ringvault_fault::around;
use serde::{Deserialize, Serialize};

use super::{SealRecord, StartRecord};
use crate::{
    error::{VaultError, VaultResult},
    identity::Vault,
    layout,
    record::{self, FORMAT_VERSION},
};

/// An abort marker: the backup is dead, and nothing can seal it any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbortRecord {
    /// Version of the vault's format.
    pub version: u32,
    /// The cluster.
    pub cluster: ClusterName,
    /// The backup.
    pub backup: BackupName,
    /// The job that was to make the backup.
    pub job: JobId,
    /// Why.
    pub reason: String,
    /// When.
    pub aborted_at: DateTime<Utc>,
}

/// A tombstone: the backup was sealed, has expired, and its objects are gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TombstoneRecord {
    /// Version of the vault's format.
    pub version: u32,
    /// What the backup was asked to be.
    pub start: StartRecord,
    /// When it was sealed.
    pub sealed_at: DateTime<Utc>,
    /// The purge that took it away.
    pub purge: u64,
    /// When.
    pub removed_at: DateTime<Utc>,
    /// What the seal said that a list of backups still shows; absent in tombstones of the first
    /// releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<Was>,
    /// Some of its records were still locked: a later purge removes them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub records_left: bool,
}

/// What is kept of a seal that a tombstone was written over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Was {
    /// Its figures.
    pub figures: BackupFigures,
    /// What its coverage rested on.
    pub report: CoverageReport,
    /// Why it was less than it might have been.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// Only nodes of this data center were asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dc: Option<String>,
    /// As in the seal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tainted: bool,
}

impl From<&SealRecord> for Was {
    fn from(seal: &SealRecord) -> Self {
        Self {
            figures: seal.figures,
            report: seal.report.clone(),
            remarks: seal.remarks.iter().map(ToString::to_string).collect(),
            dc: seal.dc.clone(),
            tainted: seal.tainted,
        }
    }
}

/// What stands at `backup.json`.
#[derive(Debug, Clone, PartialEq)]
pub enum SealPlace {
    /// Nothing yet.
    Empty,
    /// The seal.
    Sealed(Box<SealRecord>),
    /// An abort marker.
    Aborted(AbortRecord),
    /// A tombstone.
    Tombstone(Box<TombstoneRecord>),
}

impl SealPlace {
    /// Understands the bytes of the `backup.json` of a backup.
    pub fn parse(body: &[u8], cluster: &ClusterName, backup: &BackupName) -> VaultResult<Self> {
        Self::of(record::parse(&layout::seal(cluster, backup), body)?, cluster, backup)
    }

    /// What a file says that must be of this backup.
    fn of(file: SealFile, cluster: &ClusterName, backup: &BackupName) -> VaultResult<Self> {
        let (of, name) = match &file {
            SealFile::Seal(seal) => (&seal.start.cluster, &seal.start.backup),
            SealFile::Abort(abort) => (&abort.cluster, &abort.backup),
            SealFile::Tombstone(stone) => (&stone.start.cluster, &stone.start.backup),
        };
        if of != cluster || name != backup {
            let why = format!("it says it is {name} of {of}");
            return Err(VaultError::malformed(&layout::seal(cluster, backup), why));
        }
        Ok(match file {
            SealFile::Seal(seal) => Self::Sealed(seal),
            SealFile::Abort(abort) => Self::Aborted(abort),
            SealFile::Tombstone(stone) => Self::Tombstone(stone),
        })
    }

    /// The job that whatever stands here belongs to.
    pub fn job(&self) -> Option<JobId> {
        match self {
            Self::Empty => None,
            Self::Sealed(seal) => Some(seal.start.job),
            Self::Aborted(abort) => Some(abort.job),
            Self::Tombstone(tombstone) => Some(tombstone.start.job),
        }
    }
}

/// `backup.json` as it is written.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum SealFile {
    Seal(Box<SealRecord>),
    Abort(AbortRecord),
    Tombstone(Box<TombstoneRecord>),
}

/// What became of an abort.
#[derive(Debug, Clone, PartialEq)]
pub enum AbortOutcome {
    /// It is dead, now or from before.
    Dead,
    /// It was sealed first, and stays so. Whoever wanted it dead has to take note of it.
    Sealed(Box<SealRecord>),
    /// It was sealed and has expired since.
    Expired,
}

impl Vault {
    /// Reads what stands in the seal's place.
    pub async fn seal_place(&self, cluster: &ClusterName, backup: &BackupName) -> VaultResult<SealPlace> {
        match record::read(self.store(), &layout::seal(cluster, backup)).await? {
            None => Ok(SealPlace::Empty),
            Some(file) => SealPlace::of(file, cluster, backup),
        }
    }

    /// The seal of a backup that can be read: sealed and not expired.
    pub async fn seal_of(&self, cluster: &ClusterName, backup: &BackupName) -> VaultResult<SealRecord> {
        let (cluster_, backup_) = (cluster.clone(), backup.clone());
        match self.seal_place(cluster, backup).await? {
            SealPlace::Sealed(seal) => match self.read_intents(cluster).await?.expired_by(backup) {
                None => Ok(*seal),
                Some(purge) => Err(VaultError::Expired { cluster: cluster_, backup: backup_, purge }),
            },
            SealPlace::Aborted(abort) => {
                Err(VaultError::Aborted { cluster: cluster_, backup: backup_, reason: abort.reason })
            }
            SealPlace::Tombstone(stone) => {
                Err(VaultError::Expired { cluster: cluster_, backup: backup_, purge: stone.purge })
            }
            SealPlace::Empty => {
                self.start_record(cluster, backup).await?;
                Err(VaultError::NotSealed { cluster: cluster_, backup: backup_ })
            }
        }
    }

    /// Puts an abort marker in the seal's place, unless something stands there.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn abort(
        &self,
        cluster: &ClusterName,
        backup: &BackupName,
        job: JobId,
        reason: &str,
    ) -> VaultResult<AbortOutcome> {
        let marker = SealFile::Abort(AbortRecord {
            version: FORMAT_VERSION,
            cluster: cluster.clone(),
            backup: backup.clone(),
            job,
            reason: reason.to_owned(),
            aborted_at: Utc::now(),
        });
        if around!("vault.abort")
            .run(record::create(self.store(), &layout::seal(cluster, backup), &marker))
            .await?
        {
            return Ok(AbortOutcome::Dead);
        }
        Ok(match self.seal_place(cluster, backup).await? {
            SealPlace::Sealed(seal) => AbortOutcome::Sealed(seal),
            SealPlace::Tombstone(_) => AbortOutcome::Expired,
            SealPlace::Aborted(_) | SealPlace::Empty => AbortOutcome::Dead,
        })
    }
    /// Writes a tombstone over the seal of a backup that has expired.
    pub(crate) async fn put_tombstone(&self, tombstone: TombstoneRecord) -> VaultResult<()> {
        let key = layout::seal(&tombstone.start.cluster, &tombstone.start.backup);
        let stone = SealFile::Tombstone(Box::new(tombstone));
        around!("vault.tombstone").run(record::overwrite(self.store(), &key, &stone)).await
    }
}
