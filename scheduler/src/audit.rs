//! The audit log: what was done is written with it (`record`); the leader puts entries into the
//! chain and tells the vault where it ends.

use std::time::Duration;

use chrono::TimeDelta;
use ringvault_core::{ClusterName, api::RateLimit, job::JobSpec};
use ringvault_fault::around;
use ringvault_state::{
    PgConnection, StateError, StateResult,
    audit::{self, Deed},
    jobs::JobRow,
};
use ringvault_vault::VaultError;
use serde_json::{Value, json};

use crate::Context;

/// Entries that get their place at once.
const BATCH: i64 = 500;
/// Longest spell of one pass.
const SPELL: Duration = Duration::from_secs(2);

/// Why the log could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The database.
    #[error(transparent)]
    State(#[from] StateError),
    /// The vault.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// Writes down what this transaction does.
pub(crate) async fn record(
    conn: &mut PgConnection,
    actor: &str,
    action: &str,
    cluster: Option<&ClusterName>,
    target: &str,
    details: &Value,
) -> StateResult<()> {
    audit::record(conn, Deed { actor, action, cluster, target, details }).await
}

/// A job was asked for.
pub(crate) async fn job_created(conn: &mut PgConnection, job: &JobRow) -> StateResult<()> {
    let details = json!({ "spec": job.spec, "source": job.source, "idempotency_key": job.idempotency_key });
    of_job(conn, job, &job.requested_by, "job.create", &details).await
}

/// A job was told something.
pub(crate) async fn job_told(
    conn: &mut PgConnection,
    job: &JobRow,
    actor: &str,
    word: &str,
) -> StateResult<()> {
    of_job(conn, job, actor, &format!("job.{word}"), &about(job)).await
}

/// A job's nodes were told how fast they may go.
pub(crate) async fn job_limits(
    conn: &mut PgConnection,
    job: &JobRow,
    actor: &str,
    limit: &RateLimit,
) -> StateResult<()> {
    let mut details = about(job);
    if let (Some(fields), Value::Object(said)) = (details.as_object_mut(), json!(limit)) {
        fields.extend(said);
    }
    of_job(conn, job, actor, "job.rate", &details).await
}

/// A job has ended, for now or for good.
pub(crate) async fn job_ended(conn: &mut PgConnection, job: &JobRow, actor: &str) -> StateResult<()> {
    let mut details = about(job);
    if let (Some(error), Some(fields)) = (&job.error, details.as_object_mut()) {
        fields.insert("error".to_owned(), json!({ "code": error.code, "message": error.message }));
    }
    let action = format!("job.{}", job.machine.state.as_str());
    of_job(conn, job, actor, &action, &details).await
}

fn about(job: &JobRow) -> Value {
    let mut details = json!({ "kind": job.machine.kind.as_str() });
    if let Some(fields) = details.as_object_mut() {
        if let Some((of, backup)) = job.backup() {
            fields.insert("backup".to_owned(), json!(backup));
            fields.insert("backup_of".to_owned(), json!(of));
        }
        if let JobSpec::Verify(spec) = &job.spec {
            fields.insert("level".to_owned(), json!(spec.level.as_str()));
        }
    }
    details
}

async fn of_job(
    conn: &mut PgConnection,
    job: &JobRow,
    actor: &str,
    action: &str,
    details: &Value,
) -> StateResult<()> {
    record(conn, actor, action, Some(job.cluster()), &format!("job {}", job.id), details).await
}

/// Puts what was written into the chain.
pub async fn chain(ctx: &Context) -> StateResult<()> {
    let until = std::time::Instant::now() + SPELL;
    loop {
        let mut tx = ctx.db.begin().await.map_err(StateError::from)?;
        let chained = audit::chain(&mut tx, BATCH).await?;
        ringvault_state::commit(tx, around!("audit.chain")).await?;
        if i64::try_from(chained).unwrap_or(i64::MAX) < BATCH || std::time::Instant::now() >= until {
            return Ok(());
        }
    }
}

/// Tells the vault where the chain ends, if it does not know; at most once in `every`.
pub async fn anchor(ctx: &Context, every: TimeDelta) -> Result<(), AuditError> {
    let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
    let head = audit::head(&mut conn).await?;
    let now = ringvault_state::now(&mut conn).await?;
    drop(conn);
    if head.seq <= head.anchored || head.anchored_at.is_some_and(|at| now - at < every) {
        return Ok(());
    }
    ctx.vault.put_audit_anchor(head.chain, head.seq, &head.hash, now).await?;
    let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
    around!("audit.anchored").run(audit::anchored(&mut conn, head.seq)).await?;
    Ok(())
}
