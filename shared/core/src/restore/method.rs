//! The choice of method.
//!
//! `copy` is right only where each target node is to own exactly what its twin in the backup owned,
//! keyspace by keyspace: the same tokens say nothing when the replication is another. Then a node
//! would get no data for ranges it has newly become a replica of, or data that it must refuse.
//!
//! Between the methods for any ring, whole SSTables and slices of them, it is chosen by the bytes
//! that they would move. A slice costs requests and work that a whole file does not, so it has to
//! save something.
//!
//! `stream` is never chosen, only told of where it would move much less. Slices fetch what it streams
//! and nothing else, so it saves nothing where they can be made. Where they cannot, it saves at the
//! price of things that are the operator's to weigh: every owner of a range must be up for every
//! SSTable of it, the nodes write what they receive a second time beside what they fetched, at
//! Cassandra's own limit for streams, and storage-attached indexes have to wait until it is over.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    HostId,
    cluster::{Replication, Ring, Topology},
    job::RestoreMethod,
    size::format_size,
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
    /// Of every SSTable that meets a target node's ranges, the partitions in these ranges.
    Slice,
    /// Every SSTable that meets a target node's ranges, whole; cleanup afterwards.
    Import,
    /// Every SSTable, whole, by one target node, which has Cassandra stream it to its owners.
    Stream,
}

impl Method {
    /// As asked for and shown.
    pub const fn name(&self) -> RestoreMethod {
        match self {
            Self::Copy { .. } => RestoreMethod::Copy,
            Self::Slice => RestoreMethod::Slice,
            Self::Import => RestoreMethod::Import,
            Self::Stream => RestoreMethod::Stream,
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
    /// `slice` was asked for and some SSTables cannot be cut.
    #[error("method slice cannot be used: {0}")]
    SliceImpossible(String),
}

/// What the methods for any ring would move, over all target nodes, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Whole SSTables.
    pub import: u64,
    /// Slices of them, as estimated.
    pub slice: u64,
    /// Whole SSTables once, and what is then sent of them from node to node, as estimated.
    pub stream: u64,
}

impl Moved {
    /// Whether slices save at least a tenth.
    const fn is_slicing_worth_it(self) -> bool {
        self.slice < self.import - self.import / 10
    }

    /// Whether streams save at least half.
    const fn is_streaming_worth_telling(self) -> bool {
        self.stream < self.import / 2
    }
}

/// Chooses between what is possible. `held` are the nodes whose manifests the backup has,
/// `keyspaces` the replication that the restored keyspaces will have on the target.
///
/// Where `auto` finds that `copy` cannot be, it is `import` for now, and [`settle_method`] decides
/// once it is known what would be moved.
pub fn choose_method(
    wanted: RestoreMethod,
    source: &Topology,
    held: &[HostId],
    target: &Topology,
    keyspaces: &BTreeMap<String, Replication>,
) -> Result<MethodChoice, NoMethod> {
    let import = |reason: String| MethodChoice { method: Method::Import, reason };
    match wanted {
        RestoreMethod::Import => return Ok(import("asked for".to_owned())),
        RestoreMethod::Slice => {
            return Ok(MethodChoice { method: Method::Slice, reason: "asked for".to_owned() });
        }
        RestoreMethod::Stream => {
            return Ok(MethodChoice { method: Method::Stream, reason: "asked for".to_owned() });
        }
        RestoreMethod::Auto | RestoreMethod::Copy => {}
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

/// The rest of the choice: whether slices are possible, and between them and whole SSTables for
/// `auto`. `unsliceable` says which SSTables cannot be cut, if there are any: of a table every SSTable
/// is sliced or none is, as a deletion may lie in another than what it deletes.
pub fn settle_method(
    choice: MethodChoice,
    wanted: RestoreMethod,
    moved: Moved,
    unsliceable: Option<String>,
) -> Result<MethodChoice, NoMethod> {
    match (choice.method, wanted, unsliceable) {
        (Method::Slice, _, Some(why)) => Err(NoMethod::SliceImpossible(why)),
        (Method::Import, RestoreMethod::Auto, Some(why)) if moved.is_slicing_worth_it() => {
            let mut reason = format!("{}; slices would move less, but {why}", choice.reason);
            if moved.is_streaming_worth_telling() {
                let (part, whole) = (format_size(moved.stream), format_size(moved.import));
                reason = format!("{reason}; --method stream would move about {part} instead of {whole}");
            }
            Ok(MethodChoice { method: Method::Import, reason })
        }
        (Method::Import, RestoreMethod::Auto, None) if moved.is_slicing_worth_it() => {
            let (part, whole) = (format_size(moved.slice), format_size(moved.import));
            let reason = format!("{}; about {part} instead of {whole} of whole SSTables", choice.reason);
            Ok(MethodChoice { method: Method::Slice, reason })
        }
        (method, _, _) => Ok(MethodChoice { method, reason: choice.reason }),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_chosen_where_they_save_something() {
        let settle = |wanted, import, slice, unsliceable: Option<&str>| {
            let method = if wanted == RestoreMethod::Slice { Method::Slice } else { Method::Import };
            let choice = MethodChoice { method, reason: "other rings".to_owned() };
            let moved = Moved { import, slice, stream: 2000 };
            settle_method(choice, wanted, moved, unsliceable.map(str::to_owned))
        };
        let auto =
            |import, slice, unsliceable| settle(RestoreMethod::Auto, import, slice, unsliceable).unwrap();
        let chosen = auto(4000, 3000, None);
        assert_eq!(chosen.method, Method::Slice);
        assert_eq!(chosen.reason, "other rings; about 2.93 KiB instead of 3.91 KiB of whole SSTables");
        assert_eq!(auto(4000, 3900, None).method, Method::Import);
        assert_eq!(auto(0, 0, None).method, Method::Import);
        let chosen = auto(4000, 3000, Some("they are odd"));
        assert_eq!(chosen.method, Method::Import);
        assert!(chosen.reason.ends_with("slices would move less, but they are odd"));
        let chosen = auto(8000, 3000, Some("they are odd"));
        assert_eq!(chosen.method, Method::Import, "told of, not chosen");
        let told = "but they are odd; --method stream would move about 1.95 KiB instead of 7.81 KiB";
        assert!(chosen.reason.ends_with(told), "{}", chosen.reason);
        assert!(!auto(8000, 3000, None).reason.contains("stream"), "slices move no more");
        assert_eq!(auto(4000, 3900, Some("they are odd")).reason, "other rings");
        assert_eq!(settle(RestoreMethod::Import, 4000, 1, None).unwrap().method, Method::Import);
        assert_eq!(settle(RestoreMethod::Slice, 1, 4000, None).unwrap().method, Method::Slice);
        assert!(settle(RestoreMethod::Slice, 4000, 1, Some("odd")).is_err());
    }
}
