//! The cache of backups, where two could decide about one backup at the same time.

use std::collections::BTreeMap;

use chrono::Utc;
use ringvault_core::{
    BackupName, ClusterName, JobId,
    backup::{BackupFigures, BackupState},
    cluster::{Coverage, CoverageReport},
    job::BackupMode,
    task::SealResult,
};
use ringvault_state::{
    PgConnection,
    backups::{self, NewBackup},
    holds,
};
use sqlx::PgPool;

fn names() -> (ClusterName, BackupName) {
    (ClusterName::new("c").expect("a name"), BackupName::new("b1").expect("a name"))
}

async fn begin(conn: &mut PgConnection) -> (ClusterName, BackupName) {
    let (cluster, name) = names();
    let new = NewBackup {
        cluster: &cluster,
        name: &name,
        job: JobId::generate(),
        policy: None,
        scope: &ringvault_core::backup::Scope::default(),
        mode: BackupMode::Incremental,
        tags: &BTreeMap::new(),
        started_at: Utc::now(),
    };
    assert!(backups::take_name(conn, &new).await.expect("written"));
    assert!(!backups::take_name(conn, &new).await.expect("looked"), "a name is taken once");
    (cluster, name)
}

fn seal() -> SealResult {
    let coverage = Coverage::Complete;
    SealResult {
        coverage,
        report: CoverageReport { coverage, keyspaces: BTreeMap::new(), missing: Vec::new() },
        sealed_at: Utc::now(),
        figures: BackupFigures::default(),
        remarks: Vec::new(),
        locked_until: None,
    }
}

/// A restore of the cluster that has set off its truncate.
async fn restore(conn: &mut PgConnection, state: &str, ended: bool) {
    sqlx::query("insert into clusters (name) values ('c') on conflict do nothing")
        .execute(&mut *conn)
        .await
        .expect("the cluster");
    sqlx::query(
        "insert into jobs (id, kind, cluster, spec, state, stages, source, idempotency_key, requested_by,
             past_no_return, ended_at)
         values ($1, 'restore', 'c', '{}', $2, '{truncate}', 't', 'k', 't', true,
             case when $3 then now() - interval '1 hour' end)",
    )
    .bind(JobId::generate().0)
    .bind(state)
    .bind(ended)
    .execute(conn)
    .await
    .expect("the restore");
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_backup_beside_a_restore_past_its_truncate_is_tainted(db: PgPool) {
    for (state, ended, tainted) in [
        ("running", false, true),
        ("failed", true, true),
        ("abandoned", true, true),
        ("succeeded", true, false),
    ] {
        let mut tx = db.begin().await.expect("a transaction");
        let (cluster, name) = begin(&mut tx).await;
        restore(&mut tx, state, ended).await;
        assert!(backups::sealed(&mut tx, &cluster, &name, &seal()).await.expect("sealed"));
        let again = backups::sealed(&mut tx, &cluster, &name, &seal()).await.expect("sealed");
        assert!(!again, "it is known");
        let facts = backups::facts(&mut tx, &cluster).await.expect("read");
        assert_eq!(facts[0].tainted, tainted, "a restore that is {state}");
        let newest = backups::newest_restorable(&mut tx, &cluster).await.expect("looked");
        assert_eq!(newest.is_none(), tainted);
        tx.rollback().await.expect("as it was");
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_hold_and_an_expiry_see_each_other(db: PgPool) {
    let mut conn = db.acquire().await.expect("a connection");
    let (cluster, name) = begin(&mut conn).await;
    backups::sealed(&mut conn, &cluster, &name, &seal()).await.expect("sealed");
    let mut purge = db.begin().await.expect("a transaction");
    let facts = backups::lock_facts(&mut purge, &cluster).await.expect("locked");
    assert!(!facts[0].held);
    let holder = tokio::spawn({
        let (db, cluster, name) = (db.clone(), cluster.clone(), name.clone());
        async move {
            let mut tx = db.begin().await.expect("a transaction");
            backups::lock(&mut tx, &cluster, &name).await.expect("locked, once the purge is through")
        }
    });
    let reason = "asked for";
    backups::expire(&mut purge, &cluster, &name, JobId::generate(), reason).await.expect("expired");
    purge.commit().await.expect("committed");
    assert_eq!(holder.await.expect("no panic"), Some(BackupState::Expired));

    let added = holds::add_by_name(&mut conn, (&cluster, &name), "LIT-7", None, "t").await;
    assert!(added.expect("written"));
    let facts = backups::facts(&mut conn, &cluster).await.expect("read");
    assert!(facts[0].held);
    assert!(
        holds::release_by_name(&mut conn, (&cluster, &name), "LIT-7", ("tester", "over"))
            .await
            .expect("written")
    );
    assert!(holds::of(&mut conn, &cluster, &name).await.expect("read").is_empty());
}
