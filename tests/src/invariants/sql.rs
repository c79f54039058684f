//! What SQL sees. Each query gives a line of words for everything that breaks its invariant.

use anyhow::{Context as _, Result};
use ringvault_core::JobId;
use ringvault_state::replay;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::{Moment, Violation};

struct Query {
    name: &'static str,
    /// Whether it holds at every commit.
    always: bool,
    sql: &'static str,
}

const fn always(name: &'static str, sql: &'static str) -> Query {
    Query { name, always: true, sql }
}

const fn settled(name: &'static str, sql: &'static str) -> Query {
    Query { name, always: false, sql }
}

const QUERIES: &[Query] = &[
    settled(
        "1 every outbox row is sent, or visibly stuck",
        "select format('message %s (%s) of %s was never tried', id, message_type, created_at) from outbox
         where sent_at is null and error is null and created_at < now() - interval '90 s'",
    ),
    always(
        "2 at most one granted attempt of a task is open",
        "select format('task %s has %s', task, count(*)) from attempts
         where granted_at is not null and ended_at is null group by task having count(*) > 1",
    ),
    always(
        "2 the open attempt is the current epoch's, of a task in hand",
        "select format('task %s is %s in epoch %s, attempt %s is open', t.id, t.state, t.epoch, a.epoch)
         from attempts a join tasks t on t.id = a.task
         where a.ended_at is null and (a.epoch <> t.epoch or t.state not in ('dispatched', 'running'))",
    ),
    always(
        "2 a running task has a granted attempt",
        "select format('task %s, epoch %s', t.id, t.epoch) from tasks t
         where t.state = 'running' and not exists (select from attempts a
             where a.task = t.id and a.epoch = t.epoch and a.granted_at is not null and a.ended_at is null)",
    ),
    always(
        "2 a task succeeds once",
        "select format('task %s: %s attempts succeeded', task, count(*)) from attempts
         where outcome = 'succeeded' group by task having count(*) > 1",
    ),
    always(
        "4 every task has a log",
        "select format('task %s of job %s', t.id, t.job) from tasks t
         where not exists (select from transitions l where l.job = t.job and l.task = t.id)
           and exists (select from transitions l where l.job = t.job)",
    ),
    always(
        "6 what is held by a running job is not expired",
        "select format('backup %s of %s, held since %s, expired at %s', b.name, b.cluster, h.created_at,
             b.expired_at)
         from backups b join holds h on h.cluster = b.cluster and h.backup = b.name
         where b.expired_at is not null and h.created_at < b.expired_at
           and (h.released_at is null or h.released_at > b.expired_at)",
    ),
    always(
        "7 a fire makes one job",
        "select format('job %s of %s fires', job, count(*)) from fires where job is not null
         group by job having count(*) > 1",
    ),
    always(
        "7 a job of a policy has its fire",
        "select format('job %s of policy %s', j.id, j.policy) from jobs j
         where j.source = 'policy' and j.idempotency_key not like '%/after/%'
           and not exists (select from fires f where f.job = j.id)",
    ),
    always(
        "7 a fire is settled in the transaction that claims it",
        "select format('policy %s at %s', policy, fire_time) from fires where job is null and skipped is null",
    ),
    always(
        "8 a stage's tasks are made once, together",
        "select format('stage %s of job %s: tasks made at %s different times', stage, job,
             count(distinct created_at))
         from tasks where not cleanup group by job, stage having count(distinct created_at) > 1",
    ),
    always(
        "8 a barrier opens once",
        "select format('job %s passed %s stages of %s', j.id, count(*), cardinality(j.stages))
         from transitions l join jobs j on j.id = l.job
         where l.task is null and l.event ->> 'event' = 'stage_passed'
         group by j.id, j.stages having count(*) > cardinality(j.stages)",
    ),
    always(
        "8 no task begins before the stage before is over",
        "select format('job %s: task %s of stage %s began at %s, task %s of stage %s was over at %s', a.job,
             b.id, b.stage, b.started_at, a.id, a.stage, a.ended_at)
         from tasks a join tasks b on b.job = a.job and b.stage > a.stage
         where not a.cleanup and not b.cleanup and b.started_at is not null
           and (a.ended_at is null or a.ended_at > b.started_at)",
    ),
    always(
        "8 a job that runs waits for something",
        "select format('job %s, stage %s of %s', j.id, j.stage, j.stages) from jobs j
         where j.state = 'running' and not exists (select from tasks t
             where t.job = j.id and t.stage = j.stage and not t.cleanup
               and t.state in ('ready', 'dispatched', 'running'))",
    ),
    always(
        "9 one job for a key",
        "select format('%s %s: %s jobs', source, idempotency_key, count(*)) from jobs
         group by source, idempotency_key having count(*) > 1",
    ),
    always(
        "9 a job's key is its own",
        "select format('%s %s: job %s', j.source, j.idempotency_key, j.id) from jobs j
         where not exists (select from inbox i where i.source = j.source
                           and i.idempotency_key = j.idempotency_key and i.job = j.id)",
    ),
    always(
        "10 holds are let go with their job, and not before",
        "select format('hold %s of job %s, which is %s', h.id, j.id, j.state)
         from holds h join jobs j on j.id = h.job
         where (j.state in ('succeeded', 'cancelled', 'abandoned')) <> (h.released_at is not null)",
    ),
    always(
        "10 no task of a job that is over is still open",
        "select format('task %s of job %s is %s', t.id, j.id, t.state) from tasks t join jobs j on j.id = t.job
         where j.state in ('succeeded', 'cancelled', 'abandoned')
           and t.state in ('ready', 'dispatched', 'running')",
    ),
    always(
        "11 a restore truncates at most once",
        "select format('job %s: %s truncate tasks, %s done', job, count(*),
             count(*) filter (where state = 'succeeded'))
         from tasks where kind = 'truncate' group by job having count(*) > 1",
    ),
    always(
        "11 no truncate is granted once something was applied",
        "select format('task %s granted at %s, task %s began at %s', a.task, a.granted_at, l.id, l.started_at)
         from attempts a join tasks t on t.id = a.task and t.kind = 'truncate'
         join tasks l on l.job = t.job and l.stage > t.stage and not l.cleanup
         where a.granted_at > l.started_at",
    ),
    settled(
        "12 a backup that was made is in the catalogue",
        "select format('backup %s of %s is %s, its job %s', b.name, b.cluster, b.state, j.state)
         from backups b join jobs j on j.id = b.job
         where b.state = 'running' and j.state = 'succeeded'",
    ),
];

pub(super) async fn violations(conn: &mut PgConnection, moment: Moment) -> Result<Vec<Violation>> {
    let mut found = Vec::new();
    for query in QUERIES.iter().filter(|query| query.always || moment == Moment::Settled) {
        for row in sqlx::query(query.sql).fetch_all(&mut *conn).await.context(query.name)? {
            found.push(Violation::new(query.name, row.get::<String, _>(0)));
        }
    }
    Ok(found)
}

/// 4: every job's log replays to what stands in the tables. Jobs whose log was pruned are left out.
pub(super) async fn replays(conn: &mut PgConnection) -> Result<Vec<Violation>> {
    let jobs: Vec<Uuid> = sqlx::query_scalar(
        "select id from jobs j where exists (select from transitions l where l.job = j.id and l.task is null
             and l.event is null)",
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut found = Vec::new();
    for job in jobs {
        // Between the reading of log and tables nothing may change.
        sqlx::query("begin isolation level repeatable read").execute(&mut *conn).await?;
        let disagreement = replay::disagreement(conn, JobId(job)).await;
        sqlx::query("rollback").execute(&mut *conn).await?;
        match disagreement {
            Ok(None) => {}
            Ok(Some(why)) => found.push(Violation::new("4 the log replays", format!("job {job}: {why}"))),
            // A row that changed meanwhile cannot be locked: the job is under way, and another look sees it.
            Err(error) if error.is_passing() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_query_has_a_name_of_its_own() {
        let mut names: Vec<_> = QUERIES.iter().map(|query| query.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), QUERIES.len());
    }
}
