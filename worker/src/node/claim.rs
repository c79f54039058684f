//! One worker a node, whatever their state folders: a worker locks its node's first data directory.
//!
//! The lock is on the open directory itself, so nothing is written there, and it ends with the process.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use ringvault_core::TaskError;
use rustix::fs::{FlockOperation, flock};

/// The data directory that this worker holds.
#[derive(Debug, Default)]
pub(super) struct NodeClaim(Mutex<Option<(PathBuf, File)>>);

impl NodeClaim {
    /// Takes the node with this data directory, if it is not taken already. An error when another
    /// worker has it. A directory that cannot be opened or locked (by its rights, or on some network
    /// file systems) is not judged here: those who need it say so.
    pub(super) fn take(&self, data_dir: &Path) -> Result<(), TaskError> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.as_ref().is_some_and(|(dir, _)| dir == data_dir) {
            return Ok(());
        }
        let Ok(dir) = File::open(data_dir) else { return Ok(()) };
        match flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                *held = Some((data_dir.to_owned(), dir));
                Ok(())
            }
            Err(rustix::io::Errno::WOULDBLOCK) => Err(TaskError::permanent(
                "RV-WORKER-TWICE",
                format!(
                    "another worker, with another state folder, is running beside the node of {}. \
                     One worker runs beside a node",
                    data_dir.display()
                ),
            )),
            Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_takes_one_worker() {
        let dir = tempfile::tempdir().unwrap();
        let first = NodeClaim::default();
        first.take(dir.path()).unwrap();
        first.take(dir.path()).unwrap();
        let second = NodeClaim::default();
        assert_eq!(second.take(dir.path()).unwrap_err().code, "RV-WORKER-TWICE");
        drop(first);
        second.take(dir.path()).unwrap();
        second.take(Path::new("/is/not/there")).unwrap();
    }
}
