//! What is to be placed, and what its time has run out for.

use std::collections::BTreeMap;

use chrono::Duration;
use ringvault_core::{
    ClusterName, HostId, JobId, TaskId, WorkerId,
    job::{BackupSpec, JobSpec, ParallelRoom, Placement, StageKind},
};
use sqlx::PgConnection;

use super::row::read_placement;
use crate::{
    StateResult,
    jobs::JobRow,
    word::{self, Row},
};

/// A task that may be placed now.
#[derive(Debug, Clone)]
pub struct Ready {
    /// The task.
    pub id: TaskId,
    /// Its job.
    pub job: JobId,
    /// The cluster whose workers may do it.
    pub cluster: ClusterName,
    /// Its kind, which decides the slot it takes.
    pub kind: StageKind,
    /// Where it may run.
    pub placement: Placement,
    /// Its workers were lost with it, and another loss would be its end: it may be what they die of, or
    /// have been beside it.
    pub on_trial: bool,
}

/// The clusters that have tasks to be placed now.
pub async fn waiting_clusters(conn: &mut PgConnection) -> StateResult<Vec<ClusterName>> {
    let rows = sqlx::query_scalar!(
        "select distinct j.cluster from jobs j
         where j.state in ('running', 'cancelling', 'abandoning') and exists (
             select from tasks t
             where t.job = j.id and t.state = 'ready' and t.run_at <= clock_timestamp()
               and t.cleanup = (j.state <> 'running'))"
    )
    .fetch_all(conn)
    .await?;
    Ok(word::readable(rows.iter().map(|name| Row::new("cluster", name).word("name", name))))
}

/// Where there is no room, so that a task that could only wait is not looked at.
#[derive(Debug, Clone, Default)]
pub struct Full {
    /// Nodes whose worker takes nothing more.
    pub hosts: Vec<HostId>,
    /// Nodes whose worker takes short tasks only.
    pub hosts_for_long: Vec<HostId>,
    /// Clusters of which no worker takes anything more, for tasks that any worker may do.
    pub clusters: Vec<ClusterName>,
    /// Clusters of which no worker takes a long task.
    pub clusters_for_long: Vec<ClusterName>,
}

/// Tasks whose time has come, whose job wants them and that may find room, longest waiting first; at
/// most `limit`, and `of_each_job` of one job. A cancelled or abandoned job wants its cleanup tasks
/// only. What must wait for room hides nothing that need not, and no job hides another.
pub async fn ready(
    conn: &mut PgConnection,
    full: &Full,
    max_attempts: u32,
    of_each_job: i64,
    limit: i64,
) -> StateResult<Vec<Ready>> {
    let ids = |hosts: &[HostId]| -> Vec<uuid::Uuid> { hosts.iter().map(|host| host.0).collect() };
    let names =
        |clusters: &[ClusterName]| -> Vec<String> { clusters.iter().map(ToString::to_string).collect() };
    let rows = sqlx::query!(
        r#"select t.id, t.job, t.cluster, t.kind, t.placement, t.host_id,
             (t.attempts > 0 and t.attempts + 1 >= coalesce(j.max_attempts, $8) and exists (
                 select from attempts a where a.task = t.id and a.outcome = 'lost')) as "on_trial!"
         from jobs j
         -- Once a job, not once a task.
         cross join lateral (
             select coalesce(array_agg(f.parallel_group), '{}') as full_groups from (
                 select u.parallel_group from tasks u
                 where j.max_parallel is not null and u.job = j.id and u.kind = 'upload'
                   and u.state in ('dispatched', 'running')
                 group by u.parallel_group having count(*) >= j.max_parallel) f offset 0) up
         cross join lateral (
             select t.id, t.job, t.cluster, t.kind, t.placement, t.host_id, t.run_at, t.attempts
             from tasks t
             where t.job = j.id and t.state = 'ready' and t.run_at <= clock_timestamp()
               and t.cleanup = (j.state <> 'running')
               and not exists (select from unnest($1::uuid[]) h where h = t.host_id)
               and not exists (select from unnest($2::uuid[]) h
                   where h = t.host_id and t.kind <> all($5))
               and not (t.host_id is null and (t.cluster = any($3)
                   or (t.cluster = any($4) and t.kind <> all($5))))
               and not (t.kind = 'upload' and t.parallel_group = any(up.full_groups))
             order by t.run_at, t.id limit $6) t
         where j.state in ('running', 'cancelling', 'abandoning')
         order by t.run_at, t.id limit $7"#,
        &ids(&full.hosts),
        &ids(&full.hosts_for_long),
        &names(&full.clusters),
        &names(&full.clusters_for_long),
        &short_kinds(),
        of_each_job,
        limit,
        word::int("max_attempts", max_attempts)?,
    )
    .fetch_all(conn)
    .await?;
    Ok(word::readable(rows.into_iter().map(|raw| {
        let row = Row::new("task", &raw.id);
        Ok(Ready {
            id: TaskId(raw.id),
            job: JobId(raw.job),
            cluster: row.word("cluster", &raw.cluster)?,
            kind: row.word("kind", &raw.kind)?,
            placement: read_placement(&row, &raw.placement, raw.host_id)?,
            on_trial: raw.on_trial,
        })
    })))
}

/// The room for this job's uploads (`max_parallel_nodes`); `None`: any number may run at once. The caller holds the
/// job's lock.
pub async fn upload_room(conn: &mut PgConnection, job: &JobRow) -> StateResult<Option<ParallelRoom>> {
    let JobSpec::Backup(BackupSpec { max_parallel_nodes: Some(at_once), .. }) = job.spec else {
        return Ok(None);
    };
    let rows = sqlx::query!(
        r#"select parallel_group, count(*)::integer as "running!" from tasks
         where job = $1 and kind = 'upload' and state in ('dispatched', 'running') group by parallel_group"#,
        job.id.0
    )
    .fetch_all(conn)
    .await?;
    let row = Row::new("job", &job.id);
    let running = rows.into_iter().map(|raw| Ok((raw.parallel_group, row.count("running", raw.running)?)));
    Ok(Some(ParallelRoom::new(at_once, running.collect::<StateResult<_>>()?)))
}

/// Dispatched tasks that no worker has asked the grant of in time.
pub async fn unanswered(conn: &mut PgConnection, limit: i64) -> StateResult<Vec<TaskId>> {
    let rows = sqlx::query_scalar!(
        "select id from tasks where state = 'dispatched' and deadline < clock_timestamp()
         order by deadline limit $1",
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(TaskId).collect())
}

/// A running task whose lease is over.
#[derive(Debug, Clone)]
pub struct Silent {
    /// The task.
    pub id: TaskId,
    /// Whether its worker was asked, and has had `patience` to answer.
    pub asked_in_vain: bool,
}

/// Running tasks whose lease is over, and which either were not asked yet or have not answered.
pub async fn silent(conn: &mut PgConnection, patience: Duration, limit: i64) -> StateResult<Vec<Silent>> {
    let rows = sqlx::query!(
        r#"select id, asked_at is not null as "asked!" from tasks
         where state = 'running' and deadline < clock_timestamp()
           and (asked_at is null or asked_at < clock_timestamp() - make_interval(secs => $1))
         order by deadline limit $2"#,
        patience.as_seconds_f64(),
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| Silent { id: TaskId(row.id), asked_in_vain: row.asked }).collect())
}

/// Whether a worker is taken up: running or offered tasks in all, and of these long ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Dispatched and running tasks.
    pub all: u32,
    /// Of these, ones that may not take a slot kept for short ones.
    pub long: u32,
    /// Of these, ones that are on trial ([`Ready::on_trial`]).
    pub on_trial: u32,
}

/// The loads of these workers; one that has nothing is left out.
pub async fn loads_of(
    conn: &mut PgConnection,
    workers: &[WorkerId],
    max_attempts: u32,
) -> StateResult<BTreeMap<WorkerId, Load>> {
    let short = short_kinds();
    let ids: Vec<uuid::Uuid> = workers.iter().map(|worker| worker.0).collect();
    let rows = sqlx::query!(
        r#"select t.worker as "worker!", count(*)::integer as "all!",
             count(*) filter (where t.kind <> all($2))::integer as "long!",
             count(*) filter (where t.attempts > 0 and t.attempts + 1 >= coalesce(j.max_attempts, $3) and exists (
                 select from attempts a where a.task = t.id and a.outcome = 'lost'))::integer as "on_trial!"
         from tasks t join jobs j on j.id = t.job
         where t.worker = any($1) and t.state in ('dispatched', 'running') group by t.worker"#,
        &ids,
        &short,
        word::int("max_attempts", max_attempts)?,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|raw| {
            let row = Row::new("load of worker", &raw.worker);
            let load = Load {
                all: row.count("all", raw.all)?,
                long: row.count("long", raw.long)?,
                on_trial: row.count("on_trial", raw.on_trial)?,
            };
            Ok((WorkerId(raw.worker), load))
        })
        .collect()
}

/// What a worker has: dispatched and running tasks.
pub async fn in_hand(conn: &mut PgConnection, worker: WorkerId) -> StateResult<Vec<TaskId>> {
    let rows = sqlx::query_scalar!(
        "select id from tasks where worker = $1 and state in ('dispatched', 'running') order by id",
        worker.0
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(TaskId).collect())
}

/// The kinds that may take a slot kept for short tasks.
fn short_kinds() -> Vec<String> {
    StageKind::ALL.into_iter().filter(|kind| kind.is_short()).map(|kind| kind.as_str().to_owned()).collect()
}

/// Marks a silent task's worker as asked.
pub async fn mark_asked(conn: &mut PgConnection, task: TaskId, epoch: u32) -> StateResult<bool> {
    let done = sqlx::query!(
        "update tasks set asked_at = clock_timestamp()
         where id = $1 and epoch = $2 and state = 'running' and asked_at is null",
        task.0,
        word::int("epoch", epoch)?,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}
