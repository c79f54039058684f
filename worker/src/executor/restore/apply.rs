//! `apply`: hands the staged files to Cassandra, a bounded batch at a time, and looks what became of
//! them.
//!
//! Cassandra's answer is not enough: it reports success for files it cannot read, and loads a damaged
//! index without a word. So every file of a batch is hashed once more directly before it is handed
//! over, and fetched again if it is not what the manifest says (a stage that is lost or damaged after
//! the truncate costs a download, not the restore); an SSTable counts as taken when its files were
//! moved out of the import folder; and a table whose SSTables are all taken is counted. Each of these
//! is recorded where a later attempt finds it, so that what was done is done once.

use std::path::{Path, PathBuf};

use ringvault_cassandra::{
    control::{ImportOptions, ImportOutcome},
    sstable::{Descriptor, Statistics},
};
use ringvault_core::{
    ErrorClass, TaskError,
    restore::{AUTH_KEYSPACE, Method},
    selection::TableName,
    task::{ApplyResult, RestoreTask},
};
use ringvault_fault::{around, point};
use ringvault_vault::disk;
use tracing::info;
use uuid::Uuid;

use super::{
    batch::{Batch, divide},
    record::{RestorePlan, own_host},
    share::SharedSstable,
    staged::{Staged, size},
    taken::Taken,
};
use crate::{
    agent::TaskHandle,
    executor::{Executor, failure, workspace::make_dir},
};

/// SSTables named in an error; the rest is counted.
const MAX_NAMED: usize = 10;
/// Below this many partitions an estimate says little.
const MIN_COUNTED: u64 = 100;
/// A disk with less than this free may be why an import was refused.
const LOW_DISK: u64 = 64 << 20;

/// One attempt on one node.
pub(super) struct Attempt<'a> {
    pub(super) task: &'a RestoreTask,
    pub(super) plan: &'a RestorePlan,
    pub(super) handle: &'a TaskHandle,
    pub(super) stage: PathBuf,
    /// Of its own, so that the folders that it hands over are.
    pub(super) name: String,
    /// Folders handed over so far.
    pub(super) batches: usize,
    pub(super) taken: Taken,
}

impl Executor {
    pub(in crate::executor) async fn apply(
        &self,
        task: &RestoreTask,
        handle: &TaskHandle,
    ) -> Result<ApplyResult, TaskError> {
        let host_id = own_host(task)?;
        let plan = self.read_plan(task).await?;
        self.node.reconnect().await;
        self.refuse_changed_ring(&plan).await?;
        let loaded: Vec<TableName> = plan.tables.iter().map(|table| plan.loaded_as(table)).collect();
        self.refuse_missing_tables(&loaded).await?;
        let stage = self.stage_dir(task.job).await?;
        make_dir(&stage)?;
        let share = self.share_of(&plan, host_id, &self.job_dir(task.job)?).await?;
        let taken = self.read_taken(&stage).await?;
        around!("apply.loading").run(self.begin_to_load(task)).await?;
        let name = Uuid::now_v7().simple().to_string();
        let mut attempt = Attempt { task, plan: &plan, handle, stage, name, batches: 0, taken };
        let doing = if plan.method == Method::Stream { "streaming" } else { "importing" };
        let mut result = ApplyResult { host_id, sstables: 0, bytes: 0, tables: 0 };
        for table in &plan.tables {
            let own: Vec<&SharedSstable> = share.iter().filter(|s| s.table() == *table).collect();
            if !own.is_empty() {
                handle.step(result.sstables, share.len() as u64, format!("{doing} {table}"));
                self.load_table(&mut attempt, table, &own).await?;
                result.tables += 1;
                result.sstables += own.len() as u64;
                let sizes = own.iter().map(|sstable| size(&attempt.stage, sstable));
                result.bytes = sizes.fold(result.bytes, u64::saturating_add);
            }
            self.clean_up(&plan, table, &mut attempt.taken).await?;
        }
        Ok(result)
    }

    /// What this node is done with.
    pub(super) async fn read_taken(&self, stage: &Path) -> Result<Taken, TaskError> {
        let stage = stage.to_owned();
        tokio::task::spawn_blocking(move || Taken::read(&stage)).await.map_err(failure::internal)?
    }

    async fn load_table(
        &self,
        attempt: &mut Attempt<'_>,
        table: &TableName,
        own: &[&SharedSstable],
    ) -> Result<(), TaskError> {
        let open: Vec<SharedSstable> = own
            .iter()
            .filter(|sstable| !attempt.taken.has(&sstable.place()))
            .map(|sstable| (*sstable).clone())
            .collect();
        if attempt.plan.method == Method::Stream {
            self.stream_table(attempt, table, open).await?;
        } else {
            let sizes: Vec<u64> = open.iter().map(|sstable| size(&attempt.stage, sstable)).collect();
            for range in divide(&sizes) {
                self.import_batch(attempt, table, &open[range]).await?;
            }
        }
        if attempt.taken.is_counted(table) {
            return Ok(());
        }
        self.count(attempt, table, own).await?;
        attempt.taken.counted(table)
    }

    /// Takes out of the table what the node does not own of what it was given, once.
    ///
    /// On every node before any begins to settle: Cassandra's cleanup interrupts the build of a view of the
    /// table, and a build that was interrupted goes on when the node starts again, and not before.
    pub(super) async fn clean_up(
        &self,
        plan: &RestorePlan,
        table: &TableName,
        taken: &mut Taken,
    ) -> Result<(), TaskError> {
        // What a node does not own of the copies of roles is never read.
        let may_stay = table.keyspace == AUTH_KEYSPACE || !plan.needs_cleanup(table);
        if may_stay || taken.is_cleaned(table) {
            return Ok(());
        }
        // With another ring than that of the plan it would drop what nobody else was given.
        self.refuse_changed_ring(plan).await?;
        let TableName { keyspace, table: name } = plan.spec.rename.target(table);
        self.node.control().cleanup(&keyspace, &[name]).await?;
        taken.cleaned(table)
    }

    /// Stages, links and imports one batch, and records what was taken however the import ended.
    async fn import_batch(
        &self,
        attempt: &mut Attempt<'_>,
        table: &TableName,
        sstables: &[SharedSstable],
    ) -> Result<(), TaskError> {
        attempt.handle.go_on()?;
        let transfer = self.transfer(attempt.handle, attempt.task.spec.rate_limit);
        self.stage_files(attempt.plan, sstables, &attempt.stage, &transfer).await?;
        attempt.batches += 1;
        let batch = {
            let (stage, name, number) = (attempt.stage.clone(), attempt.name.clone(), attempt.batches);
            let sstables = sstables.to_vec();
            tokio::task::spawn_blocking(move || {
                let staged: Result<Vec<Staged>, TaskError> =
                    sstables.iter().map(|sstable| Staged::of(&stage, sstable)).collect();
                Batch::link(&stage, &name, number, &staged?)
            })
            .await
            .map_err(failure::internal)??
        };
        if batch.is_empty() {
            attempt.taken.settle(&batch)?;
            return Ok(());
        }
        let options = ImportOptions {
            // What may be more than the node owns is loaded all the same, and cleaned up.
            verify_tokens: !attempt.plan.needs_cleanup(table),
            copy: false,
            extended_verify: false,
        };
        attempt.handle.go_on()?;
        let dirs = [batch.dir.clone()];
        point!("apply.import.before").hit().await?;
        let outcome = self.node.importer()?.import(&attempt.plan.loaded_as(table), &dirs, options).await;
        point!("apply.import.after").hit().await?;
        let left = attempt.taken.settle(&batch)?;
        let outcome = outcome?;
        if !left.is_empty() {
            return Err(self.refused(attempt, table, &left, &outcome));
        }
        info!(%table, sstables = sstables.len(), "imported");
        Ok(())
    }

    fn refused(
        &self,
        attempt: &Attempt<'_>,
        table: &TableName,
        left: &[String],
        outcome: &ImportOutcome,
    ) -> TaskError {
        let table = attempt.plan.spec.rename.target(table);
        let named: Vec<&str> = left.iter().take(MAX_NAMED).map(String::as_str).collect();
        let more = left.len().saturating_sub(MAX_NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let message = &outcome.message;
        let words = if message.is_empty() { String::new() } else { format!(" Cassandra says: {message}") };
        let free = disk::space(&attempt.stage).ok().map(|space| space.free);
        let message = format!(
            "node {} did not take {} SSTables of {table}: {}{more}.{words}",
            self.node.address(),
            left.len(),
            named.join(", ")
        );
        let (class, next) = match class_of_refusal(outcome, free) {
            class @ ErrorClass::Environment => (class, "free space on the node's disk"),
            class => (class, "look at the node's system.log, then: ringvault job retry JOB"),
        };
        TaskError { class, ..TaskError::permanent("RV-IMPORT-REFUSED", message) }.with_next(next)
    }

    /// A table that was emptied before, and all of whose SSTables hold nothing that can expire or
    /// delete, holds at least what the largest of them does. Of others nothing sound can be said by
    /// counting: compaction may have dropped any part of them.
    async fn count(
        &self,
        attempt: &Attempt<'_>,
        table: &TableName,
        own: &[&SharedSstable],
    ) -> Result<(), TaskError> {
        // Roles are compared row by row when they are put in place.
        if !attempt.task.spec.truncate || table.keyspace == AUTH_KEYSPACE {
            return Ok(());
        }
        // Of what was streamed, the node has all that it owns all of.
        let is_whole_here = |sstable: &&&SharedSstable| sstable.stream.is_none_or(|to| to.is_owned);
        let owned: Vec<SharedSstable> = own.iter().filter(is_whole_here).map(|s| (*s).clone()).collect();
        let stage = attempt.stage.clone();
        let least = tokio::task::spawn_blocking(move || least_partitions(&stage, &owned))
            .await
            .map_err(failure::internal)?;
        if least < MIN_COUNTED {
            return Ok(());
        }
        let table = attempt.plan.spec.rename.target(table);
        let now = self.node.control().estimated_partitions(&table).await?;
        // The estimate is good to a few hundredths.
        if now >= least - least / 10 {
            return Ok(());
        }
        Err(TaskError::transient(
            "RV-IMPORT-SHORT",
            format!(
                "node {} holds about {now} partitions of {table} after it was given SSTables with up to {least} each",
                self.node.address()
            ),
        )
        .with_next("look at the node's system.log, then: ringvault job retry JOB"))
    }
}

/// Whether trying again can help where Cassandra left files behind. It names the folder and keeps the
/// reason to its log; a folder that it does not even name it has skipped, as it does with a format
/// that it does not know, and will skip again.
fn class_of_refusal(outcome: &ImportOutcome, free: Option<u64>) -> ErrorClass {
    let says_full = ["No space left", "Insufficient disk space", "Not enough space"]
        .iter()
        .any(|words| outcome.message.contains(words));
    if says_full || free.is_some_and(|free| free < LOW_DISK) {
        ErrorClass::Environment
    } else if outcome.failed.is_empty() {
        ErrorClass::Permanent
    } else {
        ErrorClass::Transient
    }
}

/// The most partitions in one of these SSTables, if none of them holds a deletion or anything that
/// expires; else, or where that cannot be read, 0. A slice's statistics are those of the whole, but
/// what it has was counted. Blocks on the disk.
fn least_partitions(stage: &Path, sstables: &[SharedSstable]) -> u64 {
    let mut most = 0;
    for sstable in sstables {
        let Ok(staged) = Staged::of(stage, sstable) else { return 0 };
        if staged.partitions == Some(0) {
            continue;
        }
        let statistics = staged.path_of("Statistics.db").and_then(|path| {
            let (descriptor, _) = Descriptor::parse_file_name(path.file_name()?.to_str()?)?;
            Statistics::parse(&std::fs::read(&path).ok()?, &descriptor).ok()
        });
        match statistics {
            Some(statistics) if !statistics.can_shrink => {
                most = most.max(staged.partitions.unwrap_or(statistics.partitions));
            }
            _ => return 0,
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_final_only_where_nothing_can_change() {
        let named = |message: &str| ImportOutcome {
            failed: vec!["/s/a/000001".into()],
            skipped: Vec::new(),
            message: message.to_owned(),
        };
        let skipped = ImportOutcome { failed: Vec::new(), ..named("") };
        let room = Some(1 << 40);
        assert_eq!(class_of_refusal(&named("check server logs"), room), ErrorClass::Transient);
        assert_eq!(class_of_refusal(&named("No space left on device"), room), ErrorClass::Environment);
        assert_eq!(class_of_refusal(&named(""), Some(1 << 20)), ErrorClass::Environment);
        assert_eq!(class_of_refusal(&skipped, room), ErrorClass::Permanent);
        assert_eq!(class_of_refusal(&skipped, None), ErrorClass::Permanent);
    }
}
