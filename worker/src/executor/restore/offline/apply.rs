//! `download`, `apply` and `settle` of an offline restore.

use ringvault_core::{
    HostId, JobId, TaskError,
    task::{ApplyResult, DownloadResult, RestoreTask, SettleResult},
};
use tracing::{info, warn};

use super::{
    machine::{Identity, Machine},
    swap::{Ended, Phase, Swap},
};
use crate::{
    agent::TaskHandle,
    executor::{
        Executor,
        restore::record::{PlannedManifest, RestorePlan, own_host},
    },
};

impl Executor {
    pub(in crate::executor) async fn download_offline(
        &self,
        task: &RestoreTask,
        handle: &TaskHandle,
    ) -> Result<DownloadResult, TaskError> {
        let host_id = own_host(task)?;
        let plan = self.read_plan(task).await?;
        let dirs = self.offline_dirs(task.job).await?;
        let files = self.node_files(&task.spec.backup, manifest_of(&plan, host_id)?, &dirs).await?;
        let transfer = self.transfer(handle, task.spec.rate_limit);
        transfer.progress.expect(files.count(), files.bytes);
        let done = files.stage(&dirs, &transfer).await?;
        info!(files = done.files, bytes = done.bytes, kept = done.bytes_kept, "node staged");
        Ok(DownloadResult { host_id, files: done.files, bytes: done.bytes, bytes_kept: done.bytes_kept })
    }

    /// Stages and links what is to be put in place, then swaps. A swap that an earlier attempt began goes on.
    pub(in crate::executor) async fn apply_offline(
        &self,
        task: &RestoreTask,
        handle: &TaskHandle,
    ) -> Result<ApplyResult, TaskError> {
        let host_id = own_host(task)?;
        let plan = self.read_plan(task).await?;
        let dirs = self.offline_dirs(task.job).await?;
        let files = self.node_files(&task.spec.backup, manifest_of(&plan, host_id)?, &dirs).await?;
        let mut swap = match self.earlier_swap(task.job).await? {
            Some(swap) if swap.record.host_id == host_id => swap,
            Some(swap) => return Err(another_swap(&swap, host_id)),
            None => {
                self.refuse_another_node(host_id).await?;
                let transfer = self.transfer(handle, task.spec.rate_limit);
                files.stage(&dirs, &transfer).await?;
                handle.step(0, 0, "laying out what was staged");
                files.link(&dirs)?;
                let places = self.swap_places(task.job, is_whole(&plan)).await?;
                let was_up = !self.node.is_silent().await;
                handle.go_on()?;
                let file = self.swap_file(task.job).await?;
                Swap::begin(&file, (task.job, host_id), was_up, task.spec.keep_old, places)?
            }
        };
        let machine = Machine::new(self, task.job, Some(handle), Some(identity_of(&plan, host_id)?))?;
        match swap.drive(&machine).await? {
            Ended::Up => {}
            Ended::Back { why } => {
                // The next attempt begins anew.
                self.after_way_back(&swap).await?;
                return Err(TaskError::permanent(
                    "RV-OFFLINE-BACK",
                    format!("node {host_id} has its old data again, nothing is lost: {why}"),
                )
                .with_next("mend it, then: ringvault job retry JOB"));
            }
        }
        info!(%host_id, sstables = files.sstables, "the node is what it was when it was backed up");
        Ok(ApplyResult { host_id, sstables: files.sstables, bytes: files.bytes, tables: files.tables() })
    }

    /// The swap of this job that was begun and has not gone back.
    async fn earlier_swap(&self, job: JobId) -> Result<Option<Swap>, TaskError> {
        match Swap::read(&self.swap_file(job).await?)? {
            Some(swap) if swap.record.phase == Phase::Back => {
                self.after_way_back(&swap).await?;
                Ok(None)
            }
            swap => Ok(swap),
        }
    }

    /// Takes away what Cassandra did not come up with, and the record.
    async fn after_way_back(&self, swap: &Swap) -> Result<(), TaskError> {
        for place in &swap.record.places {
            match tokio::fs::remove_dir_all(&place.rejected).await {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    warn!(%error, folder = %place.rejected.display(), "what was rejected stays until the job is over");
                }
                _ => {}
            }
        }
        swap.forget()
    }

    /// That the machine's Cassandra, if it runs, is the node that is restored.
    async fn refuse_another_node(&self, host_id: HostId) -> Result<(), TaskError> {
        if self.node.is_silent().await {
            return Ok(());
        }
        let runs = self.node.control().host_id().await?;
        if runs == host_id {
            return Ok(());
        }
        Err(TaskError::permanent(
            "RV-ANOTHER-NODE",
            format!("node {runs} runs where node {host_id} is to be restored. Nothing was changed"),
        ))
    }

    /// The node is up with all others that were restored: what they held before goes, unless it is to stay.
    pub(in crate::executor) async fn settle_offline(
        &self,
        task: &RestoreTask,
        handle: &TaskHandle,
    ) -> Result<SettleResult, TaskError> {
        let host_id = own_host(task)?;
        let plan = self.read_plan(task).await?;
        let existing = self.node.cql().await?.schema().await?;
        self.wait_for_indexes(&plan, &existing, handle).await?;
        self.node.control().refresh_size_estimates().await?;
        // Not from the record, which an attempt that was cut off here may have removed.
        let places = self.swap_places(task.job, is_whole(&plan)).await?;
        let olds = places.into_iter().map(|place| place.old).filter(|old| task.spec.keep_old && old.exists());
        let kept = olds.map(|old| old.display().to_string()).collect();
        if let Some(swap) = Swap::read(&self.swap_file(task.job).await?)? {
            swap.forget()?;
        }
        self.remove_job_files(task.job).await?;
        Ok(SettleResult { host_id, cleaned: 0, views: Vec::new(), auth: None, kept })
    }

    /// Before a job's files are cleared: a swap that stands still half way goes back, one that was done stays done.
    pub(in crate::executor) async fn end_swap(&self, job: JobId) -> Result<(), TaskError> {
        if self.config.cassandra.offline.is_none() {
            return Ok(());
        }
        // Where the data directories are not known, nothing was swapped.
        let Ok(file) = self.swap_file(job).await else { return Ok(()) };
        let Some(mut swap) = Swap::read(&file)? else { return Ok(()) };
        let machine = Machine::new(self, job, None, None)?;
        swap.turn_back("the job was given up".to_owned())?;
        if let Ended::Back { why } = swap.drive(&machine).await? {
            warn!(why, "the node has its old data again");
        }
        self.after_way_back(&swap).await
    }
}

/// Whether all of the ring goes back in time.
pub(super) fn is_whole(plan: &RestorePlan) -> bool {
    plan.nodes.len() == plan.target.nodes.len()
}

pub(super) fn manifest_of(plan: &RestorePlan, host: HostId) -> Result<&PlannedManifest, TaskError> {
    plan.manifests
        .iter()
        .find(|manifest| manifest.host_id == host)
        .ok_or_else(|| TaskError::permanent("RV-PLAN", format!("the plan has no manifest of node {host}")))
}

fn identity_of(plan: &RestorePlan, host_id: HostId) -> Result<Identity, TaskError> {
    let node = plan
        .target
        .node(host_id)
        .ok_or_else(|| TaskError::permanent("RV-PLAN", format!("the plan knows no node {host_id}")))?;
    let mut tokens = node.tokens.clone();
    tokens.sort_unstable();
    Ok(Identity { host_id, tokens })
}

fn another_swap(swap: &Swap, host_id: HostId) -> TaskError {
    TaskError::permanent(
        "RV-ANOTHER-NODE",
        format!("this machine's data is being swapped for node {}, not {host_id}", swap.record.host_id),
    )
}
