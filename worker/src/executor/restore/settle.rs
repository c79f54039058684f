//! `settle`: indexes that were left for last are made, indexes are waited for, views are rebuilt, roles are
//! put in place, the staged files are removed.

use std::time::{Duration, Instant};

use ringvault_cassandra::schema::{CreateOptions, ObjectKind, SchemaDump};
use ringvault_core::{
    TaskError,
    selection::TableName,
    task::{RestoreTask, SettleResult},
};

use ringvault_fault::point;

use super::record::{RestorePlan, own_host};
use crate::{agent::TaskHandle, executor::Executor};

/// How long an index or a view may take to be built within one attempt.
pub(super) const BUILD_PATIENCE: Duration = Duration::from_hours(6);
/// How long another node may take to make an index, and how often it is looked for.
const CREATION_PATIENCE: Duration = Duration::from_mins(5);
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Executor {
    pub(in crate::executor) async fn settle(
        &self,
        task: &RestoreTask,
        handle: &TaskHandle,
    ) -> Result<SettleResult, TaskError> {
        let host_id = own_host(task)?;
        let plan = self.read_plan(task).await?;
        let cleaned = self.clean_up_the_rest(&plan, task, handle).await?;
        // Schema and roles belong to the cluster: one node sees to them, to roles last.
        let is_first = plan.nodes.first().is_some_and(|node| node.host_id == host_id);
        self.make_last_indexes(&plan, is_first, handle).await?;
        let existing = self.node.cql().await?.schema().await?;
        self.wait_for_indexes(&plan, &existing, handle).await?;
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

    /// Sees to it that the indexes are there that were left for last: one node makes them, the others wait until
    /// they know of them.
    async fn make_last_indexes(
        &self,
        plan: &RestorePlan,
        is_first: bool,
        handle: &TaskHandle,
    ) -> Result<(), TaskError> {
        if !plan.makes_indexes_last() {
            return Ok(());
        }
        let mut wanted = self.wanted_schema(plan).await?;
        wanted.objects.retain(|object| plan.is_made_last(object));
        if wanted.objects.is_empty() {
            return Ok(());
        }
        let cql = self.node.cql().await?;
        if is_first {
            point!("settle.create-indexes.before").hit().await?;
            cql.create_missing(&wanted, &plan.selection(), &CreateOptions::default()).await?;
            point!("settle.create-indexes.after").hit().await?;
            return Ok(());
        }
        let give_up = Instant::now() + CREATION_PATIENCE;
        loop {
            handle.go_on()?;
            let existing = cql.schema().await?;
            let missing = wanted
                .objects
                .iter()
                .find(|index| existing.find(ObjectKind::Index, &index.keyspace, &index.name).is_none());
            let Some(index) = missing else { return Ok(()) };
            let name = format!("{}.{}", index.keyspace, index.name);
            if Instant::now() >= give_up {
                let maker = plan.nodes.first().map_or("?", |node| node.address.as_str());
                let message = format!("index {name} is not made yet: that is for node {maker} to do");
                return Err(TaskError::environment("RV-INDEX-MISSING", message));
            }
            handle.step(0, 0, format!("waiting for index {name} to be made"));
            tokio::time::sleep(LOOK_AGAIN).await;
        }
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
