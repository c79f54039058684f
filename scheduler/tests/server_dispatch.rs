//! The dispatcher among many jobs: what cannot be read, or must wait, keeps nothing else waiting.

mod support;

use std::time::Duration;

use ringvault_core::{JobId, job::JobState};
use ringvault_queue::Beat;
use ringvault_scheduler::dispatch;
use serde_json::json;
use sqlx::PgPool;
use support::{
    Lab, backup,
    broker::until,
    host,
    running::Running,
    spec,
    station::{Deed, Run},
    worker::Worker,
};
use uuid::Uuid;

/// Announces one node of another cluster.
async fn node_of(lab: &Lab, cluster: &str, n: usize) -> Worker {
    let worker = Worker::beside(host(n));
    let Beat::Hello(mut hello) = worker.hello(&[host(n)]) else { unreachable!("a hello") };
    hello.cluster = cluster.parse().expect("a name");
    lab.beat(&Beat::Hello(hello)).await;
    worker
}

async fn run(lab: &Lab, sql: &'static str, id: Uuid) {
    sqlx::query(sql).bind(id).execute(&lab.ctx.db).await.expect(sql);
}

async fn count(lab: &Lab, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&lab.ctx.db).await.expect(sql)
}

async fn pass(lab: &Lab) {
    while dispatch::pass(&lab.ctx).await.expect("dispatch") > 0 {}
}

fn backup_of(cluster: &str, name: &str) -> ringvault_core::job::JobSpec {
    spec(json!({"kind": "backup", "cluster": cluster, "name": name}))
}

#[sqlx::test(migrations = "../migrations")]
async fn what_cannot_be_read_stops_nobody(db: PgPool) {
    let lab = Lab::new(db).await;
    lab.nodes(3).await;
    node_of(&lab, "d", 9).await;
    node_of(&lab, "e", 10).await;
    let poisoned = lab.submit(backup_of("e", "b"), "k0").await.job;
    run(&lab, "update jobs set spec = '{\"kind\": \"rewind\"}' where id = $1", poisoned.0).await;
    let first = lab.submit(backup("b1"), "k1").await.job;
    pass(&lab).await;
    assert_eq!(lab.state(first).await, JobState::Running);

    // One of its three tasks cannot be read; all are to be placed again, and so is another job's.
    run(&lab, READY, first.0).await;
    run(
        &lab,
        "update tasks set payload = '{\"kind\": \"dance\"}'
         where id = (select min(id::text)::uuid from tasks where job = $1)",
        first.0,
    )
    .await;
    let other = lab.submit(backup_of("d", "b"), "k2").await.job;
    pass(&lab).await;
    assert_eq!(lab.state(other).await, JobState::Running);
    assert_eq!(count(&lab, "select count(*) from tasks where state = 'dispatched'").await, 3);
    assert_eq!(count(&lab, "select count(*) from tasks where state = 'ready'").await, 1);
}

const READY: &str =
    "update tasks set state = 'ready', worker = null, deadline = null, run_at = now() where job = $1";

/// Locks a job, as whoever works on it.
async fn locked(lab: &Lab, job: JobId) -> ringvault_state::Tx<'_> {
    let mut held = lab.ctx.db.begin().await.expect("a transaction");
    sqlx::query("select from jobs where id = $1 for update")
        .bind(job.0)
        .execute(&mut *held)
        .await
        .expect("the lock");
    held
}

/// Tasks are placed together whatever their jobs, but a job that somebody else works on is waited for by
/// nobody else.
#[sqlx::test(migrations = "../migrations")]
async fn a_locked_job_keeps_no_other_from_being_placed(db: PgPool) {
    let lab = Lab::new(db).await;
    let clusters = ["c1", "c2", "c3"];
    let mut jobs = Vec::new();
    for (n, cluster) in clusters.into_iter().enumerate() {
        node_of(&lab, cluster, 1 + n).await;
        jobs.push(lab.submit(backup_of(cluster, "b"), cluster).await.job);
    }
    pass(&lab).await;
    for job in &jobs {
        run(&lab, READY, job.0).await;
    }
    let held = locked(&lab, jobs[0]).await;
    let ctx = std::sync::Arc::clone(&lab.ctx);
    let passing = tokio::spawn(async move { dispatch::pass(&ctx).await });
    let placed = "select count(*) from tasks where state = 'dispatched'";
    until("the others' tasks to be placed", async || (count(&lab, placed).await == 2).then_some(())).await;
    let of_it: i64 = sqlx::query_scalar("select count(*) from tasks where job = $1 and state = 'ready'")
        .bind(jobs[0].0)
        .fetch_one(&lab.ctx.db)
        .await
        .expect("the locked job's task");
    assert_eq!(of_it, 1);
    held.rollback().await.expect("let go");
    assert_eq!(passing.await.expect("no panic").expect("dispatch"), 3);
    assert_eq!(count(&lab, placed).await, 3);
    for job in jobs {
        assert_eq!(lab.state(job).await, JobState::Running);
    }
}

/// The same of what workers report.
#[sqlx::test(migrations = "../migrations")]
async fn a_locked_job_keeps_no_report_of_others_from_being_taken(db: PgPool) {
    let running = Running::start(db, "[timing]\npoll = \"100ms\"\n").await;
    let lab = &running.lab;
    let mut jobs = Vec::new();
    let mut at_work = Vec::new();
    for (n, cluster) in ["c1", "c2", "c3"].into_iter().enumerate() {
        let worker = Worker::beside(host(1 + n));
        let Beat::Hello(mut hello) = worker.hello(&[worker.host]) else { unreachable!("a hello") };
        hello.cluster = cluster.parse().expect("a name");
        let run = Run::announce(&running.broker.config(), worker, Beat::Hello(hello)).await;
        let stop = running.stop.clone();
        let slowly = |_: &_| Deed::DoneIn(Duration::from_secs(1));
        at_work.push(tokio::spawn(async move { run.work(slowly, &stop).await }));
    }
    lab.live_workers(3).await;
    for cluster in ["c1", "c2", "c3"] {
        jobs.push(lab.submit(backup_of(cluster, "b"), cluster).await.job);
    }
    lab.ctx.wake.all();
    let at_it = "select count(*) from tasks where state = 'running' and kind = 'snapshot'";
    until("all to be at work", async || (count(lab, at_it).await == 3).then_some(())).await;
    let held = locked(lab, jobs[0]).await;
    let taken = "select count(*) from tasks where state = 'succeeded' and kind = 'snapshot'";
    until("the others' results to be taken", async || (count(lab, taken).await == 2).then_some(())).await;
    held.rollback().await.expect("let go");
    for job in &jobs {
        running.comes_to(*job, JobState::Succeeded).await;
    }
    running.stop.cancel();
    for worker in at_work {
        worker.await.expect("the worker ends");
    }
    running.end().await;
}

/// As many queued jobs like this one, older than it.
async fn crowd(lab: &Lab, job: JobId) {
    let like = "insert into jobs (id, kind, cluster, spec, state, stages, source, idempotency_key,
             requested_by, created_at)
         select gen_random_uuid(), kind, cluster, spec, state, stages, source, 'k' || n, requested_by,
             created_at - make_interval(secs => n)
         from jobs, generate_series(1, 1200) n where id = $1";
    run(lab, like, job.0).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn jobs_that_must_wait_hide_none_that_need_not(db: PgPool) {
    let lab = Lab::new(db).await;
    lab.nodes(1).await;
    node_of(&lab, "d", 9).await;
    lab.submit(backup("b0"), "k0").await;
    pass(&lab).await;
    let waiting = lab.submit(backup("b1"), "k1").await.job;
    crowd(&lab, waiting).await;
    let free = lab.submit(backup_of("d", "b"), "k2").await.job;
    pass(&lab).await;
    assert_eq!(lab.state(free).await, JobState::Running);
    assert_eq!(lab.state(waiting).await, JobState::Queued);
    assert_eq!(count(&lab, "select count(*) from jobs where state = 'running'").await, 2);
}

#[sqlx::test(migrations = "../migrations")]
async fn tasks_without_room_hide_none_that_have_it(db: PgPool) {
    let lab = Lab::new(db).await;
    lab.nodes(2).await;
    let job = lab.submit(backup("b1"), "k1").await.job;
    pass(&lab).await;
    let task: Uuid = sqlx::query_scalar("select id from tasks where job = $1 and host_id = $2")
        .bind(job.0)
        .bind(host(2).0)
        .fetch_one(&lab.ctx.db)
        .await
        .expect("the second node's task");
    // The first node is full, and a crowd of older tasks waits for it.
    let like = "insert into tasks (id, job, cluster, stage, kind, placement, host_id, payload, state, run_at)
         select gen_random_uuid(), t.job, cluster, stage, kind, placement, host_id, payload, 'ready',
             now() - interval '1 hour'
         from tasks t, generate_series(1, 3000) where t.job = (select job from tasks where id = $1)
             and t.id <> $1";
    run(&lab, like, task).await;
    pass(&lab).await;
    run(
        &lab,
        "update tasks set state = 'ready', worker = null, deadline = null, run_at = now() where id = $1",
        task,
    )
    .await;
    pass(&lab).await;
    let state: String = sqlx::query_scalar("select state from tasks where id = $1")
        .bind(task)
        .fetch_one(&lab.ctx.db)
        .await
        .expect("the task");
    assert_eq!(state, "dispatched");
    assert_eq!(count(&lab, "select count(*) from tasks where state = 'dispatched'").await, 5);
}

#[sqlx::test(migrations = "../migrations")]
async fn two_schedulers_place_more_than_one_transaction_holds_each_once(db: PgPool) {
    let lab = Lab::new(db).await;
    let other = lab.another("sched-2").await;
    lab.nodes(130).await;
    lab.submit(backup("b1"), "k1").await;
    for _ in 0..5 {
        let (one, two) = tokio::join!(dispatch::pass(&lab.ctx), dispatch::pass(&other.ctx));
        one.and(two).expect("both dispatch");
    }
    assert_eq!(count(&lab, "select count(*) from tasks where state = 'dispatched'").await, 130);
    assert_eq!(count(&lab, "select count(*) from attempts").await, 130);
    assert_eq!(count(&lab, "select count(*) from outbox where task is not null").await, 130);
}
