//! What a verify leaves in the vault: the findings of each shard, and one report.

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use ringvault_core::{
    BackupName, ClusterName, JobId,
    job::VerifyLevel,
    task::{CheckTask, Finding, ReportResult, VerifyReportTask},
};
use ringvault_fault::around;
use serde::{Deserialize, Serialize};

use super::damage::Named;
use crate::{
    error::{VaultError, VaultResult},
    identity::Vault,
    layout,
    lines::Lines,
    record::{self, FORMAT_VERSION},
};

/// Findings listed in a report; the shards' own lists have all.
const MAX_LISTED: usize = 1_000;
/// Largest list of a shard that is read, in bytes, compressed and plain.
const MAX_LIST: u64 = 256 << 20;

/// `verifications/<backup>/<job>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerificationRecord {
    /// Version of the vault's format.
    pub version: u32,
    /// The cluster.
    pub cluster: ClusterName,
    /// The backup that was verified.
    pub backup: BackupName,
    /// The verify.
    pub job: JobId,
    /// How deep.
    pub level: VerifyLevel,
    /// When the last shard had ended.
    pub finished_at: DateTime<Utc>,
    /// Objects looked at.
    pub objects: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Findings in all.
    pub damaged: u64,
    /// The first of them.
    pub findings: Vec<Finding>,
}

/// The first findings of a shard's list, at most `most`.
pub fn parse_findings(key: &str, body: &[u8], most: usize) -> VaultResult<Vec<Finding>> {
    let bad = |why: String| VaultError::malformed(key, why);
    let mut lines = Lines::of(body, MAX_LIST).map_err(|e| bad(e.to_string()))?;
    let mut findings = Vec::new();
    while findings.len() < most {
        let Some(line) = lines.next().map_err(|e| bad(e.to_string()))? else { break };
        findings.push(serde_json::from_slice(line).map_err(|e| bad(e.to_string()))?);
    }
    Ok(findings)
}

impl Vault {
    /// Keeps a shard's findings. Returns how many there are.
    pub(super) async fn store_findings(&self, task: &CheckTask, named: Named) -> VaultResult<u64> {
        if named.count > 0 {
            let key = layout::verification_shard(&task.cluster, &task.backup, task.job, task.shard);
            around!("vault.findings").run(self.store().put_file(&key, &named.path)).await?;
        }
        Ok(named.count)
    }

    /// Writes the report of a verify whose every shard has ended. May be run again.
    pub async fn report_verify(&self, task: &VerifyReportTask) -> VaultResult<ReportResult> {
        let folder = layout::verification_shards(&task.cluster, &task.backup, task.job);
        let mut findings = Vec::new();
        let mut lists = self.store().list(&folder);
        while let Some(list) = lists.try_next().await? {
            if findings.len() >= MAX_LISTED {
                break;
            }
            let body = self.store().get(&list.key, MAX_LIST).await?;
            findings.extend(parse_findings(&list.key, &body, MAX_LISTED - findings.len())?);
        }
        let key = layout::verification(&task.cluster, &task.backup, task.job);
        let report = VerificationRecord {
            version: FORMAT_VERSION,
            cluster: task.cluster.clone(),
            backup: task.backup.clone(),
            job: task.job,
            level: task.level,
            finished_at: Utc::now(),
            objects: task.objects,
            bytes: task.bytes,
            damaged: task.damaged,
            findings,
        };
        around!("vault.verify-report").run(record::overwrite(self.store(), &key, &report)).await?;
        Ok(ReportResult {
            key,
            objects: task.objects,
            bytes: task.bytes,
            at: Some(report.finished_at),
            locked: None,
        })
    }

    /// The reports of every verify of a backup, each with its own failure.
    pub(crate) async fn verification_records(
        &self,
        cluster: &ClusterName,
        backup: &BackupName,
    ) -> VaultResult<Vec<VaultResult<VerificationRecord>>> {
        let folder = layout::verifications_folder(cluster, backup);
        let mut reports = Vec::new();
        let mut objects = self.store().list(&folder);
        while let Some(object) = objects.try_next().await? {
            // Below are the folders of the shards' lists.
            let is_report = object.key.strip_prefix(&folder).is_some_and(|name| !name.contains('/'));
            if !is_report {
                continue;
            }
            match record::read::<VerificationRecord>(self.store(), &object.key).await {
                Ok(Some(report)) if report.cluster == *cluster && report.backup == *backup => {
                    reports.push(Ok(report));
                }
                Ok(Some(_)) => {
                    reports.push(Err(VaultError::malformed(&object.key, "it is another backup's")));
                }
                Ok(None) => {}
                Err(VaultError::Store(error)) => return Err(error.into()),
                Err(error) => reports.push(Err(error)),
            }
        }
        Ok(reports)
    }

    /// The report of a verify; `None` while there is none.
    pub async fn verification(
        &self,
        cluster: &ClusterName,
        backup: &BackupName,
        job: JobId,
    ) -> VaultResult<Option<VerificationRecord>> {
        record::read(self.store(), &layout::verification(cluster, backup, job)).await
    }
}
