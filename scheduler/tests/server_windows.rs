//! Windows of policies and an operator's hands on their jobs, over a real Postgres.

mod support;

use chrono::{TimeDelta, Utc};
use ringvault_core::{JobId, PolicyName, TaskError, job::JobState, policy::parse_policies};
use ringvault_scheduler::{
    dispatch,
    jobs::{self, Submission},
    policies,
};
use sqlx::PgPool;
use support::{Lab, backup, http::Http, worker::Worker};

struct Ground {
    lab: Lab,
    http: Http,
    workers: Vec<Worker>,
}

/// A window from and until so many hours from now.
fn window(from: i64, until: i64) -> String {
    let time = |hours| (Utc::now() + TimeDelta::hours(hours)).format("%H:%M").to_string();
    format!("window = \"{}-{}\"", time(from), time(until))
}

fn open() -> String {
    window(-1, 1)
}

fn closed() -> String {
    window(2, 3)
}

impl Ground {
    async fn new(db: PgPool) -> Self {
        let lab = Lab::new(db).await;
        let workers = lab.nodes(1).await;
        let http = lab.http().await;
        Self { lab, http, workers }
    }

    /// Applies the policy with these lines, as of two minutes ago, and looks once; fires are due but once.
    async fn apply(&self, lines: &str) {
        let text = format!(
            "[policy.nightly]\ncluster = \"c\"\nschedule = \"* * * * *\"\naction = \"backup\"\n{lines}\n"
        );
        let document = parse_policies(&text).expect("a policy file");
        let mut conn = self.lab.ctx.db.acquire().await.expect("a connection");
        for (name, policy) in &document.policy {
            ringvault_state::policies::apply(&mut conn, name, policy).await.expect("applied");
        }
        let fired = "select exists (select from fires where skipped is null)";
        let fired: bool = sqlx::query_scalar(fired).fetch_one(&mut *conn).await.expect("the fires");
        let after = if fired { "interval '1 day'" } else { "interval '-2 minutes'" };
        let update = format!("update policies set fires_after = now() + {after}");
        sqlx::query(sqlx::AssertSqlSafe(update)).execute(&mut *conn).await.expect("the policy");
        policies::pass(&self.lab.ctx).await.expect("looks");
    }

    async fn job(&self) -> JobId {
        let id = sqlx::query_scalar("select id from jobs where policy = 'nightly' order by created_at desc");
        JobId(id.fetch_one(&self.lab.ctx.db).await.expect("a job of the policy"))
    }

    /// A job that its window has paused.
    async fn paused(&self) -> JobId {
        self.apply(&open()).await;
        let offer = self.lab.offers().await.remove(0);
        self.lab.report(&self.workers[0].started(&offer)).await;
        self.apply(&closed()).await;
        assert_eq!(self.lab.state(offer.job).await, JobState::Paused);
        self.lab.report(&self.workers[0].stopped(&offer)).await;
        offer.job
    }

    async fn order(&self, job: JobId, word: &str) -> support::http::Answer {
        self.http.order(&job.to_string(), word).await
    }

    async fn succeeds(&self, job: JobId) {
        self.lab.run(&self.workers).await;
        assert_eq!(self.lab.state(job).await, JobState::Succeeded);
        self.lab.assert_replays(job).await;
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn what_a_person_pauses_too_stays_paused(db: PgPool) {
    let ground = Ground::new(db).await;
    let job = ground.paused().await;
    for _ in 0..2 {
        assert_eq!(ground.order(job, "pause").await.json(200)["state"], "paused");
    }
    let pauses = "select count(*) from transitions where task is null and event ->> 'event' = 'pause'";
    let pauses: i64 = sqlx::query_scalar(pauses).fetch_one(&ground.lab.ctx.db).await.expect("the log");
    assert_eq!(pauses, 2, "the window's and the person's, once");
    ground.apply(&open()).await;
    assert_eq!(ground.lab.state(job).await, JobState::Paused);
    assert_eq!(ground.order(job, "resume").await.json(200)["state"], "running");
    ground.succeeds(job).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn outside_its_window_a_job_is_not_resumed_and_says_when_it_goes_on(db: PgPool) {
    let ground = Ground::new(db).await;
    let job = ground.paused().await;
    let answer = ground.order(job, "resume").await;
    assert_eq!(answer.refused(409), "RV-JOB-WINDOW");
    let detail = answer.json(409)["detail"].as_str().expect("a detail").to_owned();
    assert!(detail.contains("policy nightly") && detail.contains(':'), "{detail}");
    assert_eq!(ground.lab.state(job).await, JobState::Paused);
    // By another window it goes on at once.
    ground.apply(&open()).await;
    ground.succeeds(job).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_job_whose_window_was_taken_away_goes_on(db: PgPool) {
    let ground = Ground::new(db).await;
    let job = ground.paused().await;
    ground.apply("").await;
    assert_eq!(ground.lab.state(job).await, JobState::Running);
    ground.succeeds(job).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_job_whose_policy_was_deleted_goes_on(db: PgPool) {
    let ground = Ground::new(db).await;
    let job = ground.paused().await;
    let mut conn = ground.lab.ctx.db.acquire().await.expect("a connection");
    let name = PolicyName::new("nightly").expect("a name");
    ringvault_state::policies::delete(&mut conn, &name).await.expect("deleted");
    policies::pass(&ground.lab.ctx).await.expect("looks");
    ground.succeeds(job).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_job_whose_policy_cannot_be_read_is_left_alone(db: PgPool) {
    let ground = Ground::new(db).await;
    let job = ground.paused().await;
    sqlx::query("update policies set document = '{}'").execute(&ground.lab.ctx.db).await.expect("the policy");
    policies::pass(&ground.lab.ctx).await.expect("looks");
    assert_eq!(ground.lab.state(job).await, JobState::Paused);
    assert_eq!(ground.order(job, "resume").await.json(200)["state"], "running", "a person may");
    ground.succeeds(job).await;
    let under_it = serde_json::json!({
        "kind": "purge", "cluster": "c", "policy": "nightly", "retention": {"keep_last": 1},
    });
    let purge = Submission {
        spec: support::spec(under_it),
        source: jobs::POLICY_SOURCE.to_owned(),
        idempotency_key: "p".to_owned(),
        requested_by: "policy nightly".to_owned(),
        max_attempts: None,
        trace: None,
    };
    let purge = jobs::submit_job(&ground.lab.ctx, purge).await.expect("accepted").job;
    ground.lab.run(&ground.workers).await;
    let row = ground.lab.job(purge).await;
    assert_eq!(row.machine.state, JobState::Failed, "nobody knows whose backups it is about");
    assert_eq!(row.error.expect("why").code, "RV-POLICY-UNREADABLE");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_job_that_fires_outside_its_window_begins_in_the_next(db: PgPool) {
    let ground = Ground::new(db).await;
    ground.apply(&closed()).await;
    let job = ground.job().await;
    assert!(ground.lab.offers().await.is_empty(), "no snapshot is taken outside");
    assert_eq!(ground.lab.state(job).await, JobState::Queued);
    assert_eq!(dispatch::pass(&ground.lab.ctx).await.expect("dispatch"), 0);
    // Whoever asks for one meanwhile need not wait for the window.
    let by_hand = ground.lab.submit(backup("by-hand"), "k").await.job;
    ground.succeeds(by_hand).await;
    assert_eq!(ground.lab.state(job).await, JobState::Queued);
    ground.apply(&open()).await;
    ground.succeeds(job).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_failed_job_is_in_no_fire_s_way(db: PgPool) {
    let ground = Ground::new(db).await;
    ground.apply("").await;
    let offer = ground.lab.offers().await.remove(0);
    ground.lab.report(&ground.workers[0].started(&offer)).await;
    let error = TaskError::permanent("RV-DISK", "the disk is broken");
    ground.lab.report(&ground.workers[0].failed(&offer, error)).await;
    assert_eq!(ground.lab.state(offer.job).await, JobState::Failed);
    // An hour ago it fired last.
    sqlx::query("update fires set fire_time = fire_time - interval '1 hour'")
        .execute(&ground.lab.ctx.db)
        .await
        .expect("the fire");
    sqlx::query("delete from inbox").execute(&ground.lab.ctx.db).await.expect("the inbox");
    sqlx::query("update policies set fires_after = now() - interval '2 minutes'")
        .execute(&ground.lab.ctx.db)
        .await
        .expect("the policy");
    policies::pass(&ground.lab.ctx).await.expect("fires");
    let next = ground.job().await;
    assert_ne!(next, offer.job);
    ground.succeeds(next).await;
    // The failed one may still be retried: by a person, who sees that it did not get through.
    assert_eq!(ground.order(offer.job, "retry").await.json(200)["state"], "running");
    ground.succeeds(offer.job).await;
    let by_hand = ground.lab.submit(backup("by-hand"), "k").await.job;
    ground.succeeds(by_hand).await;
}
