//! One target node's share: which SSTables of which source nodes it fetches.

use std::{collections::BTreeMap, sync::Arc};

use super::{AUTH_KEYSPACE, Method};
use crate::{
    HostId,
    cluster::{Ownership, Replication, Ring, Token, TokenSet, Topology},
};

/// What the planner needs to know of an SSTable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SstableFacts<'a> {
    /// The node whose manifest names it.
    pub source: HostId,
    /// Its keyspace.
    pub keyspace: &'a str,
    /// First and last token; `None` when unknown, which means it may hold anything.
    pub span: Option<(Token, Token)>,
}

impl SstableFacts<'_> {
    /// Its span; that of the ring where it is not known.
    pub(super) fn whole_span(&self) -> (Token, Token) {
        self.span.unwrap_or((Token(i64::MIN), Token(i64::MAX)))
    }
}

/// Who owns what of each keyspace. Made once for all nodes and all manifests.
#[derive(Debug, Clone, Default)]
pub struct Owners {
    keyspaces: BTreeMap<String, Arc<Ownership>>,
}

impl Owners {
    /// With this ring and replication. Keyspaces that are replicated alike share one table.
    pub fn new(topology: &Topology, keyspaces: &BTreeMap<String, Replication>) -> Self {
        let ring = Ring::new(topology);
        let mut known: Vec<(&Replication, Arc<Ownership>)> = Vec::new();
        let mut owners = Self::default();
        for (keyspace, replication) in keyspaces {
            let ownership = match known.iter().find(|(rule, _)| *rule == replication) {
                Some((_, ownership)) => Arc::clone(ownership),
                None => {
                    let ownership = Arc::new(ring.ownership(replication));
                    known.push((replication, Arc::clone(&ownership)));
                    ownership
                }
            };
            owners.keyspaces.insert(keyspace.clone(), ownership);
        }
        owners
    }

    /// What `host` owns of `keyspace`; `None` if either is not known.
    pub fn of(&self, keyspace: &str, host: HostId) -> Option<&TokenSet> {
        self.keyspaces.get(keyspace)?.of(host)
    }

    /// About which part of an SSTable `host` owns, 0 to 1, if its partitions are spread evenly over its span.
    pub fn part_of(&self, sstable: &SstableFacts<'_>, host: HostId) -> f64 {
        let (first, last) = sstable.whole_span();
        self.of(sstable.keyspace, host).map_or(0.0, |owned| owned.part_of(first, last).0)
    }
}

/// The rule by which a target node picks its SSTables.
#[derive(Debug, Clone)]
pub struct Share {
    host: HostId,
    rule: Rule,
    owners: Arc<Owners>,
}

#[derive(Debug, Clone, Copy)]
enum Rule {
    /// All of this node's, if there is one.
    From(Option<HostId>),
    /// Whatever holds something that the node owns.
    Owned,
    /// Likewise, but of it just what the node owns.
    Slices,
}

/// What a node takes of an SSTable.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Take<'a> {
    /// Its files as they are.
    Whole,
    /// The partitions of these tokens.
    Slice(&'a TokenSet),
}

/// The parts of an SSTable that it matters for how much a slice of it fetches, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SstableSizes {
    /// Data.db, of which parts are fetched.
    pub data: u64,
    /// An index of which parts are fetched, too.
    pub index: u64,
    /// What is fetched whole even for a slice: places of chunks, statistics, other indexes.
    pub whole: u64,
    /// What a slice does without.
    pub rest: u64,
}

impl SstableSizes {
    /// All its files.
    pub const fn all(self) -> u64 {
        let Self { data, index, whole, rest } = self;
        data.saturating_add(index).saturating_add(whole).saturating_add(rest)
    }
}

/// Bytes of Data.db that are fetched beside the wanted ones at the two ends of a run of partitions: a chunk
/// each, of the usual length.
const DATA_ENDS: u64 = 2 * (16 << 10);
/// Likewise of an index: half of what lies between two of its samples each, which is 128 entries of some 30 to
/// 60 bytes.
const INDEX_ENDS: u64 = 2 * (4 << 10);

impl Share {
    /// The share of `host`. `owners`: of the target, with the replication the keyspaces will have
    /// when the data arrives.
    pub fn new(method: &Method, owners: &Arc<Owners>, host: HostId) -> Self {
        let rule = match method {
            Method::Copy { sources } => Rule::From(sources.get(&host).copied()),
            Method::Slice => Rule::Slices,
            // What it owns comes to it, whoever fetches it.
            Method::Import | Method::Stream => Rule::Owned,
        };
        Self { host, rule, owners: Arc::clone(owners) }
    }

    /// Whether the node fetches anything of this node of the backup.
    pub fn takes_from(&self, source: HostId) -> bool {
        match self.rule {
            Rule::From(twin) => twin == Some(source),
            Rule::Owned | Rule::Slices => true,
        }
    }

    /// Whether the node fetches this SSTable.
    pub fn wants(&self, sstable: &SstableFacts<'_>) -> bool {
        match self.rule {
            Rule::From(source) => source == Some(sstable.source),
            Rule::Owned | Rule::Slices => self.owners.of(sstable.keyspace, self.host).is_some_and(|owned| {
                !owned.is_empty() && sstable.span.is_none_or(|(first, last)| owned.meets(first, last))
            }),
        }
    }

    /// How the node takes an SSTable that it [wants](Self::wants). Roles and grants are taken whole:
    /// they are loaded beside their tables, unchecked, and read row by row.
    pub fn take(&self, sstable: &SstableFacts<'_>) -> Take<'_> {
        let is_sliced =
            matches!(self.rule, Rule::Slices) && sstable.keyspace != AUTH_KEYSPACE && !self.owns_all(sstable);
        match self.owners.of(sstable.keyspace, self.host) {
            Some(owned) if is_sliced => Take::Slice(owned),
            _ => Take::Whole,
        }
    }

    /// About how many bytes a slice of an SSTable fetches that the node [wants](Self::wants), if its
    /// partitions are spread evenly over its span.
    pub fn slice_bytes(&self, sstable: &SstableFacts<'_>, sizes: SstableSizes) -> u64 {
        if sstable.keyspace == AUTH_KEYSPACE || self.owns_all(sstable) {
            return sizes.all();
        }
        let (first, last) = sstable.whole_span();
        let owned = self.owners.of(sstable.keyspace, self.host);
        let (part, runs) = owned.map_or((0.0, 0), |owned| owned.part_of(first, last));
        let in_parts = |bytes: u64, ends: u64| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let within = (part * bytes as f64).ceil() as u64;
            within.saturating_add(ends.saturating_mul(runs as u64)).min(bytes)
        };
        in_parts(sizes.data, DATA_ENDS)
            .saturating_add(in_parts(sizes.index, INDEX_ENDS))
            .saturating_add(sizes.whole)
    }

    /// About how many bytes of an SSTable of `bytes` the node owns.
    pub fn owned_bytes(&self, sstable: &SstableFacts<'_>, bytes: u64) -> u64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let owned = (self.owners.part_of(sstable, self.host) * bytes as f64).ceil() as u64;
        owned.min(bytes)
    }

    /// Whether the node surely owns every partition of this SSTable. Where it does not, as on a node
    /// that was never cleaned up after its ring grew, Cassandra's ownership check would refuse it:
    /// then it is loaded without the check and the node cleans up afterwards.
    pub fn owns_all(&self, sstable: &SstableFacts<'_>) -> bool {
        self.owners.of(sstable.keyspace, self.host).is_some_and(|owned| match sstable.span {
            Some((first, last)) => owned.covers(first, last),
            None => *owned == TokenSet::full(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cluster::testing::{any_replication, any_topology, ring_of},
        job::RestoreMethod,
        restore::choose_method,
    };
    use proptest::prelude::*;
    use uuid::Uuid;

    /// The same ring on other machines, listed the other way round.
    fn elsewhere(topology: &Topology) -> Topology {
        let mut other = topology.clone();
        for node in &mut other.nodes {
            node.host_id = HostId(Uuid::from_u128(node.host_id.0.as_u128() + 100));
        }
        other.nodes.reverse();
        other
    }

    fn keyspace(replication: &Replication) -> BTreeMap<String, Replication> {
        BTreeMap::from([("k".to_owned(), replication.clone())])
    }

    fn with(mut topology: Topology, replication: &Replication) -> Topology {
        topology.keyspaces = keyspace(replication);
        topology
    }

    const AUTO: RestoreMethod = RestoreMethod::Auto;

    #[test]
    fn same_tokens_are_copied_whatever_the_host_ids() {
        let rule = Replication::Simple { factor: 2 };
        let source =
            with(ring_of(&[("dc1", "r1", &[0, 30]), ("dc1", "r1", &[10]), ("dc1", "r1", &[20])]), &rule);
        let target = elsewhere(&source);
        let held = source.host_ids();
        let choose =
            |held: &[HostId], wanted| choose_method(wanted, &source, held, &target, &keyspace(&rule));
        let Method::Copy { sources } = choose(&held, AUTO).unwrap().method else { panic!() };
        assert_eq!(sources[&target.nodes[0].host_id], source.nodes[2].host_id);
        let lame = choose(&held[1..], AUTO).unwrap();
        assert_eq!(lame.method, Method::Import, "a node the backup lacks cannot be copied");
        assert!(choose(&held[1..], RestoreMethod::Copy).is_err());
    }

    #[test]
    fn another_replication_on_the_same_tokens_is_no_copy() {
        let source = ring_of(&[("dc1", "r1", &[0]), ("dc1", "r1", &[10]), ("dc1", "r1", &[20])]);
        let held = source.host_ids();
        let choose = |was: &Replication, is: &Replication| {
            let source = with(source.clone(), was);
            choose_method(AUTO, &source, &held, &elsewhere(&source), &keyspace(is)).unwrap()
        };
        let simple = |factor| Replication::Simple { factor };
        for (was, is) in [(1, 3), (3, 1)] {
            let choice = choose(&simple(was), &simple(is));
            assert_eq!(choice.method, Method::Import, "{was} to {is}");
            assert!(choice.reason.contains("keyspace k"), "{}", choice.reason);
        }
        let network = Replication::NetworkTopology { factors: [("dc1".to_owned(), 2)].into() };
        let choice = choose(&simple(2), &network);
        assert!(matches!(choice.method, Method::Copy { .. }), "in other words the same: {}", choice.reason);
        let source = with(source.clone(), &simple(1));
        let unknown = BTreeMap::from([("other".to_owned(), simple(1))]);
        let choice = choose_method(AUTO, &source, &held, &elsewhere(&source), &unknown).unwrap();
        assert_eq!(choice.method, Method::Import, "what the backup's ring does not know is not copied");
    }

    #[test]
    fn what_a_node_may_not_own_is_known() {
        let rule = Replication::Simple { factor: 1 };
        let topology = ring_of(&[("dc1", "r1", &[0]), ("dc1", "r1", &[10])]);
        let owners = Arc::new(Owners::new(&topology, &keyspace(&rule)));
        let share = Share::new(&Method::Import, &owners, topology.nodes[1].host_id);
        let owns = |keyspace, span: Option<(i64, i64)>| {
            let span = span.map(|(first, last)| (Token(first), Token(last)));
            share.owns_all(&SstableFacts { source: topology.nodes[0].host_id, keyspace, span })
        };
        assert!(owns("k", Some((1, 10))));
        assert!(!owns("k", Some((0, 10))) && !owns("k", Some((5, 11))));
        assert!(!owns("k", None) && !owns("other", Some((1, 10))));
    }

    #[test]
    fn what_is_not_owned_whole_is_sliced() {
        let rule = Replication::Simple { factor: 1 };
        let topology = ring_of(&[("dc1", "r1", &[0]), ("dc1", "r1", &[10])]);
        let mut keyspaces = keyspace(&rule);
        keyspaces.insert(AUTH_KEYSPACE.to_owned(), rule);
        let owners = Arc::new(Owners::new(&topology, &keyspaces));
        let (source, host) = (topology.nodes[0].host_id, topology.nodes[1].host_id);
        let facts = |keyspace, first, last| SstableFacts {
            source,
            keyspace,
            span: Some((Token(first), Token(last))),
        };
        let share = Share::new(&Method::Slice, &owners, host);
        assert_eq!(share.take(&facts("k", 1, 10)), Take::Whole);
        let owned = owners.of("k", host).unwrap();
        assert_eq!(share.take(&facts("k", 1, 20)), Take::Slice(owned));
        assert_eq!(share.take(&facts(AUTH_KEYSPACE, 1, 20)), Take::Whole);
        let sizes = SstableSizes { data: 1 << 30, index: 1 << 20, whole: 1000, rest: 500 };
        assert_eq!(share.slice_bytes(&facts("k", 1, 10), sizes), (1 << 30) + (1 << 20) + 1500);
        let quarter = (1 << 28) + (1 << 18);
        let ends = DATA_ENDS + INDEX_ENDS;
        assert_eq!(share.slice_bytes(&facts("k", 1, 40), sizes), quarter + ends + 1000);
        let small = SstableSizes { data: 9, index: 5, ..sizes };
        assert_eq!(share.slice_bytes(&facts("k", 1, 40), small), 1014);
        let unknown = SstableFacts { span: None, ..facts("k", 0, 0) };
        assert_eq!(share.slice_bytes(&unknown, sizes), 2 + ends + 1000);
        assert_eq!(share.take(&unknown), Take::Slice(owned));
        let whole = Share::new(&Method::Import, &owners, host);
        assert_eq!(whole.take(&facts("k", 1, 20)), Take::Whole);
    }

    proptest! {
        /// Every partition of the backup reaches every node that must own it, by whichever method
        /// is chosen; by import no SSTable without one of them, by slices nothing else does.
        #[test]
        fn every_partition_reaches_each_of_its_owners(
            source in any_topology(),
            target in proptest::option::of(any_topology()),
            was in any_replication(),
            is in proptest::option::of(any_replication()),
            tokens in proptest::collection::btree_set(-60_i64..60, 1..12),
            wanted in prop::sample::select(vec![AUTO, RestoreMethod::Slice]),
        ) {
            let is = is.unwrap_or_else(|| was.clone());
            let source = with(source, &was);
            let target = elsewhere(&target.unwrap_or_else(|| source.clone()));
            let held = source.host_ids();
            let choice = choose_method(wanted, &source, &held, &target, &keyspace(&is)).unwrap();
            let before = source.ownership(&was);
            let after = target.ownership(&is);
            let owners = Arc::new(Owners::new(&target, &keyspace(&is)));
            // Each node of the backup has one SSTable with all it owns.
            let sstables: Vec<(HostId, Vec<i64>)> = held
                .iter()
                .map(|host| {
                    let owned = before.of(*host).unwrap();
                    (*host, tokens.iter().copied().filter(|t| owned.contains(Token(*t))).collect())
                })
                .filter(|(_, tokens): &(_, Vec<i64>)| !tokens.is_empty())
                .collect();
            for node in &target.nodes {
                let share = Share::new(&choice.method, &owners, node.host_id);
                let owned = after.of(node.host_id).unwrap();
                let mut fetched: Vec<i64> = Vec::new();
                for (source, tokens) in &sstables {
                    let (first, last) = (tokens[0], *tokens.last().unwrap());
                    let facts = SstableFacts {
                        source: *source,
                        keyspace: "k",
                        span: Some((Token(first), Token(last))),
                    };
                    if share.wants(&facts) {
                        let is_taken = |token: &&i64| match share.take(&facts) {
                            Take::Whole => true,
                            Take::Slice(of) => of.contains(Token(**token)),
                        };
                        fetched.extend(tokens.iter().filter(is_taken));
                    }
                    if choice.method == Method::Slice {
                        let is_owned = |token: &i64| owned.contains(Token(*token));
                        prop_assert!(fetched.iter().all(is_owned), "slices need no cleanup");
                    }
                    if matches!(choice.method, Method::Import | Method::Slice) {
                        let meets = (first..=last).any(|token| owned.contains(Token(token)));
                        prop_assert_eq!(share.wants(&facts), meets, "nothing that a node does not need");
                    }
                    if share.owns_all(&facts) {
                        prop_assert!(tokens.iter().all(|token| owned.contains(Token(*token))));
                    }
                }
                for (_, tokens) in &sstables {
                    for token in tokens.iter().filter(|token| owned.contains(Token(**token))) {
                        prop_assert!(
                            fetched.contains(token) || is == Replication::Local,
                            "{} owns {token} and does not get it by {:?}", node.address, choice.method
                        );
                    }
                }
            }
        }
    }
}
