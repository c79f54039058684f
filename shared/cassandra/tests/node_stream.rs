//! Streaming `SSTables` through the node's own bulk loader: what it sends, what it leaves out without a word, and
//! how each is told.

mod lab;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use lab::{
    count, ddl, nodes,
    staged::{ROWS, Staged, file_of, flip, stage},
};
use ringvault_cassandra::{
    CqlSession, NodeErrorKind,
    control::NodeControl,
    cql::{StreamState, StreamStatus},
};
use ringvault_core::selection::TableName;

/// How a stream ended.
async fn ends(session: &CqlSession, control: &NodeControl, dir: &Path) -> StreamState {
    let plan = control.bulk_load(dir).await.unwrap();
    let give_up = Instant::now() + Duration::from_mins(1);
    loop {
        let state = session.stream_state(plan).await.unwrap().expect("a stream that was begun is known");
        if state.status != StreamStatus::Running {
            return state;
        }
        assert!(Instant::now() < give_up, "{state:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The files of a staged folder, in one that ends with these names.
fn as_table(from: &Path, root: &Path, table: &TableName) -> PathBuf {
    let dir = root.join(&table.keyspace).join(&table.table);
    std::fs::create_dir_all(&dir).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, dir.join(path.file_name().unwrap())).unwrap();
    }
    dir
}

fn handed(staged: &Staged, place: usize) -> PathBuf {
    as_table(&staged.dirs[place], &staged.stage.join(format!("handed_{place}")), &staged.table)
}

#[tokio::test]
async fn every_owner_gets_what_is_streamed_by_either_control() {
    let node = nodes().remove(0);
    let session = node.session().await;
    for control in node.controls() {
        let staged = stage(&node, &session).await;
        for place in 0..staged.dirs.len() {
            let dir = handed(&staged, place);
            let state = ends(&session, &control, &dir).await;
            assert_eq!(state.status, StreamStatus::Done);
            // Whole ones go component by component.
            assert!(state.files >= nodes().len() as u64, "each node owns all of it: {state:?}");
            assert!(state.bytes > 0 && state.bytes_sent > 0, "{state:?}");
            assert!(file_of(&dir, "-Data.db").exists(), "the files stay");
        }
        // At every replica, and twice is as good as once.
        assert_eq!(count(&session, &staged.table.to_string()).await, ROWS);
        ends(&session, &control, &handed(&staged, 0)).await;
        assert_eq!(count(&session, &staged.table.to_string()).await, ROWS);
        staged.keyspace.drop_it(&session).await;
    }
}

#[tokio::test]
async fn only_what_each_node_owns_comes_to_it() {
    let node = nodes().remove(0);
    assert!(nodes().len() > 1, "one node owns every key: run this on a lab of several nodes");
    let session = node.session().await;
    let staged = stage(&node, &session).await;
    let alone = "{'class': 'SimpleStrategy', 'replication_factor': 1}";
    let name = &staged.keyspace.name;
    ddl(&session, &[&format!("ALTER KEYSPACE {name} WITH replication = {alone}")]).await;
    for place in 0..staged.dirs.len() {
        let state = ends(&session, &node.jolokia(), &handed(&staged, place)).await;
        assert_eq!(state.status, StreamStatus::Done);
        assert!(state.files > 1, "{state:?}");
    }
    assert_eq!(count(&session, &staged.table.to_string()).await, ROWS);
    // There is nothing to clean up: all that a node was sent is its own.
    for node in nodes() {
        node.jolokia().cleanup(name, &["t".to_owned()]).await.unwrap();
    }
    assert_eq!(count(&session, &staged.table.to_string()).await, ROWS);
    staged.keyspace.drop_it(&session).await;
}

/// Cassandra ends with success and sends nothing.
#[tokio::test]
async fn a_stream_of_nothing_succeeds_and_is_seen() {
    let node = nodes().remove(0);
    let session = node.session().await;
    let staged = stage(&node, &session).await;
    let empty = staged.stage.join(&staged.table.keyspace).join("t");
    std::fs::create_dir_all(&empty).unwrap();
    let unknown = TableName::new(&staged.table.keyspace, "no_such_table");
    let unknown = as_table(&staged.dirs[0], &staged.stage.join("unknown"), &unknown);
    let lacking = handed(&staged, 1);
    for component in ["-Index.db", "-Partitions.db"] {
        if std::fs::read_dir(&lacking)
            .unwrap()
            .any(|e| e.unwrap().file_name().to_str().unwrap().ends_with(component))
        {
            std::fs::remove_file(file_of(&lacking, component)).unwrap();
        }
    }
    for dir in [empty, unknown, lacking] {
        let state = ends(&session, &node.jolokia(), &dir).await;
        assert_eq!((state.status, state.files), (StreamStatus::Done, 0), "{}", dir.display());
    }
    assert_eq!(count(&session, &staged.table.to_string()).await, 0);
    staged.keyspace.drop_it(&session).await;
}

/// Which is why nothing is handed over that was not hashed.
#[tokio::test]
async fn cassandra_sends_damaged_data() {
    let node = nodes().remove(0);
    let session = node.session().await;
    let staged = stage(&node, &session).await;
    let dir = handed(&staged, 0);
    flip(&file_of(&dir, "-Data.db"));
    let state = ends(&session, &node.jolokia(), &dir).await;
    assert_eq!(state.status, StreamStatus::Done, "{state:?}");
    staged.keyspace.drop_it(&session).await;
}

#[tokio::test]
async fn what_cannot_be_streamed_is_an_error() {
    let node = nodes().remove(0);
    let session = node.session().await;
    let staged = stage(&node, &session).await;
    for control in node.controls() {
        let nowhere = staged.stage.join("nowhere");
        let error = control.bulk_load(&nowhere).await.unwrap_err();
        assert!(error.to_string().contains("nvalid directory"), "{error}");
        let no_keyspace = as_table(&staged.dirs[0], &staged.stage, &TableName::new("no_such_keyspace", "t"));
        let error = control.bulk_load(&no_keyspace).await.unwrap_err();
        assert!(!matches!(error.kind, NodeErrorKind::Timeout(_)), "{error}");
        let hidden = control.bulk_load(&staged.stage.join(".hidden")).await.unwrap_err();
        assert!(matches!(hidden.kind, NodeErrorKind::Refused(_)), "{hidden}");
    }
    let never: uuid::Uuid = "00000000-0000-1000-8000-000000000001".parse().unwrap();
    assert_eq!(session.stream_state(never).await.unwrap(), None);
    staged.keyspace.drop_it(&session).await;
}
