//! A job of any kind, driven to any stage of it by workers of the test's own.
#![allow(unreachable_pub, reason = "part of one test binary")]

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
};

use ringvault_core::{
    JobId, TaskError, TaskId,
    job::{JobSpec, JobState, StageKind, stages_of},
    task::{NodePlan, Progress, TaskPayload, TaskResult},
};
use ringvault_queue::{
    Report, TaskMessage,
    message::{Control, StopReason, TaskOffer, TaskSucceeded},
};
use ringvault_state::tasks::lease;
use serde_json::json;
use sqlx::PgPool;

use crate::support::{
    Lab, backup,
    http::{Answer, Http},
    spec,
    worker::Worker,
};

/// As many as there are places for a task to be in: done, running, offered, ready.
const NODES: usize = 4;

/// Ways to find a stage. With one task in it: where that is. With more: how they are spread.
pub const VARIANTS: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Backup,
    Verify,
    Restore,
    TruncatingRestore,
    Plan,
    Purge,
}

/// A cluster with a backup, and its workers.
pub struct Ground {
    pub lab: Lab,
    pub http: Http,
    kind: Kind,
    workers: Vec<Worker>,
    jobs: Cell<u32>,
}

impl Ground {
    pub async fn new(db: PgPool, kind: Kind) -> Self {
        let lab = Lab::new(db).await;
        let workers = lab.nodes(NODES).await;
        let http = lab.http().await;
        let ground = Self { lab, http, kind, workers, jobs: Cell::new(0) };
        ground.backed_up("base").await;
        ground
    }

    async fn backed_up(&self, name: &str) {
        let mut job = self.submit_spec(backup(name)).await;
        job.run_to_end().await;
        assert_eq!(job.state().await, JobState::Succeeded);
    }

    pub fn stages(&self) -> Vec<StageKind> {
        stages_of(&self.spec(""))
    }

    fn spec(&self, own: &str) -> JobSpec {
        let restore = |more: serde_json::Value| {
            let mut text = json!({"kind": "restore", "source": "c", "backup": "base", "target": "c"});
            text.as_object_mut().expect("fields").extend(more.as_object().expect("fields").clone());
            spec(text)
        };
        match self.kind {
            Kind::Backup if own.is_empty() => spec(json!({"kind": "backup", "cluster": "c"})),
            Kind::Backup => backup(own),
            Kind::Verify => spec(json!({"kind": "verify", "cluster": "c", "backup": "base"})),
            Kind::Restore => restore(json!({})),
            Kind::TruncatingRestore => restore(json!({"truncate": true, "confirm": "c"})),
            Kind::Plan => restore(json!({"plan_only": true})),
            Kind::Purge if own.is_empty() => spec(json!({"kind": "purge", "cluster": "c"})),
            Kind::Purge => spec(json!({"kind": "purge", "cluster": "c", "backups": [own]})),
        }
    }

    /// A new job of the kind; a purge has a backup of its own to expire.
    pub async fn submit(&self) -> Job<'_> {
        let own = format!("own{}", self.jobs.get());
        if self.kind == Kind::Purge {
            self.backed_up(&own).await;
        }
        self.submit_spec(self.spec(&own)).await
    }

    pub async fn submit_spec(&self, spec: JobSpec) -> Job<'_> {
        let number = self.jobs.get();
        self.jobs.set(number + 1);
        let id = self.lab.submit(spec, &format!("k{number}")).await.job;
        Job { ground: self, id, done: BTreeSet::new() }
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.lab.ctx.db).await.expect(sql)
    }

    pub async fn count_events(&self, event: &str) -> usize {
        self.lab.events().await.iter().filter(|other| *other == event).count()
    }

    /// Whether the job makes a backup that is not sealed.
    async fn makes_unsealed_backup(&self, job: JobId) -> bool {
        sqlx::query_scalar("select exists (select from backups where job = $1 and state = 'running')")
            .bind(job.0)
            .fetch_one(&self.lab.ctx.db)
            .await
            .expect("the backup")
    }

    /// What is left of a job that was cancelled or abandoned.
    pub async fn ended_unfinished(&self, job: &Job<'_>, scene: &Scene) {
        let here = scene.name(self);
        let (state, purged): (Option<String>, Option<bool>) = sqlx::query_as(
            "select (select state from backups where job = $1),
                 (select purged_at is not null from backups where job = $1)",
        )
        .bind(job.id.0)
        .fetch_one(&self.lab.ctx.db)
        .await
        .expect("the backup");
        if self.kind == Kind::Backup {
            let expect = if scene.sealed { "complete" } else { "dead" };
            assert_eq!((state.as_deref(), purged), (Some(expect), Some(false)), "{here}");
        }
        let attempts = "select count(*) from attempts where ended_at is null";
        assert_eq!(self.count(attempts).await, 0, "{here}: every attempt has an end");
    }
}

/// A job and what of it is done.
pub struct Job<'a> {
    ground: &'a Ground,
    pub id: JobId,
    done: BTreeSet<TaskId>,
}

/// A stage in the middle of its work.
pub struct Scene {
    pub index: usize,
    pub stage: StageKind,
    pub tasks: usize,
    pub done: Vec<TaskOffer>,
    pub running: Vec<TaskOffer>,
    pub offered: Vec<TaskOffer>,
    pub ready: usize,
    pub past_no_return: bool,
    /// The job's backup is sealed.
    pub sealed: bool,
}

impl Scene {
    pub fn name(&self, ground: &Ground) -> String {
        format!(
            "{:?} in {} with {} done, {} running, {} offered, {} ready",
            ground.kind,
            self.stage.as_str(),
            self.done.len(),
            self.running.len(),
            self.offered.len(),
            self.ready
        )
    }

    /// The tasks that clear up after it: on every node that a backup or restore may have touched.
    pub fn clearing_up(&self, ground: &Ground) -> BTreeMap<&'static str, usize> {
        let touched = match ground.kind {
            Kind::Backup => NODES,
            Kind::Restore | Kind::TruncatingRestore | Kind::Plan if self.index > 0 => NODES,
            _ => 0,
        };
        if touched == 0 { BTreeMap::new() } else { [("release", touched)].into() }
    }
}

impl Job<'_> {
    pub async fn state(&self) -> JobState {
        self.ground.lab.state(self.id).await
    }

    pub async fn order(&self, word: &str) -> Answer {
        self.ground.http.order(&self.id.to_string(), word).await
    }

    /// The order is refused, says in which state the job is, and changes nothing.
    pub async fn is_refused(&self, word: &str) {
        let state = self.state().await;
        let answer = self.order(word).await;
        assert_eq!(answer.refused(409), "RV-JOB-STATE", "{word} of one that is {}", state.as_str());
        let problem = answer.json(409);
        let detail = problem["detail"].as_str().expect("a detail");
        assert!(detail.contains(state.as_str()) && !detail.contains("event"), "{detail}");
        assert!(problem["next"].as_str().is_some_and(|next| next.contains("ringvault job ")), "{problem}");
        assert_eq!(self.state().await, state);
    }

    async fn worker(&self, offer: &TaskOffer) -> Worker {
        self.ground.lab.worker_of(&self.ground.workers, offer).await.clone()
    }

    /// Dispatches; what is done is never offered again.
    pub async fn offers(&self) -> Vec<TaskOffer> {
        let offers = self.ground.lab.offers().await;
        for offer in &offers {
            assert_eq!(offer.job, self.id);
            assert!(!self.done.contains(&offer.task), "{} was done", offer.stage.as_str());
        }
        offers
    }

    pub async fn begin(&self, offer: &TaskOffer) {
        let worker = self.worker(offer).await;
        self.ground.lab.report(&worker.started(offer)).await;
        let grants = self.ground.lab.grants().await;
        assert_eq!(grants.len(), 1, "{}", offer.stage.as_str());
        assert_eq!((grants[0].task, grants[0].epoch), (offer.task, offer.epoch));
    }

    /// A worker answers an offer that was taken back: it is not granted.
    pub async fn asks_in_vain(&self, offer: &TaskOffer) {
        for worker in &self.ground.workers {
            self.ground.lab.report(&worker.started(offer)).await;
        }
        assert!(self.ground.lab.grants().await.is_empty(), "{}", offer.stage.as_str());
    }

    pub async fn finish(&mut self, offer: TaskOffer) {
        let worker = self.worker(&offer).await;
        let mut result = worker.result(&offer.payload);
        let node = |worker: &Worker| NodePlan {
            host_id: worker.host,
            address: "10.0.0.1".to_owned(),
            sstables: 1,
            files: 8,
            bytes: 1000,
            receives: 0,
        };
        match &mut result {
            TaskResult::Upload(upload) => upload.snapshot_cleared = false,
            TaskResult::Mark(mark) => mark.objects = 40_000,
            TaskResult::Plan(plan) => {
                plan.blake3 = Some("00".repeat(32));
                plan.nodes = self.ground.workers.iter().map(node).collect();
            }
            _ => {}
        }
        let (task, epoch) = (offer.task, offer.epoch);
        let report = Report::Succeeded(TaskSucceeded { task, epoch, worker: worker.id, result });
        self.ground.lab.report(&report).await;
        self.done.insert(task);
    }

    pub async fn finish_all(&mut self, offers: Vec<TaskOffer>) {
        for offer in offers {
            self.finish(offer).await;
        }
    }

    /// Does what was offered.
    pub async fn take_up(&mut self, offers: Vec<TaskOffer>) {
        for offer in offers {
            self.begin(&offer).await;
            self.finish(offer).await;
        }
    }

    pub async fn stopped(&self, offer: TaskOffer) {
        let worker = self.worker(&offer).await;
        self.ground.lab.report(&worker.stopped(&offer)).await;
    }

    pub async fn failed(&self, offer: TaskOffer, error: TaskError) {
        let worker = self.worker(&offer).await;
        self.ground.lab.report(&worker.failed(&offer, error)).await;
    }

    /// What a heartbeat of the task is answered with.
    pub async fn heartbeat(&self, offer: &TaskOffer) -> lease::Beat {
        let worker = self.worker(offer).await;
        let mut conn = self.ground.lab.ctx.db.acquire().await.expect("a connection");
        let lease = chrono::TimeDelta::from_std(self.ground.lab.ctx.config.retry.lease).expect("short");
        let key = (offer.task, offer.epoch, worker.id);
        lease::extend(&mut conn, key, lease, &Progress::default()).await.expect("a beat")
    }

    /// Exactly the running tasks were told to stop, and why.
    pub async fn stops_told(&self, scene: &Scene, why: &str) {
        let mut told = Vec::new();
        for message in self.ground.lab.outbox().await {
            match message {
                TaskMessage::Control(control) => {
                    let Control::Stop { why: word } = control.action else { panic!("{control:?}") };
                    assert_eq!(word, if why == "pause" { StopReason::Pause } else { StopReason::Cancel });
                    told.push((control.task, control.epoch));
                }
                other => panic!("{}: {other:?}", scene.name(self.ground)),
            }
        }
        let mut running: Vec<_> = scene.running.iter().map(|offer| (offer.task, offer.epoch)).collect();
        told.sort();
        running.sort();
        assert_eq!(told, running, "{}", scene.name(self.ground));
    }

    async fn index(&self) -> usize {
        self.ground.lab.job(self.id).await.machine.stage
    }

    /// Brings the job to this stage, with its tasks in the places of this variant. `None`: the stage has
    /// fewer places than variants.
    pub async fn drive_to(&mut self, index: usize, variant: usize) -> Option<Scene> {
        let mut offers = self.offers().await;
        while self.index().await < index {
            self.take_up(std::mem::take(&mut offers)).await;
            offers = self.offers().await;
        }
        let machine = self.ground.lab.job(self.id).await.machine;
        let stage = machine.stages[index];
        let tasks = offers.len();
        assert!(tasks > 0 && self.index().await == index, "{}", stage.as_str());
        // Where each of one or four is: 0 done, 1 running, 2 offered, 3 ready.
        let places: &[usize] = match (tasks, variant) {
            (1, 0) => &[1],
            (1, _) => &[2],
            (_, 0) => &[0, 1, 2, 3],
            (_, _) => &[1, 1, 0, 2],
        };
        let mut scene = Scene {
            index,
            stage,
            tasks,
            done: Vec::new(),
            running: Vec::new(),
            offered: Vec::new(),
            ready: 0,
            past_no_return: machine.past_no_return,
            sealed: stage == StageKind::Release,
        };
        assert_eq!(places.len(), tasks, "{}", stage.as_str());
        for (place, offer) in places.iter().zip(offers) {
            match place {
                0 => {
                    self.begin(&offer).await;
                    scene.done.push(offer.clone());
                    self.finish(offer).await;
                }
                1 => {
                    self.begin(&offer).await;
                    scene.running.push(offer);
                }
                2 => scene.offered.push(offer),
                _ => {
                    // Handed back, and not placed again yet.
                    self.stopped(offer).await;
                    scene.ready += 1;
                }
            }
        }
        Some(scene)
    }

    /// Runs everything there is to run of this stage.
    pub async fn run_stage(&mut self, index: usize) {
        while self.state().await == JobState::Running && self.index().await == index {
            let offers = self.offers().await;
            self.take_up(offers).await;
        }
    }

    /// Runs it to where nothing is offered any more. How many tasks of each kind were done.
    pub async fn run_to_end(&mut self) -> BTreeMap<&'static str, usize> {
        let mut done = BTreeMap::new();
        loop {
            let offers = self.offers().await;
            if offers.is_empty() {
                break done;
            }
            for offer in offers {
                if let TaskPayload::Release(release) = &offer.payload {
                    let unsealed = self.ground.makes_unsealed_backup(self.id).await;
                    assert_eq!(release.abort.is_some(), unsealed, "an abort marker where a seal is missing");
                }
                self.begin(&offer).await;
                *done.entry(offer.stage.as_str()).or_default() += 1;
                self.finish(offer).await;
            }
        }
    }
}
