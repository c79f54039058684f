//! `truncate`: the target's tables are emptied, each at most once, and none after data was loaded.
//!
//! Three things keep a late run from emptying what was restored meanwhile (a worker that was frozen
//! or cut off, a task whose report was lost, a kept message that is sent again): its lease, asked
//! directly before each statement; the record of each table's truncate; the record that loading has
//! begun (see [`super::fence`]).

use chrono::Utc;
use ringvault_cassandra::{CqlSession, NodeErrorKind, cql::Consistency};
use ringvault_core::{
    TaskError,
    restore::AUTH_KEYSPACE,
    selection::TableName,
    task::{RestoreTask, TruncateResult},
};
use ringvault_fault::point;
use tracing::{info, warn};

use super::fence::Truncate;
use crate::{agent::TaskHandle, executor::Executor};

impl Executor {
    pub(in crate::executor) async fn truncate(
        &self,
        task: &RestoreTask,
        handle: &TaskHandle,
    ) -> Result<TruncateResult, TaskError> {
        let plan = self.read_plan(task).await?;
        if task.spec.confirm.as_ref() != Some(&task.spec.target) || !task.spec.truncate {
            return Err(TaskError::permanent(
                "RV-NOT-CONFIRMED",
                format!("truncating tables of {} was not confirmed", task.spec.target),
            ));
        }
        self.refuse_changed_ring(&plan).await?;
        let cql = self.node.cql().await?;
        // Never those of roles: nobody could log in meanwhile (see `auth`).
        let tables: Vec<_> =
            plan.targets().into_iter().filter(|table| table.keyspace != AUTH_KEYSPACE).collect();
        for (done, table) in tables.iter().enumerate() {
            handle.step(done as u64, tables.len() as u64, format!("truncating {table}"));
            self.truncate_once(task, handle, &cql, table).await?;
        }
        Ok(TruncateResult { tables, at: Utc::now() })
    }

    async fn truncate_once(
        &self,
        task: &RestoreTask,
        handle: &TaskHandle,
        cql: &CqlSession,
        table: &TableName,
    ) -> Result<(), TaskError> {
        handle.go_on()?;
        self.refuse_once_loading(task).await?;
        match self.take_truncate(task, table, handle.epoch).await? {
            Truncate::Done => return Ok(()),
            // A run was cut off here. Nothing is loaded yet, so a table that still holds rows may be
            // emptied; one that does not needs nothing.
            Truncate::InDoubt if is_surely_empty(cql, table).await => {
                info!(%table, "found empty after a run that was cut off");
                return self.truncate_is_done(task, table, handle.epoch).await;
            }
            Truncate::InDoubt | Truncate::Ours => {}
        }
        // Asked last of all: the vault may have taken its time.
        handle.go_on()?;
        point!("truncate.table.before").hit().await?;
        match cql.truncate(table).await {
            Ok(()) => info!(%table, "truncated"),
            Err(error) if matches!(error.kind, NodeErrorKind::NotFound(_)) => {
                return Err(TaskError::permanent(
                    "RV-TABLE-GONE",
                    format!("{table} was dropped between the restore's schema stage and its truncate"),
                )
                .with_next("run the restore anew: ringvault restore run"));
            }
            Err(error) => return Err(error.into()),
        }
        point!("truncate.table.after").hit().await?;
        self.truncate_is_done(task, table, handle.epoch).await
    }
}

/// Whether every replica was asked and none has a row.
async fn is_surely_empty(cql: &CqlSession, table: &TableName) -> bool {
    cql.is_empty(table, Consistency::All).await.unwrap_or_else(|error| {
        warn!(%error, "whether a table is empty could not be seen");
        false
    })
}
