//! Reads files and leaves the page cache as it was.
//!
//! Cassandra answers from pages that lie in the cache, and an SSTable that is backed up may be a hundred times as large as
//! all of it. So a page that was there before stays, and one that only this reading brought in is let go. Nothing is read
//! ahead, or what is there because of that would look as if it had been there before.

use std::{
    fs::File,
    io::{self, IoSliceMut, Read},
    os::unix::fs::FileExt as _,
};

use rustix::{
    fs::{Advice, fadvise},
    io::{Errno, ReadWriteFlags, preadv2},
};

/// Bytes that are read, and let go, at once.
const STEP: usize = 256 << 10;

/// A file from its begin to its end.
#[derive(Debug)]
pub(super) struct Reader {
    file: File,
    at: u64,
    /// Whether the file system says what lies in the cache. Where it does not, nothing is let go.
    is_told: bool,
}

impl Reader {
    /// From byte `at` on.
    pub(super) fn new(file: File, at: u64) -> Self {
        // Only advice: where it is not taken, the cache keeps more than it should.
        fadvise(&file, 0, None, Advice::Random).ok();
        Self { file, at, is_told: true }
    }

    /// The file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// What of the next bytes lies in the cache; `None` if the first of them does not, or nobody can say. To ask is to have
    /// them fetched: what a fast disk brings within that moment is taken for cached and stays, which is seldom.
    fn read_cached(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        if !self.is_told {
            return Ok(None);
        }
        match preadv2(&self.file, &mut [IoSliceMut::new(into)], self.at, ReadWriteFlags::NOWAIT) {
            Ok(read) => Ok(Some(read)),
            Err(Errno::AGAIN) => Ok(None),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                self.is_told = false;
                fadvise(&self.file, 0, None, Advice::Normal).ok();
                fadvise(&self.file, 0, None, Advice::NoReuse).ok();
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let step = into.len().min(STEP);
        let into = &mut into[..step];
        let read = match self.read_cached(into)? {
            Some(read) => read,
            None => {
                let read = self.file.read_at(into, self.at)?;
                if self.is_told && read > 0 {
                    let len = std::num::NonZeroU64::new(read as u64);
                    fadvise(&self.file, self.at, len, Advice::DontNeed).ok();
                }
                read
            }
        };
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        path::{Path, PathBuf},
    };

    use super::*;

    const LEN: usize = 8 * STEP + 100;

    /// Beside this program: where temporary files lie may be memory, which has no cache.
    fn written() -> (tempfile::TempDir, PathBuf, Vec<u8>) {
        let program = std::env::current_exe().unwrap();
        let folder = tempfile::tempdir_in(program.parent().unwrap()).unwrap();
        let path = folder.path().join("nb-1-big-Data.db");
        let content: Vec<u8> = (0..=250).cycle().take(LEN).collect();
        let mut file = File::create(&path).unwrap();
        file.write_all(&content).unwrap();
        file.sync_all().unwrap();
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        (folder, path, content)
    }

    /// Of each step of the file, whether its first page lies in the cache.
    fn cached(path: &Path) -> Option<Vec<bool>> {
        let file = File::open(path).unwrap();
        fadvise(&file, 0, None, Advice::Random).unwrap();
        let steps = (0..LEN as u64).step_by(STEP);
        steps
            .map(|at| {
                let mut byte = [0];
                match preadv2(&file, &mut [IoSliceMut::new(&mut byte)], at, ReadWriteFlags::NOWAIT) {
                    Ok(read) => Some(read == 1),
                    Err(Errno::AGAIN) => Some(false),
                    Err(_) => None,
                }
            })
            .collect()
    }

    #[test]
    fn what_lay_in_the_cache_stays_and_nothing_else() {
        let (_folder, path, content) = written();
        let hot = File::open(&path).unwrap();
        fadvise(&hot, 0, None, Advice::Random).unwrap();
        let mut page = [0; 4096];
        hot.read_exact_at(&mut page, 2 * STEP as u64).unwrap();
        let mut read = Vec::new();
        Reader::new(File::open(&path).unwrap(), 0).read_to_end(&mut read).unwrap();
        assert!(read == content, "what was read is the file");
        // A file system that does not say what is cached lets nothing go, and has nothing to show.
        let Some(cached) = cached(&path) else { return };
        let kept: Vec<usize> = (0..cached.len()).filter(|step| cached[*step]).collect();
        assert!(kept.contains(&2), "{kept:?}: what was there is there");
        assert!(
            kept.len() <= 4,
            "{kept:?}: what was not there is not, but for what the disk brought at once"
        );
    }
}
