//! The node's control interface by way of Cassandra's own `nodetool`.
//!
//! Each call starts a JVM (a second or two), so calls are few and carry much. Failures are told by
//! the exit status and by what nodetool writes to *either* stream: refused arguments go to standard
//! output, exceptions to standard error.

mod process;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use ringvault_core::{HostId, selection::TableName};
use uuid::Uuid;

use self::process::kind_of_output;
use super::{
    ControlTimeouts, ImportOptions, ImportOutcome, NodeInfo, Result, SnapshotScope,
    import::{dirs_with_sstables, is_importable_dir, skipped_dir},
    is_valid_tag, output,
};
use crate::{NodeError, NodeErrorKind, error::quote};

/// How nodetool is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodetoolConfig {
    /// The program and its first arguments: `["nodetool", "-h", "127.0.0.1", "-p", "7199"]`. A
    /// password belongs into a file (`-pwf`), never here.
    pub argv: Vec<String>,
    /// The node's address, for messages.
    pub node: String,
    /// How long to wait.
    pub timeouts: ControlTimeouts,
}

/// nodetool for one node.
#[derive(Debug, Clone)]
pub struct Nodetool {
    config: NodetoolConfig,
}

impl Nodetool {
    /// Prepares to call nodetool; nothing is started yet.
    pub fn new(config: NodetoolConfig) -> Self {
        Self { config }
    }

    /// The node's address, for messages.
    pub fn address(&self) -> &str {
        &self.config.node
    }

    /// Four questions, asked at the same time. Data directories are not among what nodetool tells
    /// of every version.
    pub(super) async fn node_info(&self) -> Result<NodeInfo> {
        let operation = "ask for the node's identity";
        let info = self.question(operation, &["info", "-T"]);
        let cluster = self.question(operation, &["describecluster"]);
        let version = self.question(operation, &["version"]);
        let mode = self.question(operation, &["netstats"]);
        let (info, cluster, version, mode) = futures::try_join!(info, cluster, version, mode)?;
        output::node_info(&info, &cluster, &version, &mode)
            .map_err(|missing| self.failed(operation, &format!("its answer lacks {missing}")))
    }

    pub(super) async fn host_id(&self) -> Result<HostId> {
        let operation = "ask for the node's host id";
        let info = self.question(operation, &["info"]).await?;
        output::host_id(&info).ok_or_else(|| self.failed(operation, "its answer lacks a host id"))
    }

    pub(super) async fn live_members(&self) -> Result<BTreeSet<HostId>> {
        let text = self.question("ask which nodes are up", &["status"]).await?;
        Ok(output::live_members(&text))
    }

    pub(super) async fn flush(&self, keyspaces: &[String]) -> Result<()> {
        for keyspace in keyspaces {
            self.work(&format!("flush {keyspace}"), &["flush", "--", keyspace]).await?;
        }
        Ok(())
    }

    pub(super) async fn take_snapshot(
        &self,
        tag: &str,
        scope: &SnapshotScope,
        skip_flush: bool,
    ) -> Result<()> {
        let operation = format!("take snapshot {tag} of {}", scope.describe());
        self.check_tag(&operation, tag)?;
        if scope.names_nothing() {
            return Ok(());
        }
        let entities = scope.entities();
        let list = entities.join(",");
        let mut args = vec!["snapshot", "-t", tag];
        if skip_flush {
            args.push("-sf");
        }
        if matches!(scope, SnapshotScope::Tables(_)) {
            args.extend(["-kt", &list]);
        } else {
            args.push("--");
            args.extend(entities.iter().map(String::as_str));
        }
        self.work(&operation, &args).await.map(drop)
    }

    pub(super) async fn clear_snapshot(&self, tag: &str) -> Result<()> {
        let operation = format!("clear snapshot {tag}");
        self.check_tag(&operation, tag)?;
        self.work(&operation, &["clearsnapshot", "-t", tag]).await.map(drop)
    }

    pub(super) async fn list_snapshots(&self) -> Result<Vec<String>> {
        let text = self.question("list snapshots", &["listsnapshots"]).await?;
        Ok(output::snapshot_tags(&text))
    }

    /// Hands directories of `SSTables` over to the node. Directories must be absolute paths as the
    /// *node* sees them, and such as it sees at all ([`is_importable_dir`]). Exit 1 with a list is an outcome, not an error: the other directories were
    /// imported. Afterwards each directory is looked at, because nodetool also says yes to what it
    /// skipped.
    pub async fn import(
        &self,
        table: &TableName,
        dirs: &[PathBuf],
        options: ImportOptions,
    ) -> Result<ImportOutcome> {
        let operation = format!("import {} directories into {table}", dirs.len());
        if dirs.is_empty() {
            return Ok(ImportOutcome::default());
        }
        let mut args = vec!["import"];
        let switches =
            [("-t", !options.verify_tokens), ("-p", options.copy), ("-e", options.extended_verify)];
        args.extend(switches.iter().filter(|(_, on)| *on).map(|(switch, _)| *switch));
        args.extend(["--", &table.keyspace, &table.table]);
        for dir in dirs {
            match dir.to_str() {
                Some(text) if is_importable_dir(dir) => args.push(text),
                _ => return Err(self.error(&operation, NodeErrorKind::Refused(skipped_dir(dir)))),
            }
        }
        let said = self.run(&operation, &args, self.config.timeouts.work).await?;
        let message = said.both();
        let failed = output::failed_import_dirs(&message, dirs);
        if !said.success && failed.is_empty() {
            return Err(self.error(&operation, kind_of_output(&said)));
        }
        let skipped = if options.copy {
            Vec::new()
        } else {
            let still_there = dirs.to_vec();
            let mut skipped = tokio::task::spawn_blocking(move || dirs_with_sstables(&still_there))
                .await
                .map_err(|error| self.failed(&operation, &error.to_string()))?;
            skipped.retain(|dir| !failed.contains(dir));
            skipped
        };
        Ok(ImportOutcome { failed, skipped, message: quote(&message) })
    }

    pub(super) async fn load_new_sstables(&self, table: &TableName) -> Result<()> {
        let operation = format!("load new SSTables of {table}");
        self.work(&operation, &["refresh", "--", &table.keyspace, &table.table]).await.map(drop)
    }

    /// By the Swiss Java Knife that comes with nodetool (4.0 and newer): it calls what nodetool has no command
    /// for. It ends with 0 whatever became of the call; only the plan's id says that there is one.
    pub(super) async fn bulk_load(&self, dir: &Path) -> Result<Uuid> {
        let operation = format!("stream the SSTables in {}", dir.display());
        let Some(path) = dir.to_str().filter(|_| is_importable_dir(dir)) else {
            return Err(self.error(&operation, NodeErrorKind::Refused(skipped_dir(dir))));
        };
        let bean = "org.apache.cassandra.db:type=StorageService";
        let args = ["sjk", "--", "mx", "-mc", "-b", bean, "-op", "bulkLoadAsync", "-a", path];
        let said = self.run(&operation, &args, self.config.timeouts.work).await?;
        output::stream_plan(&said.stdout).ok_or_else(|| self.error(&operation, kind_of_output(&said)))
    }

    pub(super) async fn cleanup(&self, keyspace: &str, tables: &[String]) -> Result<()> {
        let operation = format!("clean up {keyspace} {}", tables.join(" "));
        let mut args = vec!["cleanup", "--", keyspace];
        args.extend(tables.iter().map(String::as_str));
        self.work(&operation, &args).await.map(drop)
    }

    pub(super) async fn refresh_size_estimates(&self) -> Result<()> {
        self.work("refresh size estimates", &["refreshsizeestimates"]).await.map(drop)
    }

    pub(super) async fn estimated_partitions(&self, table: &TableName) -> Result<u64> {
        self.table_stat(table, "number_of_partitions_estimate").await
    }

    pub(super) async fn live_sstables(&self, table: &TableName) -> Result<u64> {
        self.table_stat(table, "sstable_count").await
    }

    async fn table_stat(&self, table: &TableName, name: &str) -> Result<u64> {
        let operation = format!("read {name} of {table}");
        let full_name = table.to_string();
        let args = ["tablestats", "-F", "json", "--", &full_name];
        let text = self.question(&operation, &args).await?;
        output::table_stat(&text, table, name)
            .ok_or_else(|| self.failed(&operation, &format!("its answer lacks {name}")))
    }

    async fn question(&self, operation: &str, args: &[&str]) -> Result<String> {
        self.expect_success(operation, args, self.config.timeouts.question).await
    }

    async fn work(&self, operation: &str, args: &[&str]) -> Result<String> {
        self.expect_success(operation, args, self.config.timeouts.work).await
    }

    async fn expect_success(&self, operation: &str, args: &[&str], timeout: Duration) -> Result<String> {
        let said = self.run(operation, args, timeout).await?;
        if said.success {
            return Ok(said.stdout);
        }
        Err(self.error(operation, kind_of_output(&said)))
    }

    fn check_tag(&self, operation: &str, tag: &str) -> Result<()> {
        if is_valid_tag(tag) {
            return Ok(());
        }
        let kind = NodeErrorKind::Refused(format!("{tag:?} cannot name a snapshot"));
        Err(self.error(operation, kind))
    }

    fn failed(&self, operation: &str, what: &str) -> NodeError {
        self.error(operation, NodeErrorKind::Failed(what.to_owned()))
    }

    fn error(&self, operation: &str, kind: NodeErrorKind) -> NodeError {
        NodeError { node: self.config.node.clone(), operation: operation.to_owned(), kind }
    }
}

#[cfg(test)]
mod tests;
