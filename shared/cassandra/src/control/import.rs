//! What an import was asked to do and how it ended.
//!
//! `nodetool import` exits 0 for directories it found nothing in (a wrong format, an empty folder)
//! just as for those it loaded, so the exit code is half of the truth. The other half lies on the
//! disk: a loaded `SSTable`'s files have been *moved* out of the directory.

use std::path::{Component, Path, PathBuf};

use crate::sstable::{self, Descriptor};

/// How `SSTables` are taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportOptions {
    /// Refuse `SSTables` with keys that the node does not own.
    pub verify_tokens: bool,
    /// Link the files in and leave the originals, which must then never be edited.
    pub copy: bool,
    /// Read every row and check it; finds a damaged index, which the plain check does not.
    pub extended_verify: bool,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self { verify_tokens: true, copy: false, extended_verify: false }
    }
}

/// How an import ended, by directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportOutcome {
    /// Directories that Cassandra says it could not import.
    pub failed: Vec<PathBuf>,
    /// Directories that still hold `SSTables` though Cassandra did not complain: it skipped them.
    /// Always empty for a copying import, which leaves its files.
    pub skipped: Vec<PathBuf>,
    /// Cassandra's own words, if it had any.
    pub message: String,
}

impl ImportOutcome {
    /// Whether every directory was taken over.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.skipped.is_empty()
    }
}

/// Whether Cassandra sees what lies in this directory. 5.0 takes a keyspace and a table from the
/// last two parts of the path before it looks at the files, and where these do not look like names
/// (`\w+`, the last one perhaps with a table id behind it) it skips the whole directory without a
/// word: a staging folder with a dot or a dash in its name loads nothing. Tried on 5.0.4; source:
/// `Descriptor.SSTABLE_DIR_PATTERN`. 4.1 is not so strict.
pub fn is_importable_dir(dir: &Path) -> bool {
    let mut parts = dir.components().rev().map(|part| match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    let is_word =
        |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let is_table = |text: &str| match text.split_once('-') {
        Some((table, id)) => {
            let is_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
            is_word(table) && id.len() == 32 && id.bytes().all(is_hex)
        }
        None => is_word(text),
    };
    let (table, keyspace) = (parts.next().flatten(), parts.next().flatten());
    dir.is_absolute() && table.is_some_and(is_table) && keyspace.is_some_and(is_word)
}

/// That Cassandra does not see what lies there, and why.
pub(crate) fn skipped_dir(dir: &Path) -> String {
    format!(
        "Cassandra would skip {}: the path must be absolute and its last two parts made of letters, digits and '_'",
        dir.display()
    )
}

/// The directories among `dirs` that still hold a data file. A directory that cannot be read is
/// counted as one that does: nothing is called imported without evidence.
pub(crate) fn dirs_with_sstables(dirs: &[PathBuf]) -> Vec<PathBuf> {
    dirs.iter().filter(|dir| holds_sstables(dir).unwrap_or(true)).cloned().collect()
}

fn holds_sstables(dir: &Path) -> std::io::Result<bool> {
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let parsed = name.to_str().and_then(Descriptor::parse_file_name);
        if matches!(parsed, Some((_, sstable::Component::Data))) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_cassandra_would_skip_are_known() {
        let id = "0123456789abcdef0123456789abcdef";
        for good in ["/x.y/ks/table", "/-/stage/00001", &format!("/s/ks/t-{id}")] {
            assert!(is_importable_dir(Path::new(good)), "{good}");
        }
        for bad in ["ks/t", "/t", "/.tmp/t", "/ks/a.b", "/k-s/t", "/ks/t-1", "/ks/\u{e9}", "/ks/.."] {
            assert!(!is_importable_dir(Path::new(bad)), "{bad}");
        }
    }

    #[test]
    fn what_still_lies_there_was_not_imported() {
        let root = tempfile::tempdir().unwrap();
        let dir = |name: &str, files: &[&str]| {
            let dir = root.path().join(name);
            std::fs::create_dir(&dir).unwrap();
            for file in files {
                std::fs::write(dir.join(file), b"x").unwrap();
            }
            dir
        };
        let loaded = dir("loaded", &["manifest.json", "nb-1-big-SAI+aa+x+TermsData.db"]);
        let left = dir("left", &["nb-1-big-Data.db"]);
        let missing = root.path().join("missing");
        assert_eq!(dirs_with_sstables(&[loaded, left.clone(), missing.clone()]), vec![left, missing]);
    }
}
