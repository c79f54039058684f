//! What the objects of a node are called, below the backup's `data/` folder.
//!
//! `<host id>.<epoch>/sstables/<keyspace>/<table>-<table id>/<data directory>/<file>`, legacy indexes in
//! `index.<name>/` below that, a table's own files in `table/`; `<host id>.<epoch>/packs/<digest>.pack`.
//! The epoch keeps a late worker from writing over what its successor brought. Names of packs come from
//! their content, so packing again after a restart writes over nothing else. No key is a folder of
//! another: names of SSTable files hold a `-`, which no folder beside them does.
//!
//! In an encrypted vault a name would tell keyspaces and tables: there it is `<host id>.<epoch>/objects/<digest>`,
//! the keyed digest of the name that it would have.

use crate::{
    hash::{Digest, HashKey},
    layout,
    manifest::Header,
};

use super::SourceItem;

/// Longest name of an object below `data/`; beyond it a digest of the name stands for it.
const MAX_NAME_LEN: usize = 600;

/// The key of a file that is an object of its own.
pub(super) fn file_key(header: &Header, item: &SourceItem, component: &str, hash_key: &HashKey) -> String {
    let table = item.table();
    let folder = match item {
        SourceItem::Table(_) => "table/".to_owned(),
        SourceItem::Sstable(sstable) => {
            sstable.name.index.as_ref().map(|index| format!("index.{index}/")).unwrap_or_default()
        }
    };
    let path = format!(
        "sstables/{}/{}-{}/{}/{folder}{}",
        table.keyspace,
        table.table,
        table.table_id.simple(),
        table.data_dir,
        item.file_name(component)
    );
    if hash_key.is_keyed() {
        return key(header, &format!("objects/{}", hash_key.hide(&path)));
    }
    let path = if path.len() > MAX_NAME_LEN { format!("long/{}", Digest::of(path.as_bytes())) } else { path };
    key(header, &path)
}

/// The key of a pack with this content.
pub(super) fn pack_key(header: &Header, content: Digest) -> String {
    key(header, &format!("packs/{content}.pack"))
}

fn key(header: &Header, path: &str) -> String {
    layout::data(&header.cluster, &header.backup, &format!("{}.{}/{path}", header.host_id, header.epoch))
}

#[cfg(test)]
mod tests {
    use ringvault_core::{BackupName, ClusterName, HostId, JobId, cluster::Topology};
    use uuid::Uuid;

    use super::*;
    use crate::{
        manifest::{SstableName, TableRef, VERSION},
        upload::{SourceSstable, SourceTable},
    };

    fn header() -> Header {
        Header {
            version: VERSION,
            cluster: ClusterName::new("c".repeat(128)).unwrap(),
            backup: BackupName::new("b".repeat(128)).unwrap(),
            job: JobId(Uuid::nil()),
            epoch: u64::MAX,
            host_id: HostId(Uuid::nil()),
            address: String::new(),
            dc: String::new(),
            rack: String::new(),
            tokens: Vec::new(),
            cassandra_version: String::new(),
            partitioner: String::new(),
            schema_version: String::new(),
            schema_hash: String::new(),
            objects_hash: None,
            snapshot_at: chrono::DateTime::UNIX_EPOCH,
            topology: Topology::default(),
            bases: std::collections::BTreeSet::new(),
            locked_for: None,
        }
    }

    fn sstable(keyspace: &str, index: Option<&str>) -> SourceItem {
        let table =
            TableRef { keyspace: keyspace.into(), table: "t".into(), table_id: Uuid::nil(), data_dir: 0 };
        let index = index.map(str::to_owned);
        let name = SstableName { index, version: "nb".into(), id: "1".into(), format: "big".into() };
        SourceItem::Sstable(SourceSstable { table, name, components: Vec::new() })
    }

    #[test]
    fn files_of_one_name_have_keys_of_their_own_and_no_key_is_a_folder() {
        let header = header();
        let own_file = SourceTable { table: sstable("ks", None).table().clone(), files: Vec::new() };
        let mut keys = vec![
            file_key(&header, &sstable("ks", None), "Data.db", &HashKey::default()),
            file_key(&header, &sstable("ks", Some("i")), "Data.db", &HashKey::default()),
            file_key(&header, &sstable("packs", None), "Data.db", &HashKey::default()),
            file_key(&header, &SourceItem::Table(own_file), "schema.cql", &HashKey::default()),
            pack_key(&header, Digest::of(b"")),
        ];
        assert!(keys[1].ends_with("/0/index.i/nb-1-big-Data.db"), "{}", keys[1]);
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 5);
        for key in &keys {
            layout::owner_of(key).unwrap();
            assert!(!keys.iter().any(|other| other.starts_with(&format!("{key}/"))), "{key} is a folder");
        }
    }

    #[test]
    fn the_longest_names_still_make_a_key() {
        let item = sstable(&"k".repeat(222), Some(&"i".repeat(222)));
        let (one, other) = ("x".repeat(230), format!("{}y", "x".repeat(229)));
        let keys = [&one, &other].map(|component| file_key(&header(), &item, component, &HashKey::default()));
        for key in &keys {
            layout::check_key(key).unwrap();
        }
        assert_ne!(keys[0], keys[1]);
    }

    #[test]
    fn in_an_encrypted_vault_a_key_says_no_name() {
        let hash_key = HashKey::of(&[1; 32]);
        let keys = ["a", "b"]
            .map(|index| file_key(&header(), &sstable("secret", Some(index)), "Data.db", &hash_key));
        assert_ne!(keys[0], keys[1]);
        for key in &keys {
            layout::owner_of(key).unwrap();
            assert!(!key.contains("secret") && !key.contains("Data.db"), "{key}");
        }
    }
}
