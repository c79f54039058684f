//! What was last known of the node, kept in the worker's state folder.
//!
//! A node that is down is still this worker's: its tasks wait for it instead of having no place, and
//! what was staged beside its data can be found and removed. Replaced as soon as the node, or
//! another in its place, tells of itself again.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use ringvault_core::{HostId, cluster::Token};
use ringvault_queue::message::NodeHello;
use serde::{Deserialize, Serialize};

use crate::identity::write_durably;

const FILE: &str = "node.json";

/// What a node said of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Description {
    host_id: HostId,
    dc: String,
    rack: String,
    tokens: Vec<Token>,
    address: String,
    cassandra_version: Option<String>,
    partitioner: Option<String>,
    schema_version: Option<String>,
    data_dirs: Vec<String>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct KnownNode {
    file: PathBuf,
    last: Mutex<Option<Description>>,
}

impl KnownNode {
    /// Reads what was kept; it is a cache, so what cannot be read counts as nothing.
    pub(super) fn read(state_dir: &Path) -> Self {
        let file = state_dir.join(FILE);
        let last = std::fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
        Self { file, last: Mutex::new(last) }
    }

    /// Address of the node, empty if none was ever known.
    pub(super) fn address(&self) -> String {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().map(|node| node.address.clone()).unwrap_or_default()
    }

    /// Keeps what the node said.
    pub(super) fn keep(&self, hello: &NodeHello) {
        let Some(host_id) = hello.host_id else { return };
        let description = Description {
            host_id,
            dc: hello.dc.clone(),
            rack: hello.rack.clone(),
            tokens: hello.tokens.clone(),
            address: hello.address.clone(),
            cassandra_version: hello.cassandra_version.clone(),
            partitioner: hello.partitioner.clone(),
            schema_version: hello.schema_version.clone(),
            data_dirs: hello.data_dirs.clone(),
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref() == Some(&description) {
            return;
        }
        let written = serde_json::to_string(&description)
            .map_err(std::io::Error::other)
            .and_then(|text| write_durably(&self.file, &text));
        if let Err(error) = written {
            tracing::warn!(%error, file = %self.file.display(), "what is known of the node could not be kept");
        }
        *last = Some(description);
    }

    /// Says in `hello` what the node last said.
    pub(super) fn recall(&self, hello: &mut NodeHello) {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(last) = last else { return };
        hello.host_id = Some(last.host_id);
        hello.dc = last.dc;
        hello.rack = last.rack;
        hello.tokens = last.tokens;
        hello.address = last.address;
        hello.cassandra_version = last.cassandra_version;
        hello.partitioner = last.partitioner;
        hello.schema_version = last.schema_version;
        hello.data_dirs = last.data_dirs;
        hello.topology = None;
    }

    /// The data directories it last had.
    pub(super) fn data_dirs(&self) -> Option<Vec<PathBuf>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().map(|last| last.data_dirs.iter().map(PathBuf::from).collect())
    }
}

#[cfg(test)]
mod tests {
    use ringvault_core::{ClusterName, WorkerId};
    use ringvault_queue::message::DiskSpace;
    use uuid::Uuid;

    use super::*;

    fn hello(host_id: Option<u128>) -> NodeHello {
        NodeHello {
            worker: WorkerId::generate(),
            incarnation: Uuid::now_v7(),
            cluster: ClusterName::new("c").unwrap(),
            host_id: host_id.map(|id| HostId(Uuid::from_u128(id))),
            stands_for: None,
            dc: "dc1".to_owned(),
            rack: "r1".to_owned(),
            tokens: vec![Token(7)],
            address: "10.0.0.1".to_owned(),
            cassandra_version: Some("5.0.4".to_owned()),
            partitioner: None,
            schema_version: None,
            data_dirs: vec!["/data".to_owned()],
            disk: DiskSpace::default(),
            capabilities: std::collections::BTreeSet::new(),
            slots: 4,
            short_slots: 1,
            version: "0".to_owned(),
            topology: None,
            problem: None,
            edition: None,
            ends: false,
        }
    }

    #[test]
    fn a_node_that_is_down_is_still_known_after_a_restart_of_the_worker() {
        let state = tempfile::tempdir().unwrap();
        let known = KnownNode::read(state.path());
        let mut down = hello(None);
        known.recall(&mut down);
        assert_eq!(down.host_id, None, "never seen");
        known.keep(&hello(Some(1)));
        let known = KnownNode::read(state.path());
        let mut down = NodeHello { data_dirs: Vec::new(), address: String::new(), ..hello(None) };
        known.recall(&mut down);
        assert_eq!((down.host_id, down.address.as_str()), (hello(Some(1)).host_id, "10.0.0.1"));
        assert_eq!(known.data_dirs(), Some(vec![PathBuf::from("/data")]));
        // Another node in its place.
        known.keep(&hello(Some(2)));
        known.recall(&mut down);
        assert_eq!(down.host_id, hello(Some(2)).host_id);
    }
}
