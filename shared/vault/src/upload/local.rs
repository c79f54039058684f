//! Files of the snapshot: told apart by identity, read once from begin to end, hashed on the way.
//!
//! A file must be the same before, while and after it is read. It is opened without following links,
//! compared with what was measured, read for exactly its size, and compared again at its end. Where
//! Cassandra has written down a checksum of it (`Digest.crc32`, of the whole `Data.db`), what was read must
//! have that: damage on the node's disk ends the upload before an object is made of it.

use std::{
    collections::HashMap,
    fs::{File, Metadata, OpenOptions},
    io::Read as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

use super::{UploadError, reader::Reader};
use crate::{
    hash::{ContentHasher, Digest, HashKey},
    journal::JournalKey,
    manifest::FileIdentity,
    piece::Piece,
};

/// A file as it was when the snapshot was walked.
#[derive(Debug, Clone)]
pub(super) struct LocalFile {
    /// The component's name.
    pub(super) component: String,
    /// Where it lies.
    pub(super) path: PathBuf,
    /// Bytes.
    pub(super) size: u64,
    /// Which file it is.
    pub(super) identity: FileIdentity,
    /// The file that holds its CRC-32 as decimal digits.
    pub(super) crc_file: Option<PathBuf>,
    /// Whether it may shrink: it is nothing that was compressed already.
    pub(super) may_shrink: bool,
}

impl LocalFile {
    /// Looks at a file without opening it.
    pub(super) fn measure(
        component: &str,
        path: &Path,
        systems: &mut FileSystems,
    ) -> Result<Self, UploadError> {
        let metadata = path.symlink_metadata().map_err(|cause| read_error(path, cause))?;
        if !metadata.is_file() {
            return Err(UploadError::NotAFile { path: path.to_owned() });
        }
        let identity = FileIdentity {
            fs: systems.id_of(metadata.dev(), path),
            inode: metadata.ino(),
            mtime_ns: mtime_ns(&metadata),
        };
        Ok(Self {
            component: component.to_owned(),
            path: path.to_owned(),
            size: metadata.len(),
            identity,
            crc_file: None,
            may_shrink: false,
        })
    }

    /// How the journal knows it.
    pub(super) fn journal_key(&self) -> JournalKey {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        JournalKey { file: self.identity, size: self.size, name }
    }

    fn check_unchanged(&self, file: &File) -> Result<(), UploadError> {
        let now = file.metadata().map_err(|cause| read_error(&self.path, cause))?;
        let changed = |what: String| Err(UploadError::Changed { path: self.path.clone(), what });
        if now.ino() != self.identity.inode {
            return changed("another file took its place".into());
        }
        if now.len() != self.size {
            return changed(format!("it had {} bytes and has {}", self.size, now.len()));
        }
        if mtime_ns(&now) != self.identity.mtime_ns {
            return changed("it was written to".into());
        }
        Ok(())
    }
}

fn mtime_ns(metadata: &Metadata) -> i64 {
    metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec())
}

fn read_error(path: &Path, cause: std::io::Error) -> UploadError {
    if cause.kind() == std::io::ErrorKind::NotFound {
        UploadError::Vanished { path: path.to_owned() }
    } else {
        UploadError::Read { path: path.to_owned(), cause }
    }
}

/// The ids of the file systems met so far. A file system's own id outlasts a restart of the machine,
/// where device numbers may be dealt anew; where it has none, the device number must do.
#[derive(Debug, Default)]
pub(super) struct FileSystems(HashMap<u64, u64>);

impl FileSystems {
    fn id_of(&mut self, device: u64, path: &Path) -> u64 {
        *self.0.entry(device).or_insert_with(|| match rustix::fs::statvfs(path) {
            Ok(stat) if stat.f_fsid != 0 => stat.f_fsid,
            _ => device,
        })
    }
}

/// A file being read.
pub(super) struct OpenFile {
    about: Arc<LocalFile>,
    reader: Reader,
    /// What was read of its begin before, and is not read again.
    begin: Bytes,
    hasher: ContentHasher,
    crc: crc32fast::Hasher,
}

impl OpenFile {
    /// Opens the file that was measured, to be hashed under `key`. Blocks on the disk, as all reading here
    /// does.
    pub(super) fn open(about: Arc<LocalFile>, key: &HashKey) -> Result<Self, UploadError> {
        Self::open_behind(about, Bytes::new(), key)
    }

    /// Opens the file of which these bytes were read already: they are the first to come.
    pub(super) fn open_behind(
        about: Arc<LocalFile>,
        begin: Bytes,
        key: &HashKey,
    ) -> Result<Self, UploadError> {
        let no_follow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(no_follow)
            .open(&about.path)
            .map_err(|cause| read_error(&about.path, cause))?;
        about.check_unchanged(&file)?;
        let reader = Reader::new(file, begin.len() as u64);
        Ok(Self { about, reader, begin, hasher: key.hasher(), crc: crc32fast::Hasher::new() })
    }

    /// The next `max` bytes, fewer at the end, none after it.
    pub(super) fn next(&mut self, max: u64) -> Result<Bytes, UploadError> {
        let wanted = max.min(self.about.size - self.hasher.len());
        let piece = Piece::with_room(usize::try_from(wanted).unwrap_or(usize::MAX))
            .and_then(|mut piece| {
                let known = self.begin.len().min(usize::try_from(wanted).unwrap_or(usize::MAX));
                piece.push(&self.begin.split_to(known))?;
                piece.fill(&mut self.reader)?;
                Ok(piece)
            })
            .map_err(|cause| read_error(&self.about.path, cause))?;
        let piece = piece.share();
        self.hasher.update(&piece);
        if self.about.crc_file.is_some() {
            self.crc.update(&piece);
        }
        if (piece.len() as u64) < wanted || self.hasher.len() == self.about.size {
            self.about.check_unchanged(self.reader.file())?;
        }
        if (piece.len() as u64) < wanted {
            let what = format!("it ended after {} of {} bytes", self.hasher.len(), self.about.size);
            return Err(UploadError::Changed { path: self.about.path.clone(), what });
        }
        if self.hasher.len() == self.about.size {
            self.check_crc()?;
        }
        Ok(piece)
    }

    /// Holds what was read against the checksum beside it. One that cannot be understood says nothing.
    fn check_crc(&self) -> Result<(), UploadError> {
        let Some(crc_file) = &self.about.crc_file else { return Ok(()) };
        let mut text = String::new();
        let read = File::open(crc_file).and_then(|file| file.take(64).read_to_string(&mut text));
        let Some(expected) = read.ok().and_then(|_| text.trim().parse::<u32>().ok()) else { return Ok(()) };
        let found = self.crc.clone().finalize();
        if found == expected {
            return Ok(());
        }
        Err(UploadError::Damaged { path: self.about.path.clone(), found, expected })
    }

    /// The digest of what was read; of the whole file once all of it was.
    pub(super) fn digest(&self) -> Digest {
        self.hasher.digest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8]) -> (tempfile::TempDir, Arc<LocalFile>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nb-1-big-Data.db");
        std::fs::write(&path, content).unwrap();
        let file = LocalFile::measure("Data.db", &path, &mut FileSystems::default()).unwrap();
        (folder, Arc::new(file))
    }

    #[test]
    fn pieces_are_the_file_and_so_is_the_digest() {
        let (_folder, about) = file(b"abcdefgh");
        let mut open = OpenFile::open(about, &HashKey::default()).unwrap();
        assert_eq!(&open.next(5).unwrap()[..], b"abcde");
        assert_eq!(&open.next(5).unwrap()[..], b"fgh");
        assert!(open.next(5).unwrap().is_empty());
        assert_eq!(open.digest(), Digest::of(b"abcdefgh"));
    }

    #[test]
    fn a_file_that_shrinks_grows_or_is_replaced_is_refused() {
        let (_folder, about) = file(b"abcdefgh");
        let mut open = OpenFile::open(Arc::clone(&about), &HashKey::default()).unwrap();
        open.next(2).unwrap();
        OpenOptions::new().write(true).open(&about.path).unwrap().set_len(4).unwrap();
        assert!(matches!(open.next(6), Err(UploadError::Changed { .. })));

        let (_folder, about) = file(b"abcdefgh");
        let mut open = OpenFile::open(Arc::clone(&about), &HashKey::default()).unwrap();
        OpenOptions::new().write(true).open(&about.path).unwrap().set_len(9).unwrap();
        assert!(matches!(open.next(8), Err(UploadError::Changed { .. })));

        let (folder, about) = file(b"abcdefgh");
        let other = folder.path().join("other");
        std::fs::write(&other, b"12345678").unwrap();
        std::fs::rename(&other, &about.path).unwrap();
        assert!(matches!(
            OpenFile::open(Arc::clone(&about), &HashKey::default()),
            Err(UploadError::Changed { .. })
        ));
        std::fs::remove_file(&about.path).unwrap();
        assert!(matches!(OpenFile::open(about, &HashKey::default()), Err(UploadError::Vanished { .. })));
    }

    #[test]
    fn damage_on_the_nodes_disk_is_found_while_reading() {
        let (folder, about) = file(b"abcdefgh");
        let crc_file = folder.path().join("nb-1-big-Digest.crc32");
        let about = Arc::new(LocalFile { crc_file: Some(crc_file.clone()), ..(*about).clone() });
        let read = || {
            let mut open = OpenFile::open(Arc::clone(&about), &HashKey::default())?;
            open.next(5)?;
            open.next(5)
        };
        for sound in [format!("{}\n", crc32fast::hash(b"abcdefgh")), "no number".to_owned()] {
            std::fs::write(&crc_file, sound).unwrap();
            assert_eq!(&read().unwrap()[..], b"fgh");
        }
        std::fs::write(&crc_file, crc32fast::hash(b"abcdefgX").to_string()).unwrap();
        let error = read().unwrap_err();
        assert_eq!(error.to_task_error().code, "RV-SSTABLE-DAMAGED", "{error}");
    }

    #[test]
    fn links_and_folders_are_no_files() {
        let (folder, about) = file(b"x");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&about.path, &link).unwrap();
        let mut systems = FileSystems::default();
        for path in [link.as_path(), folder.path()] {
            let error = LocalFile::measure("Data.db", path, &mut systems).unwrap_err();
            assert!(matches!(error, UploadError::NotAFile { .. }), "{error}");
        }
    }

    #[test]
    fn a_hard_link_is_the_same_file() {
        let (folder, about) = file(b"x");
        let link = folder.path().join("snapshot");
        std::fs::hard_link(&about.path, &link).unwrap();
        let linked = LocalFile::measure("Data.db", &link, &mut FileSystems::default()).unwrap();
        assert_eq!((linked.identity, linked.size), (about.identity, about.size));
    }
}
