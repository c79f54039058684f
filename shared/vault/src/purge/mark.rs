//! Steps one to three of a purge, as one task that may be run again at any time.

use chrono::Utc;
use futures::TryStreamExt;
use ringvault_core::{
    ClusterName,
    task::{FoundSealed, MarkResult, MarkTask, StillLocked},
};
use ringvault_fault::around;

use super::{
    MarkOutcome, NOTHING,
    list::{ListFile, ListWriter, Totals},
};
use crate::{
    backup::{AbortOutcome, BackupEntry, PurgeIntent, SealPlace},
    error::{VaultError, VaultResult},
    identity::Vault,
    layout,
};

impl Vault {
    /// Marks: abort markers for the dead, the intent, the wait, the list of what goes.
    pub async fn mark(&self, task: &MarkTask) -> VaultResult<MarkOutcome> {
        self.check_owner().await?;
        let cluster = &task.cluster;
        let (mut aborted, mut sealed, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for backup in &task.dead {
            let reason = format!("its job was over before it was sealed; found by purge job {}", task.job);
            let job = match self.start_record(cluster, backup).await {
                Ok(start) => start.job,
                Err(VaultError::NoSuchBackup { .. }) => task.job,
                Err(error) => return Err(error),
            };
            match self.abort(cluster, backup, job, &reason).await? {
                AbortOutcome::Dead => aborted.push(backup.clone()),
                AbortOutcome::Sealed(seal) if sealed.len() < MarkResult::MAX_SEALED => {
                    sealed.push(FoundSealed { backup: backup.clone(), seal: seal.to_result() });
                }
                AbortOutcome::Sealed(_) => {}
                AbortOutcome::Expired => gone.push(backup.clone()),
            }
        }
        if self.has_nothing_to_do(task).await? {
            return Ok(MarkOutcome::Condemned(MarkResult {
                purge: NOTHING,
                expired: gone,
                aborted,
                sealed,
                objects: 0,
                bytes: 0,
            }));
        }
        let intent = self.ensure_intent(cluster, task.job, &task.expire).await?;
        let on = self.waits_of(cluster, intent.purge).await?;
        if !on.is_empty() {
            return Ok(MarkOutcome::Waiting { purge: intent.purge, on });
        }
        let totals = self.condemn(&intent).await?;
        // What was to expire and is not in the intent had nothing left to expire.
        gone.extend(task.expire.iter().chain(&intent.expire).cloned());
        gone.sort_unstable();
        gone.dedup();
        Ok(MarkOutcome::Condemned(MarkResult {
            purge: intent.purge,
            expired: gone,
            aborted,
            sealed,
            objects: totals.objects,
            bytes: totals.bytes,
        }))
    }

    /// Whether the purge would expire, delete and bury nothing. Every intent is read by every backup from
    /// then on, so one that says nothing is not written.
    async fn has_nothing_to_do(&self, task: &MarkTask) -> VaultResult<bool> {
        let cluster = &task.cluster;
        if !task.dead.is_empty()
            || self.read_intents(cluster).await?.of_job(task.job).is_some()
            || !self.to_expire(cluster, &task.expire).await?.is_empty()
        {
            return Ok(false);
        }
        let (backups, _) = self.backups_and_damaged(cluster).await?;
        let locked = self.still_waiting(cluster).await?;
        let unburied = |backup: &BackupEntry| match &backup.place {
            SealPlace::Sealed(_) => backup.expired_by.is_some(),
            SealPlace::Tombstone(stone) => stone.records_left && locked.is_none(),
            SealPlace::Empty | SealPlace::Aborted(_) => false,
        };
        let locked = locked.map_or(0, |locked| locked.objects);
        Ok(!backups.iter().any(unburied) && self.purge_preview(cluster, &[]).await?.objects <= locked)
    }

    /// What the last purge had to leave because it was locked, if none of that can be deleted yet.
    pub async fn still_waiting(&self, cluster: &ClusterName) -> VaultResult<Option<StillLocked>> {
        let intents = self.read_intents(cluster).await?;
        let locked = self.last_purge(cluster, &intents).await?.and_then(|purge| purge.locked);
        Ok(locked.filter(|locked| locked.from > Utc::now()))
    }

    /// Writes the list of what goes, unless it is there: what was condemned once may go at any time
    /// later, because nobody can come to name it any more.
    async fn condemn(&self, intent: &PurgeIntent) -> VaultResult<Totals> {
        let (cluster, n) = (&intent.cluster, intent.purge);
        if let Some(list) = ListFile::fetch(self, cluster, n).await? {
            return list.read(|_, _| Ok(()));
        }
        let survey = self.survey(cluster, n, &[]).await?;
        let mut list = ListWriter::create(self.scratch(), cluster, n, intent.job)?;
        for backup in survey.gone.keys() {
            let mut objects = self.store().list(&layout::data_folder(cluster, backup));
            while let Some(object) = objects.try_next().await? {
                if survey.condemns(&object) {
                    list.push(object.key, object.size)?;
                }
            }
        }
        let (path, totals) = list.finish()?;
        around!("vault.condemned").run(self.store().put_file(&layout::condemned(cluster, n), &path)).await?;
        Ok(totals)
    }
}
