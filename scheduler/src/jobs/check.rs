//! What a job must be before it is accepted.

use std::collections::BTreeSet;

use ringvault_core::{
    BackupName, ClusterName, PolicyName,
    backup::{BackupState, Scope},
    job::{BackupSpec, DigestSpec, DrillSpec, JobSpec, RestoreMethod, RestoreSpec, check_lock_seconds},
    restore::InvalidRename,
    rows::is_of_one_node,
    selection::{Selection, is_system_keyspace},
};
use ringvault_state::{
    PgConnection,
    backups::{self, NewBackup},
    holds,
    jobs::JobRow,
    registry::{clusters, topologies},
};

use super::{Submission, SubmitError};

/// What can be seen from the specification alone.
pub(super) fn meaning(spec: &JobSpec) -> Result<(), SubmitError> {
    match spec {
        JobSpec::Restore(spec) => restore_meaning(spec),
        JobSpec::Drill(spec) => drill_meaning(spec),
        JobSpec::Digest(spec) => digest_meaning(spec),
        JobSpec::Backup(spec) if spec.max_parallel_nodes == Some(0) => {
            Err(SubmitError::Invalid { field: "max_parallel_nodes", why: "begins with 1".to_owned() })
        }
        JobSpec::Backup(spec)
            if spec.max_parallel_nodes.is_none() && !spec.max_parallel_scope.is_cluster() =>
        {
            let why = "says among whom max_parallel_nodes counts, which is not given".to_owned();
            Err(SubmitError::Invalid { field: "max_parallel_scope", why })
        }
        JobSpec::Backup(BackupSpec { lock_seconds: Some(seconds), .. }) => {
            check_lock_seconds(*seconds).map_err(|why| SubmitError::Invalid { field: "lock_seconds", why })
        }
        JobSpec::Backup(_) | JobSpec::Verify(_) | JobSpec::Purge(_) => Ok(()),
    }
}

/// A backup that is to be locked goes to a vault that locks.
pub(super) fn lock(spec: &JobSpec, has_locks: bool) -> Result<(), SubmitError> {
    match spec {
        JobSpec::Backup(BackupSpec { lock_seconds: Some(_), .. }) if !has_locks => {
            Err(SubmitError::Invalid { field: "lock_seconds", why: NO_LOCKS.to_owned() })
        }
        _ => Ok(()),
    }
}

/// Why no backup can be locked.
pub const NO_LOCKS: &str =
    "asks for what this vault has not: there is no [vault.lock] in the scheduler's settings";

fn restore_meaning(spec: &RestoreSpec) -> Result<(), SubmitError> {
    if spec.drill {
        let why = "is for the tasks of a drill: ask for a job of that kind".to_owned();
        return Err(SubmitError::Invalid { field: "drill", why });
    }
    let invalid = |why: InvalidRename| SubmitError::Invalid { field: "rename", why: why.to_string() };
    spec.rename.check(&spec.selection).map_err(invalid)?;
    if spec.offline {
        offline_meaning(spec)?;
    } else if !spec.nodes.is_empty() {
        return Err(SubmitError::Unsupported { field: "nodes" });
    } else if spec.keep_old {
        let why = "is for offline restores: online nothing old is taken away".to_owned();
        return Err(SubmitError::Invalid { field: "keep_old", why });
    }
    // A plan changes nothing, so it need not be confirmed.
    if (spec.truncate || spec.offline) && !spec.plan_only && spec.confirm.as_ref() != Some(&spec.target) {
        return Err(SubmitError::NotConfirmed { target: spec.target.clone() });
    }
    Ok(())
}

/// A drill brings people's data, and nothing of Cassandra's own.
fn drill_meaning(spec: &DrillSpec) -> Result<(), SubmitError> {
    match spec.selection.named_keyspaces().find(|keyspace| is_system_keyspace(keyspace)) {
        None => Ok(()),
        Some(keyspace) => Err(SubmitError::Invalid {
            field: "selection",
            why: format!(
                "names {keyspace}: a drill makes keyspaces of its own, and a system keyspace cannot be another"
            ),
        }),
    }
}

/// A digest is of what all nodes hold together.
fn digest_meaning(spec: &DigestSpec) -> Result<(), SubmitError> {
    match spec.selection.named_keyspaces().find(|keyspace| is_of_one_node(keyspace)) {
        None => Ok(()),
        Some(keyspace) => Err(SubmitError::Invalid {
            field: "selection",
            why: format!("names {keyspace}, which is another on each node: there is nothing to compare"),
        }),
    }
}

/// An offline restore makes whole nodes what they were, in the cluster that they are of.
fn offline_meaning(spec: &RestoreSpec) -> Result<(), SubmitError> {
    let whole = "nodes come back whole, with all their tables, schema and roles";
    let rules = [
        (
            spec.source == spec.target,
            "target",
            "must be the backup's own cluster: its nodes come back with their host ids",
        ),
        (spec.selection == Selection::default(), "selection", whole),
        (spec.rename.is_empty(), "rename", whole),
        (spec.dc_map.is_empty(), "dc_map", whole),
        (!spec.with_auth, "with_auth", whole),
        (!spec.skip_schema, "skip_schema", whole),
        (!spec.truncate, "truncate", whole),
        (
            matches!(spec.method, RestoreMethod::Auto | RestoreMethod::Copy),
            "method",
            "must be copy: nodes take their own files back",
        ),
    ];
    match rules.into_iter().find(|(kept, _, _)| !kept) {
        None => Ok(()),
        Some((_, field, why)) => {
            Err(SubmitError::Invalid { field, why: format!("does not go with an offline restore: {why}") })
        }
    }
}

/// The source of what policies fire. Sources of callers have another form: `api/…`, `amqp/…`.
pub const POLICY_SOURCE: &str = "policy";

/// Backups, verifies and drills belong to a policy only if it fired them: a retention counts them as its own.
/// A purge may name the policy whose backups its retention is about.
pub(super) fn policy_claim(submission: &Submission) -> Result<(), SubmitError> {
    let claimed = match &submission.spec {
        JobSpec::Backup(_) | JobSpec::Verify(_) | JobSpec::Drill(_) => policy_of(&submission.spec).is_some(),
        JobSpec::Purge(_) | JobSpec::Restore(_) | JobSpec::Digest(_) => false,
    };
    if claimed && submission.source != POLICY_SOURCE {
        let why = "is set by the policy that fires a job, not by who asks for one".to_owned();
        return Err(SubmitError::Invalid { field: "policy", why });
    }
    Ok(())
}

/// The policy that fired a job.
pub(super) const fn policy_of(spec: &JobSpec) -> Option<&PolicyName> {
    match spec {
        JobSpec::Backup(spec) => spec.policy.as_ref(),
        JobSpec::Verify(spec) => spec.policy.as_ref(),
        JobSpec::Purge(spec) => spec.policy.as_ref(),
        JobSpec::Drill(spec) => spec.policy.as_ref(),
        JobSpec::Restore(_) | JobSpec::Digest(_) => None,
    }
}

/// The cluster that does the work is known.
pub(super) async fn cluster(conn: &mut PgConnection, spec: &JobSpec) -> Result<(), SubmitError> {
    if clusters::exists(conn, spec.cluster()).await? {
        return Ok(());
    }
    Err(SubmitError::UnknownCluster { cluster: spec.cluster().clone() })
}

/// The keyspaces that a backup or a digest names were there when the ring was last seen.
pub(super) async fn keyspaces(conn: &mut PgConnection, spec: &JobSpec) -> Result<(), SubmitError> {
    let selection = match spec {
        JobSpec::Backup(spec) => &spec.selection,
        JobSpec::Digest(spec) => &spec.selection,
        _ => return Ok(()),
    };
    let ring = topologies::present(conn, spec.cluster()).await?;
    if ring.keyspaces.is_empty() {
        return Ok(());
    }
    let mut named = selection.named_keyspaces();
    match named.find(|keyspace| !is_system_keyspace(keyspace) && !ring.keyspaces.contains_key(*keyspace)) {
        None => Ok(()),
        Some(keyspace) => Err(SubmitError::Invalid {
            field: "selection",
            why: format!("names keyspace {keyspace}, which {} was last seen not to have", spec.cluster()),
        }),
    }
}

/// Takes a new backup's name, or holds the backup that a job works on, or sees that the backups a
/// purge names may go. The job's row is there already.
pub(super) async fn claim_backup(conn: &mut PgConnection, job: &JobRow) -> Result<(), SubmitError> {
    match &job.spec {
        JobSpec::Backup(spec) => {
            let Some(name) = &spec.name else {
                let why = "was not filled in".to_owned();
                return Err(SubmitError::Invalid { field: "name", why });
            };
            let scope = Scope { selection: spec.selection.clone(), dc: spec.dc.clone() };
            let new = NewBackup {
                cluster: &spec.cluster,
                name,
                job: job.id,
                policy: spec.policy.as_ref(),
                scope: &scope,
                mode: spec.mode,
                tags: &spec.tags,
                started_at: job.created_at,
            };
            if backups::take_name(conn, &new).await? {
                return Ok(());
            }
            Err(SubmitError::NameTaken { cluster: spec.cluster.clone(), backup: name.clone() })
        }
        JobSpec::Restore(spec) => hold(conn, job, &spec.source, &spec.backup, "restored").await,
        JobSpec::Verify(spec) => hold(conn, job, &spec.cluster, &spec.backup, "verified").await,
        JobSpec::Drill(spec) => match &spec.backup {
            Some(backup) => hold(conn, job, &spec.cluster, backup, "tried").await,
            None => Err(SubmitError::NoBackup { cluster: spec.cluster.clone() }),
        },
        JobSpec::Digest(_) => Ok(()),
        JobSpec::Purge(spec) => {
            // In one order, so that two purges never wait for each other's rows.
            let in_order: BTreeSet<_> = spec.backups.iter().collect();
            for backup in in_order {
                may_go(conn, &spec.cluster, backup).await?;
            }
            Ok(())
        }
    }
}

async fn state_of(
    conn: &mut PgConnection,
    cluster: &ClusterName,
    backup: &BackupName,
) -> Result<BackupState, SubmitError> {
    let unknown = || SubmitError::UnknownBackup { cluster: cluster.clone(), backup: backup.clone() };
    backups::lock(conn, cluster, backup).await?.ok_or_else(unknown)
}

async fn hold(
    conn: &mut PgConnection,
    job: &JobRow,
    cluster: &ClusterName,
    backup: &BackupName,
    wanted: &'static str,
) -> Result<(), SubmitError> {
    let state = state_of(conn, cluster, backup).await?;
    if !state.is_sealed() {
        let (cluster, backup) = (cluster.clone(), backup.clone());
        return Err(SubmitError::BackupState { cluster, backup, state, wanted });
    }
    holds::add_for_job(conn, (cluster, backup), job.id, &job.requested_by).await?;
    Ok(())
}

async fn may_go(
    conn: &mut PgConnection,
    cluster: &ClusterName,
    backup: &BackupName,
) -> Result<(), SubmitError> {
    let state = state_of(conn, cluster, backup).await?;
    if state == BackupState::Running {
        let (cluster, backup) = (cluster.clone(), backup.clone());
        return Err(SubmitError::BackupState { cluster, backup, state, wanted: "purged" });
    }
    let by = holds::of(conn, cluster, backup).await?;
    if by.is_empty() {
        return Ok(());
    }
    Err(SubmitError::Held { cluster: cluster.clone(), backup: backup.clone(), by })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restore(extra: &str) -> Result<(), &'static str> {
        let text = format!(r#"{{"kind":"restore","source":"a","backup":"b","target":"t"{extra}}}"#);
        meaning(&serde_json::from_str(&text).unwrap()).map_err(|error| error.code())
    }

    #[test]
    fn a_lock_is_asked_of_a_vault_that_locks() {
        let backup = |seconds: u64| -> JobSpec {
            let text = format!(r#"{{"kind":"backup","cluster":"c","lock_seconds":{seconds}}}"#);
            serde_json::from_str(&text).unwrap()
        };
        let refused = |checked: Result<(), SubmitError>| checked.unwrap_err().to_string();
        assert!(refused(meaning(&backup(0))).contains("`lock_seconds` lasts a second at least"));
        assert!(refused(meaning(&backup(u64::MAX))).contains("hundred years"));
        meaning(&backup(86_400)).unwrap();
        assert!(refused(lock(&backup(86_400), false)).contains("[vault.lock]"));
        lock(&backup(86_400), true).unwrap();
        let without = serde_json::from_str(r#"{"kind":"backup","cluster":"c"}"#).unwrap();
        lock(&without, false).unwrap();
    }

    #[test]
    fn a_truncate_is_confirmed_by_the_target_s_name() {
        assert_eq!(restore(""), Ok(()));
        assert_eq!(restore(r#","truncate":true"#), Err("RV-NOT-CONFIRMED"));
        assert_eq!(restore(r#","truncate":true,"confirm":"a""#), Err("RV-NOT-CONFIRMED"));
        assert_eq!(restore(r#","truncate":true,"confirm":"t""#), Ok(()));
        assert_eq!(restore(r#","truncate":true,"plan_only":true"#), Ok(()));
    }

    #[test]
    fn a_rename_that_cannot_be_done_is_refused() {
        assert_eq!(restore(r#","rename":{"a.b":"a.c"}"#), Ok(()));
        assert_eq!(restore(r#","rename":{"a.b":"a.b"}"#), Err("RV-INVALID"));
        assert_eq!(restore(r#","rename":{"a.b":"a.c"},"selection":{"keyspaces":["z"]}"#), Err("RV-INVALID"));
    }

    #[test]
    fn an_offline_restore_is_of_whole_nodes_of_the_same_cluster() {
        let offline = |extra: &str| {
            let text = format!(
                r#"{{"kind":"restore","source":"a","backup":"b","target":"a","confirm":"a","offline":true{extra}}}"#
            );
            meaning(&serde_json::from_str(&text).unwrap()).map_err(|error| error.code())
        };
        assert_eq!(offline(""), Ok(()));
        assert_eq!(offline(r#","method":"copy","keep_old":true"#), Ok(()));
        assert_eq!(offline(r#","nodes":["00000000-0000-0000-0000-000000000001"]"#), Ok(()));
        for bad in [
            r#","truncate":true"#,
            r#","selection":{"keyspaces":["k"]}"#,
            r#","rename":{"a.b":"a.c"}"#,
            r#","dc_map":{"a":["b"]}"#,
            r#","method":"import""#,
            r#","with_auth":true"#,
        ] {
            assert_eq!(offline(bad), Err("RV-INVALID"), "{bad}");
        }
        assert_eq!(restore(r#","offline":true,"confirm":"t""#), Err("RV-INVALID"), "another cluster");
        assert_eq!(restore(r#","keep_old":true"#), Err("RV-INVALID"));
        let unconfirmed = r#"{"kind":"restore","source":"a","backup":"b","target":"a","offline":true}"#;
        let unconfirmed = meaning(&serde_json::from_str(unconfirmed).unwrap());
        assert_eq!(unconfirmed.map_err(|error| error.code()), Err("RV-NOT-CONFIRMED"));
    }

    #[test]
    fn a_drill_is_of_people_s_data() {
        let drill = |selection: &str| {
            let text = format!(r#"{{"kind":"drill","cluster":"a","selection":{selection}}}"#);
            meaning(&serde_json::from_str(&text).unwrap()).map_err(|error| error.code())
        };
        assert_eq!(drill("{}"), Ok(()));
        assert_eq!(drill(r#"{"keyspaces":["shop"],"tables":["users.names"]}"#), Ok(()));
        assert_eq!(drill(r#"{"keyspaces":["system_auth"]}"#), Err("RV-INVALID"));
        assert_eq!(drill(r#"{"tables":["system.local"]}"#), Err("RV-INVALID"));
        assert_eq!(restore(r#","drill":true"#), Err("RV-INVALID"), "a restore is none");
    }

    #[test]
    fn a_digest_is_of_what_all_nodes_hold() {
        let digest = |selection: &str| {
            let text = format!(r#"{{"kind":"digest","cluster":"a","selection":{selection}}}"#);
            meaning(&serde_json::from_str(&text).unwrap()).map_err(|error| error.code())
        };
        assert_eq!(digest("{}"), Ok(()));
        assert_eq!(digest(r#"{"keyspaces":["system_auth"]}"#), Ok(()));
        assert_eq!(digest(r#"{"tables":["system.local"]}"#), Err("RV-INVALID"));
        assert_eq!(digest(r#"{"keyspaces":["system_views"]}"#), Err("RV-INVALID"));
    }

    #[test]
    fn what_cannot_be_done_yet_is_refused() {
        let node = r#","nodes":["00000000-0000-0000-0000-000000000001"]"#;
        assert_eq!(restore(node), Err("RV-UNSUPPORTED"));
    }
}
