//! Importing `SSTables`: what Cassandra takes, what it refuses, and what it skips without a word.

mod lab;

use std::path::PathBuf;

use lab::{
    count, ddl, nodes,
    staged::{ROWS, file_of, flip, stage},
};
use ringvault_cassandra::{NodeErrorKind, control::ImportOptions};
use ringvault_core::selection::TableName;

#[tokio::test]
async fn good_directories_are_moved_in_or_linked_in() {
    let node = nodes().remove(0);
    let session = node.session().await;
    let staged = stage(&node, &session).await;
    let options = ImportOptions { copy: true, extended_verify: true, ..ImportOptions::default() };
    let outcome = node.nodetool().import(&staged.table, &staged.dirs, options).await.unwrap();
    assert!(outcome.is_complete(), "{outcome:?}");
    assert_eq!(count(&session, &staged.table.to_string()).await, ROWS);
    for dir in &staged.dirs {
        assert!(file_of(dir, "-Data.db").exists());
    }
    session.truncate(&staged.table).await.unwrap();

    let options = ImportOptions::default();
    let outcome = node.nodetool().import(&staged.table, &staged.dirs, options).await.unwrap();
    assert!(outcome.is_complete(), "{outcome:?}");
    assert_eq!(count(&session, &staged.table.to_string()).await, ROWS);
    staged.keyspace.drop_it(&session).await;
}

#[tokio::test]
async fn a_damaged_directory_is_named_and_the_others_go_in() {
    let node = nodes().remove(0);
    let session = node.session().await;
    let staged = stage(&node, &session).await;
    flip(&file_of(&staged.dirs[0], "-Data.db"));
    let outcome =
        node.nodetool().import(&staged.table, &staged.dirs, ImportOptions::default()).await.unwrap();
    assert_eq!(outcome.failed, vec![staged.dirs[0].clone()], "{outcome:?}");
    assert_eq!(outcome.skipped, Vec::<PathBuf>::new());
    assert!(!outcome.is_complete());
    let loaded = count(&session, &staged.table.to_string()).await;
    assert!(0 < loaded && loaded < ROWS, "{loaded}");
    staged.keyspace.drop_it(&session).await;
}

/// Cassandra ends with success and loads nothing.
#[tokio::test]
async fn a_directory_that_is_skipped_in_silence_is_seen() {
    let node = nodes().remove(0);
    let session = node.session().await;
    let staged = stage(&node, &session).await;
    let disguised = staged.stage.join("of_a_future_version");
    std::fs::create_dir(&disguised).unwrap();
    for entry in std::fs::read_dir(&staged.dirs[0]).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        std::fs::copy(&path, disguised.join(format!("zz{}", &name[2..]))).unwrap();
    }
    let empty = staged.stage.join("empty");
    std::fs::create_dir(&empty).unwrap();
    let dirs = [disguised.clone(), empty];
    let outcome = node.nodetool().import(&staged.table, &dirs, ImportOptions::default()).await.unwrap();
    assert_eq!(outcome.failed, Vec::<PathBuf>::new(), "{outcome:?}");
    assert_eq!(outcome.skipped, vec![disguised]);
    assert_eq!(count(&session, &staged.table.to_string()).await, 0);
    staged.keyspace.drop_it(&session).await;
}

#[tokio::test]
async fn what_cannot_be_imported_is_an_error() {
    let node = nodes().remove(0);
    let session = node.session().await;
    let staged = stage(&node, &session).await;
    let (nodetool, options) = (node.nodetool(), ImportOptions::default());

    let unknown = TableName::new(&staged.keyspace.name, "no_such_table");
    let error = nodetool.import(&unknown, &staged.dirs, options).await.unwrap_err();
    assert!(matches!(error.kind, NodeErrorKind::NotFound(_)), "{error}");

    let nowhere = [staged.stage.join("nowhere")];
    let error = nodetool.import(&staged.table, &nowhere, options).await.unwrap_err();
    assert!(matches!(error.kind, NodeErrorKind::NotFound(_)), "{error}");

    let hidden = staged.stage.join(".hidden");
    std::fs::rename(&staged.dirs[0], &hidden).unwrap();
    for skipped in [PathBuf::from("here"), hidden] {
        let error = nodetool.import(&staged.table, &[skipped], options).await.unwrap_err();
        assert!(matches!(error.kind, NodeErrorKind::Refused(_)), "{error}");
    }

    let error = node.jolokia().import(&staged.table, &staged.dirs, options).await.unwrap_err();
    assert!(matches!(error.kind, NodeErrorKind::Unsupported(_)), "{error}");
    staged.keyspace.drop_it(&session).await;
}

#[tokio::test]
async fn keys_that_the_node_does_not_own_are_refused_unless_asked_for() {
    let node = nodes().remove(0);
    assert!(nodes().len() > 1, "one node owns every key: run this on a lab of several nodes");
    let session = node.session().await;
    let staged = stage(&node, &session).await;
    let alone = "{'class': 'SimpleStrategy', 'replication_factor': 1}";
    let name = &staged.keyspace.name;
    ddl(&session, &[&format!("ALTER KEYSPACE {name} WITH replication = {alone}")]).await;

    let options = ImportOptions::default();
    let outcome = node.nodetool().import(&staged.table, &staged.dirs, options).await.unwrap();
    assert_eq!(outcome.failed, staged.dirs, "{outcome:?}");
    let options = ImportOptions { verify_tokens: false, ..options };
    let outcome = node.nodetool().import(&staged.table, &staged.dirs, options).await.unwrap();
    assert!(outcome.is_complete(), "{outcome:?}");
    node.jolokia().cleanup(name, &["t".to_owned()]).await.unwrap();
    let owned = count(&session, &staged.table.to_string()).await;
    assert!(0 < owned && owned < ROWS, "{owned}");
    staged.keyspace.drop_it(&session).await;
}

/// The way in where no nodetool can be run: files put into the table's folder under unused ids.
#[tokio::test]
async fn files_in_the_tables_folder_are_loaded() {
    let node = nodes().remove(0);
    let session = node.session().await;
    for control in node.controls() {
        let staged = stage(&node, &session).await;
        let ids = session.table_ids().await.unwrap();
        let id = ids.iter().find(|(k, _, _)| *k == staged.keyspace.name).unwrap().2.simple();
        let folder = node.data_dirs[0].join(&staged.keyspace.name).join(format!("t-{id}"));
        for (at, dir) in staged.dirs.iter().enumerate() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap();
                let parts: Vec<_> = name.splitn(4, '-').collect();
                let name = format!("{}-{}-{}-{}", parts[0], 900 + at, parts[2], parts[3]);
                std::fs::copy(&path, folder.join(name)).unwrap();
            }
        }
        assert_eq!(count(&session, &staged.table.to_string()).await, 0);
        control.load_new_sstables(&staged.table).await.unwrap();
        assert_eq!(count(&session, &staged.table.to_string()).await, ROWS);
        staged.keyspace.drop_it(&session).await;
    }
}
