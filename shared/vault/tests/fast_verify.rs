//! Damage is found, named, not reused, and healed.

mod support;
#[path = "support/world.rs"]
mod world;

use std::{fs, path::PathBuf};

use ringvault_core::{
    job::VerifyLevel::{Digest, Presence},
    task::{CheckResult, Finding, FindingKind, VerifyReportTask},
};
use ringvault_vault::{progress::TransferProgress, verify::HealOutcome};
use tokio_util::sync::CancellationToken;
use world::{World, job, name};

fn path(world: &World, key: &str) -> PathBuf {
    world.lab.local.path().join("vault").join(key)
}

fn flip(world: &World, key: &str, at: usize) {
    let mut body = fs::read(path(world, key)).unwrap();
    body[at] ^= 1;
    fs::write(path(world, key), body).unwrap();
}

/// Keys of b1: each node's large file, each node's pack.
async fn objects(world: &World) -> (Vec<String>, Vec<String>) {
    world.data_of("b1").await.into_iter().partition(|key| key.ends_with("Data.db"))
}

fn one(result: &CheckResult) -> &Finding {
    assert_eq!((result.damaged, result.findings.len()), (1, 1), "{:?}", result.findings);
    &result.findings[0]
}

async fn heal(world: &World) -> HealOutcome {
    world.vault.heal(&world.cluster, &CancellationToken::new()).await.unwrap()
}

#[tokio::test]
async fn a_sound_backup_has_no_findings() {
    let mut world = World::on_folder(3).await;
    world.backup("b1").await;
    for shards in [1, 4] {
        let presence = world.verify("b1", Presence, shards).await;
        assert_eq!((presence.objects, presence.bytes, presence.damaged), (6, 0, 0));
        let digest = world.verify("b1", Digest, shards).await;
        assert_eq!((digest.objects, digest.bytes, digest.damaged), (6, 3 * 20_092, 0));
    }
    assert_eq!(heal(&world).await, HealOutcome::default());
}

#[tokio::test]
async fn a_flipped_a_missing_and_a_truncated_object_are_each_named() {
    let mut world = World::on_folder(3).await;
    world.backup("b1").await;
    let (large, packs) = objects(&world).await;

    flip(&world, &large[1], 777);
    assert_eq!(world.verify("b1", Presence, 2).await.damaged, 0, "presence does not read");
    let result = world.verify("b1", Digest, 2).await;
    let found = one(&result);
    assert_eq!((found.kind, &found.key, &found.backup), (FindingKind::Corrupt, &large[1], &name("b1")));
    assert_eq!(found.table.as_ref().unwrap().to_string(), "ks.t");
    assert!(found.file.as_ref().unwrap().ends_with("-big-Data.db"), "{found:?}");
    assert!(large[1].contains(&found.host_id.unwrap().to_string()));
    flip(&world, &large[1], 777);

    let sound = fs::read(path(&world, &packs[0])).unwrap();
    fs::write(path(&world, &packs[0]), &sound[..10]).unwrap();
    let result = world.verify("b1", Presence, 2).await;
    assert_eq!((one(&result).kind, &one(&result).key), (FindingKind::Truncated, &packs[0]));
    assert!(one(&result).file.as_ref().unwrap().ends_with("TOC.txt"));
    fs::remove_file(path(&world, &packs[0])).unwrap();
    let result = world.verify("b1", Digest, 1).await;
    assert_eq!(one(&result).kind, FindingKind::Missing);
    fs::write(path(&world, &packs[0]), sound).unwrap();
    assert_eq!(world.verify("b1", Digest, 1).await.damaged, 0);

    let marked: Vec<_> = world.vault.bad_records(&world.cluster).await.unwrap();
    assert_eq!(marked.len(), 2, "each damaged object is marked");
    assert_eq!(heal(&world).await.healed.len(), 2, "they are sound by now: the markers go");
    assert!(world.vault.bad_keys(&world.cluster).await.unwrap().is_empty());
}

#[tokio::test]
async fn of_a_pack_only_the_damaged_files_are_named() {
    let mut world = World::on_folder(1).await;
    world.nodes[0].sstable("ks", "t", 0, None, "8", &[("Data.db", 500), ("Index.db", 70)]);
    world.backup("b1").await;
    let (_, packs) = objects(&world).await;
    assert_eq!(packs.len(), 1);
    flip(&world, &packs[0], 0);
    let result = world.verify("b1", Digest, 1).await;
    assert_eq!(one(&result).kind, FindingKind::Corrupt);
    world.begin("b2").await;
    let (manifests, uploads) = world.bring_all("b2").await;
    assert_eq!(uploads[0].bytes_new, 92 + 500 + 70, "nothing of a damaged pack is reused");
    world.seal("b2", manifests).await.unwrap();
    world.assert_whole("b2").await;
    assert_eq!(heal(&world).await.healed, packs);
    world.assert_whole("b1").await;
}

#[tokio::test]
async fn the_next_backup_brings_it_again_and_a_heal_mends_the_older_ones() {
    let mut world = World::on_folder(2).await;
    world.backup("b1").await;
    world.backup("b2").await;
    let (large, packs) = objects(&world).await;
    flip(&world, &large[0], 0);
    fs::remove_file(path(&world, &packs[1])).unwrap();
    assert_eq!(world.verify("b2", Digest, 2).await.damaged, 2, "b2 names the same objects");
    let before = heal(&world).await;
    assert_eq!((before.healed.len(), before.left.len()), (0, 2), "the content is nowhere else yet");

    let third = world.backup("b3").await;
    assert_eq!(third.figures.bytes_new, 20_000 + 92);
    world.assert_whole("b3").await;
    assert_eq!(heal(&world).await.healed.len(), 2);
    world.assert_whole("b1").await;
    world.assert_whole("b2").await;
    assert!(world.vault.bad_keys(&world.cluster).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_marker_that_means_nothing_any_more_is_written_over_and_goes_with_the_next_purge() {
    let mut world = World::on_folder(1).await;
    world.backup("b1").await;
    let (large, _) = objects(&world).await;
    flip(&world, &large[0], 5);
    world.verify("b1", Digest, 1).await;
    world.backup("b2").await;
    assert_eq!(heal(&world).await.healed.len(), 1);
    let records = world.vault.bad_records(&world.cluster).await.unwrap();
    assert!(matches!(&records[..], [record] if record.healed_at.is_some()));
    assert!(world.vault.bad_keys(&world.cluster).await.unwrap().is_empty());
    assert_eq!(heal(&world).await, HealOutcome::default(), "nothing is left to do");

    // An object that nobody names: no heal brings it back, and no marker stays for it.
    world.nodes[0].rewrite("ks", "t", "0", "Data.db", &support::content("compacted", 20_000));
    flip(&world, &large[0], 5);
    world.verify("b1", Digest, 1).await;
    world.backup("b3").await;
    let task = world.mark_task("p0", &["b1"], &[]);
    world.vault.mark(&task).await.unwrap();
    heal(&world).await;
    assert!(world.vault.bad_keys(&world.cluster).await.unwrap().is_empty());
    world.purge("p1", &["b2"], &[]).await;
    assert_eq!(world.vault.bad_records(&world.cluster).await.unwrap(), []);
}

#[tokio::test]
async fn markers_go_with_the_objects() {
    let mut world = World::on_folder(1).await;
    world.backup("b1").await;
    let (large, _) = objects(&world).await;
    flip(&world, &large[0], 5);
    world.verify("b1", Digest, 1).await;
    world.backup("b2").await;
    world.purge("p1", &["b1"], &[]).await;
    assert!(world.vault.bad_keys(&world.cluster).await.unwrap().is_empty());
    world.assert_whole("b2").await;
}

#[tokio::test]
async fn damaged_records_are_findings() {
    let mut world = World::on_folder(2).await;
    let seal = world.backup("b1").await;
    let folder = format!("clusters/{}/backups/b1", world.cluster);
    let manifest = seal.nodes[1].key.clone();
    for key in [manifest.clone(), format!("{folder}/index/00"), seal.schema.key.clone()] {
        let sound = fs::read(path(&world, &key)).unwrap();
        flip(&world, &key, sound.len() / 2);
        let result = world.verify("b1", Presence, 3).await;
        assert_eq!((one(&result).kind, &one(&result).key), (FindingKind::Record, &key));
        fs::remove_file(path(&world, &key)).unwrap();
        let result = world.verify("b1", Digest, 3).await;
        assert_eq!((one(&result).kind, &one(&result).key), (FindingKind::Record, &key));
        assert_eq!(one(&result).host_id.is_some(), key == manifest);
        fs::write(path(&world, &key), sound).unwrap();
    }
    let seal_key = format!("{folder}/backup.json");
    fs::write(path(&world, &seal_key), "{").unwrap();
    let result = world.verify("b1", Presence, 2).await;
    assert_eq!((one(&result).kind, &one(&result).key), (FindingKind::Record, &seal_key));
    let catalog = world.vault.catalog(&world.cluster).await.unwrap();
    assert_eq!((catalog.len(), catalog[0].state()), (1, None), "it is listed as damaged");
    // A damaged seal is not reused, and does not keep the next backup from being taken.
    let next = world.backup("b2").await;
    assert_eq!(next.figures.bytes_new, next.figures.bytes);
}

#[tokio::test]
async fn a_report_is_left_in_the_vault() {
    let mut world = World::on_folder(2).await;
    world.backup("b1").await;
    let (large, _) = objects(&world).await;
    flip(&world, &large[0], 1);
    let found = world.verify("b1", Digest, 3).await;
    let task = VerifyReportTask {
        job: job("verify"),
        cluster: world.cluster.clone(),
        backup: name("b1"),
        level: Digest,
        objects: found.objects,
        bytes: found.bytes,
        damaged: found.damaged,
    };
    let result = world.vault.report_verify(&task).await.unwrap();
    let report = world.vault.verification(&world.cluster, &name("b1"), task.job).await.unwrap().unwrap();
    assert_eq!((result.objects, report.objects, report.damaged), (4, 4, 1));
    assert_eq!(report.findings, found.findings);
}

#[tokio::test]
async fn a_store_that_is_away_is_no_finding() {
    let mut world = World::on_folder(1).await;
    world.backup("b1").await;
    let root = world.lab.local.path().join("vault");
    fs::rename(&root, world.lab.local.path().join("elsewhere")).unwrap();
    let task = world.check_task("b1", Digest, 0, 1);
    let away = world.vault.verify_shard(&task, &TransferProgress::new(), &CancellationToken::new()).await;
    assert_eq!(away.unwrap_err().to_task_error().code, "RV-STORE-BUCKET");
    fs::rename(world.lab.local.path().join("elsewhere"), &root).unwrap();

    let stop = CancellationToken::new();
    stop.cancel();
    let stopped = world.vault.verify_shard(&task, &TransferProgress::new(), &stop).await;
    assert_eq!(stopped.unwrap_err().to_task_error().code, "RV-CANCELLED");
    assert!(world.vault.bad_keys(&world.cluster).await.unwrap().is_empty());
}
