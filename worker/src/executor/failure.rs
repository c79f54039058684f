//! Turning failures of the parts into what a task reports.

use ringvault_cassandra::snapshot::SnapshotError;
use ringvault_core::TaskError;

/// A panic in, or the end of, a blocking piece of work.
pub(super) fn internal(error: tokio::task::JoinError) -> TaskError {
    TaskError::transient("RV-INTERNAL", format!("an internal task failed: {error}"))
}

/// A file or folder of the worker's own.
pub(super) fn local(path: &std::path::Path, doing: &str, error: &std::io::Error) -> TaskError {
    let message = format!("{doing} {}: {error}", path.display());
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            TaskError::environment("RV-DISK-FULL", message).with_next("free space on this disk")
        }
        std::io::ErrorKind::PermissionDenied => TaskError::permanent("RV-PERMISSION", message)
            .with_next("let the worker's user read and write there"),
        _ => TaskError::transient("RV-LOCAL-IO", message),
    }
}

/// A snapshot that cannot be read.
pub(super) fn snapshot(error: &SnapshotError) -> TaskError {
    match error {
        SnapshotError::Io { path, source, .. } => local(path, "reading the snapshot at", source),
        SnapshotError::Manifest { .. } => TaskError::transient("RV-SNAPSHOT", error.to_string()),
        SnapshotError::Tag(_) => TaskError::permanent("RV-SNAPSHOT", error.to_string()),
    }
}
