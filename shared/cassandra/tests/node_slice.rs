//! Slices of what a real node wrote with each of its compressors, taken in by its import with every
//! check that it has.

mod lab;

use std::{
    fs::File,
    io::{self, Read, Seek as _, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
};

use lab::{Keyspace, LabNode, cql, ddl, nodes};
use ringvault_cassandra::{
    CqlSession,
    control::{ImportOptions, SnapshotScope},
    snapshot::find_snapshot,
    sstable::{
        Component,
        slice::{RangedRead, slice_folder},
    },
};
use ringvault_core::{
    cluster::{Token, TokenRange},
    selection::TableName,
};
use uuid::Uuid;

const PARTITIONS: i32 = 120;

/// Data.db or Index.db as a file.
struct Elsewhere(PathBuf);

impl RangedRead for Elsewhere {
    fn open(&self, range: Range<u64>) -> io::Result<Box<dyn Read + '_>> {
        let mut file = File::open(&self.0)?;
        file.seek(SeekFrom::Start(range.start))?;
        Ok(Box::new(file.take(range.end - range.start)))
    }

    fn size(&self) -> u64 {
        self.0.metadata().unwrap().len()
    }

    fn is_checked(&self) -> bool {
        true
    }
}

type Row = (i32, i32, Option<String>, Option<i64>, Option<i32>);

async fn rows(session: &CqlSession, table: &TableName) -> Vec<Row> {
    let statement = format!("SELECT k, c, v, writetime(v), ttl(v) FROM {table}");
    let answer = session.driver().query_unpaged(statement, ()).await.unwrap();
    let answer = answer.into_rows_result().unwrap();
    let mut rows: Vec<Row> = answer.rows::<Row>().unwrap().map(Result::unwrap).collect();
    // What is left of a time to live passes by.
    for row in &mut rows {
        row.4 = row.4.map(|_| 1);
    }
    rows.sort();
    rows
}

async fn write(node: &LabNode, session: &CqlSession, table: &TableName) {
    for k in 0..PARTITIONS {
        // Some partitions have an index of their own rows.
        let (rows, length) = if k % 20 == 0 { (60, 2000) } else { (3, 90) };
        for c in 0..rows {
            let value = format!("{k}-{c}-").repeat(length / 6);
            cql(session, &format!("INSERT INTO {table} (k, c, v) VALUES ({k}, {c}, '{value}')")).await;
        }
    }
    for k in 0..10 {
        cql(session, &format!("DELETE FROM {table} WHERE k = {k} AND c = 1")).await;
        cql(session, &format!("DELETE FROM {table} WHERE k = {} AND c > 1", k + 20)).await;
        cql(session, &format!("DELETE FROM {table} WHERE k = {}", k + 40)).await;
        cql(
            session,
            &format!("UPDATE {table} USING TTL 86400 SET v = 'brief' WHERE k = {} AND c = 7", k + 60),
        )
        .await;
    }
    node.jolokia().flush(std::slice::from_ref(&table.keyspace)).await.unwrap();
}

/// Cuts every SSTable of a snapshot into the parts that begin and end at these tokens; a folder each. By parts
/// of an Index.db and by the whole it is the same.
fn cut(node: &LabNode, tag: &str, tokens: &[i64], stage: &Path) -> Vec<PathBuf> {
    let (mut dirs, mut partitions, mut asked, mut whole) = (Vec::new(), 0, 0, 0);
    for sstable in find_snapshot(&node.data_dirs, tag).unwrap().remove(0).sstables {
        let path_of = |component| {
            let file = sstable.components.iter().find(|file| file.component == component);
            file.map(|file| Elsewhere(file.path.clone()))
        };
        let (data, index) = (path_of(Component::Data).unwrap(), path_of(Component::Index));
        let index = index.as_ref().map(|index| index as &dyn RangedRead);
        let from = data.0.parent().unwrap();
        for (n, token) in tokens.iter().enumerate() {
            let before = tokens[(n + tokens.len() - 1) % tokens.len()];
            let wanted = [TokenRange::new(Token(before), Token(*token))].into_iter().collect();
            let to = stage.join(dirs.len().to_string());
            let by_whole = tempfile::tempdir().unwrap();
            std::fs::create_dir(&to).unwrap();
            let sliced = slice_folder(&sstable.descriptor, from, &data, index, &wanted, &to).unwrap();
            let other =
                slice_folder(&sstable.descriptor, from, &data, None, &wanted, by_whole.path()).unwrap();
            assert_eq!(sliced.files, other.files);
            asked += sliced.sliced.index.bytes;
            whole += index.map_or(0, RangedRead::size);
            partitions += sliced.sliced.partitions;
            // Each data directory has a part of the ring: not every SSTable meets every range.
            if sliced.sliced.partitions == 0 {
                std::fs::remove_dir_all(&to).unwrap();
            } else {
                dirs.push(to);
            }
        }
    }
    assert!(
        dirs.len() >= tokens.len() && partitions >= 100,
        "{partitions} partitions in {} slices",
        dirs.len()
    );
    assert!(whole == 0 || asked < whole * 2 / 3, "{asked} bytes of indexes, {whole} if all were read");
    dirs
}

#[tokio::test]
async fn slices_by_every_compressor_pass_every_check_of_an_import() {
    let node = nodes().remove(0);
    let session = node.session().await;
    for compression in [
        "'class': 'LZ4Compressor'",
        "'class': 'ZstdCompressor', 'compression_level': 5",
        "'class': 'SnappyCompressor', 'chunk_length_in_kb': 4",
        "'class': 'DeflateCompressor'",
        "'class': 'LZ4Compressor', 'min_compress_ratio': 1.5",
        "'enabled': 'false'",
    ] {
        let keyspace = Keyspace::create(&session, nodes().len()).await;
        let table = TableName::new(&keyspace.name, "t");
        // Samples enough for a summary to say something.
        ddl(
            &session,
            &[&format!(
                "CREATE TABLE {table} (k int, c int, v text, PRIMARY KEY (k, c)) \
             WITH compression = {{{compression}}} AND min_index_interval = 4"
            )],
        )
        .await;
        write(&node, &session, &table).await;
        let before = rows(&session, &table).await;
        assert!(before.len() > 300, "{}", before.len());
        let tag = format!("rv-test-{}", Uuid::now_v7().simple());
        node.jolokia().take_snapshot(&tag, &SnapshotScope::Tables(vec![table.clone()]), false).await.unwrap();
        let root = tempfile::tempdir().unwrap();
        let stage = root.path().join("stage");
        std::fs::create_dir(&stage).unwrap();
        let dirs = cut(&node, &tag, &[i64::MIN / 3, i64::MAX / 7, i64::MAX / 2], &stage);
        node.jolokia().clear_snapshot(&tag).await.unwrap();
        session.truncate(&table).await.unwrap();
        assert_eq!(rows(&session, &table).await, [], "{compression}");
        let options = ImportOptions { extended_verify: true, ..ImportOptions::default() };
        let outcome = node.nodetool().import(&table, &dirs, options).await.unwrap();
        assert!(outcome.is_complete(), "{compression}: {outcome:?}");
        let after = rows(&session, &table).await;
        assert!(after == before, "{compression}: {} rows, not {}", after.len(), before.len());
        keyspace.drop_it(&session).await;
    }
}
