//! Jobs that are not over: how far each is, and what it waits for.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use ringvault_core::api::{JobSummary, OpenJob};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    StateResult,
    word::{Row, big_count},
};

struct Raw {
    id: Uuid,
    plan_only: bool,
    stages: i32,
    stage: i32,
    tasks: i32,
    done: i32,
    running: i32,
    retrying: i32,
    bytes_done: i64,
    bytes_total: i64,
    heard_at: Option<DateTime<Utc>>,
    waiting_since: Option<DateTime<Utc>>,
    waiting_node: Option<String>,
    waiting_for: Option<Value>,
}

/// Says of each of these jobs how far it is. A job that is not there any more is left out.
pub async fn tell(conn: &mut PgConnection, jobs: Vec<JobSummary>) -> StateResult<Vec<OpenJob>> {
    let ids: Vec<Uuid> = jobs.iter().map(|job| job.id.0).collect();
    let rows = sqlx::query_as!(
        Raw,
        r#"select j.id, coalesce((j.spec ->> 'plan_only')::boolean, false) as "plan_only!",
             cardinality(j.stages) as "stages!", j.stage,
             coalesce(t.tasks, 0) as "tasks!", coalesce(t.done, 0) as "done!",
             coalesce(t.running, 0) as "running!", coalesce(t.retrying, 0) as "retrying!",
             coalesce(t.bytes_done, 0) as "bytes_done!", coalesce(t.bytes_total, 0) as "bytes_total!",
             t.heard_at as "heard_at?", t.waiting_since as "waiting_since?",
             w.address as "waiting_node?", w.error as "waiting_for?"
         from jobs j
         left join lateral (
             select count(*)::integer as tasks,
                 count(*) filter (where state = 'succeeded')::integer as done,
                 count(*) filter (where state in ('dispatched', 'running'))::integer as running,
                 count(*) filter (where state = 'ready' and error is not null)::integer as retrying,
                 sum((progress ->> 'bytes_done')::numeric)::bigint as bytes_done,
                 sum((progress ->> 'bytes_total')::numeric)::bigint as bytes_total,
                 max(progress_at) as heard_at,
                 min(waiting_since) filter (where state = 'ready') as waiting_since
             from tasks where job = j.id and stage = j.stage and not cleanup) t on true
         left join lateral (
             select t.error, coalesce(n.address, '') as address
             from tasks t left join nodes n on n.cluster = t.cluster and n.host_id = t.host_id
             where t.job = j.id and t.stage = j.stage and not t.cleanup and t.state = 'ready'
               and t.error is not null
             order by t.waiting_since, t.run_at, t.id limit 1) w on true
         where j.id = any($1)"#,
        &ids
    )
    .fetch_all(conn)
    .await?;
    let mut by_id: BTreeMap<Uuid, Raw> = rows.into_iter().map(|raw| (raw.id, raw)).collect();
    jobs.into_iter()
        .filter_map(|summary| {
            let raw = by_id.remove(&summary.id.0)?;
            Some(read(summary, raw))
        })
        .collect()
}

fn read(summary: JobSummary, raw: Raw) -> StateResult<OpenJob> {
    let row = Row::new("job", &raw.id);
    let begun = u32::from(raw.tasks > 0);
    Ok(OpenJob {
        plan_only: raw.plan_only,
        stages: row.count("stages", raw.stages)?,
        stage_number: row.count("stage", raw.stage)? + begun,
        tasks: row.count("tasks", raw.tasks)?,
        tasks_done: row.count("tasks", raw.done)?,
        tasks_running: row.count("tasks", raw.running)?,
        tasks_retrying: row.count("tasks", raw.retrying)?,
        bytes_done: big_count(raw.bytes_done),
        bytes_total: big_count(raw.bytes_total),
        heard_at: raw.heard_at,
        waiting_since: raw.waiting_since,
        waiting_node: raw.waiting_node.unwrap_or_default(),
        waiting_for: row.maybe_json("error", raw.waiting_for)?,
        summary,
    })
}
