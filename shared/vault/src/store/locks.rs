//! Locks on objects, where the store has them.

use chrono::{DateTime, Utc};

use super::{Kind, Store, StoreError, StoreErrorKind, StoreResult, check};
use crate::config::LockConfig;

/// Whether the store keeps what is written from being deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockState {
    /// It does not, or knows no locks.
    Off,
    /// It can.
    On {
        /// What it locks by itself, in words: the mode, and for how long.
        by_default: Option<String>,
    },
}

impl Store {
    /// Whether objects can be locked here. Of Google and Azure, whose policies are others, it is not known.
    pub async fn lock_state(&self) -> StoreResult<LockState> {
        match &self.0 {
            Kind::S3(store) => Box::pin(store.lock_state()).await,
            Kind::Cloud(_) => {
                let detail = "it is not asked for in this cloud";
                Err(StoreError::new(StoreErrorKind::Unsupported, "GetObjectLockConfiguration", "", detail))
            }
            Kind::Folder(_) => Ok(LockState::Off),
        }
    }

    /// The locks that are asked for with what is put here.
    pub const fn lock(&self) -> Option<&LockConfig> {
        match &self.0 {
            Kind::S3(store) => store.lock(),
            Kind::Cloud(_) | Kind::Folder(_) => None,
        }
    }

    /// The same store; what is put there is locked for so many seconds at least, where there are locks.
    pub(crate) fn locking_for(&self, seconds: Option<u64>) -> Self {
        let mut store = self.clone();
        if let Kind::S3(s3) = &mut store.0 {
            *s3 = s3.locking_for(seconds);
        }
        store
    }

    /// Until when what is read at `key` is locked; `None`: it is not.
    pub async fn locked_until(&self, key: &str) -> StoreResult<Option<DateTime<Utc>>> {
        check(key, "HeadObject")?;
        match &self.0 {
            Kind::S3(store) => Box::pin(store.locked_until(key)).await,
            Kind::Cloud(_) | Kind::Folder(_) => Ok(None),
        }
    }

    /// Locks what is read at `key` until `until` at least; a longer lock stays. Only where
    /// [locks](Self::lock) are asked for.
    pub async fn extend_lock(&self, key: &str, until: DateTime<Utc>) -> StoreResult<()> {
        Self::is_ours(key, "PutObjectRetention")?;
        check(key, "PutObjectRetention")?;
        match &self.0 {
            Kind::S3(store) => Box::pin(store.extend_lock(key, until)).await,
            Kind::Cloud(_) | Kind::Folder(_) => {
                let detail = "this store knows no locks";
                Err(StoreError::new(StoreErrorKind::Unsupported, "PutObjectRetention", key, detail))
            }
        }
    }
}
