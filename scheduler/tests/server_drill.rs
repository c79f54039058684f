//! Drills over a real Postgres: which backup they try, what they leave, and what they prove.

mod support;

use ringvault_core::{
    TaskError,
    api::EvidenceKind,
    job::JobState,
    task::{TaskPayload, TaskResult, ValidateResult},
};
use ringvault_queue::{Report, message::TaskOffer};
use ringvault_scheduler::{
    jobs::{self, Action},
    policies,
};
use ringvault_state::read::{evidence, status};
use serde_json::json;
use sqlx::PgPool;
use support::{Lab, backup, name, spec, worker::Worker};

/// A cluster of two nodes with the backups `b1` and `b2`.
async fn backed_up(db: PgPool) -> (Lab, Vec<Worker>) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(2).await;
    for backup_name in ["b1", "b2"] {
        lab.submit(backup(backup_name), backup_name).await;
        lab.run(&workers).await;
    }
    (lab, workers)
}

fn drill() -> ringvault_core::job::JobSpec {
    spec(json!({"kind": "drill", "cluster": "c"}))
}

async fn proved(lab: &Lab) -> bool {
    let mut conn = lab.ctx.db.acquire().await.expect("a connection");
    let clusters = status::clusters(&mut conn).await.expect("the status");
    clusters.iter().any(|cluster| cluster.last_drill_at.is_some())
}

async fn is_held(lab: &Lab) -> bool {
    sqlx::query_scalar("select exists (select from holds where released_at is null)")
        .fetch_one(&lab.ctx.db)
        .await
        .expect("the holds")
}

/// Does everything that is offered, with these words about what was read back.
async fn run_with(lab: &Lab, workers: &[Worker], problems: &[&str]) -> Vec<TaskOffer> {
    let mut done = Vec::new();
    loop {
        let offers = lab.offers().await;
        if offers.is_empty() {
            return done;
        }
        for offer in offers {
            let worker = lab.worker_of(workers, &offer).await;
            lab.report(&worker.started(&offer)).await;
            let mut report = worker.succeeded(&offer);
            if let (TaskPayload::Validate(_), Report::Succeeded(told)) = (&offer.payload, &mut report) {
                let problems = problems.iter().map(|text| (*text).to_owned()).collect();
                told.result = TaskResult::Validate(ValidateResult { tables: 1, rows_read: 7, problems });
            }
            lab.report(&report).await;
            done.push(offer);
        }
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn the_newest_backup_is_brought_back_read_and_dropped(db: PgPool) {
    let (lab, workers) = backed_up(db).await;
    let submitted = lab.submit(drill(), "d").await;
    assert_eq!(submitted.backup, Some(name("b2")));
    assert!(is_held(&lab).await, "no purge takes it meanwhile");
    let again = lab.submit(drill(), "d").await;
    assert_eq!((again.job, again.existing), (submitted.job, true), "asked for once");
    let done = run_with(&lab, &workers, &[]).await;
    let stages: Vec<&str> = done.iter().map(|offer| offer.stage.as_str()).collect();
    for stage in ["plan", "preflight", "download", "schema", "apply", "settle", "validate", "release"] {
        assert!(stages.contains(&stage), "{stage}: {stages:?}");
    }
    assert!(!stages.contains(&"truncate"));
    let mut dropping = 0;
    for offer in &done {
        match &offer.payload {
            TaskPayload::Release(task) => {
                dropping += u32::from(task.drill);
                assert!(!task.auth_copies && task.abort.is_none());
            }
            TaskPayload::Plan(task) | TaskPayload::Download(task) | TaskPayload::Apply(task) => {
                assert!(task.spec.drill && !task.spec.truncate && task.spec.backup == name("b2"));
            }
            _ => {}
        }
    }
    assert_eq!(dropping, 1, "one node drops what belongs to the cluster");
    assert_eq!(lab.state(submitted.job).await, JobState::Succeeded);
    assert!(proved(&lab).await && !is_held(&lab).await);
    lab.assert_replays(submitted.job).await;

    let mut conn = lab.ctx.db.acquire().await.expect("a connection");
    let found =
        evidence::list(&mut conn, None, Some(EvidenceKind::Drilled), None, 10).await.expect("evidence");
    assert_eq!(found.len(), 1);
    let (_, item) = &found[0];
    assert_eq!((item.job, &item.backup, item.count), (Some(submitted.job), &Some(name("b2")), Some(7)));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_drill_that_finds_problems_proves_nothing(db: PgPool) {
    let (lab, workers) = backed_up(db).await;
    let job = lab.submit(spec(json!({"kind": "drill", "cluster": "c", "backup": "b1"})), "d").await.job;
    run_with(&lab, &workers, &["k.t shows no row"]).await;
    assert_eq!(lab.state(job).await, JobState::Succeeded);
    assert!(!proved(&lab).await);
}

#[sqlx::test(migrations = "../migrations")]
async fn what_cannot_be_tried_is_refused(db: PgPool) {
    let lab = Lab::new(db).await;
    lab.nodes(1).await;
    let refusal = async |json| lab.try_submit(spec(json), "x").await.expect_err("refused").code();
    assert_eq!(refusal(json!({"kind": "drill", "cluster": "c"})).await, "RV-BACKUP-UNKNOWN");
    assert_eq!(refusal(json!({"kind": "drill", "cluster": "c", "backup": "b9"})).await, "RV-BACKUP-UNKNOWN");
    let elsewhere = json!({"kind": "drill", "cluster": "c", "target": "nowhere"});
    assert_eq!(refusal(elsewhere).await, "RV-CLUSTER-UNKNOWN");
    let system = json!({"kind": "drill", "cluster": "c", "selection": {"keyspaces": ["system_auth"]}});
    assert_eq!(refusal(system).await, "RV-INVALID");
    let claimed = json!({"kind": "drill", "cluster": "c", "policy": "weekly"});
    assert_eq!(refusal(claimed).await, "RV-INVALID");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_cancelled_drill_drops_what_it_made(db: PgPool) {
    let (lab, workers) = backed_up(db).await;
    let job = lab.submit(drill(), "d").await.job;
    // Up to the download.
    let mut cancelled = false;
    while !cancelled {
        for offer in lab.offers().await {
            let worker = lab.worker_of(&workers, &offer).await;
            lab.report(&worker.started(&offer)).await;
            if offer.stage.as_str() == "download" {
                if !cancelled {
                    jobs::control(&lab.ctx, job, Action::Cancel, "tester").await.expect("cancelled");
                    cancelled = true;
                }
                lab.report(&worker.stopped(&offer)).await;
            } else {
                lab.report(&worker.succeeded(&offer)).await;
            }
        }
    }
    let done = run_with(&lab, &workers, &[]).await;
    let dropping = done
        .iter()
        .filter(|offer| matches!(&offer.payload, TaskPayload::Release(task) if task.drill))
        .count();
    assert_eq!((dropping, lab.state(job).await), (1, JobState::Cancelled));
    assert!(!is_held(&lab).await);
}

#[sqlx::test(migrations = "../migrations")]
async fn keyspaces_that_cannot_be_dropped_fail_a_drill_until_they_can(db: PgPool) {
    let (lab, workers) = backed_up(db).await;
    let job = lab.submit(drill(), "d").await.job;
    while lab.state(job).await != JobState::Failed {
        for offer in lab.offers().await {
            let worker = lab.worker_of(&workers, &offer).await;
            lab.report(&worker.started(&offer)).await;
            let drops = matches!(&offer.payload, TaskPayload::Release(task) if task.drill);
            let report = if drops {
                worker.failed(&offer, TaskError::permanent("RV-NODE", "DROP is not allowed"))
            } else {
                worker.succeeded(&offer)
            };
            lab.report(&report).await;
        }
    }
    assert!(!proved(&lab).await && is_held(&lab).await);
    jobs::control(&lab.ctx, job, Action::Retry, "tester").await.expect("retried");
    let done = run_with(&lab, &workers, &[]).await;
    assert_eq!(done.len(), 1, "what is done stays done");
    assert_eq!(lab.state(job).await, JobState::Succeeded);
    assert!(proved(&lab).await);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_policy_tries_the_newest_backup(db: PgPool) {
    let (lab, workers) = backed_up(db).await;
    let text = "[policy.weekly]\ncluster = \"c\"\nschedule = \"* * * * *\"\naction = \"drill\"\n\
                keyspaces = [\"shop\"]\nrate_limit = \"10MiB\"\n";
    lab.policies(text, "2 minutes").await;
    policies::pass(&lab.ctx).await.expect("fires");
    let done = run_with(&lab, &workers, &[]).await;
    let plan = done.iter().find_map(|offer| match &offer.payload {
        TaskPayload::Plan(task) => Some(task.spec.clone()),
        _ => None,
    });
    let plan = plan.expect("a plan");
    assert_eq!((plan.backup, plan.rate_limit), (name("b2"), Some(10 << 20)));
    assert_eq!(plan.selection.keyspaces, ["shop"]);
    assert!(proved(&lab).await);
}

#[sqlx::test(migrations = "../migrations")]
async fn two_drills_on_one_cluster_come_one_after_the_other(db: PgPool) {
    let (lab, workers) = backed_up(db).await;
    let first = lab.submit(drill(), "d1").await.job;
    let second = lab.submit(drill(), "d2").await.job;
    let offers = lab.offers().await;
    assert!(offers.iter().all(|offer| offer.job == first));
    assert_eq!(lab.state(second).await, JobState::Queued);
    for offer in offers {
        let worker = lab.worker_of(&workers, &offer).await;
        lab.report(&worker.started(&offer)).await;
        lab.report(&worker.succeeded(&offer)).await;
    }
    run_with(&lab, &workers, &[]).await;
    assert_eq!(lab.state(first).await, JobState::Succeeded);
    assert_eq!(lab.state(second).await, JobState::Succeeded);
}
