//! Both ways to control a node, on real nodes.

mod lab;

use lab::{Keyspace, TIMEOUTS, cql, ddl, nodes};
use ringvault_cassandra::{
    NodeErrorKind,
    control::{Jolokia, JolokiaConfig, NodeControl, Nodetool, NodetoolConfig, SnapshotScope},
    snapshot::{Incomplete, check_complete, find_snapshot},
    sstable::Component,
};
use ringvault_core::selection::TableName;
use uuid::Uuid;

fn tag() -> String {
    format!("rv-test-{}", Uuid::now_v7().simple())
}

#[tokio::test]
async fn both_controls_say_the_same_of_a_node() {
    for node in nodes() {
        let session = node.session().await;
        let [by_jolokia, by_nodetool] = node.controls();
        let (jolokia, mut nodetool) =
            (by_jolokia.node_info().await.unwrap(), by_nodetool.node_info().await.unwrap());
        assert_eq!(jolokia.host_id, session.local().host_id);
        assert_eq!(by_nodetool.host_id().await.unwrap(), jolokia.host_id);
        assert_eq!(jolokia.release_version, session.local().release_version);
        assert_eq!(jolokia.cluster_name, session.local().cluster_name);
        assert_eq!(jolokia.partitioner, session.local().partitioner);
        assert_eq!(jolokia.operation_mode, "NORMAL");
        assert_eq!((&jolokia.dc, &jolokia.rack), (&node.dc, &node.rack));
        let mut tokens: Vec<i64> = node.tokens.iter().map(|t| t.parse().unwrap()).collect();
        tokens.sort_unstable();
        assert_eq!(jolokia.tokens.iter().map(|t| t.0).collect::<Vec<_>>(), tokens);
        assert_eq!(jolokia.data_dirs.as_ref(), Some(&node.data_dirs));
        assert_eq!(nodetool.data_dirs, None);
        nodetool.data_dirs.clone_from(&jolokia.data_dirs);
        assert_eq!(nodetool, jolokia);
        let live = by_jolokia.live_members().await.unwrap();
        assert!(live.contains(&jolokia.host_id));
        let members = session.topology().await.unwrap().host_ids().into_iter().collect();
        assert_eq!(live, members, "every node of the lab is up");
        assert_eq!(by_nodetool.live_members().await.unwrap(), live);
    }
}

#[tokio::test]
async fn a_snapshot_is_taken_found_and_cleared() {
    let node = nodes().remove(0);
    let session = node.session().await;
    let replicas = nodes().len();
    for control in node.controls() {
        let keyspace = Keyspace::create(&session, replicas).await;
        let name = &keyspace.name;
        let statements = [
            format!("CREATE TABLE {name}.t (k int PRIMARY KEY, v int)"),
            format!("CREATE INDEX by_v ON {name}.t (v)"),
            format!("CREATE TABLE {name}.\"Empty\" (k int PRIMARY KEY)"),
        ];
        ddl(&session, &statements.each_ref().map(String::as_str)).await;
        for k in 0..50 {
            cql(&session, &format!("INSERT INTO {name}.t (k, v) VALUES ({k}, {k})")).await;
        }
        let tag = tag();
        let scope = SnapshotScope::Keyspaces(vec![name.clone()]);
        control.take_snapshot(&tag, &scope, false).await.unwrap();
        assert!(control.list_snapshots().await.unwrap().contains(&tag));

        let again = control.take_snapshot(&tag, &scope, false).await.unwrap_err();
        assert_eq!(again.kind, NodeErrorKind::SnapshotExists { tag: tag.clone() }, "{again}");

        let expected: Vec<_> = session
            .table_ids()
            .await
            .unwrap()
            .into_iter()
            .filter(|(keyspace, _, _)| keyspace == name)
            .collect();
        assert_eq!(expected.len(), 2);
        let mut found = find_snapshot(&node.data_dirs, &tag).unwrap();
        assert_eq!(check_complete(&found, &expected), vec![]);
        assert_eq!(found.iter().map(|t| t.table.as_str()).collect::<Vec<_>>(), ["Empty", "t"]);
        let table = &mut found[1];
        let of = |index: Option<&str>| {
            let sstables = table.sstables.iter().filter(|s| s.index_dir.as_deref() == index);
            sstables.flat_map(|s| &s.components).map(|c| c.component.clone()).collect::<Vec<_>>()
        };
        for part in [None, Some(".by_v")] {
            for component in [Component::Data, Component::Statistics, Component::Digest] {
                assert!(of(part).contains(&component), "{part:?} lacks {component}");
            }
        }
        let lost = table.sstables.pop().unwrap();
        let lacks = check_complete(&found, &expected);
        assert!(matches!(&lacks[..], [Incomplete::File { .. }]), "{lost:?}: {lacks:?}");

        control.clear_snapshot(&tag).await.unwrap();
        assert!(!control.list_snapshots().await.unwrap().contains(&tag));
        assert_eq!(find_snapshot(&node.data_dirs, &tag).unwrap(), vec![]);
        control.clear_snapshot(&tag).await.unwrap();
        keyspace.drop_it(&session).await;
    }
}

#[tokio::test]
async fn a_snapshot_of_single_tables_holds_just_these() {
    let node = nodes().remove(0);
    let session = node.session().await;
    let keyspaces = [Keyspace::create(&session, 1).await, Keyspace::create(&session, 1).await];
    let mut tables = Vec::new();
    for keyspace in &keyspaces {
        for table in ["Wanted", "other"] {
            let name = &keyspace.name;
            ddl(&session, &[&format!("CREATE TABLE {name}.\"{table}\" (k int PRIMARY KEY)")]).await;
        }
        tables.push(TableName::new(&keyspace.name, "Wanted"));
    }
    for control in node.controls() {
        let tag = tag();
        control.take_snapshot(&tag, &SnapshotScope::Tables(tables.clone()), true).await.unwrap();
        let found = find_snapshot(&node.data_dirs, &tag).unwrap();
        let names: Vec<_> = found.iter().map(|t| TableName::new(&t.keyspace, &t.table)).collect();
        let mut wanted = tables.clone();
        wanted.sort();
        assert_eq!(names, wanted);
        control.clear_snapshot(&tag).await.unwrap();

        let nothing = SnapshotScope::Keyspaces(Vec::new());
        control.take_snapshot(&tag, &nothing, false).await.unwrap();
        assert_eq!(find_snapshot(&node.data_dirs, &tag).unwrap(), vec![]);
    }
    for keyspace in keyspaces {
        keyspace.drop_it(&session).await;
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_to_be_missing() {
    let node = nodes().remove(0);
    for control in node.controls() {
        let scope = SnapshotScope::Keyspaces(vec!["no_such_keyspace".into()]);
        let error = control.take_snapshot(&tag(), &scope, false).await.unwrap_err();
        assert!(matches!(error.kind, NodeErrorKind::NotFound(_)), "{error}");
        assert!(error.to_string().contains(control.address()), "{error}");

        let missing = TableName::new("system_auth", "no_such_table");
        let scope = SnapshotScope::Tables(vec![missing.clone()]);
        let error = control.take_snapshot(&tag(), &scope, false).await.unwrap_err();
        assert!(matches!(error.kind, NodeErrorKind::NotFound(_)), "{error}");

        let error = control.flush(&["no_such_keyspace".into()]).await.unwrap_err();
        assert!(matches!(error.kind, NodeErrorKind::NotFound(_)), "{error}");
        let error = control.cleanup("no_such_keyspace", &[]).await.unwrap_err();
        assert!(matches!(error.kind, NodeErrorKind::NotFound(_)), "{error}");
        let error = control.live_sstables(&missing).await.unwrap_err();
        assert!(matches!(error.kind, NodeErrorKind::NotFound(_)), "{error}");
        let error = control.load_new_sstables(&missing).await.unwrap_err();
        assert!(matches!(error.kind, NodeErrorKind::NotFound(_)), "{error}");
    }
}

#[tokio::test]
async fn flushes_and_counts_agree() {
    let node = nodes().remove(0);
    let session = node.session().await;
    let keyspace = Keyspace::create(&session, nodes().len()).await;
    let name = &keyspace.name;
    ddl(&session, &[&format!("CREATE TABLE {name}.t (k int PRIMARY KEY)")]).await;
    let table = TableName::new(name, "t");
    let [jolokia, nodetool] = node.controls();
    assert_eq!(jolokia.live_sstables(&table).await.unwrap(), 0);
    for (control, other) in [(&jolokia, &nodetool), (&nodetool, &jolokia)] {
        let before = other.live_sstables(&table).await.unwrap();
        for k in 0..100 {
            cql(&session, &format!("INSERT INTO {name}.t (k) VALUES ({k})")).await;
        }
        control.flush(std::slice::from_ref(name)).await.unwrap();
        let after = other.live_sstables(&table).await.unwrap();
        assert!(after > before, "{before} before, {after} after");
        assert_eq!(control.live_sstables(&table).await.unwrap(), after);
        control.refresh_size_estimates().await.unwrap();
        control.cleanup(name, &["t".to_owned()]).await.unwrap();
    }
    let estimates = [
        jolokia.estimated_partitions(&table).await.unwrap(),
        nodetool.estimated_partitions(&table).await.unwrap(),
    ];
    assert_eq!(estimates[0], estimates[1]);
    assert!((90..=110).contains(&estimates[0]), "{estimates:?}");
    keyspace.drop_it(&session).await;
}

#[tokio::test]
async fn a_node_that_is_away_is_unreachable() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let jolokia = NodeControl::Jolokia(
        Jolokia::new(JolokiaConfig {
            url: format!("http://127.0.0.1:{port}/jolokia/").parse().unwrap(),
            credentials: None,
            timeouts: TIMEOUTS,
        })
        .unwrap(),
    );
    // The last -p wins, so the lab's own script is pointed at a port where nobody listens.
    let nodetool = NodeControl::Nodetool(Nodetool::new(NodetoolConfig {
        argv: vec![nodes()[0].nodetool.clone(), "-p".to_owned(), port.to_string()],
        node: "nobody".to_owned(),
        timeouts: TIMEOUTS,
    }));
    for control in [jolokia, nodetool] {
        let error = control.clear_snapshot("rv-x").await.unwrap_err();
        assert!(matches!(error.kind, NodeErrorKind::Unreachable(_)), "{error}");
    }
}
