//! Where things lie on a node during an offline restore: everything beside the directory that it belongs to, so
//! that moving it is a rename.
//!
//! ```text
//! <parent>/<data directory>
//! <parent>/ringvault-stage/<job>/offline/<n>      what is fetched, in Cassandra's layout
//! <parent>/ringvault-stage/<job>/new/<n>          links to it, to be put in place
//! <parent>/ringvault-stage/<job>/rejected/<name>  what Cassandra did not come up with
//! <parent>/ringvault-old/<job>/<name>             what the node held before
//! ```

use std::path::{Path, PathBuf};

use ringvault_core::{JobId, TaskError};

use super::swap::Place;
use crate::{config::OfflineConfig, executor::Executor};

/// The folder of what nodes held before, beside their directories.
pub(super) const OLD: &str = "ringvault-old";
const STAGE: &str = "ringvault-stage";

/// One of the node's data directories, and what belongs to it.
#[derive(Debug, Clone)]
pub(super) struct DataDir {
    pub(super) dir: PathBuf,
    /// What is fetched for it.
    pub(super) staged: PathBuf,
    /// Links to that.
    pub(super) fresh: PathBuf,
}

impl Executor {
    /// How Cassandra is stopped and started here.
    pub(super) fn offline(&self) -> Result<&OfflineConfig, TaskError> {
        self.config.cassandra.offline.as_ref().ok_or_else(|| {
            TaskError::permanent("RV-NO-OFFLINE", self.no_offline())
                .with_next("add [cassandra.offline] to the worker's configuration, and restart it")
        })
    }

    /// That it is not known, in words.
    pub(super) fn no_offline(&self) -> String {
        format!(
            "node {}: its worker does not know how to stop and start Cassandra: [cassandra.offline] is missing in its configuration",
            self.node.address()
        )
    }

    /// The node's data directories, in its order.
    pub(super) async fn offline_dirs(&self, job: JobId) -> Result<Vec<DataDir>, TaskError> {
        let dirs = self.node.known_data_dirs().await?;
        let dirs = dirs.into_iter().enumerate().map(|(number, dir)| {
            let stage = beside(&dir, STAGE, job)?;
            let number = number.to_string();
            Ok(DataDir {
                staged: stage.join("offline").join(&number),
                fresh: stage.join("new").join(number),
                dir,
            })
        });
        dirs.collect()
    }

    /// The folders that a job stages in beside the data directories; none where these are not known.
    pub(in crate::executor) async fn offline_stages(&self, job: JobId) -> Vec<PathBuf> {
        let dirs = self.node.known_data_dirs().await.unwrap_or_default();
        let mut stages: Vec<PathBuf> = dirs.iter().filter_map(|dir| beside(dir, STAGE, job).ok()).collect();
        stages.extend(self.side_dirs(true).iter().filter_map(|dir| beside(dir, STAGE, job).ok()));
        stages.sort();
        stages.dedup();
        stages
    }

    /// Where the swap's record lies: with what the node held, so that one is not lost without the other.
    pub(super) async fn swap_file(&self, job: JobId) -> Result<PathBuf, TaskError> {
        let dirs = self.node.known_data_dirs().await?;
        let first = dirs.first().ok_or_else(no_dirs)?;
        Ok(beside(first, OLD, job)?.join("swap.json"))
    }

    /// Every directory whose content is swapped. With `with_hints` those of hints too: they are writes of
    /// after the backup, for nodes that go back in time as well.
    pub(super) async fn swap_places(&self, job: JobId, with_hints: bool) -> Result<Vec<Place>, TaskError> {
        let mut places = Vec::new();
        for (number, data) in self.offline_dirs(job).await?.into_iter().enumerate() {
            let name = format!("data-{number}");
            places.push(place(job, data.dir, &name, Some(data.fresh))?);
        }
        if places.is_empty() {
            return Err(no_dirs());
        }
        for dir in self.side_dirs(with_hints) {
            let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
            places.push(place(job, dir, &name, None)?);
        }
        Ok(places)
    }

    fn side_dirs(&self, with_hints: bool) -> Vec<PathBuf> {
        let Some(offline) = &self.config.cassandra.offline else { return Vec::new() };
        let hints = with_hints.then_some(&offline.hints_dir);
        [&offline.commitlog_dir, &offline.saved_caches_dir].into_iter().chain(hints).cloned().collect()
    }
}

fn place(job: JobId, dir: PathBuf, name: &str, fresh: Option<PathBuf>) -> Result<Place, TaskError> {
    Ok(Place {
        old: beside(&dir, OLD, job)?.join(name),
        rejected: beside(&dir, STAGE, job)?.join("rejected").join(name),
        fresh,
        dir,
    })
}

/// The job's folder of this kind beside a directory.
fn beside(dir: &Path, kind: &str, job: JobId) -> Result<PathBuf, TaskError> {
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).ok_or_else(|| {
        TaskError::permanent("RV-CONFIG", format!("{} has no folder beside it to stage in", dir.display()))
    })?;
    Ok(parent.join(kind).join(job.to_string()))
}

fn no_dirs() -> TaskError {
    TaskError::permanent("RV-CONFIG", "the node has no data directory")
        .with_next("set cassandra.data_dirs in the worker's configuration")
}
