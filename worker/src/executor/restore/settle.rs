//! `settle`: what the node does not own goes, indexes are waited for, views are rebuilt, roles are put
//! in place, the staged files are removed.

use std::{collections::BTreeMap, time::Duration};

use ringvault_cassandra::schema::{ObjectKind, SchemaDump};
use ringvault_core::{
    TaskError,
    restore::AUTH_KEYSPACE,
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
        // Cleaning up with another ring than that of the plan drops what nobody else was given.
        self.refuse_changed_ring(&plan).await?;
        let cleaned = self.clean_up(&plan, handle).await?;
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

    async fn clean_up(&self, plan: &RestorePlan, handle: &TaskHandle) -> Result<u64, TaskError> {
        let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
        // What a node does not own of the copies of roles is never read.
        let may_stay = |table: &&TableName| table.keyspace == AUTH_KEYSPACE || !plan.needs_cleanup(table);
        for table in plan.tables.iter().filter(|table| !may_stay(table)) {
            let target = plan.spec.rename.target(table);
            tables.entry(target.keyspace).or_default().push(target.table);
        }
        let total = tables.values().map(Vec::len).sum::<usize>() as u64;
        let mut done = 0;
        for (keyspace, tables) in tables {
            handle.step(done, total, format!("cleaning up {keyspace}"));
            self.node.control().cleanup(&keyspace, &tables).await?;
            done += tables.len() as u64;
        }
        Ok(done)
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
