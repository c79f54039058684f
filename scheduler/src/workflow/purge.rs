//! Which backups a purge takes, decided when it begins and never taken back; and the purge that
//! follows a backup of a policy with a retention.
//!
//! A backup is chosen and marked as expired under its row's lock, with its holds looked at under the
//! same lock; a hold is added under that lock too. So either the hold is seen here, or the one who
//! wants it sees that the backup has expired.

use chrono::{DateTime, Utc};
use ringvault_core::{
    BackupName, TaskError,
    backup::{BackupFacts, BackupState},
    job::{JobSpec, PurgeSpec},
    policy::{PolicyAction, select_expired},
};
use ringvault_state::{StateError, backups, policies};

use super::{DriveError, Step};
use crate::jobs::{POLICY_SOURCE, Prepared, Submission, SubmitError};

/// What a purge is about.
#[derive(Debug, Default)]
pub(super) struct Expiring {
    /// Backups it expires.
    pub(super) expire: Vec<BackupName>,
    /// Unsealed backups whose job is over for good.
    pub(super) dead: Vec<BackupName>,
}

impl Step<'_> {
    /// Chooses what the purge expires and marks it. The inner error: a backup it names may not go.
    pub(super) async fn choose_expiring(
        &mut self,
        spec: &PurgeSpec,
    ) -> Result<Result<Expiring, TaskError>, DriveError> {
        let facts = backups::lock_facts(self.conn, &spec.cluster).await?;
        let mut chosen = match named(&facts, &spec.backups, self.now) {
            Ok(chosen) => chosen,
            Err(error) => return Ok(Err(error)),
        };
        if let Some(retention) = &spec.retention {
            let under_it = match self.under_retention(spec, &facts).await {
                Err(DriveError::State(error @ StateError::Unreadable { .. })) => {
                    let error = TaskError::permanent("RV-POLICY-UNREADABLE", error.to_string());
                    return Ok(Err(error.with_next("ringvault policy apply, then ringvault job retry")));
                }
                other => other?,
            };
            chosen.extend(
                select_expired(&under_it, retention, self.now)
                    .into_iter()
                    .map(|expiry| (expiry.backup, expiry.reason)),
            );
        }
        for (name, reason) in &chosen {
            backups::expire(self.conn, &spec.cluster, name, self.job.id, reason).await?;
        }
        let mut expire: Vec<BackupName> = chosen.into_iter().map(|(name, _)| name).collect();
        // What an earlier purge expired and did not get to take away.
        expire.extend(facts.into_iter().filter(|b| b.state == BackupState::Expired).map(|b| b.name));
        expire.sort();
        expire.dedup();
        let dead = backups::left_behind(self.conn, &spec.cluster).await?;
        Ok(Ok(Expiring { expire, dead }))
    }

    /// The backups that the retention of a backup policy is about are that policy's own; any other
    /// retention is about all of the cluster's.
    async fn under_retention(
        &mut self,
        spec: &PurgeSpec,
        facts: &[BackupFacts],
    ) -> Result<Vec<BackupFacts>, DriveError> {
        let Some(policy) = &spec.policy else { return Ok(facts.to_vec()) };
        let row = policies::find(self.conn, policy).await?;
        let is_purge_policy = row.is_some_and(|row| row.policy.action == PolicyAction::Purge);
        Ok(facts
            .iter()
            .filter(|backup| is_purge_policy || backup.policy.as_ref() == Some(policy))
            .cloned()
            .collect())
    }

    /// A backup has succeeded: if its policy has a retention, the purge that follows is accepted in
    /// the same transaction.
    pub(super) async fn purge_after_backup(&mut self) -> Result<(), DriveError> {
        let Some(name) = self.job.policy.clone() else { return Ok(()) };
        // The backup is made, whatever became of its policy.
        let Some(row) = policies::find_readable(self.conn, &name).await? else { return Ok(()) };
        let (PolicyAction::Backup, Some(retention)) = (row.policy.action, row.policy.retention) else {
            return Ok(());
        };
        let spec = JobSpec::Purge(PurgeSpec {
            cluster: self.job.cluster().clone(),
            backups: Vec::new(),
            retention: Some(retention),
            policy: Some(name.clone()),
        });
        let prepared = Prepared::unchecked(Submission {
            spec,
            source: POLICY_SOURCE.to_owned(),
            idempotency_key: format!("{name}/after/{}", self.job.id),
            requested_by: format!("policy {name}"),
            max_attempts: row.policy.retries,
            trace: self.job.trace.map(|trace| trace.own),
        });
        let submitted = match prepared {
            Ok(prepared) => crate::jobs::insert(self.ctx, self.conn, &prepared).await,
            Err(error) => Err(error),
        };
        match submitted.map_err(SubmitError::into_failure) {
            Ok(_) => Ok(()),
            Err(Ok(failure)) => Err(failure),
            Err(Err(refusal)) => {
                let job = self.job.id;
                tracing::error!(%job, policy = %name, %refusal, "no purge follows the backup");
                Ok(())
            }
        }
    }
}

/// The backups a purge names, with the reason; an error if one of them may not go.
fn named(
    facts: &[BackupFacts],
    names: &[BackupName],
    now: DateTime<Utc>,
) -> Result<Vec<(BackupName, String)>, TaskError> {
    let mut chosen = Vec::new();
    for name in names {
        let Some(backup) = facts.iter().find(|backup| backup.name == *name) else { continue };
        if backup.held {
            let message = format!("backup {name} is held: nothing was expired");
            return Err(TaskError::permanent("RV-BACKUP-HELD", message)
                .with_next(format!("ringvault hold list -c {}", backup.cluster)));
        }
        if let Some(until) = backup.locked_until.filter(|until| *until > now) {
            let message = format!("backup {name} is locked until {until}: nothing was expired");
            return Err(TaskError::permanent("RV-BACKUP-LOCKED", message)
                .with_next(format!("ringvault backup show {name} -c {}", backup.cluster)));
        }
        if backup.state.is_sealed() {
            chosen.push((name.clone(), "asked for by name".to_owned()));
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use ringvault_core::{ClusterName, JobId, backup::Scope};

    use super::*;

    fn fact(name: &str, state: BackupState, held: bool) -> BackupFacts {
        BackupFacts {
            cluster: ClusterName::new("c").unwrap(),
            name: BackupName::new(name).unwrap(),
            job: JobId::generate(),
            policy: None,
            state,
            scope: Scope::default(),
            started_at: DateTime::UNIX_EPOCH,
            held,
            tainted: false,
            locked_until: None,
        }
    }

    #[test]
    fn a_held_backup_is_not_purged_by_name_and_a_gone_one_is_no_error() {
        let facts = [
            fact("a", BackupState::Complete, false),
            fact("b", BackupState::Complete, true),
            fact("c", BackupState::Dead, false),
            BackupFacts {
                locked_until: Some(DateTime::UNIX_EPOCH + TimeDelta::days(2)),
                ..fact("locked", BackupState::Complete, false)
            },
        ];
        let purge_on = |day, names: &[&str]| {
            let names: Vec<_> = names.iter().map(|n| BackupName::new(*n).unwrap()).collect();
            named(&facts, &names, DateTime::UNIX_EPOCH + TimeDelta::days(day))
                .map(|chosen| chosen.len())
                .map_err(|error| error.code)
        };
        let purge = |names: &[&str]| purge_on(1, names);
        assert_eq!(purge(&["a", "c", "gone"]), Ok(1));
        assert_eq!(purge(&["a", "locked"]), Err("RV-BACKUP-LOCKED".to_owned()));
        assert_eq!(purge_on(2, &["a", "locked"]), Ok(2));
        assert_eq!(purge(&["a", "b"]), Err("RV-BACKUP-HELD".to_owned()));
    }
}
