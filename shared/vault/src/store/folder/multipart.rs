//! Objects of many parts in a folder store: one temporary file, each part at its place.
//!
//! The file lies below `.partial` in the folder that its key would have, so what a crash left of a
//! backup is found by the backup's folder, and its path there is the upload's id.

use std::{
    fs, io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use tempfile::NamedTempFile;

use super::{FolderStore, PARTIAL, new_temporary_in, path};
use crate::{
    layout::check_key,
    store::{ObjectInfo, PutInfo, StoreError, StoreErrorKind, StoreResult},
};

/// Age from which temporary files of single puts are what a crash left.
const STALE: std::time::Duration = std::time::Duration::from_hours(24);

/// An upload under way.
#[derive(Debug)]
pub(crate) struct FolderMultipart {
    store: FolderStore,
    key: String,
    id: String,
    target: PathBuf,
    part_size: u64,
    file: Arc<NamedTempFile>,
    /// Length of each part that was written, by its number.
    parts: Mutex<std::collections::BTreeMap<u32, u64>>,
}

impl FolderStore {
    pub(crate) async fn begin_multipart(&self, key: &str, part_size: u64) -> StoreResult<FolderMultipart> {
        let operation = "CreateMultipartUpload";
        let target = path::of(&self.root, key);
        let folder = key.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
        let below = folder.clone();
        let file = self
            .blocking(operation, key, move |root| new_temporary_in(root, &root.join(PARTIAL).join(below)))
            .await?;
        let name = file.path().file_name().unwrap_or_default().to_string_lossy();
        Ok(FolderMultipart {
            store: self.clone(),
            key: key.to_owned(),
            id: format!("{folder}{name}"),
            target,
            part_size,
            file: Arc::new(file),
            parts: Mutex::default(),
        })
    }

    pub(crate) async fn abort_upload(&self, key: &str, id: &str) -> StoreResult<()> {
        let operation = "AbortMultipartUpload";
        let folder = |of: &str| of.rsplit_once('/').map(|(folder, _)| folder.to_owned());
        if check_key(id).is_err() || folder(id) != folder(key) {
            return Err(StoreError::new(StoreErrorKind::Invalid, operation, key, format!("id {id:?}")));
        }
        let id = id.to_owned();
        self.blocking(operation, key, move |root| {
            let partial = root.join(PARTIAL);
            path::remove(&partial, &partial.join(id))
        })
        .await
    }

    /// Removes what lies below `.partial` for this folder, and what a crash left there of single puts,
    /// once it is a day old. Others may be at work there: what goes meanwhile is gone.
    pub(crate) async fn abort_uploads(&self, folder: &str) -> StoreResult<usize> {
        let folder = folder.to_owned();
        self.blocking("AbortMultipartUpload", PARTIAL, move |root| {
            let partial = root.join(PARTIAL);
            let mut removed = 0;
            if !folder.is_empty() {
                remove_all(&partial, &partial.join(folder), &mut removed)?;
            }
            for file in entries(&partial)? {
                let Some(metadata) = unless_gone(file.metadata())? else { continue };
                let age = metadata.modified()?.elapsed().unwrap_or_default();
                if metadata.is_file() && age > STALE && unless_gone(fs::remove_file(file.path()))?.is_some() {
                    removed += 1;
                }
            }
            Ok(removed)
        })
        .await
    }
}

fn remove_all(partial: &Path, folder: &Path, removed: &mut usize) -> io::Result<()> {
    for entry in entries(folder)? {
        let Some(kind) = unless_gone(entry.file_type())? else { continue };
        if kind.is_dir() {
            remove_all(partial, &entry.path(), removed)?;
        } else {
            path::remove(partial, &entry.path())?;
            *removed += 1;
        }
    }
    Ok(())
}

/// What is in a folder; nothing where there is none.
fn entries(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    let Some(listing) = unless_gone(fs::read_dir(folder))? else { return Ok(Vec::new()) };
    listing.collect()
}

fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl FolderMultipart {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) async fn head(&self) -> StoreResult<ObjectInfo> {
        self.store.head(&self.key).await
    }

    pub(crate) async fn part(&self, number: u32, body: Bytes) -> StoreResult<()> {
        let size = body.len() as u64;
        if number == 0 || size > self.part_size {
            return Err(self.refuse(&format!("part {number} of {size} bytes")));
        }
        let at = u64::from(number - 1) * self.part_size;
        let file = self.file.clone();
        self.store.blocking("UploadPart", &self.key, move |_| file.as_file().write_all_at(&body, at)).await?;
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).insert(number, size);
        Ok(())
    }

    pub(crate) async fn complete(&self) -> StoreResult<PutInfo> {
        self.check_parts()?;
        let (file, target) = (self.file.clone(), self.target.clone());
        self.store
            .blocking("CompleteMultipartUpload", &self.key, move |root| {
                file.as_file().sync_all()?;
                path::place(root, &target, || fs::rename(file.path(), &target))?;
                let partial = root.join(PARTIAL);
                path::remove_empty(&partial, file.path());
                Ok(())
            })
            .await?;
        Ok(PutInfo::default())
    }

    pub(crate) async fn abort(&self) -> StoreResult<()> {
        self.store.abort_upload(&self.key, &self.id).await
    }

    /// Every number from 1 on, every part but the last of full size.
    fn check_parts(&self) -> StoreResult<()> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let last = parts.last_key_value().map_or(0, |(number, _)| *number);
        for number in 1..=last {
            match parts.get(&number) {
                Some(size) if *size == self.part_size || number == last => {}
                Some(size) => return Err(self.refuse(&format!("part {number} has only {size} bytes"))),
                None => return Err(self.refuse(&format!("part {number} is missing"))),
            }
        }
        if last == 0 { Err(self.refuse("it has no parts")) } else { Ok(()) }
    }

    fn refuse(&self, why: &str) -> StoreError {
        let detail = format!("{why}; parts are of {} bytes, counted from 1", self.part_size);
        StoreError::new(StoreErrorKind::Invalid, "UploadPart", &self.key, detail)
    }
}
