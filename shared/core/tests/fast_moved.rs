//! What each method for any ring would move, by simulation over the planner: rings of random tokens,
//! sixteen a node, three replicas, and one SSTable of each of some nodes that reaches over the ring, as
//! SSTables do that are not cut by token.
//!
//! Run with `--nocapture` for the table.

use std::{collections::BTreeMap, sync::Arc};

use ringvault_core::{
    HostId,
    cluster::{Node, Replication, Token, Topology},
    restore::{Method, Owners, Share, SstableFacts, SstableSizes},
};
use uuid::Uuid;

const RF: u32 = 3;
const VNODES: usize = 16;
/// SSTables looked at: what is summed is the same for each, but for chance.
const SSTABLES: u32 = 4;

/// Tokens that are the same each time.
struct Tokens(u64);

impl Tokens {
    fn next(&mut self) -> Token {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Token((z ^ (z >> 31)).cast_signed())
    }
}

fn ring(nodes: u32, seed: u64) -> Topology {
    let mut tokens = Tokens(seed);
    let node = |n: u32| Node {
        host_id: HostId(Uuid::from_u128(u128::from(n) + 1)),
        address: format!("node-{n}"),
        dc: "dc1".into(),
        rack: "r1".into(),
        tokens: {
            let mut own: Vec<Token> = std::iter::repeat_with(|| tokens.next()).take(VNODES).collect();
            own.sort_unstable();
            own
        },
    };
    Topology { nodes: (0..nodes).map(node).collect(), keyspaces: BTreeMap::new() }
}

/// What all targets fetch of an SSTable together, in multiples of it: whole, in slices; the
/// requests for parts of its Data.db by each target that takes any; and what goes from node to node of one
/// that is streamed.
fn moved(target: &Topology, sizes: SstableSizes) -> (f64, f64, f64, f64) {
    let keyspaces = BTreeMap::from([("k".to_owned(), Replication::Simple { factor: RF })]);
    let owners = Arc::new(Owners::new(target, &keyspaces));
    let mut tokens = Tokens(7);
    let (mut whole, mut slices, mut runs, mut takers, mut sent) = (0_u64, 0_u64, 0_usize, 0_u32, 0_u64);
    for _ in 0..SSTABLES {
        let (a, b) = (tokens.next(), tokens.next());
        // Almost all of the ring.
        let (first, last) =
            (a.min(b).min(Token(i64::MIN / 16 * 15)), a.max(b).max(Token(i64::MAX / 16 * 15)));
        let facts = SstableFacts { source: HostId(Uuid::nil()), keyspace: "k", span: Some((first, last)) };
        for node in &target.nodes {
            let share = Share::new(&Method::Slice, &owners, node.host_id);
            if share.wants(&facts) {
                whole += sizes.all();
                slices += share.slice_bytes(&facts, sizes);
                sent += share.owned_bytes(&facts, sizes.all());
                runs += owners.of("k", node.host_id).unwrap().part_of(first, last).1;
                takers += 1;
            }
        }
    }
    #[expect(clippy::cast_precision_loss)]
    let times = |bytes: u64| bytes as f64 / sizes.all() as f64 / f64::from(SSTABLES);
    let runs = f64::from(u32::try_from(runs).unwrap()) / f64::from(takers.max(1));
    (times(whole), times(slices), runs, times(sent))
}

/// What the files of an SSTable with so many bytes of Data.db weigh: partitions of 4 KiB, chunks of 16 KiB that
/// compress to half.
const fn sizes(data: u64) -> SstableSizes {
    let partitions = data / (4 << 10);
    let (index, chunks, filter) = (partitions * 25, data / (8 << 10) * 8, partitions * 5 / 4);
    let (summary, statistics) = (partitions / 128 * 28, 10 << 10);
    // A small index comes whole, and needs no summary.
    if index < 1 << 20 {
        let whole = index + chunks + statistics;
        return SstableSizes { data, index: 0, whole, rest: filter + summary };
    }
    SstableSizes { data, index, whole: chunks + summary + statistics, rest: filter }
}

#[test]
fn slices_move_each_row_as_often_as_it_has_replicas() {
    println!("target nodes  SSTable   whole   slices  (data alone)  runs a node  sent");
    for nodes in [3, 12, 100, 1000] {
        let target = ring(nodes, 1000 + u64::from(nodes));
        for mib in [128_u64, 1 << 10, 10 << 10] {
            let data = mib << 20;
            let sizes = sizes(data);
            let (whole, slices, runs, sent) = moved(&target, sizes);
            let none = SstableSizes { index: 0, whole: 0, rest: 0, ..sizes };
            let (_, data_alone, _, _) = moved(&target, none);
            println!(
                "{nodes:>12}  {mib:>5} MiB  {whole:>6.1}  {slices:>6.2}  {data_alone:>12.2}  {runs:>11.1}  {sent:>4.2}"
            );
            assert!((sent - f64::from(RF)).abs() < 1e-3, "each replica is sent its part, and no more");
            assert!(slices <= whole + 1e-6, "never more than whole ones");
            assert!(
                data_alone
                    < f64::from(RF) * 1.05
                        + f64::from(nodes) * 48.0 * 32.0 / (1024.0 * f64::from(u32::try_from(mib).unwrap()))
            );
            assert!((whole - f64::from(nodes)).abs() < 1e-6, "such an SSTable meets every node");
        }
    }
}
