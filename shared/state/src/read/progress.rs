//! How far a job is: read each second by whoever watches one, so it reads the open stage's tasks
//! only and counts the others.

use chrono::{DateTime, Utc};
use ringvault_core::{
    HostId, JobId,
    api::{JobProgress, NodeProgress},
    job::{JobState, StageKind},
    task::{Progress, TaskState},
};
use sqlx::PgConnection;

use super::{
    jobs,
    stages::{Count, progress_of},
};
use crate::{
    StateResult,
    word::{Row, big_count},
};

/// A job's progress now, or `None` if there is no such job.
pub async fn of_job(conn: &mut PgConnection, id: JobId) -> StateResult<Option<JobProgress>> {
    let Some(job) = jobs::summary(conn, id).await? else {
        return Ok(None);
    };
    let row = Row::new("job", &id);
    let raw =
        sqlx::query!(r#"select stages, stage, clock_timestamp() as "now!" from jobs where id = $1"#, id.0)
            .fetch_one(&mut *conn)
            .await?;
    let kinds: Vec<StageKind> =
        raw.stages.iter().map(|stage| row.word("stages", stage)).collect::<Result<_, _>>()?;
    let open = row.count("stage", raw.stage)? as usize;
    let counts = counts(conn, id).await?;
    let clears_up = matches!(job.state, JobState::Cancelling | JobState::Abandoning);
    let (nodes, since) = open_tasks(conn, id, raw.stage, clears_up).await?;
    let mut progress = JobProgress {
        job: id,
        kind: job.kind,
        cluster: job.cluster,
        backup: job.backup,
        state: job.state,
        as_of: raw.now,
        started_at: job.started_at,
        stage: job.stage,
        percent: None,
        bytes_done: 0,
        bytes_total: 0,
        bytes_per_second: None,
        eta_seconds: None,
        stages: progress_of(&kinds, job.state, open, &counts),
        nodes,
        result: job.result,
        error: job.error,
    };
    add_up(&mut progress, since);
    Ok(Some(progress))
}

async fn counts(conn: &mut PgConnection, id: JobId) -> StateResult<Vec<Count>> {
    let rows = sqlx::query!(
        r#"select stage, state, count(*)::integer as "tasks!" from tasks
         where job = $1 and not cleanup group by stage, state"#,
        id.0
    )
    .fetch_all(conn)
    .await?;
    let row = Row::new("tasks of job", &id);
    rows.into_iter()
        .map(|raw| {
            Ok(Count {
                stage: row.count("stage", raw.stage)? as usize,
                state: row.word("state", &raw.state)?,
                tasks: row.count("tasks", raw.tasks)?,
            })
        })
        .collect()
}

/// The tasks that are under way, and when the first of them was started.
async fn open_tasks(
    conn: &mut PgConnection,
    id: JobId,
    open: i32,
    cleanup: bool,
) -> StateResult<(Vec<NodeProgress>, Option<DateTime<Utc>>)> {
    let rows = sqlx::query!(
        r#"select t.id, t.host_id, n.address as "address?", t.state, t.progress, t.error, t.started_at,
             (t.result ->> 'bytes')::bigint as bytes, (t.result ->> 'bytes_new')::bigint as bytes_new
         from tasks t left join nodes n on n.cluster = t.cluster and n.host_id = t.host_id
         where t.job = $1 and t.cleanup = $3 and ($3 or t.stage = $2) order by n.address, t.id"#,
        id.0,
        open,
        cleanup
    )
    .fetch_all(conn)
    .await?;
    let since = rows.iter().filter_map(|row| row.started_at).min();
    let alone = rows.len() == 1;
    let mut nodes = Vec::with_capacity(rows.len());
    for (index, raw) in rows.into_iter().enumerate() {
        let row = Row::new("task", &raw.id);
        let state = row.word("state", &raw.state)?;
        let mut progress: Progress = row.maybe_json("progress", raw.progress)?.unwrap_or_default();
        if state == TaskState::Succeeded
            && let Some(bytes) = raw.bytes.map(big_count)
        {
            // What was done in the end is in the answer; the last heartbeat came before.
            progress.bytes_total = bytes;
            progress.bytes_done = bytes;
            progress.bytes_reused = raw.bytes_new.map_or(0, |new| bytes.saturating_sub(big_count(new)));
        }
        let label = match (raw.address, raw.host_id) {
            (Some(address), _) if !address.is_empty() => address,
            (_, Some(host)) => host.to_string(),
            (_, None) if alone => "any worker".to_owned(),
            (_, None) => format!("part {}", index + 1),
        };
        nodes.push(NodeProgress {
            host_id: raw.host_id.map(HostId),
            label,
            state,
            percent: share_of(state, &progress).map(percent),
            progress,
            error: row.maybe_json("error", raw.error)?,
        });
    }
    Ok((nodes, since))
}

/// Part of a task's work that is done, `0.0..=1.0`; `None` while it is unknown.
fn share_of(state: TaskState, progress: &Progress) -> Option<f64> {
    #[allow(clippy::cast_precision_loss)] // shown in percent
    let part = |done: u64, total: u64| (total > 0).then(|| done.min(total) as f64 / total as f64);
    match state {
        TaskState::Succeeded => Some(1.0),
        TaskState::Ready | TaskState::Dispatched if progress.bytes_total == 0 => Some(0.0),
        _ => part(progress.bytes_done, progress.bytes_total)
            .or_else(|| part(progress.items_done, progress.items_total)),
    }
}

/// Whole percent, rounded down: 100 means done.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // between 0 and 100
fn percent(share: f64) -> u8 {
    (share * 100.0).clamp(0.0, 100.0) as u8
}

/// Adds up the open tasks. The stage's percent is by bytes where every task knows its bytes, else
/// the mean of its tasks'.
fn add_up(job: &mut JobProgress, since: Option<DateTime<Utc>>) {
    let mut reused = 0;
    for node in &job.nodes {
        let done = match node.state {
            TaskState::Succeeded => node.progress.bytes_total.max(node.progress.bytes_done),
            _ => node.progress.bytes_done,
        };
        job.bytes_done += done;
        job.bytes_total += node.progress.bytes_total.max(done);
        reused += node.progress.bytes_reused;
    }
    let all_know_bytes = job.nodes.iter().all(|node| node.progress.bytes_total > 0);
    let shares: Option<Vec<f64>> =
        job.nodes.iter().map(|node| share_of(node.state, &node.progress)).collect();
    #[allow(clippy::cast_precision_loss)] // shown in percent
    let share = match shares {
        _ if job.nodes.is_empty() => None,
        _ if all_know_bytes => Some(job.bytes_done as f64 / job.bytes_total as f64),
        Some(shares) => Some(shares.iter().sum::<f64>() / shares.len() as f64),
        None => None,
    };
    job.percent = if job.state == JobState::Succeeded { Some(100) } else { share.map(percent) };
    if job.state != JobState::Running {
        return;
    }
    let seconds = since
        .and_then(|since| u64::try_from((job.as_of - since).num_seconds()).ok())
        .filter(|seconds| *seconds > 0);
    let Some(seconds) = seconds.filter(|_| job.bytes_total > 0) else { return };
    job.bytes_per_second = Some(job.bytes_done.saturating_sub(reused) / seconds);
    let speed = job.bytes_done / seconds;
    if all_know_bytes && speed > 0 {
        job.eta_seconds = Some((job.bytes_total - job.bytes_done) / speed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringvault_core::{ClusterName, job::JobKind};

    fn node(state: TaskState, bytes_done: u64, bytes_total: u64) -> NodeProgress {
        let progress = Progress { bytes_done, bytes_total, ..Progress::default() };
        NodeProgress { host_id: None, label: String::new(), state, percent: None, progress, error: None }
    }

    fn job(nodes: Vec<NodeProgress>) -> JobProgress {
        let as_of = DateTime::UNIX_EPOCH + chrono::Duration::seconds(10);
        let mut job = JobProgress {
            job: JobId::generate(),
            kind: JobKind::Backup,
            cluster: ClusterName::new("c").unwrap(),
            backup: None,
            state: JobState::Running,
            as_of,
            started_at: None,
            stage: None,
            percent: None,
            bytes_done: 0,
            bytes_total: 0,
            bytes_per_second: None,
            eta_seconds: None,
            stages: Vec::new(),
            nodes,
            result: None,
            error: None,
        };
        add_up(&mut job, Some(DateTime::UNIX_EPOCH));
        job
    }

    #[test]
    fn percent_is_by_bytes_where_all_are_known() {
        use TaskState::{Running, Succeeded};
        let job = job(vec![node(Succeeded, 10, 100), node(Running, 100, 300)]);
        assert_eq!((job.bytes_done, job.bytes_total, job.percent), (200, 400, Some(50)));
        assert_eq!((job.bytes_per_second, job.eta_seconds), (Some(20), Some(10)));
    }

    #[test]
    fn percent_is_by_task_otherwise_and_absent_while_one_is_unknown() {
        use TaskState::{Ready, Running, Succeeded};
        let half = job(vec![node(Succeeded, 0, 0), node(Ready, 0, 0)]);
        assert_eq!((half.percent, half.eta_seconds), (Some(50), None));
        let unknown = job(vec![node(Succeeded, 0, 0), node(Running, 0, 0)]);
        assert_eq!(unknown.percent, None);
        assert_eq!(job(Vec::new()).percent, None);
    }
}
