//! The folder that files are staged in, and paths that cannot leave it.

use std::path::{Path, PathBuf};

/// Longest name of a file or folder, in bytes: that of Linux file systems.
const MAX_SEGMENT_LEN: usize = 255;

/// A folder to stage files in. Need not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagingFolder(PathBuf);

/// A path in a staging folder. Made only of names that were checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StagedPath(PathBuf);

/// A name that could lead out of the staging folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{segment:?} cannot be a file's or a folder's name below {}", root.display())]
pub struct UnsafePath {
    /// The staging folder.
    pub root: PathBuf,
    /// The name, cut to a readable length.
    pub segment: String,
}

impl StagingFolder {
    /// The folder at `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// The path `segments` below the folder. Each is one name: not empty, `.` or `..`, without `/` and
    /// NUL, at most 255 bytes; and there is at least one.
    pub fn path<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Result<StagedPath, UnsafePath> {
        let refuse =
            |segment: &str| UnsafePath { root: self.0.clone(), segment: segment.chars().take(80).collect() };
        let mut path = self.0.clone();
        let mut count = 0;
        for segment in segments {
            let is_name = !matches!(segment, "" | "." | "..")
                && segment.len() <= MAX_SEGMENT_LEN
                && !segment.contains(['/', '\0']);
            if !is_name {
                return Err(refuse(segment));
            }
            path.push(segment);
            count += 1;
        }
        if count == 0 { Err(refuse("")) } else { Ok(StagedPath(path)) }
    }
}

impl StagedPath {
    /// As a path of the file system.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for StagedPath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let folder = StagingFolder::new("/staging/job");
        let long = "x".repeat(256);
        for bad in ["", ".", "..", "a/b", "/etc", "../x", "a\0b", &long] {
            assert!(folder.path([bad]).is_err() && folder.path(["ok", bad, "ok"]).is_err(), "{bad:?}");
        }
        assert!(folder.path([]).is_err());
        let path = folder.path(["ks", "t-1", ".index", "nb-1-big-Data.db"]).unwrap();
        assert_eq!(path.as_path(), Path::new("/staging/job/ks/t-1/.index/nb-1-big-Data.db"));
    }
}
