//! Roles and grants: loaded beside `system_auth` and put in place row by row, last of all.
//!
//! See [`ringvault_core::restore::loaded_as`] for why. The role that the worker itself logs in as
//! stays as it is: a restore must not lock out those who run it. What was done once is recorded in
//! the vault before the copies are dropped, so that an attempt that finds none knows why.

use ringvault_cassandra::{
    CqlSession,
    cql::{CopyRules, RowChanges},
    schema::SchemaDump,
};
use ringvault_core::{
    JobId, TaskError,
    cluster::Replication,
    restore::{AUTH_KEYSPACE, auth_copy_keyspace, loaded_as},
    selection::TableName,
    task::{AuthChanges, RestoreTask},
};
use ringvault_fault::point;
use tracing::info;

use super::record::RestorePlan;
use crate::{agent::TaskHandle, executor::Executor};

/// Columns of `system_auth` that name whom a row is about.
const ROLE_COLUMNS: [&str; 2] = ["role", "member"];
/// How often what is in place is compared with the backup, to be found equal once.
const ROUNDS: u32 = 3;

impl RestorePlan {
    fn auth_tables(&self) -> impl Iterator<Item = &TableName> {
        self.tables.iter().filter(|table| table.keyspace == AUTH_KEYSPACE)
    }
}

impl Executor {
    /// Creates the tables that those of `system_auth` are loaded into.
    pub(super) async fn make_auth_copies(
        &self,
        plan: &RestorePlan,
        wanted: &SchemaDump,
        cql: &CqlSession,
    ) -> Result<(), TaskError> {
        let shape = |table: &TableName| wanted.shape(&table.keyspace, &table.table);
        let tables: Vec<_> =
            plan.auth_tables().filter_map(|table| Some((table.table.as_str(), shape(table)?))).collect();
        if tables.is_empty() {
            return Ok(());
        }
        let fallback = Replication::Simple { factor: 1 };
        let replication = plan.keyspaces.get(AUTH_KEYSPACE).unwrap_or(&fallback);
        point!("schema.auth-copies.before").hit().await?;
        cql.create_copies(&auth_copy_keyspace(plan.job), replication, &tables).await?;
        point!("schema.auth-copies.after").hit().await?;
        Ok(())
    }

    /// Gives `system_auth` the rows that were loaded beside it, and drops those copies. `None` if the
    /// restore brings no roles.
    pub(super) async fn put_auth_in_place(
        &self,
        plan: &RestorePlan,
        task: &RestoreTask,
        handle: &TaskHandle,
    ) -> Result<Option<AuthChanges>, TaskError> {
        let tables: Vec<&TableName> = plan.auth_tables().collect();
        if tables.is_empty() {
            return Ok(None);
        }
        let cql = self.node.cql().await?;
        let done = match self.auth_done(task).await? {
            Some(done) => done,
            None => {
                let changes = self.write_auth(plan, &tables, &cql, handle).await?;
                self.auth_is_done(task, changes).await?
            }
        };
        self.drop_auth_copies(task.job).await?;
        Ok(Some(done))
    }

    async fn write_auth(
        &self,
        plan: &RestorePlan,
        tables: &[&TableName],
        cql: &CqlSession,
        handle: &TaskHandle,
    ) -> Result<AuthChanges, TaskError> {
        let copies: Vec<TableName> = tables.iter().map(|table| loaded_as(plan.job, table)).collect();
        self.refuse_missing_tables(&copies).await?;
        let wanted = self.backup_schema(&plan.schema).await?;
        let own = self.node.login().map(str::to_owned);
        let rules = CopyRules {
            delete_others: plan.spec.truncate,
            untouched: own.map(|user| (ROLE_COLUMNS.map(str::to_owned).to_vec(), user)),
        };
        let mut all = AuthChanges { written: 0, deleted: 0 };
        for round in 1..=ROUNDS {
            let mut changed = RowChanges::default();
            for (done, (table, copy)) in tables.iter().zip(&copies).enumerate() {
                handle.go_on()?;
                handle.step(done as u64, tables.len() as u64, format!("writing {table}"));
                let Some(shape) = wanted.shape(&table.keyspace, &table.table) else { continue };
                point!("settle.auth-rows.before").hit().await?;
                let now = cql.copy_rows(copy, table, &shape.columns, &rules).await?;
                point!("settle.auth-rows.after").hit().await?;
                changed.written += now.written;
                changed.deleted += now.deleted;
            }
            all.written += changed.written;
            all.deleted += changed.deleted;
            if changed.is_none() {
                info!(written = all.written, deleted = all.deleted, round, "roles and grants are in place");
                return Ok(all);
            }
        }
        Err(TaskError::transient(
            "RV-AUTH-CHANGING",
            format!("{AUTH_KEYSPACE} changes while the roles and grants of the backup are put in place"),
        )
        .with_next("let roles and grants alone, then: ringvault job retry JOB"))
    }

    /// Drops the copies of `system_auth` that a restore made.
    pub(in crate::executor) async fn drop_auth_copies(&self, job: JobId) -> Result<(), TaskError> {
        let cql = self.node.cql().await?;
        point!("settle.drop-auth-copies.before").hit().await?;
        cql.drop_keyspace(&auth_copy_keyspace(job)).await?;
        point!("settle.drop-auth-copies.after").hit().await?;
        Ok(())
    }
}
