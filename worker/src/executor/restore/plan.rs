//! `plan`: reads the backup's seal and both schemas, chooses the method, adds up each node's share,
//! looks for what stands in the way, and writes the plan to the vault.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Utc;
use ringvault_cassandra::{
    CqlSession,
    schema::{ObjectKind, SchemaDump},
};
use ringvault_core::{
    HostId, TaskError,
    cluster::{Replication, Topology},
    restore::{
        AUTH_KEYSPACE, DataCenterMap, Method, NoMethod, Renames, choose_method, is_restored_online,
        settle_method,
    },
    selection::TableName,
    task::{PlanResult, RestoreTask},
};
use ringvault_vault::backup::SealRecord;

use super::{
    plan_checks::{Findings, SchemaCheck},
    plan_shares::Shares,
    record::{PlannedManifest, PlannedTable, RestorePlan, asked, renamed},
    ring::ring_motion,
};
use crate::{
    agent::TaskHandle,
    executor::{Executor, snapshot::is_wanted},
};

impl Executor {
    pub(in crate::executor) async fn plan(
        &self,
        task: &RestoreTask,
        handle: &TaskHandle,
    ) -> Result<PlanResult, TaskError> {
        let (source, backup) = (&task.spec.source, &task.spec.backup);
        let seal = self.vault.seal_of(source, backup).await.map_err(|error| error.to_task_error())?;
        handle.step(0, 4, "schemas");
        let schema = self.backup_schema(&seal.schema).await?;
        let cql = self.node.cql().await?;
        let target = cql.topology().await?;
        let existing = cql.schema().await?;

        let tables = planned_tables(task, &seal, &schema);
        let spec = &asked(task, &tables)?;
        let targets: Vec<TableName> = tables.iter().map(|table| spec.rename.target(table)).collect();
        let wanted = renamed(&schema, spec, &tables, task.job)?;
        let mut findings = Findings::default();
        let check = SchemaCheck {
            spec,
            seal: &seal,
            backup: &schema,
            wanted: &wanted,
            existing: &existing,
            tables: &tables,
            targets: &targets,
        };
        check.selection(&mut findings);
        check.schema(&target, &mut findings);
        check.coverage(&mut findings);
        check.age(Utc::now(), &cql.gc_grace().await?, &mut findings);
        check.views(&mut findings);
        check.renames(&mut findings);
        check.roles(&mut findings);
        check.streams(&mut findings);
        for problem in ring_motion(&self.node.control().node_info().await?) {
            findings.blocker(problem);
        }
        self.check_empty(spec, &existing, &targets, &mut findings).await?;

        handle.step(1, 4, "method");
        let held: Vec<HostId> = seal.nodes.iter().map(|node| node.host_id).collect();
        let source = under_target_names(&seal.topology, &tables, &spec.rename);
        let keyspaces = target_replication(&source, &target, &targets, &spec.dc_map);
        let choice = choose_method(spec.method, &source, &held, &target, &keyspaces)
            .map_err(|error| no_method(&error))?;
        let mut plan = RestorePlan {
            version: RestorePlan::VERSION,
            job: task.job,
            spec: spec.clone(),
            made_at: Utc::now(),
            keyspaces,
            method: choice.method.clone(),
            target,
            facts: table_ids(&schema, &tables),
            tables,
            sstable_versions: BTreeSet::new(),
            manifests: seal
                .nodes
                .iter()
                .map(|node| PlannedManifest {
                    host_id: node.host_id,
                    key: node.key.clone(),
                    blake3: node.blake3,
                })
                .collect(),
            schema: seal.schema.clone(),
            nodes: Vec::new(),
        };
        handle.step(2, 4, "shares");
        let shares = self.add_up(&mut plan, &seal.topology, &mut findings).await?;
        let unsliceable = unsliceable(&shares, &seal.partitioner, &cql).await?;
        let choice = settle_method(choice, spec.method, shares.moved(), unsliceable)
            .map_err(|error| no_method(&error))?;
        plan.method = choice.method;
        if plan.method == Method::Slice {
            plan.sstable_versions.extend(shares.sliced_versions.iter().cloned());
        }
        plan.nodes = shares.of(&plan.method);
        // Each node looks for itself once more, in its preflight.
        for version in &plan.sstable_versions {
            if !cql.loads_sstable_version(version).await? {
                findings.blocker(format!(
                    "the target (Cassandra {}) does not load SSTables of version {version}",
                    cql.local().release_version
                ));
            }
        }
        findings.check(format!("manifests {}/{}", seal.nodes.len(), seal.topology.nodes.len()));
        if findings.blockers.is_empty() {
            findings.check("schema ok".to_owned());
            findings.check("formats ok".to_owned());
        }
        handle.step(3, 4, "writing the plan");
        self.end_plan(plan, handle.epoch, choice.reason, &seal.topology, findings).await
    }

    /// Writes a plan down and says what was found, unless it is to be run and something stands in its way.
    pub(super) async fn end_plan(
        &self,
        plan: RestorePlan,
        epoch: u32,
        reason: String,
        source: &Topology,
        findings: Findings,
    ) -> Result<PlanResult, TaskError> {
        let spec = &plan.spec;
        if spec.plan_only {
            self.remove_job_files(plan.job).await?;
        }
        if !spec.plan_only && !findings.blockers.is_empty() {
            let offline = if spec.offline { "--offline " } else { "" };
            let next = if spec.drill {
                format!("ringvault drill run -c {} --from {} --to {}", spec.source, spec.backup, spec.target)
            } else {
                format!("ringvault restore plan {offline}--from {} --to {}", spec.backup, spec.target)
            };
            return Err(TaskError::permanent(
                "RV-RESTORE-BLOCKED",
                format!(
                    "restoring {} to {} is blocked: {}. Nothing was changed",
                    spec.backup,
                    spec.target,
                    findings.blockers.join("; ")
                ),
            )
            .with_next(next));
        }
        let written = self.write_plan(&plan, epoch).await?;
        Ok(PlanResult {
            key: written.key,
            blake3: Some(written.blake3),
            method: plan.method.name(),
            reason,
            source_nodes: u32::try_from(source.nodes.len()).unwrap_or(u32::MAX),
            tables: plan.tables.len() as u64,
            nodes: plan.nodes,
            blockers: findings.blockers,
            warnings: findings.warnings,
            checks: findings.checks,
        })
    }
}

fn no_method(error: &NoMethod) -> TaskError {
    TaskError::permanent("RV-METHOD", error.to_string())
        .with_next("leave --method out, or say --method import")
}

/// Why slices cannot be made of the backup's SSTables for this target, if so.
async fn unsliceable(
    shares: &Shares,
    partitioner: &str,
    cql: &CqlSession,
) -> Result<Option<String>, TaskError> {
    if !partitioner.ends_with("Murmur3Partitioner") {
        return Ok(Some(format!("slices need the Murmur3Partitioner, and the backup is of a {partitioner}")));
    }
    if let Some(version) = shares.unsliceable.first() {
        return Ok(Some(format!("SSTables of version {version} cannot be sliced")));
    }
    for version in &shares.sliced_versions {
        if !cql.loads_sstable_version(version).await? {
            let release = &cql.local().release_version;
            return Ok(Some(format!(
                "slices would be of version {version}, which the target (Cassandra {release}) does not load"
            )));
        }
    }
    Ok(None)
}

/// Tables whose data is brought: those selected, backed up, and not derived from others. Views are
/// rebuilt from their base tables. `system_auth` comes last.
fn planned_tables(task: &RestoreTask, seal: &SealRecord, schema: &SchemaDump) -> Vec<TableName> {
    let spec = &task.spec;
    let mut tables: Vec<TableName> = schema
        .objects
        .iter()
        .filter(|object| object.kind == ObjectKind::Table)
        .filter(|object| {
            is_restored_online(&spec.selection, spec.with_auth, &object.keyspace, &object.name)
                && is_wanted(&seal.start.selection, &object.keyspace, &object.name)
        })
        .map(|object| TableName::new(&object.keyspace, &object.name))
        .collect();
    tables.sort_by_key(|table| (table.keyspace == AUTH_KEYSPACE, table.clone()));
    tables
}

/// What is known of the tables before the manifests are read: their ids.
fn table_ids(schema: &SchemaDump, tables: &[TableName]) -> BTreeMap<TableName, PlannedTable> {
    tables
        .iter()
        .filter_map(|table| {
            let table_id = schema.shape(&table.keyspace, &table.table)?.table_id;
            Some((table.clone(), PlannedTable { table_id, ..PlannedTable::default() }))
        })
        .collect()
}

/// The backup's ring with the replication that the tables had, by the keyspaces they come to. Where
/// those of several come to one and differ, by none.
fn under_target_names(source: &Topology, tables: &[TableName], renames: &Renames) -> Topology {
    let mut keyspaces: BTreeMap<String, Option<Replication>> = BTreeMap::new();
    for table in tables {
        let was = source.keyspaces.get(&table.keyspace).cloned();
        keyspaces
            .entry(renames.target(table).keyspace)
            .and_modify(|known| *known = known.take().filter(|known| Some(known) == was.as_ref()))
            .or_insert(was);
    }
    let keyspaces = keyspaces.into_iter().filter_map(|(name, was)| Some((name, was?))).collect();
    Topology { nodes: source.nodes.clone(), keyspaces }
}

/// The replication each keyspace will have on the target: what it has, or what it is created with.
fn target_replication(
    source: &Topology,
    target: &Topology,
    tables: &[TableName],
    dc_map: &DataCenterMap,
) -> BTreeMap<String, Replication> {
    tables
        .iter()
        .filter_map(|table| {
            let keyspace = &table.keyspace;
            let made = || Some(dc_map.replication(source.keyspaces.get(keyspace)?));
            let replication = target.keyspaces.get(keyspace).cloned().or_else(made)?;
            Some((keyspace.clone(), replication))
        })
        .collect()
}
