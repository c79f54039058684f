//! What an upload has already brought to the vault, on the worker's own disk, so that a task that
//! starts again does not send it twice.
//!
//! One file a backup, JSON lines, append-only: a header, then one line a finished file, and one for
//! each upload of many parts that is begun or ended and for each part that the store has, so that what a crash left
//! open is gone on with, or dropped, by whoever comes next. A line is
//! written only after the store has confirmed the object, and a batch of lines is on disk before the
//! upload goes on, so a line that is there is true. It is a cache only: a line that cannot be read, a
//! torn last one above all, is left out, and without the file everything is uploaded again. Memory:
//! one entry for each file that an earlier attempt brought.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Read as _, Seek, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use ringvault_core::{BackupName, ClusterName};
use ringvault_fault::{Around, around};
use serde::{Deserialize, Serialize};

use crate::{
    hash::Digest,
    layout,
    manifest::{FileIdentity, Place},
    store::{PartReceipt, Store, StoreResult},
};

/// Longest line, in bytes: a key, a name and a few numbers. What is longer is no line of a journal, and
/// nothing behind it is believed.
const MAX_LINE: u64 = 64 << 10;

/// Version of the journal's format. A journal of another version is begun anew.
const VERSION: u32 = 2;
/// Version of the journals before, in which nothing is compressed.
const PLAIN_VERSION: u32 = 1;

/// The journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("journal {}: {cause}", path.display())]
pub struct JournalError {
    /// The journal's file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub cause: std::io::Error,
}

/// A file as it is known again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JournalKey {
    /// Which file.
    #[serde(flatten)]
    pub file: FileIdentity,
    /// Its bytes.
    pub size: u64,
    /// Its name on disk.
    pub name: String,
}

/// Where a file's content is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// Its content.
    pub blake3: Digest,
    /// Its place in the vault.
    #[serde(flatten)]
    pub place: Place,
}

/// A multipart upload that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenUpload {
    /// The key of the object it was to make.
    pub key: String,
    /// The store's id of it.
    pub upload_id: String,
    /// What can be gone on with; `None` where parts cannot be told apart later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<PartsOf>,
}

impl OpenUpload {
    fn is(&self, key: &str, upload_id: &str) -> bool {
        self.key == key && self.upload_id == upload_id
    }
}

/// A file that is sent in parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartsOf {
    /// The file.
    pub file: JournalKey,
    /// Bytes of each part but the last.
    pub part_size: u64,
    /// Whether the parts are of the compressed content.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compressed: bool,
}

/// A part that the store has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentPart {
    /// Its number, from 1.
    pub number: u32,
    /// CRC-32 of what was sent.
    pub crc32: u32,
    /// What the store wants to hear of it in the end.
    #[serde(flatten)]
    pub receipt: PartReceipt,
}

/// An upload that an earlier attempt left open, with what the store has of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interrupted {
    /// Which.
    pub upload: OpenUpload,
    /// Its parts by number.
    pub parts: BTreeMap<u32, SentPart>,
}

/// A line about a multipart upload.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum UploadLine {
    Begun(OpenUpload),
    Part {
        upload_id: String,
        #[serde(flatten)]
        part: SentPart,
    },
    Ended(OpenUpload),
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    journal: u32,
    cluster: ClusterName,
    backup: BackupName,
}

#[derive(Serialize, Deserialize)]
struct Record {
    #[serde(flatten)]
    key: JournalKey,
    #[serde(flatten)]
    finished: Finished,
}

/// The journal of one backup on one node. Clones share it.
#[derive(Debug, Clone)]
pub struct UploadJournal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: Mutex<File>,
    files: HashMap<JournalKey, Finished>,
    /// Those that nobody goes on with yet.
    open: Mutex<Vec<Interrupted>>,
}

/// What earlier attempts left.
#[derive(Debug, Default)]
struct Known {
    files: HashMap<JournalKey, Finished>,
    open: Vec<Interrupted>,
}

impl UploadJournal {
    /// Opens the journal at `path`, or begins it. What was written for another backup is dropped.
    /// Blocks on the disk.
    pub fn open(path: &Path, cluster: &ClusterName, backup: &BackupName) -> Result<Self, JournalError> {
        let head = Head { journal: VERSION, cluster: cluster.clone(), backup: backup.clone() };
        let open = || {
            let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
            file.seek(SeekFrom::Start(0))?;
            let (known, good) = read(BufReader::new(&file), &head)?;
            if let Some(good) = good {
                file.set_len(good)?;
            } else {
                file.set_len(0)?;
                file.write_all(&line(&head)?)?;
                file.sync_all()?;
                if let Some(folder) = path.parent() {
                    File::open(folder)?.sync_all()?;
                }
            }
            Ok((file, known))
        };
        let (file, known) =
            open().map_err(|cause: std::io::Error| JournalError { path: path.to_owned(), cause })?;
        let Known { files, open } = known;
        let (file, open) = (Mutex::new(file), Mutex::new(open));
        Ok(Self(Arc::new(Inner { path: path.to_owned(), file, files, open })))
    }

    /// Where an earlier attempt brought this file.
    pub fn find(&self, key: &JournalKey) -> Option<&Finished> {
        self.0.files.get(key)
    }

    /// How many files earlier attempts brought.
    pub fn len(&self) -> usize {
        self.0.files.len()
    }

    /// Whether earlier attempts brought nothing.
    pub fn is_empty(&self) -> bool {
        self.0.files.is_empty()
    }

    /// Uploads that earlier attempts began and, as far as is known, did not end, and that this one does not go on with.
    pub fn open_uploads(&self) -> Vec<Interrupted> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The upload of this file in such parts that an earlier attempt left open: the caller goes on with it.
    pub fn take_open(&self, source: &PartsOf) -> Option<Interrupted> {
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        let found = open.iter().position(|left| left.upload.source.as_ref() == Some(source))?;
        Some(open.swap_remove(found))
    }

    /// Writes down that an upload is begun; on disk when it returns.
    pub async fn begun(
        &self,
        key: &str,
        upload_id: &str,
        source: Option<PartsOf>,
    ) -> Result<(), JournalError> {
        let upload = OpenUpload { key: key.to_owned(), upload_id: upload_id.to_owned(), source };
        self.write(around!("journal.begun"), move || line(&UploadLine::Begun(upload))).await
    }

    /// Writes down that the store has a part; on disk when it returns.
    pub async fn part(&self, upload_id: &str, part: SentPart) -> Result<(), JournalError> {
        let upload_id = upload_id.to_owned();
        self.write(around!("journal.part"), move || line(&UploadLine::Part { upload_id, part })).await
    }

    /// Writes down that an upload is completed or aborted.
    pub async fn ended(&self, key: &str, upload_id: &str) -> Result<(), JournalError> {
        let upload = OpenUpload { key: key.to_owned(), upload_id: upload_id.to_owned(), source: None };
        self.write(around!("journal.ended"), move || line(&UploadLine::Ended(upload))).await
    }

    /// Drops the uploads that earlier attempts left open and that cannot be gone on with. See
    /// [`Self::abort_open_uploads`].
    pub async fn abort_what_cannot_go_on(&self, store: &Store) -> StoreResult<usize> {
        self.abort(store, |left| left.upload.source.is_none()).await
    }

    /// Drops all uploads that earlier attempts left open. Returns how many; those that could not be
    /// dropped stay written down.
    pub async fn abort_open_uploads(&self, store: &Store) -> StoreResult<usize> {
        self.abort(store, |_| true).await
    }

    async fn abort(&self, store: &Store, which: impl Fn(&Interrupted) -> bool) -> StoreResult<usize> {
        let mut first_failure = None;
        let mut aborted = 0;
        let left: Vec<_> = {
            let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.extract_if(.., |left| which(left)).collect()
        };
        for Interrupted { upload: OpenUpload { key, upload_id, .. }, .. } in left {
            match around!("journal.abort").run(store.abort_upload(&key, &upload_id)).await {
                Ok(()) => {
                    aborted += 1;
                    if let Err(error) = self.ended(&key, &upload_id).await {
                        tracing::warn!(%error, "an upload that was dropped is not noted as such");
                    }
                }
                Err(error) => first_failure = first_failure.or(Some(error)),
            }
        }
        first_failure.map_or(Ok(aborted), Err)
    }

    /// Writes down files whose objects the store has confirmed; on disk when it returns.
    pub async fn append(&self, batch: Vec<(JournalKey, Finished)>) -> Result<(), JournalError> {
        self.write(around!("journal.append"), move || {
            let mut lines = Vec::new();
            for (key, finished) in batch {
                lines.extend(line(&Record { key, finished })?);
            }
            Ok(lines)
        })
        .await
    }

    async fn write(
        &self,
        point: Around,
        lines: impl FnOnce() -> std::io::Result<Vec<u8>> + Send + 'static,
    ) -> Result<(), JournalError> {
        let inner = Arc::clone(&self.0);
        let written = tokio::task::spawn_blocking(move || {
            let lines = lines()?;
            let mut file = inner.file.lock().unwrap_or_else(PoisonError::into_inner);
            point.run_blocking(|| file.write_all(&lines).and_then(|()| file.sync_data()))
        });
        let result = written.await.unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
        result.map_err(|cause| JournalError { path: self.0.path.clone(), cause })
    }

    /// Removes the journal of a backup that is over. It need not be there.
    pub fn remove(path: &Path) -> Result<(), JournalError> {
        match std::fs::remove_file(path) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                Err(JournalError { path: path.to_owned(), cause })
            }
            _ => Ok(()),
        }
    }
}

fn line(value: &impl Serialize) -> std::io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

/// How many files the journal of this backup says were brought; `None` when it is another backup's.
pub fn count_journal(
    lines: impl BufRead,
    cluster: &ClusterName,
    backup: &BackupName,
) -> std::io::Result<Option<usize>> {
    let head = Head { journal: VERSION, cluster: cluster.clone(), backup: backup.clone() };
    let (known, good) = read(lines, &head)?;
    Ok(good.map(|_| known.files.len()))
}

/// The records that can be used, and how many bytes of the file are whole lines; `None` when the file
/// is not this backup's journal.
fn read(mut lines: impl BufRead, head: &Head) -> std::io::Result<(Known, Option<u64>)> {
    let own_data = layout::data_folder(&head.cluster, &head.backup);
    let own = layout::backup_folder(&head.cluster, &head.backup);
    let mut known = Known::default();
    let mut good = None;
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        (&mut lines).take(MAX_LINE).read_until(b'\n', &mut buffer)?;
        if buffer.last() != Some(&b'\n') {
            return Ok((known, good));
        }
        let Some(length) = good else {
            let is_this = |found: &Head| {
                (&found.cluster, &found.backup) == (&head.cluster, &head.backup)
                    && matches!(found.journal, VERSION | PLAIN_VERSION)
            };
            if !serde_json::from_slice::<Head>(&buffer).is_ok_and(|found| is_this(&found)) {
                return Ok((known, None));
            }
            good = Some(buffer.len() as u64);
            continue;
        };
        good = Some(length + buffer.len() as u64);
        let is_own =
            |upload: &OpenUpload| upload.key.starts_with(&own) && layout::check_key(&upload.key).is_ok();
        match serde_json::from_slice::<UploadLine>(&buffer) {
            Ok(UploadLine::Begun(upload)) if is_own(&upload) => {
                known.open.push(Interrupted { upload, parts: BTreeMap::new() });
                continue;
            }
            Ok(UploadLine::Part { upload_id, part }) => {
                if let Some(open) = known.open.iter_mut().find(|open| open.upload.upload_id == upload_id) {
                    open.parts.insert(part.number, part);
                }
                continue;
            }
            Ok(UploadLine::Ended(upload)) => {
                known.open.retain(|open| !open.upload.is(&upload.key, &upload.upload_id));
                continue;
            }
            _ => {}
        }
        match serde_json::from_slice::<Record>(&buffer) {
            Ok(Record { key, finished })
                if finished.place.key.starts_with(&own_data)
                    && layout::check_key(&finished.place.key).is_ok() =>
            {
                known.files.insert(key, finished);
            }
            _ => tracing::warn!(backup = %head.backup, "left out a line of the upload journal"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(backup: &str) -> (ClusterName, BackupName) {
        (ClusterName::new("c").unwrap(), BackupName::new(backup).unwrap())
    }

    fn record(inode: u64, key: &str) -> (JournalKey, Finished) {
        let file = FileIdentity { fs: u64::MAX, inode, mtime_ns: 7 };
        let place = Place { key: key.to_owned(), pack: None, zstd: None };
        (
            JournalKey { file, size: 3, name: "nb-1-big-Data.db".into() },
            Finished { blake3: Digest::of(b"abc"), place },
        )
    }

    #[tokio::test]
    async fn remembers_whole_lines_and_survives_a_torn_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.journal");
        let (cluster, backup) = names("b");
        let first = record(1, "clusters/c/backups/b/data/x");
        let second = record(2, "clusters/c/backups/b/data/y");
        {
            let journal = UploadJournal::open(&path, &cluster, &backup).unwrap();
            assert!(journal.is_empty());
            journal.append(vec![first.clone()]).await.unwrap();
            journal.append(vec![second.clone()]).await.unwrap();
        }
        let whole = std::fs::read(&path).unwrap();
        for torn in [1, 10, whole.len() / 4] {
            std::fs::write(&path, &whole[..whole.len() - torn]).unwrap();
            let journal = UploadJournal::open(&path, &cluster, &backup).unwrap();
            assert_eq!(journal.find(&first.0), Some(&first.1));
            assert_eq!(journal.find(&second.0), None, "{torn} bytes torn off");
            journal.append(vec![second.clone()]).await.unwrap();
            drop(journal);
            let again = UploadJournal::open(&path, &cluster, &backup).unwrap();
            assert_eq!((again.find(&second.0), again.len()), (Some(&second.1), 2));
        }
    }

    #[tokio::test]
    async fn uploads_that_were_begun_and_not_ended_are_known_to_the_next_attempt() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (cluster, backup) = names("b");
        let journal = UploadJournal::open(&path, &cluster, &backup).unwrap();
        let key = |name: &str| format!("clusters/c/backups/b/data/{name}");
        let source = PartsOf { file: record(1, "").0, part_size: 5, compressed: false };
        journal.begun(&key("x"), "1", None).await.unwrap();
        journal.begun(&key("y"), "2", Some(source.clone())).await.unwrap();
        journal.begun("clusters/c/backups/other/data/x", "3", None).await.unwrap();
        let part = |number| SentPart {
            number,
            crc32: 7,
            receipt: PartReceipt { etag: Some("e".into()), checksum: None },
        };
        journal.part("2", part(1)).await.unwrap();
        journal.part("2", part(3)).await.unwrap();
        journal.part("9", part(4)).await.unwrap();
        journal.ended(&key("x"), "1").await.unwrap();
        let again = UploadJournal::open(&path, &cluster, &backup).unwrap();
        let upload = OpenUpload { key: key("y"), upload_id: "2".into(), source: Some(source.clone()) };
        let left = Interrupted { upload, parts: [(1, part(1)), (3, part(3))].into() };
        assert_eq!(again.open_uploads(), std::slice::from_ref(&left));
        assert!(again.is_empty());
        let other = PartsOf { part_size: 6, ..source.clone() };
        assert_eq!(again.take_open(&other), None, "its parts are others");
        let other = PartsOf { compressed: true, ..source.clone() };
        assert_eq!(again.take_open(&other), None, "its parts are of something else");
        assert_eq!(again.take_open(&source), Some(left));
        assert_eq!((again.take_open(&source), again.open_uploads()), (None, Vec::new()), "it is taken");
    }

    #[tokio::test]
    async fn another_backups_lines_and_foreign_keys_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (cluster, backup) = names("b");
        let journal = UploadJournal::open(&path, &cluster, &backup).unwrap();
        let foreign = record(1, "clusters/c/backups/b2/data/x");
        let escaping = record(2, "clusters/c/backups/b/data/../../x");
        let honest = record(3, "clusters/c/backups/b/data/x");
        journal.append(vec![foreign, escaping, honest.clone()]).await.unwrap();
        let again = UploadJournal::open(&path, &cluster, &backup).unwrap();
        assert_eq!((again.len(), again.find(&honest.0)), (1, Some(&honest.1)));

        let (cluster, other) = names("b2");
        assert!(UploadJournal::open(&path, &cluster, &other).unwrap().is_empty());
        let (cluster, backup) = names("b");
        assert!(UploadJournal::open(&path, &cluster, &backup).unwrap().is_empty());
        UploadJournal::remove(&path).unwrap();
        UploadJournal::remove(&path).unwrap();
        assert!(!path.exists());
    }
}
