//! Purges take away what nobody needs, and nothing else, whatever else is going on.

mod support;
#[path = "support/world.rs"]
mod world;

use std::fs;

use bytes::Bytes;
use ringvault_core::{backup::BackupState, job::BackupMode};
use ringvault_vault::{
    VaultError,
    backup::SealPlace,
    purge::{MarkOutcome, NOTHING},
};
use support::content;
use world::{World, job, name};

/// Two nodes; the first one's SSTable is replaced between b1 and b2.
async fn two_backups() -> World {
    let mut world = World::on_folder(2).await;
    world.backup("b1").await;
    world.nodes[0].rewrite("ks", "t", "0", "Data.db", &content("compacted", 30_000));
    world.backup("b2").await;
    world
}

#[tokio::test]
async fn what_a_living_backup_names_stays() {
    let world = two_backups().await;
    let before = world.data_of("b1").await;
    let preview = world.vault.purge_preview(&world.cluster, &[name("b1")]).await.unwrap();
    assert_eq!((preview.objects, preview.bytes, preview.waits_on.len()), (1, 20_000, 0));
    let marked = world.purge("p1", &["b1"], &[]).await;
    assert_eq!((marked.purge, marked.objects, marked.bytes), (1, 1, 20_000));
    assert_eq!(marked.expired, [name("b1")]);
    assert_eq!(world.data_of("b1").await.len(), before.len() - 1);
    world.assert_whole("b2").await;

    let gone = world.vault.seal_of(&world.cluster, &name("b1")).await.unwrap_err();
    assert_eq!(gone.to_task_error().code, "RV-BACKUP-EXPIRED", "{gone}");
    let folder = format!("clusters/{}/backups/b1", world.cluster);
    for part in ["nodes", "index", "schema"] {
        assert_eq!(world.keys(&format!("{folder}/{part}/")).await, [""; 0]);
    }

    // What b2 had kept alive goes with b2.
    world.purge("p2", &["b2"], &[]).await;
    assert_eq!(world.data_of("b1").await, [""; 0]);
    assert_eq!(world.data_of("b2").await, [""; 0]);
    let entry = world.vault.backup(&world.cluster, &name("b1")).await.unwrap();
    assert_eq!(entry.state(), BackupState::Expired);
}

#[tokio::test]
async fn a_name_is_never_free_again() {
    let mut world = two_backups().await;
    world.purge("p1", &["b1"], &[]).await;
    let mut start = world.start("b1", BackupMode::Incremental);
    start.job = job("another");
    assert!(matches!(world.vault.begin_backup(&start).await, Err(VaultError::NameTaken { .. })));
    // A name that begins like it is another name.
    world.backup("b10").await;
    world.assert_whole("b10").await;
}

#[tokio::test]
async fn a_purge_waits_for_a_backup_that_may_have_reused() {
    let mut world = two_backups().await;
    world.begin("running").await;
    let (manifests, uploads) = world.bring_all("running").await;
    assert_eq!(uploads.iter().map(|upload| upload.bytes_new).sum::<u64>(), 0, "it reuses everything");

    let waits = MarkOutcome::Waiting { purge: 1, on: vec![name("running")] };
    assert_eq!(world.mark("p1", &["b1", "b2"], &[]).await, waits);
    assert_eq!(world.mark("p1", &["b1", "b2"], &[]).await, waits, "the same job finds its own intent");
    let early = world.sweep(1, 0, 1).await.unwrap_err();
    assert!(matches!(early, VaultError::PurgeState { .. }), "{early}");

    // One that begins now has read the intent; nobody waits for it, and it brings everything.
    world.begin("later").await;
    let (_, uploads) = world.bring_all("later").await;
    assert!(uploads.iter().all(|upload| upload.bytes_new == upload.figures.bytes));
    assert_eq!(world.mark("p1", &["b1", "b2"], &[]).await, waits);

    world.seal("running", manifests).await.unwrap();
    let marked = world.purge("p1", &["b1", "b2"], &[]).await;
    assert_eq!(marked.objects, 1, "only what b1 alone had named");
    world.assert_whole("running").await;
}

#[tokio::test]
async fn a_purge_goes_on_when_the_backup_it_waits_for_dies() {
    let mut world = two_backups().await;
    world.begin("running").await;
    world.bring_all("running").await;
    assert!(matches!(world.mark("p1", &["b1"], &[]).await, MarkOutcome::Waiting { .. }));
    world.vault.abort(&world.cluster, &name("running"), job("running"), "cancelled").await.unwrap();
    world.purge("p1", &["b1"], &[]).await;
    world.assert_whole("b2").await;
}

#[tokio::test]
async fn a_dead_backup_goes_whole() {
    let mut world = two_backups().await;
    world.nodes[1].rewrite("ks", "t", "1", "Data.db", &content("new", 40_000));
    world.begin("dead").await;
    let (manifests, _) = world.bring_all("dead").await;
    let marked = world.purge("p1", &[], &["dead", "b2"]).await;
    assert_eq!(marked.aborted, [name("dead")], "b2 is sealed and stays");
    assert_eq!((marked.objects, marked.bytes), (1, 40_000));
    let left = world.keys(&format!("clusters/{}/backups/dead/", world.cluster)).await;
    let names: Vec<_> = left.iter().map(|key| key.rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["backup.json", "start.json"]);
    assert!(matches!(world.seal("dead", manifests).await, Err(VaultError::Aborted { .. })));
    world.assert_whole("b1").await;
    world.assert_whole("b2").await;

    // What a worker that came back late puts there goes with the next purge.
    let late = format!("clusters/{}/backups/dead/data/late", world.cluster);
    world.lab.store.put(&late, Bytes::from_static(b"late")).await.unwrap();
    assert_eq!(world.purge("p2", &[], &[]).await.objects, 1);
}

#[tokio::test]
async fn what_no_manifest_names_goes_with_its_backup() {
    let world = two_backups().await;
    let orphan = format!("clusters/{}/backups/b1/data/orphan", world.cluster);
    world.lab.store.put(&orphan, Bytes::from_static(b"of a failed attempt")).await.unwrap();
    assert_eq!(world.purge("p1", &["b1"], &[]).await.objects, 2);
    assert!(world.lab.store.head(&orphan).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn every_step_may_be_done_again_and_by_several() {
    let world = two_backups().await;
    let marked = world.condemn("p1", &["b1"], &[]).await;
    assert_eq!(world.condemn("p1", &["b1"], &[]).await, marked);
    for _ in 0..2 {
        for shard in 0..2 {
            world.sweep(marked.purge, shard, 2).await.unwrap();
        }
    }
    let first = world.finish(marked.purge).await;
    let again = world.finish(marked.purge).await;
    assert_eq!((&again.key, again.objects, again.bytes), (&first.key, first.objects, first.bytes));
    assert!(again.at >= first.at, "the record says when it was last written");
    assert_eq!((first.objects, first.bytes), (1, 20_000));
    world.sweep(marked.purge, 0, 1).await.unwrap();
    world.assert_whole("b2").await;
}

#[tokio::test]
async fn two_purges_at_once_get_numbers_of_their_own() {
    let mut world = two_backups().await;
    world.backup("b3").await;
    let (one, two) = tokio::join!(world.condemn("p1", &["b1"], &[]), world.condemn("p2", &["b2"], &[]));
    let mut numbers = [one.purge, two.purge];
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
    for marked in [&two, &one] {
        world.sweep(marked.purge, 0, 1).await.unwrap();
        world.finish(marked.purge).await;
        world.assert_whole("b3").await;
    }
    assert_eq!(world.purge("p3", &["b3"], &[]).await.expired, [name("b3")]);
    for backup in ["b1", "b2", "b3"] {
        assert_eq!(world.data_of(backup).await, [""; 0], "{backup}");
    }
}

#[tokio::test]
async fn a_later_purge_ends_what_an_abandoned_one_began() {
    let world = two_backups().await;
    world.condemn("abandoned", &["b1"], &[]).await;
    world.purge("p2", &[], &[]).await;
    assert_eq!(world.data_of("b1").await.len(), 3, "what b2 names is left");
    let entry = world.vault.backup(&world.cluster, &name("b1")).await.unwrap();
    assert_eq!(entry.state(), BackupState::Expired);
    world.assert_whole("b2").await;
    // The abandoned one comes back: it has nothing to do, and does no harm.
    world.sweep(1, 0, 1).await.unwrap();
    world.finish(1).await;
    world.assert_whole("b2").await;
}

#[tokio::test]
async fn a_purge_that_cannot_read_what_lives_deletes_nothing() {
    let world = two_backups().await;
    let seal = world.vault.seal_of(&world.cluster, &name("b2")).await.unwrap();
    let manifest = world.lab.local.path().join("vault").join(&seal.nodes[0].key);
    let sound = fs::read(&manifest).unwrap();
    let mut damaged = sound.clone();
    damaged[20] ^= 1;
    fs::write(&manifest, damaged).unwrap();
    let task = world.mark_task("p1", &["b1"], &[]);
    let refused = world.vault.mark(&task).await.unwrap_err();
    assert_eq!(refused.to_task_error().code, "RV-MANIFEST", "{refused}");
    fs::remove_file(&manifest).unwrap();
    let refused = world.vault.mark(&task).await.unwrap_err();
    assert_eq!(refused.to_task_error().code, "RV-STORE-404", "{refused}");
    fs::write(&manifest, sound).unwrap();
    let path =
        world.lab.local.path().join(format!("vault/clusters/{}/backups/b2/backup.json", world.cluster));
    let sound = fs::read(&path).unwrap();
    fs::write(&path, &sound[..100]).unwrap();
    let sound_manifest = fs::read(&manifest).unwrap();
    fs::write(&manifest, &sound_manifest[..20]).unwrap();
    let refused = world.vault.mark(&task).await.unwrap_err();
    assert_eq!(refused.to_task_error().code, "RV-MANIFEST", "a damaged seal, and a manifest too: {refused}");
    fs::write(&manifest, sound_manifest).unwrap();
    fs::write(&path, sound).unwrap();
    world.purge("p1", &["b1"], &[]).await;
    world.assert_whole("b2").await;
}

#[tokio::test]
async fn a_forged_list_deletes_nothing_that_lives() {
    let world = two_backups().await;
    world.condemn("p1", &["b1"], &[]).await;
    let list = format!("clusters/{}/purges/00000001.condemned.jsonl.zst", world.cluster);
    let living = world.data_of("b2").await[0].clone();
    for forged in [living, "vault.json".to_owned(), "../outside".to_owned()] {
        let lines = format!(
            "{{\"header\":{{\"version\":1,\"cluster\":\"{}\",\"purge\":1,\"job\":\"{}\"}}}}\n\
             {{\"object\":{{\"key\":\"{forged}\",\"size\":1}}}}\n{{\"end\":{{\"objects\":1,\"bytes\":1}}}}\n",
            world.cluster,
            job("p1"),
        );
        let body = zstd::encode_all(lines.as_bytes(), 1).unwrap();
        world.lab.store.put(&list, body.into()).await.unwrap();
        assert!(world.sweep(1, 0, 1).await.is_err(), "{forged}");
    }
    world.assert_whole("b2").await;
}

#[tokio::test]
async fn only_what_exists_can_expire() {
    let world = two_backups().await;
    let unknown = world.vault.mark(&world.mark_task("p1", &["b"], &[])).await.unwrap_err();
    assert_eq!(unknown.to_task_error().code, "RV-BACKUP-404", "a prefix of a name means nothing");
    assert!(world.vault.read_intents(&world.cluster).await.unwrap().iter().next().is_none());
}

#[tokio::test]
async fn a_damaged_seal_keeps_what_it_may_name_and_stops_no_purge() {
    let mut world = World::on_folder(2).await;
    world.backup("b1").await;
    world.nodes[0].rewrite("ks", "t", "0", "Data.db", &content("compacted", 30_000));
    world.backup("b2").await;
    let path =
        world.lab.local.path().join(format!("vault/clusters/{}/backups/b2/backup.json", world.cluster));
    let sealed = std::fs::read(&path).unwrap();
    std::fs::write(&path, "{\"version\":1").unwrap();
    let marked = world.purge("p1", &["b1"], &[]).await;
    assert_eq!(marked.objects, 1, "what b2 does not name goes");
    std::fs::write(&path, sealed).unwrap();
    world.assert_whole("b2").await;
}

#[tokio::test]
async fn a_purge_with_nothing_to_do_leaves_no_intent() {
    let mut world = two_backups().await;
    for purge in ["p1", "p2"] {
        let marked = world.condemn(purge, &[], &[]).await;
        assert_eq!((marked.purge, marked.objects, marked.expired.len()), (NOTHING, 0, 0));
        world.finish(marked.purge).await;
    }
    let intents = world.vault.read_intents(&world.cluster).await.unwrap();
    assert_eq!(intents.iter().count(), 0);
    // An expired backup that is not buried yet is something to do, though none of its objects goes.
    world.backup("b3").await;
    assert_eq!(world.condemn("p3", &["b2"], &[]).await.purge, 1);
    assert_eq!(world.purge("p4", &[], &[]).await.purge, 2);
    let entry = world.vault.backup(&world.cluster, &name("b2")).await.unwrap();
    assert!(matches!(entry.place, SealPlace::Tombstone(_)));
}

#[tokio::test]
async fn a_backup_taken_for_dead_that_is_sealed_is_told_of() {
    let world = two_backups().await;
    let marked = world.condemn("p1", &[], &["b1"]).await;
    let found: Vec<_> = marked.sealed.iter().map(|found| found.backup.clone()).collect();
    assert_eq!((found, marked.aborted), (vec![name("b1")], vec![]));
    let seal = world.vault.seal_of(&world.cluster, &name("b1")).await.unwrap();
    assert_eq!(marked.sealed[0].seal, seal.to_result());
    world.assert_whole("b1").await;
}

#[tokio::test]
async fn what_a_purge_buried_and_did_not_tell_of_is_gone_with_the_next() {
    let world = two_backups().await;
    world.purge("p1", &["b1"], &[]).await;
    // Its report was lost: the database has b1 as expired, and the next purge asks for it again.
    let marked = world.purge("p2", &["b1"], &[]).await;
    assert_eq!(marked.expired, [name("b1")]);
    world.assert_whole("b2").await;
}
