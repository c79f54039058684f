//! A bucket that cassandra-medusa 0.31.0 wrote of two nodes of Cassandra 5.0.4, recorded once
//! (`fixtures/medusa-0.31.0.tar.zst`): `diff1` and `diff2` (differential), `full1`, and `onlyone`, which the
//! second node never took part in.

#![allow(dead_code, unreachable_pub)] // a module of several test binaries, each uses its part

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use chrono::{DateTime, TimeDelta, Utc};
use ringvault_core::ClusterName;
use ringvault_vault::{
    Vault, VaultConfig,
    medusa::{ImportOutcome, Imported, MedusaBackup},
};
use url::Url;

const FIXTURE: &[u8] = include_bytes!("../../fixtures/medusa-0.31.0.tar.zst");

/// Medusa's prefix in the bucket.
pub const PREFIX: &str = "prod";
/// The first node's folder of the table that all tests look at.
pub const ORDERS: &str = "127.0.0.1/data/shop/orders-edc289f0e9e811f198dd797a92ce26b4";

/// Unpacks the bucket into `folder`.
pub fn unpack(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let mut tar = Command::new("tar").arg("-x").arg("-C").arg(folder).stdin(Stdio::piped()).spawn().unwrap();
    tar.stdin.take().unwrap().write_all(&zstd::decode_all(FIXTURE).unwrap()).unwrap();
    assert!(tar.wait().unwrap().success());
}

/// Every file below `folder`, by its path there.
pub fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(here) = folders.pop() {
        for entry in fs::read_dir(&here).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// Settings of a vault and, beside it, the bucket in `bucket` as the Medusa store `old`.
pub fn beside(config: VaultConfig, bucket: &Path) -> VaultConfig {
    let url = Url::from_directory_path(bucket.join(PREFIX)).unwrap();
    VaultConfig { medusa: [("old".to_owned(), VaultConfig::at(url))].into(), ..config }
}

/// The backups by name.
pub async fn listed(vault: &Vault) -> BTreeMap<String, MedusaBackup> {
    let index = vault.medusa_backups("old").await.unwrap();
    assert_eq!(index.strange, Vec::<String>::new());
    index.backups.into_iter().map(|backup| (backup.name.clone(), backup)).collect()
}

/// An hour after it was begun.
pub fn soon_after(backup: &MedusaBackup) -> DateTime<Utc> {
    backup.started().unwrap() + TimeDelta::hours(1)
}

/// Imports one backup.
pub async fn import(vault: &Vault, cluster: &ClusterName, name: &str) -> Imported {
    let backup = &listed(vault).await[name];
    vault.import_medusa((cluster, "old"), backup, soon_after(backup), (false, false)).await.unwrap()
}

/// The outcome in a word.
pub fn word(done: &Imported) -> &'static str {
    match &done.outcome {
        ImportOutcome::New(_) => "new",
        ImportOutcome::Known => "known",
        ImportOutcome::Gone { .. } => "gone",
        ImportOutcome::Unfinished => "unfinished",
        ImportOutcome::Refused(_) => "refused",
    }
}
