//! What went wrong with one request to the store, told apart by what the caller can do about it.

use std::fmt;

use ringvault_core::{ErrorClass, TaskError};

/// What a store's failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreErrorKind {
    /// No such object.
    NotFound,
    /// The object exists and was to be created.
    AlreadyExists,
    /// Others write the same object at the same time, and who wins is not decided.
    Conflict,
    /// The multipart upload is not known, or not any more.
    NoSuchUpload,
    /// The credentials are known but may not do this.
    AccessDenied,
    /// The bucket, or the vault's folder, does not exist.
    NoSuchBucket,
    /// The credentials are missing, unknown, wrong or expired.
    InvalidCredentials,
    /// No answer: name, network, TLS or time.
    Unreachable,
    /// Asked to slow down.
    Throttled,
    /// The store failed (5xx).
    Server,
    /// A lock or a hold of the store protects the object.
    Locked,
    /// The store has no room left.
    Full,
    /// The disk under a folder store, or this process's own means, failed: an I/O error, too many
    /// open files.
    Device,
    /// What came is not what was asked for: too short, too long, a wrong checksum.
    Integrity,
    /// What was sent did not arrive as it was: the store found a wrong checksum.
    Garbled,
    /// The keys at hand do not open the object.
    NoKey,
    /// The store did not encrypt as it was asked to.
    NotEncrypted,
    /// The store does not know this request.
    Unsupported,
    /// The request makes no sense, and was not sent.
    Invalid,
    /// Anything else.
    Other,
}

impl StoreErrorKind {
    /// Stable code and class of the failure.
    const fn code(self) -> (&'static str, ErrorClass) {
        use ErrorClass::{Environment, Permanent, Transient};
        match self {
            Self::NotFound => ("RV-STORE-404", Permanent),
            Self::AlreadyExists => ("RV-STORE-409", Permanent),
            Self::Conflict => ("RV-STORE-CONFLICT", Transient),
            Self::NoSuchUpload => ("RV-STORE-UPLOAD", Transient),
            Self::AccessDenied => ("RV-STORE-403", Permanent),
            Self::NoSuchBucket => ("RV-STORE-BUCKET", Permanent),
            Self::InvalidCredentials => ("RV-STORE-401", Permanent),
            Self::Unreachable => ("RV-STORE-UNREACHABLE", Environment),
            Self::Throttled => ("RV-STORE-503", Transient),
            Self::Server => ("RV-STORE-500", Transient),
            Self::Locked => ("RV-STORE-LOCKED", Permanent),
            Self::Full => ("RV-STORE-FULL", Environment),
            Self::Device => ("RV-STORE-IO", Environment),
            Self::Integrity => ("RV-STORE-INTEGRITY", Permanent),
            Self::Garbled => ("RV-STORE-GARBLED", Transient),
            Self::NoKey => ("RV-KEY", Permanent),
            Self::NotEncrypted => ("RV-STORE-SSE", Permanent),
            Self::Unsupported => ("RV-STORE-501", Permanent),
            Self::Invalid => ("RV-STORE-REQUEST", Permanent),
            // Counted, so it does not go on for ever.
            Self::Other => ("RV-STORE", Transient),
        }
    }

    const fn next(self) -> &'static str {
        match self {
            Self::AccessDenied => "ringvault vault check --config FILE; grant the credentials this right",
            Self::NoSuchBucket => {
                "create the bucket or mend the vault's url, then ringvault vault check --config FILE"
            }
            Self::InvalidCredentials => {
                "mend the credential files of the vault's settings, then ringvault vault check --config FILE"
            }
            Self::Unreachable => {
                "ringvault vault check --config FILE; see the store's address and the network"
            }
            Self::Full => "make room in the store; ringvault purge plan shows what may go",
            Self::Locked => "wait for the lock to end",
            Self::Device => {
                "look at the disk that the vault's folder lies on, and at the limit of open files"
            }
            Self::NoKey => "ringvault key list --config FILE says which keys are wanted and which are given",
            Self::NotEncrypted => {
                "choose a store that encrypts, or take sse out of the vault's settings if it may lie there in the clear"
            }
            Self::Unsupported => "choose a store that knows this request",
            Self::NotFound | Self::Integrity => "ringvault verify run on the backup concerned",
            _ => "ringvault vault check --config FILE",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::NotFound => "not found",
            Self::AlreadyExists => "already exists",
            Self::Conflict => "others write it at the same time",
            Self::NoSuchUpload => "no such upload any more",
            Self::AccessDenied => "access denied",
            Self::NoSuchBucket => "no such bucket",
            Self::InvalidCredentials => "invalid credentials",
            Self::Unreachable => "the store cannot be reached",
            Self::Throttled => "the store asks to slow down",
            Self::Server => "the store failed",
            Self::Locked => "locked",
            Self::Full => "no room left",
            Self::Device => "the disk failed",
            Self::Integrity => "not what was stored",
            Self::Garbled => "damaged on its way to the store",
            Self::NoKey => "no key opens it",
            Self::NotEncrypted => "not encrypted as asked",
            Self::Unsupported => "the store does not know this request",
            Self::Invalid => "not a request that can be made",
            Self::Other => "failed",
        }
    }
}

impl fmt::Display for StoreErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// One failed request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation} {key}: {kind}{}", detail.as_ref().map(|d| format!(": {d}")).unwrap_or_default())]
pub struct StoreError {
    /// What it means.
    pub kind: StoreErrorKind,
    /// The request, by S3's name for it (`PutObject`).
    pub operation: &'static str,
    /// The key, from the vault's root on; a prefix for lists.
    pub key: String,
    /// The store's own words. Never a secret.
    pub detail: Option<String>,
}

impl From<ringvault_fault::Injected> for StoreError {
    fn from(error: ringvault_fault::Injected) -> Self {
        Self::new(StoreErrorKind::Server, "PutObject", &error.point, error.to_string())
    }
}

impl StoreError {
    /// A failure with the store's own words.
    pub fn new(
        kind: StoreErrorKind,
        operation: &'static str,
        key: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        Self { kind, operation, key: key.into(), detail: Some(detail.into()) }
    }

    /// A failure of the file system.
    pub(crate) fn from_io(operation: &'static str, key: &str, error: &std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match error.kind() {
            Io::NotFound | Io::NotADirectory | Io::IsADirectory => StoreErrorKind::NotFound,
            Io::AlreadyExists => StoreErrorKind::AlreadyExists,
            Io::PermissionDenied | Io::ReadOnlyFilesystem => StoreErrorKind::AccessDenied,
            Io::StorageFull | Io::QuotaExceeded => StoreErrorKind::Full,
            Io::UnexpectedEof => StoreErrorKind::Integrity,
            Io::TimedOut | Io::StaleNetworkFileHandle => StoreErrorKind::Unreachable,
            // EIO, EMFILE, ENFILE, EBUSY and their like: of the machine, and not for ever.
            _ if error.raw_os_error().is_some() => StoreErrorKind::Device,
            _ => StoreErrorKind::Other,
        };
        Self::new(kind, operation, key, error.to_string())
    }

    /// Whether the object is not there.
    pub fn is_not_found(&self) -> bool {
        self.kind == StoreErrorKind::NotFound
    }

    /// Whether it says that the object is damaged or gone, and not that the store failed to answer.
    pub fn is_damage(&self) -> bool {
        matches!(self.kind, StoreErrorKind::NotFound | StoreErrorKind::Integrity)
    }

    /// As a task reports it.
    pub fn to_task_error(&self) -> TaskError {
        let (code, class) = self.kind.code();
        TaskError {
            class,
            code: code.to_owned(),
            message: self.to_string(),
            next: Some(self.kind.next().to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_not_permanent() {
        let class = |kind: StoreErrorKind| kind.code().1;
        for (os, kind) in
            [(5, StoreErrorKind::Device), (24, StoreErrorKind::Device), (28, StoreErrorKind::Full)]
        {
            let error = StoreError::from_io("PutObject", "k", &std::io::Error::from_raw_os_error(os));
            assert_eq!((error.kind, class(error.kind)), (kind, ErrorClass::Environment), "{error}");
        }
        for kind in [StoreErrorKind::Conflict, StoreErrorKind::Garbled, StoreErrorKind::NoSuchUpload] {
            assert_eq!(class(kind), ErrorClass::Transient);
        }
    }

    #[test]
    fn says_what_where_and_why() {
        let error = StoreError::new(StoreErrorKind::AccessDenied, "PutObject", "vault.json", "AccessDenied");
        assert_eq!(error.to_string(), "PutObject vault.json: access denied: AccessDenied");
        let task = error.to_task_error();
        assert_eq!((task.code.as_str(), task.class), ("RV-STORE-403", ErrorClass::Permanent));
        assert!(task.next.is_some());
    }
}
