//! `upload`: the node's snapshot into the vault, then its manifest, then the snapshot is let go.
//!
//! An attempt that stored its manifest has done the task, however it ended: so a manifest of this job
//! that is there is taken first, and what is left of the snapshot is only cleared. Without one, the
//! snapshot must be all that was noted when it was taken.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use futures::TryStreamExt as _;
use ringvault_cassandra::schema::SchemaDump;
use ringvault_core::{
    BackupName, ClusterName, HostId, JobId, TaskError,
    job::snapshot_tag,
    task::{NodeManifestRef, UploadResult, UploadTask},
};
use ringvault_fault::point;
use ringvault_vault::{
    Vault,
    journal::UploadJournal,
    layout,
    manifest::{self, Figures, Header, ManifestFile, ManifestObjectError},
    transfer::TransferContext,
    upload::{UploadRequest, Uploaded, upload},
};
use tracing::info;

use super::{Executor, failure, snapshot::SnapshotView, source::NodeSnapshot};
use crate::agent::TaskHandle;

const JOURNAL_FILE: &str = "upload.journal";

impl Executor {
    pub(super) async fn upload(
        &self,
        task: &UploadTask,
        handle: &TaskHandle,
    ) -> Result<UploadResult, TaskError> {
        let tag = snapshot_tag(task.job);
        let view = self.kept_view(task.job)?;
        let host = match &view {
            Some(view) => view.host_id,
            None => self.node.cql().await?.local().host_id,
        };
        if let Some(done) = self.earlier_upload(task, host, &tag).await? {
            return Ok(done);
        }
        // Without the note nobody knows what the snapshot must hold.
        let view = view.ok_or_else(|| self.snapshot_gone(task))?;
        let vault = self.vault.locking_for(task.lock_seconds);
        let schema_hash = put_schema(&vault, task, &view.schema).await?;
        let reuse = self
            .vault
            .reuse_base(&task.cluster, &task.backup, view.host_id)
            .await
            .map_err(|error| error.to_task_error())?;
        let header = header(task, &view, schema_hash, handle.epoch);
        let request = UploadRequest {
            header: header.clone(),
            source: Arc::new(NodeSnapshot {
                data_dirs: self.node.data_dirs().await?,
                tag: tag.clone(),
                selection: task.selection.clone(),
                expected: view.expected_tables(&task.selection),
            }),
            reuse,
            journal: open_journal(self.job_dir(task.job)?.join(JOURNAL_FILE), &task.cluster, &task.backup)
                .await?,
            scratch: self.job_dir(task.job)?,
            config: self.config.upload,
        };
        let transfer =
            TransferContext { store: vault.store().clone(), ..self.transfer(handle, task.rate_limit) };
        let uploaded = upload(&transfer, request).await.map_err(|error| error.to_task_error())?;
        info!(
            bytes = uploaded.figures.bytes,
            bytes_new = uploaded.bytes_new,
            bytes_read = uploaded.bytes_read,
            objects_new = uploaded.objects_new,
            "the node's manifest is stored"
        );
        point!("upload.let-go.before").hit().await?;
        let snapshot_cleared = self.let_go(task, &tag).await;
        point!("upload.let-go.after").hit().await?;
        Ok(figures_of(&uploaded, reference(&header, &uploaded), snapshot_cleared))
    }

    /// Where the job's journal of uploads lies, if there is one.
    pub(super) fn journal_path(&self, job: JobId) -> PathBuf {
        self.job_path(job).join(JOURNAL_FILE)
    }

    /// Lets the snapshot and the job's notes go. What cannot be cleared now is left to `release`.
    async fn let_go(&self, task: &UploadTask, tag: &str) -> bool {
        let cleared = match self.node.control().clear_snapshot(tag).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "the snapshot could not be cleared yet");
                false
            }
        };
        cleared && self.remove_job_files(task.job).await.is_ok()
    }

    fn snapshot_gone(&self, task: &UploadTask) -> TaskError {
        TaskError::permanent(
            "RV-SNAPSHOT-GONE",
            format!(
                "node {}: the backup's snapshot, or the note of what it must hold, is gone and no manifest of it is in the vault",
                self.node.address()
            ),
        )
        .with_next(format!("ringvault backup create -c {}", task.cluster))
    }

    /// What an earlier attempt of this task did, if it stored its manifest.
    async fn earlier_upload(
        &self,
        task: &UploadTask,
        host: HostId,
        tag: &str,
    ) -> Result<Option<UploadResult>, TaskError> {
        let Some(key) = self.newest_manifest(task, host).await? else { return Ok(None) };
        let scratch = self.job_dir(task.job)?;
        let read = match ManifestFile::fetch(self.vault.store(), &key, None, &scratch).await {
            Ok(file) => read_whole(&file).await?.map(|(header, figures)| (file.blake3(), header, figures)),
            Err(error) => Err(error),
        };
        let (blake3, header, figures) = match read {
            Ok((_, header, _)) if header.job != task.job || header.host_id != host => return Ok(None),
            Ok(read) => read,
            Err(ManifestObjectError::Store(error)) if !error.is_damage() => return Err(error.to_task_error()),
            Err(error) => {
                tracing::warn!(%error, "the manifest of an earlier attempt is of no use");
                return Ok(None);
            }
        };
        info!(key, "an earlier attempt stored the node's manifest");
        let cleared = self.let_go(task, tag).await;
        let uploaded =
            Uploaded { key, blake3, manifest_size: 0, figures, bytes_new: 0, objects_new: 0, bytes_read: 0 };
        Ok(Some(figures_of(&uploaded, reference(&header, &uploaded), cleared)))
    }

    async fn newest_manifest(&self, task: &UploadTask, host: HostId) -> Result<Option<String>, TaskError> {
        let folder = layout::manifests_folder(&task.cluster, &task.backup);
        let mut newest: Option<(u64, String)> = None;
        let mut objects = self.vault.store().list(&folder);
        while let Some(object) = objects.try_next().await.map_err(|error| error.to_task_error())? {
            let epoch = object
                .key
                .strip_prefix(&folder)
                .and_then(|name| name.strip_prefix(&format!("{host}.")))
                .and_then(|rest| rest.strip_suffix(".jsonl.zst"))
                .and_then(|epoch| epoch.parse::<u64>().ok());
            if let Some(epoch) = epoch
                && newest.as_ref().is_none_or(|(known, _)| epoch > *known)
            {
                newest = Some((epoch, object.key));
            }
        }
        Ok(newest.map(|(_, key)| key))
    }
}

async fn put_schema(vault: &Vault, task: &UploadTask, schema: &SchemaDump) -> Result<String, TaskError> {
    let text =
        serde_json::to_vec(schema).map_err(|error| TaskError::permanent("RV-INTERNAL", error.to_string()))?;
    let stored = vault.put_schema(&task.cluster, &task.backup, &text).await;
    Ok(stored.map_err(|error| error.to_task_error())?.blake3.to_string())
}

/// Opens the job's journal of uploads, or begins it.
pub(super) async fn open_journal(
    path: PathBuf,
    cluster: &ClusterName,
    backup: &BackupName,
) -> Result<UploadJournal, TaskError> {
    let (cluster, backup) = (cluster.clone(), backup.clone());
    tokio::task::spawn_blocking(move || UploadJournal::open(&path, &cluster, &backup))
        .await
        .map_err(failure::internal)?
        .map_err(|error| failure::local(&error.path, "opening the journal", &error.cause))
}

/// Reads a manifest to its end: a manifest without its trailer is no manifest.
async fn read_whole(
    file: &ManifestFile,
) -> Result<Result<(Header, Figures), ManifestObjectError>, TaskError> {
    let reader = file.reader();
    tokio::task::spawn_blocking(move || {
        let mut reader = reader?;
        while reader.next_entry()?.is_some() {}
        let figures = reader.trailer().map(|trailer| trailer.figures).unwrap_or_default();
        Ok((reader.header().clone(), figures))
    })
    .await
    .map_err(failure::internal)
}

fn header(task: &UploadTask, view: &SnapshotView, schema_hash: String, epoch: u32) -> Header {
    let node = view.topology.node(view.host_id);
    Header {
        version: manifest::VERSION,
        cluster: task.cluster.clone(),
        backup: task.backup.clone(),
        job: task.job,
        epoch: u64::from(epoch),
        host_id: view.host_id,
        address: node.map(|node| node.address.clone()).unwrap_or_default(),
        dc: node.map(|node| node.dc.clone()).unwrap_or_default(),
        rack: node.map(|node| node.rack.clone()).unwrap_or_default(),
        tokens: node.map(|node| node.tokens.clone()).unwrap_or_default(),
        cassandra_version: view.cassandra_version.clone(),
        partitioner: view.partitioner.clone(),
        schema_version: view.schema_version.clone(),
        schema_hash,
        objects_hash: Some(view.schema.objects_hash()),
        snapshot_at: view.taken_at,
        topology: view.topology.clone(),
        bases: BTreeSet::new(),
        locked_for: None,
    }
}

fn reference(header: &Header, uploaded: &Uploaded) -> NodeManifestRef {
    NodeManifestRef {
        host_id: header.host_id,
        key: uploaded.key.clone(),
        blake3: uploaded.blake3.to_string(),
        snapshot_at: header.snapshot_at,
        schema_version: header.schema_version.clone(),
    }
}

fn figures_of(uploaded: &Uploaded, manifest: NodeManifestRef, snapshot_cleared: bool) -> UploadResult {
    UploadResult {
        manifest,
        sstables: uploaded.figures.sstables,
        files: uploaded.figures.files,
        bytes: uploaded.figures.bytes,
        bytes_new: uploaded.bytes_new,
        objects_new: uploaded.objects_new,
        bytes_read: uploaded.bytes_read,
        snapshot_cleared,
    }
}
