//! The lab that the tests run against: where everything is, and breaking and mending parts of it.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use tokio::process::Command;

use crate::process::{Ended, run};

/// The cluster that most tests use.
pub const T1: &str = "t1";

/// `dev/lab` with the folder that `dev/test` gave it.
#[derive(Debug, Clone)]
pub struct Lab {
    program: PathBuf,
    dir: PathBuf,
}

/// `dev/lab status --json`, as far as it is needed.
#[derive(Debug, Clone, Deserialize)]
pub struct Status {
    /// The scheduler's address.
    pub server: Option<String>,
    /// The administrator's token.
    pub token_file: PathBuf,
    /// The programs.
    pub bin_dir: PathBuf,
    /// PostgreSQL, RabbitMQ, the store, schedulers.
    pub services: Services,
    /// By name.
    pub clusters: BTreeMap<String, ClusterStatus>,
}

/// What Ringvault stands on.
#[derive(Debug, Clone, Deserialize)]
pub struct Services {
    /// The database.
    pub postgres: Postgres,
    /// The broker.
    pub rabbitmq: Rabbitmq,
    /// The object store.
    pub store: StoreStatus,
    /// Schedulers.
    pub schedulers: Vec<SchedulerStatus>,
}

/// The database.
#[derive(Debug, Clone, Deserialize)]
pub struct Postgres {
    /// How the schedulers connect.
    pub url_file: PathBuf,
    /// Its process.
    pub pid: Option<u32>,
}

/// The broker.
#[derive(Debug, Clone, Deserialize)]
pub struct Rabbitmq {
    /// How another system connects.
    pub requester_url_file: PathBuf,
    /// How its owner connects, to look into the dead queue.
    pub administrator_url_file: PathBuf,
    /// Its process.
    pub pid: Option<u32>,
}

/// The object store.
#[derive(Debug, Clone, Deserialize)]
pub struct StoreStatus {
    /// `versitygw`, `minio` or `folder`.
    pub kind: String,
    /// The vault's address, such as `s3://bucket/prefix`.
    pub url: String,
    /// Where the objects lie as files.
    pub folder: PathBuf,
    /// The key, if the vault is encrypted.
    pub encryption_key_file: Option<PathBuf>,
    /// Its address, if it is an S3 server.
    pub endpoint: Option<String>,
    /// Its process, if it is one.
    pub pid: Option<u32>,
}

/// A scheduler.
#[derive(Debug, Clone, Deserialize)]
pub struct SchedulerStatus {
    /// Its number.
    pub index: u32,
    /// Its address.
    pub url: Option<String>,
    /// Its configuration.
    pub config: PathBuf,
    /// Its process.
    pub pid: Option<u32>,
}

/// A cluster.
#[derive(Debug, Clone, Deserialize)]
pub struct ClusterStatus {
    /// Release.
    pub cassandra: String,
    /// Its nodes.
    pub nodes: Vec<NodeStatus>,
}

impl ClusterStatus {
    /// Whether it is Cassandra 5 or newer.
    pub fn is_five(&self) -> bool {
        !self.cassandra.starts_with("4.")
    }
}

/// A node.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeStatus {
    /// Its number, from 1.
    pub index: u32,
    /// Its address.
    pub address: String,
    /// CQL port.
    pub cql_port: u16,
    /// JMX over HTTP.
    pub jolokia_url: url::Url,
    /// Its process.
    pub pid: Option<u32>,
    /// Its data directories.
    pub data_dirs: Vec<PathBuf>,
    /// Its worker.
    pub worker: Option<WorkerStatus>,
}

/// A worker.
#[derive(Debug, Clone, Deserialize)]
pub struct WorkerStatus {
    /// Its configuration.
    pub config: PathBuf,
    /// What it keeps.
    pub state_dir: PathBuf,
    /// Its process.
    pub pid: Option<u32>,
}

impl Lab {
    /// The lab of `dev/test`.
    ///
    /// # Panics
    /// If the tests are not run under `dev/test`.
    pub fn from_env() -> Self {
        let var = |name: &str| {
            env::var_os(name)
                .map_or_else(|| panic!("{name} is not set: run these tests with dev/test"), PathBuf::from)
        };
        Self { program: var("RINGVAULT_LAB_PROGRAM"), dir: var("RINGVAULT_LAB_DIR") }
    }

    /// Another lab beside this one, in a folder next to it.
    #[must_use]
    pub fn beside(&self, name: &str) -> Self {
        let mut dir = self.dir.clone().into_os_string();
        dir.push("-");
        dir.push(name);
        Self { program: self.program.clone(), dir: dir.into() }
    }

    /// `dev/lab` with these arguments; fails unless it ends with 0.
    pub async fn run(&self, arguments: &[&str]) -> Result<Ended> {
        run(self.command().args(arguments)).await?.expect(0)
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `dev/lab`, to be run.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("RINGVAULT_LAB_DIR", &self.dir);
        command
    }

    /// Where everything is now.
    pub async fn status(&self) -> Result<Status> {
        self.run(&["status", "--json"]).await?.json()
    }

    /// A cluster of it.
    pub async fn cluster(&self, name: &str) -> Result<ClusterStatus> {
        let mut status = self.status().await?;
        status.clusters.remove(name).with_context(|| format!("the lab has no cluster {name}"))
    }

    /// What `nodetool` prints on a node.
    pub async fn nodetool(&self, cluster: &str, node: u32, arguments: &[&str]) -> Result<String> {
        let node = node.to_string();
        let own = ["nodetool", "--cluster", cluster, "--node", &node];
        Ok(self.run(&[&own, arguments].concat()).await?.stdout)
    }

    /// Flushes a keyspace on every node, so that what was written is in SSTables of its own.
    pub async fn flush(&self, cluster: &str, keyspace: &str) -> Result<()> {
        let nodes = self.cluster(cluster).await?.nodes;
        futures::future::try_join_all(
            nodes.iter().map(async |node| self.nodetool(cluster, node.index, &["flush", keyspace]).await),
        )
        .await?;
        Ok(())
    }

    /// Snapshot folders that lie in a node's data directories, of any keyspace.
    pub async fn snapshots(&self, cluster: &str) -> Result<Vec<PathBuf>> {
        let nodes = self.cluster(cluster).await?.nodes;
        let mut found = Vec::new();
        for dir in nodes.iter().flat_map(|node| &node.data_dirs) {
            for table in walkdir::WalkDir::new(dir).min_depth(2).max_depth(2) {
                if let Ok(tags) = fs::read_dir(table?.path().join("snapshots")) {
                    for tag in tags {
                        found.push(tag?.path());
                    }
                }
            }
        }
        // Cassandra's own, taken when a table is dropped or truncated, are nobody else's to clear.
        found.retain(|path| {
            let tag = path.file_name().unwrap_or_default().to_string_lossy();
            !tag.starts_with("dropped-") && !tag.starts_with("truncated-")
        });
        Ok(found)
    }
}
