//! Workers, rings and slots over a real Postgres.

mod support;

use chrono::Utc;
use ringvault_core::{api::NodeState, job::JobState};
use ringvault_queue::{
    Beat,
    message::{NodeGoodbye, NodeHello},
};
use ringvault_scheduler::{dispatch, registry};
use ringvault_state::registry::{
    clusters,
    forgotten::{self, Forgotten},
    topologies,
    workers::Repeat,
};
use serde_json::json;
use sqlx::PgPool;
use support::{Lab, backup, cluster, host, spec, worker::Worker};

async fn worker_state(lab: &Lab, worker: &Worker) -> (String, Option<String>) {
    sqlx::query_as("select state, reason from workers where id = $1")
        .bind(worker.id.0)
        .fetch_one(&lab.ctx.db)
        .await
        .expect("the worker")
}

#[sqlx::test(migrations = "../migrations")]
async fn a_stranger_that_claims_a_cluster_s_id_is_refused_until_the_owner_says_otherwise(db: PgPool) {
    let lab = Lab::new(db).await;
    lab.nodes(2).await;
    let stranger = Worker::beside(host(9));
    let hello = stranger.hello(&[host(9), host(10)]);
    lab.beat(&hello).await;
    let (state, reason) = worker_state(&lab, &stranger).await;
    assert_eq!(state, "refused");
    assert!(reason.expect("why").contains("ringvault cluster rebind c"));
    let mut conn = lab.ctx.db.acquire().await.expect("a connection");
    let ring = topologies::present(&mut conn, &cluster()).await.expect("the ring");
    assert_eq!(ring.host_ids(), [host(1), host(2)], "it has changed nothing");

    clusters::unbind(&mut conn, &cluster()).await.expect("rebound");
    lab.beat(&hello).await;
    assert_eq!(worker_state(&lab, &stranger).await.0, "live");
    let ring = topologies::present(&mut conn, &cluster()).await.expect("the ring");
    assert_eq!(ring.host_ids(), [host(9), host(10)]);
}

#[sqlx::test(migrations = "../migrations")]
async fn of_workers_for_one_node_an_empty_machine_s_comes_last(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(2).await;
    let (first, second) = (Worker::beside(host(2)), Worker::beside(host(2)));
    lab.beat(&first.stands_for()).await;
    let (state, reason) = worker_state(&lab, &first).await;
    assert_eq!(state, "refused");
    assert!(reason.expect("why").contains(&workers[1].id.to_string()), "the node's own worker is there");

    sqlx::query("update workers set last_seen = now() - interval '1 hour' where id = $1")
        .bind(workers[1].id.0)
        .execute(&lab.ctx.db)
        .await
        .expect("silence");
    lab.beat(&first.stands_for()).await;
    lab.beat(&second.stands_for()).await;
    assert_eq!(worker_state(&lab, &first).await.0, "live");
    assert_eq!(worker_state(&lab, &second).await.0, "refused", "the first has the place");
    lab.submit(backup("b1"), "k").await;
    assert_eq!(lab.offers().await.len(), 2, "its tasks are the node's");

    lab.beat(&workers[1].hello(&[host(1), host(2)])).await;
    assert_eq!(worker_state(&lab, &workers[1]).await.0, "live", "the node itself needs nobody's leave");
    lab.beat(&first.stands_for()).await;
    assert_eq!(worker_state(&lab, &first).await.0, "refused");

    let nobody_s = Worker::beside(host(9));
    lab.beat(&nobody_s.stands_for()).await;
    let (state, reason) = worker_state(&lab, &nobody_s).await;
    assert_eq!(state, "refused");
    assert!(reason.expect("why").contains("not known as a member"));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_ring_s_history_has_a_line_for_each_change(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(2).await;
    let before = Utc::now();
    let grown = [host(1), host(2), host(3)];
    for worker in &workers {
        lab.beat(&worker.hello(&grown)).await;
        lab.beat(&worker.hello(&grown)).await;
    }
    let mut conn = lab.ctx.db.acquire().await.expect("a connection");
    let lines: i64 = sqlx::query_scalar("select count(*) from topologies")
        .fetch_one(&mut *conn)
        .await
        .expect("the history");
    assert_eq!(lines, 2);
    let (_, past) = topologies::at(&mut conn, &cluster(), before).await.expect("read").expect("a ring");
    assert_eq!(past.nodes.len(), 2);
    let shrunk = [host(1), host(3)];
    for worker in &workers {
        lab.beat(&worker.hello(&shrunk)).await;
    }
    let left: Vec<uuid::Uuid> = sqlx::query_scalar("select host_id from nodes where left_at is not null")
        .fetch_all(&mut *conn)
        .await
        .expect("the nodes");
    assert_eq!(left, [host(2).0]);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_worker_that_says_goodbye_gets_no_tasks(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(1).await;
    lab.beat(&Beat::Goodbye(NodeGoodbye {
        worker: workers[0].id,
        incarnation: workers[0].incarnation,
        cluster: cluster(),
    }))
    .await;
    lab.submit(backup("b1"), "k").await;
    assert!(lab.offers().await.is_empty());
    lab.beat(&workers[0].hello(&[host(1)])).await;
    sqlx::query("update tasks set run_at = now()").execute(&lab.ctx.db).await.expect("the tasks");
    assert_eq!(lab.offers().await.len(), 1);
}

#[sqlx::test(migrations = "../migrations")]
async fn two_schedulers_never_give_a_worker_more_than_its_slots(db: PgPool) {
    let first = Lab::new(db).await;
    let second = first.another("sched-2").await;
    let workers = first.nodes(1).await;
    first.submit(backup("b1"), "b1").await;
    first.run(&workers).await;
    let verify = || spec(json!({"kind": "verify", "cluster": "c", "backup": "b1"}));
    let mut all = Vec::new();
    for n in 0..12 {
        all.push(first.submit(verify(), &format!("v{n}")).await.job);
    }
    for _ in 0..4 {
        let (one, two) = tokio::join!(dispatch::pass(&first.ctx), dispatch::pass(&second.ctx));
        one.and(two).expect("both dispatch");
        // A job that both left to each other is placed by whoever comes next.
        dispatch::pass(&first.ctx).await.expect("one more");
        let placed: i64 =
            sqlx::query_scalar("select count(*) from tasks where state in ('dispatched', 'running')")
                .fetch_one(&first.ctx.db)
                .await
                .expect("the tasks");
        assert_eq!(placed, 3, "four slots, one of them kept for short tasks");
    }
    first.run(&workers).await;
    for job in all {
        assert_eq!(first.state(job).await, JobState::Succeeded);
    }
}

async fn history(lab: &Lab) -> i64 {
    sqlx::query_scalar("select count(*) from topologies").fetch_one(&lab.ctx.db).await.expect("the history")
}

#[sqlx::test(migrations = "../migrations")]
async fn nodes_that_disagree_on_the_ring_do_not_take_turns(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(3).await;
    let (all, fewer) = ([host(1), host(2), host(3)], [host(1), host(2)]);
    for _ in 0..4 {
        lab.beat(&workers[0].hello(&fewer)).await;
        lab.beat(&workers[1].hello(&all)).await;
        lab.beat(&workers[2].hello(&all)).await;
    }
    assert_eq!(history(&lab).await, 1, "most see all three");
    lab.beat(&workers[1].hello(&fewer)).await;
    assert_eq!(history(&lab).await, 2, "most see two");
    sqlx::query("update workers set last_seen = now() - interval '1 hour' where id <> $1")
        .bind(workers[2].id.0)
        .execute(&lab.ctx.db)
        .await
        .expect("the workers");
    lab.beat(&workers[2].hello(&all)).await;
    assert_eq!(history(&lab).await, 3, "of the workers that are there");
}

/// What a worker and its node are known by.
async fn heard(lab: &Lab, worker: &Worker) -> (i64, String, Option<String>, bool) {
    sqlx::query_as(
        "select w.disk_free, n.schema_version, w.problem,
             least(w.last_seen, n.last_seen) > now() - interval '30 seconds'
         from workers w join nodes n on n.cluster = w.cluster and n.host_id = w.host_id where w.id = $1",
    )
    .bind(worker.id.0)
    .fetch_one(&lab.ctx.db)
    .await
    .expect("the worker and its node")
}

#[sqlx::test(migrations = "../migrations")]
async fn a_worker_that_says_nothing_new_is_heard_at_once(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(2).await;
    let ring = [host(1), host(2)];
    let Beat::Hello(mut hello) = workers[0].hello(&ring) else { panic!("a hello") };
    hello.schema_version = Some("v1".to_owned());
    let says = async |hello: &NodeHello| registry::hello(&lab.ctx, hello).await.expect("heard");
    let long_ago = async || {
        for table in ["workers", "nodes"] {
            let text = format!("update {table} set last_seen = now() - interval '1 hour'");
            sqlx::query(sqlx::AssertSqlSafe(text)).execute(&lab.ctx.db).await.expect("the past");
        }
    };
    assert!(says(&hello).await, "its schema is new");
    long_ago().await;
    hello.disk.free = 7;
    assert!(says(&hello).await, "it was silent");
    assert!(!says(&hello).await, "nothing is new");
    assert_eq!(heard(&lab, &workers[0]).await, (7, "v1".to_owned(), None, true));
    hello.problem = Some("its disk is full".to_owned());
    assert!(says(&hello).await);
    assert_eq!(heard(&lab, &workers[0]).await.2, hello.problem);
    assert_eq!(history(&lab).await, 1);

    // What is the same may mean something else once the ring, the cluster or the node was given up.
    let mut conn = lab.ctx.db.acquire().await.expect("a connection");
    clusters::unbind(&mut conn, &cluster()).await.expect("rebound");
    assert!(says(&hello).await);
    let bound = clusters::lock(&mut conn, &cluster()).await.expect("read").expect("the cluster");
    assert_eq!(bound, ring, "it is bound again");
    long_ago().await;
    let forget = (&cluster(), host(1));
    let silence = chrono::TimeDelta::seconds(90);
    assert_eq!(forgotten::forget(&mut conn, forget, silence).await.expect("asked"), Forgotten::Now);
    assert!(says(&hello).await, "the node is back");
    let listed =
        ringvault_state::read::nodes::list(&mut conn, Some(&cluster()), silence).await.expect("listed");
    assert_eq!(listed.len(), 2);
    // A database of the release before has no hash of the ring: it is noted once.
    sqlx::query("update topologies set digest = null").execute(&mut *conn).await.expect("the past");
    assert!(says(&hello).await);
    assert!(!says(&hello).await);
    hello.incarnation = uuid::Uuid::now_v7();
    assert!(says(&hello).await, "another run of it");
}

#[sqlx::test(migrations = "../migrations")]
async fn the_last_words_of_a_worker_stay_at_its_node(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(1).await;
    let Beat::Hello(mut hello) = workers[0].hello(&[host(1)]) else { panic!("a hello") };
    (hello.problem, hello.ends) = (Some("the bucket is not there".to_owned()), true);
    assert!(!registry::hello(&lab.ctx, &hello).await.expect("heard"), "no task has a place there");
    let mut conn = lab.ctx.db.acquire().await.expect("a connection");
    let silence = chrono::TimeDelta::seconds(90);
    let mut listed = async || {
        let nodes = ringvault_state::read::nodes::list(&mut conn, Some(&cluster()), silence).await;
        nodes.expect("listed").pop().expect("a node")
    };
    let node = listed().await;
    assert_eq!(node.state, NodeState::Silent);
    assert!(node.problem.is_some_and(|words| words.ends_with("the bucket is not there")));
    (hello.problem, hello.ends) = (None, false);
    hello.incarnation = uuid::Uuid::now_v7();
    assert!(registry::hello(&lab.ctx, &hello).await.expect("heard"), "it runs again");
    let node = listed().await;
    assert_eq!((node.state, node.problem), (NodeState::Live, None));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_worker_is_known_by_what_it_calls_what_it_said(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(1).await;
    let says = async |edition| match workers[0].still(edition) {
        Beat::Still(still) => registry::still(&lab.ctx, &still).await.expect("heard"),
        _ => unreachable!("a word"),
    };
    assert_eq!(says(1).await, Repeat::No, "of a release that does not count");
    let Beat::Hello(mut hello) = workers[0].hello(&[host(1)]) else { panic!("a hello") };
    (hello.edition, hello.schema_version) = (Some(1), Some("v1".to_owned()));
    assert!(registry::hello(&lab.ctx, &hello).await.expect("heard"), "it counts now");
    assert!(!registry::hello(&lab.ctx, &hello).await.expect("heard"), "it was asked for in vain");
    assert_eq!(says(1).await, Repeat::Heard);
    assert_eq!(heard(&lab, &workers[0]).await.0, 40, "its disk");
    assert_eq!(says(2).await, Repeat::No);
    sqlx::query("update workers set last_seen = now() - interval '1 hour'")
        .execute(&lab.ctx.db)
        .await
        .expect("the past");
    assert_eq!(says(1).await, Repeat::AfterSilence);
    let mut conn = lab.ctx.db.acquire().await.expect("a connection");
    clusters::unbind(&mut conn, &cluster()).await.expect("rebound");
    assert_eq!(says(1).await, Repeat::No, "it may mean something else now");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_worker_whose_node_is_down_keeps_its_node(db: PgPool) {
    let lab = Lab::new(db).await;
    let worker = lab.nodes(1).await.remove(0);
    let Beat::Hello(mut hello) = worker.hello(&[worker.host]) else { panic!("a hello") };
    (hello.host_id, hello.topology, hello.problem) = (None, None, Some("Cassandra is down".to_owned()));
    lab.beat(&Beat::Hello(hello)).await;
    let kept: Option<uuid::Uuid> = sqlx::query_scalar("select host_id from workers where id = $1")
        .bind(worker.id.0)
        .fetch_one(&lab.ctx.db)
        .await
        .expect("the worker");
    assert_eq!(kept, Some(worker.host.0));
}

#[sqlx::test(migrations = "../migrations")]
async fn no_backup_waits_for_a_node_that_is_forgotten_until_it_is_back(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(3).await;
    let mut conn = lab.ctx.db.acquire().await.expect("a connection");
    let cluster = cluster();
    let third = (&cluster, host(3));
    let silence = chrono::TimeDelta::seconds(90);
    assert_eq!(forgotten::forget(&mut conn, third, silence).await.expect("asked"), Forgotten::Alive);
    sqlx::query("update workers set last_seen = now() - interval '1 hour' where id = $1")
        .bind(workers[2].id.0)
        .execute(&mut *conn)
        .await
        .expect("the worker");
    assert_eq!(forgotten::forget(&mut conn, third, silence).await.expect("asked"), Forgotten::Now);
    assert_eq!(forgotten::forget(&mut conn, third, silence).await.expect("asked"), Forgotten::Already);
    let unknown = (&cluster, host(7));
    assert_eq!(forgotten::forget(&mut conn, unknown, silence).await.expect("asked"), Forgotten::Unknown);
    let listed =
        ringvault_state::read::nodes::list(&mut conn, Some(&cluster), silence).await.expect("listed");
    assert_eq!(listed.len(), 2);

    let job = lab.submit(backup("b1"), "b1").await.job;
    assert_eq!(lab.run(&workers[..2]).await.get("snapshot"), Some(&2));
    assert_eq!(lab.state(job).await, JobState::Succeeded);

    let ring = [host(1), host(2), host(3)];
    lab.beat(&workers[2].hello(&ring)).await;
    lab.submit(backup("b2"), "b2").await;
    assert_eq!(lab.run(&workers).await.get("snapshot"), Some(&3));
}
