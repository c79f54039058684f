//! Several schedulers over one Postgres and one RabbitMQ: they share the work, and the death of one, the
//! leader too, costs seconds, fires nothing twice and misses nothing.
#![allow(clippy::large_futures)] // a test may hold what it likes

mod support;

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use chrono::Utc;
use ringvault_core::{HostId, TaskId, WorkerId};
use ringvault_queue::{
    Beat, Envelope, Publish, QueueConfig, Report, Session,
    message::{StopReason, TaskStopped},
};
use ringvault_scheduler::startup;
use sqlx::PgPool;
use support::{
    Lab,
    broker::{Broker, until, until_within},
    host,
    invariants::Moment,
    station::{Deed, Run},
    worker::Worker,
};
use tokio_util::sync::CancellationToken;

const CLUSTERS: u8 = 6;
const PATIENCE: &str = "lease = \"4s\"\ndispatch_timeout = \"2s\"\n[timing]\nask_patience = \"300ms\"\n";

/// A scheduler that can be killed: a runtime of its own, which is taken away with all of its
/// connections.
struct Mortal {
    runtime: tokio::runtime::Runtime,
}

impl Mortal {
    /// Starts over the folder of `lab`, and waits until it works.
    fn start(lab: &Lab, id: &'static str, queue: QueueConfig, db: &PgPool) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let (folder, options) = (lab.shared_folder(), (*db.connect_options()).clone());
        let (ready, is_ready) = mpsc::channel();
        runtime.spawn(async move {
            let db = PgPool::connect_with(options).await.expect("PostgreSQL");
            let lab = Lab::open(db, id, &queue, PATIENCE, folder).await;
            assert!(lab.ctx.queue.connected().await);
            ready.send(()).expect("waited for");
            startup::work(&lab.ctx, &CancellationToken::new()).await;
        });
        is_ready.recv_timeout(Duration::from_secs(30)).expect("a scheduler at work");
        Self { runtime }
    }

    /// Nothing is ended in good order.
    fn kill(self) {
        self.runtime.shutdown_background();
    }
}

async fn leader(lab: &Lab) -> Option<String> {
    let leader = "select scheduler from leader where until > now()";
    sqlx::query_scalar(leader).fetch_optional(&lab.ctx.db).await.expect("the leader")
}

async fn count(lab: &Lab, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&lab.ctx.db).await.expect(sql)
}

async fn both_are_known(lab: &Lab) {
    let known = "select count(*) from schedulers";
    until("both schedulers to be known", async || (count(lab, known).await == 2).then_some(())).await;
}

/// One node and worker in each of the clusters `c0`, `c1`, …
async fn workers(broker: &Broker, stop: &CancellationToken) {
    for n in 0..CLUSTERS {
        let (config, stop) = (broker.config(), stop.clone());
        let hosts: [HostId; 1] = [host(100 + usize::from(n))];
        let worker = Worker::beside(hosts[0]);
        let Beat::Hello(mut hello) = worker.hello(&hosts) else { unreachable!("a hello") };
        hello.cluster = format!("c{n}").parse().expect("a name");
        let run = Run::announce(&config, worker, Beat::Hello(hello)).await;
        tokio::spawn(async move { run.work(|_| Deed::DoneIn(Duration::from_millis(400)), &stop).await });
    }
}

/// Reports of a task that does not exist, now and then: a task is reported started and done, and the
/// broker hands every other report to the same scheduler. In step, one of the two would get all that are
/// done, and with them all that is to be placed next.
fn out_of_step(client: Session, stop: CancellationToken) {
    let report = Report::Stopped(TaskStopped {
        task: TaskId::generate(),
        epoch: 1,
        worker: WorkerId::generate(),
        reason: StopReason::Gone,
        draining: false,
    });
    let report = Publish::report(&Envelope::new("worker", Utc::now(), report)).expect("a small message");
    tokio::spawn(async move {
        let mut now_and_then = tokio::time::interval(Duration::from_millis(110));
        // An error: the broker is gone with the test.
        while !stop.is_cancelled() && client.publish(&report).await.is_ok() {
            now_and_then.tick().await;
        }
        client.close().await;
    });
}

/// A policy that backs each cluster up each minute, of which one instant is due at once.
async fn policies(lab: &Lab) {
    let of_cluster = |n| {
        format!(
            "[policy.p{n}]\ncluster = \"c{n}\"\nschedule = \"* * * * *\"\naction = \"backup\"\n\
             retention = {{ keep_last = 1 }}\non_conflict = \"queue\"\n"
        )
    };
    lab.policies(&(0..CLUSTERS).map(of_cluster).collect::<Vec<_>>().concat(), "61 seconds").await;
}

#[sqlx::test(migrations = "../migrations")]
async fn killing_the_leader_costs_seconds_and_fires_nothing_twice(db: PgPool) {
    let broker = Broker::new();
    // Where the test looks; it does no work itself.
    let lab = Lab::new(db.clone()).await;
    let first = Mortal::start(&lab, "sched-1", broker.config(), &db);
    until("the first to lead", async || leader(&lab).await.filter(|id| id == "sched-1")).await;
    let second = Mortal::start(&lab, "sched-2", broker.config(), &db);
    both_are_known(&lab).await;
    let stop = CancellationToken::new();
    workers(&broker, &stop).await;
    lab.live_workers(i64::from(CLUSTERS)).await;
    policies(&lab).await;
    // In the middle of it: some tasks are done, some run, reports and offers are on their way.
    until("tasks to be under way", async || {
        (count(&lab, "select count(*) from tasks where state = 'succeeded'").await >= 3).then_some(())
    })
    .await;
    first.kill();
    let killed = Instant::now();

    until("every policy's backup", async || {
        let done = "select count(distinct policy) from jobs where kind = 'backup' and state = 'succeeded'";
        (count(&lab, done).await == i64::from(CLUSTERS)).then_some(())
    })
    .await;
    until("another leader", async || leader(&lab).await.filter(|id| id == "sched-2")).await;
    let took = killed.elapsed();
    assert!(took < Duration::from_secs(45), "{took:?}");

    // The minutes that came meanwhile fire as well: none is missed, none fires twice.
    until_within(Duration::from_secs(150), "the next minute's backups", async || {
        let done =
            "select count(*) from (select policy from jobs where kind = 'backup' and state = 'succeeded'
             group by policy having count(*) >= 2) p";
        (count(&lab, done).await == i64::from(CLUSTERS)).then_some(())
    })
    .await;
    let gaps = "select count(*) from (select fire_time - lag(fire_time) over (partition by policy order by fire_time)
         as gap from fires) g where gap <> interval '1 minute'";
    assert_eq!(count(&lab, gaps).await, 0, "a fire for each minute");
    assert_eq!(count(&lab, "select count(*) from fires where job is null").await, 0);
    let twice =
        "select count(*) from (select policy, created_at from fires group by 1, 2 having count(*) > 1) t";
    assert_eq!(count(&lab, twice).await, 0);
    let purges = "select count(*) from jobs b where b.kind = 'backup' and b.state = 'succeeded' and 1 <> (
         select count(*) from jobs p where p.idempotency_key = b.policy || '/after/' || b.id)";
    assert_eq!(count(&lab, purges).await, 0, "one purge follows each backup");
    stop.cancel();
    second.kill();
    lab.assert_invariants(Moment::Busy).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn two_schedulers_share_the_work_of_a_fleet(db: PgPool) {
    let broker = Broker::new();
    let lab = Lab::new(db.clone()).await;
    let schedulers = ["sched-1", "sched-2"].map(|id| Mortal::start(&lab, id, broker.config(), &db));
    // Work that the first is done with before the second is there cannot be shared.
    both_are_known(&lab).await;
    let stop = CancellationToken::new();
    workers(&broker, &stop).await;
    lab.live_workers(i64::from(CLUSTERS)).await;
    out_of_step(broker.client().await, stop.clone());
    for n in 0..CLUSTERS {
        for name in ["b1", "b2", "b3"] {
            let spec = serde_json::json!({"kind": "backup", "cluster": format!("c{n}"), "name": name});
            lab.submit(support::spec(spec), &format!("{n}{name}")).await;
        }
    }
    until("all backups", async || {
        let done = "select count(*) from jobs where state = 'succeeded'";
        (count(&lab, done).await == 3 * i64::from(CLUSTERS)).then_some(())
    })
    .await;
    for id in ["scheduler sched-1", "scheduler sched-2"] {
        let did: i64 = sqlx::query_scalar("select count(*) from transitions where actor = $1")
            .bind(id)
            .fetch_one(&lab.ctx.db)
            .await
            .expect("the log");
        assert!(did > 0, "{id} did its part");
    }
    assert_eq!(count(&lab, "select count(*) from attempts where outcome <> 'succeeded'").await, 0);
    lab.assert_invariants(Moment::Busy).await;
    stop.cancel();
    for scheduler in schedulers {
        scheduler.kill();
    }
}

/// A worker that was cut off, and whose task was given to it anew, or to another, comes back with what it
/// did under its old epoch.
#[sqlx::test(migrations = "../migrations")]
async fn a_worker_that_was_cut_off_changes_nothing_whoever_has_its_task_now(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(2).await;
    let base = lab.submit(support::backup("base"), "base").await.job;
    lab.run(&workers).await;
    let verify = serde_json::json!({"kind": "verify", "cluster": "c", "backup": "base"});
    let job = lab.submit(support::spec(verify), "v").await.job;
    let offers = lab.offers().await;
    let cut_off = lab.worker_of(&workers, &offers[0]).await.clone();
    let other = workers.iter().find(|worker| worker.id != cut_off.id).expect("another").clone();
    for offer in &offers {
        let worker = lab.worker_of(&workers, offer).await;
        lab.report(&worker.started(offer)).await;
    }
    lab.outbox().await;
    // Nothing is heard of the one: its task goes to the other, with a new epoch.
    sqlx::query("update workers set last_seen = now() - interval '1 hour' where id = $1")
        .bind(cut_off.id.0)
        .execute(&lab.ctx.db)
        .await
        .expect("the worker");
    let long = Duration::from_secs(3600);
    for _ in 0..2 {
        let over =
            "update tasks set deadline = now() - interval '1 hour', asked_at = asked_at - interval '1 hour'
             where id = $1 and state = 'running'";
        sqlx::query(over).bind(offers[0].task.0).execute(&lab.ctx.db).await.expect("the task");
        ringvault_scheduler::reaper::pass(&lab.ctx, long).await.expect("the reaper");
    }
    let again = lab.offers().await.remove(0);
    assert_eq!((again.task, again.epoch), (offers[0].task, offers[0].epoch + 1));
    assert_eq!(lab.worker_of(&workers, &again).await.id, other.id);
    lab.report(&other.started(&again)).await;
    lab.grants().await;

    let before: Vec<(String, i32, Option<uuid::Uuid>)> = tasks(&lab).await;
    for report in [
        cut_off.started(&offers[0]),
        cut_off.succeeded(&offers[0]),
        cut_off.failed(&offers[0], ringvault_core::TaskError::permanent("RV-X", "late")),
        cut_off.stopped(&offers[0]),
        // Even under the epoch that is the other's now.
        cut_off.started(&again),
        cut_off.succeeded(&again),
    ] {
        lab.report(&report).await;
    }
    lab.beat(&cut_off.heartbeat(&offers[0])).await;
    assert_eq!(tasks(&lab).await, before);
    assert!(lab.grants().await.is_empty());
    for offer in [&again, &offers[1]] {
        lab.report(&other.succeeded(offer)).await;
    }
    lab.run(&workers).await;
    assert_eq!(lab.state(job).await, ringvault_core::job::JobState::Succeeded);
    lab.assert_replays(base).await;
    lab.assert_invariants(Moment::Busy).await;
}

async fn tasks(lab: &Lab) -> Vec<(String, i32, Option<uuid::Uuid>)> {
    sqlx::query_as("select state, epoch, worker from tasks order by id")
        .fetch_all(&lab.ctx.db)
        .await
        .expect("the tasks")
}
