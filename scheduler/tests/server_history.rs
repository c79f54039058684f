//! What is old is forgotten, and nothing that is still needed; counters never fall.

mod support;

use std::collections::BTreeMap;

use ringvault_core::job::JobState;
use ringvault_queue::QueueConfig;
use ringvault_scheduler::housekeeping;
use ringvault_state::read::measures;
use sqlx::PgPool;
use support::{Lab, backup};

async fn rows(lab: &Lab) -> Vec<i64> {
    let mut counts = Vec::new();
    for sql in [
        "select count(*) from jobs",
        "select count(*) from tasks",
        "select count(*) from attempts",
        "select count(*) from transitions",
        "select count(*) from inbox",
    ] {
        counts.push(sqlx::query_scalar(sql).fetch_one(&lab.ctx.db).await.expect(sql));
    }
    counts
}

async fn counters(lab: &Lab) -> BTreeMap<String, String> {
    let mut conn = lab.ctx.db.acquire().await.expect("a connection");
    let mut found: BTreeMap<String, String> = measures::all(&mut conn)
        .await
        .expect("the measures")
        .into_iter()
        .filter(|measure| measure.name.ends_with("_total"))
        .map(|m| (format!("{} {} {} {}", m.name, m.cluster, m.kind, m.result), m.value.to_string()))
        .collect();
    let took = measures::backup_durations(&mut conn, &[0.0, 3600.0]).await.expect("the durations");
    let took: Vec<_> = took.iter().map(|took| (&took.cluster, took.count, &took.within)).collect();
    found.insert("durations".to_owned(), format!("{took:?}"));
    found
}

#[sqlx::test(migrations = "../migrations")]
async fn a_job_is_forgotten_whole_once_nothing_needs_it(db: PgPool) {
    let short = "[history]\nkeep = \"0s\"\nkeep_last = 1\n";
    let lab = Lab::with(db, "sched-1", &QueueConfig::from_url("amqp://127.0.0.1:1"), short).await;
    let workers = lab.nodes(2).await;
    let first = lab.submit(backup("b1"), "k1").await.job;
    lab.run(&workers).await;
    let second = lab.submit(backup("b2"), "k2").await.job;
    lab.run(&workers).await;
    assert_eq!(lab.state(second).await, JobState::Succeeded);
    let (all, counted) = (rows(&lab).await, counters(&lab).await);
    assert_eq!(counted.get("backup_runs_total c  ok").map(String::as_str), Some("2"));

    housekeeping::pass(&lab.ctx).await.expect("housekeeping");
    assert_eq!(rows(&lab).await, all, "their backups are in the vault");
    assert_eq!(counters(&lab).await, counted, "booked, not counted twice");

    sqlx::query("update backups set state = 'expired', purged_at = now()")
        .execute(&lab.ctx.db)
        .await
        .expect("the backups");
    housekeeping::pass(&lab.ctx).await.expect("housekeeping");
    let left = rows(&lab).await;
    assert_eq!(left, all.iter().map(|count| count / 2).collect::<Vec<_>>(), "the newest is kept");
    let gone: bool = sqlx::query_scalar("select not exists (select from jobs where id = $1)")
        .bind(first.0)
        .fetch_one(&lab.ctx.db)
        .await
        .expect("the jobs");
    assert!(gone);
    lab.assert_replays(second).await;
    let runs = |counters: &BTreeMap<String, String>| -> Vec<(String, String)> {
        let stays = |name: &str| !name.starts_with("uploaded") && !name.starts_with("reused");
        counters.iter().filter(|(name, _)| stays(name)).map(|(n, v)| (n.clone(), v.clone())).collect()
    };
    assert_eq!(runs(&counters(&lab).await), runs(&counted), "counters never fall");
}

#[sqlx::test(migrations = "../migrations")]
async fn the_last_fire_of_a_policy_is_never_forgotten(db: PgPool) {
    let short = "[history]\nkeep = \"0s\"\nkeep_last = 0\n";
    let lab = Lab::with(db, "sched-1", &QueueConfig::from_url("amqp://127.0.0.1:1"), short).await;
    let workers = lab.nodes(1).await;
    let job = lab.submit(backup("b1"), "k1").await.job;
    lab.run(&workers).await;
    sqlx::query("update backups set state = 'expired', purged_at = now()")
        .execute(&lab.ctx.db)
        .await
        .expect("the backups");
    sqlx::query(
        "insert into fires (policy, fire_time, job, skipped, scheduler)
         values ('p', now() - interval '2 hours', null, 'an earlier one', 's'),
             ('p', now() - interval '1 hour', $1, null, 's')",
    )
    .bind(job.0)
    .execute(&lab.ctx.db)
    .await
    .expect("the fires");
    housekeeping::pass(&lab.ctx).await.expect("housekeeping");
    let fires: Vec<bool> =
        sqlx::query_scalar("select job is not null from fires").fetch_all(&lab.ctx.db).await.expect("fires");
    assert_eq!(fires, [true], "the skipped one is gone, the last one is there with its job");
    assert_eq!(lab.state(job).await, JobState::Succeeded);

    sqlx::query("insert into fires (policy, fire_time, skipped, scheduler) values ('p', now(), 'busy', 's')")
        .execute(&lab.ctx.db)
        .await
        .expect("the fire");
    housekeeping::pass(&lab.ctx).await.expect("housekeeping");
    assert_eq!(rows(&lab).await[..4], [0, 0, 0, 0]);
}
