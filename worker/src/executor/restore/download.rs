//! `download`: the node's share to its disk, every file checked by hash.

use std::path::Path;

use ringvault_core::{
    BackupName, TaskError,
    task::{DownloadResult, RestoreTask},
};
use ringvault_vault::{
    download::{DownloadConfig, Downloaded, FileOrigin, StagedPath, StagingFolder, WantedFile, download},
    manifest::Component,
    transfer::TransferContext,
};
use tracing::info;

use super::{
    batch::staged_dir,
    record::{RestorePlan, own_host},
    share::SharedSstable,
};
use crate::{
    agent::TaskHandle,
    executor::{Executor, workspace::make_dir},
};

impl Executor {
    pub(in crate::executor) async fn download(
        &self,
        task: &RestoreTask,
        handle: &TaskHandle,
    ) -> Result<DownloadResult, TaskError> {
        let host_id = own_host(task)?;
        let plan = self.read_plan(task).await?;
        let stage = self.stage_dir(task.job).await?;
        make_dir(&stage)?;
        let share = self.share_of(&plan, host_id, &self.job_dir(task.job)?).await?;
        let transfer = self.transfer(handle, task.spec.rate_limit);
        let sizes = share.iter().flat_map(SharedSstable::components).map(|component| component.size);
        let (files, bytes) =
            sizes.fold((0, 0), |(files, bytes), size| (files + 1, u64::saturating_add(bytes, size)));
        let sliced = share.iter().filter(|sstable| sstable.slice.is_some());
        let bytes = sliced.map(SharedSstable::parts_share).fold(bytes, u64::saturating_add);
        transfer.progress.expect(files, bytes);
        let done = self.stage_files(&plan, &share, &stage, &transfer).await?;
        info!(files = done.files, bytes = done.bytes, kept = done.bytes_kept, "share staged");
        Ok(DownloadResult { host_id, files: done.files, bytes: done.bytes, bytes_kept: done.bytes_kept })
    }

    /// Stages `sstables`, as files or as slices: what is staged and hashes right stays, the rest is
    /// fetched.
    pub(super) async fn stage_files(
        &self,
        plan: &RestorePlan,
        sstables: &[SharedSstable],
        stage: &Path,
        transfer: &TransferContext,
    ) -> Result<Downloaded, TaskError> {
        debug_assert!(sstables.iter().all(|s| staged_dir(stage, s).starts_with(stage)));
        let folder = StagingFolder::new(stage);
        let mut wanted = Vec::new();
        for sstable in sstables.iter().filter(|sstable| sstable.slice.is_none()) {
            for component in sstable.components() {
                wanted.push(Ok(wanted_file(&plan.spec.backup, sstable, component, &folder, None)?));
            }
        }
        let mut done = download(transfer, DownloadConfig::default(), wanted.into_iter())
            .await
            .map_err(|error| error.to_task_error())?;
        done += self.stage_slices(plan, sstables, stage, transfer).await?;
        Ok(done)
    }
}

/// A component of an SSTable as a file to stage, in the SSTable's folder or in `within` that.
pub(super) fn wanted_file(
    backup: &BackupName,
    sstable: &SharedSstable,
    component: &Component,
    folder: &StagingFolder,
    within: Option<&str>,
) -> Result<WantedFile, TaskError> {
    let origin = origin_of(backup, sstable, component);
    let to = staged_path(folder, sstable, within, &origin.file)?;
    Ok(WantedFile {
        origin,
        size: component.size,
        checksum: component.checksum,
        place: component.place.clone(),
        to,
    })
}

/// Which file it is, for people.
pub(super) fn origin_of(backup: &BackupName, sstable: &SharedSstable, component: &Component) -> FileOrigin {
    let entry = &sstable.entry;
    FileOrigin {
        backup: backup.clone(),
        host_id: sstable.source,
        keyspace: entry.table.keyspace.clone(),
        table: entry.table.table.clone(),
        file: entry.name.file_name(&component.name),
    }
}

/// Where a file is staged: [`staged_dir`] with every name checked.
fn staged_path(
    folder: &StagingFolder,
    sstable: &SharedSstable,
    within: Option<&str>,
    file: &str,
) -> Result<StagedPath, TaskError> {
    let place = sstable.place();
    let segments = std::iter::once("files").chain(place.split('/')).chain(within).chain([file]);
    folder.path(segments).map_err(|error| TaskError::permanent("RV-MANIFEST", error.to_string()))
}
