//! What a restore has done that is never to be done again, as records in the vault.
//!
//! A truncate has a record a table, created where none is before the table is emptied: whoever
//! creates it empties the table, once. A record without its end means that a run was cut off; then
//! the table is looked at. Nothing is emptied after any node has begun to load, whoever asks: that
//! is a record too, created before the first import.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use ringvault_core::{
    TaskError,
    selection::TableName,
    task::{AuthChanges, RestoreTask},
};
use ringvault_fault::around;
use ringvault_vault::{layout, store::PutIfAbsent};
use serde::{Deserialize, Serialize};

use crate::executor::Executor;

/// Version of the records that are written here.
const VERSION: u32 = 1;
/// Largest record accepted, in bytes.
const MAX_RECORD: u64 = 64 << 10;

/// A table's truncate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct TruncateRecord {
    version: u32,
    table: TableName,
    /// The epoch of the task that began it.
    epoch: u32,
    begun_at: DateTime<Utc>,
    /// When Cassandra said that it is done, or the table was seen to be empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    done_at: Option<DateTime<Utc>>,
}

/// A node has begun to load.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct LoadRecord {
    version: u32,
    at: DateTime<Utc>,
}

/// Roles and grants are in place.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct AuthRecord {
    version: u32,
    at: DateTime<Utc>,
    changes: AuthChanges,
}

/// What is known of a table's truncate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Truncate {
    /// Nobody has begun it: it is the caller's to do.
    Ours,
    /// Begun before; whether Cassandra did it is not known.
    InDoubt,
    /// Done.
    Done,
}

impl Executor {
    /// Takes the truncate of a table, if nobody has.
    pub(super) async fn take_truncate(
        &self,
        task: &RestoreTask,
        table: &TableName,
        epoch: u32,
    ) -> Result<Truncate, TaskError> {
        let record = TruncateRecord {
            version: VERSION,
            table: table.clone(),
            epoch,
            begun_at: Utc::now(),
            done_at: None,
        };
        let key = self.truncate_key(task, table);
        if around!("truncate.begin").run(self.create(&key, &record)).await? {
            return Ok(Truncate::Ours);
        }
        let text = self.vault.store().get(&key, MAX_RECORD).await.map_err(|error| error.to_task_error())?;
        // One that cannot be read leaves the table in doubt, which is looked into.
        let known = serde_json::from_slice::<TruncateRecord>(&text).ok();
        let is_done = known.is_some_and(|known| known.done_at.is_some());
        Ok(if is_done { Truncate::Done } else { Truncate::InDoubt })
    }

    /// The record's key, which in an encrypted vault does not name the table.
    fn truncate_key(&self, task: &RestoreTask, table: &TableName) -> String {
        let table = self.vault.store().hash_key().hide(&table.to_string());
        layout::restore_truncated(&task.spec.target, task.job, &table)
    }

    /// Records that the table is empty.
    pub(super) async fn truncate_is_done(
        &self,
        task: &RestoreTask,
        table: &TableName,
        epoch: u32,
    ) -> Result<(), TaskError> {
        let now = Utc::now();
        let record = TruncateRecord {
            version: VERSION,
            table: table.clone(),
            epoch,
            begun_at: now,
            done_at: Some(now),
        };
        let key = self.truncate_key(task, table);
        let body = encode(&record)?;
        let put = around!("truncate.done").run(self.vault.store().put(&key, body)).await;
        put.map(drop).map_err(|error| error.to_task_error())
    }

    /// Records that loading begins, if no node has.
    pub(super) async fn begin_to_load(&self, task: &RestoreTask) -> Result<(), TaskError> {
        let key = layout::restore_loading(&task.spec.target, task.job);
        self.create(&key, &LoadRecord { version: VERSION, at: Utc::now() }).await.map(drop)
    }

    /// An error once any node has begun to load.
    pub(super) async fn refuse_once_loading(&self, task: &RestoreTask) -> Result<(), TaskError> {
        let key = layout::restore_loading(&task.spec.target, task.job);
        match self.vault.store().get(&key, MAX_RECORD).await {
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error.to_task_error()),
            Ok(_) => Err(TaskError::permanent(
                "RV-TRUNCATE-LATE",
                format!(
                    "restore {} has begun to load data into {}: nothing is truncated any more",
                    task.job, task.spec.target
                ),
            )),
        }
    }

    /// What was changed to put the roles and grants in place, if that is done.
    pub(super) async fn auth_done(&self, task: &RestoreTask) -> Result<Option<AuthChanges>, TaskError> {
        let key = layout::restore_auth(&task.spec.target, task.job);
        let text = match self.vault.store().get(&key, MAX_RECORD).await {
            Err(error) if error.is_not_found() => return Ok(None),
            read => read.map_err(|error| error.to_task_error())?,
        };
        let record: AuthRecord = serde_json::from_slice(&text).map_err(|error| {
            TaskError::permanent("RV-AUTH", format!("the record of restored roles {key}: {error}"))
        })?;
        Ok(Some(record.changes))
    }

    /// Records that the roles and grants are in place.
    pub(super) async fn auth_is_done(
        &self,
        task: &RestoreTask,
        changes: AuthChanges,
    ) -> Result<AuthChanges, TaskError> {
        let key = layout::restore_auth(&task.spec.target, task.job);
        let record = AuthRecord { version: VERSION, at: Utc::now(), changes };
        around!("settle.auth").run(self.create(&key, &record)).await?;
        Ok(changes)
    }

    async fn create<T: Serialize + Sync>(&self, key: &str, record: &T) -> Result<bool, TaskError> {
        let created = self.vault.store().put_if_absent(key, encode(record)?).await;
        let created = created.map_err(|error| error.to_task_error())?;
        Ok(matches!(created, PutIfAbsent::Created(_)))
    }
}

fn encode<T: Serialize>(record: &T) -> Result<Bytes, TaskError> {
    let mut text = serde_json::to_vec_pretty(record)
        .map_err(|error| TaskError::permanent("RV-INTERNAL", error.to_string()))?;
    text.push(b'\n');
    Ok(text.into())
}

#[cfg(test)]
#[path = "fence_tests.rs"]
mod tests;
