//! CQL to one node: the ring, the tokens, and what is done to a table.

mod lab;

use std::{collections::BTreeMap, time::Duration};

use lab::{Keyspace, ddl, nodes};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use ringvault_cassandra::{
    CqlSession, NodeErrorKind,
    cql::{Consistency, CqlConfig},
    sstable::murmur3_token,
};
use ringvault_core::{
    cluster::{Replication, Token, TokenRange},
    selection::TableName,
};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn every_node_sees_the_same_ring() {
    let nodes = nodes();
    let mut seen = Vec::new();
    for node in &nodes {
        let session = node.session().await;
        let view = session.ring_view().await.unwrap();
        assert_eq!(view.seen_by, session.local().host_id);
        assert_eq!(view.without_tokens, vec![]);
        let own = view.topology.node(view.seen_by).unwrap();
        assert_eq!(own.address, node.address);
        seen.push(view.topology);
    }
    let topology = &seen[0];
    assert!(seen.iter().all(|other| other == topology));
    let by_address: BTreeMap<&str, _> =
        topology.nodes.iter().map(|node| (node.address.as_str(), node)).collect();
    assert_eq!(by_address.len(), nodes.len());
    for node in &nodes {
        let found = by_address[node.address.as_str()];
        assert_eq!((&found.dc, &found.rack), (&node.dc, &node.rack));
        let mut tokens: Vec<Token> = node.tokens.iter().map(|token| Token(token.parse().unwrap())).collect();
        tokens.sort_unstable();
        assert_eq!(found.tokens, tokens);
    }
    assert_eq!(topology.keyspaces["system"], Replication::Local);
    assert!(topology.keyspaces.contains_key("system_auth"));
    assert!(!topology.keyspaces.contains_key("system_views"));
}

/// Carries bytes between whoever connects and `to`, and counts the connections.
async fn forward(to: String) -> (std::net::SocketAddr, tokio::sync::watch::Receiver<u32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (count, counted) = tokio::sync::watch::channel(0);
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            count.send_modify(|count| *count += 1);
            let to = to.clone();
            tokio::spawn(async move {
                let mut to = TcpStream::connect(to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
    (address, counted)
}

/// A node behind an address that it knows nothing of, as in a container: the driver must neither go
/// to the address that the node gives itself, nor to any other node.
#[tokio::test]
async fn the_driver_keeps_to_the_one_address_it_was_given() {
    for node in nodes() {
        let (address, connections) = forward(node.cql_address()).await;
        let direct = node.session().await;
        let session = CqlSession::connect(&CqlConfig::new(address.to_string())).await.unwrap();
        assert_eq!(session.local(), direct.local());
        for _ in 0..20 {
            let text = "SELECT host_id FROM system.local";
            let answer = session.driver().query_unpaged(text, ()).await.unwrap();
            let rows = answer.into_rows_result().unwrap();
            let (host_id,) = rows.single_row::<(uuid::Uuid,)>().unwrap();
            assert_eq!(host_id, direct.local().host_id.0);
        }
        assert!(*connections.borrow() >= 2, "the control connection and one for statements");
        let state = session.driver().get_cluster_state();
        let enabled: Vec<_> = state.get_nodes_info().iter().filter(|n| n.is_enabled()).collect();
        assert_eq!(enabled.len(), 1);
        assert_eq!(enabled[0].host_id, direct.local().host_id.0);
    }
}

#[tokio::test]
async fn a_node_that_is_away_is_unreachable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    for contact in [address, "no-such-host.invalid:9042".to_owned()] {
        let error = CqlSession::connect(&CqlConfig::new(&contact)).await.unwrap_err();
        assert!(matches!(error.kind, NodeErrorKind::Unreachable(_)), "{error}");
        assert!(error.to_string().contains(&contact), "{error}");
    }
}

#[tokio::test]
async fn tokens_are_computed_as_the_server_does() {
    let node = nodes().remove(0);
    let session = node.session().await;
    let keyspace = Keyspace::create(&session, 1).await;
    let name = &keyspace.name;
    ddl(&session, &[&format!("CREATE TABLE {name}.t (k blob PRIMARY KEY)")]).await;
    let insert = format!("INSERT INTO {name}.t (k) VALUES (?)");
    let insert = session.driver().prepare(insert).await.unwrap();
    let edges = [0_u8, 1, 0x7f, 0x80, 0xff];
    let mut runner = TestRunner::deterministic();
    let mut keys: std::collections::BTreeSet<Vec<u8>> =
        edges.iter().flat_map(|byte| (1..40).map(|length| vec![*byte; length])).collect();
    let any = proptest::collection::vec(any::<u8>(), 1..200);
    keys.extend((0..300).map(|_| any.new_tree(&mut runner).unwrap().current()));
    for key in &keys {
        session.driver().execute_unpaged(&insert, (key,)).await.unwrap();
    }
    let text = format!("SELECT k, token(k) FROM {name}.t");
    let answer = session.driver().query_unpaged(text, ()).await.unwrap();
    let rows = answer.into_rows_result().unwrap();
    let mut checked = 0;
    for row in rows.rows::<(Vec<u8>, i64)>().unwrap() {
        let (key, token) = row.unwrap();
        assert_eq!(murmur3_token(&key), Token(token), "key {}", hex::encode(&key));
        checked += 1;
    }
    assert_eq!(checked, keys.len());
    keyspace.drop_it(&session).await;
}

#[tokio::test]
async fn a_table_is_read_range_by_range_and_emptied() {
    let node = nodes().remove(0);
    let session = node.session().await;
    let keyspace = Keyspace::create(&session, nodes().len()).await;
    let name = &keyspace.name;
    let columns = "\"K\" int, k2 text, c int, m map<text, int>, PRIMARY KEY ((\"K\", k2), c)";
    ddl(&session, &[&format!("CREATE TABLE {name}.\"T\" ({columns})")]).await;
    let table = TableName::new(name, "T");
    assert!(session.is_empty(&table, Consistency::All).await.unwrap());
    let insert = format!("INSERT INTO {name}.\"T\" (\"K\", k2, c, m) VALUES (?, 'x', ?, {{'a': 1}})");
    let insert = session.driver().prepare(insert).await.unwrap();
    for k in 0..300_i32 {
        for c in 0..5_i32 {
            session.driver().execute_unpaged(&insert, (k, c)).await.unwrap();
        }
    }
    assert!(!session.is_empty(&table, Consistency::All).await.unwrap());

    let schema = session.schema().await.unwrap();
    let shape = schema.shape(name, "T").unwrap();
    let topology = session.topology().await.unwrap();
    let read = async |ranges: &[TokenRange], limit| {
        session.read_sample(&table, shape, ranges, limit, Consistency::All).await.unwrap()
    };
    assert_eq!(read(&topology.ranges(), 10_000).await, 1500, "every row, each once");
    assert_eq!(read(&[TokenRange::full()], 10_000).await, 1500);
    assert_eq!(read(&[TokenRange::full()], 7).await, 7);
    let half = [TokenRange::new(Token(0), Token(i64::MIN))];
    let other = [TokenRange::new(Token(i64::MIN), Token(0))];
    assert_eq!(read(&half, 10_000).await + read(&other, 10_000).await, 1500);

    session.truncate(&table).await.unwrap();
    assert!(session.is_empty(&table, Consistency::All).await.unwrap());
    keyspace.drop_it(&session).await;
    let error = session.is_empty(&table, Consistency::One).await.unwrap_err();
    assert!(matches!(error.kind, NodeErrorKind::NotFound(_)), "{error}");
}

#[tokio::test]
async fn the_nodes_agree_on_the_schema() {
    let nodes = nodes();
    let session = nodes[0].session().await;
    let version = session.wait_schema_agreement(Duration::from_mins(1)).await.unwrap();
    let versions = session.schema_versions().await.unwrap();
    assert_eq!(versions.agreed(), Some(version));
    assert_eq!(versions.by_version[&Some(version)].len(), nodes.len());
}

#[tokio::test]
async fn a_node_says_which_sstables_it_loads() {
    let node = nodes().remove(0);
    let session = node.session().await;
    let is_5 = session.local().release_version.starts_with("5.");
    assert!(session.loads_sstable_version("nb").await.unwrap());
    assert_eq!(session.loads_sstable_version("da").await.unwrap(), is_5);
    assert!(!session.loads_sstable_version("zz").await.unwrap());
    let tables = session.table_ids().await.unwrap();
    assert!(tables.iter().any(|(keyspace, table, _)| keyspace == "system" && table == "local"));
    assert!(tables.iter().all(|(keyspace, _, _)| keyspace != "system_views"));
}
