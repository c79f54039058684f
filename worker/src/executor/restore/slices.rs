//! Slices: of an SSTable of the backup the partitions that this node owns, staged as an SSTable of
//! their own.
//!
//! Index, places of chunks and statistics come whole, each checked by hash like any file; of Data.db
//! come the needed parts, each chunk checked by its checksum ([`ringvault_cassandra::sstable::slice`]).
//! A slice is made in a folder of its own attempt and gets its name, `slice`, with a record inside of
//! what it was made of and the hash of every file, once all is on disk: under that name there is never
//! a part of one. An attempt that starts again, and the import, know it by this record, and hash the
//! files before they are believed.

use std::{
    fs::File,
    io::{self, Read},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use ringvault_cassandra::sstable::{
    Component, Descriptor,
    slice::{RangedRead, SliceError, SlicedFolder, slice_folder},
};
use ringvault_core::{TaskError, cluster::TokenSet};
use ringvault_fault::around;
use ringvault_vault::{
    disk,
    download::{
        DownloadConfig, DownloadError, Downloaded, FileOrigin, RangedContent, StagingFolder, download,
    },
    hash::{ContentHasher, Digest},
    transfer::TransferContext,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    batch::staged_dir,
    download::{origin_of, wanted_file},
    record::RestorePlan,
    share::SharedSstable,
    staged::Staged,
};
use crate::{
    executor::{Executor, failure, workspace::make_dir},
    identity::write_durably,
};

/// Slices made at the same time: each is one request, and a compressor at work.
const AT_ONCE: usize = 3;
/// The folder of a slice that is whole.
const SLICE: &str = "slice";
/// The folder of what is fetched to make it.
const SOURCE: &str = "source";
/// Ends the name of a folder in the making.
const UNFINISHED: &str = ".part";
/// The record in a slice's folder.
const RECORD: &str = "record.json";
/// Version of the record.
const VERSION: u32 = 1;

/// What a staged slice is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SliceRecord {
    version: u32,
    /// Digest of the contents and the tokens that it was made of.
    of: Digest,
    /// What its files' names begin with.
    sstable: Descriptor,
    partitions: u64,
    files: Vec<SliceFile>,
    /// Bytes and requests that it took.
    fetched: u64,
    requests: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SliceFile {
    name: String,
    size: u64,
    /// Unkeyed: it never leaves this machine.
    blake3: Digest,
}

impl SliceRecord {
    fn read(dir: &Path) -> io::Result<Self> {
        let text = std::fs::read(dir.join(SLICE).join(RECORD))?;
        let record: Self = serde_json::from_slice(&text)?;
        // The names become paths.
        let is_known =
            |file: &SliceFile| !matches!(Component::parse(&file.name), None | Some(Component::Other(_)));
        if record.version == VERSION && record.files.iter().all(is_known) {
            return Ok(record);
        }
        Err(io::ErrorKind::InvalidData.into())
    }

    /// The record of a slice that is what was to be made, every file of it as it was made.
    fn verified(dir: &Path, of: Digest) -> Option<Self> {
        let record = Self::read(dir).ok().filter(|record| record.of == of)?;
        let is_sound = |file: &SliceFile| {
            let path = dir.join(SLICE).join(record.file_name(file));
            digest(&path).is_ok_and(|found| found == (file.size, file.blake3))
        };
        record.files.iter().all(is_sound).then_some(record)
    }

    fn file_name(&self, file: &SliceFile) -> String {
        format!("{}-{}", self.sstable, file.name)
    }

    fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// The slice in the SSTable's folder `dir`, ready to be linked.
    pub(super) fn staged(place: String, dir: &Path) -> Result<Staged, TaskError> {
        let record = Self::read(dir)
            .map_err(|error| failure::local(&dir.join(SLICE).join(RECORD), "reading the record", &error))?;
        Ok(Staged {
            place,
            dir: dir.join(SLICE),
            version: record.sstable.version.clone(),
            format: record.sstable.format.as_str().to_owned(),
            files: record.files.iter().map(|file| (record.file_name(file), file.name.clone())).collect(),
            bytes: record.bytes(),
            partitions: Some(record.partitions),
        })
    }
}

fn digest(path: &Path) -> io::Result<(u64, Digest)> {
    let mut file = File::open(path)?;
    let mut hasher = ContentHasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((hasher.len(), hasher.digest())),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// What a slice is made of: the contents that go into it, and the tokens.
fn made_of(sstable: &SharedSstable, wanted: &TokenSet) -> Digest {
    let mut hasher = ContentHasher::new();
    for component in sstable.components().chain(sstable.data()) {
        hasher.update(component.name.as_bytes());
        hasher.update(component.checksum.to_string().as_bytes());
    }
    for (first, last) in wanted.intervals() {
        hasher.update(&first.0.to_be_bytes());
        hasher.update(&last.0.to_be_bytes());
    }
    hasher.digest()
}

/// Data.db in the vault.
struct Data(RangedContent);

impl RangedRead for Data {
    fn open(&self, range: Range<u64>) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(self.0.open(range)?))
    }
}

/// One slice to make.
struct Work {
    dir: PathBuf,
    descriptor: Descriptor,
    data: Data,
    data_size: u64,
    wanted: Arc<TokenSet>,
    of: Digest,
    origin: FileOrigin,
}

impl Executor {
    /// Stages a slice of each of `sstables`: one that is there and hashes right stays.
    pub(super) async fn stage_slices(
        &self,
        plan: &RestorePlan,
        sstables: &[SharedSstable],
        stage: &Path,
        transfer: &TransferContext,
    ) -> Result<Downloaded, TaskError> {
        let slices =
            sstables.iter().filter_map(|sstable| Some((sstable, Arc::clone(sstable.slice.as_ref()?))));
        stream::iter(slices)
            .map(|(sstable, wanted)| self.stage_slice(plan, sstable, wanted, stage, transfer))
            .buffer_unordered(AT_ONCE)
            .try_fold(Downloaded::default(), |mut sum, done| {
                sum += done;
                std::future::ready(Ok(sum))
            })
            .await
    }

    async fn stage_slice(
        &self,
        plan: &RestorePlan,
        sstable: &SharedSstable,
        wanted: Arc<TokenSet>,
        stage: &Path,
        transfer: &TransferContext,
    ) -> Result<Downloaded, TaskError> {
        let dir = staged_dir(stage, sstable);
        let of = made_of(sstable, &wanted);
        let kept = {
            let dir = dir.clone();
            tokio::task::spawn_blocking(move || SliceRecord::verified(&dir, of))
                .await
                .map_err(failure::internal)?
        };
        if let Some(record) = kept {
            transfer.progress.kept(sstable.components().count() as u64, record.fetched);
            let (files, bytes) = (record.files.len() as u64, record.bytes());
            return Ok(Downloaded { files, bytes, bytes_kept: bytes });
        }
        let config = DownloadConfig::default();
        let needed = sstable.data_share().saturating_add(config.disk_reserve);
        make_dir(&dir)?;
        disk::require(&dir, needed).map_err(|error| error.to_task_error())?;
        // Whoever drops this future stops the thread too.
        let stop = transfer.stop.child_token();
        let transfer = TransferContext { stop: stop.clone(), ..transfer.clone() };
        let _stops = stop.drop_guard();
        let folder = StagingFolder::new(stage);
        let backup = &plan.spec.backup;
        let sources = sstable.components().map(|component| {
            wanted_file(backup, sstable, component, &folder, Some(SOURCE)).map_err(DownloadError::Source)
        });
        let sources: Vec<_> = sources.collect();
        let fetched =
            download(&transfer, config, sources.into_iter()).await.map_err(|error| error.to_task_error())?;
        let name = &sstable.entry.name;
        let (Some((descriptor, _)), Some(data)) =
            (Descriptor::parse_file_name(&name.file_name("Data.db")), sstable.data())
        else {
            let message = format!("{} in backup {backup} has no Data.db", sstable.place());
            return Err(TaskError::permanent("RV-MANIFEST", message));
        };
        let content = wanted_file(backup, sstable, data, &folder, Some(SOURCE))?;
        let work = Work {
            dir,
            descriptor,
            data: Data(RangedContent::new(transfer, content)),
            data_size: data.size,
            wanted,
            of,
            origin: origin_of(backup, sstable, data),
        };
        let record = tokio::task::spawn_blocking(move || work.run()).await.map_err(failure::internal)??;
        let (files, bytes) = (record.files.len() as u64, fetched.bytes.saturating_add(record.fetched));
        Ok(Downloaded { files, bytes, bytes_kept: fetched.bytes_kept })
    }
}

impl Work {
    /// Makes the slice; on disk under its name when it returns. Blocks.
    fn run(self) -> Result<SliceRecord, TaskError> {
        let dir = &self.dir;
        let local = |path: &Path, doing: &str| {
            let (path, doing) = (path.to_owned(), doing.to_owned());
            move |error: io::Error| failure::local(&path, &doing, &error)
        };
        remove_unfinished(dir).map_err(local(dir, "tidying"))?;
        let part = dir.join(format!("{SLICE}-{}{UNFINISHED}", Uuid::now_v7().simple()));
        make_dir(&part)?;
        let source = dir.join(SOURCE);
        let sliced = slice_folder(&self.descriptor, &source, &self.data, self.data_size, &self.wanted, &part)
            .map_err(|error| self.failed(&part, error))?;
        let record = self.record(&sliced);
        let text = serde_json::to_string(&record)
            .map_err(|error| TaskError::permanent("RV-INTERNAL", error.to_string()))?;
        write_durably(&part.join(RECORD), &text).map_err(local(&part, "writing the record in"))?;
        let named = dir.join(SLICE);
        around!("slice.rename")
            .run_blocking(|| {
                match std::fs::remove_dir_all(&named) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
                std::fs::rename(&part, &named)?;
                File::open(dir)?.sync_all()
            })
            .map_err(local(&named, "naming"))?;
        // It only takes room.
        let _ = std::fs::remove_dir_all(&source);
        Ok(record)
    }

    fn record(&self, sliced: &SlicedFolder) -> SliceRecord {
        let files = sliced.files.iter().map(|file| SliceFile {
            name: file.component.to_string(),
            size: file.size,
            blake3: Digest::from_bytes(file.blake3),
        });
        SliceRecord {
            version: VERSION,
            of: self.of,
            sstable: sliced.descriptor.clone(),
            partitions: sliced.sliced.partitions,
            files: files.collect(),
            fetched: sliced.sliced.fetched,
            requests: sliced.sliced.requests,
        }
    }

    /// As the task reports it.
    fn failed(&self, part: &Path, error: SliceError) -> TaskError {
        let origin = &self.origin;
        let verify =
            format!("ringvault verify run {} --level sstable names all that is damaged", origin.backup);
        match error {
            SliceError::Data(error) => {
                match error.get_ref().and_then(|inner| inner.downcast_ref::<DownloadError>()) {
                    Some(error) => error.to_task_error(),
                    None => TaskError::permanent(
                        "RV-DIGEST",
                        format!("{origin} does not match its manifest: {error}"),
                    )
                    .with_next(verify),
                }
            }
            SliceError::Damaged { .. } => {
                TaskError::permanent("RV-DIGEST", format!("no slice of {origin} can be made: {error}"))
                    .with_next(verify)
            }
            SliceError::Unsupported(why) => {
                TaskError::permanent("RV-METHOD", format!("no slice of {origin} can be made: {why}"))
                    .with_next("restore it with --method import")
            }
            SliceError::Write(error) => failure::local(part, "writing the slice in", &error),
        }
    }
}

/// Removes what attempts that ended left behind.
fn remove_unfinished(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(UNFINISHED) && entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "slices_tests.rs"]
mod tests;
