//! Slices: of an SSTable of the backup the partitions that this node owns, staged as an SSTable of
//! their own.
//!
//! Places of chunks, statistics and small indexes come whole, each checked by hash like any file; of Data.db
//! come the needed parts, each chunk checked by its checksum ([`ringvault_cassandra::sstable::slice`]). Of a
//! large Index.db come the parts that Summary.db names; where these turn out not to be what they should, or
//! cannot be checked, the whole is fetched after all and decides.
//! A slice is made in a folder of its own attempt and gets its name, `slice`, with a record inside of
//! what it was made of and the hash of every file, once all is on disk: under that name there is never
//! a part of one. An attempt that starts again, and the import, know it by this record, and hash the
//! files before they are believed.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use ringvault_cassandra::sstable::{
    Component, Descriptor,
    slice::{Sliced, SlicedFolder},
};
use ringvault_core::{TaskError, cluster::TokenSet};
use ringvault_vault::{
    disk,
    download::{DownloadConfig, Downloaded, StagingFolder},
    hash::{ContentHasher, Digest},
    transfer::TransferContext,
};
use serde::{Deserialize, Serialize};

use super::{batch::staged_dir, cutter::Cutter, record::RestorePlan, share::SharedSstable, staged::Staged};
use crate::executor::{Executor, failure, workspace::make_dir};

/// Slices made at the same time: each is one request, and a compressor at work.
const AT_ONCE: usize = 3;
/// The folder of a slice that is whole.
pub(super) const SLICE: &str = "slice";
/// The record in a slice's folder.
pub(super) const RECORD: &str = "record.json";
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
    pub(super) partitions: u64,
    pub(super) files: Vec<SliceFile>,
    /// Bytes and requests that it took beside the files that came whole.
    pub(super) fetched: u64,
    requests: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SliceFile {
    name: String,
    size: u64,
    /// Unkeyed: it never leaves this machine.
    blake3: Digest,
}

impl SliceRecord {
    /// Of a slice that was made of `of`.
    pub(super) fn new(of: Digest, made: &SlicedFolder) -> Self {
        let files = made.files.iter().map(|file| SliceFile {
            name: file.component.to_string(),
            size: file.size,
            blake3: Digest::from_bytes(file.blake3),
        });
        let Sliced { partitions, data, index, .. } = made.sliced;
        Self {
            version: VERSION,
            of,
            sstable: made.descriptor.clone(),
            partitions,
            files: files.collect(),
            fetched: data.bytes.saturating_add(index.bytes),
            requests: data.requests.saturating_add(index.requests),
        }
    }

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
    for component in sstable.slice_sources().chain(sstable.data()) {
        hasher.update(component.name.as_bytes());
        hasher.update(component.checksum.to_string().as_bytes());
    }
    for (first, last) in wanted.intervals() {
        hasher.update(&first.0.to_be_bytes());
        hasher.update(&last.0.to_be_bytes());
    }
    hasher.digest()
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
        let needed = sstable.parts_share().saturating_add(DownloadConfig::default().disk_reserve);
        make_dir(&dir)?;
        disk::require(&dir, needed).map_err(|error| error.to_task_error())?;
        // Whoever drops this future stops the thread too.
        let stop = transfer.stop.child_token();
        let transfer = TransferContext { stop: stop.clone(), ..transfer.clone() };
        let _stops = stop.drop_guard();
        let cutter = Cutter {
            backup: &plan.spec.backup,
            sstable,
            folder: StagingFolder::new(stage),
            transfer,
            dir,
            wanted,
            of,
        };
        let (record, fetched) = cutter.make().await?;
        let (files, bytes) = (record.files.len() as u64, fetched.bytes.saturating_add(record.fetched));
        Ok(Downloaded { files, bytes, bytes_kept: fetched.bytes_kept })
    }
}

#[cfg(test)]
#[path = "slices_tests.rs"]
mod tests;
