//! Listings of a folder store in the order of a bucket: by the bytes of the whole key.
//!
//! A folder is read when it is reached, so memory grows with the largest folder, not with the
//! number of objects.

use std::{fs, io, os::unix::ffi::OsStrExt, path::Path};

use chrono::{DateTime, Utc};
use futures::StreamExt;

use super::FolderStore;
use crate::store::{ObjectInfo, ObjectStream, StoreResult};

/// What a file's metadata says.
pub(super) fn info(key: String, metadata: &fs::Metadata) -> ObjectInfo {
    let modified = metadata.modified().ok().map(DateTime::<Utc>::from);
    ObjectInfo { key, size: metadata.len(), modified, etag: None }
}

/// Every object below `folder`.
pub(super) fn objects(store: FolderStore, folder: String) -> ObjectStream {
    // A stack with the next key on top; folders stand for what is in them.
    let state = (store, vec![Entry { key: folder, is_folder: true }]);
    futures::stream::try_unfold(state, |(store, mut stack)| async move {
        while let Some(entry) = stack.pop() {
            let key = entry.key.clone();
            if entry.is_folder {
                let hidden = store.shows_hidden;
                let listing =
                    store.blocking("ListObjectsV2", &entry.key, move |root| children(root, &key, hidden));
                let mut children = listing.await?;
                children.reverse();
                stack.append(&mut children);
                continue;
            }
            let found = store.uncounted("ListObjectsV2", &entry.key, move |root| stat(root, key)).await?;
            if let Some(object) = found {
                return Ok(Some((object, (store, stack))));
            }
        }
        Ok(None)
    })
    .boxed()
}

/// The folders directly below `folder`.
pub(super) async fn folders(store: &FolderStore, folder: &str) -> StoreResult<Vec<String>> {
    let owned = folder.to_owned();
    let hidden = store.shows_hidden;
    let listing = store.blocking("ListObjectsV2", folder, move |root| children(root, &owned, hidden));
    let children = listing.await?;
    Ok(children.into_iter().filter(|c| c.is_folder).map(|c| c.key).collect())
}

struct Entry {
    /// The key; with a `/` at the end for a folder, which also sorts it where its objects belong.
    key: String,
    is_folder: bool,
}

fn children(root: &Path, folder: &str, hidden: bool) -> io::Result<Vec<Entry>> {
    let listing = match fs::read_dir(root.join(folder)) {
        Ok(listing) => listing,
        // No object has such a key; a root that is away is an error all the same.
        Err(error) if error.kind() == io::ErrorKind::NotFound && root.is_dir() => return Ok(Vec::new()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut entries = Vec::new();
    for entry in listing {
        let entry = entry?;
        let name = entry.file_name();
        // Temporary files, and what is no key of ours (`lost+found` is, and harmless).
        if name.as_bytes().starts_with(b".") && !hidden {
            continue;
        }
        let Some(name) = name.to_str() else { continue };
        let is_folder = entry.file_type()?.is_dir();
        let end = if is_folder { "/" } else { "" };
        entries.push(Entry { key: format!("{folder}{name}{end}"), is_folder });
    }
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(entries)
}

fn stat(root: &Path, key: String) -> io::Result<Option<ObjectInfo>> {
    match fs::metadata(root.join(&key)) {
        Ok(metadata) => Ok(Some(info(key, &metadata))),
        // Deleted since the folder was read.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
