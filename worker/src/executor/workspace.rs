//! The worker's own folders: what a job keeps between its tasks (`<state>/jobs/<job>/`) and where a
//! restore stages files (on the data directories' file system, so that they can be linked).

use std::path::{Path, PathBuf};

use ringvault_core::{JobId, TaskError};
use ringvault_fault::around;

use super::{Executor, failure};

impl Executor {
    /// The job's folder in the worker's state, made if absent.
    pub(super) fn job_dir(&self, job: JobId) -> Result<PathBuf, TaskError> {
        let dir = self.job_path(job);
        make_dir(&dir)?;
        Ok(dir)
    }

    /// Where that folder is or would be.
    pub(super) fn job_path(&self, job: JobId) -> PathBuf {
        self.config.state_dir.join("jobs").join(job.to_string())
    }

    /// Where a restore's files are staged on this node; not made here.
    pub(super) async fn stage_dir(&self, job: JobId) -> Result<PathBuf, TaskError> {
        let root = match &self.config.worker.stage_dir {
            Some(dir) => dir.clone(),
            None => {
                let dirs = self.node.known_data_dirs().await?;
                let first = dirs.first().and_then(|dir| dir.parent()).ok_or_else(|| {
                    TaskError::permanent("RV-CONFIG", "the node has no data directory to stage beside")
                        .with_next("set worker.stage_dir in the worker's configuration")
                })?;
                first.join("ringvault-stage")
            }
        };
        Ok(root.join(job.to_string()))
    }

    /// Removes what the job kept and staged on this node. How many of the folders were there.
    pub(super) async fn remove_job_files(&self, job: JobId) -> Result<u64, TaskError> {
        let mut removed = 0;
        let mut folders = vec![self.job_path(job)];
        // Without a node there is no data directory, and then nothing was staged beside one.
        folders.extend(self.stage_dir(job).await);
        folders.extend(self.offline_stages(job).await);
        for folder in folders {
            match around!("workspace.remove").run(tokio::fs::remove_dir_all(&folder)).await {
                Ok(()) => removed += 1,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(failure::local(&folder, "removing", &error)),
            }
        }
        Ok(removed)
    }
}

/// Makes a folder and its parents.
pub(super) fn make_dir(dir: &Path) -> Result<(), TaskError> {
    std::fs::create_dir_all(dir).map_err(|error| failure::local(dir, "making", &error))
}
