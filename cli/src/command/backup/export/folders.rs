//! Where a node's files go: `<host id>/<keyspace>/<table>/`, as Cassandra's loaders read it.

use std::collections::BTreeMap;

use ringvault_core::HostId;
use ringvault_vault::{
    download::{DownloadError, StagedPath, StagingFolder},
    manifest::TableRef,
};

/// The folder of each table. A second table of the same name (dropped and made again between two
/// looks) gets its id behind its name.
pub(super) struct Folders {
    root: StagingFolder,
    host: String,
    first: BTreeMap<(String, String), uuid::Uuid>,
}

impl Folders {
    /// Below `root`, for the node `host`.
    pub(super) fn new(root: StagingFolder, host: HostId) -> Self {
        Self { root, host: host.to_string(), first: BTreeMap::new() }
    }

    /// Where a file of `table` goes.
    pub(super) fn path(&mut self, table: &TableRef, file: &str) -> Result<StagedPath, DownloadError> {
        let name = (table.keyspace.clone(), table.table.clone());
        let first = *self.first.entry(name).or_insert(table.table_id);
        let folder = if first == table.table_id {
            table.table.clone()
        } else {
            format!("{}-{}", table.table, table.table_id.simple())
        };
        let segments = [self.host.as_str(), &table.keyspace, &folder, file];
        Ok(self.root.path(segments)?)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn table(id: u128) -> TableRef {
        TableRef {
            keyspace: "ks".to_owned(),
            table: "t".to_owned(),
            table_id: uuid::Uuid::from_u128(id),
            data_dir: 0,
        }
    }

    #[test]
    fn a_table_of_the_same_name_gets_a_folder_of_its_own() {
        let host = HostId(uuid::Uuid::nil());
        let mut folders = Folders::new(StagingFolder::new("/x"), host);
        let mut at = |id, file| folders.path(&table(id), file).map(|path| path.as_path().to_owned());
        let first = at(1, "nb-1-big-Data.db").unwrap();
        assert_eq!(first, Path::new(&format!("/x/{host}/ks/t/nb-1-big-Data.db")));
        let second = at(2, "nb-1-big-Data.db").unwrap();
        assert!(second.to_string_lossy().contains("/ks/t-0000"), "{second:?}");
        assert!(at(1, "../x").is_err());
    }
}
