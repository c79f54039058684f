//! A table whose `SSTables` lie in folders, ready to be handed to the node again.

use std::path::{Path, PathBuf};

use ringvault_cassandra::{
    CqlSession,
    control::SnapshotScope,
    snapshot::{SnapshotSstable, find_snapshot},
};
use ringvault_core::selection::TableName;
use tempfile::TempDir;
use uuid::Uuid;

use super::{Keyspace, LabNode, count, cql, ddl, nodes};

/// Rows of the table.
pub(crate) const ROWS: i64 = 200;

/// A table with rows in two `SSTables`, their files staged in a folder each, and then truncated.
pub(crate) struct Staged {
    pub(crate) keyspace: Keyspace,
    pub(crate) table: TableName,
    _root: TempDir,
    pub(crate) stage: PathBuf,
    pub(crate) dirs: Vec<PathBuf>,
}

pub(crate) async fn stage(node: &LabNode, session: &CqlSession) -> Staged {
    let keyspace = Keyspace::create(session, nodes().len()).await;
    let table = TableName::new(&keyspace.name, "t");
    // Compaction would merge what the test wants to see apart.
    let off = "WITH compaction = {'class': 'SizeTieredCompactionStrategy', 'enabled': 'false'}";
    ddl(session, &[&format!("CREATE TABLE {table} (k int PRIMARY KEY, v text) {off}")]).await;
    for half in 0..2 {
        for k in (0..ROWS).filter(|k| k % 2 == half) {
            cql(session, &format!("INSERT INTO {table} (k, v) VALUES ({k}, 'value {k}')")).await;
        }
        node.jolokia().flush(std::slice::from_ref(&keyspace.name)).await.unwrap();
    }
    let tag = format!("rv-test-{}", Uuid::now_v7().simple());
    let scope = SnapshotScope::Tables(vec![table.clone()]);
    node.jolokia().take_snapshot(&tag, &scope, false).await.unwrap();
    let root = tempfile::tempdir().unwrap();
    // The root's own name begins with a dot; Cassandra looks at the last two parts of a path.
    let stage = root.path().join("stage");
    std::fs::create_dir(&stage).unwrap();
    let found = find_snapshot(&node.data_dirs, &tag).unwrap().remove(0);
    assert!(found.sstables.len() >= 2);
    let dirs = found
        .sstables
        .iter()
        .enumerate()
        .map(|(at, sstable)| copy_to(sstable, &stage.join(at.to_string())))
        .collect();
    node.jolokia().clear_snapshot(&tag).await.unwrap();
    session.truncate(&table).await.unwrap();
    assert_eq!(count(session, &table.to_string()).await, 0);
    Staged { keyspace, table, _root: root, stage, dirs }
}

fn copy_to(sstable: &SnapshotSstable, dir: &Path) -> PathBuf {
    std::fs::create_dir(dir).unwrap();
    for file in &sstable.components {
        std::fs::copy(&file.path, dir.join(&file.name)).unwrap();
    }
    dir.to_owned()
}

pub(crate) fn file_of(dir: &Path, suffix: &str) -> PathBuf {
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    names.into_iter().find(|path| path.to_str().unwrap().ends_with(suffix)).unwrap()
}

pub(crate) fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(path, bytes).unwrap();
}
