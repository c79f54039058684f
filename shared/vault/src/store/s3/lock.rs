//! Object Lock: whether the bucket has it, what is asked for with each put, and how a lock is made longer.
//!
//! A lock protects a *version* from being deleted. Whoever may write can still put a newer version, or a
//! delete marker, over it: what stood before is then read by its version, or by its time (`versions`).

use aws_sdk_s3::{
    primitives::DateTime as SdkTime,
    types::{
        DefaultRetention, ObjectLockEnabled, ObjectLockMode, ObjectLockRetention, ObjectLockRetentionMode,
    },
};
use chrono::{DateTime, Utc};

use super::{S3Store, failure, read, sse};
use crate::{
    config::LockMode,
    layout,
    store::{LockState, StoreError, StoreErrorKind, StoreResult},
};

/// The lock of an object.
struct Retention {
    mode: ObjectLockRetentionMode,
    until: DateTime<Utc>,
}

/// Asks for the vault's lock with a request that makes the object at `key`.
macro_rules! locked {
    ($request:expr, $store:expr, $key:expr) => {{
        let (mode, until) = $store.lock_of($key).unzip();
        $request.set_object_lock_mode(mode).set_object_lock_retain_until_date(until)
    }};
}

pub(super) use locked;

impl S3Store {
    /// The lock to ask for with an object that is made now.
    pub(super) fn lock_of(&self, key: &str) -> Option<(ObjectLockMode, SdkTime)> {
        let lock = self.lock.as_ref().filter(|_| layout::is_locked(key))?;
        let mode = match lock.mode {
            LockMode::Governance => ObjectLockMode::Governance,
            LockMode::Compliance => ObjectLockMode::Compliance,
        };
        Some((mode, sdk_time(Utc::now() + lock.set_for())))
    }

    pub(crate) async fn lock_state(&self) -> StoreResult<LockState> {
        let operation = "GetObjectLockConfiguration";
        let sent = self.client.get_object_lock_configuration().bucket(&*self.bucket).send().await;
        let configuration = match sent.map_err(|e| failure::classify(operation, "", &e)) {
            Ok(answer) => answer.object_lock_configuration,
            // "ObjectLockConfigurationNotFoundError": the bucket is there and has none.
            Err(error) if matches!(error.kind, StoreErrorKind::NotFound | StoreErrorKind::Unsupported) => {
                None
            }
            Err(error) => return Err(error),
        };
        let Some(configuration) = configuration else { return Ok(LockState::Off) };
        if configuration.object_lock_enabled != Some(ObjectLockEnabled::Enabled) {
            return Ok(LockState::Off);
        }
        let rule = configuration.rule.and_then(|rule| rule.default_retention);
        Ok(LockState::On { by_default: rule.as_ref().and_then(words_of) })
    }

    /// Until when the newest version of an object is locked; `None`: it is not.
    pub(crate) async fn locked_until(&self, key: &str) -> StoreResult<Option<DateTime<Utc>>> {
        Ok(self.retention(key).await?.map(|retention| retention.until))
    }

    /// Asked with HEAD: what a server answers to `GetObjectRetention` is not the same everywhere.
    async fn retention(&self, key: &str) -> StoreResult<Option<Retention>> {
        let request = self.client.head_object().bucket(&*self.bucket).key(self.full(key));
        let sent = sse::with_key!(request, self.sse).send().await;
        let found = sent.map_err(|e| failure::classify("HeadObject", key, &e))?;
        let until = found.object_lock_retain_until_date.as_ref().and_then(read::time);
        let mode = found.object_lock_mode.map(|mode| ObjectLockRetentionMode::from(mode.as_str()));
        Ok(mode.zip(until).map(|(mode, until)| Retention { mode, until }))
    }

    /// Locks the newest version of an object until `until` at least. Where it is locked for longer already, in
    /// whichever way, that stays.
    pub(crate) async fn extend_lock(&self, key: &str, until: DateTime<Utc>) -> StoreResult<()> {
        let Some(lock) = &self.lock else {
            let detail = "the vault's settings ask for no locks";
            return Err(StoreError::new(StoreErrorKind::Invalid, "PutObjectRetention", key, detail));
        };
        let mode = match lock.mode {
            LockMode::Governance => ObjectLockRetentionMode::Governance,
            LockMode::Compliance => ObjectLockRetentionMode::Compliance,
        };
        let Err(refused) = self.put_retention(key, mode.clone(), until).await else { return Ok(()) };
        if !matches!(refused.kind, StoreErrorKind::Locked | StoreErrorKind::AccessDenied) {
            return Err(refused);
        }
        // A lock is neither shortened nor, without a right of its own, given another mode.
        let Ok(Some(there)) = self.retention(key).await else { return Err(refused) };
        if there.until >= until {
            return Ok(());
        }
        if there.mode == mode {
            return Err(refused);
        }
        tracing::warn!(key, mode = there.mode.as_str(), "its lock stays of the mode that it was set in");
        self.put_retention(key, there.mode, until).await
    }

    async fn put_retention(
        &self,
        key: &str,
        mode: ObjectLockRetentionMode,
        until: DateTime<Utc>,
    ) -> StoreResult<()> {
        let retention = ObjectLockRetention::builder().mode(mode).retain_until_date(sdk_time(until)).build();
        let request = self.client.put_object_retention().bucket(&*self.bucket).key(self.full(key));
        let sent = request.retention(retention).send().await;
        sent.map(drop).map_err(|e| failure::classify("PutObjectRetention", key, &e))
    }
}

/// In whole seconds, which is all that stores keep of a lock, rounded up.
fn sdk_time(at: DateTime<Utc>) -> SdkTime {
    SdkTime::from_secs(at.timestamp().saturating_add(i64::from(at.timestamp_subsec_nanos() > 0)))
}

fn words_of(rule: &DefaultRetention) -> Option<String> {
    let mode = rule.mode.as_ref()?.as_str();
    match (rule.days, rule.years) {
        (Some(days), _) => Some(format!("{mode} for {days} days")),
        (None, Some(years)) => Some(format!("{mode} for {years} years")),
        (None, None) => None,
    }
}
