//! The work of each kind of task.
//!
//! Every executor may be started again at any point: it looks at what is there (a snapshot by its
//! tag, objects by the journal, staged files by hash, imported batches by their record) and goes on
//! from it. It says what it did, or which class of error stopped it.

mod digest;
mod failure;
mod restore;
mod run_to_stop;
mod seal;
mod snapshot;
mod source;
mod structure;
mod upload;
mod vault_work;
mod workspace;

use std::sync::Arc;

use ringvault_core::{
    TaskError, WorkerId,
    task::{TaskPayload, TaskResult},
};
use ringvault_queue::message::{NodeHello, TaskOffer};
use ringvault_telemetry::Entry;
use ringvault_vault::{StoreRequests, Vault, throttle::Throttle, transfer::TransferContext};
use tracing::{Instrument as _, Span, field::Empty};
use uuid::Uuid;

use crate::{
    agent::TaskHandle,
    config::WorkerConfig,
    metrics::{Measures, RunResult},
    node::Node,
};
use run_to_stop::{grace, run_to_stop};

/// Executes tasks on one node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Executor {
    config: Arc<WorkerConfig>,
    node: Arc<Node>,
    vault: Vault,
    measures: Measures,
    /// What all of the node's transfers keep to together.
    rate: Throttle,
}

impl Executor {
    /// For this node and vault.
    pub fn new(config: WorkerConfig, node: Node, vault: Vault) -> Self {
        let rate = Throttle::new(config.worker.rate_limit);
        let (config, node) = (Arc::new(config), Arc::new(node));
        Self { config, node, vault, measures: Measures::default(), rate }
    }

    /// The same for one task: whatever it asks the store keeps to its limit.
    fn for_task(&self, handle: &TaskHandle) -> Result<Self, TaskError> {
        let vault = self.vault.limited(handle.requests()).map_err(|error| error.to_task_error())?;
        Ok(Self { vault, ..self.clone() })
    }

    /// The worker's configuration.
    pub fn config(&self) -> &WorkerConfig {
        &self.config
    }

    /// What was counted of the tasks.
    pub const fn measures(&self) -> &Measures {
        &self.measures
    }

    /// What was counted of the store.
    pub const fn requests(&self) -> &StoreRequests {
        self.vault.store().requests()
    }

    /// The node's address; empty while none is known.
    pub fn node_address(&self) -> String {
        self.node.known_address()
    }

    /// What the worker announces.
    pub async fn describe(&self, worker: WorkerId, incarnation: Uuid) -> NodeHello {
        self.node.describe(&self.config, worker, incarnation).await
    }

    /// Executes one task.
    pub async fn execute(&self, offer: TaskOffer, handle: TaskHandle) -> Result<TaskResult, TaskError> {
        let span = self.span_of(&offer, &handle);
        let grace = {
            let payload = offer.payload.clone();
            move |why| grace(&payload, why)
        };
        let run = self.measures.begin(offer.stage.as_str(), &handle);
        handle.begin_requests_at(offer.request_limit);
        let work = async {
            let executor = self.for_task(&handle)?;
            executor.dispatch(offer.payload, &handle).await
        };
        let work = work.instrument(span.clone());
        let outcome = run_to_stop(work, &handle.stop, grace).await;
        run.ended(match &outcome {
            Ok(_) => RunResult::Succeeded,
            Err(_) if handle.stop.reason().is_some() => RunResult::Stopped,
            Err(_) => RunResult::Failed,
        });
        if let Err(error) = &outcome {
            ringvault_telemetry::fails(&span, error);
        }
        outcome
    }

    /// What log lines of the task and its trace say of it: one attempt, on this node.
    fn span_of(&self, offer: &TaskOffer, handle: &TaskHandle) -> Span {
        let stage = offer.stage.as_str();
        let span = tracing::info_span!(
            "task",
            task = %offer.task,
            job = %offer.job,
            stage,
            epoch = offer.epoch,
            cluster = %self.config.cluster,
            node = self.node_address(),
            backup = offer.payload.backup().map(display),
            trace_id = Empty,
        );
        ringvault_telemetry::enters(&span, Some(Entry::Message), format!("task {stage}"), handle.trace);
        span
    }

    /// Each executor's future is boxed: one that holds them all would not fit on a thread's stack.
    async fn dispatch(&self, payload: TaskPayload, handle: &TaskHandle) -> Result<TaskResult, TaskError> {
        match payload {
            TaskPayload::Snapshot(task) => {
                Box::pin(self.snapshot(&task, handle)).await.map(TaskResult::Snapshot)
            }
            TaskPayload::Upload(task) => Box::pin(self.upload(&task, handle)).await.map(TaskResult::Upload),
            TaskPayload::Seal(task) => Box::pin(self.seal(&task, handle)).await.map(TaskResult::Seal),
            TaskPayload::Release(task) => Box::pin(self.release(&task)).await,
            TaskPayload::Check(task) => Box::pin(self.check(&task, handle)).await.map(TaskResult::Check),
            TaskPayload::VerifyReport(task) => {
                Box::pin(self.verify_report(&task)).await.map(TaskResult::Report)
            }
            TaskPayload::Plan(task) if task.spec.offline => {
                Box::pin(self.plan_offline(&task, handle)).await.map(TaskResult::Plan)
            }
            TaskPayload::Preflight(task) if task.spec.offline => {
                Box::pin(self.preflight_offline(&task)).await.map(TaskResult::Preflight)
            }
            TaskPayload::Download(task) if task.spec.offline => {
                Box::pin(self.download_offline(&task, handle)).await.map(TaskResult::Download)
            }
            TaskPayload::Apply(task) if task.spec.offline => {
                Box::pin(self.apply_offline(&task, handle)).await.map(TaskResult::Apply)
            }
            TaskPayload::Settle(task) if task.spec.offline => {
                Box::pin(self.settle_offline(&task, handle)).await.map(TaskResult::Settle)
            }
            TaskPayload::Plan(task) => Box::pin(self.plan(&task, handle)).await.map(TaskResult::Plan),
            TaskPayload::Preflight(task) => Box::pin(self.preflight(&task)).await.map(TaskResult::Preflight),
            TaskPayload::Download(task) => {
                Box::pin(self.download(&task, handle)).await.map(TaskResult::Download)
            }
            TaskPayload::Schema(task) => Box::pin(self.schema(&task)).await.map(TaskResult::Schema),
            TaskPayload::Truncate(task) => {
                Box::pin(self.truncate(&task, handle)).await.map(TaskResult::Truncate)
            }
            TaskPayload::Apply(task) => Box::pin(self.apply(&task, handle)).await.map(TaskResult::Apply),
            TaskPayload::Settle(task) => Box::pin(self.settle(&task, handle)).await.map(TaskResult::Settle),
            TaskPayload::Validate(task) => {
                Box::pin(self.validate(&task, handle)).await.map(TaskResult::Validate)
            }
            TaskPayload::Mark(task) => Box::pin(self.mark(&task)).await.map(TaskResult::Mark),
            TaskPayload::Sweep(task) => Box::pin(self.sweep(&task, handle)).await.map(TaskResult::Sweep),
            TaskPayload::Digest(task) => Box::pin(self.digest(&task, handle)).await.map(TaskResult::Digest),
            TaskPayload::PurgeReport(task) => {
                Box::pin(self.purge_report(&task)).await.map(TaskResult::Report)
            }
        }
    }

    /// What a transfer of this task works with.
    fn transfer(&self, handle: &TaskHandle, rate_limit: Option<u64>) -> TransferContext {
        handle.begin_at(rate_limit);
        TransferContext {
            store: self.vault.store().clone(),
            throttle: handle.throttle().below(&self.rate),
            progress: handle.transfer().clone(),
            stop: handle.stop.token().clone(),
        }
    }
}
