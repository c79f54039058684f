//! A node's manifest of Medusa's as the entries of one of the vault's.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::meta::Section;
use crate::{
    checksum::{Checksum, EntityTag, Trust},
    layout,
    manifest::{Component, Entry, Place, SstableEntry, SstableFacts, SstableName, TableEntry, TableRef},
};

/// What Cassandra writes over under the name it has; Medusa then does so in the bucket, where several
/// differential backups name the one object.
const REWRITTEN: [&str; 2] = ["Statistics.db", "Summary.db"];

/// Whose manifest it is.
pub(super) struct Origin<'a> {
    pub(super) store: &'a str,
    pub(super) node: &'a str,
    pub(super) backup: &'a str,
    /// The store's tags are no MD5 of contents.
    pub(super) opaque_tags: bool,
}

/// The entries in the order of a manifest.
///
/// # Errors
/// In words, what cannot be what Medusa wrote, or is of a Cassandra that is too old.
pub(super) fn entries_of(origin: &Origin<'_>, manifest: Vec<Section>) -> Result<Vec<Entry>, String> {
    let mut entries = BTreeMap::new();
    for section in manifest {
        let table = table_of(&section)?;
        let mut sstables: BTreeMap<SstableName, Vec<Component>> = BTreeMap::new();
        let mut files = Vec::new();
        for object in section.objects {
            let (path, is_shared) = path_of(origin, &object.path)?;
            let tail: Vec<&str> = path.rsplit('/').take(2).collect();
            let [file, folder] = tail[..] else { return Err(format!("{} names no file", object.path)) };
            let index = folder.strip_prefix('.').map(str::to_owned);
            if index.is_none() && folder != section.columnfamily {
                return Err(format!("{} does not lie in the folder {}", object.path, section.columnfamily));
            }
            let place = Place { key: layout::medusa(origin.store, path), pack: None, zstd: None };
            let parsed = sstable_of(file, index.clone());
            let name = parsed.as_ref().map_or(file, |(_, component)| component).to_owned();
            let checksum = checksum_of(origin, &name, object.md5.as_deref(), is_shared);
            let component = Component { name, size: object.size, checksum, place, file: None };
            match parsed {
                Some((sstable, _)) => sstables.entry(sstable).or_default().push(component),
                None if index.is_some() || is_of_an_sstable(file) => {
                    return Err(format!("{} is no SSTable of Cassandra 3.0 or newer", object.path));
                }
                None => files.push(component),
            }
        }
        in_order(&mut files)?;
        let entry = Entry::Table(TableEntry { table: table.clone(), files });
        if entries.insert(entry.order(), entry).is_some() {
            return Err(format!("it names the folder {} twice", section.columnfamily));
        }
        for (name, mut components) in sstables {
            in_order(&mut components)?;
            let facts = SstableFacts::default();
            let entry = Entry::Sstable(SstableEntry { table: table.clone(), name, facts, components });
            entries.insert(entry.order(), entry);
        }
    }
    Ok(entries.into_values().collect())
}

/// Ascending by name; the same object named twice counts once.
fn in_order(components: &mut Vec<Component>) -> Result<(), String> {
    components.sort_by(|a, b| a.name.cmp(&b.name));
    components.dedup();
    match components.windows(2).find(|pair| pair[0].name == pair[1].name) {
        Some(pair) => Err(format!("it names {} twice and differently", pair[0].place.key)),
        None => Ok(()),
    }
}

/// `<table>-<32 hex digits>`.
fn table_of(section: &Section) -> Result<TableRef, String> {
    let Section { keyspace, columnfamily, .. } = section;
    let parsed =
        columnfamily.rsplit_once('-').and_then(|(table, id)| Some((table, Uuid::try_parse(id).ok()?)));
    let (table, table_id) = parsed.ok_or_else(|| format!("{columnfamily} is no table's folder"))?;
    Ok(TableRef { keyspace: keyspace.clone(), table: table.to_owned(), table_id, data_dir: 0 })
}

/// The path from the node's folder on, as Medusa itself finds it, and whether several backups share the object.
fn path_of<'a>(origin: &Origin<'_>, path: &'a str) -> Result<(&'a str, bool), String> {
    let refuse = || format!("{path} does not lie in the data folder of node {}", origin.node);
    let begin = if path.starts_with(&format!("{}/", origin.node)) {
        0
    } else {
        path.find(&format!("/{}/", origin.node)).ok_or_else(refuse)? + 1
    };
    let path = &path[begin..];
    let mut parts = path.split('/').skip(1);
    let (first, second) = (parts.next(), parts.next());
    match (first, second) {
        (Some(backup), Some("data")) if backup == origin.backup => Ok((path, false)),
        (Some("data"), _) => Ok((path, true)),
        _ => Err(refuse()),
    }
}

/// `<version>-<id>-<format>-<component>`.
fn sstable_of(file: &str, index: Option<String>) -> Option<(SstableName, String)> {
    let mut parts = file.splitn(4, '-');
    let (version, id, format, component) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_version = version.len() == 2 && version.bytes().all(|b| b.is_ascii_lowercase());
    if !is_version || !matches!(format, "big" | "bti") {
        return None;
    }
    let name = SstableName { index, version: version.into(), id: id.into(), format: format.into() };
    Some((name, component.to_owned()))
}

fn is_of_an_sstable(file: &str) -> bool {
    ["-Data.db", "-Index.db", "-Statistics.db"].iter().any(|end| file.ends_with(end))
}

fn checksum_of(origin: &Origin<'_>, component: &str, md5: Option<&str>, is_shared: bool) -> Checksum {
    if is_shared && REWRITTEN.contains(&component) {
        return Checksum::Trust(Trust::Name);
    }
    match md5.and_then(|text| text.parse::<EntityTag>().ok()) {
        Some(tag) if origin.opaque_tags => Checksum::Etag(tag),
        Some(tag) => Checksum::Md5(tag),
        None => Checksum::Trust(Trust::Size),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::meta::Object, *};

    const FOLDER: &str = "orders-edc289f0e9e811f198dd797a92ce26b4";
    const MD5: &str = "900150983cd24fb0d6963f7d28e17f72";

    fn section(paths: &[&str]) -> Section {
        let object = |path: &&str| Object { path: (*path).to_owned(), size: 3, md5: Some(MD5.to_owned()) };
        Section {
            keyspace: "shop".to_owned(),
            columnfamily: FOLDER.to_owned(),
            objects: paths.iter().map(object).collect(),
        }
    }

    fn entries(paths: &[&str]) -> Result<Vec<Entry>, String> {
        let origin = Origin { store: "old", node: "10.0.0.1", backup: "b1", opaque_tags: false };
        entries_of(&origin, vec![section(paths)])
    }

    #[test]
    fn sstables_and_indexes_are_told_apart_whatever_the_prefix() {
        let shared = format!("some/prefix/10.0.0.1/data/shop/{FOLDER}");
        let found = entries(&[
            &format!("{shared}/nb-1-big-Statistics.db"),
            &format!("{shared}/nb-1-big-Data.db"),
            &format!("{shared}/.by_item/nb-1-big-Data.db"),
        ])
        .unwrap();
        let lines: Vec<_> = found.iter().map(|entry| entry.order().to_string()).collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("shop.orders ("), "{lines:?}");
        assert!(lines[2].contains("of index by_item of shop.orders"), "{lines:?}");
        let [data, statistics] = found[1].components() else { panic!("{found:?}") };
        assert_eq!(data.place.key, format!("medusa/old/10.0.0.1/data/shop/{FOLDER}/nb-1-big-Data.db"));
        assert_eq!(data.checksum, Checksum::Md5(MD5.parse().unwrap()));
        assert_eq!(statistics.checksum, Checksum::Trust(Trust::Name), "it may be rewritten");
        let full = entries(&[&format!("10.0.0.1/b1/data/shop/{FOLDER}/nb-1-big-Statistics.db")]).unwrap();
        assert_eq!(full[1].components()[0].checksum, Checksum::Md5(MD5.parse().unwrap()));
    }

    #[test]
    fn a_manifest_that_lies_is_refused() {
        for path in [
            "10.0.0.2/data/shop/t/nb-1-big-Data.db".to_owned(),
            format!("10.0.0.1/b2/data/shop/{FOLDER}/nb-1-big-Data.db"),
            format!("10.0.0.1/data/shop/{FOLDER}/shop-orders-ka-1-Data.db"),
            "10.0.0.1/data/shop/other-edc289f0e9e811f198dd797a92ce26b4/nb-1-big-Data.db".to_owned(),
        ] {
            assert!(entries(&[&path]).is_err(), "{path}");
        }
        let mut odd = section(&[]);
        odd.columnfamily = "orders".to_owned();
        let origin = Origin { store: "old", node: "n", backup: "b", opaque_tags: false };
        assert!(entries_of(&origin, vec![odd]).unwrap_err().contains("no table's folder"));
        assert_eq!(entries_of(&origin, vec![section(&[])]).unwrap().len(), 1, "an empty table is known too");
    }
}
