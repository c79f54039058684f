//! The versions of objects, in a bucket that keeps them: deleting every one of a key, and reading what stood
//! at an instant.

use std::collections::HashMap;

use aws_sdk_s3::{
    primitives::DateTime as SdkTime,
    types::{Delete, ObjectIdentifier},
};
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};

use super::{S3Store, delete_failure, failure, read};
use crate::{
    layout,
    store::{
        DELETE_BATCH, DeleteFailure, ObjectInfo, ObjectStream, Recovery, StoreError, StoreErrorKind,
        StoreResult,
    },
};

/// A version of an object, or a delete marker.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    /// The key, from the vault's root on.
    pub(crate) key: String,
    pub(crate) id: String,
    pub(crate) modified: Option<DateTime<Utc>>,
    /// Whether it is what is read now.
    pub(crate) is_latest: bool,
    /// What it holds; `None` of a delete marker.
    pub(crate) size: Option<u64>,
    etag: Option<String>,
}

/// Copies at the same time.
const AT_ONCE: usize = 16;

/// Crockford's base 32.
const ULID_DIGITS: &[u8] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

type VersionStream = BoxStream<'static, StoreResult<Version>>;

impl S3Store {
    /// Every version and delete marker of the keys that begin with `prefix`, and come after `after`, in the
    /// order of keys, and of each key the newest first.
    pub(super) fn versions(&self, prefix: &str, after: Option<&str>) -> VersionStream {
        let prefix = prefix.to_owned();
        let first = (after.map(|after| self.full(after)), None);
        let state = (self.clone(), prefix, Some(first));
        futures::stream::try_unfold(state, |(store, prefix, marker)| async move {
            let Some((key_marker, id_marker)) = marker else { return Ok(None) };
            let asked = (key_marker.clone(), id_marker.clone());
            let page = store
                .client
                .list_object_versions()
                .bucket(&*store.bucket)
                .prefix(store.full(&prefix))
                .set_key_marker(key_marker)
                .set_version_id_marker(id_marker)
                .send()
                .await
                .map_err(|e| failure::classify("ListObjectVersions", &prefix, &e))?;
            let next = (page.next_key_marker, page.next_version_id_marker.filter(|id| !id.is_empty()));
            let next = if page.is_truncated == Some(true) { Some(next) } else { None };
            if next.as_ref().is_some_and(|next| next.0.is_none() || *next == asked) {
                let detail = "a page that was cut off does not say where the next begins";
                return Err(StoreError::new(StoreErrorKind::Other, "ListObjectVersions", &prefix, detail));
            }
            let mut found = Vec::new();
            for version in page.versions.unwrap_or_default() {
                let size = version.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
                let about = (version.last_modified, version.is_latest, Some(size), version.e_tag);
                found.extend(store.version(version.key, version.version_id, about));
            }
            for marker in page.delete_markers.unwrap_or_default() {
                let about = (marker.last_modified, marker.is_latest, None, None);
                found.extend(store.version(marker.key, marker.version_id, about));
            }
            // Stable: of each kind they came newest first.
            found.sort_by(|a, b| {
                (&a.key, !a.is_latest, std::cmp::Reverse(a.modified)).cmp(&(
                    &b.key,
                    !b.is_latest,
                    std::cmp::Reverse(b.modified),
                ))
            });
            let found = futures::stream::iter(found.into_iter().map(Ok));
            Ok::<_, StoreError>(Some((found, (store, prefix, next))))
        })
        .try_flatten()
        .boxed()
    }

    fn version(
        &self,
        key: Option<String>,
        id: Option<String>,
        (modified, is_latest, size, etag): (Option<SdkTime>, Option<bool>, Option<u64>, Option<String>),
    ) -> Option<Version> {
        let key = key?.strip_prefix(&*self.prefix)?.to_owned();
        if key.is_empty() || key.ends_with('/') {
            return None;
        }
        let id = id?;
        let modified = made_at(&id).or_else(|| modified.as_ref().and_then(read::time));
        Some(Version { key, id, modified, is_latest: is_latest == Some(true), size, etag })
    }

    /// Deletes every version and marker of these keys, which must be in order. Failures are per key.
    pub(super) async fn delete_versions(&self, keys: &[String]) -> StoreResult<Vec<DeleteFailure>> {
        let mut wanted: Vec<&str> = keys.iter().map(String::as_str).collect();
        wanted.sort_unstable();
        let (Some(first), Some(last)) = (wanted.first().copied(), wanted.last().copied()) else {
            return Ok(Vec::new());
        };
        let common = first.bytes().zip(last.bytes()).take_while(|(a, b)| a == b).count();
        let prefix = &first[..common];
        // A marker is left out itself; what is one byte shorter comes before its key.
        let before = first.len().checked_sub(1).filter(|cut| *cut > common && first.is_char_boundary(*cut));
        let mut versions = self.versions(prefix, before.map(|cut| &first[..cut]));
        let (mut batch, mut failures) = (Vec::new(), HashMap::new());
        while let Some(version) = versions.try_next().await? {
            if version.key.as_str() > last {
                break;
            }
            if wanted.binary_search(&version.key.as_str()).is_ok() {
                batch.push(version);
            }
            if batch.len() == DELETE_BATCH {
                self.delete_these(&std::mem::take(&mut batch), &mut failures).await?;
            }
        }
        self.delete_these(&batch, &mut failures).await?;
        Ok(failures.into_values().collect())
    }

    async fn delete_these(
        &self,
        versions: &[Version],
        failures: &mut HashMap<String, DeleteFailure>,
    ) -> StoreResult<()> {
        let operation = "DeleteObjects";
        let Some(one) = versions.first() else { return Ok(()) };
        let made_wrong = |e: aws_sdk_s3::error::BuildError| {
            StoreError::new(StoreErrorKind::Other, operation, "", e.to_string())
        };
        let mut delete = Delete::builder().quiet(true);
        for version in versions {
            let object = ObjectIdentifier::builder().key(self.full(&version.key)).version_id(&version.id);
            delete = delete.objects(object.build().map_err(made_wrong)?);
        }
        let request = self.client.delete_objects().bucket(&*self.bucket);
        let sent = request.delete(delete.build().map_err(made_wrong)?).send().await;
        let answer = sent.map_err(|e| failure::classify(operation, &one.key, &e))?;
        for failure in answer.errors.unwrap_or_default() {
            let Some(failure) = delete_failure(&self.prefix, &failure) else { continue };
            // What is refused for another reason than a lock is the graver news of a key.
            let graver = failure.error.kind != StoreErrorKind::Locked;
            if graver || !failures.contains_key(&failure.key) {
                failures.insert(failure.key.clone(), failure);
            }
        }
        Ok(())
    }

    /// The versions of each key that begins with `prefix`, all of a key together.
    fn histories(&self, prefix: &str) -> BoxStream<'static, StoreResult<Vec<Version>>> {
        let state = Some((self.versions(prefix, None), None::<Version>));
        futures::stream::try_unfold(state, |state| async move {
            let Some((mut versions, first)) = state else { return Ok(None) };
            let mut of_key: Vec<Version> = first.into_iter().collect();
            while let Some(version) = versions.try_next().await? {
                if of_key.first().is_some_and(|first| first.key != version.key) {
                    return Ok(Some((of_key, Some((versions, Some(version))))));
                }
                of_key.push(version);
            }
            Ok::<_, StoreError>((!of_key.is_empty()).then_some((of_key, None)))
        })
        .boxed()
    }

    /// What was to be read at `key` at the instant.
    pub(super) async fn version_at(&self, key: &str, at: DateTime<Utc>) -> StoreResult<Option<Version>> {
        let first = self.histories(key).try_next().await?;
        Ok(first.filter(|of_key| of_key.iter().all(|version| version.key == key)).and_then(|v| stood(v, at)))
    }

    /// A listing as it would have been at the instant.
    pub(super) fn list_at(&self, folder: &str, at: DateTime<Utc>) -> ObjectStream {
        let found = self.histories(folder);
        found.try_filter_map(move |of_key| async move { Ok(stood(of_key, at).and_then(info)) }).boxed()
    }

    /// Makes what stood at the instant the newest again: by a copy of each version that something was put over,
    /// and by a marker over each purge's record that came since. `dry_run` only tells. Deletes nothing.
    pub(crate) async fn stand_at(&self, at: DateTime<Utc>, dry_run: bool) -> StoreResult<Vec<Recovery>> {
        let changed = self.histories("").try_filter_map(|of_key| async move { Ok(change(of_key, at)) });
        let done = changed.map_ok(|(key, version)| async move {
            let size = version.as_ref().and_then(|version| version.size);
            match (&version, dry_run) {
                (_, true) => {}
                (Some(then), false) => {
                    self.copy_version(&key, Some(&then.id), &key, size.unwrap_or_default()).await?;
                }
                // A marker over it: nothing is lost by that.
                (None, false) => {
                    let request = self.client.delete_object().bucket(&*self.bucket).key(self.full(&key));
                    let sent = request.send().await;
                    sent.map_err(|e| failure::classify("DeleteObject", &key, &e))?;
                }
            }
            Ok(Recovery { key, size })
        });
        done.try_buffered(AT_ONCE).try_collect().await
    }

    /// The folders directly below `folder` that have something now or had it once; what stood in them then, their
    /// keys say.
    pub(super) async fn folders_ever(&self, folder: &str) -> StoreResult<Vec<String>> {
        let operation = "ListObjectVersions";
        let (mut key_marker, mut id_marker) = (None::<String>, None::<String>);
        let mut folders = Vec::new();
        loop {
            let page = self
                .client
                .list_object_versions()
                .bucket(&*self.bucket)
                .prefix(self.full(folder))
                .delimiter("/")
                .set_key_marker(key_marker.clone())
                .set_version_id_marker(id_marker.clone())
                .send()
                .await
                .map_err(|e| failure::classify(operation, folder, &e))?;
            for common in page.common_prefixes() {
                let name = common.prefix().and_then(|prefix| prefix.strip_prefix(&*self.prefix));
                folders.extend(name.map(str::to_owned));
            }
            if page.is_truncated != Some(true) {
                folders.sort_unstable();
                folders.dedup();
                return Ok(folders);
            }
            let next = (page.next_key_marker, page.next_version_id_marker.filter(|id| !id.is_empty()));
            if next.0.is_none() || next == (key_marker, id_marker) {
                let detail = "a page that was cut off does not say where the next begins";
                return Err(StoreError::new(StoreErrorKind::Other, operation, folder, detail));
            }
            (key_marker, id_marker) = next;
        }
    }
}

/// When a version was made, as the ids of versitygw say, which are ULIDs: of a version that something was put over,
/// it tells the time of that as its own. <https://github.com/ulid/spec>
fn made_at(id: &str) -> Option<DateTime<Utc>> {
    if id.len() != 26 {
        return None;
    }
    let digit =
        |c: u8| ULID_DIGITS.iter().position(|digit| *digit == c).and_then(|at| i64::try_from(at).ok());
    let digits = id.bytes().map(digit).collect::<Option<Vec<_>>>()?;
    let milliseconds = digits.iter().take(10).fold(0_i64, |sum, digit| sum << 5 | digit);
    DateTime::from_timestamp_millis(milliseconds)
}

/// The version of a key that was to be read at the instant; `None`: nothing was.
fn stood(of_key: Vec<Version>, at: DateTime<Utc>) -> Option<Version> {
    // A version without a time, of a store that tells none, was always there.
    let then = of_key.into_iter().filter(|version| version.modified.is_none_or(|modified| modified <= at));
    // Of several at the same instant the first, which is the newest.
    let newest = then.reduce(|newest, other| if other.modified > newest.modified { other } else { newest });
    newest.filter(|version| version.size.is_some())
}

/// What has to be done so that a key is read as at the instant: its version then, or nothing, which is wanted of
/// records of purges alone. What else came since takes nothing away.
fn change(of_key: Vec<Version>, at: DateTime<Utc>) -> Option<(String, Option<Version>)> {
    let now = of_key.iter().find(|version| version.is_latest).or(of_key.first())?.clone();
    match stood(of_key, at) {
        Some(then) if then.id == now.id => None,
        // The same bytes, put once more.
        Some(then) if then.size == now.size && then.etag.is_some() && then.etag == now.etag => None,
        Some(then) => Some((now.key, Some(then))),
        None if now.size.is_some() && layout::is_of_purge(&now.key) => Some((now.key, None)),
        None => None,
    }
}

fn info(version: Version) -> Option<ObjectInfo> {
    let Version { key, size, modified, etag, .. } = version;
    Some(ObjectInfo { key, size: size?, modified, etag })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(id: &str, second: i64, size: Option<u64>, is_latest: bool) -> Version {
        let modified = DateTime::from_timestamp(second, 0);
        let etag = size.map(|size| size.to_string());
        let key = "clusters/c/purges/00000001.json".to_owned();
        Version { key, id: id.to_owned(), modified, is_latest, size, etag }
    }

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    #[test]
    fn an_id_that_is_a_ulid_says_when() {
        let made = made_at("01M8CNC6KFD7PMS945C55K8CK6").unwrap();
        assert_eq!(made.timestamp(), 1_795_721_402);
        let others = ["8918a625-2ef7-49d7-9b08-5a4c80c2934c", "null", "3HL4kqtJvjVBH40Nrjfkd"];
        assert!(others.into_iter().all(|id| made_at(id).is_none()));
        assert_eq!(made_at("01M8CNC6KFD7PMS945C55K8CKu"), None, "no digit");
    }

    #[test]
    fn what_stood_at_an_instant_is_found_among_versions_and_markers() {
        let of_key = || {
            vec![
                version("again", 40, Some(3), true),
                version("second", 20, Some(2), false),
                version("first", 10, Some(1), false),
                version("marker", 30, None, false),
            ]
        };
        let read = |second| stood(of_key(), at(second)).map(|version| version.id);
        assert_eq!(read(9), None);
        assert_eq!(read(10).as_deref(), Some("first"));
        assert_eq!(read(29).as_deref(), Some("second"));
        assert_eq!(read(35), None, "it was deleted then");
        assert_eq!(read(41).as_deref(), Some("again"));
    }

    #[test]
    fn what_was_put_over_comes_back_and_a_new_record_of_a_purge_goes() {
        let over = vec![version("evil", 20, Some(2), true), version("ours", 10, Some(1), false)];
        assert_eq!(change(over.clone(), at(15)).unwrap().1.unwrap().id, "ours");
        assert!(change(over, at(25)).is_none(), "it is as it was then");
        let deleted = vec![version("ours", 10, Some(1), false), version("marker", 20, None, true)];
        assert_eq!(change(deleted, at(15)).unwrap().1.unwrap().id, "ours");
        let same = vec![version("again", 20, Some(1), true), version("ours", 10, Some(1), false)];
        assert!(change(same, at(15)).is_none(), "the same bytes");
        let new = vec![version("intent", 20, Some(2), true)];
        assert!(change(new.clone(), at(15)).unwrap().1.is_none());
        let mut other = new;
        other[0].key = "clusters/c/backups/b/start.json".to_owned();
        assert!(change(other, at(15)).is_none(), "a later backup stays");
    }
}
