//! A vault's identity: that there is one, whose it is, and which ring each cluster in it is.

mod binding;
mod probe;
mod unlock;

use std::{path::Path, sync::Arc};

use chrono::{DateTime, Utc};
use ringvault_core::{BackupName, ClusterName};
use ringvault_fault::around;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    config::VaultConfig,
    crypt::{Scheme, record::ENCRYPTED_VERSION},
    error::{VaultError, VaultResult},
    layout,
    record::{self, FORMAT_VERSION},
    store::{LockState, Store},
    throttle::Throttle,
};
pub use binding::{ClusterRecord, RingIdentity};
pub use probe::Probe;

/// `vault.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultRecord {
    /// Version of the vault's format.
    pub version: u32,
    /// The vault's id, for ever.
    pub vault_id: Uuid,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// The deployment that made it.
    pub created_by: String,
    /// In an encrypted vault, the keys that were made with it; `keys/` has those that came later.
    #[serde(default)]
    pub key_ids: Vec<String>,
    /// That it is encrypted, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Scheme>,
}

impl VaultRecord {
    /// Reads what `vault.json` says; `None` where there is none. Version 2 is that of encrypted vaults, so that
    /// no release that knows of no encryption takes one for a plain vault.
    async fn read(store: &Store) -> VaultResult<Option<Self>> {
        let known = [FORMAT_VERSION, ENCRYPTED_VERSION];
        let Some(found) = record::read_as::<Self>(store, layout::VAULT, &known).await? else {
            return Ok(None);
        };
        let bad = |why: &str| Err(VaultError::malformed(layout::VAULT, why));
        match (&found.encryption, found.version) {
            (None, FORMAT_VERSION) => Ok(Some(found)),
            (Some(scheme), ENCRYPTED_VERSION) if *scheme == Scheme::current() => Ok(Some(found)),
            (Some(_), ENCRYPTED_VERSION) => bad("it is encrypted in a way that this release does not know"),
            _ => bad("its version does not go with what it says of encryption"),
        }
    }
}

/// `owner.json`: the one deployment that writes here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerRecord {
    /// Version of the vault's format.
    pub version: u32,
    /// The deployment.
    pub deployment: String,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// A vault that is there and can be read by this release. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Vault {
    store: Store,
    url: Arc<str>,
    deployment: Arc<str>,
    record: Arc<VaultRecord>,
    scratch: Arc<Path>,
}

impl Vault {
    /// Makes a vault where none is, owned by `deployment`.
    ///
    /// Refuses a store that does not do what the vault rests on, having tried it. Two at the same
    /// time: one makes it, the other is told that it exists. It is encrypted if `config` says so.
    pub async fn init(config: &VaultConfig, deployment: &str) -> VaultResult<Self> {
        let keks = unlock::configured(config)?;
        let store = Store::open(config).await?;
        must_lock(&store, config).await?;
        store.prepare().await?;
        let mut there = VaultRecord::read(&store).await?;
        if there.is_none() {
            if let Some(failed) = probe::run(&store).await.into_iter().find(|p| !p.ok) {
                return Err(probe::refusal(config, failed));
            }
            let mut record = VaultRecord {
                version: FORMAT_VERSION,
                vault_id: Uuid::new_v4(),
                created_at: Utc::now(),
                created_by: deployment.to_owned(),
                key_ids: Vec::new(),
                encryption: None,
            };
            if let Some(keks) = &keks {
                unlock::make_keys(&store, config, keks, &mut record).await?;
            }
            around!("vault.init").run(record::create(&store, layout::VAULT, &record)).await?;
            there = VaultRecord::read(&store).await?;
        }
        let record = there.ok_or_else(|| not_initialised(config))?;
        let owner =
            OwnerRecord { version: FORMAT_VERSION, deployment: deployment.to_owned(), since: Utc::now() };
        // An init of the same deployment that was cut short is brought to its end.
        let ours = record.created_by == deployment;
        if ours && around!("vault.owner").run(record::create(&store, layout::OWNER, &owner)).await? {
            let store = unlock::unlock(store, config, &record).await?;
            return Ok(Self::new(store, config, deployment, record));
        }
        Err(VaultError::AlreadyInitialised {
            url: config.url.to_string(),
            vault_id: record.vault_id.to_string(),
        })
    }

    /// Opens the vault that is there, to read. Whoever writes asks [`Self::check_owner`] too.
    ///
    /// # Errors
    /// Refuses a configuration that says encryption for a plain vault, and the reverse, and keys that do not open
    /// it: no vault becomes half encrypted. Refuses one that asks for locks where the bucket has none.
    pub async fn open(config: &VaultConfig) -> VaultResult<Self> {
        Self::open_within(config, &Throttle::unlimited()).await
    }

    /// The same; every request, those for opening it too, keeps to `limit` ([`Store::limited`]).
    pub async fn open_within(config: &VaultConfig, limit: &Throttle) -> VaultResult<Self> {
        let store = Store::open(config).await?.limited(limit)?;
        must_lock(&store, config).await?;
        let record = VaultRecord::read(&store).await?;
        let record = record.ok_or_else(|| not_initialised(config))?;
        let store = unlock::unlock(store, config, &record).await?;
        Ok(Self::new(store, config, config.deployment(), record))
    }

    /// Tries every operation that a vault needs, against the store that `config` describes. What
    /// may not be done with these credentials is told, not fatal. Leaves nothing behind.
    pub async fn check(config: &VaultConfig) -> VaultResult<Vec<Probe>> {
        let store = Store::open(config).await?;
        let mut probes = vec![probe::identity(&store).await];
        probes.extend(probe::encryption(&store, config).await);
        probes.extend(probe::run(&store).await);
        Ok(probes)
    }

    fn new(store: Store, config: &VaultConfig, deployment: &str, record: VaultRecord) -> Self {
        Self {
            store,
            url: config.url.as_str().into(),
            deployment: deployment.into(),
            record: record.into(),
            scratch: std::env::temp_dir().into(),
        }
    }

    /// Puts temporary files (manifests while they are read, lists while they are made) into
    /// `folder` instead of the system's place for them.
    #[must_use]
    pub fn with_scratch(mut self, folder: &Path) -> Self {
        self.scratch = folder.into();
        self
    }

    /// The same vault, for a backup that asks to be locked for so many seconds
    /// ([`StartRecord`](crate::backup::StartRecord)): what it puts is locked for so long at least, where
    /// there are locks.
    #[must_use]
    pub fn locking_for(&self, seconds: Option<u64>) -> Self {
        Self { store: self.store.locking_for(seconds), ..self.clone() }
    }

    /// The same vault, whose requests keep to `limit` besides what they keep to here ([`Store::limited`]).
    pub fn limited(&self, limit: &Throttle) -> VaultResult<Self> {
        Ok(Self { store: self.store.limited(limit)?, ..self.clone() })
    }

    /// The store under it.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Its address, without credentials.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What `vault.json` says.
    pub fn record(&self) -> &VaultRecord {
        &self.record
    }

    /// Reads the keys of an encrypted vault again: that they can still be opened, and which are new.
    ///
    /// # Errors
    /// [`VaultError::WrongKey`] when the vault was given another key-encryption key meanwhile.
    pub async fn refresh_keys(&self) -> VaultResult<()> {
        match self.store.keyring() {
            Some(keys) => keys.refresh().await,
            None => Ok(()),
        }
    }

    pub(crate) fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// The deployment that writes here; `None` where an init was cut short.
    pub async fn owner(&self) -> VaultResult<Option<OwnerRecord>> {
        record::read(&self.store, layout::OWNER).await
    }

    /// Refuses a deployment that is not the owner. Asked before whatever decides about other people's
    /// objects: a start, a seal, a purge.
    pub async fn check_owner(&self) -> VaultResult<()> {
        self.refresh_keys().await?;
        let owner = self.owner().await?.map(|owner| owner.deployment).unwrap_or_default();
        if owner == *self.deployment {
            return Ok(());
        }
        let (url, deployment) = (self.url.to_string(), self.deployment.to_string());
        Err(VaultError::OtherOwner { url, owner, deployment })
    }

    /// Makes `deployment` the owner, and gives every unsealed backup an abort marker. Returns these.
    ///
    /// The owner is written first: from then on the former one is refused to begin and to seal. What it
    /// had begun is dead by the marker; what it began between the two is found by looking once more.
    pub async fn takeover(&self, deployment: &str) -> VaultResult<Vec<(ClusterName, BackupName)>> {
        let owner =
            OwnerRecord { version: FORMAT_VERSION, deployment: deployment.to_owned(), since: Utc::now() };
        around!("vault.takeover").run(record::overwrite(&self.store, layout::OWNER, &owner)).await?;
        let mut aborted = self.abort_unsealed(deployment).await?;
        aborted.extend(self.abort_unsealed(deployment).await?);
        Ok(aborted)
    }

    async fn abort_unsealed(&self, deployment: &str) -> VaultResult<Vec<(ClusterName, BackupName)>> {
        let mut aborted = Vec::new();
        for cluster in self.clusters().await? {
            for (name, entry) in self.backups_leniently(&cluster).await? {
                let backup = match entry {
                    Ok(Some(backup)) if backup.is_unsealed() => backup,
                    Ok(_) => continue,
                    Err(error) => {
                        tracing::warn!(%cluster, backup = %name, %error, "a damaged record is left as it is");
                        continue;
                    }
                };
                let reason = format!("the vault was taken over by {deployment}");
                self.abort(&cluster, &name, backup.start.job, &reason).await?;
                aborted.push((cluster.clone(), name));
            }
        }
        Ok(aborted)
    }

    /// The clusters that have backups here, in order.
    pub async fn clusters(&self) -> VaultResult<Vec<ClusterName>> {
        let folders = self.store.list_folders(layout::CLUSTERS).await?;
        let names = folders.iter().map(|folder| layout::last_segment(folder));
        Ok(names.filter_map(|name| ClusterName::new(name).ok()).collect())
    }
}

/// Refuses a bucket that does not lock where locks are asked for. Object Lock cannot be taken from a bucket that
/// has it, so who has opened a vault once need not ask again.
async fn must_lock(store: &Store, config: &VaultConfig) -> VaultResult<()> {
    if store.lock().is_some() && store.lock_state().await? == LockState::Off {
        return Err(VaultError::NoObjectLock { url: config.url.to_string() });
    }
    Ok(())
}

fn not_initialised(config: &VaultConfig) -> VaultError {
    VaultError::NotInitialised { url: config.url.to_string() }
}
