//! Other keys for a vault: a new key-encryption key, or a new data key for new objects. Nothing is uploaded
//! again: old objects stay under the data keys they were sealed with, and all data keys stay in the vault.

use chrono::Utc;
use ringvault_fault::around;
use serde::Serialize;
use uuid::Uuid;

use super::{
    keyring::Keyring,
    record::{self, KeysRecord, UnwrappedKey, VaultKeyUse},
    secret::{KeyId, SecretKey},
};
use crate::{
    error::{VaultError, VaultResult},
    identity::Vault,
    layout,
    store::Store,
};

/// What a rotation is to change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyChange {
    /// Seal new objects under a new data key.
    pub new_data_key: bool,
    /// Let the key-encryption keys of before open the vault too, as far as they are configured.
    pub keep_former: bool,
}

/// What a rotation came to, or would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rotated {
    /// The generation that counts now.
    pub generation: u64,
    /// Whether it is a new one.
    pub changed: bool,
    /// The data key of new objects.
    pub active: KeyId,
    /// The key-encryption keys that open the vault.
    pub opened_by: Vec<KeyId>,
    /// Those that did, and do not any more.
    pub closed_to: Vec<KeyId>,
}

/// The keys of a vault, without anything secret.
#[derive(Debug, Clone)]
pub struct KeysOfVault {
    /// The generation that counts.
    pub record: KeysRecord,
    /// Former generations that still hold wrapped keys, because a rotation was cut short.
    pub left: Vec<u64>,
    /// The configured key-encryption keys, first the one that wraps.
    pub given: Vec<KeyId>,
}

impl Vault {
    /// The vault's keys; `None` for one that is not encrypted.
    pub async fn keys(&self) -> VaultResult<Option<KeysOfVault>> {
        let Some(ring) = self.store().keyring() else { return Ok(None) };
        let (record, left) = self.read_keys().await?;
        let left = left.into_iter().map(|record| record.generation).collect();
        Ok(Some(KeysOfVault { record, left, given: ring.keks().iter().map(SecretKey::id).collect() }))
    }

    /// Wraps the vault's keys anew, under the first of the configured key-encryption keys. With `dry_run` only
    /// says what would be. Run again after it was cut short, it ends what was begun.
    ///
    /// # Errors
    /// [`VaultError::KeysChanged`] when another rotation came first; [`VaultError::WrongKey`] when no configured
    /// key opens the vault now.
    pub async fn rotate_keys(&self, change: KeyChange, dry_run: bool) -> VaultResult<Rotated> {
        self.check_owner().await?;
        let ring = self.keyring()?;
        ring.refresh().await?;
        let (now, left) = self.read_keys().await?;
        let keks = keks(ring, &now, change);
        let opened_by: Vec<_> = keks.iter().map(|kek| kek.id()).collect();
        let before = now.wrapped_by();
        let closed_to = before.iter().copied().filter(|id| !opened_by.contains(id)).collect();
        let at = layout::keys(now.generation);
        let active = now.active.ok_or_else(|| VaultError::malformed(&at, "it names no active data key"))?;
        let mut same = before.clone();
        same.sort_unstable();
        let mut wanted = opened_by.clone();
        wanted.sort_unstable();
        let changed = change.new_data_key || same != wanted;
        let mut rotated = Rotated { generation: now.generation, changed, active, opened_by, closed_to };
        if dry_run {
            rotated.generation += u64::from(changed);
            return Ok(rotated);
        }
        let mut former = left;
        if changed {
            let mut keys = now.unwrap(&at, ring.keks())?.ok_or_else(|| self.wrong_key(&now, ring))?;
            if change.new_data_key {
                let new = UnwrappedKey::generate(VaultKeyUse::Data)?;
                rotated.active = new.secret.id();
                keys.push(new);
            }
            let vault_id = now.vault_id;
            let wrapped = keys.iter().map(|key| key.wrap(vault_id, &keks)).collect::<Result<_, _>>()?;
            let next = KeysRecord {
                generation: now.generation + 1,
                written_by: Uuid::new_v4(),
                written_at: Utc::now(),
                active: Some(rotated.active),
                keys: wrapped,
                ..now.clone()
            };
            if !record::create(self.store(), &next).await? {
                return Err(VaultError::KeysChanged {
                    url: self.url().to_owned(),
                    generation: next.generation,
                });
            }
            rotated.generation = next.generation;
            former.push(now);
        }
        supersede(self.store(), former, rotated.generation).await?;
        ring.refresh().await?;
        Ok(rotated)
    }

    fn keyring(&self) -> VaultResult<&Keyring> {
        self.store().keyring().ok_or_else(|| VaultError::NotEncrypted { url: self.url().to_owned() })
    }

    fn wrong_key(&self, record: &KeysRecord, ring: &Keyring) -> VaultError {
        let given = ring.keks().iter().map(SecretKey::id).collect();
        VaultError::WrongKey { url: self.url().to_owned(), wanted: record.wrapped_by(), given }
    }

    /// The generation that counts, and those before that still hold keys.
    async fn read_keys(&self) -> VaultResult<(KeysRecord, Vec<KeysRecord>)> {
        let (store, vault) = (self.store(), self.record().vault_id);
        let now = record::current(store, vault).await?;
        let now = now.ok_or_else(|| VaultError::malformed(layout::KEYS, "the vault's keys are gone"))?;
        let mut left = Vec::new();
        for n in record::generations(store).await?.into_iter().filter(|n| *n < now.generation) {
            let former = record::read_generation(store, vault, n).await?;
            left.extend(former.filter(|former| former.superseded_by.is_none()));
        }
        Ok((now, left))
    }
}

/// Who is to open the vault: the first of the configured keys, and, to keep the former, those that do now.
fn keks<'a>(ring: &'a Keyring, now: &KeysRecord, change: KeyChange) -> Vec<&'a SecretKey> {
    let before = now.wrapped_by();
    let (first, others) = ring.keks().split_first().expect("a keyring has at least one key");
    let kept = others.iter().filter(|kek| change.keep_former && before.contains(&kek.id()));
    std::iter::once(first).chain(kept).collect()
}

/// Takes the keys out of former generations; their places stay taken.
async fn supersede(store: &Store, former: Vec<KeysRecord>, by: u64) -> VaultResult<()> {
    for record in former {
        let key = layout::keys(record.generation);
        let empty = KeysRecord { active: None, keys: Vec::new(), superseded_by: Some(by), ..record };
        around!("vault.keys-superseded").run(crate::record::overwrite(store, &key, &empty)).await?;
    }
    Ok(())
}
