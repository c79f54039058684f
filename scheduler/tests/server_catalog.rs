//! The database is lost: a new one is filled from the vault, lists what the old one listed, and work goes
//! on from there. What is damaged is named, what is there already stays, and two at once come to one.

mod support;

use ringvault_core::job::JobState;
use ringvault_scheduler::jobs::{self, Action};
use serde_json::{Value, json};
use sqlx::PgPool;
use support::{
    Lab, backup, host,
    http::Http,
    spec,
    vault_hands::{Hands, damage, hold_key},
    worker::Worker,
};

const NODES: usize = 2;

/// A scheduler, a vault and a cluster that was backed up, verified, held and purged.
struct Ground {
    lab: Lab,
    http: Http,
    workers: Vec<Worker>,
}

impl Ground {
    async fn new(db: PgPool) -> Self {
        let lab = Lab::new(db).await;
        let workers = lab.nodes(NODES).await;
        let http = lab.http().await;
        Self { lab, http, workers }
    }

    async fn run(&self, content: &str) {
        let (lab, content) = (&self.lab, content.to_owned());
        let hands = Hands { vault: &lab.ctx.vault, folder: lab.folder(), nodes: NODES, content };
        hands.run(lab, &self.workers).await;
    }

    async fn job(&self, spec: Value, key: &str, content: &str) {
        let id = self.lab.submit(support::spec(spec), key).await.job;
        self.run(content).await;
        assert_eq!(self.lab.state(id).await, JobState::Succeeded, "{key}");
    }

    /// What there is of every state: purged (b0), held and verified (b1), dead (b2), dead and cleared (b3),
    /// complete with labels (b4), expired and not yet purged (b5), begun and never ended (b6).
    async fn with_history(db: PgPool) -> Self {
        let ground = Self::new(db).await;
        let lab = &ground.lab;
        for (name, content) in [("b0", "a"), ("b1", "b")] {
            ground.job(json!({"kind": "backup", "cluster": "c", "name": name}), name, content).await;
        }
        ground.cancelled("b3").await;
        ground.job(json!({"kind": "purge", "cluster": "c", "backups": ["b0"]}), "p0", "b").await;
        ground.cancelled("b2").await;
        let more = json!({"kind": "backup", "cluster": "c", "name": "b4", "mode": "full", "dc": "dc1",
            "tags": {"why": "release"}, "selection": {"keyspaces": ["k"]}});
        ground.job(more, "b4", "c").await;
        for (level, key) in [("presence", "v0"), ("digest", "v1")] {
            let verify = json!({"kind": "verify", "cluster": "c", "backup": "b1", "level": level});
            ground.job(verify, key, "").await;
        }
        for name in ["LIT-7", "LIT-8"] {
            let hold = json!({"cluster": "c", "backup": "b1", "name": name, "reason": "a case"});
            ground.http.post("/v1/holds", hold).await.json(200);
        }
        let hold = json!({"cluster": "c", "backup": "b1", "name": "LIT-8", "reason": "closed"});
        assert_eq!(ground.http.delete("/v1/holds", Some(hold)).await.status, 204);
        // A purge that has expired its backup and did not get to take it away.
        ground.job(json!({"kind": "backup", "cluster": "c", "name": "b5"}), "b5", "d").await;
        let purge = spec(json!({"kind": "purge", "cluster": "c", "backups": ["b5"]}));
        let purge = lab.submit(purge, "p5").await.job;
        let offer = lab.offers().await.pop().expect("a mark");
        let worker = lab.worker_of(&ground.workers, &offer).await.clone();
        lab.report(&worker.started(&offer)).await;
        let hands =
            Hands { vault: &lab.ctx.vault, folder: lab.folder(), nodes: NODES, content: String::new() };
        hands.work(&worker, &offer).await;
        jobs::control(&lab.ctx, purge, Action::Cancel, "tester").await.expect("cancelled");
        lab.report(&worker.stopped(&offer)).await;
        lab.outbox().await;
        // A backup that has begun.
        lab.submit(backup("b6"), "b6").await;
        for offer in lab.offers().await {
            let worker = lab.worker_of(&ground.workers, &offer).await.clone();
            lab.report(&worker.started(&offer)).await;
            hands.work(&worker, &offer).await;
        }
        ground
    }

    /// A backup that is cancelled while its nodes upload.
    async fn cancelled(&self, name: &str) {
        let lab = &self.lab;
        let id = lab.submit(backup(name), name).await.job;
        let hands = Hands { vault: &lab.ctx.vault, folder: lab.folder(), nodes: NODES, content: "x".into() };
        let offers = lab.offers().await;
        assert_eq!(offers.len(), NODES);
        for offer in offers {
            let worker = lab.worker_of(&self.workers, &offer).await.clone();
            lab.report(&worker.started(&offer)).await;
            hands.work(&worker, &offer).await;
            lab.report(&worker.succeeded(&offer)).await;
        }
        jobs::control(&lab.ctx, id, Action::Cancel, "tester").await.expect("cancelled");
        self.run("x").await;
        assert_eq!(lab.state(id).await, JobState::Cancelled);
    }

    /// What is told of everything in the vault.
    async fn told(&self) -> Vec<(String, Value)> {
        let mut told = Vec::new();
        for path in ["/v1/backups?limit=100", "/v1/holds", "/v1/clusters/c/topology"] {
            told.push((path.to_owned(), self.http.get(path).await.json(200)));
        }
        for name in ["b0", "b1", "b2", "b3", "b4", "b5", "b6"] {
            let path = format!("/v1/clusters/c/backups/{name}");
            told.push((path.clone(), self.http.get(&path).await.json(200)));
        }
        for (path, document) in &mut told {
            let fields = document.as_object_mut().expect("a document");
            for now in ["as_of", "at", "since"] {
                fields.remove(now);
            }
            if path.contains("/backups/") {
                // What each node brought is in the seal, but for which of it was new; without a seal it is
                // known by the tasks alone.
                if ["b0", "b2", "b3", "b6"].iter().any(|name| path.ends_with(name)) {
                    fields.remove("nodes");
                }
                for node in fields.get_mut("nodes").and_then(Value::as_array_mut).into_iter().flatten() {
                    node.as_object_mut().expect("a node").remove("bytes_new");
                }
            }
        }
        told
    }

    /// A new, empty database.
    async fn lose_database(&self) {
        let tables: Vec<String> = sqlx::query_scalar(
            "select quote_ident(tablename) from pg_tables
             where schemaname = 'public' and tablename <> '_sqlx_migrations'",
        )
        .fetch_all(&self.lab.ctx.db)
        .await
        .expect("the tables");
        let sql = format!("truncate {} restart identity cascade", tables.join(", "));
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&self.lab.ctx.db).await.expect("emptied");
    }

    async fn rebuild(&self, dry_run: bool) -> Value {
        let clusters = self.http.get("/v1/catalog/clusters").await.json(200);
        assert_eq!(clusters["items"], json!([{"cluster": "c", "backups": 7}]));
        let ask = json!({"cluster": "c", "dry_run": dry_run});
        let done = self.http.post("/v1/catalog/rebuild", ask).await.json(200);
        assert_eq!(done.get("next"), None, "one page holds it all");
        done
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.lab.ctx.db).await.expect(sql)
    }
}

fn count_of(done: &Value, what: &str) -> usize {
    done["changes"].as_array().expect("changes").iter().filter(|change| change["what"] == what).count()
}

#[track_caller]
fn assert_same(before: &[(String, Value)], after: &[(String, Value)]) {
    for ((path, was), (_, is)) in before.iter().zip(after) {
        assert_eq!(was, is, "{path}");
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn an_empty_database_is_filled_from_the_vault_and_lists_the_same(db: PgPool) {
    let ground = Ground::with_history(db).await;
    let before = ground.told().await;
    let states: Vec<_> =
        before[0].1["items"].as_array().expect("items").iter().map(|b| &b["state"]).collect();
    assert_eq!(states, ["running", "expired", "complete", "dead", "dead", "complete", "expired"]);
    ground.lose_database().await;
    let dry = ground.rebuild(true).await;
    assert_eq!(ground.count("select count(*) from backups").await, 0, "a dry run changes nothing");
    let done = ground.rebuild(false).await;
    assert_eq!(dry["changes"], done["changes"], "a dry run tells what would be done");
    assert_eq!(done["notes"], json!([]));
    let counts =
        ["cluster", "ring", "topology", "backup", "verification", "hold"].map(|w| count_of(&done, w));
    assert_eq!(counts, [1, 1, 1, 7, 2, 1], "{done:#}");
    assert_same(&before, &ground.told().await);
    let cleared = "select count(*) from backups where state = 'dead' and purged_at is not null";
    assert_eq!(ground.count(cleared).await, 1, "the purge of b0 cleared b3, and b2 died later");

    let again = ground.rebuild(false).await;
    assert_eq!((&again["changes"], &again["notes"]), (&json!([]), &json!([])));
    assert_same(&before, &ground.told().await);
}

#[sqlx::test(migrations = "../migrations")]
async fn from_a_rebuilt_database_work_goes_on(db: PgPool) {
    let ground = Ground::with_history(db).await;
    ground.lose_database().await;
    ground.rebuild(false).await;
    // The ring is bound: a stranger is refused before any of its own workers is there.
    let stranger = Worker::beside(host(9));
    ground.lab.beat(&stranger.hello(&[host(9)])).await;
    assert_eq!(ground.count("select count(*) from workers where state = 'refused'").await, 1);
    let hosts: Vec<_> = (1..=NODES).map(host).collect();
    for worker in &ground.workers {
        ground.lab.beat(&worker.hello(&hosts)).await;
    }
    assert_eq!(ground.count("select count(*) from topologies").await, 1, "the same ring is no change");

    let taken = ground.lab.try_submit(backup("b0"), "n0").await.expect_err("names are never used again");
    assert_eq!(taken.code(), "RV-BACKUP-EXISTS");
    let held = spec(json!({"kind": "purge", "cluster": "c", "backups": ["b1"]}));
    let held = ground.lab.try_submit(held, "n1").await.expect_err("it is held");
    assert_eq!(held.code(), "RV-BACKUP-HELD");
    let gone = spec(json!({"kind": "verify", "cluster": "c", "backup": "b5"}));
    assert!(ground.lab.try_submit(gone, "n2").await.is_err(), "it has expired");

    ground.job(json!({"kind": "backup", "cluster": "c", "name": "b7"}), "b7", "b").await;
    ground.job(json!({"kind": "purge", "cluster": "c", "backups": ["b4"]}), "n3", "").await;
    let states = ground.http.get("/v1/backups?limit=100").await.json(200);
    let states: Vec<_> = states["items"].as_array().expect("items").iter().map(|b| &b["state"]).collect();
    let expect = ["complete", "dead", "expired", "expired", "dead", "dead", "complete", "expired"];
    assert_eq!(states, expect, "b6, whose job nobody knows, is ended by the purge");
    ground.job(json!({"kind": "verify", "cluster": "c", "backup": "b1", "level": "digest"}), "n4", "").await;
    let whole = ground.http.get("/v1/clusters/c/backups/b1").await.json(200);
    assert_eq!(whole["verified"]["damaged"], 0, "the purge took nothing that b1 names");
    assert_eq!(whole["verifications"].as_array().map(Vec::len), Some(3));
    let restore = json!({"kind": "restore", "source": "c", "backup": "b1", "target": "c"});
    ground.lab.submit(spec(restore), "n5").await;
    assert_eq!(ground.lab.offers().await.len(), 1, "a restore begins with its plan");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_damaged_record_is_named_and_the_rest_is_taken_over(db: PgPool) {
    let ground = Ground::with_history(db).await;
    let report = sqlx::query_scalar::<_, uuid::Uuid>("select job from verifications order by at limit 1");
    let report = report.fetch_one(&ground.lab.ctx.db).await.expect("a verify");
    ground.lose_database().await;
    let keys = [
        "clusters/c/backups/b4/backup.json".to_owned(),
        format!("clusters/c/verifications/b1/{report}.json"),
        hold_key("b1", "LIT-7"),
    ];
    for key in &keys {
        // No longer JSON, whatever byte it is.
        std::fs::write(ground.lab.folder().join("vault").join(key), b"{\"version\": 1, ").expect("written");
    }
    let done = ground.rebuild(false).await;
    let notes = done["notes"].as_array().expect("notes");
    assert_eq!(notes.len(), 3, "{notes:#?}");
    for key in &keys {
        let named = notes.iter().any(|note| note["detail"].as_str().is_some_and(|text| text.contains(key)));
        assert!(named, "{key} is not named: {notes:#?}");
    }
    assert!(notes.iter().all(|note| note["kind"] == "damaged"));
    assert_eq!(
        [count_of(&done, "backup"), count_of(&done, "verification"), count_of(&done, "hold")],
        [6, 1, 0]
    );

    // Without an intent nobody knows what has expired: nothing of the cluster's backups is guessed.
    ground.lose_database().await;
    damage(&ground.lab, "clusters/c/purges/00000001.json");
    std::fs::write(ground.lab.folder().join("vault/clusters/c/purges/00000001.json"), b"{").expect("written");
    let done = ground.rebuild(false).await;
    assert_eq!(count_of(&done, "backup"), 0);
    assert!(done["notes"][0]["detail"].as_str().is_some_and(|text| text.contains("00000001.json")), "{done}");
}

#[sqlx::test(migrations = "../migrations")]
async fn two_rebuilds_at_once_come_to_one(db: PgPool) {
    let ground = Ground::with_history(db).await;
    let before = ground.told().await;
    ground.lose_database().await;
    let (one, other) = tokio::join!(ground.rebuild(false), ground.rebuild(false));
    for (what, expect) in [("cluster", 1), ("backup", 7), ("verification", 2), ("hold", 1), ("topology", 1)] {
        assert_eq!(count_of(&one, what) + count_of(&other, what), expect, "{what}");
    }
    assert_same(&before, &ground.told().await);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_database_that_is_not_empty_is_mended_and_nothing_taken_from_it(db: PgPool) {
    let ground = Ground::with_history(db).await;
    let before = ground.told().await;
    let same = ground.rebuild(false).await;
    assert_eq!((&same["changes"], &same["notes"]), (&json!([]), &json!([])), "all is as it was");
    // As after a restore of the database from yesterday's dump, with a backup in it that the vault lost.
    for sql in [
        "update backups set state = 'complete', expired_at = null, expired_by = null where name = 'b5'",
        "update backups set figures = null, sealed_at = null, state = 'dead' where name = 'b4'",
        "delete from holds where name = 'LIT-7'",
        "insert into backups (cluster, name, job, state, mode, started_at, tainted)
         values ('c', 'lost', gen_random_uuid(), 'complete', 'full', now(), true)",
    ] {
        sqlx::query(sql).execute(&ground.lab.ctx.db).await.expect(sql);
    }
    let done = ground.rebuild(false).await;
    let changes = done["changes"].as_array().expect("changes");
    let mended = |name: &str| {
        let change = changes.iter().find(|change| change["backup"] == name).expect("a change");
        change["mended"].clone()
    };
    assert_eq!(mended("b5"), json!(["state", "expired"]));
    assert_eq!(mended("b4"), json!(["state", "sealed_at", "figures"]));
    assert_eq!(count_of(&done, "hold"), 1);
    assert_eq!(done["notes"].as_array().map(Vec::len), Some(1));
    assert_eq!((&done["notes"][0]["kind"], &done["notes"][0]["backup"]), (&json!("missing"), &json!("lost")));
    let held = ground.count("select count(*) from backups where name = 'lost' and state = 'complete'").await;
    assert_eq!(held, 1, "it is told, not taken away");
    sqlx::query("delete from backups where name = 'lost'")
        .execute(&ground.lab.ctx.db)
        .await
        .expect("deleted");
    assert_same(&before, &ground.told().await);
}

#[sqlx::test(migrations = "../migrations")]
async fn holds_of_the_first_releases_are_told_to_the_vault(db: PgPool) {
    let ground = Ground::new(db).await;
    ground.job(json!({"kind": "backup", "cluster": "c", "name": "b1"}), "b1", "a").await;
    let hold = json!({"cluster": "c", "backup": "b1", "name": "old", "reason": "a case"});
    ground.http.post("/v1/holds", hold).await.json(200);
    let key = ground.lab.folder().join("vault").join(hold_key("b1", "old"));
    std::fs::remove_file(&key).expect("a record");
    sqlx::query("update holds set recorded = false").execute(&ground.lab.ctx.db).await.expect("updated");
    ringvault_scheduler::housekeeping::pass(&ground.lab.ctx).await.expect("housekeeping");
    assert!(key.exists(), "the leader has told the vault");
    assert_eq!(ground.count("select count(*) from holds where not recorded").await, 0);
}
