//! A scheduler's parts over a real Postgres, and workers that say what a test wants them to say.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

#[path = "../../../shared/tls/tests/support/mod.rs"]
pub mod authority;
pub mod broker;
pub mod http;
pub mod invariants;
pub mod openid;
pub mod receiver;
pub mod replay;
pub mod running;
pub mod station;
pub mod tls;
pub mod vault_hands;
pub mod worker;

use std::sync::Arc;

use ringvault_core::{
    BackupName, ClusterName, HostId, JobId,
    job::{JobSpec, JobState},
    policy::parse_policies,
};
use ringvault_queue::{
    Envelope, KeyRing, QueueConfig, Role, Session, TaskMessage,
    message::{TaskGrant, TaskOffer},
};
use ringvault_scheduler::{
    Config, Context, Wake, dispatch,
    hearing::Hearing,
    heartbeats,
    jobs::{self, Submission, Submitted},
    traces::Settled,
};
use ringvault_state::jobs::JobRow;
use ringvault_vault::Vault;
use sqlx::PgPool;
use tempfile::TempDir;
use uuid::Uuid;

use worker::Worker;

/// A scheduler and what it stands on.
pub struct Lab {
    pub ctx: Arc<Context>,
    folder: Arc<TempDir>,
}

/// Patience that suits a test: everything is due at once, nothing by itself.
const CONFIG: &str = r#"
[postgres]
[signing]
key_file = "FOLDER/key"
[api]
admin_token_file = "FOLDER/token"
[vault]
url = "file://FOLDER/vault"
[retry]
backoff_base = "0s"
environment_interval = "100ms"
"#;

impl Lab {
    /// Waits until so many workers are known to live.
    pub async fn live_workers(&self, wanted: i64) {
        broker::until(&format!("{wanted} live workers"), async || {
            let live = "select count(*) from workers where state = 'live'";
            let count: i64 = sqlx::query_scalar(live).fetch_one(&self.ctx.db).await.expect("the workers");
            (count == wanted).then_some(())
        })
        .await;
    }

    /// Over `db`, without a broker: messages stay in the outbox, where the test reads them.
    pub async fn new(db: PgPool) -> Self {
        Self::with(db, "sched-1", &QueueConfig::from_url("amqp://127.0.0.1:1"), "").await
    }

    /// Over `db` and a broker, with more configuration: what is left of `[retry]`, then sections. Before that it may
    /// say in a line of its own where to `listen`.
    pub async fn with(db: PgPool, id: &str, queue: &QueueConfig, more: &str) -> Self {
        let folder = Arc::new(TempDir::new().expect("a temporary folder"));
        Self::open(db, id, queue, more, folder).await
    }

    /// Another scheduler of the same deployment.
    pub async fn another(&self, id: &str) -> Self {
        let queue = QueueConfig::from_url("amqp://127.0.0.1:1");
        Self::open(self.ctx.db.clone(), id, &queue, "", Arc::clone(&self.folder)).await
    }

    pub async fn open(db: PgPool, id: &str, queue: &QueueConfig, more: &str, folder: Arc<TempDir>) -> Self {
        let path = folder.path().to_str().expect("a plain path");
        let file = folder.path().join(format!("{id}.toml"));
        let (listen, more) = match more.strip_prefix("listen = ").and_then(|more| more.split_once('\n')) {
            Some((listen, more)) => (listen, more),
            None => ("\"127.0.0.1:0\"", more),
        };
        let common = CONFIG.replace("FOLDER", path);
        let text = format!("id = \"{id}\"\nlisten = {listen}\n{common}{more}\n[rabbitmq]\n");
        std::fs::write(&file, text).expect("the configuration");
        let key = folder.path().join("key");
        std::fs::write(&key, "ab".repeat(32)).expect("the key");
        let config = Config::read(&file).expect("a good configuration");
        let vault = match Vault::open(&config.vault).await {
            Ok(vault) => vault,
            Err(_) => Vault::init(&config.vault, "test").await.expect("a vault in a folder"),
        };
        let queue = Session::start(queue, Role::Scheduler, "test").expect("a good URL");
        let ctx = Context {
            config,
            incarnation: Uuid::now_v7(),
            db,
            queue,
            vault,
            keys: KeyRing::from_file(&key).expect("a key"),
            hearing: Hearing::default(),
            wake: Wake::default(),
            settled: Settled::default(),
        };
        Self { ctx: Arc::new(ctx), folder }
    }

    /// For another scheduler of the same deployment.
    pub fn shared_folder(&self) -> Arc<TempDir> {
        Arc::clone(&self.folder)
    }

    /// Where its configuration and vault are.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Announces `count` nodes of the cluster `c`, each with its worker.
    pub async fn nodes(&self, count: usize) -> Vec<Worker> {
        self.nodes_in(&vec![("dc1", "r1"); count]).await
    }

    /// One in each of these data centers and racks.
    pub async fn nodes_in(&self, places: &[(&str, &str)]) -> Vec<Worker> {
        let ring: Vec<(HostId, &str, &str)> =
            places.iter().zip(1..).map(|((dc, rack), number)| (host(number), *dc, *rack)).collect();
        let workers: Vec<Worker> = ring.iter().map(|(host, _, _)| Worker::beside(*host)).collect();
        for worker in &workers {
            self.beat(&worker.hello_in(&ring)).await;
        }
        workers
    }

    /// Applies a policy file as of so long `ago`, such as `2 minutes`.
    pub async fn policies(&self, text: &str, ago: &str) {
        let document = parse_policies(text).expect("a policy file");
        let mut conn = self.ctx.db.acquire().await.expect("a connection");
        for (name, policy) in &document.policy {
            ringvault_state::policies::apply(&mut conn, name, policy).await.expect("applied");
        }
        sqlx::query("update policies set fires_after = now() - $1::text::interval")
            .bind(ago)
            .execute(&mut *conn)
            .await
            .expect("the policies");
    }

    pub async fn beat(&self, beat: &ringvault_queue::Beat) {
        heartbeats::handle(&self.ctx, beat).await.expect("a beat that is taken");
    }

    pub async fn submit(&self, spec: JobSpec, key: &str) -> Submitted {
        self.try_submit(spec, key).await.expect("a job that is accepted")
    }

    pub async fn try_submit(&self, spec: JobSpec, key: &str) -> Result<Submitted, jobs::SubmitError> {
        let of_policy = matches!(&spec, JobSpec::Backup(spec) if spec.policy.is_some());
        let submission = Submission {
            source: if of_policy { jobs::POLICY_SOURCE } else { "test" }.to_owned(),
            spec,
            idempotency_key: key.to_owned(),
            requested_by: "tester".to_owned(),
            max_attempts: None,
            trace: None,
        };
        jobs::submit_job(&self.ctx, submission).await
    }

    /// Dispatches until nothing more can be, and takes the offers out of the outbox.
    pub async fn offers(&self) -> Vec<TaskOffer> {
        while dispatch::pass(&self.ctx).await.expect("dispatch") > 0 {}
        self.outbox()
            .await
            .into_iter()
            .filter_map(|message| match message {
                TaskMessage::Offer(offer) => Some(offer),
                _ => None,
            })
            .collect()
    }

    /// Takes the grants out of the outbox.
    pub async fn grants(&self) -> Vec<TaskGrant> {
        self.outbox()
            .await
            .into_iter()
            .filter_map(|message| match message {
                TaskMessage::Grant(grant) => Some(grant),
                _ => None,
            })
            .collect()
    }

    /// Takes everything to workers out of the outbox, as if it were sent.
    pub async fn outbox(&self) -> Vec<TaskMessage> {
        let bodies: Vec<(Vec<u8>,)> = sqlx::query_as(
            "with sent as (update outbox set sent_at = now()
                 where sent_at is null and exchange = 'ringvault.tasks' returning id, body)
             select body from sent order by id",
        )
        .fetch_all(&self.ctx.db)
        .await
        .expect("the outbox");
        bodies
            .iter()
            .map(|(body,)| Envelope::<TaskMessage>::parse(body).expect("our own message").body)
            .collect()
    }

    /// Types of the events in the outbox, in order, with how often each came.
    pub async fn events(&self) -> Vec<String> {
        sqlx::query_scalar("select message_type from outbox where exchange = 'ringvault.events' order by id")
            .fetch_all(&self.ctx.db)
            .await
            .expect("the outbox")
    }

    pub async fn job(&self, id: JobId) -> JobRow {
        let mut conn = self.ctx.db.acquire().await.expect("a connection");
        ringvault_state::jobs::load(&mut conn, id).await.expect("the job").expect("a job")
    }

    pub async fn state(&self, id: JobId) -> JobState {
        self.job(id).await.machine.state
    }

    /// Moves every deadline of tasks into the past.
    pub async fn let_deadlines_pass(&self) {
        sqlx::query("update tasks set deadline = now() - interval '1 hour', asked_at = asked_at - interval '1 hour' where deadline is not null")
            .execute(&self.ctx.db)
            .await
            .expect("the tasks");
    }
}

pub fn host(n: usize) -> HostId {
    HostId(Uuid::from_u128(n as u128))
}

pub fn cluster() -> ClusterName {
    ClusterName::new("c").expect("a name")
}

pub fn name(text: &str) -> BackupName {
    BackupName::new(text).expect("a name")
}

/// A specification from JSON.
pub fn spec(json: serde_json::Value) -> JobSpec {
    serde_json::from_value(json).expect("a specification")
}

/// A backup of everything under this name.
pub fn backup(name: &str) -> JobSpec {
    spec(serde_json::json!({"kind": "backup", "cluster": "c", "name": name}))
}
