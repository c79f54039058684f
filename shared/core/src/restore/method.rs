//! The choice of method.
//!
//! `copy` is right only where each target node is to own exactly what its twin in the backup owned,
//! keyspace by keyspace: the same tokens say nothing when the replication is another. Then a node
//! would get no data for ranges it has newly become a replica of, or data that it must refuse.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    HostId,
    cluster::{Replication, Ring, Topology},
    job::RestoreMethod,
};

/// How files get from the backup's nodes to the target's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum Method {
    /// Same tokens: target node → the backup's node whose files it takes.
    Copy {
        /// By target host.
        sources: BTreeMap<HostId, HostId>,
    },
    /// Every SSTable that meets a target node's ranges, whole; cleanup afterwards.
    Import,
}

impl Method {
    /// As asked for and shown.
    pub const fn name(&self) -> RestoreMethod {
        match self {
            Self::Copy { .. } => RestoreMethod::Copy,
            Self::Import => RestoreMethod::Import,
        }
    }
}

/// A method and why it was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodChoice {
    /// The method.
    pub method: Method,
    /// In words.
    pub reason: String,
}

/// No method, or not the one asked for, can do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoMethod {
    /// `copy` was asked for and the rings or the replication differ.
    #[error("method copy needs the same tokens and replication on both sides: {0}")]
    CopyImpossible(String),
}

/// Chooses between what is possible. `held` are the nodes whose manifests the backup has,
/// `keyspaces` the replication that the restored keyspaces will have on the target.
pub fn choose_method(
    wanted: RestoreMethod,
    source: &Topology,
    held: &[HostId],
    target: &Topology,
    keyspaces: &BTreeMap<String, Replication>,
) -> Result<MethodChoice, NoMethod> {
    let import = |reason: String| MethodChoice { method: Method::Import, reason };
    if wanted == RestoreMethod::Import {
        return Ok(import("asked for".to_owned()));
    }
    let sources = twins(source, held, target).and_then(|sources| {
        same_ownership(source, target, keyspaces, &sources)?;
        Ok(sources)
    });
    match (wanted, sources) {
        (_, Ok(sources)) => Ok(MethodChoice {
            method: Method::Copy { sources },
            reason: "every target node owns what a node in the backup owned".to_owned(),
        }),
        (RestoreMethod::Copy, Err(why)) => Err(NoMethod::CopyImpossible(why)),
        (_, Err(why)) => Ok(import(why)),
    }
}

/// Pairs target nodes with the backup's nodes of the same tokens, racks and data centers.
fn twins(source: &Topology, held: &[HostId], target: &Topology) -> Result<BTreeMap<HostId, HostId>, String> {
    if source.nodes.len() != target.nodes.len() {
        return Err(format!(
            "the backup's ring has {} nodes, the target's {}",
            source.nodes.len(),
            target.nodes.len()
        ));
    }
    let by_tokens: BTreeMap<_, _> = source.nodes.iter().map(|node| (&node.tokens, node)).collect();
    target
        .nodes
        .iter()
        .map(|node| {
            let twin = by_tokens
                .get(&node.tokens)
                .filter(|twin| twin.dc == node.dc && twin.rack == node.rack)
                .ok_or_else(|| {
                    format!("no node of the backup has the tokens and rack of {}", node.address)
                })?;
            if !held.contains(&twin.host_id) {
                return Err(format!("the backup does not hold node {}", twin.address));
            }
            Ok((node.host_id, twin.host_id))
        })
        .collect()
}

/// Refuses keyspaces of which a node would own other ranges than its twin did.
fn same_ownership(
    source: &Topology,
    target: &Topology,
    keyspaces: &BTreeMap<String, Replication>,
    sources: &BTreeMap<HostId, HostId>,
) -> Result<(), String> {
    let (was_ring, is_ring) = (Ring::new(source), Ring::new(target));
    for (keyspace, is) in keyspaces {
        let was = source.keyspaces.get(keyspace);
        // The same rule on twins of the same tokens and places owns the same: nothing to compare.
        if was == Some(is) {
            continue;
        }
        let (now, before) = (is_ring.ownership(is), was.map(|was| was_ring.ownership(was)));
        let differs = sources
            .iter()
            .any(|(host, twin)| now.of(*host) != before.as_ref().and_then(|before| before.of(*twin)));
        if differs {
            return Err(format!("keyspace {keyspace} is replicated otherwise than in the backup"));
        }
    }
    Ok(())
}
