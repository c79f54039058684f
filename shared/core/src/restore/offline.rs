//! Which nodes an offline restore makes again what they were, and what stands in its way.
//!
//! A node comes back whole: its SSTables with those of `system`, which say its host id and tokens, and of
//! `system_schema`. So it needs neither the schema nor a ring of the same shape, but its place: what it
//! says on its return must still be true in the ring that it returns to. With every node of the ring there
//! is no such question, unless a node has joined since that the backup does not know.
//!
//! Pure, over what the seal says and what a node that is up sees of the ring; after the loss of everything
//! there is nobody to ask.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{AUTH_KEYSPACE, ring_changes};
use crate::{
    BackupName, HostId,
    cluster::{Node, Replication, Topology},
    selection::is_system_keyspace,
};

/// Cassandra's default `gc_grace_seconds`.
const GC_GRACE: Duration = Duration::from_hours(240);

/// What is asked for, and of what.
#[derive(Debug, Clone, Copy)]
pub struct OfflineAsk<'a> {
    /// The backup.
    pub backup: &'a BackupName,
    /// Its ring.
    pub source: &'a Topology,
    /// The nodes whose manifests it has.
    pub held: &'a [HostId],
    /// The nodes to restore; none: all.
    pub nodes: &'a [HostId],
    /// The ring as a node sees it that is up; `None` where none answers.
    pub now: Option<&'a RingNow>,
    /// How old the backup is.
    pub age: Duration,
}

/// The ring as one of its nodes sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RingNow {
    /// Members and keyspaces.
    pub topology: Topology,
    /// The members that it takes to be up.
    pub up: BTreeSet<HostId>,
}

/// The nodes, and what there is to say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OfflineChoice {
    /// The nodes to restore, in the ring's order.
    pub nodes: Vec<HostId>,
    /// Whether these are all of the backup's ring.
    pub is_whole: bool,
    /// What must be done before it can run.
    pub blockers: Vec<String>,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

/// Chooses the nodes and says what stands in the way.
pub fn plan_offline(ask: &OfflineAsk<'_>) -> OfflineChoice {
    let mut choice = OfflineChoice::default();
    let wanted: BTreeSet<HostId> = ask.nodes.iter().copied().collect();
    for host in wanted.iter().filter(|host| ask.source.node(**host).is_none()) {
        choice.blockers.push(format!("{} knows no node {host}", ask.backup));
    }
    let nodes: Vec<&Node> =
        ask.source.nodes.iter().filter(|node| wanted.is_empty() || wanted.contains(&node.host_id)).collect();
    for node in nodes.iter().filter(|node| !ask.held.contains(&node.host_id)) {
        choice.blockers.push(format!(
            "{} does not hold {}: restore the others by name (--node), and let this one stream from them, or take another backup",
            ask.backup,
            named(node)
        ));
    }
    choice.is_whole = nodes.len() == ask.source.nodes.len();
    choice.nodes = nodes.iter().map(|node| node.host_id).collect();
    match ask.now {
        Some(now) if choice.is_whole => whole_ring(ask, now, &mut choice),
        Some(now) => part_of_ring(ask, now, &nodes, &mut choice),
        None if choice.is_whole => choice.warnings.push(
            "no node of the cluster answers, so the ring was not looked at: every node becomes what the backup says".to_owned(),
        ),
        None => choice.warnings.push(
            "no node of the cluster answers, so it was not looked at whether the ring still has these nodes".to_owned(),
        ),
    }
    if !choice.is_whole && !nodes.is_empty() {
        choice.warnings.push(
            "what was written since the backup is missing on the restored nodes until they are repaired: nodetool repair -full on each"
                .to_owned(),
        );
        if ask.age > GC_GRACE {
            choice.warnings.push(
                "the backup is older than gc_grace_seconds by its default: rows deleted since may come back from the restored nodes"
                    .to_owned(),
            );
        }
        only_there(ask, &nodes, &mut choice);
    }
    choice
}

fn named(node: &Node) -> String {
    format!("node {} ({})", node.host_id, node.address)
}

/// All of the ring goes back in time: nothing of it may be newer than the backup.
fn whole_ring(ask: &OfflineAsk<'_>, now: &RingNow, choice: &mut OfflineChoice) {
    for node in now.topology.nodes.iter().filter(|node| ask.source.node(node.host_id).is_none()) {
        choice.blockers.push(format!(
            "{} has joined since the backup, which knows nothing of it: decommission it, or restore single nodes (--node)",
            named(node)
        ));
    }
    if !now.up.is_empty() {
        choice.warnings.push(
            "every node is stopped at the same time, and everything that was written since the backup is gone: rows, schema and roles"
                .to_owned(),
        );
    }
}

/// Some nodes come back into a ring that went on.
fn part_of_ring(ask: &OfflineAsk<'_>, now: &RingNow, nodes: &[&Node], choice: &mut OfflineChoice) {
    let mut stopped = 0;
    for node in nodes {
        match now.topology.node(node.host_id) {
            None => choice.blockers.push(format!(
                "{} is no member of the ring any more: its ranges belong to others by now. Add a new node in its place",
                named(node)
            )),
            Some(is) if is.tokens != node.tokens => choice.blockers.push(format!(
                "{} has other tokens than in the backup: it would come back with ranges that others own",
                named(node)
            )),
            Some(_) => stopped += usize::from(now.up.contains(&node.host_id)),
        }
    }
    match stopped {
        0 => {}
        1 => choice.warnings.push("a node that is up is stopped meanwhile".to_owned()),
        _ => choice.warnings.push(format!("{stopped} nodes that are up are stopped at the same time")),
    }
    let chosen: BTreeSet<HostId> = nodes.iter().map(|node| node.host_id).collect();
    let others = |ring: &Topology| Topology {
        nodes: ring.nodes.iter().filter(|node| !chosen.contains(&node.host_id)).cloned().collect(),
        keyspaces: ring.keyspaces.clone(),
    };
    for change in ring_changes(&others(ask.source), &others(&now.topology), &ask.source.keyspaces) {
        choice.warnings.push(format!("{change} since the backup: repair the restored nodes"));
    }
}

/// Keyspaces of which nobody else has a copy of something.
fn only_there(ask: &OfflineAsk<'_>, nodes: &[&Node], choice: &mut OfflineChoice) {
    let keyspaces = ask.now.map_or(&ask.source.keyspaces, |now| &now.topology.keyspaces);
    let mut in_dc: BTreeMap<&str, usize> = BTreeMap::new();
    for node in nodes {
        *in_dc.entry(&node.dc).or_default() += 1;
    }
    let lost: Vec<&str> = keyspaces
        .iter()
        .filter(|(keyspace, _)| !is_system_keyspace(keyspace) || *keyspace == AUTH_KEYSPACE)
        .filter(|(_, rule)| match rule {
            Replication::Local | Replication::Everywhere => false,
            Replication::Simple { factor } => *factor as usize <= nodes.len(),
            Replication::NetworkTopology { factors } => factors
                .iter()
                .all(|(dc, factor)| *factor as usize <= in_dc.get(dc.as_str()).copied().unwrap_or(0)),
        })
        .map(|(keyspace, _)| keyspace.as_str())
        .collect();
    if !lost.is_empty() {
        choice.warnings.push(format!(
            "{} may have rows that no other node has a copy of: what was written of them since the backup is lost",
            lost.join(", ")
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Token, testing::ring_of};

    fn ring() -> Topology {
        let mut ring = ring_of(&[("d", "r1", &[0]), ("d", "r2", &[10]), ("d", "r3", &[20])]);
        ring.keyspaces = [("k".to_owned(), Replication::Simple { factor: 2 })].into();
        ring
    }

    fn plan(now: Option<&RingNow>, held: usize, nodes: &[usize], age: Duration) -> OfflineChoice {
        let source = ring();
        let ids = source.host_ids();
        let nodes: Vec<HostId> = nodes.iter().map(|index| ids[*index]).collect();
        plan_offline(&OfflineAsk {
            backup: &BackupName::new("b").unwrap(),
            source: &source,
            held: &ids[..held],
            nodes: &nodes,
            now,
            age,
        })
    }

    fn as_it_was() -> RingNow {
        let topology = ring();
        RingNow { up: topology.host_ids().into_iter().collect(), topology }
    }

    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn one_node_comes_back_into_a_ring_that_still_has_its_place() {
        let mut now = as_it_was();
        now.up.remove(&now.topology.nodes[1].host_id);
        let choice = plan(Some(&now), 3, &[1], DAY);
        assert_eq!((choice.nodes, choice.blockers), (vec![now.topology.nodes[1].host_id], Vec::new()));
        assert!(!choice.is_whole && choice.warnings.len() == 1, "{:?}", choice.warnings);
        assert!(choice.warnings[0].contains("repair"));
    }

    #[test]
    fn a_node_without_a_place_in_the_ring_is_not_brought_back() {
        let blocked = |change: &dyn Fn(&mut Topology)| {
            let mut now = as_it_was();
            change(&mut now.topology);
            plan(Some(&now), 3, &[1], DAY).blockers.join("; ")
        };
        assert_eq!(blocked(&|_| {}), "");
        assert!(blocked(&|ring| drop(ring.nodes.remove(1))).contains("no member"));
        assert!(blocked(&|ring| ring.nodes[1].tokens = vec![Token(11)]).contains("other tokens"));
        assert_eq!(blocked(&|ring| drop(ring.nodes.remove(0))), "", "another one's place is warned of");
    }

    #[test]
    fn what_the_backup_does_not_have_is_not_restored() {
        assert!(plan(None, 2, &[2], DAY).blockers[0].contains("does not hold node"));
        assert!(plan(None, 2, &[], DAY).blockers[0].contains("--node"));
        assert!(plan(None, 2, &[0, 1], DAY).blockers.is_empty());
        let source = ring();
        let stranger = HostId(uuid::Uuid::from_u128(99));
        let choice = plan_offline(&OfflineAsk {
            backup: &BackupName::new("b").unwrap(),
            source: &source,
            held: &source.host_ids(),
            nodes: &[stranger],
            now: None,
            age: DAY,
        });
        assert!(choice.nodes.is_empty() && choice.blockers[0].contains("knows no node"));
    }

    #[test]
    fn a_whole_ring_goes_back_unless_it_has_grown() {
        let lost = plan(None, 3, &[], DAY);
        assert!(lost.is_whole && lost.blockers.is_empty() && lost.nodes.len() == 3, "{lost:?}");
        let named = plan(None, 3, &[2, 0, 1], DAY);
        assert_eq!(named.nodes, lost.nodes, "all of them by name are all of them");
        let mut now = as_it_was();
        assert!(plan(Some(&now), 3, &[], DAY).blockers.is_empty());
        let mut more = ring_of(&[("d", "r", &[0]), ("d", "r", &[1]), ("d", "r", &[2]), ("d", "r", &[30])]);
        now.topology.nodes.push(more.nodes.remove(3));
        assert!(plan(Some(&now), 3, &[], DAY).blockers[0].contains("has joined"));
        let one = plan(Some(&now), 3, &[0], DAY);
        assert!(one.blockers.is_empty() && one.warnings.iter().any(|text| text.contains("has joined")));
    }

    #[test]
    fn what_nobody_else_has_is_said() {
        let lost = |nodes: &[usize]| {
            let choice = plan(Some(&as_it_was()), 3, nodes, DAY);
            choice.warnings.iter().any(|text| text.starts_with("k may have rows"))
        };
        assert!(!lost(&[0]), "the other replica has them");
        assert!(lost(&[0, 1]));
        let old = plan(Some(&as_it_was()), 3, &[0], DAY * 11);
        assert!(old.warnings.iter().any(|text| text.contains("gc_grace_seconds")), "{:?}", old.warnings);
    }
}
