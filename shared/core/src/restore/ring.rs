//! Whether a ring is still the one that a restore was planned for.
//!
//! A node's share follows from who owns what. If the ring or the replication changes after the plan,
//! a node lacks what it newly owns, and cleanup drops what nobody else was given: so it is compared
//! before each step that changes something.

use std::collections::BTreeMap;

use crate::cluster::{Replication, Topology};

/// What is otherwise now than planned, in words; nothing if the plan still holds. A keyspace that is
/// not there (yet) is no difference: it is created as planned, or its tables are missed elsewhere.
pub fn ring_changes(
    planned: &Topology,
    now: &Topology,
    keyspaces: &BTreeMap<String, Replication>,
) -> Vec<String> {
    let mut changes = Vec::new();
    for node in &planned.nodes {
        match now.node(node.host_id) {
            None => changes.push(format!("node {} is no member any more", node.address)),
            Some(is) if (&is.tokens, &is.dc, &is.rack) != (&node.tokens, &node.dc, &node.rack) => {
                changes.push(format!("node {} has other tokens or another place", node.address));
            }
            Some(_) => {}
        }
    }
    for node in now.nodes.iter().filter(|node| planned.node(node.host_id).is_none()) {
        changes.push(format!("node {} has joined", node.address));
    }
    for (keyspace, replication) in keyspaces {
        if now.keyspaces.get(keyspace).is_some_and(|is| is != replication) {
            changes.push(format!("the replication of keyspace {keyspace} has changed"));
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Token, testing::ring_of};

    #[test]
    fn every_change_that_moves_ownership_is_told() {
        let rule = |factor| Replication::Simple { factor };
        let mut planned = ring_of(&[("dc1", "r1", &[0]), ("dc1", "r1", &[10])]);
        planned.keyspaces.insert("k".into(), rule(2));
        let keyspaces = BTreeMap::from([("k".to_owned(), rule(2)), ("new".to_owned(), rule(1))]);
        let changes = |change: &dyn Fn(&mut Topology)| {
            let mut now = planned.clone();
            change(&mut now);
            ring_changes(&planned, &now, &keyspaces).join("; ")
        };
        assert_eq!(changes(&|now| now.nodes[0].address = "elsewhere".into()), "");
        assert_eq!(changes(&|now| now.nodes.truncate(1)), "node 127.0.0.2 is no member any more");
        assert!(changes(&|now| now.nodes[1].tokens = vec![Token(11)]).contains("other tokens"));
        assert!(changes(&|now| now.nodes[1].rack = "r2".into()).contains("another place"));
        let more = ring_of(&[("dc1", "r1", &[0]), ("dc1", "r1", &[10]), ("dc1", "r1", &[20])]);
        assert_eq!(changes(&|now| now.nodes.clone_from(&more.nodes)), "node 127.0.0.3 has joined");
        let other = changes(&|now| drop(now.keyspaces.insert("k".into(), rule(3))));
        assert_eq!(other, "the replication of keyspace k has changed");
        assert_eq!(changes(&|now| drop(now.keyspaces.insert("new".into(), rule(1)))), "");
    }
}
