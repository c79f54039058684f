//! `snapshot`: the backup's `start.json`, then flush and snapshot.
//!
//! **What makes it right.** The node is looked at (ring, schema, table ids) before the snapshot and once
//! more after it; only if both looks are the same is the snapshot what they say, and it is taken again
//! otherwise. What was seen, with the list of tables that must be there, is written beside it last, so a
//! snapshot with that note is a whole one; a snapshot without its note, or one that lacks a table or a
//! file of it, is cleared and taken again.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use ringvault_cassandra::{
    NodeErrorKind,
    control::SnapshotScope,
    schema::SchemaDump,
    snapshot::{ExpectedTable, check_on_disk, find_tables},
};
use ringvault_core::{
    HostId, JobId, TaskError,
    cluster::Topology,
    job::snapshot_tag,
    selection::{Selection, TableName},
    task::{SnapshotResult, SnapshotTask},
};
use ringvault_fault::{around, point};
use ringvault_vault::{backup::StartRecord, identity::RingIdentity};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::{Executor, failure};
use crate::agent::TaskHandle;

/// What the node saw when its snapshot was taken.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SnapshotView {
    pub(super) host_id: HostId,
    pub(super) taken_at: DateTime<Utc>,
    pub(super) cluster_name: String,
    pub(super) partitioner: String,
    pub(super) cassandra_version: String,
    pub(super) schema_version: String,
    pub(super) topology: Topology,
    pub(super) schema: SchemaDump,
    /// Every table of the node then.
    pub(super) tables: Vec<ExpectedTable>,
}

impl SnapshotView {
    /// Whether ring, schema and tables are the same in both looks.
    fn is_same(&self, other: &Self) -> bool {
        self.schema_version == other.schema_version
            && self.tables == other.tables
            && self.topology.same_ring(&other.topology)
            && self.topology.keyspaces == other.topology.keyspaces
            && self.cassandra_version == other.cassandra_version
    }

    /// Tables that must be in a snapshot of `selection`.
    pub(super) fn expected_tables(&self, selection: &Selection) -> Vec<ExpectedTable> {
        let wanted = self.tables.iter().filter(|(ks, table, _)| selection.is_backed_up(ks, table));
        wanted.cloned().collect()
    }
}

const VIEW_FILE: &str = "snapshot.json";
/// How often a snapshot that is not whole, or does not fit what was seen, is taken again before the
/// task gives up for now.
const TRIES: u32 = 3;

impl Executor {
    pub(super) async fn snapshot(
        &self,
        task: &SnapshotTask,
        handle: &TaskHandle,
    ) -> Result<SnapshotResult, TaskError> {
        let mut before = self.look_at_node().await?;
        let ring = RingIdentity {
            cluster_name: before.cluster_name.clone(),
            partitioner: before.partitioner.clone(),
            host_ids: before.topology.host_ids().into_iter().collect(),
        };
        self.vault.bind_cluster(&task.cluster, &ring).await.map_err(|e| e.to_task_error())?;
        self.vault.begin_backup(&StartRecord::of(task)).await.map_err(|e| e.to_task_error())?;

        let tag = snapshot_tag(task.job);
        if let Some(kept) = self.kept_view(task.job)?
            && let Some(tables) = self.whole_snapshot(&tag, &kept, &task.selection).await?
        {
            return Ok(SnapshotResult { host_id: kept.host_id, taken_at: kept.taken_at, tables });
        }
        for attempt in 0..TRIES {
            handle.step(u64::from(attempt), u64::from(TRIES), "snapshot");
            handle.go_on()?;
            // What is there has no note, or is not whole: cleared, taken again.
            self.forget_view(task.job)?;
            self.node.control().clear_snapshot(&tag).await?;
            point!("snapshot.clear").hit().await?;
            let scope = self.scope(&before, &task.selection)?;
            point!("snapshot.take.before").hit().await?;
            let taken = match self.node.control().take_snapshot(&tag, &scope, false).await {
                Ok(()) => true,
                // What could not be cleared is from before the first look.
                Err(error) if matches!(error.kind, NodeErrorKind::SnapshotExists { .. }) => false,
                Err(error) => return Err(error.into()),
            };
            point!("snapshot.take.after").hit().await?;
            let after = self.look_at_node().await?;
            if !before.is_same(&after) {
                info!(tag, "ring or schema changed while the snapshot was taken");
            } else if taken && let Some(tables) = self.whole_snapshot(&tag, &after, &task.selection).await? {
                info!(tag, "snapshot taken");
                self.keep_view(task.job, &after)?;
                return Ok(SnapshotResult { host_id: after.host_id, taken_at: after.taken_at, tables });
            }
            before = after;
        }
        Err(TaskError::transient(
            "RV-SNAPSHOT",
            format!(
                "snapshot {tag} on node {} was not whole after {TRIES} tries: tables are created and dropped, or nodes come and go, while it is taken",
                self.node.address()
            ),
        ))
    }

    /// What the node sees of itself, the ring and the schema now.
    async fn look_at_node(&self) -> Result<SnapshotView, TaskError> {
        let looked = self.try_look_at_node().await;
        if looked.is_err() {
            self.node.reconnect().await;
        }
        looked
    }

    async fn try_look_at_node(&self) -> Result<SnapshotView, TaskError> {
        let cql = self.node.cql().await?;
        let local = cql.local();
        let topology = cql.topology().await?;
        let schema = cql.schema().await?;
        let tables = cql.table_ids().await?;
        let versions = cql.schema_versions().await?;
        let schema_version = match versions.agreed() {
            Some(version) => Some(version),
            // A node that is down and behind has no say.
            None => match self.node.control().live_members().await {
                Ok(live) => versions.agreed_among(&live),
                Err(error) => {
                    info!(%error, "which nodes are up cannot be asked");
                    None
                }
            },
        };
        let schema_version = schema_version.ok_or_else(|| {
            TaskError::environment(
                "RV-SCHEMA-DISAGREES",
                format!(
                    "the nodes that are up do not agree on one schema version, as {} sees it",
                    self.node.address()
                ),
            )
            .with_next("nodetool describecluster")
        })?;
        Ok(SnapshotView {
            host_id: local.host_id,
            taken_at: Utc::now(),
            cluster_name: local.cluster_name.clone(),
            partitioner: local.partitioner.clone(),
            cassandra_version: local.release_version.clone(),
            schema_version: schema_version.to_string(),
            topology,
            schema,
            tables,
        })
    }

    /// How many tables the snapshot holds, if it has all that `view` says it must.
    async fn whole_snapshot(
        &self,
        tag: &str,
        view: &SnapshotView,
        selection: &Selection,
    ) -> Result<Option<u64>, TaskError> {
        let dirs = self.node.data_dirs().await?;
        let (own_tag, expected) = (tag.to_owned(), view.expected_tables(selection));
        let checked = tokio::task::spawn_blocking(move || check_on_disk(&dirs, &own_tag, &expected))
            .await
            .map_err(failure::internal)?;
        let (tables, lacking) = checked.map_err(|error| failure::snapshot(&error))?;
        if let Some(first) = lacking.first() {
            info!(tag, lacking = lacking.len(), %first, "the snapshot is not whole");
            return Ok(None);
        }
        Ok((tables > 0).then_some(tables as u64))
    }

    /// Whether anything of the snapshot lies on disk.
    pub(super) async fn has_snapshot(&self, tag: &str) -> Result<bool, TaskError> {
        let dirs = self.node.data_dirs().await?;
        let tag = tag.to_owned();
        let found = tokio::task::spawn_blocking(move || find_tables(&dirs, &tag))
            .await
            .map_err(failure::internal)?
            .map_err(|error| failure::snapshot(&error))?;
        Ok(!found.is_empty())
    }

    fn scope(&self, view: &SnapshotView, selection: &Selection) -> Result<SnapshotScope, TaskError> {
        if selection.names_nothing() {
            // Hard links cost nothing; what is left out is left out by the upload.
            return Ok(SnapshotScope::Everything);
        }
        let tables: Vec<TableName> = view
            .expected_tables(selection)
            .into_iter()
            .map(|(keyspace, table, _)| TableName::new(keyspace, table))
            .collect();
        if tables.is_empty() {
            return Err(TaskError::permanent(
                "RV-NOTHING-SELECTED",
                format!("node {} has no table that the backup's selection names", self.node.address()),
            )
            .with_next("look at the names given with --keyspace and --table"));
        }
        Ok(SnapshotScope::Tables(tables))
    }

    /// Keeps what was seen with a snapshot.
    fn keep_view(&self, job: JobId, view: &SnapshotView) -> Result<(), TaskError> {
        let path = self.job_dir(job)?.join(VIEW_FILE);
        let text = serde_json::to_string(view)
            .map_err(|error| TaskError::permanent("RV-INTERNAL", error.to_string()))?;
        around!("snapshot.view")
            .run_blocking(|| crate::identity::write_durably(&path, &text))
            .map_err(|error| failure::local(&path, "writing", &error))
    }

    /// What was seen with the job's snapshot; `None` where there is no note of it.
    pub(super) fn kept_view(&self, job: JobId) -> Result<Option<SnapshotView>, TaskError> {
        read_view(&self.job_path(job).join(VIEW_FILE))
    }

    fn forget_view(&self, job: JobId) -> Result<(), TaskError> {
        let path: PathBuf = self.job_path(job).join(VIEW_FILE);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(failure::local(&path, "removing", &error))
            }
            _ => Ok(()),
        }
    }
}

/// See [`Selection::is_backed_up`].
pub(super) fn is_wanted(selection: &Selection, keyspace: &str, table: &str) -> bool {
    selection.is_backed_up(keyspace, table)
}

/// A damaged note counts as none.
fn read_view(path: &Path) -> Result<Option<SnapshotView>, TaskError> {
    match std::fs::read(path) {
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failure::local(path, "reading", &error)),
    }
}

#[cfg(test)]
mod tests {
    use ringvault_core::cluster::{Node, Replication, Token};
    use uuid::Uuid;

    use super::*;

    fn view() -> SnapshotView {
        let node = Node {
            host_id: HostId(Uuid::nil()),
            address: "10.0.0.1".into(),
            dc: "dc1".into(),
            rack: "r1".into(),
            tokens: vec![Token(1)],
        };
        let keyspaces = [("ks".to_owned(), Replication::Simple { factor: 1 })].into();
        let table = |ks: &str, name: &str, id| (ks.to_owned(), name.to_owned(), Uuid::from_u128(id));
        SnapshotView {
            host_id: node.host_id,
            taken_at: Utc::now(),
            cluster_name: "c".into(),
            partitioner: "Murmur3Partitioner".into(),
            cassandra_version: "5.0.4".into(),
            schema_version: "s1".into(),
            topology: Topology { nodes: vec![node], keyspaces },
            schema: SchemaDump { version: 1, release_version: "5.0.4".into(), objects: Vec::new() },
            tables: vec![table("ks", "t", 1), table("ks", "u", 2), table("system", "paxos", 3)],
        }
    }

    #[test]
    fn any_change_of_ring_schema_or_tables_between_the_looks_is_seen() {
        let before = view();
        assert!(before.is_same(&SnapshotView { taken_at: DateTime::UNIX_EPOCH, ..view() }));
        let mut moved = view();
        moved.topology.nodes[0].tokens.push(Token(2));
        let mut replicated = view();
        replicated.topology.keyspaces.insert("ks".into(), Replication::Simple { factor: 3 });
        let mut created = view();
        created.tables.pop();
        let altered = SnapshotView { schema_version: "s2".into(), ..view() };
        for after in [moved, replicated, created, altered] {
            assert!(!before.is_same(&after), "{after:?}");
        }
    }

    #[test]
    fn what_must_be_there_is_what_the_selection_backs_up() {
        let names = |selection: &Selection| -> Vec<String> {
            view().expected_tables(selection).into_iter().map(|(_, table, _)| table).collect()
        };
        assert_eq!(names(&Selection::default()), ["t", "u"], "paxos never comes back");
        let one = Selection { tables: vec![TableName::new("ks", "u")], ..Selection::default() };
        assert_eq!(names(&one), ["u"]);
    }

    #[test]
    fn a_note_of_another_shape_counts_as_none() {
        let folder = std::env::temp_dir().join(format!("ringvault-note-{}", Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join(VIEW_FILE);
        assert!(read_view(&path).unwrap().is_none());
        std::fs::write(&path, serde_json::to_vec(&view()).unwrap()).unwrap();
        assert!(read_view(&path).unwrap().unwrap().is_same(&view()));
        std::fs::write(&path, "{}").unwrap();
        assert!(read_view(&path).unwrap().is_none());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
