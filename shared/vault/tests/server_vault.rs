//! A vault's whole life on a real S3 server: backups, damage, healing, purges.

#[path = "support/s3.rs"]
mod s3;
mod support;
#[path = "support/world.rs"]
mod world;

use bytes::Bytes;
use ringvault_core::{
    cluster::Coverage,
    job::VerifyLevel::{Digest, Presence},
    task::FindingKind,
};
use ringvault_vault::{purge::MarkOutcome, store::MIN_PART};
use support::content;
use tokio_util::sync::CancellationToken;
use world::{World, name};

async fn on_s3(nodes: usize) -> World {
    let (config, local) = s3::config().await;
    World::new(&config, local, nodes).await
}

#[tokio::test]
async fn damage_is_found_and_healed() {
    let mut world = on_s3(2).await;
    let first = world.backup("b1").await;
    assert_eq!((first.coverage, first.figures.objects_new), (Coverage::Complete, 4));
    assert_eq!(world.backup("b2").await.figures.bytes_new, 0);
    let objects = world.data_of("b1").await;
    let sound = world.lab.store.get(&objects[0], 1 << 20).await.unwrap();
    let mut flipped = sound.to_vec();
    flipped[50] ^= 1;
    world.lab.store.put(&objects[0], Bytes::from(flipped)).await.unwrap();
    world.lab.store.delete(&objects[1]).await.unwrap();
    assert_eq!(world.verify("b2", Presence, 2).await.damaged, 1);
    let mut kinds: Vec<_> =
        world.verify("b2", Digest, 2).await.findings.iter().map(|f| f.kind as u8).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [FindingKind::Missing as u8, FindingKind::Corrupt as u8]);

    world.backup("b3").await;
    let healed = world.vault.heal(&world.cluster, &CancellationToken::new()).await.unwrap();
    assert_eq!((healed.healed.len(), healed.left.len()), (2, 0));
    for backup in ["b1", "b2", "b3"] {
        world.assert_whole(backup).await;
    }
    s3::clean(&world.lab).await;
}

#[tokio::test]
async fn a_purge_beside_a_running_backup_leaves_it_whole() {
    let mut world = on_s3(2).await;
    world.backup("b1").await;
    world.nodes[0].rewrite("ks", "t", "0", "Data.db", &content("compacted", 30_000));
    world.begin("b2").await;
    let (manifests, _) = world.bring_all("b2").await;
    assert!(matches!(world.mark("p1", &["b1"], &[]).await, MarkOutcome::Waiting { .. }));
    world.seal("b2", manifests).await.unwrap();

    // A backup that dies with an upload under way.
    world.begin("dead").await;
    let key = format!("clusters/{}/backups/dead/data/large", world.cluster);
    let upload = world.lab.store.begin_multipart(&key, MIN_PART, MIN_PART + 3).await.unwrap();
    upload.part(1, Bytes::from(content("part", 5 << 20))).await.unwrap();
    let marked = world.purge("p1", &["b1"], &["dead"]).await;
    assert_eq!((marked.objects, marked.aborted), (1, vec![name("dead")]));
    assert!(upload.finish(5 << 20).await.is_err(), "what was never ended went too");
    world.assert_whole("b2").await;
    world.purge("p2", &["b2"], &[]).await;
    for backup in ["b1", "b2", "dead"] {
        assert_eq!(world.data_of(backup).await, [""; 0]);
    }
    s3::clean(&world.lab).await;
}
