//! The rules that every entry must keep, written or read: its names can stand in a path, its keys lie
//! in its cluster's backups, its numbers are those of files.

use ringvault_core::selection::is_valid_cql_name;

use super::{
    Component, Entry, Header, IMPORTED_VERSION, ManifestFault, SstableFacts, SstableName, TableRef, VERSION,
};
use crate::layout;

/// Longest file name accepted, in bytes: that of Linux file systems.
pub const MAX_FILE_NAME_LEN: usize = 255;

/// Most files in one line: an SSTable has eight, and seven more for each SAI index.
pub const MAX_COMPONENTS: usize = 4096;

/// Largest size and offset: what a signed 64-bit file offset can hold.
const MAX_OFFSET: u64 = i64::MAX as u64;

/// Whether `name` can be a file's name in a path made here: letters, digits and `+_.-`, not hidden,
/// at most [`MAX_FILE_NAME_LEN`] bytes.
pub fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_FILE_NAME_LEN
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'_' | b'.' | b'-'))
}

/// Checks one entry of the manifest with this header.
pub(super) fn check_entry(entry: &Entry, header: &Header) -> Result<(), ManifestFault> {
    let (name, facts) = match entry {
        Entry::Table(_) => (None, SstableFacts::default()),
        Entry::Sstable(sstable) => (Some(&sstable.name), sstable.facts),
    };
    let components = entry.components();
    check_names(entry.table(), name, components.iter().map(|component| component.name.as_str()))?;
    if let (Some(first), Some(last)) = (facts.first_token, facts.last_token)
        && first > last
    {
        return Err(ManifestFault::Number { what: "token span", file: entry.order().to_string() });
    }
    for (n, component) in components.iter().enumerate() {
        check_component(component, header)?;
        if n > 0 && components[n - 1].name >= component.name {
            return Err(ManifestFault::Order { what: component.name.clone() });
        }
    }
    Ok(())
}

/// Checks every name that paths and keys are built of: a table's, an SSTable's (`None`: the files are
/// the table's own) and its components'.
pub(crate) fn check_names<'a>(
    table: &TableRef,
    sstable: Option<&SstableName>,
    components: impl ExactSizeIterator<Item = &'a str>,
) -> Result<(), ManifestFault> {
    check_name("keyspace", &table.keyspace, is_valid_cql_name)?;
    check_name("table", &table.table, is_valid_cql_name)?;
    if let Some(name) = sstable {
        check_sstable_name(name)?;
    }
    if components.len() > MAX_COMPONENTS {
        return Err(ManifestFault::TooMany { limit: MAX_COMPONENTS });
    }
    for component in components {
        check_name("component", component, is_file_name)?;
        if let Some(name) = sstable {
            check_name("file", &name.file_name(component), is_file_name)?;
        }
    }
    Ok(())
}

fn check_sstable_name(name: &SstableName) -> Result<(), ManifestFault> {
    if let Some(index) = &name.index {
        check_name("index", index, is_valid_cql_name)?;
    }
    let lower = |text: &str, len: std::ops::RangeInclusive<usize>| {
        len.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase())
    };
    check_name("SSTable version", &name.version, |text| lower(text, 2..=4))?;
    check_name("SSTable format", &name.format, |text| lower(text, 1..=16))?;
    check_name("SSTable id", &name.id, |text| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    })
}

fn check_component(component: &Component, header: &Header) -> Result<(), ManifestFault> {
    let key = &component.place.key;
    let refuse = |what| Err(ManifestFault::Number { what, file: component.name.clone() });
    if header.version == IMPORTED_VERSION {
        let is_foreign = layout::medusa_path(key)?.is_some();
        if !is_foreign || component.place.pack.is_some() {
            return Err(layout::InvalidKey {
                key: key.clone(),
                why: "an imported backup has no objects in the vault",
            }
            .into());
        }
    } else {
        let (owner, _) = layout::owner_of(key)?;
        if owner != header.cluster {
            let cluster = header.cluster.to_string();
            return Err(ManifestFault::KeyOfOtherCluster { key: key.clone(), cluster });
        }
    }
    if component.checksum.is_foreign() != (header.version == IMPORTED_VERSION) {
        return refuse("checksum");
    }
    if component.size > MAX_OFFSET {
        return refuse("size");
    }
    // Nothing compresses to nothing, and an empty content is not compressed.
    let is_compressed = component.place.zstd.is_some();
    let stored = component.place.stored(component.size);
    if is_compressed
        && (header.version != VERSION || component.size == 0 || stored == 0 || stored > MAX_OFFSET)
    {
        return refuse("compressed size");
    }
    if let Some(slot) = component.place.pack {
        let end = slot.offset.checked_add(stored);
        if slot.size > MAX_OFFSET || end.is_none_or(|end| end > slot.size) {
            return refuse("place in its pack");
        }
    }
    Ok(())
}

fn check_name(what: &'static str, name: &str, rule: impl Fn(&str) -> bool) -> Result<(), ManifestFault> {
    if rule(name) {
        Ok(())
    } else {
        Err(ManifestFault::Name { what, given: name.chars().take(80).collect() })
    }
}
