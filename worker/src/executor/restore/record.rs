//! The plan of a restore as it lies in the vault: what every node derives its share from.
//!
//! Each attempt to plan writes a plan of its own, under its epoch, and never over another. The one
//! whose report the scheduler accepted is named, with its hash, in every later task: a planner that
//! comes late changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use ringvault_cassandra::schema::{SchemaDump, SchemaObject};
use ringvault_core::{
    HostId, JobId, TaskError,
    cluster::{Replication, Topology},
    job::RestoreSpec,
    restore::{AUTH_KEYSPACE, Method, drill_renames, loaded_as},
    selection::{Selection, TableName},
    task::{NodePlan, PlanRef, RestoreTask},
};
use ringvault_fault::around;
use ringvault_vault::{backup::SchemaRef, hash::Digest, layout, store::PutIfAbsent};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::executor::Executor;

/// Version of the record that is written here, and the only one that is read.
const VERSION: u32 = 1;
/// Largest plan accepted, in bytes.
const MAX_PLAN: u64 = 64 << 20;

/// A backup's node whose manifest is used.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct PlannedManifest {
    pub(super) host_id: HostId,
    pub(super) key: String,
    pub(super) blake3: Digest,
}

/// What is known of a planned table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PlannedTable {
    /// Its id in the backup: SSTables of another table that bore its name are not brought.
    pub(super) table_id: Uuid,
    /// SSTables of it in the backup, those of each replica counted.
    pub(super) sstables: u64,
    /// Partitions they hold, as Cassandra estimates, and likewise.
    pub(super) partitions: u64,
    /// Its SSTables may hold what the node that takes them does not own. They are loaded without
    /// Cassandra's ownership check, which would refuse them, and cleaned up afterwards.
    pub(super) cleanup: bool,
}

/// How a restore is done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RestorePlan {
    pub(super) version: u32,
    pub(super) job: JobId,
    pub(super) spec: RestoreSpec,
    pub(super) made_at: DateTime<Utc>,
    pub(super) method: Method,
    /// The target's ring.
    pub(super) target: Topology,
    /// Replication that the keyspaces have on the target when the data arrives.
    pub(super) keyspaces: BTreeMap<String, Replication>,
    /// Tables whose data is brought, `system_auth` last.
    pub(super) tables: Vec<TableName>,
    /// What is known of each.
    #[serde(default)]
    pub(super) facts: BTreeMap<TableName, PlannedTable>,
    /// Versions of their SSTables: every node must load them all.
    #[serde(default)]
    pub(super) sstable_versions: BTreeSet<String>,
    pub(super) manifests: Vec<PlannedManifest>,
    pub(super) schema: SchemaRef,
    pub(super) nodes: Vec<NodePlan>,
}

impl RestorePlan {
    pub(super) const VERSION: u32 = VERSION;

    /// The planned tables by their names on the target.
    pub(super) fn targets(&self) -> Vec<TableName> {
        self.tables.iter().map(|table| self.spec.rename.target(table)).collect()
    }

    /// Those as a selection.
    pub(super) fn selection(&self) -> Selection {
        Selection { tables: self.targets(), ..Selection::default() }
    }

    /// The table that a table's SSTables are handed to.
    pub(super) fn loaded_as(&self, table: &TableName) -> TableName {
        loaded_as(self.job, &self.spec.rename.target(table))
    }

    /// Keyspaces of the target that are restored whole: all their types and functions come too.
    pub(super) fn whole_keyspaces(&self) -> BTreeSet<String> {
        let selection = &self.spec.selection;
        let is_whole = |name: &&str| {
            selection.names_nothing() || selection.keyspaces.iter().any(|keyspace| keyspace == name)
        };
        let keyspaces: BTreeSet<&str> = self.tables.iter().map(|table| table.keyspace.as_str()).collect();
        let target = |name: &str| self.spec.rename.target_keyspace(name).to_owned();
        keyspaces.into_iter().filter(is_whole).map(target).collect()
    }

    /// What keyspaces are made with in place of what the backup's own statements say; none where those will do.
    pub(super) fn replication_of_new_keyspaces(&self) -> BTreeMap<String, Replication> {
        if self.spec.dc_map.is_empty() { BTreeMap::new() } else { self.keyspaces.clone() }
    }

    /// Whether some indexes are made only once the data is in ([`Self::is_made_last`]).
    pub(super) fn makes_indexes_last(&self) -> bool {
        self.method == Method::Stream && !self.spec.skip_schema
    }

    /// Whether this object of the wanted schema is made once the data is in: a node does not take whole streamed
    /// SSTables for tables with storage-attached indexes.
    pub(super) fn is_made_last(&self, object: &SchemaObject) -> bool {
        let base = object.base.as_deref().unwrap_or_default();
        self.makes_indexes_last()
            && object.is_attached_index()
            && self.targets().contains(&TableName::new(&object.keyspace, base))
    }

    /// Whether what is loaded into the table may hold more than a node owns.
    pub(super) fn needs_cleanup(&self, table: &TableName) -> bool {
        match self.method {
            Method::Import => true,
            // Each owner is sent what it owns.
            Method::Stream => false,
            // Roles and grants are not sliced.
            Method::Slice => table.keyspace == AUTH_KEYSPACE,
            Method::Copy { .. } => self.facts.get(table).is_some_and(|facts| facts.cleanup),
        }
    }

    /// The node's line of the plan.
    pub(super) fn node(&self, host: HostId) -> Option<&NodePlan> {
        self.nodes.iter().find(|node| node.host_id == host)
    }
}

impl Executor {
    /// Writes the plan that the attempt `epoch` has made.
    pub(super) async fn write_plan(&self, plan: &RestorePlan, epoch: u32) -> Result<PlanRef, TaskError> {
        let key = layout::restore_plan(&plan.spec.target, plan.job, epoch);
        let mut text = serde_json::to_vec_pretty(plan)
            .map_err(|error| TaskError::permanent("RV-INTERNAL", error.to_string()))?;
        text.push(b'\n');
        let blake3 = Digest::of(&text);
        if !around!("restore.plan").run(self.put_if_absent(&key, text.into())).await? {
            // After a lost answer it may be this very plan.
            let there = self.vault.store().get(&key, MAX_PLAN).await.map_err(|e| e.to_task_error())?;
            if Digest::of(&there) != blake3 {
                let message = format!("{key} holds another plan of this attempt");
                return Err(TaskError::transient("RV-PLAN", message));
            }
        }
        Ok(PlanRef { key, blake3: blake3.to_string() })
    }

    /// Creates an object; `false` if there was one.
    pub(super) async fn put_if_absent(&self, key: &str, body: Bytes) -> Result<bool, TaskError> {
        let put = self.vault.store().put_if_absent(key, body).await.map_err(|e| e.to_task_error())?;
        Ok(matches!(put, PutIfAbsent::Created(_)))
    }

    pub(super) async fn read_plan(&self, task: &RestoreTask) -> Result<RestorePlan, TaskError> {
        let key = match &task.plan {
            Some(plan) => plan.key.clone(),
            None => layout::old_restore_plan(&task.spec.target, task.job),
        };
        let text = self.vault.store().get(&key, MAX_PLAN).await.map_err(|error| error.to_task_error())?;
        let bad = |why: String| {
            TaskError::permanent("RV-PLAN", format!("the restore's plan {key} cannot be used: {why}"))
        };
        if task.plan.as_ref().is_some_and(|plan| plan.blake3 != Digest::of(&text).to_string()) {
            return Err(bad("it is not the plan that was accepted".to_owned()));
        }
        let plan: RestorePlan = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
        if plan.version != VERSION {
            return Err(bad(format!("it has version {}, not {VERSION}", plan.version)));
        }
        let asked = asked(task, &plan.tables)?;
        if plan.job != task.job || plan.spec != asked {
            return Err(bad("it was made for another restore".to_owned()));
        }
        Ok(plan)
    }

    /// The schema that the planned tables find on the target: the backup's, under the names they come by.
    pub(super) async fn wanted_schema(&self, plan: &RestorePlan) -> Result<SchemaDump, TaskError> {
        let schema = self.backup_schema(&plan.schema).await?;
        renamed(&schema, &plan.spec, &plan.tables, plan.job)
    }

    /// The schema as the backup captured it.
    pub(super) async fn backup_schema(&self, schema: &SchemaRef) -> Result<SchemaDump, TaskError> {
        let text = self.vault.get_schema(schema).await.map_err(|error| error.to_task_error())?;
        serde_json::from_slice(&text).map_err(|error| {
            TaskError::permanent("RV-SCHEMA", format!("the backup's schema {}: {error}", schema.key))
        })
    }
}

/// What is asked for, with the names that a drill's tables come by.
pub(super) fn asked(task: &RestoreTask, tables: &[TableName]) -> Result<RestoreSpec, TaskError> {
    let mut spec = task.spec.clone();
    if spec.drill {
        let keyspaces = tables.iter().map(|table| table.keyspace.as_str()).collect();
        spec.rename = drill_renames(task.job, &keyspaces)
            .map_err(|error| TaskError::permanent("RV-RENAME", error.to_string()))?;
    }
    Ok(spec)
}

/// `schema` under the names that its planned `tables` come by.
pub(super) fn renamed(
    schema: &SchemaDump,
    spec: &RestoreSpec,
    tables: &[TableName],
    job: JobId,
) -> Result<SchemaDump, TaskError> {
    schema.renamed(&spec.rename, tables, job.0.as_bytes()).map_err(|error| {
        TaskError::permanent("RV-RENAME", format!("{error}. Nothing was changed"))
            .with_next("give them other names with --rename, or leave one out with --exclude")
    })
}

/// The node that a task of one node is for.
pub(super) fn own_host(task: &RestoreTask) -> Result<HostId, TaskError> {
    task.host_id.ok_or_else(|| TaskError::permanent("RV-INTERNAL", "a task that is for one node names none"))
}
