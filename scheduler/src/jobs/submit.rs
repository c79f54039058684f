//! Accepting a job: once for its `(source, idempotency_key)`.
//!
//! What needs the vault is asked before the transaction; everything that another request could
//! change meanwhile is checked again inside it, under locks. The inbox row, the job, its backup's
//! name or hold, and the `job.created` event are written together or not at all.

use chrono::TimeDelta;
use ringvault_core::{
    BackupName, JobId,
    backup::default_backup_name,
    job::{BackupSpec, DrillSpec, Job, JobSpec, Limits, stages_of},
    trace::TraceParent,
};
use ringvault_fault::around;
use ringvault_state::{
    PgConnection, StateError, backups, inbox,
    jobs::{self, JobRow},
    log::{self, Line},
};
use ringvault_vault::{StoreErrorKind, layout};
use sha2::{Digest, Sha256};

use super::{SubmitError, ability, check, data_centers};
use crate::{Context, workflow::announce};

/// A job that somebody asks for.
#[derive(Debug, Clone)]
pub struct Submission {
    /// What it shall do.
    pub spec: JobSpec,
    /// The system that asks, such as `api` or another system's name.
    pub source: String,
    /// Makes it happen once; for those who have none, a random one.
    pub idempotency_key: String,
    /// On whose behalf, such as `token deploy` or `policy nightly`.
    pub requested_by: String,
    /// Attempts of each task, where a policy says so.
    pub max_attempts: Option<u32>,
    /// Where in a trace it was asked for, if whoever asks traces that.
    pub trace: Option<TraceParent>,
}

/// A job that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// The job.
    pub job: JobId,
    /// It existed already: the same request came before.
    pub existing: bool,
    /// The backup it makes or works on.
    pub backup: Option<BackupName>,
}

/// A submission that the vault has nothing against.
#[derive(Debug, Clone)]
pub struct Prepared {
    submission: Submission,
    body_hash: Vec<u8>,
    /// The backup's name was chosen here, so another will do as well.
    named_here: bool,
}

impl Prepared {
    /// Of a submission that needs nothing of the vault: no backup.
    pub fn unchecked(submission: Submission) -> Result<Self, SubmitError> {
        let body_hash = hash(&submission.spec)?;
        Ok(Self { submission, body_hash, named_here: false })
    }
}

impl Prepared {
    /// Whether the job was refused only because somebody else took the name that was chosen for its
    /// backup in the meantime: prepared again, it gets another one.
    pub const fn lost_its_name(&self, error: &SubmitError) -> bool {
        self.named_here && matches!(error, SubmitError::NameTaken { .. })
    }
}

/// Tries for a free name, a second apart, for a backup that nobody named.
const NAME_TRIES: i64 = 60;
/// Times that a name may be lost to another backup of the same second.
const RACES: u32 = 20;

/// Accepts a job.
pub async fn submit_job(ctx: &Context, submission: Submission) -> Result<Submitted, SubmitError> {
    let mut races = 0;
    loop {
        let prepared = prepare(ctx, submission.clone()).await?;
        let mut tx = ctx.db.begin().await.map_err(StateError::from)?;
        match insert(ctx, &mut tx, &prepared).await {
            Ok(submitted) => {
                ringvault_state::commit(tx, around!("job.submit")).await?;
                ctx.wake.all();
                return Ok(submitted);
            }
            Err(error) if prepared.lost_its_name(&error) && races < RACES => races += 1,
            Err(error) => return Err(error),
        }
    }
}

/// What would come of a submission; all of it is done and rolled back, so that it is refused for every
/// reason that it would be. Also refused is what would be accepted in vain: keyspaces that the ring was
/// last seen not to have.
pub async fn dry_submit(ctx: &Context, submission: Submission) -> Result<Submitted, SubmitError> {
    let prepared = prepare(ctx, submission).await?;
    let mut tx = ctx.db.begin().await.map_err(StateError::from)?;
    let submitted = insert(ctx, &mut tx, &prepared).await?;
    check::keyspaces(&mut tx, &prepared.submission.spec).await?;
    tx.rollback().await.map_err(StateError::from)?;
    Ok(submitted)
}

/// Checks what can be checked without a transaction: the specification's meaning, and for a backup
/// that the vault's place for its name is free (the database may have forgotten it). A drill that names no
/// backup gets the newest that can be restored.
pub async fn prepare(ctx: &Context, mut submission: Submission) -> Result<Prepared, SubmitError> {
    check::meaning(&submission.spec)?;
    check::lock(&submission.spec, ctx.vault.store().lock().is_some())?;
    check::policy_claim(&submission)?;
    let body_hash = hash(&submission.spec)?;
    let mut named_here = false;
    if let JobSpec::Backup(spec) = &mut submission.spec {
        named_here = spec.name.is_none();
        let came_before = async || {
            let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
            inbox::find(&mut conn, &submission.source, &submission.idempotency_key).await
        };
        if came_before().await?.is_none() {
            match name_for(ctx, spec).await {
                Ok(name) => spec.name = Some(name),
                // Taken by this very request, sent twice at once: it is found to have come before.
                Err(SubmitError::NameTaken { .. }) if came_before().await?.is_some() => {}
                Err(error) => return Err(error),
            }
        }
    }
    if let JobSpec::Drill(DrillSpec { cluster, backup: backup @ None, .. }) = &mut submission.spec {
        let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
        *backup = backups::newest_restorable(&mut conn, cluster).await?;
    }
    Ok(Prepared { submission, body_hash, named_here })
}

/// The name asked for, if it is free; or one made of cluster and time.
async fn name_for(ctx: &Context, spec: &BackupSpec) -> Result<BackupName, SubmitError> {
    if let Some(backup) = spec.name.clone() {
        if is_free(ctx, spec, &backup).await? {
            return Ok(backup);
        }
        return Err(SubmitError::NameTaken { cluster: spec.cluster.clone(), backup });
    }
    let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
    let now = ringvault_state::now(&mut conn).await?;
    drop(conn);
    for later in 0..NAME_TRIES {
        let name = default_backup_name(&spec.cluster, now + TimeDelta::seconds(later));
        if is_free(ctx, spec, &name).await? {
            return Ok(name);
        }
    }
    Err(SubmitError::Invalid {
        field: "name",
        why: "must be given: the names of this minute are taken".into(),
    })
}

/// Whether neither the database nor the vault knows the name. No connection is kept while the vault
/// is asked, which may take long.
async fn is_free(ctx: &Context, spec: &BackupSpec, name: &BackupName) -> Result<bool, SubmitError> {
    let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
    let known = backups::exists(&mut conn, &spec.cluster, name).await?;
    drop(conn);
    if known {
        return Ok(false);
    }
    match ctx.vault.store().head(&layout::start(&spec.cluster, name)).await {
        Ok(_) => Ok(false),
        Err(error) if error.kind == StoreErrorKind::NotFound => Ok(true),
        Err(error) => Err(SubmitError::Vault(error.into())),
    }
}

/// Writes a prepared job. On an error the caller's transaction must be rolled back.
pub async fn insert(
    ctx: &Context,
    conn: &mut PgConnection,
    prepared: &Prepared,
) -> Result<Submitted, SubmitError> {
    let Prepared { submission, body_hash, .. } = prepared;
    let Submission { source, idempotency_key, .. } = submission;
    let id = JobId::generate();
    if !inbox::take(conn, source, idempotency_key, body_hash, Some(id)).await? {
        return existing(conn, prepared).await;
    }
    let created_at = ringvault_state::now(conn).await?;
    let job = JobRow {
        id,
        spec: submission.spec.clone(),
        machine: Job::new(submission.spec.kind(), stages_of(&submission.spec)),
        source: source.clone(),
        idempotency_key: idempotency_key.clone(),
        requested_by: submission.requested_by.clone(),
        policy: check::policy_of(&submission.spec).cloned(),
        max_attempts: submission.max_attempts,
        said: Limits::default(),
        created_at,
        state_since: created_at,
        started_at: None,
        ended_at: None,
        outcome: None,
        error: None,
        cleanup_opened: false,
        cleanup_until: None,
        trace: ringvault_telemetry::begin_job(submission.trace),
    };
    check::cluster(conn, &job.spec).await?;
    data_centers::asked_of(conn, &job.spec).await?;
    data_centers::limited(conn, &job).await?;
    ability::check(ctx, conn, &job.spec).await?;
    jobs::insert(conn, &job).await?;
    check::claim_backup(conn, &job).await?;
    let line = Line::job_created(id, &job.machine, created_at, &submission.requested_by)?;
    log::write(conn, &[line]).await?;
    announce::job_created(ctx, conn, &job).await?;
    let backup = job.backup().map(|(_, name)| tracing::field::display(name));
    let trace_id = job.trace.map(|trace| tracing::field::display(trace.own.trace));
    tracing::info!(job = %id, kind = job.machine.kind.as_str(), cluster = %job.cluster(), backup, trace_id, "job accepted");
    Ok(Submitted { job: id, existing: false, backup: job.backup().map(|(_, name)| name.clone()) })
}

async fn existing(conn: &mut PgConnection, prepared: &Prepared) -> Result<Submitted, SubmitError> {
    let Submission { source, idempotency_key, .. } = &prepared.submission;
    let earlier = inbox::find(conn, source, idempotency_key).await?;
    let reused = || SubmitError::KeyReused { source_name: source.clone(), key: idempotency_key.clone() };
    let earlier = earlier.filter(|e| e.body_hash == prepared.body_hash).ok_or_else(reused)?;
    let job = earlier.job.ok_or_else(reused)?;
    let row = jobs::load(conn, job).await?;
    let backup = row.as_ref().and_then(JobRow::backup).map(|(_, name)| name.clone());
    Ok(Submitted { job, existing: true, backup })
}

/// SHA-256 of what was asked for, as asked: before a name is filled in.
fn hash(spec: &JobSpec) -> Result<Vec<u8>, SubmitError> {
    let body = serde_json::to_vec(spec)
        .map_err(|why| SubmitError::Invalid { field: "spec", why: why.to_string() })?;
    Ok(Sha256::new().chain_update("job.create\n").chain_update(body).finalize().to_vec())
}
