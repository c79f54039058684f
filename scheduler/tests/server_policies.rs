//! Policies, holds and purges over a real Postgres.

mod support;

use chrono::{DateTime, TimeDelta, Utc};
use ringvault_core::{PolicyName, job::JobState};
use ringvault_scheduler::{
    jobs::{self, Action},
    policies,
};
use serde_json::json;
use sqlx::PgPool;
use support::{Lab, backup, spec};

const POLICY: &str = r#"
[policy.nightly]
cluster = "c"
schedule = "* * * * *"
action = "backup"
"#;

/// Applies a policy file as of two minutes ago.
async fn apply(lab: &Lab, text: &str) {
    lab.policies(text, "2 minutes").await;
}

async fn fires(lab: &Lab) -> Vec<(DateTime<Utc>, bool, Option<String>)> {
    sqlx::query_as("select fire_time, job is not null, skipped from fires order by fire_time")
        .fetch_all(&lab.ctx.db)
        .await
        .expect("the fires")
}

#[sqlx::test(migrations = "../migrations")]
async fn two_schedulers_make_one_job_of_one_instant(db: PgPool) {
    let first = Lab::new(db).await;
    let second = first.another("sched-2").await;
    first.nodes(1).await;
    apply(&first, POLICY).await;
    for _ in 0..4 {
        let (one, two) = tokio::join!(policies::pass(&first.ctx), policies::pass(&second.ctx));
        one.and(two).expect("both look");
    }
    let fired = fires(&first).await;
    let minutes: std::collections::BTreeSet<_> = fired.iter().map(|fire| fire.0).collect();
    assert_eq!(minutes.len(), fired.len());
    let jobs: i64 =
        sqlx::query_scalar("select count(*) from jobs").fetch_one(&first.ctx.db).await.expect("the jobs");
    assert_eq!(jobs, 1, "{fired:?}");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_document_that_cannot_be_read_stops_no_other_policy(db: PgPool) {
    let lab = Lab::new(db).await;
    lab.nodes(1).await;
    apply(&lab, &POLICY.replace("nightly", "broken")).await;
    apply(&lab, POLICY).await;
    sqlx::query("update policies set document = '{}' where name = 'broken'")
        .execute(&lab.ctx.db)
        .await
        .expect("the policy");
    // As a newer scheduler might write it.
    sqlx::query("update policies set document = document || '{\"quiet_hours\": 1}' where name = 'nightly'")
        .execute(&lab.ctx.db)
        .await
        .expect("the policy");
    policies::pass(&lab.ctx).await.expect("fires");
    let fired = fires(&lab).await;
    assert!(fired.len() == 1 && fired[0].1, "{fired:?}");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_fire_while_the_last_job_runs_is_recorded_as_skipped(db: PgPool) {
    let lab = Lab::new(db).await;
    lab.nodes(1).await;
    apply(&lab, POLICY).await;
    policies::pass(&lab.ctx).await.expect("fires");
    let fired = fires(&lab).await;
    assert!(fired[0].1);
    // An hour ago it fired last; the job is still under way.
    sqlx::query("update fires set fire_time = fire_time - interval '1 hour'")
        .execute(&lab.ctx.db)
        .await
        .expect("the fire");
    policies::pass(&lab.ctx).await.expect("fires");
    let fired = fires(&lab).await;
    assert_eq!(fired.len(), 2);
    let why = fired[1].2.as_deref().expect("why it was skipped");
    assert!(!fired[1].1 && why.contains("still under way"), "{why}");
}

#[sqlx::test(migrations = "../migrations")]
async fn what_was_missed_is_skipped_or_fires_once(db: PgPool) {
    let lab = Lab::new(db).await;
    lab.nodes(1).await;
    let two_hours_ago = (Utc::now() - TimeDelta::hours(2)).format("%M %H * * *").to_string();
    let daily = POLICY.replace("* * * * *", &two_hours_ago);
    apply(&lab, &daily.replace("\naction", "\nmisfire = \"skip\"\naction")).await;
    sqlx::query("update policies set fires_after = now() - interval '3 days'")
        .execute(&lab.ctx.db)
        .await
        .expect("the policy");
    policies::pass(&lab.ctx).await.expect("looks");
    let fired = fires(&lab).await;
    assert_eq!(fired.len(), 1);
    assert!(fired[0].2.as_deref().is_some_and(|why| why.starts_with("missed")));
    policies::pass(&lab.ctx).await.expect("looks again");
    assert_eq!(fires(&lab).await.len(), 1);

    apply(&lab, &daily.replace("nightly", "other")).await;
    sqlx::query("update policies set fires_after = now() - interval '3 days' where name = 'other'")
        .execute(&lab.ctx.db)
        .await
        .expect("the policy");
    policies::pass(&lab.ctx).await.expect("fires");
    policies::pass(&lab.ctx).await.expect("looks again");
    let jobs: i64 = sqlx::query_scalar("select count(*) from jobs where policy = 'other'")
        .fetch_one(&lab.ctx.db)
        .await
        .expect("the jobs");
    assert_eq!(jobs, 1);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_purge_follows_each_backup_of_a_policy_with_a_retention(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(1).await;
    apply(&lab, &format!("{POLICY}retention = {{ keep_last = 1 }}\n")).await;
    let of_policy =
        |name: &str| spec(json!({"kind": "backup", "cluster": "c", "name": name, "policy": "nightly"}));
    for backup in ["b1", "b2"] {
        lab.submit(of_policy(backup), backup).await;
        lab.run(&workers).await;
    }
    lab.submit(backup("by-hand"), "k").await;
    lab.run(&workers).await;
    let states: Vec<(String, String, bool)> =
        sqlx::query_as("select name, state, purged_at is not null from backups order by name")
            .fetch_all(&lab.ctx.db)
            .await
            .expect("the backups");
    let expect = |name: &str, state: &str, gone| (name.to_owned(), state.to_owned(), gone);
    assert_eq!(
        states,
        [
            expect("b1", "expired", true),
            expect("b2", "complete", false),
            expect("by-hand", "complete", false)
        ]
    );
    assert!(lab.events().await.contains(&"backup.expired".to_owned()));
    let name = PolicyName::new("nightly").expect("a name");
    let purges: i64 = sqlx::query_scalar("select count(*) from jobs where kind = 'purge' and policy = $1")
        .bind(name.as_str())
        .fetch_one(&lab.ctx.db)
        .await
        .expect("the jobs");
    assert_eq!(purges, 2);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_backup_that_a_job_works_on_is_not_purged(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(1).await;
    lab.submit(backup("b1"), "b1").await;
    lab.run(&workers).await;
    let verify = spec(json!({"kind": "verify", "cluster": "c", "backup": "b1"}));
    let verify = lab.submit(verify, "v").await.job;
    let purge = || spec(json!({"kind": "purge", "cluster": "c", "backups": ["b1"]}));
    let held = lab.try_submit(purge(), "p1").await.expect_err("it is held");
    assert_eq!(held.code(), "RV-BACKUP-HELD");
    jobs::control(&lab.ctx, verify, Action::Cancel, "tester").await.expect("cancelled");
    let purge = lab.submit(purge(), "p2").await.job;

    // Between acceptance and its first stage somebody holds it.
    let hold = spec(json!({"kind": "verify", "cluster": "c", "backup": "b1"}));
    let hold = lab.submit(hold, "v2").await.job;
    lab.run(&workers).await;
    let refused = lab.job(purge).await;
    assert_eq!(refused.machine.state, JobState::Failed);
    assert_eq!(refused.error.expect("why").code, "RV-BACKUP-HELD");
    assert_eq!(lab.state(hold).await, JobState::Succeeded);
    jobs::control(&lab.ctx, purge, Action::Retry, "tester").await.expect("retried");
    lab.run(&workers).await;
    assert_eq!(lab.state(purge).await, JobState::Succeeded);
    let restore = spec(json!({"kind": "restore", "source": "c", "backup": "b1", "target": "c"}));
    let late = lab.try_submit(restore, "r").await.expect_err("it has expired");
    assert_eq!(late.code(), "RV-BACKUP-STATE");
}

#[sqlx::test(migrations = "../migrations")]
async fn policies_that_fire_at_one_instant_each_make_a_backup(db: PgPool) {
    let lab = Lab::new(db).await;
    lab.nodes(1).await;
    let three: String = ["one", "two", "three"].map(|name| POLICY.replace("nightly", name)).concat();
    apply(&lab, &three).await;
    let second = lab.another("sched-2").await;
    let (one, two) = tokio::join!(policies::pass(&lab.ctx), policies::pass(&second.ctx));
    one.and(two).expect("both look");
    // Of those that chose one name, one at least gets it in each pass.
    for _ in 0..2 {
        policies::pass(&lab.ctx).await.expect("looks again");
    }
    let fired: Vec<(String, bool)> =
        sqlx::query_as("select policy, job is not null from fires where skipped is null order by policy")
            .fetch_all(&lab.ctx.db)
            .await
            .expect("the fires");
    let made: std::collections::BTreeSet<_> =
        fired.into_iter().filter(|fire| fire.1).map(|fire| fire.0).collect();
    assert_eq!(made.into_iter().collect::<Vec<_>>(), ["one", "three", "two"]);
    let names: i64 = sqlx::query_scalar("select count(distinct name) from backups")
        .fetch_one(&lab.ctx.db)
        .await
        .expect("the backups");
    assert_eq!(names, 3);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_fire_that_queues_waits_for_the_job_before_it(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(1).await;
    apply(&lab, &POLICY.replace("\naction", "\non_conflict = \"queue\"\naction")).await;
    policies::pass(&lab.ctx).await.expect("fires");
    let _ = lab.offers().await;
    sqlx::query("update fires set fire_time = fire_time - interval '1 hour'")
        .execute(&lab.ctx.db)
        .await
        .expect("the fire");
    // The same minute may come again for the test: it is another fire.
    sqlx::query("delete from inbox").execute(&lab.ctx.db).await.expect("the inbox");
    policies::pass(&lab.ctx).await.expect("fires");
    let states = async || -> Vec<String> {
        sqlx::query_scalar("select state from jobs order by created_at")
            .fetch_all(&lab.ctx.db)
            .await
            .expect("the jobs")
    };
    assert!(lab.offers().await.is_empty());
    assert_eq!(states().await, ["running", "queued"]);
    lab.let_deadlines_pass().await;
    ringvault_scheduler::reaper::pass(&lab.ctx, std::time::Duration::ZERO).await.expect("the reaper");
    lab.run(&workers).await;
    assert_eq!(states().await, ["succeeded", "succeeded"]);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_backup_of_one_table_does_not_push_out_one_of_everything(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(1).await;
    lab.submit(backup("whole"), "1").await;
    lab.run(&workers).await;
    let narrow =
        json!({"kind": "backup", "cluster": "c", "name": "narrow", "selection": {"tables": ["a.b"]}});
    lab.submit(spec(narrow), "2").await;
    lab.run(&workers).await;
    let mut conn = lab.ctx.db.acquire().await.expect("a connection");
    let newest = ringvault_state::backups::newest_restorable(&mut conn, &support::cluster()).await;
    assert_eq!(newest.expect("looked"), Some(support::name("whole")), "what a verify looks at");
    lab.submit(spec(json!({"kind": "purge", "cluster": "c", "retention": {"keep_last": 1}})), "3").await;
    lab.run(&workers).await;
    let states: Vec<(String, String)> = sqlx::query_as("select name, state from backups order by name")
        .fetch_all(&lab.ctx.db)
        .await
        .expect("the backups");
    let expect = |name: &str| (name.to_owned(), "complete".to_owned());
    assert_eq!(states, [expect("narrow"), expect("whole")]);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_job_outside_its_window_pauses_and_goes_on_in_the_next(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(1).await;
    let window = |from: i64, until: i64| {
        let time = |hours| (Utc::now() + TimeDelta::hours(hours)).format("%H:%M").to_string();
        POLICY.replace("\naction", &format!("\nwindow = \"{}-{}\"\naction", time(from), time(until)))
    };
    apply(&lab, &window(-1, 1)).await;
    policies::pass(&lab.ctx).await.expect("fires");
    let offer = lab.offers().await.remove(0);
    lab.report(&workers[0].started(&offer)).await;
    let pass = async |text: &str| {
        apply(&lab, text).await;
        sqlx::query("update policies set fires_after = now() + interval '1 day'")
            .execute(&lab.ctx.db)
            .await
            .expect("the policy");
        policies::pass(&lab.ctx).await.expect("looks");
        lab.state(offer.job).await
    };
    assert_eq!(pass(&window(-1, 1)).await, JobState::Running);
    assert_eq!(pass(&window(2, 3)).await, JobState::Paused);
    lab.report(&workers[0].stopped(&offer)).await;
    assert!(lab.offers().await.is_empty(), "it holds still");
    assert_eq!(pass(&window(-1, 1)).await, JobState::Running);
    jobs::control(&lab.ctx, offer.job, Action::Pause, "somebody").await.expect("paused");
    assert_eq!(pass(&window(-1, 1)).await, JobState::Paused, "a person paused it");
    jobs::control(&lab.ctx, offer.job, Action::Resume, "somebody").await.expect("resumed");
    lab.run(&workers).await;
    assert_eq!(lab.state(offer.job).await, JobState::Succeeded);
    lab.assert_replays(offer.job).await;
}
