//! The lab's cluster, as `dev/lab status --json` describes it.

// Each test binary uses its own part of this.
#![allow(dead_code)]

pub(crate) mod staged;

use std::{path::PathBuf, time::Duration};

use ringvault_cassandra::{
    CqlSession,
    control::{ControlTimeouts, Jolokia, JolokiaConfig, NodeControl, Nodetool, NodetoolConfig},
    cql::{Consistency, CqlConfig},
};
use serde::Deserialize;
use uuid::Uuid;

/// A node of the lab.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct LabNode {
    pub(crate) address: String,
    pub(crate) cql_port: u16,
    pub(crate) jolokia_url: url::Url,
    pub(crate) dc: String,
    pub(crate) rack: String,
    pub(crate) tokens: Vec<String>,
    pub(crate) data_dirs: Vec<PathBuf>,
    pub(crate) nodetool: String,
}

#[derive(Debug, Deserialize)]
struct LabCluster {
    nodes: Vec<LabNode>,
}

#[derive(Debug, Deserialize)]
struct Status {
    clusters: std::collections::BTreeMap<String, LabCluster>,
}

/// The nodes of the cluster of the lab that the tests are to use.
pub(crate) fn nodes() -> Vec<LabNode> {
    let set = |name: &str| {
        std::env::var(name)
            .unwrap_or_else(|_| panic!("{name} is not set: run these tests with dev/test, or see its text"))
    };
    let (file, cluster) = (set("RINGVAULT_LAB_STATUS"), set("RINGVAULT_LAB_CLUSTER"));
    let text = std::fs::read(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut status: Status = serde_json::from_slice(&text).expect("the output of dev/lab status --json");
    status.clusters.remove(&cluster).unwrap_or_else(|| panic!("no cluster '{cluster}' in {file}")).nodes
}

pub(crate) const TIMEOUTS: ControlTimeouts = ControlTimeouts {
    connect: Duration::from_secs(5),
    question: Duration::from_mins(2),
    work: Duration::from_mins(5),
};

impl LabNode {
    pub(crate) fn jolokia(&self) -> NodeControl {
        let config = JolokiaConfig { url: self.jolokia_url.clone(), credentials: None, timeouts: TIMEOUTS };
        NodeControl::Jolokia(Jolokia::new(config).unwrap())
    }

    pub(crate) fn nodetool(&self) -> Nodetool {
        Nodetool::new(NodetoolConfig {
            argv: vec![self.nodetool.clone()],
            node: self.address.clone(),
            timeouts: TIMEOUTS,
        })
    }

    /// Both ways to control the node.
    pub(crate) fn controls(&self) -> [NodeControl; 2] {
        [self.jolokia(), NodeControl::Nodetool(self.nodetool())]
    }

    pub(crate) fn cql_address(&self) -> String {
        format!("{}:{}", self.address, self.cql_port)
    }

    pub(crate) async fn session(&self) -> CqlSession {
        let mut config = CqlConfig::new(self.cql_address());
        // A test loads one node of all, and reads what it loaded: at a quorum the others could answer.
        config.consistency = Consistency::All;
        CqlSession::connect(&config).await.unwrap()
    }
}

/// A keyspace of the test's own. It is dropped by [`Keyspace::drop_it`]; a test that fails leaves
/// it behind to be looked at.
pub(crate) struct Keyspace {
    pub(crate) name: String,
}

impl Keyspace {
    /// Creates a keyspace with `factor` replicas in the one data center.
    pub(crate) async fn create(session: &CqlSession, factor: usize) -> Self {
        let name = format!("test_{}", &Uuid::now_v7().simple().to_string()[4..]);
        let statement = format!(
            "CREATE KEYSPACE {name} WITH replication = \
             {{'class': 'SimpleStrategy', 'replication_factor': {factor}}}"
        );
        ddl(session, &[&statement]).await;
        Self { name }
    }

    pub(crate) async fn drop_it(self, session: &CqlSession) {
        ddl(session, &[&format!("DROP KEYSPACE {}", self.name)]).await;
    }
}

/// Runs a statement that must succeed.
pub(crate) async fn cql(session: &CqlSession, statement: &str) {
    if let Err(error) = session.driver().query_unpaged(statement, ()).await {
        panic!("{statement}: {error}");
    }
}

/// Runs statements that change the schema, and waits until all nodes know it.
pub(crate) async fn ddl(session: &CqlSession, statements: &[&str]) {
    for statement in statements {
        cql(session, statement).await;
    }
    session.wait_schema_agreement(Duration::from_mins(1)).await.unwrap();
}

/// Counts all rows of a table by reading them.
pub(crate) async fn count(session: &CqlSession, table: &str) -> i64 {
    let statement = format!("SELECT count(*) FROM {table}");
    let answer = session.driver().query_unpaged(statement, ()).await.unwrap();
    answer.into_rows_result().unwrap().single_row::<(i64,)>().unwrap().0
}
