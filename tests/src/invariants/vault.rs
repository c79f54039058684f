//! 5: no sealed backup that has not expired names an object that is missing or too short; and the
//! database says of each what the vault says.
//!
//! The vault is read as files behind the store's back, so a store that is away or that lies cannot
//! hide anything.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context as _, Result};
use ringvault_core::ClusterName;
use ringvault_vault::{
    EncryptionConfig, Vault, VaultConfig,
    backup::{BackupEntry, SealPlace},
    manifest::ManifestFile,
};
use sqlx::{PgConnection, Row as _};
use url::Url;

use super::Violation;
use crate::{Lab, store::Store};

const NAME: &str = "5 no living backup names a missing object";

pub(super) async fn violations(lab: &Lab, conn: &mut PgConnection) -> Result<Vec<Violation>> {
    // MinIO keeps objects in a form of its own; there verify alone can look.
    let Ok(store) = Store::of(lab).await else { return Ok(Vec::new()) };
    if !store.root().join("vault.json").exists() {
        return Ok(Vec::new());
    }
    let url = Url::from_directory_path(store.root()).ok().context("the vault's folder")?;
    let scratch = tempfile::tempdir()?;
    let mut config = VaultConfig::at(url);
    config.encryption = lab.status().await?.services.store.encryption_key_file.map(EncryptionConfig::of_file);
    let vault = Vault::open(&config).await?.with_scratch(scratch.path());
    let mut found = Vec::new();
    for cluster in vault.clusters().await? {
        for backup in vault.backups(&cluster).await? {
            if let (SealPlace::Sealed(_), None) = (&backup.place, backup.expired_by) {
                found.extend(missing(&vault, store.root(), &cluster, &backup, scratch.path()).await?);
            }
            found.extend(told_otherwise(conn, &cluster, &backup).await?);
        }
    }
    Ok(found)
}

async fn missing(
    vault: &Vault,
    root: &Path,
    cluster: &ClusterName,
    backup: &BackupEntry,
    scratch: &Path,
) -> Result<Vec<Violation>> {
    let SealPlace::Sealed(seal) = &backup.place else { return Ok(Vec::new()) };
    let name = &backup.start.backup;
    let mut gone = BTreeSet::new();
    for node in &seal.nodes {
        let fetched = ManifestFile::fetch(vault.store(), &node.key, Some(node.blake3), scratch).await;
        let manifest = match fetched {
            Ok(manifest) => manifest,
            Err(error) => {
                gone.insert(format!("{}: {error}", node.key));
                continue;
            }
        };
        let mut reader = manifest.reader()?;
        while let Some(entry) = reader.next_entry()? {
            // What is known by another's checksum lies in another's store, whose owner may delete it.
            for component in
                entry.components().iter().filter(|component| component.checksum.blake3().is_some())
            {
                let place = &component.place;
                let size = vault.store().stored_size(&place.key, place.object_size(component.size));
                if root.join(&place.key).metadata().map_or(0, |file| file.len()) < size {
                    gone.insert(place.key.clone());
                }
            }
        }
    }
    // A purge that began after the look at its records may have taken it away meanwhile.
    if gone.is_empty() || vault.backup(cluster, name).await?.expired_by.is_some() {
        return Ok(Vec::new());
    }
    let named: Vec<String> = gone.iter().take(5).cloned().collect();
    let what = format!("{name} of {cluster} lacks {} objects: {}", gone.len(), named.join(", "));
    Ok(vec![Violation::new(NAME, what)])
}

/// A seal in the vault is known to the database once its job is over.
async fn told_otherwise(
    conn: &mut PgConnection,
    cluster: &ClusterName,
    backup: &BackupEntry,
) -> Result<Option<Violation>> {
    let row = sqlx::query(
        "select b.state, j.state from backups b left join jobs j on j.id = b.job
         where b.cluster = $1 and b.name = $2",
    )
    .bind(cluster.as_str())
    .bind(backup.start.backup.as_str())
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let (told, job): (String, Option<String>) = (row.get(0), row.get(1));
    let state = backup.state();
    // While its job is under way, and while a purge is, one of the two is behind.
    if job.as_deref() != Some("succeeded") || told == "expired" || told == state.as_str() {
        return Ok(None);
    }
    let (name, state) = (&backup.start.backup, state.as_str());
    let what = format!("{name} of {cluster} is {state} in the vault and {told} in the database");
    Ok(Some(Violation::new("5 the database says what the vault says", what)))
}
