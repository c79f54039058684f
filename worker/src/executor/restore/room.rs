//! How much room a node's share needs, on which file system.
//!
//! Files are staged whole. Where a data directory lies on the stage's file system, importing is a
//! rename and takes no more room; on another it is a copy, and so is what is streamed wherever it lies. Cassandra spreads SSTables over its data
//! directories, so each of them is counted with an equal part.

use std::{collections::BTreeMap, os::unix::fs::MetadataExt as _, path::Path};

/// A folder and the number of its file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub(super) dir: &'a Path,
    pub(super) device: u64,
}

impl<'a> Place<'a> {
    pub(super) fn of(dir: &'a Path) -> std::io::Result<Self> {
        Ok(Self { dir, device: std::fs::metadata(dir)?.dev() })
    }
}

/// What comes to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    /// Bytes that are staged and then renamed or copied.
    Imported(u64),
    /// Bytes that are staged, and bytes that are streamed to it.
    Streamed(u64, u64),
}

/// Bytes needed, with one folder for each file system concerned. `reserve` stays free on each.
pub(super) fn room_needed<'a>(
    stage: &Place<'a>,
    data_dirs: &[Place<'a>],
    load: Load,
    reserve: u64,
) -> Vec<(&'a Path, u64)> {
    let (staged, copied, is_renamed) = match load {
        Load::Imported(bytes) => (bytes, bytes, true),
        Load::Streamed(staged, received) => (staged, received, false),
    };
    let mut needed = BTreeMap::from([(stage.device, (stage.dir, staged.saturating_add(reserve)))]);
    let part = copied.div_ceil(data_dirs.len().max(1) as u64);
    for place in data_dirs.iter().filter(|place| !is_renamed || place.device != stage.device) {
        let (_, bytes) = needed.entry(place.device).or_insert((place.dir, reserve));
        *bytes = bytes.saturating_add(part);
    }
    needed.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_system_is_counted_for_what_comes_to_it() {
        let place = |dir, device| Place { dir: Path::new(dir), device };
        let stage = place("/stage", 1);
        let needed = |dirs: &[Place<'static>]| room_needed(&stage, dirs, Load::Imported(1000), 10);
        assert_eq!(needed(&[place("/a", 1)]), [(Path::new("/stage"), 1010)]);
        assert_eq!(
            needed(&[place("/a", 1), place("/b", 2), place("/c", 3), place("/d", 3)]),
            [(Path::new("/stage"), 1010), (Path::new("/b"), 260), (Path::new("/c"), 510)]
        );
        let all = Load::Imported(u64::MAX);
        assert_eq!(room_needed(&stage, &[], all, 10), [(Path::new("/stage"), u64::MAX)]);
        let streamed = room_needed(&stage, &[place("/a", 1), place("/b", 2)], Load::Streamed(1000, 600), 10);
        assert_eq!(streamed, [(Path::new("/stage"), 1310), (Path::new("/b"), 310)]);
    }
}
