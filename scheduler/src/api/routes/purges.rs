//! Purges: asked for, and looked at before.

use std::time::Duration;

use axum::{Json, extract::State};
use chrono::{DateTime, SecondsFormat, Utc};
use ringvault_core::{
    BackupName, ClusterName,
    api::{BackupSummary, Document, JobAccepted, PurgeKept, PurgePreview, PurgeRefusal, PurgeTarget, Role},
    backup::BackupState,
    job::{JobSpec, PurgeSpec},
    policy::{Expiry, PolicyAction, select_expired},
    task::StillLocked,
};
use ringvault_state::{
    backups as facts, policies,
    read::backups::{self, BackupFilter},
};

use super::jobs::{self, Accepted};
use crate::api::{
    ApiState,
    auth::Caller,
    extract::{Asking, Body},
    problem::ApiResult,
    route::Route,
};

/// How long the vault may take to count what would go; the preview does without it then.
const COUNTING: Duration = Duration::from_secs(20);

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/v1/purges", Role::Admin, create)
            .is("createPurge", "Asks for a purge: of backups by name, or of what a retention expires")
            .takes::<PurgeSpec>()
            .by_key()
            .answers::<Document<JobAccepted>>(202),
        Route::post("/v1/purges/preview", Role::Viewer, preview)
            .is("previewPurge", "What a purge would take away; changes nothing")
            .takes::<PurgeSpec>()
            .answers::<Document<PurgePreview>>(200),
    ]
}

async fn create(
    State(api): State<ApiState>,
    caller: Caller,
    asking: Asking,
    Body(spec): Body<PurgeSpec>,
) -> ApiResult<Accepted> {
    jobs::submit(&api, &caller, asking, JobSpec::Purge(spec)).await
}

async fn preview(
    State(api): State<ApiState>,
    Body(spec): Body<PurgeSpec>,
) -> ApiResult<Json<Document<PurgePreview>>> {
    let known = Known::read(&api, &spec).await?;
    let Known { as_of, all, dead, by_retention } = known;
    let Choice { expire, refused } = choose(&all, &spec.backups, &by_retention, as_of);
    let keep = all
        .iter()
        .filter(|backup| backup.state.is_sealed() || backup.state == BackupState::Running)
        .filter(|backup| expire.iter().all(|target| target.backup != backup.name))
        .filter(|backup| !dead.contains(&backup.name))
        .map(|backup| kept(backup, as_of))
        .collect();
    let cluster = spec.cluster;
    let names: Vec<BackupName> = expire.iter().map(|target| target.backup.clone()).collect();
    let freed = count(&api, &cluster, &names).await;
    let locked = still_locked(&api, &cluster).await;
    Ok(Json(Document::new(PurgePreview {
        cluster,
        as_of,
        expire,
        dead,
        keep,
        refused,
        objects: freed.map(|(objects, _)| objects),
        bytes: freed.map(|(_, bytes)| bytes),
        locked,
    })))
}

/// What the database knows.
pub(super) struct Known {
    pub(super) as_of: DateTime<Utc>,
    /// The oldest first.
    all: Vec<BackupSummary>,
    pub(super) dead: Vec<BackupName>,
    by_retention: Vec<Expiry>,
}

impl Known {
    pub(super) async fn read(api: &ApiState, spec: &PurgeSpec) -> ApiResult<Self> {
        let mut conn = api.conn().await?;
        let as_of = ringvault_state::now(&mut conn).await?;
        let filter = BackupFilter { cluster: Some(spec.cluster.clone()), ..BackupFilter::default() };
        let mut all = backups::list(&mut conn, &filter, None, i64::MAX).await?;
        all.reverse();
        let dead = facts::left_behind(&mut conn, &spec.cluster).await?;
        let by_retention = match &spec.retention {
            None => Vec::new(),
            Some(retention) => {
                let mut known = facts::facts(&mut conn, &spec.cluster).await?;
                if let Some(policy) = &spec.policy {
                    // As the purge itself has it: a backup policy's retention is about its own backups.
                    let row = policies::find(&mut conn, policy).await?;
                    let of_all = row.is_some_and(|row| row.policy.action == PolicyAction::Purge);
                    known.retain(|backup| of_all || backup.policy.as_ref() == Some(policy));
                }
                select_expired(&known, retention, as_of)
            }
        };
        Ok(Self { as_of, all, dead, by_retention })
    }
}

/// Objects and bytes that would go, where the vault says so in time.
async fn count(api: &ApiState, cluster: &ClusterName, names: &[BackupName]) -> Option<(u64, u64)> {
    let counting = api.ctx.vault.purge_preview(cluster, names);
    match tokio::time::timeout(COUNTING, counting).await {
        Ok(Ok(preview)) => Some((preview.objects, preview.bytes)),
        Ok(Err(error)) => {
            tracing::warn!(%cluster, %error, "what a purge would free could not be counted");
            None
        }
        Err(_) => None,
    }
}

/// What the last purge left because it was locked, and cannot be deleted yet.
async fn still_locked(api: &ApiState, cluster: &ClusterName) -> Option<StillLocked> {
    let asking = api.ctx.vault.still_waiting(cluster);
    match tokio::time::timeout(COUNTING, asking).await {
        Ok(Ok(locked)) => locked,
        Ok(Err(error)) => {
            tracing::warn!(%cluster, %error, "what is still locked could not be seen");
            None
        }
        Err(_) => None,
    }
}

/// What the retention would expire, the oldest first.
pub(super) fn by_retention(known: &Known) -> Vec<PurgeTarget> {
    choose(&known.all, &[], &known.by_retention, known.as_of).expire
}

struct Choice {
    expire: Vec<PurgeTarget>,
    refused: Vec<PurgeRefusal>,
}

/// What goes, by name or by retention, the oldest first; and what was named and cannot.
fn choose(
    all: &[BackupSummary],
    named: &[BackupName],
    by_retention: &[Expiry],
    now: DateTime<Utc>,
) -> Choice {
    let mut refused = Vec::new();
    for name in named {
        let reason = match all.iter().find(|backup| backup.name == *name) {
            None => "there is no such backup".to_owned(),
            Some(backup) if !backup.holds.is_empty() => format!("held by {}", backup.holds.join(", ")),
            Some(backup) if backup.state == BackupState::Running => "it is running".to_owned(),
            Some(backup) if backup.state == BackupState::Expired => "it has expired already".to_owned(),
            Some(backup) if is_locked(backup, now) => locked(backup),
            Some(_) => continue,
        };
        refused.push(PurgeRefusal { backup: name.clone(), reason });
    }
    let reason_of = |backup: &BackupSummary| {
        let by_name = named.contains(&backup.name)
            && backup.state.is_sealed()
            && refused.iter().all(|refusal| refusal.backup != backup.name);
        let by_retention = by_retention.iter().find(|expiry| expiry.backup == backup.name);
        by_retention
            .map(|expiry| expiry.reason.clone())
            .or_else(|| by_name.then(|| "asked for by name".to_owned()))
    };
    let expire = all
        .iter()
        .filter_map(|backup| {
            Some(PurgeTarget {
                reason: reason_of(backup)?,
                backup: backup.name.clone(),
                state: backup.state,
                started_at: backup.started_at,
                bytes: backup.figures.bytes,
                bytes_new: backup.figures.bytes_new,
            })
        })
        .collect();
    Choice { expire, refused }
}

fn is_locked(backup: &BackupSummary, now: DateTime<Utc>) -> bool {
    backup.locked_until.is_some_and(|until| until > now)
}

fn locked(backup: &BackupSummary) -> String {
    let until = backup.locked_until.map(|until| until.to_rfc3339_opts(SecondsFormat::Secs, true));
    format!("locked until {}", until.unwrap_or_default())
}

fn kept(backup: &BackupSummary, now: DateTime<Utc>) -> PurgeKept {
    let reason = if !backup.holds.is_empty() {
        format!("held by {}", backup.holds.join(", "))
    } else if backup.state == BackupState::Running {
        "it is running".to_owned()
    } else if is_locked(backup, now) {
        locked(backup)
    } else {
        "kept by the retention, or not asked for".to_owned()
    };
    PurgeKept { backup: backup.name.clone(), state: backup.state, started_at: backup.started_at, reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringvault_core::{JobId, backup::BackupFigures};

    fn backup(name: &str, state: BackupState, holds: &[&str]) -> BackupSummary {
        BackupSummary {
            cluster: ClusterName::new("c").unwrap(),
            name: BackupName::new(name).unwrap(),
            job: JobId::generate(),
            policy: None,
            state,
            started_at: DateTime::UNIX_EPOCH,
            sealed_at: None,
            figures: BackupFigures::default(),
            verified: None,
            locked_until: None,
            holds: holds.iter().map(ToString::to_string).collect(),
            tainted: false,
            tags: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn what_is_named_goes_unless_it_is_held_running_gone_or_unknown() {
        let later = DateTime::UNIX_EPOCH + chrono::TimeDelta::days(1);
        let all = [
            backup("whole", BackupState::Complete, &[]),
            backup("held", BackupState::Complete, &["LIT-7"]),
            backup("running", BackupState::Running, &[]),
            backup("expired", BackupState::Expired, &[]),
            backup("old", BackupState::Covering, &[]),
            BackupSummary { locked_until: Some(later), ..backup("locked", BackupState::Complete, &[]) },
        ];
        let named = ["whole", "held", "running", "expired", "none", "locked"];
        let named: Vec<_> = named.into_iter().map(|name| BackupName::new(name).unwrap()).collect();
        let old = Expiry { backup: BackupName::new("old").unwrap(), reason: "too old".to_owned() };
        let Choice { expire, refused } = choose(&all, &named, &[old], DateTime::UNIX_EPOCH);
        let goes: Vec<_> = expire.iter().map(|t| (t.backup.as_str(), t.reason.as_str())).collect();
        assert_eq!(goes, [("whole", "asked for by name"), ("old", "too old")]);
        let stays: Vec<_> = refused.iter().map(|r| r.backup.as_str()).collect();
        assert_eq!(stays, ["held", "running", "expired", "none", "locked"]);
        assert_eq!(refused[4].reason, "locked until 1970-01-02T00:00:00Z");
    }
}
