//! `plan` of an offline restore. It asks the cluster what it can: after the loss of everything nobody answers.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Utc;
use ringvault_cassandra::schema::{ObjectKind, SchemaDump};
use ringvault_core::{
    HostId, TaskError,
    restore::{Method, OfflineAsk, RingNow, is_restored_online, plan_offline},
    selection::{Selection, TableName},
    task::{NodePlan, PlanResult, RestoreTask},
};
use ringvault_vault::{
    backup::SealRecord,
    manifest::{Entry, SstableEntry},
};

use super::files::NodeFiles;
use crate::{
    agent::TaskHandle,
    executor::{
        Executor,
        restore::{
            plan_checks::Findings,
            plan_shares::partitions_with_rows,
            record::{PlannedManifest, PlannedTable, RestorePlan},
        },
    },
};

/// Tables without which a node is not the one that it was.
const IDENTITY: [(&str, &str); 3] =
    [("system", "local"), ("system_schema", "tables"), ("system_schema", "keyspaces")];

/// What is read of a manifest.
#[derive(Default)]
struct Sums {
    files: NodeFiles,
    tables: BTreeMap<TableName, PlannedTable>,
    versions: BTreeSet<String>,
    identity: BTreeSet<TableName>,
}

impl Sums {
    fn add(&mut self, sstable: &SstableEntry) {
        let name = TableName::new(&sstable.table.keyspace, &sstable.table.table);
        if IDENTITY.contains(&(name.keyspace.as_str(), name.table.as_str())) {
            self.identity.insert(name.clone());
        }
        if !self.versions.contains(&sstable.name.version) {
            self.versions.insert(sstable.name.version.clone());
        }
        // Those of an index tell nothing of the table's rows.
        if sstable.name.index.is_none() {
            let table = self.tables.entry(name).or_default();
            table.table_id = sstable.table.table_id;
            table.sstables += 1;
            table.partitions = table.partitions.saturating_add(partitions_with_rows(sstable.facts));
        }
    }
}

impl Executor {
    pub(in crate::executor) async fn plan_offline(
        &self,
        task: &RestoreTask,
        handle: &TaskHandle,
    ) -> Result<PlanResult, TaskError> {
        let spec = &task.spec;
        let seal =
            self.vault.seal_of(&spec.source, &spec.backup).await.map_err(|error| error.to_task_error())?;
        handle.step(0, 3, "ring");
        let schema = self.backup_schema(&seal.schema).await?;
        let now = self.ring_now().await;
        let held: Vec<HostId> = seal.nodes.iter().map(|node| node.host_id).collect();
        let taken = seal.nodes.iter().map(|node| node.snapshot_at).min().unwrap_or(seal.sealed_at);
        let choice = plan_offline(&OfflineAsk {
            backup: &spec.backup,
            source: &seal.topology,
            held: &held,
            nodes: &spec.nodes,
            now: now.as_ref(),
            age: (Utc::now() - taken).to_std().unwrap_or_default(),
        });
        let mut findings = Findings::default();
        for text in choice.blockers {
            findings.blocker(text);
        }
        for text in choice.warnings {
            findings.warning(text);
        }
        of_the_backup(&seal, &schema, &mut findings);

        let manifests: Vec<PlannedManifest> = seal
            .nodes
            .iter()
            .filter(|node| choice.nodes.contains(&node.host_id))
            .map(|node| PlannedManifest { host_id: node.host_id, key: node.key.clone(), blake3: node.blake3 })
            .collect();
        let mut plan = RestorePlan {
            version: RestorePlan::VERSION,
            job: task.job,
            spec: spec.clone(),
            made_at: Utc::now(),
            method: Method::Copy { sources: choice.nodes.iter().map(|host| (*host, *host)).collect() },
            target: seal.topology.clone(),
            keyspaces: seal.topology.keyspaces.clone(),
            tables: self.read_back(&schema, choice.is_whole).await,
            facts: BTreeMap::new(),
            sstable_versions: BTreeSet::new(),
            manifests,
            schema: seal.schema.clone(),
            nodes: Vec::new(),
        };
        handle.step(1, 3, "manifests");
        self.add_up_nodes(&mut plan, &seal, &mut findings).await?;
        findings.check(format!("manifests {}/{}", plan.manifests.len(), choice.nodes.len()));
        handle.step(2, 3, "writing the plan");
        let reason = "offline: each node becomes what it was, with its tokens and host id".to_owned();
        self.end_plan(plan, handle.epoch, reason, &seal.topology, findings).await
    }

    /// The ring as this worker's node sees it, if it can be asked.
    async fn ring_now(&self) -> Option<RingNow> {
        let topology = self.node.cql().await.ok()?.topology().await.ok()?;
        let up = self.node.control().live_members().await.ok()?;
        Some(RingNow { topology, up })
    }

    /// The tables of which rows are read afterwards. In a ring that went on just those that are still there.
    async fn read_back(&self, schema: &SchemaDump, is_whole: bool) -> Vec<TableName> {
        let now = match self.node.cql().await {
            Ok(cql) if !is_whole => cql.schema().await.ok(),
            _ => None,
        };
        let is_there = |name: &TableName| {
            now.as_ref().is_none_or(|now| now.find(ObjectKind::Table, &name.keyspace, &name.table).is_some())
        };
        let tables = schema.objects.iter().filter(|object| {
            object.kind == ObjectKind::Table
                && is_restored_online(&Selection::default(), false, &object.keyspace, &object.name)
        });
        tables.map(|object| TableName::new(&object.keyspace, &object.name)).filter(is_there).collect()
    }

    /// Reads the manifests: each node's share, and whether it can be what it was with it.
    async fn add_up_nodes(
        &self,
        plan: &mut RestorePlan,
        seal: &SealRecord,
        findings: &mut Findings,
    ) -> Result<(), TaskError> {
        for manifest in &plan.manifests {
            let (backup, host) = (plan.spec.backup.clone(), manifest.host_id);
            let sums = self
                .each_entry(manifest, Sums::default(), move |sums, entry| {
                    sums.files.add(&backup, host, entry, 1);
                    if let Entry::Sstable(sstable) = entry {
                        sums.add(sstable);
                    }
                })
                .await?;
            let address =
                seal.topology.node(host).map_or_else(|| "?".to_owned(), |node| node.address.clone());
            let lacking: Vec<String> = IDENTITY
                .into_iter()
                .map(|(keyspace, table)| TableName::new(keyspace, table))
                .filter(|name| !sums.identity.contains(name))
                .map(|name| name.to_string())
                .collect();
            if !lacking.is_empty() {
                findings.blocker(format!(
                    "the backup does not hold what makes node {host} ({address}) that node: {}",
                    lacking.join(", ")
                ));
            }
            for (name, table) in sums.tables.into_iter().filter(|(name, _)| plan.tables.contains(name)) {
                let known = plan.facts.entry(name).or_default();
                known.table_id = table.table_id;
                known.sstables += table.sstables;
                known.partitions = known.partitions.saturating_add(table.partitions);
            }
            plan.sstable_versions.extend(sums.versions);
            let (sstables, files, bytes) = (sums.files.sstables, sums.files.count(), sums.files.bytes);
            plan.nodes.push(NodePlan { host_id: host, address, sstables, files, bytes, receives: 0 });
        }
        Ok(())
    }
}

/// What the backup itself lacks.
fn of_the_backup(seal: &SealRecord, schema: &SchemaDump, findings: &mut Findings) {
    let selection = &seal.start.selection;
    if !selection.names_nothing() {
        findings.blocker(format!(
            "{} is a backup of some keyspaces or tables: a node needs one of everything to be what it was",
            seal.start.backup
        ));
    }
    if !selection.exclude.is_empty() {
        let names: Vec<String> = selection.exclude.iter().map(ToString::to_string).collect();
        findings.warning(format!(
            "the backup was taken without {}: empty on the restored nodes",
            names.join(", ")
        ));
    }
    if schema.objects.iter().any(|object| object.kind == ObjectKind::View) {
        findings.warning(
            "views come back as each node held them, which may be a moment before or after their base tables: drop and create those that must agree"
                .to_owned(),
        );
    }
}
