//! The ring as the node sees it: `system.local`, `system.peers_v2`, `system_schema.keyspaces`.

use std::{collections::BTreeMap, net::IpAddr};

use ringvault_core::{
    HostId,
    cluster::{Node, Replication, Token, Topology},
};
use uuid::Uuid;

use super::{CqlSession, Result};
use crate::NodeErrorKind;

/// The ring and how it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingView {
    /// Members that own tokens, and every keyspace's replication.
    pub topology: Topology,
    /// Who saw it so.
    pub seen_by: HostId,
    /// Members by host id that own no tokens yet or any more; they hold no data of the ring.
    pub without_tokens: Vec<HostId>,
}

type MemberRow = (Option<Uuid>, Option<IpAddr>, Option<String>, Option<String>, Option<Vec<String>>);

impl CqlSession {
    /// The ring as this node sees it.
    pub async fn topology(&self) -> Result<Topology> {
        Ok(self.ring_view().await?.topology)
    }

    /// The ring as this node sees it, with who sees it and who is without tokens.
    pub async fn ring_view(&self) -> Result<RingView> {
        let operation = "read the ring";
        let partitioner = &self.local().partitioner;
        if !partitioner.ends_with(".Murmur3Partitioner") {
            let what = format!("partitioner {partitioner}: only Murmur3Partitioner is");
            return Err(self.error(operation, NodeErrorKind::Unsupported(what)));
        }
        let local = "SELECT host_id, rpc_address, data_center, rack, tokens FROM system.local";
        let peers = "SELECT host_id, native_address, data_center, rack, tokens FROM system.peers_v2";
        let mut rows: Vec<MemberRow> = self.rows(operation, local, ()).await?;
        rows.extend(self.rows::<MemberRow>(operation, peers, ()).await?);

        let mut nodes = Vec::new();
        let mut without_tokens = Vec::new();
        for (host_id, address, dc, rack, tokens) in rows {
            // A row without a host id is a peer that gossip has only heard of.
            let Some(host_id) = host_id.map(HostId) else {
                continue;
            };
            let tokens = tokens.unwrap_or_default();
            if tokens.is_empty() {
                without_tokens.push(host_id);
                continue;
            }
            let lacks = |what: &str| self.failed(operation, format!("node {host_id} has no {what}"));
            let mut tokens = tokens
                .iter()
                .map(|token| token.parse().map(Token))
                .collect::<std::result::Result<Vec<_>, _>>()
                .map_err(|error| self.failed(operation, format!("token of {host_id}: {error}")))?;
            tokens.sort_unstable();
            nodes.push(Node {
                host_id,
                address: address.ok_or_else(|| lacks("address"))?.to_string(),
                dc: dc.ok_or_else(|| lacks("data center"))?,
                rack: rack.ok_or_else(|| lacks("rack"))?,
                tokens,
            });
        }
        nodes.sort_by_key(|node| node.host_id);
        let keyspaces = self.replication().await?;
        let topology = Topology { nodes, keyspaces };
        Ok(RingView { topology, seen_by: self.local().host_id, without_tokens })
    }

    /// Every keyspace's replication.
    pub async fn replication(&self) -> Result<BTreeMap<String, Replication>> {
        let operation = "read the keyspaces' replication";
        let text = "SELECT keyspace_name, replication FROM system_schema.keyspaces";
        let rows: Vec<(String, BTreeMap<String, String>)> = self.rows(operation, text, ()).await?;
        let mut replication = BTreeMap::new();
        for (keyspace, options) in rows {
            let Some(known) = Replication::from_options(&options) else {
                let what = format!("replication of keyspace {keyspace}: {options:?}");
                return Err(self.error(operation, NodeErrorKind::Unsupported(what)));
            };
            replication.insert(keyspace, known);
        }
        Ok(replication)
    }
}
