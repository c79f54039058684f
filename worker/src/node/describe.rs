//! What a worker announces about its node.

use std::{collections::BTreeSet, path::Path};

use ringvault_cassandra::cql::RingView;
use ringvault_core::{TaskError, WorkerId, restore::STREAM_CAPABILITY, rows::ROWS_CAPABILITY};
use ringvault_queue::message::{DiskSpace, NodeHello};
use uuid::Uuid;

use super::Node;
use crate::config::WorkerConfig;

impl Node {
    /// Looks at the node and describes it; a node that cannot be asked is described by its problem.
    pub async fn describe(&self, config: &WorkerConfig, worker: WorkerId, incarnation: Uuid) -> NodeHello {
        let mut hello = NodeHello {
            worker,
            incarnation,
            cluster: config.cluster.clone(),
            host_id: None,
            stands_for: None,
            dc: String::new(),
            rack: String::new(),
            tokens: Vec::new(),
            address: String::new(),
            cassandra_version: None,
            partitioner: None,
            schema_version: None,
            data_dirs: Vec::new(),
            disk: DiskSpace::default(),
            capabilities: capabilities(config),
            slots: config.worker.slots,
            short_slots: config.worker.short_slots,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            topology: None,
            problem: None,
            edition: None,
            ends: false,
        };
        if let Err(problem) = self.fill(&mut hello).await {
            self.reconnect().await;
            self.known.recall(&mut hello);
            hello.problem = Some(problem.message);
            self.stand_in(&mut hello);
        } else if let Some(problem) = self.another_than_meant(&hello) {
            // What runs here must not be: its tasks are nobody's.
            hello.host_id = None;
            hello.topology = None;
            hello.problem = Some(problem);
        } else {
            self.known.keep(&hello);
        }
        let data_dir = hello.data_dirs.first().map(Path::new);
        if let Some(Err(problem)) = data_dir.map(|dir| self.claim.take(dir)) {
            // The node is the other worker's; this one may still do what concerns the vault alone.
            hello.host_id = None;
            hello.stands_for = None;
            hello.topology = None;
            hello.problem = Some(problem.message);
        }
        let staged_beside = config.worker.stage_dir.as_deref().or(data_dir);
        hello.disk = disk_space(staged_beside.unwrap_or(&config.state_dir));
        hello
    }

    /// Says which node this machine is to become, while none runs on it that is known to be that one.
    fn stand_in(&self, hello: &mut NodeHello) {
        let Some(host) = self.stands_for.filter(|host| hello.host_id != Some(*host)) else { return };
        hello.host_id = None;
        hello.stands_for = Some(host);
        hello.data_dirs = self.configured_data_dirs.iter().map(|dir| dir.display().to_string()).collect();
        hello.problem = Some(format!("stands for node {host}, which is to be restored here offline"));
    }

    /// That another node runs here than the one that this machine stands for.
    fn another_than_meant(&self, hello: &NodeHello) -> Option<String> {
        let (host, runs) = (self.stands_for?, hello.host_id?);
        (host != runs).then(|| {
            format!(
                "node {runs} runs here, though the worker stands for node {host} (cassandra.stands_for): stop it, or take the setting away"
            )
        })
    }

    async fn fill(&self, hello: &mut NodeHello) -> Result<(), TaskError> {
        let cql = self.cql().await?;
        let RingView { topology, seen_by, .. } = cql.ring_view().await?;
        hello.host_id = Some(seen_by);
        if let Some(node) = topology.node(seen_by) {
            hello.dc.clone_from(&node.dc);
            hello.rack.clone_from(&node.rack);
            hello.tokens.clone_from(&node.tokens);
            hello.address.clone_from(&node.address);
        }
        let local = cql.local();
        hello.cassandra_version = Some(local.release_version.clone());
        hello.partitioner = Some(local.partitioner.clone());
        let versions = cql.schema_versions().await?;
        hello.schema_version = versions.agreed().map(|version| version.to_string());
        hello.topology = Some(topology);
        let data_dirs = self.data_dirs().await?;
        hello.data_dirs = data_dirs.iter().map(|dir| dir.display().to_string()).collect();
        Ok(())
    }
}

/// What it may do beyond its node, and what a worker of another release may not know how to do.
fn capabilities(config: &WorkerConfig) -> BTreeSet<String> {
    config
        .worker
        .capabilities
        .iter()
        .cloned()
        .chain([STREAM_CAPABILITY, ROWS_CAPABILITY].map(str::to_owned))
        .collect()
}

/// Of the file system that `path` is on, or would be.
fn disk_space(path: &Path) -> DiskSpace {
    let there = path.ancestors().find(|dir| dir.exists()).unwrap_or(path);
    ringvault_vault::disk::space(there)
        .map(|space| DiskSpace { total: space.total, free: space.free })
        .unwrap_or_default()
}
