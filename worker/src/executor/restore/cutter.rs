//! Makes one slice: fetches what it is made of, cuts, and gives the folder its name.
//!
//! Parts of an index are believed as far as they can be held against something that was hashed. Where they cannot,
//! or something looks damaged, the whole index is fetched, its hash decides, and the slice is cut by that.

use std::{
    fs::File,
    io::{self, Read},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use ringvault_cassandra::sstable::{
    self, Descriptor,
    slice::{RangedRead, SliceError, slice_folder},
};
use ringvault_core::{BackupName, TaskError, cluster::TokenSet};
use ringvault_fault::around;
use ringvault_vault::{
    download::{
        DownloadConfig, DownloadError, Downloaded, FileOrigin, RangedContent, StagingFolder, WantedFile,
        download,
    },
    hash::Digest,
    manifest::Component,
    transfer::TransferContext,
};
use tracing::{info, warn};
use uuid::Uuid;

use super::{
    download::{origin_of, wanted_file},
    share::SharedSstable,
    slices::{RECORD, SLICE, SliceRecord},
};
use crate::{
    executor::{failure, workspace::make_dir},
    identity::write_durably,
};

/// The folder of what is fetched to make a slice.
const SOURCE: &str = "source";
/// Ends the name of a folder in the making.
const UNFINISHED: &str = ".part";

/// An SSTable of a backup, a slice of which is to be made.
pub(super) struct Cutter<'a> {
    pub(super) backup: &'a BackupName,
    pub(super) sstable: &'a SharedSstable,
    /// The stage.
    pub(super) folder: StagingFolder,
    pub(super) transfer: TransferContext,
    /// The SSTable's folder in the stage.
    pub(super) dir: PathBuf,
    pub(super) wanted: Arc<TokenSet>,
    /// Digest of what the slice is made of.
    pub(super) of: Digest,
}

impl Cutter<'_> {
    /// Makes the slice; with what was fetched whole for it.
    pub(super) async fn make(&self) -> Result<(SliceRecord, Downloaded), TaskError> {
        let mut fetched = self.fetch(self.sstable.components()).await?;
        let index = self.sstable.index_in_parts();
        let mut made = self.cut(index).await;
        if let (Some(index), Err(Unmade::NeedsIndex { why, is_odd })) = (index, &made) {
            let sstable = self.sstable.place();
            if *is_odd {
                warn!(sstable, why, "parts of the index do not fit: the whole is fetched");
            } else {
                info!(sstable, why, "the whole index is fetched");
            }
            fetched += self.fetch(std::iter::once(index)).await?;
            made = self.cut(None).await;
        }
        match made {
            Ok(record) => Ok((record, fetched)),
            Err(Unmade::Failed(error)) => Err(error),
            Err(Unmade::NeedsIndex { why, .. }) => {
                let message = format!("no slice of {} can be made: {why}", self.sstable.place());
                Err(TaskError::permanent("RV-DIGEST", message))
            }
        }
    }

    /// Stages files that the slice is made of, each checked by its hash.
    async fn fetch<'c>(
        &self,
        components: impl Iterator<Item = &'c Component>,
    ) -> Result<Downloaded, TaskError> {
        let wanted = |component| self.content(component).map_err(DownloadError::Source);
        let sources: Vec<_> = components.map(wanted).collect();
        download(&self.transfer, DownloadConfig::default(), sources.into_iter())
            .await
            .map_err(|error| error.to_task_error())
    }

    fn content(&self, component: &Component) -> Result<WantedFile, TaskError> {
        wanted_file(self.backup, self.sstable, component, &self.folder, Some(SOURCE))
    }

    fn in_vault(&self, component: &Component) -> Result<InVault, TaskError> {
        Ok(InVault {
            content: RangedContent::new(self.transfer.clone(), self.content(component)?),
            origin: origin_of(self.backup, self.sstable, component),
        })
    }

    /// Cuts what is staged, and Data.db and `index` as they lie in the vault.
    async fn cut(&self, index: Option<&Component>) -> Result<SliceRecord, Unmade> {
        let (backup, name) = (self.backup, &self.sstable.entry.name);
        let (Some((descriptor, _)), Some(data)) =
            (Descriptor::parse_file_name(&name.file_name("Data.db")), self.sstable.data())
        else {
            let message = format!("{} in backup {backup} has no Data.db", self.sstable.place());
            return Err(TaskError::permanent("RV-MANIFEST", message).into());
        };
        let work = Work {
            dir: self.dir.clone(),
            descriptor,
            data: self.in_vault(data)?,
            index: index.map(|index| self.in_vault(index)).transpose()?,
            wanted: Arc::clone(&self.wanted),
            of: self.of,
        };
        tokio::task::spawn_blocking(move || work.run()).await.map_err(failure::internal)?
    }
}

/// A file in the vault that is read by ranges.
struct InVault {
    content: RangedContent,
    origin: FileOrigin,
}

impl RangedRead for InVault {
    fn open(&self, range: Range<u64>) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(self.content.open(range)?))
    }

    fn size(&self) -> u64 {
        self.content.size()
    }

    fn is_checked(&self) -> bool {
        self.content.is_checked()
    }
}

/// Why a slice was not made.
enum Unmade {
    /// Parts of the index will not do.
    NeedsIndex {
        why: String,
        is_odd: bool,
    },
    Failed(TaskError),
}

impl From<TaskError> for Unmade {
    fn from(error: TaskError) -> Self {
        Self::Failed(error)
    }
}

/// One slice to make, off the async threads.
struct Work {
    dir: PathBuf,
    descriptor: Descriptor,
    data: InVault,
    /// Its Index.db, where that is read in parts.
    index: Option<InVault>,
    wanted: Arc<TokenSet>,
    of: Digest,
}

impl Work {
    /// Makes the slice; on disk under its name when it returns. Blocks.
    fn run(self) -> Result<SliceRecord, Unmade> {
        let dir = &self.dir;
        let local = |path: &Path, doing: &str| {
            let (path, doing) = (path.to_owned(), doing.to_owned());
            move |error: io::Error| failure::local(&path, &doing, &error)
        };
        remove_unfinished(dir).map_err(local(dir, "tidying"))?;
        let part = dir.join(format!("{SLICE}-{}{UNFINISHED}", Uuid::now_v7().simple()));
        make_dir(&part)?;
        let source = dir.join(SOURCE);
        let index = self.index.as_ref().map(|index| index as &dyn RangedRead);
        let sliced = slice_folder(&self.descriptor, &source, &self.data, index, &self.wanted, &part)
            .map_err(|error| self.unmade(&part, error))?;
        let record = SliceRecord::new(self.of, &sliced);
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

    /// What an error means: one that the whole index may mend, or how the task reports it.
    fn unmade(&self, part: &Path, error: SliceError) -> Unmade {
        let is_odd = match &error {
            SliceError::Parts(_) => true,
            SliceError::Unverifiable => false,
            SliceError::Damaged { .. } if self.index.is_some() => true,
            _ => return Unmade::Failed(self.failed(part, error)),
        };
        Unmade::NeedsIndex { why: error.to_string(), is_odd }
    }

    fn failed(&self, part: &Path, error: SliceError) -> TaskError {
        let of_index = |component: &sstable::Component| *component == sstable::Component::Index;
        let origin = match (&error, &self.index) {
            (SliceError::Unreadable { component, .. }, Some(index)) if of_index(component) => &index.origin,
            _ => &self.data.origin,
        };
        let verify =
            format!("ringvault verify run {} --level sstable names all that is damaged", origin.backup);
        match error {
            SliceError::Unreadable { source, .. } => {
                match source.get_ref().and_then(|inner| inner.downcast_ref::<DownloadError>()) {
                    Some(error) => error.to_task_error(),
                    None => TaskError::permanent(
                        "RV-DIGEST",
                        format!("{origin} does not match its manifest: {source}"),
                    )
                    .with_next(verify),
                }
            }
            SliceError::Damaged { .. } | SliceError::Parts(_) | SliceError::Unverifiable => {
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
#[path = "cutter_tests.rs"]
mod tests;
