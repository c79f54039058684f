//! Backups of Medusa's are imported over the API, page by page and again and again; they are listed, verified
//! and purged like others, and an empty database learns of them from the vault.

#[path = "../../shared/vault/tests/support/medusa.rs"]
mod medusa;
mod support;

use ringvault_core::job::JobState;
use ringvault_queue::QueueConfig;
use serde_json::{Value, json};
use sqlx::PgPool;
use support::{Lab, host, http::Http, spec, vault_hands::Hands, worker::Worker};
use tempfile::TempDir;

struct Ground {
    lab: Lab,
    http: Http,
    workers: Vec<Worker>,
    bucket: TempDir,
}

impl Ground {
    async fn new(db: PgPool) -> Self {
        let bucket = TempDir::new().expect("a temporary folder");
        medusa::unpack(bucket.path());
        let settings =
            format!("[vault.medusa.old]\nurl = \"file://{}/{}\"\n", bucket.path().display(), medusa::PREFIX);
        let queue = QueueConfig::from_url("amqp://127.0.0.1:1");
        let lab = Lab::with(db, "sched-1", &queue, &settings).await;
        let workers = lab.nodes(2).await;
        let http = lab.http().await;
        Self { lab, http, workers, bucket }
    }

    async fn import(&self, more: Value) -> Value {
        let mut ask = json!({"cluster": "c", "store": "old", "unfinished": true});
        ask.as_object_mut().expect("fields").extend(more.as_object().expect("fields").clone());
        self.http.post("/v1/catalog/import-medusa", ask).await.json(200)
    }

    async fn listed(&self) -> Vec<(Value, Value)> {
        let page = self.http.get("/v1/backups?limit=100").await.json(200);
        let items = page["items"].as_array().expect("items");
        items.iter().map(|backup| (backup["name"].clone(), backup["state"].clone())).collect()
    }

    async fn job(&self, job: Value, key: &str) -> JobState {
        let (lab, id) = (&self.lab, self.lab.submit(spec(job), key).await.job);
        let hands = Hands { vault: &lab.ctx.vault, folder: lab.folder(), nodes: 2, content: String::new() };
        hands.run(lab, &self.workers).await;
        lab.state(id).await
    }

    async fn lose_backups(&self) {
        let db = &self.lab.ctx.db;
        sqlx::query("truncate backups, clusters restart identity cascade")
            .execute(db)
            .await
            .expect("emptied");
    }
}

fn outcomes(done: &Value) -> Vec<&str> {
    let backups = done["backups"].as_array().expect("backups");
    backups.iter().map(|backup| backup["outcome"].as_str().expect("an outcome")).collect()
}

#[sqlx::test(migrations = "../migrations")]
async fn a_history_is_imported_listed_and_outlives_the_database(db: PgPool) {
    let ground = Ground::new(db).await;
    let dry = ground.import(json!({"dry_run": true})).await;
    assert_eq!(outcomes(&dry), ["imported"; 4], "{dry:#}");
    assert_eq!(ground.listed().await, [], "a dry run changes nothing");
    let one = ground.import(json!({"backups": ["diff2"]})).await;
    assert_eq!((outcomes(&one), &one["listed"]), (vec!["imported"], &json!(1)), "{one:#}");
    assert_eq!(one["backups"][0]["figures"]["nodes_held"], 2);
    let done = ground.import(json!({})).await;
    assert_eq!(outcomes(&done), ["imported", "known", "imported", "imported"], "{done:#}");
    assert_eq!(done.get("next"), None);

    let listed = ground.listed().await;
    let names: Vec<&str> = listed.iter().filter_map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["onlyone", "full1", "diff2", "diff1"], "the newest first, as Medusa began them");
    let states: Vec<&str> = listed.iter().filter_map(|(_, state)| state.as_str()).collect();
    assert_eq!(states, ["incomplete", "complete", "complete", "complete"]);
    let shown = ground.http.get("/v1/clusters/c/backups/diff1").await.json(200);
    let tags = json!({"origin": "medusa", "medusa-store": "old", "medusa-mode": "differential"});
    assert_eq!(shown["tags"], tags, "{shown:#}");

    for level in ["presence", "digest"] {
        let verify = json!({"kind": "verify", "cluster": "c", "backup": "diff1", "level": level});
        assert_eq!(ground.job(verify, level).await, JobState::Succeeded);
    }
    let shown = ground.http.get("/v1/clusters/c/backups/diff1").await.json(200);
    assert_eq!((&shown["verified"]["level"], &shown["verified"]["damaged"]), (&json!("digest"), &json!(0)));

    // The ring that workers announced is not what Medusa's names say.
    let topology = ground.http.get("/v1/clusters/c/topology").await.json(200);
    assert!(topology.to_string().contains(&host(1).to_string()), "{topology:#}");

    ground.lose_backups().await;
    let rebuilt = ground.http.post("/v1/catalog/rebuild", json!({"cluster": "c"})).await.json(200);
    assert_eq!(rebuilt["notes"], json!([]), "{rebuilt:#}");
    assert_eq!(ground.listed().await, listed);
    let again = ground.import(json!({})).await;
    assert_eq!(outcomes(&again), ["known"; 4]);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_purge_forgets_an_imported_backup_and_nothing_of_medusas(db: PgPool) {
    let ground = Ground::new(db).await;
    ground.import(json!({})).await;
    let before = medusa::files(ground.bucket.path());
    let purge = json!({"kind": "purge", "cluster": "c", "backups": ["full1"]});
    assert_eq!(ground.job(purge, "p").await, JobState::Succeeded);
    assert!(medusa::files(ground.bucket.path()) == before, "something of Medusa's is gone");
    let again = ground.import(json!({})).await;
    assert_eq!(outcomes(&again), ["known", "known", "expired", "known"], "{again:#}");
    assert_eq!(ground.listed().await[1].1, "expired");
}

#[sqlx::test(migrations = "../migrations")]
async fn what_is_wrong_is_said(db: PgPool) {
    let ground = Ground::new(db).await;
    let ask = |store: &str, backups: Value| json!({"cluster": "c", "store": store, "backups": backups});
    let path = "/v1/catalog/import-medusa";
    let error = ground.http.post(path, ask("new", json!([]))).await.json(404);
    assert!(
        error["detail"].as_str().is_some_and(|said| said.contains("\"new\"") && said.contains("old")),
        "{error:#}"
    );
    let error = ground.http.post(path, ask("old", json!(["nightly"]))).await.json(404);
    assert!(error["detail"].as_str().is_some_and(|said| said.contains("nightly")), "{error:#}");

    let root = ground.bucket.path().join(medusa::PREFIX);
    std::fs::write(root.join("127.0.0.2/diff1/meta/manifest.json"), "{").expect("written");
    let done = ground.import(json!({})).await;
    let problems = done["backups"][0]["problems"].as_array().expect("problems");
    assert!(problems.len() == 1 && problems[0].to_string().contains("127.0.0.2"), "{done:#}");
    assert_eq!(done["backups"][0]["coverage"], "incomplete");
    std::fs::remove_dir_all(root.join("index")).expect("removed");
    let empty = ground.import(json!({})).await;
    assert!(empty["problems"][0].as_str().is_some_and(|said| said.contains("build-index")), "{empty:#}");
}
