//! What a store does beyond single requests: who wins a race, objects of parts, the clock, versions, locks.
//!
//! Of these only the race and the parts decide whether a vault can lie there; the others are told with what
//! they mean, for they are the bucket's owner's to choose.

use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use ringvault_core::lasting::lasting;

use super::Probe;
use crate::{
    config::LockConfig,
    store::{LockState, MIN_PART, PutIfAbsent, Store, StoreError, StoreErrorKind, StoreResult},
};

/// Writers at the same time.
const WRITERS: usize = 8;
/// From here on times that are compared between machines mislead; S3 refuses requests from 15 min on.
const SKEW: TimeDelta = TimeDelta::seconds(60);
const PART: &[u8] = b"ringvault probe: an object of one part";

/// Several writers create the same object at the same time.
pub(super) async fn race(store: &Store, key: &str) -> Probe {
    let writers =
        (0..WRITERS).map(|writer| store.put_if_absent(key, Bytes::from(format!("writer {writer}"))));
    let won = futures::future::join_all(writers).await.into_iter().collect::<StoreResult<Vec<_>>>();
    let seen =
        won.map(|puts| match puts.iter().filter(|put| matches!(put, PutIfAbsent::Created(_))).count() {
            1 => Ok("of writers at the same time exactly one creates an object"),
            none_or_many => {
                Err(format!("{none_or_many} of {WRITERS} writers at the same time created the same object"))
            }
        });
    Probe::new("write race", seen)
}

/// An object of parts is made, and an upload is dropped that was never ended.
pub(super) async fn parts(store: &Store, folder: &str, key: &str) -> Vec<Probe> {
    let made = async {
        let upload = store.begin_multipart(key, MIN_PART, MIN_PART + 3).await?;
        upload.part(1, Bytes::from_static(PART)).await?;
        upload.finish(PART.len() as u64).await?;
        Ok(if store.get(key, 1 << 20).await? == PART {
            Ok("large objects are made of parts")
        } else {
            Err("an object of parts is not what its parts were".to_owned())
        })
    };
    let made = Probe::new("multipart", made.await);
    if !made.ok {
        return vec![made];
    }
    let open = async {
        let upload = store.begin_multipart(key, MIN_PART, MIN_PART + 3).await?;
        upload.part(1, Bytes::from_static(PART)).await?;
        let found = store.abort_uploads(folder).await?;
        if found == 0 {
            upload.abort().await?;
        }
        Ok::<_, StoreError>(found > 0)
    };
    let name = "abandoned uploads";
    let left = match open.await {
        Ok(true) => Probe::new(name, Ok(Ok("an upload that was never ended is found and dropped"))),
        Ok(false) => Probe::new(name, Ok(Ok("the store does not say which uploads were never ended"))).meaning(
            "what a crash leaves of an upload costs money: give the bucket a lifecycle rule that aborts \
             incomplete multipart uploads after 7 days, unless the store does so by itself",
        ),
        Err(error) if matches!(error.kind, StoreErrorKind::AccessDenied | StoreErrorKind::Unsupported) => {
            Probe::new(name, Ok(Ok("these credentials may not look for uploads that were never ended"))).meaning(
                "grant ListBucketMultipartUploads and AbortMultipartUpload, or give the bucket a lifecycle rule \
                 that aborts incomplete multipart uploads",
            )
        }
        Err(error) => Probe::new(name, Err(error)),
    };
    vec![made, left]
}

/// How far the store's clock is from this machine's.
pub(super) async fn clock(store: &Store, key: &str) -> Probe {
    let before = Utc::now();
    let head = match store.head(key).await {
        Ok(head) => head,
        Err(error) => return Probe::new("clock", Err(error)),
    };
    // The object was written just before; a store's times are of whole seconds.
    let skew = head.modified.map(|modified| modified - before);
    told_clock(skew)
}

fn told_clock(skew: Option<TimeDelta>) -> Probe {
    let Some(skew) = skew else {
        return Probe::new("clock", Ok(Ok("the store tells no times")));
    };
    let seconds = skew.num_seconds();
    let side = if seconds < 0 { "behind" } else { "ahead of" };
    let detail = format!("the store's clock is {} s {side} this machine's", seconds.abs());
    if skew.abs() <= SKEW {
        return Probe::seen("clock", "the store's clock and this machine's agree to a minute");
    }
    Probe::seen("clock", &detail)
        .meaning("set this machine's clock (NTP), or the store's: a store refuses requests 15 minutes off")
}

/// Whether the bucket keeps what is written over or deleted, and whether it locks what is written.
pub(super) async fn keeping(store: &Store, version: Option<&str>) -> Vec<Probe> {
    let versioned = version.is_some_and(|id| id != "null");
    vec![told_versions(versioned, store.lock().is_some()), told_lock(store.lock_state().await, store.lock())]
}

fn told_versions(versioned: bool, by_version: bool) -> Probe {
    if versioned && by_version {
        return Probe::seen("versions", "the bucket keeps versions, and a purge deletes each of them");
    }
    if !versioned {
        return Probe::seen("versions", "what is deleted is gone: the bucket keeps no versions");
    }
    Probe::seen("versions", "the bucket keeps versions: what is deleted or written over stays").meaning(
        "a purge frees no room by itself: give the bucket a lifecycle rule that ends noncurrent versions \
         (and expired delete markers), after as many days as you want to be able to take a deletion back",
    )
}

fn told_lock(state: StoreResult<LockState>, asked: Option<&LockConfig>) -> Probe {
    match (state, asked) {
        (Ok(LockState::Off), Some(_)) => {
            let detail = "the settings ask for locks ([vault.lock]), and the bucket has no Object Lock";
            Probe::new("lock", Ok(Err(detail.to_owned())))
                .meaning("nothing can be written: make a bucket with Object Lock, or take [vault.lock] out")
        }
        (Ok(LockState::On { by_default }), Some(lock)) => {
            let default = by_default.map(|rule| format!("; of what else is written, by default {rule}"));
            let (mode, period) = (lock.mode.as_str(), lasting(lock.period));
            let default = default.unwrap_or_default();
            let detail = format!("a backup is locked ({mode}) for {period} from its start{default}");
            Probe::seen("lock", &detail)
        }
        (Err(error), Some(_)) => Probe::new("lock", Err(error)),
        (state, None) => told_unasked(state),
    }
}

fn told_unasked(state: StoreResult<LockState>) -> Probe {
    match state {
        Ok(LockState::Off) => {
            Probe::seen("lock", "the bucket locks nothing: who may delete can delete a backup")
        }
        Ok(LockState::On { by_default: None }) => {
            Probe::seen("lock", "Object Lock is enabled, without a default: nothing is locked by itself")
                .meaning(
                    "backups are not locked: say so in [vault.lock], and for how long, if they are to be",
                )
        }
        Ok(LockState::On { by_default: Some(rule) }) => {
            let detail = format!("Object Lock is enabled: everything written is locked, {rule}");
            Probe::seen("lock", &detail).meaning(
                "let no policy expire backups before that, and use [vault.lock] instead: this lock ends by the time \
                 of writing, also of objects that later backups reuse, and then protects those no longer",
            )
        }
        Err(error) => {
            let detail = format!("whether the bucket locks objects cannot be seen: {error}");
            Probe::seen("lock", &detail)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::LockMode;

    #[test]
    fn a_clock_that_is_far_off_comes_with_what_to_do() {
        assert_eq!(told_clock(Some(TimeDelta::seconds(-3))).means, None);
        let off = told_clock(Some(TimeDelta::minutes(-5)));
        assert!(off.ok && off.means.is_some(), "{off:?}");
        assert!(off.detail.contains("300 s behind"), "{off:?}");
    }

    #[test]
    fn what_the_bucket_keeps_is_told_with_what_it_means() {
        assert!(told_versions(false, false).means.is_none());
        assert!(told_versions(true, false).means.unwrap().contains("lifecycle rule"));
        let rule = Some("COMPLIANCE for 30 days".to_owned());
        let by_rule = || Ok(LockState::On { by_default: rule.clone() });
        let locked = told_lock(by_rule(), None);
        assert!(locked.detail.contains("COMPLIANCE for 30 days") && locked.means.is_some());
        assert!(told_lock(Ok(LockState::Off), None).means.is_none());
        let asked =
            LockConfig { mode: LockMode::Compliance, period: Duration::from_secs(86_400), ahead: None };
        assert!(told_versions(true, true).means.is_none());
        assert!(!told_lock(Ok(LockState::Off), Some(&asked)).ok, "it is asked for and there is none");
        let ours = told_lock(by_rule(), Some(&asked));
        assert!(ours.ok && ours.detail.contains("(compliance) for 24h"), "{ours:?}");
    }
}
