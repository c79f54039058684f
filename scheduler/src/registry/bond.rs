//! Whether a worker belongs to the ring that its cluster's id is bound to.

use ringvault_core::HostId;
use ringvault_queue::message::NodeHello;

/// The judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bond {
    /// Of this ring, or of none yet.
    Member,
    /// Of another one, with why.
    Stranger(String),
}

/// A worker belongs to the ring if it shares a member with it: rings change node by node, and a
/// host id is never in two of them. The id of an unbound cluster goes to the first ring that claims
/// it. A worker without a node yet has no ring to differ in.
pub(super) fn bond_of(bound_to: &[HostId], hello: &NodeHello) -> Bond {
    let seen: Vec<HostId> = hello
        .topology
        .iter()
        .flat_map(|topology| topology.nodes.iter().map(|node| node.host_id))
        .chain(hello.host_id.or(hello.stands_for))
        .collect();
    if bound_to.is_empty() || seen.is_empty() || seen.iter().any(|host| bound_to.contains(host)) {
        return Bond::Member;
    }
    let cluster = &hello.cluster;
    Bond::Stranger(match &hello.topology {
        None if hello.stands_for.is_some() => {
            format!("it stands for a node that is not known as a member of {cluster}")
        }
        None => format!(
            "its node is not known as a member of {cluster}, and could not be asked which ring it is in"
        ),
        Some(topology) => format!(
            "cluster id {cluster} is bound to another ring: none of the {} members that this worker \
             sees is one of its {}. If that ring is gone for good: ringvault cluster rebind {cluster}",
            topology.nodes.len(),
            bound_to.len()
        ),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn host(n: u128) -> HostId {
        HostId(Uuid::from_u128(n))
    }

    fn hello(own: Option<u128>, ring: Option<&[u128]>) -> NodeHello {
        let node = |n: &u128| json!({"host_id": host(*n), "address": "10.0.0.1", "dc": "d", "rack": "r", "tokens": [1]});
        let mut hello = json!({
            "worker": Uuid::from_u128(9), "incarnation": Uuid::from_u128(9), "cluster": "c",
            "disk": {"total": 1, "free": 1}, "slots": 4, "short_slots": 1, "version": "0",
        });
        if let Some(own) = own {
            hello["host_id"] = json!(host(own));
        }
        if let Some(ring) = ring {
            hello["topology"] = json!({"nodes": ring.iter().map(node).collect::<Vec<_>>()});
        }
        serde_json::from_value(hello).unwrap()
    }

    #[test]
    fn a_ring_is_known_by_its_members() {
        let bound = [host(1), host(2), host(3)];
        let member = |own, ring: Option<&[u128]>| bond_of(&bound, &hello(own, ring)) == Bond::Member;
        assert!(member(Some(1), Some(&[1, 2, 3])));
        assert!(member(Some(4), Some(&[1, 2, 3, 4])), "a node that joined");
        assert!(member(Some(1), None), "its node cannot be asked just now");
        assert!(member(None, None), "no node yet");
        assert!(!member(Some(7), Some(&[7, 8])), "another ring");
        assert!(!member(Some(7), None));
        let stands_for = |n| NodeHello { stands_for: Some(host(n)), ..hello(None, None) };
        assert_eq!(bond_of(&bound, &stands_for(1)), Bond::Member);
        assert!(matches!(bond_of(&bound, &stands_for(7)), Bond::Stranger(_)));
        assert_eq!(bond_of(&[], &hello(Some(7), Some(&[7, 8]))), Bond::Member);
    }
}
