//! Which node fetches which SSTable, where SSTables are streamed.
//!
//! Each SSTable is fetched once, by a node that owns a part of it: that part needs no network. Of these
//! it is the one that owns most among those that have the least to fetch so far, or hardly more. So the loads
//! stay together: where several nodes own something of every SSTable, theirs differ by no more than twice the
//! largest SSTable.
//!
//! SSTables are placed one after the other, and where one goes depends on those before: whoever asks for the
//! same SSTables in the same order is answered alike, so every node finds its share by itself.
//!
//! All SSTables of the backup are streamed, those of every replica of a range. Replicas may differ, by
//! writes that one of them missed, and every write that any of them had must arrive; what they have in common is
//! merged by Cassandra as always.

use std::{collections::BTreeSet, sync::Arc};

use super::{Owners, SstableFacts};
use crate::HostId;

/// The capability of a worker that can stream. One that does not announce it is of a release before, and
/// would not even understand what it is asked for.
pub const STREAM_CAPABILITY: &str = "restore.stream";

/// Nodes compared for one SSTable: there is no need to look at all of a large ring.
const COMPARED: usize = 8;

/// Places SSTables on nodes.
#[derive(Debug, Clone)]
pub struct Streams {
    owners: Arc<Owners>,
    hosts: Vec<HostId>,
    /// Bytes placed on each host so far, and the host's place; the least first.
    loads: BTreeSet<(u64, usize)>,
}

impl Streams {
    /// Onto `hosts`, nodes of the ring that `owners` is about.
    pub fn new(owners: &Arc<Owners>, hosts: Vec<HostId>) -> Self {
        let loads = (0..hosts.len()).map(|place| (0, place)).collect();
        Self { owners: Arc::clone(owners), hosts, loads }
    }

    /// The node that fetches the next SSTable, which has `bytes`. `None`: nobody owns any of it.
    pub fn place(&mut self, sstable: &SstableFacts<'_>, bytes: u64) -> Option<HostId> {
        let mut owning = self.loads.iter().filter(|(_, place)| self.owns_some(*place, sstable)).peekable();
        let (least, _) = **owning.peek()?;
        let mut best: Option<(f64, (u64, usize))> = None;
        for load in owning.take_while(|(load, _)| *load <= least.saturating_add(bytes)).take(COMPARED) {
            let part = self.owners.part_of(sstable, self.hosts[load.1]);
            if best.is_none_or(|(most, _)| part > most) {
                best = Some((part, *load));
            }
        }
        let (_, (load, place)) = best?;
        self.loads.remove(&(load, place));
        self.loads.insert((load.saturating_add(bytes), place));
        Some(self.hosts[place])
    }

    fn owns_some(&self, place: usize, sstable: &SstableFacts<'_>) -> bool {
        let (first, last) = sstable.whole_span();
        self.owners.of(sstable.keyspace, self.hosts[place]).is_some_and(|owned| owned.meets(first, last))
    }

    /// At least so many nodes own partitions of an SSTable: it has one at each end of its span.
    pub fn receivers(&self, sstable: &SstableFacts<'_>) -> usize {
        let owns_an_end = |host: &&HostId| {
            let owned = self.owners.of(sstable.keyspace, **host);
            sstable
                .span
                .zip(owned)
                .is_some_and(|((first, last), owned)| owned.contains(first) || owned.contains(last))
        };
        self.hosts.iter().filter(owns_an_end).count().max(1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        cluster::{
            Replication, Token, Topology,
            testing::{any_replication, any_topology, ring_of},
        },
        restore::{Method, Share},
    };

    fn owners(topology: &Topology, replication: &Replication) -> Arc<Owners> {
        Arc::new(Owners::new(topology, &BTreeMap::from([("k".to_owned(), replication.clone())])))
    }

    fn facts(source: HostId, first: i64, last: i64) -> SstableFacts<'static> {
        SstableFacts { source, keyspace: "k", span: Some((Token(first), Token(last))) }
    }

    #[test]
    fn who_owns_most_fetches_unless_it_has_more_to_fetch() {
        let topology = ring_of(&[("dc1", "r1", &[0]), ("dc1", "r1", &[10]), ("dc1", "r1", &[20])]);
        let host = |place: usize| topology.nodes[place].host_id;
        let mut streams =
            Streams::new(&owners(&topology, &Replication::Simple { factor: 1 }), topology.host_ids());
        let narrow = facts(host(0), 2, 12);
        assert_eq!(streams.place(&narrow, 100), Some(host(1)));
        assert_eq!(streams.place(&narrow, 100), Some(host(1)), "hardly more");
        assert_eq!(streams.place(&narrow, 100), Some(host(2)));
        assert_eq!(streams.place(&facts(host(0), 11, 19), 100), Some(host(2)), "nobody else owns any of it");
        assert_eq!(streams.receivers(&narrow), 2);
        assert_eq!(streams.receivers(&facts(host(0), 3, 3)), 1);
        let unknown = SstableFacts { span: None, ..narrow };
        assert_eq!((streams.place(&unknown, 1), streams.receivers(&unknown)), (Some(host(0)), 1));
        assert_eq!(streams.place(&SstableFacts { keyspace: "other", ..narrow }, 1), None);
    }

    proptest! {
        /// Each SSTable is fetched by one node, and its partitions come to all that own them: they are what the
        /// ring says, which is what Cassandra streams by. The loads stay together.
        #[test]
        fn each_sstable_is_fetched_once_and_reaches_all_its_owners(
            topology in any_topology(),
            replication in any_replication(),
            sstables in proptest::collection::vec((-60_i64..60, 0_i64..120, 1_u64..1000), 1..60),
        ) {
            let owners = owners(&topology, &replication);
            let ownership = topology.ownership(&replication);
            let hosts = topology.host_ids();
            let source = hosts[0];
            let mut streams = Streams::new(&owners, hosts.clone());
            let mut again = streams.clone();
            let mut loads: BTreeMap<HostId, u64> = hosts.iter().map(|host| (*host, 0)).collect();
            for (first, length, bytes) in sstables {
                let facts = facts(source, first, first + length);
                let meeting: Vec<HostId> = hosts
                    .iter()
                    .filter(|host| Share::new(&Method::Stream, &owners, **host).wants(&facts))
                    .copied()
                    .collect();
                let placed = streams.place(&facts, bytes);
                prop_assert_eq!(placed, again.place(&facts, bytes), "whoever asks");
                prop_assert_eq!(placed.is_some(), !meeting.is_empty());
                for token in [first, first + length] {
                    let owning = hosts.iter().filter(|host| ownership.of(**host).unwrap().contains(Token(token)));
                    for host in owning {
                        prop_assert!(meeting.contains(host), "an owner is a receiver");
                    }
                }
                let Some(placed) = placed else { continue };
                prop_assert!(meeting.contains(&placed), "who fetches owns a part");
                let receivers = streams.receivers(&facts);
                prop_assert!((1..=meeting.len()).contains(&receivers), "{receivers} of {}", meeting.len());
                let least = meeting.iter().map(|host| loads[host]).min().unwrap();
                prop_assert!(loads[&placed] <= least + bytes);
                *loads.get_mut(&placed).unwrap() += bytes;
            }
            if replication == Replication::Everywhere {
                let (least, most) = (loads.values().min().unwrap(), loads.values().max().unwrap());
                prop_assert!(most - least <= 2 * 1000, "{loads:?}");
            }
        }
    }
}
