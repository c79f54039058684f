//! `preflight`: the node has room for its share, loads its SSTables, can import or stream them, and its ring
//! is the one that was planned for, and its keys open the vault as it is now.
//!
//! Whatever could stop the import is looked for here, while nothing is lost: nodetool is run even
//! where the node is otherwise spoken to over Jolokia, and an empty folder is imported, so that
//! Cassandra itself says whether it may take files out of the stage.

use std::path::Path;

use ringvault_cassandra::{NodeControl, NodeErrorKind, control::ImportOptions, cql::CqlSession};
use ringvault_core::{
    ErrorClass, HostId, TaskError,
    restore::Method,
    selection::TableName,
    size::format_size,
    task::{PreflightResult, RestoreTask},
};
use ringvault_vault::{VaultError, disk, download::DownloadConfig};
use tracing::warn;

use super::{
    record::{RestorePlan, own_host},
    room::{Load, Place, room_needed},
};
use crate::executor::{Executor, failure, workspace::make_dir};

impl Executor {
    pub(in crate::executor) async fn preflight(
        &self,
        task: &RestoreTask,
    ) -> Result<PreflightResult, TaskError> {
        let host_id = own_host(task)?;
        let plan = self.read_plan(task).await?;
        let stage = self.stage_dir(task.job).await?;
        make_dir(&stage)?;
        let mut blockers = Vec::new();

        blockers.extend(self.key_problem().await?);
        let info = self.node.control().node_info().await?;
        blockers.extend(self.another_node("the node's control interface", info.host_id, host_id));
        blockers.extend(self.ring_problems(&plan, &info).await?);
        let cql = self.node.cql().await?;
        blockers.extend(self.unloadable(&plan, &cql).await?);
        let (bytes, receives) = plan.node(host_id).map_or((0, 0), |node| (node.bytes, node.receives));
        let is_streamed = plan.method == Method::Stream;
        let load = if is_streamed { Load::Streamed(bytes, receives) } else { Load::Imported(bytes) };
        let (disk_needed, disk_free) = self.look_for_room(&stage, load, &mut blockers).await?;
        blockers.extend(if is_streamed {
            self.stream_problem(&plan, &cql, &stage).await?
        } else {
            self.import_problem(&plan, host_id, &cql, &stage).await?
        });

        self.end_preflight(task, host_id, (disk_needed, disk_free), blockers).await
    }

    /// Says what was found, unless the restore is to be run and something stands in its way. The pair: bytes
    /// needed and free.
    pub(super) async fn end_preflight(
        &self,
        task: &RestoreTask,
        host_id: HostId,
        (disk_needed, disk_free): (u64, u64),
        blockers: Vec<String>,
    ) -> Result<PreflightResult, TaskError> {
        if task.spec.plan_only || !blockers.is_empty() {
            self.remove_job_files(task.job).await?;
        }
        if !task.spec.plan_only && !blockers.is_empty() {
            return Err(TaskError::permanent(
                "RV-RESTORE-BLOCKED",
                format!("{}. Nothing was changed", blockers.join("; ")),
            )
            .with_next("mend it, then: ringvault job retry JOB"));
        }
        Ok(PreflightResult { host_id, disk_needed, disk_free, blockers })
    }

    /// That a disk has less free than is needed.
    pub(super) fn too_little_room(&self, dir: &Path, needed: u64, free: u64) -> Option<String> {
        (free < needed).then(|| {
            format!(
                "node {} needs {} on the disk of {} and has {} free",
                self.node.address(),
                format_size(needed),
                dir.display(),
                format_size(free)
            )
        })
    }

    /// That the vault was given another key since this worker was started: it would not start again.
    pub(super) async fn key_problem(&self) -> Result<Option<String>, TaskError> {
        match self.vault.refresh_keys().await {
            Ok(()) => Ok(None),
            Err(error @ VaultError::WrongKey { .. }) => {
                Ok(Some(format!("node {}: {error}", self.node.address())))
            }
            Err(error) => Err(error.to_task_error()),
        }
    }

    pub(super) fn another_node(&self, through: &str, answers: HostId, host_id: HostId) -> Option<String> {
        (answers != host_id).then(|| {
            format!(
                "node {}: {through} answers for node {}, not for {host_id}: mend the worker's configuration",
                self.node.address(),
                answers
            )
        })
    }

    /// Versions of SSTables that this node would skip in silence.
    async fn unloadable(&self, plan: &RestorePlan, cql: &CqlSession) -> Result<Vec<String>, TaskError> {
        let mut problems = Vec::new();
        for version in &plan.sstable_versions {
            if !cql.loads_sstable_version(version).await? {
                problems.push(format!(
                    "node {} (Cassandra {}) does not load SSTables of version {version}",
                    self.node.address(),
                    cql.local().release_version
                ));
            }
        }
        Ok(problems)
    }

    /// Bytes needed and free where files are staged; what is lacking there or where the data lies.
    async fn look_for_room(
        &self,
        stage: &Path,
        load: Load,
        blockers: &mut Vec<String>,
    ) -> Result<(u64, u64), TaskError> {
        let look = |dir: &Path, error: &std::io::Error| failure::local(dir, "looking at", error);
        let data_dirs = self.node.data_dirs().await?;
        let stage_place = Place::of(stage).map_err(|error| look(stage, &error))?;
        let data_places = data_dirs
            .iter()
            .map(|dir| Place::of(dir).map_err(|error| look(dir, &error)))
            .collect::<Result<Vec<_>, _>>()?;
        let reserve = DownloadConfig::default().disk_reserve;
        let mut staged = (0, 0);
        for (dir, needed) in room_needed(&stage_place, &data_places, load, reserve) {
            let free = disk::space(dir).map_err(|error| look(dir, &error))?.free;
            if dir == stage {
                staged = (needed, free);
            }
            blockers.extend(self.too_little_room(dir, needed, free));
        }
        Ok(staged)
    }

    /// Why an import would fail, whatever the files.
    async fn import_problem(
        &self,
        plan: &RestorePlan,
        host_id: HostId,
        cql: &CqlSession,
        stage: &Path,
    ) -> Result<Option<String>, TaskError> {
        let importer = match self.node.importer() {
            Ok(importer) => importer,
            Err(error) => return Ok(Some(error.message)),
        };
        if matches!(self.node.control(), NodeControl::Jolokia(_)) {
            match importer.host_id().await {
                Ok(answers) => {
                    if let Some(problem) = self.another_node("nodetool", answers, host_id) {
                        return Ok(Some(problem));
                    }
                }
                // Slow is not wrong: nodetool is a JVM that a busy machine may take long to start.
                Err(error) if error.class() == ErrorClass::Transient => return Err(error.into()),
                Err(error) => {
                    return Ok(Some(format!(
                        "nodetool, which imports the files, does not reach the node: {error}"
                    )));
                }
            }
        }
        let there = cql.table_ids().await?;
        let is_there =
            |table: &&TableName| there.iter().any(|(k, t, _)| *k == table.keyspace && *t == table.table);
        let always = TableName::new("system_distributed", "repair_history");
        let tables = plan.targets();
        let table = tables.iter().find(is_there).unwrap_or(&always);
        let dir = stage.join("probe").join(&table.keyspace).join(&table.table);
        make_dir(&dir)?;
        let outcome = importer.import(table, std::slice::from_ref(&dir), ImportOptions::default()).await;
        if let Err(error) = tokio::fs::remove_dir_all(stage.join("probe")).await {
            warn!(%error, "the empty folder of the import's probe stays");
        }
        let why = match outcome {
            Ok(outcome) if outcome.is_complete() => return Ok(None),
            Ok(outcome) => outcome.message,
            Err(error) if matches!(error.kind, NodeErrorKind::Timeout(_)) => return Err(error.into()),
            Err(error) => error.to_string(),
        };
        Ok(Some(format!(
            "node {} cannot import from {}: {why}. Cassandra's user must be able to read, write and enter it: run the worker as that user, or set worker.stage_dir",
            self.node.address(),
            stage.display()
        )))
    }
}
