//! Who the worker is: an id of its own in its state folder, which exists before its node does, and
//! a lock that keeps a second worker from using the folder.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
};

use ringvault_core::WorkerId;
use rustix::fs::{FlockOperation, flock};
use uuid::Uuid;

const ID_FILE: &str = "worker-id";
const LOCK_FILE: &str = "lock";

/// A worker's identity. The folder stays locked while it lives.
#[derive(Debug)]
pub struct Identity {
    /// Stays the same over restarts.
    pub worker: WorkerId,
    /// This run of the process; later ones are greater.
    pub incarnation: Uuid,
    _lock: File,
}

/// The state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Another worker has it.
    #[error("error[RV-WORKER-TWICE]: another worker is running with the state folder {}. One worker runs beside a node", dir.display())]
    Taken {
        /// The folder.
        dir: PathBuf,
    },
    /// It cannot be read or written.
    #[error("error[RV-CONFIG]: state folder {}: {cause}", dir.display())]
    Unusable {
        /// The folder.
        dir: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The id file does not hold an id.
    #[error("error[RV-CONFIG]: {} does not hold a worker's id: {cause}. Put the id back, or remove the file to begin as a new worker", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Why.
        cause: uuid::Error,
    },
}

impl Identity {
    /// Locks `state_dir` (made if absent) and reads or makes the id.
    pub fn claim(state_dir: &Path) -> Result<Self, IdentityError> {
        let unusable = |cause| IdentityError::Unusable { dir: state_dir.to_owned(), cause };
        std::fs::create_dir_all(state_dir).map_err(unusable)?;
        let lock = File::create(state_dir.join(LOCK_FILE)).map_err(unusable)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(IdentityError::Taken { dir: state_dir.to_owned() });
            }
            Err(errno) => return Err(unusable(errno.into())),
        }
        let file = state_dir.join(ID_FILE);
        let worker = match std::fs::read_to_string(&file) {
            Ok(text) => {
                text.trim().parse().map_err(|cause| IdentityError::Damaged { file: file.clone(), cause })?
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let worker = WorkerId::generate();
                write_durably(&file, &format!("{worker}\n")).map_err(unusable)?;
                worker
            }
            Err(error) => return Err(unusable(error)),
        };
        Ok(Self { worker, incarnation: Uuid::now_v7(), _lock: lock })
    }
}

/// Writes a small file so that it is there whole or not at all, even after a crash.
pub(crate) fn write_durably(path: &Path, text: &str) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_stays_and_the_folder_takes_one_worker() {
        let dir = tempfile::tempdir().unwrap();
        let first = Identity::claim(dir.path()).unwrap();
        assert!(matches!(Identity::claim(dir.path()), Err(IdentityError::Taken { .. })));
        let (id, incarnation) = (first.worker, first.incarnation);
        drop(first);
        let again = Identity::claim(dir.path()).unwrap();
        assert_eq!(again.worker, id);
        assert!(again.incarnation > incarnation);
    }

    #[test]
    fn a_damaged_id_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(ID_FILE), "x").unwrap();
        assert!(matches!(Identity::claim(dir.path()), Err(IdentityError::Damaged { .. })));
    }
}
