//! A job's full story: its tasks with every attempt, what happened when, and what came of it.

use std::collections::BTreeMap;

use ringvault_core::{
    HostId, JobId, TaskId, WorkerId,
    api::{AttemptView, JobDetail, JobOutcome, PurgeOutcome, RestoreOutcome, TaskView, TransitionView},
    job::StageKind,
    rows::TableDigest,
    task::TaskResult,
    trace::TraceParent,
};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    jobs,
    stages::{Count, progress_of},
};
use crate::{StateResult, word::Row};

/// Lines of the transition log that are told; of a longer log the first and the newest, so that one
/// sees how it began and where it is.
const FIRST_TRANSITIONS: i64 = 500;
const NEWEST_TRANSITIONS: i64 = 1500;

/// Findings that are told of a verify; the vault has all.
const MAX_FINDINGS: usize = 1000;

/// Everything that is known of a job.
pub async fn detail(conn: &mut PgConnection, id: JobId) -> StateResult<Option<JobDetail>> {
    let Some(summary) = jobs::summary(conn, id).await? else {
        return Ok(None);
    };
    let job = sqlx::query!(
        "select spec, stages, stage, rate_limit, request_limit, data_center_limits, traceparent
         from jobs where id = $1",
        id.0
    )
    .fetch_one(&mut *conn)
    .await?;
    let row = Row::new("job", &id);
    let said = row.limits(job.rate_limit, job.request_limit, job.data_center_limits)?;
    let kinds: Vec<StageKind> =
        job.stages.iter().map(|stage| row.word("stages", stage)).collect::<Result<_, _>>()?;
    let open = row.count("stage", job.stage)? as usize;
    let (tasks, results) = tasks(conn, id).await?;
    let counts: Vec<Count> = tasks
        .iter()
        .filter(|(_, task)| !task.cleanup)
        .map(|(stage, task)| Count { stage: *stage, state: task.state, tasks: 1 })
        .collect();
    let mut outcome = JobOutcome::default();
    for result in results {
        add(&mut outcome, result);
    }
    Ok(Some(JobDetail {
        stages: progress_of(&kinds, summary.state, open, &counts),
        spec: row.spec(job.spec)?,
        rate_limit: said.everywhere.rate_limit,
        request_limit: said.everywhere.request_limit,
        data_center_limits: said.data_centers,
        trace_id: job.traceparent.and_then(|text| text.parse::<TraceParent>().ok()).map(|own| own.trace),
        tasks: tasks.into_iter().map(|(_, task)| task).collect(),
        transitions: transitions(conn, id).await?,
        outcome,
        summary,
    }))
}

/// The tasks in the order of their stages, each with the index of its stage, and their results.
async fn tasks(
    conn: &mut PgConnection,
    job: JobId,
) -> StateResult<(Vec<(usize, TaskView)>, Vec<TaskResult>)> {
    let mut attempts = attempts(conn, job).await?;
    let rows = sqlx::query!(
        r#"select t.id, t.stage, t.kind, t.cleanup, t.host_id, coalesce(n.address, '') as "address!",
             t.state, t.epoch, t.run_at, t.waiting_since, t.worker, t.progress, t.progress_at, t.error,
             t.result
         from tasks t left join nodes n on n.cluster = t.cluster and n.host_id = t.host_id
         where t.job = $1 order by t.cleanup, t.stage, n.address, t.id"#,
        job.0
    )
    .fetch_all(conn)
    .await?;
    let mut views = Vec::with_capacity(rows.len());
    let mut results = Vec::new();
    for raw in rows {
        let row = Row::new("task", &raw.id);
        results.extend(row.maybe_json::<TaskResult>("result", raw.result)?);
        let view = TaskView {
            id: TaskId(raw.id),
            stage: row.word("kind", &raw.kind)?,
            cleanup: raw.cleanup,
            host_id: raw.host_id.map(HostId),
            address: raw.address,
            state: row.word("state", &raw.state)?,
            epoch: row.count("epoch", raw.epoch)?,
            run_at: raw.run_at,
            waiting_since: raw.waiting_since,
            worker: raw.worker.map(WorkerId),
            progress: row.maybe_json("progress", raw.progress)?,
            heard_at: raw.progress_at,
            error: row.maybe_json("error", raw.error)?,
            attempts: attempts.remove(&raw.id).unwrap_or_default(),
        };
        views.push((row.count("stage", raw.stage)? as usize, view));
    }
    Ok((views, results))
}

async fn attempts(conn: &mut PgConnection, job: JobId) -> StateResult<BTreeMap<Uuid, Vec<AttemptView>>> {
    let rows = sqlx::query!(
        "select a.task, a.epoch, a.worker, a.dispatched_at, a.granted_at, a.ended_at, a.outcome, a.error
         from attempts a join tasks t on t.id = a.task where t.job = $1 order by a.task, a.epoch",
        job.0
    )
    .fetch_all(conn)
    .await?;
    let mut by_task: BTreeMap<Uuid, Vec<AttemptView>> = BTreeMap::new();
    for raw in rows {
        let row = Row::new("attempt of task", &raw.task);
        by_task.entry(raw.task).or_default().push(AttemptView {
            epoch: row.count("epoch", raw.epoch)?,
            worker: WorkerId(raw.worker),
            placed_at: raw.dispatched_at,
            started_at: raw.granted_at,
            ended_at: raw.ended_at,
            outcome: raw.outcome,
            error: row.maybe_json("error", raw.error)?,
        });
    }
    Ok(by_task)
}

async fn transitions(conn: &mut PgConnection, job: JobId) -> StateResult<Vec<TransitionView>> {
    let rows = sqlx::query!(
        r#"with told as (
             (select id from transitions where job = $1 order by id limit $2)
             union (select id from transitions where job = $1 order by id desc limit $3))
         select t.at, t.task, t.event, t.from_state, t.to_state, t.actor
         from transitions t join told on told.id = t.id order by t.id"#,
        job.0,
        FIRST_TRANSITIONS,
        NEWEST_TRANSITIONS,
    )
    .fetch_all(conn)
    .await?;
    let view = |event: Option<&serde_json::Value>| {
        let text = |pointer| {
            event
                .and_then(|event| event.pointer(pointer))
                .and_then(serde_json::Value::as_str)
                .map(str::to_owned)
        };
        (text("/event").unwrap_or_else(|| "created".to_owned()), text("/error/message"))
    };
    Ok(rows
        .into_iter()
        .map(|row| {
            let (event, detail) = view(row.event.as_ref());
            TransitionView {
                at: row.at,
                task: row.task.map(TaskId),
                event,
                from: row.from_state,
                to: row.to_state,
                by: row.actor,
                detail,
            }
        })
        .collect())
}

/// Adds what one task brought to what came of the job.
fn add(outcome: &mut JobOutcome, result: TaskResult) {
    match result {
        TaskResult::Seal(seal) => outcome.seal = Some(seal),
        TaskResult::Plan(plan) => outcome.plan = Some(plan),
        TaskResult::Preflight(preflight) => outcome.preflight.push(preflight),
        TaskResult::Download(download) => restored(outcome).bytes_downloaded += download.bytes,
        TaskResult::Schema(schema) => restored(outcome).created = schema.created,
        TaskResult::Apply(apply) => {
            let restored = restored(outcome);
            restored.sstables += apply.sstables;
            restored.bytes += apply.bytes;
        }
        TaskResult::Settle(settle) if !settle.kept.is_empty() => restored(outcome).kept.extend(settle.kept),
        TaskResult::Settle(_) => {}
        TaskResult::Validate(validate) => {
            let restored = restored(outcome);
            restored.rows_read += validate.rows_read;
            restored.problems.extend(validate.problems);
        }
        TaskResult::Check(check) => {
            outcome.objects += check.objects;
            outcome.bytes += check.bytes;
            outcome.damaged += check.damaged;
            let room = MAX_FINDINGS.saturating_sub(outcome.findings.len());
            outcome.findings.extend(check.findings.into_iter().take(room));
        }
        TaskResult::Mark(mark) => {
            let locked = outcome.purge.take().and_then(|purge| purge.locked);
            outcome.purge = Some(PurgeOutcome {
                locked,
                purge: mark.purge,
                expired: mark.expired,
                aborted: mark.aborted,
                objects: mark.objects,
                bytes: mark.bytes,
            });
        }
        TaskResult::Digest(digest) => {
            let rows = outcome.rows.get_or_insert_default();
            rows.tables = rows.tables.max(digest.tables.len() as u64);
            rows.rows += digest.tables.iter().map(TableDigest::rows).sum::<u64>();
        }
        TaskResult::Sweep(sweep) => {
            outcome.objects += sweep.objects;
            outcome.bytes += sweep.bytes;
        }
        TaskResult::Report(report) if report.locked.is_some() => {
            outcome.purge.get_or_insert_with(PurgeOutcome::default).locked = report.locked;
        }
        TaskResult::Snapshot(_)
        | TaskResult::Upload(_)
        | TaskResult::Release { .. }
        | TaskResult::Report(_)
        | TaskResult::Truncate(_) => {}
    }
}

fn restored(outcome: &mut JobOutcome) -> &mut RestoreOutcome {
    outcome.restored.get_or_insert_with(RestoreOutcome::default)
}
