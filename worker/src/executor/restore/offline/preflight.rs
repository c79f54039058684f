//! `preflight` of an offline restore: what could stop it is looked for while Cassandra still runs.

use std::{os::unix::fs::MetadataExt as _, path::Path};

use ringvault_core::{
    TaskError,
    task::{PreflightResult, RestoreTask},
};
use ringvault_vault::{disk, download::DownloadConfig};

use super::{
    apply::{is_whole, manifest_of},
    files::NodeFiles,
    places::DataDir,
    swap::Place,
};
use crate::executor::{
    Executor, failure,
    restore::{
        record::{RestorePlan, own_host},
        room::Place as Disk,
    },
    workspace::make_dir,
};

impl Executor {
    pub(in crate::executor) async fn preflight_offline(
        &self,
        task: &RestoreTask,
    ) -> Result<PreflightResult, TaskError> {
        let host_id = own_host(task)?;
        let plan = self.read_plan(task).await?;
        let mut blockers = Vec::new();
        blockers.extend(self.key_problem().await?);
        if !self.node.is_silent().await {
            let info = self.node.control().node_info().await?;
            blockers.extend(self.another_node("what runs there", info.host_id, host_id));
        }
        let mut room = (0, 0);
        if self.config.cassandra.offline.is_some() {
            room = self.look_at_disks(task, &plan, &mut blockers).await?;
        } else {
            blockers.push(self.no_offline());
        }
        self.end_preflight(task, host_id, room, blockers).await
    }

    /// That there is room, and that folders can be moved as they will be. Bytes needed and free in all.
    async fn look_at_disks(
        &self,
        task: &RestoreTask,
        plan: &RestorePlan,
        blockers: &mut Vec<String>,
    ) -> Result<(u64, u64), TaskError> {
        let host_id = own_host(task)?;
        let dirs = match self.offline_dirs(task.job).await {
            Ok(dirs) => dirs,
            Err(error) => {
                blockers.push(format!("node {}: {}", self.node.address(), error.message));
                return Ok((0, 0));
            }
        };
        let places = self.swap_places(task.job, is_whole(plan)).await?;
        for place in &places {
            if let Err(why) = can_swap(place) {
                blockers.push(format!("node {}: {why}", self.node.address()));
            }
        }
        let files = self.node_files(&task.spec.backup, manifest_of(plan, host_id)?, &dirs).await?;
        self.look_for_room_offline(&files, &dirs, blockers)
    }

    /// What is fetched lies on each directory's own file system, beside what the node holds.
    fn look_for_room_offline(
        &self,
        files: &NodeFiles,
        dirs: &[DataDir],
        blockers: &mut Vec<String>,
    ) -> Result<(u64, u64), TaskError> {
        let reserve = DownloadConfig::default().disk_reserve;
        let mut by_disk: Vec<(u64, &Path, u64)> = Vec::new();
        for (number, data) in dirs.iter().enumerate() {
            let there = data.dir.ancestors().find(|dir| dir.exists()).unwrap_or(&data.dir);
            let place = Disk::of(there).map_err(|error| failure::local(there, "looking at", &error))?;
            let bytes = files.bytes_of(number);
            match by_disk.iter_mut().find(|(device, _, _)| *device == place.device) {
                Some((_, _, sum)) => *sum = sum.saturating_add(bytes),
                None => by_disk.push((place.device, there, bytes)),
            }
        }
        let mut all = (0_u64, 0_u64);
        for (_, dir, bytes) in by_disk {
            let needed = bytes.saturating_add(reserve);
            let free = disk::space(dir).map_err(|error| failure::local(dir, "looking at", &error))?.free;
            all = (all.0.saturating_add(needed), all.1.saturating_add(free));
            blockers.extend(self.too_little_room(dir, needed, free));
        }
        Ok(all)
    }
}

/// Whether what is in a directory can be moved aside and replaced, by doing it with an empty folder. Why not, in
/// words.
fn can_swap(place: &Place) -> Result<(), String> {
    let Place { dir, old, rejected, .. } = place;
    if let Ok(entries) = std::fs::read_dir(old)
        && entries.count() > 0
    {
        return Err(format!("{} holds data of an earlier restore: move it elsewhere", old.display()));
    }
    // A machine that is new may lack it.
    make_dir(dir).map_err(|error| error.message)?;
    for beside in [old, rejected] {
        make_dir(beside).map_err(|error| error.message)?;
        let device = |path: &Path| std::fs::metadata(path).map(|found| found.dev());
        let same = device(dir).and_then(|here| Ok(here == device(beside)?));
        if !same.map_err(|error| format!("{}: {error}", dir.display()))? {
            return Err(format!(
                "{} is a file system of its own: what it holds cannot be moved aside by renaming. Give Cassandra a folder below it",
                dir.display()
            ));
        }
    }
    let (aside, back) = (rejected.join("probe"), dir.join("ringvault_probe"));
    let moved = std::fs::create_dir_all(&aside)
        .and_then(|()| std::fs::rename(&aside, &back))
        .and_then(|()| std::fs::remove_dir(&back));
    let tidied = moved.and_then(|()| std::fs::remove_dir(rejected)).and_then(|()| std::fs::remove_dir(old));
    tidied.map_err(|error| {
        format!("what is in {} cannot be moved: {error}. Run the worker as Cassandra's user", dir.display())
    })?;
    // The folders above go if nothing else is in them.
    for above in old.ancestors().skip(1).take(2) {
        let _ = std::fs::remove_dir(above);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_can_be_swapped_is_left_as_it_was() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let place = Place {
            dir: at("data"),
            old: at("old/job/0"),
            fresh: None,
            rejected: at("stage/job/rejected/0"),
        };
        std::fs::create_dir_all(at("data/system")).unwrap();
        can_swap(&place).unwrap();
        assert_eq!(std::fs::read_dir(at("data")).unwrap().count(), 1);
        assert!(!at("old/job").exists());
        std::fs::create_dir_all(at("old/job/0/system")).unwrap();
        assert!(can_swap(&place).unwrap_err().contains("earlier restore"));
        let shm = Place { dir: "/dev/shm".into(), old: at("old/job/1"), ..place };
        assert!(can_swap(&shm).unwrap_err().contains("file system of its own"));
    }
}
