//! Vaults written by every release so far can be read, verified and purged for ever.
//!
//! `fixtures/vault-v1` is a whole vault of format version 1: a backup that has expired (b0), two that
//! are sealed (b1, b2), a dead one, a purge that has ended, a damaged object with its marker. With
//! `RINGVAULT_WRITE_FIXTURES=1` it is written anew; a fixture of a released format never is.

mod support;
#[path = "support/world.rs"]
mod world;

use std::{fs, path::Path};

use ringvault_core::{
    backup::BackupState::{Complete, Dead, Expired},
    cluster::Coverage,
    job::VerifyLevel,
    task::{CheckTask, FindingKind},
};
use ringvault_vault::{Vault, VaultConfig, progress::TransferProgress};
use support::{content, copy_folder};
use tokio_util::sync::CancellationToken;
use url::Url;
use world::{World, job, name};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/vault-v1");

async fn write_fixture() {
    let mut world = World::on_folder(2).await;
    for node in &world.nodes {
        let id = if node.host == world.nodes[0].host { "0" } else { "1" };
        node.rewrite("ks", "t", id, "Data.db", &content(id, 11_000));
    }
    world.backup("b0").await;
    world.nodes[0].rewrite("ks", "t", "0", "Data.db", &content("compacted", 12_000));
    world.backup("b1").await;
    world.begin("dead").await;
    world.bring_all("dead").await;
    world.purge("p1", &["b0"], &["dead"]).await;
    let damaged = world.data_of("b1").await[0].clone();
    let path = world.lab.local.path().join("vault");
    let mut body = fs::read(path.join(&damaged)).unwrap();
    body[0] ^= 1;
    fs::write(path.join(&damaged), body).unwrap();
    world.verify("b1", VerifyLevel::Digest, 1).await;
    world.backup("b2").await;
    fs::remove_dir_all(path.join(".partial")).unwrap();
    if Path::new(FIXTURE).exists() {
        fs::remove_dir_all(FIXTURE).unwrap();
    }
    copy_folder(&path, Path::new(FIXTURE));
}

async fn verify(vault: &Vault, backup: &str) -> Vec<FindingKind> {
    let cluster = vault.clusters().await.unwrap()[0].clone();
    let (job, level) = (job("verify"), VerifyLevel::Digest);
    let task = CheckTask { job, cluster, backup: name(backup), level, shard: 0, shards: 1 };
    let result = vault.verify_shard(&task, &TransferProgress::new(), &CancellationToken::new()).await;
    result.unwrap().findings.into_iter().map(|finding| finding.kind).collect()
}

#[tokio::test]
async fn a_vault_of_format_1_is_read_verified_healed_and_purged() {
    if std::env::var_os("RINGVAULT_WRITE_FIXTURES").is_some() {
        write_fixture().await;
    }
    let local = tempfile::tempdir().unwrap();
    let root = local.path().join("vault");
    copy_folder(Path::new(FIXTURE), &root);
    let config = VaultConfig::at(Url::from_directory_path(&root).unwrap());
    let vault = Vault::open(&config).await.unwrap().with_scratch(local.path());
    assert_eq!(vault.owner().await.unwrap().unwrap().deployment, "tests");
    let cluster = vault.clusters().await.unwrap()[0].clone();

    let catalog = vault.catalog(&cluster).await.unwrap();
    let states: Vec<_> = catalog.iter().map(|e| (e.backup.as_str(), e.state().unwrap())).collect();
    assert_eq!(states, [("b2", Complete), ("dead", Dead), ("b1", Complete), ("b0", Expired)]);
    let seal = catalog[0].seal().unwrap();
    assert_eq!((seal.coverage, seal.nodes.len()), (Coverage::Complete, 2));
    assert_eq!((seal.figures.files, seal.figures.bytes), (4, 12_000 + 11_000 + 2 * 92));
    assert!(vault.get_schema(&seal.schema).await.unwrap().starts_with(b"CREATE TABLE"));
    assert_eq!(vault.read_intents(&cluster).await.unwrap().expired_by(&name("b0")), Some(1));

    assert_eq!(verify(&vault, "b1").await, [FindingKind::Corrupt]);
    assert_eq!(verify(&vault, "b2").await, []);
    let healed = vault.heal(&cluster, &CancellationToken::new()).await.unwrap();
    assert_eq!((healed.healed.len(), healed.left.len()), (1, 0));
    assert_eq!(verify(&vault, "b1").await, []);
    let preview = vault.purge_preview(&cluster, &[name("b1"), name("b2")]).await.unwrap();
    assert!(preview.objects >= 5, "everything would go: {preview:?}");
}
