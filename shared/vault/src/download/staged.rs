//! Staged files: written under a temporary name, checked, renamed; content, name and the folders made for
//! them are on disk before they count.

use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use ringvault_fault::around;
use tokio::task::spawn_blocking;

use super::{DownloadError, Downloaded, WantedFile};
use crate::{
    checksum::Checker,
    disk::{self, DiskFull},
    hash::{Digest, HashKey},
};

/// Bytes gathered before they are written.
const BUFFER: usize = 1 << 20;
/// Files that are open at once to be named together.
const MOST_TOGETHER: usize = 128;

/// Whether the file is staged already, with the right content. Blocks on the disk.
pub(super) fn is_staged(file: &WantedFile, key: &HashKey) -> bool {
    let path = file.to.as_path();
    let same_size = path.symlink_metadata().is_ok_and(|found| found.is_file() && found.len() == file.size);
    same_size && check(path, file, key).unwrap_or_default()
}

fn check(path: &Path, wanted: &WantedFile, key: &HashKey) -> std::io::Result<bool> {
    let mut file = open(OpenOptions::new().read(true), path)?;
    let mut checker = wanted.checksum.checker(wanted.size, key);
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(checker.is_right()),
            read => checker.update(&buffer[..read]),
        }
    }
}

fn open(options: &mut OpenOptions, path: &Path) -> std::io::Result<File> {
    let no_follow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
    options.custom_flags(no_follow).open(path)
}

/// A file being staged.
pub(super) struct StagedFile {
    wanted: WantedFile,
    buffer: Vec<u8>,
    taken: u64,
    written: Written,
}

/// What is on disk of it.
struct Written {
    temporary: PathBuf,
    file: Option<File>,
    checker: Checker,
}

impl StagedFile {
    /// Begins a file; nothing is on disk yet.
    pub(super) fn new(wanted: WantedFile, key: &HashKey) -> Self {
        let path = wanted.to.as_path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Of fixed length, as the name itself may be as long as names can be; and the same at the next
        // attempt, which so leaves no heap of unfinished files.
        let short = Digest::of(name.as_bytes()).to_string();
        let temporary = path.with_file_name(format!(".{}.part", &short[..32]));
        let written = Written { temporary, file: None, checker: wanted.checksum.checker(wanted.size, key) };
        Self { wanted, buffer: Vec::new(), taken: 0, written }
    }

    /// How many bytes are still to come.
    pub(super) const fn missing(&self) -> u64 {
        self.wanted.size - self.taken
    }

    /// The file it will be.
    pub(super) const fn wanted(&self) -> &WantedFile {
        &self.wanted
    }

    /// Takes the next bytes of the content, no more than are [missing](Self::missing).
    pub(super) async fn push(&mut self, piece: &[u8]) -> Result<(), DownloadError> {
        self.taken += piece.len() as u64;
        self.buffer.extend_from_slice(piece);
        if self.buffer.len() >= BUFFER { self.write().await } else { Ok(()) }
    }

    async fn write(&mut self) -> Result<(), DownloadError> {
        let buffer = std::mem::take(&mut self.buffer);
        let path = self.wanted.to.clone();
        let written = std::mem::replace(
            &mut self.written,
            Written {
                temporary: PathBuf::new(),
                file: None,
                checker: self.wanted.checksum.checker(0, &HashKey::default()),
            },
        );
        let size = self.wanted.size;
        let result = spawn_blocking(move || {
            let mut written = written;
            written
                .write(&buffer)
                .map(|()| (written, buffer))
                .map_err(|cause| stage_error(path.as_path(), size, cause))
        });
        let buffer;
        (self.written, buffer) = result.await??;
        self.buffer = buffer;
        self.buffer.clear();
        Ok(())
    }

    /// Writes the rest of the content, which must be whole and right now. Blocks on the disk.
    fn complete(mut self) -> Result<Complete, DownloadError> {
        if self.missing() > 0 {
            let what = format!("it has {} of {} bytes", self.taken, self.wanted.size);
            return Err(damaged(&self.wanted, what));
        }
        let Self { buffer, wanted, written, .. } = &mut self;
        written.write(buffer).map_err(|cause| stage_error(wanted.to.as_path(), wanted.size, cause))?;
        if let Some(wrong) = self.written.checker.wrong() {
            std::fs::remove_file(&self.written.temporary).ok();
            return Err(damaged(&self.wanted, wrong));
        }
        let Self { wanted, written: Written { temporary, file, .. }, .. } = self;
        Ok(Complete { wanted, temporary, file })
    }
}

/// A file whose content is right, under its temporary name.
struct Complete {
    wanted: WantedFile,
    temporary: PathBuf,
    file: Option<File>,
}

impl Complete {
    fn sync(&self) -> Result<(), DownloadError> {
        let synced = self.file.as_ref().map_or(Ok(()), File::sync_data);
        synced.map_err(|cause| stage_error(self.wanted.to.as_path(), self.wanted.size, cause))
    }

    fn name(&self) -> Result<(), DownloadError> {
        let path = self.wanted.to.as_path();
        let named = around!("stage.rename").run_blocking(|| std::fs::rename(&self.temporary, path));
        named.map_err(|cause| stage_error(path, self.wanted.size, cause))
    }
}

/// Files that have come and are given their names together: a folder's names are brought to disk once
/// for all of them.
#[derive(Default)]
pub(super) struct Together {
    files: Vec<StagedFile>,
    /// Bytes of them that are in memory.
    bytes: usize,
}

impl Together {
    /// Adds a file.
    pub(super) fn push(&mut self, file: StagedFile) {
        self.bytes += file.buffer.len();
        self.files.push(file);
    }

    /// Whether no more should be added.
    pub(super) const fn is_full(&self) -> bool {
        self.bytes >= BUFFER || self.files.len() >= MOST_TOGETHER
    }

    /// Checks each content and gives the files their names, which are on disk when it returns. What came before
    /// the first that is wrong is named all the same. How many were, and their bytes.
    pub(super) async fn name(&mut self) -> (Downloaded, Result<(), DownloadError>) {
        let files = std::mem::take(self).files;
        match spawn_blocking(move || name_all(files)).await {
            Ok(done) => done,
            Err(error) => (Downloaded::default(), Err(error.into())),
        }
    }
}

fn name_all(files: Vec<StagedFile>) -> (Downloaded, Result<(), DownloadError>) {
    let mut complete = Vec::with_capacity(files.len());
    let mut all = Ok(());
    for file in files {
        match file.complete() {
            Ok(file) => complete.push(file),
            Err(error) => {
                all = Err(error);
                break;
            }
        }
    }
    match name_complete(&complete) {
        Ok(()) => {
            let bytes = complete.iter().map(|file| file.wanted.size).sum();
            (Downloaded { files: complete.len() as u64, bytes, bytes_kept: 0 }, all)
        }
        Err(error) => (Downloaded::default(), Err(error)),
    }
}

fn name_complete(files: &[Complete]) -> Result<(), DownloadError> {
    files.iter().try_for_each(Complete::sync)?;
    files.iter().try_for_each(Complete::name)?;
    let folders: BTreeSet<_> = files.iter().filter_map(|file| file.wanted.to.as_path().parent()).collect();
    folders
        .into_iter()
        .try_for_each(|folder| sync_folder(folder).map_err(|cause| stage_error(folder, 0, cause)))
}

impl Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        if self.file.is_none() {
            if let Some(folder) = self.temporary.parent() {
                create_folders(folder)?;
            }
            let mut options = OpenOptions::new();
            self.file = Some(open(options.write(true).create(true).truncate(true), &self.temporary)?);
        }
        if let Some(file) = &mut self.file {
            file.write_all(bytes)?;
            self.checker.update(bytes);
        }
        Ok(())
    }
}

/// Makes a folder with its parents; the names of those that were made are on disk when it returns.
fn create_folders(folder: &Path) -> std::io::Result<()> {
    let there = folder.ancestors().position(Path::is_dir).unwrap_or_default();
    std::fs::create_dir_all(folder)?;
    folder.ancestors().skip(1).take(there).try_for_each(sync_folder)
}

fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The content is not what the manifest says.
pub(super) fn damaged(wanted: &WantedFile, what: String) -> DownloadError {
    DownloadError::Damaged { origin: Box::new(wanted.origin.clone()), key: wanted.place.key.clone(), what }
}

fn stage_error(path: &Path, needed: u64, cause: std::io::Error) -> DownloadError {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    if matches!(cause.kind(), StorageFull | QuotaExceeded) {
        let free = disk::space(path).map_or(0, |space| space.free);
        return DiskFull { path: path.to_owned(), needed, free }.into();
    }
    DownloadError::Stage { path: path.to_owned(), cause }
}
