//! Which files in a folder belong to which `SSTable`.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use super::{Component, Descriptor};

/// One file of an `SSTable`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentFile {
    /// Component.
    pub component: Component,
    /// File name.
    pub name: String,
    /// Path.
    pub path: PathBuf,
    /// Size in bytes.
    pub size: u64,
}

/// An `SSTable`'s files, ordered by component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SstableFiles {
    /// What their names begin with.
    pub descriptor: Descriptor,
    /// Files.
    pub files: Vec<ComponentFile>,
}

impl SstableFiles {
    /// The file of a component.
    pub fn file(&self, component: &Component) -> Option<&ComponentFile> {
        self.files.iter().find(|file| file.component == *component)
    }

    /// Sum of the files' sizes, in bytes.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

/// What lies in a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DirectoryListing {
    /// `SSTables`, ordered by id.
    pub sstables: Vec<SstableFiles>,
    /// Regular files that are no component of an `SSTable`, by name.
    pub others: Vec<String>,
    /// Folders, by name.
    pub folders: Vec<String>,
}

/// Reads a folder, without its sub-folders. Symbolic links and special files are left out, as are
/// names that are not UTF-8: Cassandra writes neither.
pub fn list_directory(dir: &Path) -> io::Result<DirectoryListing> {
    let mut sstables: BTreeMap<Descriptor, Vec<ComponentFile>> = BTreeMap::new();
    let mut listing = DirectoryListing::default();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let kind = entry.file_type()?;
        if kind.is_dir() {
            listing.folders.push(name);
        } else if kind.is_file() {
            match Descriptor::parse_file_name(&name) {
                Some((descriptor, component)) => {
                    let (path, size) = (entry.path(), entry.metadata()?.len());
                    let file = ComponentFile { component, name, path, size };
                    sstables.entry(descriptor).or_default().push(file);
                }
                None => listing.others.push(name),
            }
        }
    }
    listing.others.sort_unstable();
    listing.folders.sort_unstable();
    listing.sstables = sstables
        .into_iter()
        .map(|(descriptor, mut files)| {
            files.sort_unstable_by(|a, b| a.component.cmp(&b.component));
            SstableFiles { descriptor, files }
        })
        .collect();
    Ok(listing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_put_together_by_descriptor() {
        let root = tempfile::tempdir().unwrap();
        for name in ["nb-2-big-Data.db", "nb-10-big-Index.db", "nb-10-big-Data.db", "manifest.json"] {
            std::fs::write(root.path().join(name), b"123").unwrap();
        }
        std::fs::create_dir(root.path().join(".idx")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.path().join("nb-3-big-Data.db")).unwrap();
        let listing = list_directory(root.path()).unwrap();
        let names: Vec<_> = listing.sstables.iter().map(|s| s.descriptor.to_string()).collect();
        assert_eq!(names, vec!["nb-2-big", "nb-10-big"]);
        assert_eq!(listing.sstables[1].size(), 6);
        assert!(listing.sstables[1].file(&Component::Data).is_some());
        assert_eq!(listing.others, vec!["manifest.json"]);
        assert_eq!(listing.folders, vec![".idx"]);
    }
}
