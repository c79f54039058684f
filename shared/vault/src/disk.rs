//! Room on the file systems of this machine.

use std::path::{Path, PathBuf};

use ringvault_core::TaskError;

/// Room on one file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// Free for a process without special rights.
    pub free: u64,
    /// In all.
    pub total: u64,
}

/// There is not enough room.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {needed} bytes are needed and {free} are free", path.display())]
pub struct DiskFull {
    /// Where it was to go.
    pub path: PathBuf,
    /// Bytes needed.
    pub needed: u64,
    /// Bytes free.
    pub free: u64,
}

impl DiskFull {
    /// As a task reports it: it waits until there is room.
    pub fn to_task_error(&self) -> TaskError {
        TaskError::environment("RV-DISK-FULL", self.to_string())
            .with_next(format!("make room below {}; the task goes on by itself", self.path.display()))
    }
}

/// Room on the file system of `path`, which need not exist yet: its nearest existing parent counts.
pub fn space(path: &Path) -> std::io::Result<DiskSpace> {
    let mut at = path;
    loop {
        match rustix::fs::statvfs(at) {
            Ok(stat) => {
                return Ok(DiskSpace {
                    free: stat.f_bavail.saturating_mul(stat.f_frsize),
                    total: stat.f_blocks.saturating_mul(stat.f_frsize),
                });
            }
            Err(rustix::io::Errno::NOENT) => match at.parent() {
                Some(parent) if parent.as_os_str().is_empty() => at = Path::new("."),
                Some(parent) => at = parent,
                None => return Err(rustix::io::Errno::NOENT.into()),
            },
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Refuses when fewer than `needed` bytes are free for `path`. A file system that cannot say counts
/// as having room: writing will tell.
pub fn require(path: &Path, needed: u64) -> Result<(), DiskFull> {
    match space(path) {
        Ok(DiskSpace { free, .. }) if free < needed => Err(DiskFull { path: path.to_owned(), needed, free }),
        Ok(_) => Ok(()),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "free space is not known");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_that_of_the_nearest_folder_that_exists() {
        let folder = tempfile::tempdir().unwrap();
        let here = space(folder.path()).unwrap();
        let below = space(&folder.path().join("not/yet/there")).unwrap();
        assert_eq!(here.total, below.total);
        assert!(here.total >= here.free && here.total > 0);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_both_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let error = require(folder.path(), u64::MAX).unwrap_err();
        assert_eq!(error.needed, u64::MAX);
        assert!(error.free < u64::MAX);
        assert_eq!(error.to_task_error().class, ringvault_core::ErrorClass::Environment);
        require(folder.path(), 0).unwrap();
    }
}
