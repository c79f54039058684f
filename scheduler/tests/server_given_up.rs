//! A node that is gone for good, and said to be so while jobs wait for it: no backup and no clearing up
//! waits any longer, and a backup says what it lacks; over a real Postgres.

mod support;

use ringvault_core::{
    api::JobResult,
    cluster::Coverage,
    job::{JobState, StageKind},
    task::{TaskPayload, TaskResult},
};
use ringvault_queue::{Report, message::TaskSucceeded};
use serde_json::json;
use sqlx::PgPool;
use support::{Lab, backup, broker::until, http::Http, invariants::Moment, spec, worker::Worker};

struct Ground {
    lab: Lab,
    http: Http,
    workers: Vec<Worker>,
}

impl Ground {
    async fn new(db: PgPool) -> Self {
        let lab = Lab::new(db).await;
        let workers = lab.nodes(3).await;
        let http = lab.http().await;
        Self { lab, http, workers }
    }

    /// The third node's worker is heard of no more, and what it had is taken from it.
    async fn lose_third(&self) {
        sqlx::query("update workers set last_seen = now() - interval '1 hour' where id = $1")
            .bind(self.workers[2].id.0)
            .execute(&self.lab.ctx.db)
            .await
            .expect("the worker");
    }

    async fn forget_third(&self) {
        let path = format!("/v1/clusters/c/nodes/{}/forget", self.workers[2].host);
        self.http.post(&path, json!(null)).await.json(200);
    }

    /// What waits for its surroundings may look again.
    async fn time_passes(&self) {
        until("the tasks' time", async || {
            let early =
                "select exists (select from tasks where state = 'ready' and run_at > clock_timestamp())";
            let early: bool = sqlx::query_scalar(early).fetch_one(&self.lab.ctx.db).await.expect("the tasks");
            (!early).then_some(())
        })
        .await;
    }

    /// Runs all that is offered to the two that are left; the seal says what is held.
    async fn run(&self) -> Vec<&'static str> {
        let mut done = Vec::new();
        loop {
            let offers = self.lab.offers().await;
            if offers.is_empty() {
                break done;
            }
            for offer in offers {
                let worker = self.lab.worker_of(&self.workers[..2], &offer).await;
                self.lab.report(&worker.started(&offer)).await;
                let mut result = worker.result(&offer.payload);
                if let (TaskPayload::Seal(asked), TaskResult::Seal(seal)) = (&offer.payload, &mut result)
                    && asked.nodes.len() < 3
                {
                    seal.coverage = Coverage::Covering;
                }
                let (task, epoch) = (offer.task, offer.epoch);
                let report = Report::Succeeded(TaskSucceeded { task, epoch, worker: worker.id, result });
                self.lab.report(&report).await;
                done.push(offer.stage.as_str());
            }
        }
    }
}

async fn goes_on_without_it(db: PgPool, stage: StageKind) {
    let ground = Ground::new(db).await;
    let name = format!("b-{}", stage.as_str());
    let job = ground.lab.submit(backup(&name), &name).await.job;
    if stage == StageKind::Upload {
        for offer in ground.lab.offers().await {
            let worker = ground.lab.worker_of(&ground.workers, &offer).await;
            ground.lab.report(&worker.started(&offer)).await;
            ground.lab.report(&worker.succeeded(&offer)).await;
        }
    }
    ground.lose_third().await;
    ground.run().await;
    let row = ground.lab.job(job).await;
    assert_eq!(row.machine.state, JobState::Running, "it waits for the third node");
    assert_eq!(row.machine.current_stage(), Some(stage));

    ground.forget_third().await;
    ground.time_passes().await;
    ground.run().await;
    // Its snapshot cannot be cleared where there is no node; nobody waits for that either.
    ground.time_passes().await;
    ground.run().await;
    let row = ground.lab.job(job).await;
    assert_eq!((row.machine.state, row.outcome), (JobState::Succeeded, Some(JobResult::Partial)));
    let shown = ground.http.get(&format!("/v1/jobs/{job}")).await.json(200);
    let tasks = shown["tasks"].as_array().expect("tasks");
    let given_up = tasks.iter().find(|task| task["state"] == "cancelled").expect("one that was given up");
    assert_eq!(given_up["error"]["code"], "RV-NODE-FORGOTTEN");
    assert_eq!(given_up["host_id"], json!(ground.workers[2].host));
    let listed = ground.http.get(&format!("/v1/clusters/c/backups/{name}")).await.json(200);
    assert_eq!(listed["state"], "covering");
    ground.lab.assert_invariants(Moment::Busy).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_backup_goes_on_without_its_snapshot(db: PgPool) {
    goes_on_without_it(db, StageKind::Snapshot).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_backup_goes_on_without_its_upload(db: PgPool) {
    goes_on_without_it(db, StageKind::Upload).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_backup_of_nothing_but_it_fails_and_says_why(db: PgPool) {
    let lab = Lab::new(db).await;
    let worker = lab.nodes(1).await.remove(0);
    let http = lab.http().await;
    let job = lab.submit(backup("b1"), "b1").await.job;
    sqlx::query("update workers set last_seen = now() - interval '1 hour'")
        .execute(&lab.ctx.db)
        .await
        .expect("the worker");
    assert!(lab.offers().await.is_empty());
    let path = format!("/v1/clusters/c/nodes/{}/forget", worker.host);
    http.post(&path, json!(null)).await.json(200);
    sqlx::query("update tasks set run_at = now()").execute(&lab.ctx.db).await.expect("the task");
    assert!(lab.offers().await.is_empty());
    let row = lab.job(job).await;
    assert_eq!(row.machine.state, JobState::Failed);
    assert_eq!(row.error.expect("why").code, "RV-NODE-FORGOTTEN");
}

#[sqlx::test(migrations = "../migrations")]
async fn clearing_up_waits_for_it_no_longer(db: PgPool) {
    let ground = Ground::new(db).await;
    let job = ground.lab.submit(backup("b1"), "b1").await.job;
    let offers = ground.lab.offers().await;
    for offer in &offers {
        let worker = ground.lab.worker_of(&ground.workers, offer).await;
        ground.lab.report(&worker.started(offer)).await;
    }
    let id = job.to_string();
    ground.http.order(&id, "cancel").await.json(200);
    for offer in &offers {
        let worker = ground.lab.worker_of(&ground.workers, offer).await.clone();
        ground.lab.report(&worker.stopped(offer)).await;
    }
    ground.lab.outbox().await;
    ground.lose_third().await;
    ground.run().await;
    assert_eq!(ground.lab.state(job).await, JobState::Cancelling, "its snapshot is to be cleared");
    ground.forget_third().await;
    ground.time_passes().await;
    ground.run().await;
    assert_eq!(ground.lab.state(job).await, JobState::Cancelled);
    ground.lab.assert_invariants(Moment::Busy).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_restore_does_not_leave_it_out(db: PgPool) {
    let ground = Ground::new(db).await;
    let base = ground.lab.submit(backup("base"), "base").await.job;
    ground.lab.run(&ground.workers).await;
    assert_eq!(ground.lab.state(base).await, JobState::Succeeded);
    let restore = spec(json!({"kind": "restore", "source": "c", "backup": "base", "target": "c"}));
    let job = ground.lab.submit(restore, "r").await.job;
    let plan = ground.lab.offers().await.remove(0);
    let worker = &ground.workers[2];
    // The plan gives the third node a share.
    sqlx::query("update tasks set worker = $1 where id = $2")
        .bind(worker.id.0)
        .bind(plan.task.0)
        .execute(&ground.lab.ctx.db)
        .await
        .expect("the task");
    ground.lab.report(&worker.started(&plan)).await;
    ground.lab.report(&worker.succeeded(&plan)).await;
    ground.lose_third().await;
    ground.forget_third().await;
    ground.run().await;
    assert_eq!(ground.lab.state(job).await, JobState::Running, "its share is not left out");
    sqlx::query(
        "update tasks set waiting_since = now() - interval '1 day', run_at = now() where state = 'ready'",
    )
    .execute(&ground.lab.ctx.db)
    .await
    .expect("the task");
    ground.run().await;
    let row = ground.lab.job(job).await;
    assert_eq!(row.machine.state, JobState::Failed);
    assert_eq!(row.error.expect("why").code, "RV-NODE-NO-WORKER");
}
