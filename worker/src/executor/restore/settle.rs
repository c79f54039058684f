//! `settle`: indexes are waited for, views are rebuilt, roles are put in place, the staged files are
//! removed.

use std::time::Duration;

use ringvault_cassandra::schema::{ObjectKind, SchemaDump};
use ringvault_core::{
    TaskError,
    selection::TableName,
    task::{RestoreTask, SettleResult},
};

use super::record::{RestorePlan, own_host};
use crate::{agent::TaskHandle, executor::Executor};

/// How long an index or a view may take to be built within one attempt.
pub(super) const BUILD_PATIENCE: Duration = Duration::from_hours(6);

impl Executor {
    pub(in crate::executor) async fn settle(
        &self,
        task: &RestoreTask,
        handle: &TaskHandle,
    ) -> Result<SettleResult, TaskError> {
        let host_id = own_host(task)?;
        let plan = self.read_plan(task).await?;
        let cleaned = self.clean_up_the_rest(&plan, task, handle).await?;
        let existing = self.node.cql().await?.schema().await?;
        self.wait_for_indexes(&plan, &existing, handle).await?;
        // Views and roles belong to the cluster: one node sees to them, to roles last.
        let is_first = plan.nodes.first().is_some_and(|node| node.host_id == host_id);
        let views = if is_first { self.rebuild_views(&plan, &existing, handle).await? } else { Vec::new() };
        self.node.control().refresh_size_estimates().await?;
        let auth = if is_first { self.put_auth_in_place(&plan, task, handle).await? } else { None };
        self.remove_job_files(task.job).await?;
        Ok(SettleResult { host_id, cleaned, views, auth, kept: Vec::new() })
    }

    /// Cleans up what `apply` did not: a worker of the version before leaves it to this stage.
    async fn clean_up_the_rest(
        &self,
        plan: &RestorePlan,
        task: &RestoreTask,
        handle: &TaskHandle,
    ) -> Result<u64, TaskError> {
        let stage = self.stage_dir(task.job).await?;
        if !stage.is_dir() {
            // An earlier attempt was through with it.
            return Ok(0);
        }
        let mut taken = self.read_taken(&stage).await?;
        for (done, table) in plan.tables.iter().enumerate() {
            handle.step(done as u64, plan.tables.len() as u64, format!("cleaning up {table}"));
            self.clean_up(plan, table, &mut taken).await?;
        }
        Ok(taken.tables_cleaned())
    }

    pub(super) async fn wait_for_indexes(
        &self,
        plan: &RestorePlan,
        existing: &SchemaDump,
        handle: &TaskHandle,
    ) -> Result<(), TaskError> {
        let cql = self.node.cql().await?;
        let tables = plan.targets();
        for index in existing.objects.iter().filter(|object| object.kind == ObjectKind::Index) {
            let base = index.base.as_deref().unwrap_or_default();
            if tables.contains(&TableName::new(&index.keyspace, base)) {
                handle.step(0, 0, format!("waiting for index {}.{}", index.keyspace, index.name));
                cql.wait_index_built(&index.keyspace, &index.name, BUILD_PATIENCE).await?;
            }
        }
        Ok(())
    }
}
