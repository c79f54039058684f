//! The driver over a real Postgres: what may happen once happens once, whatever comes late, twice
//! or at the same time.

mod support;

use std::time::Duration;

use ringvault_core::{TaskError, api::JobResult, job::JobState};
use ringvault_scheduler::{
    jobs::{self, Action},
    reaper, reports,
};
use serde_json::json;
use sqlx::PgPool;
use support::{Lab, backup, spec};

const LONG: Duration = Duration::from_secs(3600);

#[sqlx::test(migrations = "../migrations")]
async fn a_backup_goes_through_its_stages_and_is_listed(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(3).await;
    let job = lab.submit(backup("b1"), "k1").await.job;
    let done = lab.run(&workers).await;
    // Every node let its snapshot go after its upload, so there is nothing left to release.
    assert_eq!(done, [("seal", 1), ("snapshot", 3), ("upload", 3)].into());
    let row = lab.job(job).await;
    assert_eq!((row.machine.state, row.outcome), (JobState::Succeeded, Some(JobResult::Ok)));
    let state: String = sqlx::query_scalar("select state from backups where name = 'b1'")
        .fetch_one(&lab.ctx.db)
        .await
        .expect("the backup");
    assert_eq!(state, "complete");
    let events = lab.events().await;
    assert_eq!(events, ["job.created", "job.started", "backup.sealed", "job.succeeded"]);
    lab.assert_replays(job).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_barrier_opens_once_when_the_last_two_finish_at_once(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(2).await;
    for round in 0..10 {
        let job = lab.submit(backup(&format!("b{round}")), &format!("k{round}")).await.job;
        let offers = lab.offers().await;
        assert_eq!(offers.len(), 2);
        let mut ends = Vec::new();
        for offer in &offers {
            let worker = lab.worker_of(&workers, offer).await;
            lab.report(&worker.started(offer)).await;
            ends.push(worker.succeeded(offer));
        }
        let (one, two) =
            tokio::join!(reports::handle(&lab.ctx, &ends[0]), reports::handle(&lab.ctx, &ends[1]));
        one.and(two).expect("both are taken");
        let passed: i64 = sqlx::query_scalar(
            "select count(*) from transitions where job = $1 and event ->> 'event' = 'stage_passed'",
        )
        .bind(job.0)
        .fetch_one(&lab.ctx.db)
        .await
        .expect("the log");
        assert_eq!(passed, 1);
        let uploads = lab.run(&workers).await;
        assert_eq!(uploads.get("upload"), Some(&2));
        assert_eq!(lab.state(job).await, JobState::Succeeded);
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn the_same_request_sent_by_many_at_once_is_one_job(db: PgPool) {
    let lab = Lab::new(db).await;
    lab.nodes(1).await;
    let same = || lab.try_submit(backup("b1"), "k");
    let answers = futures::future::join_all((0..8).map(|_| same())).await;
    let jobs: Vec<_> = answers.iter().flatten().map(|submitted| submitted.job).collect();
    assert!(jobs.len() == 8 && jobs.iter().all(|job| *job == jobs[0]), "{answers:?}");
    let first = answers.iter().flatten().filter(|submitted| !submitted.existing).count();
    assert_eq!(first, 1);
    let again = same().await.expect("the same request");
    assert!(again.existing && again.job == jobs[0]);
    let other = lab.try_submit(backup("b2"), "k").await.expect_err("another body under the key");
    assert_eq!(other.code(), "RV-KEY-REUSED");
    let taken = lab.try_submit(backup("b1"), "k2").await.expect_err("the same name again");
    assert_eq!(taken.code(), "RV-BACKUP-EXISTS");
    let count: i64 =
        sqlx::query_scalar("select count(*) from jobs").fetch_one(&lab.ctx.db).await.expect("the jobs");
    assert_eq!(count, 1);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_lost_lease_gives_the_task_a_new_epoch_and_the_old_one_changes_nothing(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(1).await;
    let job = lab.submit(backup("b1"), "k").await.job;
    let first = lab.offers().await.remove(0);
    lab.report(&workers[0].started(&first)).await;
    let grants = lab.grants().await;
    assert_eq!(grants.len(), 1);
    assert!(grants[0].nonce.is_some(), "a grant names the question it answers");

    lab.let_deadlines_pass().await;
    reaper::pass(&lab.ctx, Duration::ZERO).await.expect("the reaper");
    assert!(lab.offers().await.is_empty(), "a scheduler that just came takes nothing for lost");
    reaper::pass(&lab.ctx, LONG).await.expect("the reaper");
    assert!(lab.offers().await.is_empty(), "the worker is asked first");
    lab.beat(&workers[0].heartbeat(&first)).await;
    reaper::pass(&lab.ctx, LONG).await.expect("the reaper");
    assert!(lab.offers().await.is_empty(), "it has answered");

    lab.let_deadlines_pass().await;
    reaper::pass(&lab.ctx, LONG).await.expect("the reaper");
    lab.let_deadlines_pass().await;
    reaper::pass(&lab.ctx, LONG).await.expect("the reaper");
    let second = lab.offers().await.remove(0);
    assert_eq!((second.task, second.epoch), (first.task, first.epoch + 1));

    lab.report(&workers[0].succeeded(&first)).await;
    lab.report(&workers[0].started(&first)).await;
    assert!(lab.grants().await.is_empty(), "the old epoch is not granted");
    assert_eq!(lab.job(job).await.machine.stage, 0, "the old epoch finishes nothing");
    lab.report(&workers[0].started(&second)).await;
    lab.report(&workers[0].succeeded(&second)).await;
    lab.run(&workers).await;
    assert_eq!(lab.state(job).await, JobState::Succeeded);
    lab.assert_replays(job).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn what_a_worker_had_in_hand_is_offered_again_when_it_starts_anew(db: PgPool) {
    let lab = Lab::new(db).await;
    let mut worker = lab.nodes(1).await.remove(0);
    let job = lab.submit(backup("b1"), "k").await.job;
    let first = lab.offers().await.remove(0);
    lab.report(&worker.started(&first)).await;
    let former = worker.clone();
    worker.incarnation = uuid::Uuid::now_v7();
    lab.beat(&worker.hello(&[worker.host])).await;
    let second = lab.offers().await.remove(0);
    assert_eq!((second.task, second.epoch), (first.task, first.epoch + 1));
    lab.beat(&former.hello(&[worker.host])).await;
    assert!(lab.offers().await.is_empty(), "a late announcement of the former run is ignored");
    lab.report(&worker.started(&second)).await;
    lab.report(&worker.succeeded(&second)).await;
    lab.run(&[worker]).await;
    assert_eq!(lab.state(job).await, JobState::Succeeded);
    lab.assert_replays(job).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn an_offer_without_an_answer_is_sent_again_and_only_the_last_is_granted(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(1).await;
    let job = lab.submit(backup("b1"), "k").await.job;
    let first = lab.offers().await.remove(0);
    lab.let_deadlines_pass().await;
    reaper::pass(&lab.ctx, LONG).await.expect("the reaper");
    let second = lab.offers().await.remove(0);
    assert_eq!((second.epoch, second.dispatch_seq), (first.epoch, first.dispatch_seq + 1));
    lab.report(&workers[0].started(&first)).await;
    assert!(lab.grants().await.is_empty());
    lab.report(&workers[0].started(&second)).await;
    lab.report(&workers[0].started(&second)).await;
    assert_eq!(lab.grants().await.len(), 2, "a grant that was lost is given again");
    lab.assert_replays(job).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn another_worker_s_report_changes_nothing(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(2).await;
    lab.submit(backup("b1"), "k").await;
    for offer in lab.offers().await {
        let right = lab.worker_of(&workers, &offer).await;
        let wrong = workers.iter().find(|worker| worker.id != right.id).expect("another");
        lab.report(&wrong.started(&offer)).await;
        lab.report(&wrong.succeeded(&offer)).await;
    }
    assert!(lab.grants().await.is_empty());
}

#[sqlx::test(migrations = "../migrations")]
async fn cancel_stops_what_runs_and_clears_up(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(2).await;
    let job = lab.submit(backup("b1"), "k").await.job;
    let offers = lab.offers().await;
    let running = &offers[0];
    let worker = lab.worker_of(&workers, running).await.clone();
    lab.report(&worker.started(running)).await;
    lab.outbox().await;

    jobs::control(&lab.ctx, job, Action::Cancel, "tester").await.expect("cancelled");
    assert_eq!(lab.state(job).await, JobState::Cancelling);
    let stops = lab.outbox().await;
    assert_eq!(stops.len(), 1, "the running task is told to stop: {stops:?}");
    assert!(lab.offers().await.is_empty(), "nothing is cleared while it runs");
    let again = jobs::control(&lab.ctx, job, Action::Cancel, "tester").await.expect("known");
    assert!(!again.changed);

    lab.report(&worker.stopped(running)).await;
    let done = lab.run(&workers).await;
    assert_eq!(done, [("release", 2)].into());
    assert_eq!(lab.state(job).await, JobState::Cancelled);
    let state: String = sqlx::query_scalar("select state from backups where name = 'b1'")
        .fetch_one(&lab.ctx.db)
        .await
        .expect("the backup");
    assert_eq!(state, "dead");
    assert_eq!(lab.events().await.last().map(String::as_str), Some("job.cancelled"));
    lab.assert_replays(job).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn pause_keeps_what_is_done_and_resume_goes_on(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(2).await;
    let job = lab.submit(backup("b1"), "k").await.job;
    let offers = lab.offers().await;
    let first = lab.worker_of(&workers, &offers[0]).await.clone();
    lab.report(&first.started(&offers[0])).await;
    jobs::control(&lab.ctx, job, Action::Pause, "tester").await.expect("paused");
    lab.report(&first.succeeded(&offers[0])).await;
    assert!(lab.offers().await.is_empty());
    jobs::control(&lab.ctx, job, Action::Resume, "tester").await.expect("resumed");
    let done = lab.run(&workers).await;
    assert_eq!(done.get("snapshot"), Some(&1), "the finished one is not run again");
    assert_eq!(lab.state(job).await, JobState::Succeeded);
    lab.assert_replays(job).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn retry_reopens_only_what_failed(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(3).await;
    let job = lab.submit(backup("b1"), "k").await.job;
    for (index, offer) in lab.offers().await.iter().enumerate() {
        let worker = lab.worker_of(&workers, offer).await;
        lab.report(&worker.started(offer)).await;
        let error = TaskError::permanent("RV-DISK", "the disk is broken");
        let end = if index == 1 { worker.failed(offer, error) } else { worker.succeeded(offer) };
        lab.report(&end).await;
    }
    let failed = lab.job(job).await;
    assert_eq!((failed.machine.state, failed.outcome), (JobState::Failed, Some(JobResult::Failed)));
    let message = failed.error.expect("why").message;
    assert!(message.starts_with("1 of 3 snapshot tasks failed"), "{message}");
    assert!(failed.machine.retry_until.is_some());

    jobs::control(&lab.ctx, job, Action::Retry, "tester").await.expect("retried");
    let done = lab.run(&workers).await;
    assert_eq!(done.get("snapshot"), Some(&1));
    let row = lab.job(job).await;
    assert_eq!((row.machine.state, row.outcome, row.error), (JobState::Succeeded, Some(JobResult::Ok), None));
    lab.assert_replays(job).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_failed_job_is_abandoned_when_its_time_is_over(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(1).await;
    let job = lab.submit(backup("b1"), "k").await.job;
    let offer = lab.offers().await.remove(0);
    lab.report(&workers[0].started(&offer)).await;
    let error = TaskError::permanent("RV-DISK", "the disk is broken");
    lab.report(&workers[0].failed(&offer, error)).await;
    reaper::pass(&lab.ctx, LONG).await.expect("the reaper");
    assert_eq!(lab.state(job).await, JobState::Failed);
    sqlx::query("update jobs set retry_until = now() - interval '1 second'")
        .execute(&lab.ctx.db)
        .await
        .expect("the job");
    reaper::pass(&lab.ctx, LONG).await.expect("the reaper");
    let done = lab.run(&workers).await;
    assert_eq!(done, [("release", 1)].into());
    assert_eq!(lab.state(job).await, JobState::Abandoned);
    assert!(jobs::control(&lab.ctx, job, Action::Retry, "tester").await.is_err());
}

#[sqlx::test(migrations = "../migrations")]
async fn a_node_without_a_worker_is_waited_for_and_then_fails(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(2).await;
    sqlx::query("update workers set last_seen = now() - interval '1 hour' where id = $1")
        .bind(workers[1].id.0)
        .execute(&lab.ctx.db)
        .await
        .expect("the worker");
    let job = lab.submit(backup("b1"), "k").await.job;
    lab.run(&workers[..1]).await;
    assert_eq!(lab.state(job).await, JobState::Running, "it waits");
    sqlx::query(
        "update tasks set waiting_since = now() - interval '1 day', run_at = now() where state = 'ready'",
    )
    .execute(&lab.ctx.db)
    .await
    .expect("the task");
    lab.run(&workers[..1]).await;
    let row = lab.job(job).await;
    assert_eq!(row.machine.state, JobState::Failed);
    assert_eq!(row.error.expect("why").code, "RV-NODE-NO-WORKER");
}

#[sqlx::test(migrations = "../migrations")]
async fn backups_of_a_cluster_come_one_after_the_other(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(1).await;
    let first = lab.submit(backup("b1"), "k1").await.job;
    let second = lab.submit(backup("b2"), "k2").await.job;
    assert_eq!(lab.offers().await.len(), 1);
    assert_eq!(lab.state(second).await, JobState::Queued);
    jobs::control(&lab.ctx, first, Action::Cancel, "tester").await.expect("cancelled");
    lab.run(&workers).await;
    assert_eq!(lab.state(second).await, JobState::Succeeded);
}

#[sqlx::test(migrations = "../migrations")]
async fn no_more_uploads_at_once_than_asked_for(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(3).await;
    let narrow = spec(json!({"kind": "backup", "cluster": "c", "name": "b1", "max_parallel_nodes": 1}));
    let job = lab.submit(narrow, "k").await.job;
    for offer in lab.offers().await {
        let worker = lab.worker_of(&workers, &offer).await;
        lab.report(&worker.started(&offer)).await;
        lab.report(&worker.succeeded(&offer)).await;
    }
    for _ in 0..3 {
        let offers = lab.offers().await;
        assert_eq!(offers.len(), 1);
        let worker = lab.worker_of(&workers, &offers[0]).await;
        lab.report(&worker.started(&offers[0])).await;
        lab.report(&worker.succeeded(&offers[0])).await;
    }
    lab.run(&workers).await;
    assert_eq!(lab.state(job).await, JobState::Succeeded);
}
