//! What encryption costs: the same files brought to a vault in a folder and taken back, plain and sealed.
//!
//! `cargo test --release -p ringvault-vault --test bench_encryption -- --ignored --nocapture`

mod support;
#[path = "support/world.rs"]
mod world;

use std::time::Instant;

use ringvault_core::job::VerifyLevel::Digest;
use ringvault_vault::manifest::ManifestFile;
use support::{Node, download_config};
use world::World;

const FILES: usize = 4;
const FILE: usize = 64 << 20;

#[allow(clippy::cast_precision_loss)] // a rate
async fn turn(mut world: World, name: &str) {
    let mut node = Node::new();
    node.table("ks", "t", 0);
    for n in 0..FILES {
        node.sstable("ks", "t", 0, None, &n.to_string(), &[("Data.db", FILE)]);
    }
    world.nodes.push(node);
    let rate = |began: Instant| (FILES * FILE) as f64 / f64::from(1 << 20) / began.elapsed().as_secs_f64();
    let began = Instant::now();
    let seal = world.backup("b1").await;
    let backup = rate(began);
    let began = Instant::now();
    assert_eq!(world.verify("b1", Digest, 1).await.damaged, 0);
    let verify = rate(began);
    let node = &seal.nodes[0];
    let scratch = world.lab.local.path();
    let manifest =
        ManifestFile::fetch(&world.lab.store, &node.key, Some(node.blake3), scratch).await.unwrap();
    let began = Instant::now();
    world.lab.download(&manifest, &scratch.join("staged"), download_config()).await.0.unwrap();
    println!("{name}: backup {backup:.0}, verify {verify:.0}, download {:.0} MiB/s", rate(began));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn what_encryption_costs() {
    for _ in 0..3 {
        turn(World::on_folder(0).await, "plain ").await;
        turn(World::encrypted(0).await.0, "sealed").await;
    }
}
