//! Real inputs to begin with: the frozen fixtures, and texts as people and programs write them.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The contents of the files below a folder of the repository that `wanted` says yes to.
pub(crate) fn files(folder: &str, wanted: impl Fn(&str) -> bool) -> Vec<Vec<u8>> {
    let found = named_files(folder, wanted).into_iter().map(|(_, content)| content).collect();
    at_least_one(found, folder)
}

/// As [`files`], with their names.
pub(crate) fn named_files(folder: &str, wanted: impl Fn(&str) -> bool) -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    paths.sort_unstable();
    let named = paths.iter().filter_map(|path| {
        let name = path.file_name()?.to_str()?.to_owned();
        let content = wanted(&path.to_string_lossy()).then(|| fs::read(path).expect("a fixture"))?;
        // What is sealed is opened before it is parsed.
        (!content.starts_with(b"RVLTENC1")).then_some((name, content))
    });
    named.collect()
}

/// Files that lie compressed, plain.
pub(crate) fn plain(packed: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    packed.iter().map(|packed| zstd::decode_all(&packed[..]).expect("a fixture is whole")).collect()
}

/// Texts that stand in the source.
pub(crate) fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn at_least_one(found: Vec<Vec<u8>>, folder: &str) -> Vec<Vec<u8>> {
    assert!(!found.is_empty(), "nothing to begin with in {folder}");
    found
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of fixtures").flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&entry.path(), paths),
            _ => paths.push(entry.path()),
        }
    }
}
