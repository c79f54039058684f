//! Whether a vault is encrypted as its configuration says, and its keys.

use std::sync::Arc;

use super::VaultRecord;
use crate::{
    config::VaultConfig,
    crypt::{
        EncryptionConfig, Scheme, SecretKey,
        keyring::Keyring,
        record::{self as keys, ENCRYPTED_VERSION, KeysRecord},
    },
    error::{VaultError, VaultResult},
    layout,
    store::Store,
};

/// The key-encryption keys that the configuration names, first the one that wraps.
pub(super) fn configured(config: &VaultConfig) -> VaultResult<Option<Vec<SecretKey>>> {
    Ok(config.encryption.as_ref().map(EncryptionConfig::read_keys).transpose()?)
}

/// The store with the keys of the vault in it.
pub(super) async fn unlock(store: Store, config: &VaultConfig, record: &VaultRecord) -> VaultResult<Store> {
    let url = config.url.to_string();
    match (&record.encryption, configured(config)?) {
        (None, None) => Ok(store),
        (None, Some(_)) => Err(VaultError::NotEncrypted { url }),
        (Some(_), None) => {
            let keys = keys::current(&store, record.vault_id).await?;
            let wanted = keys.map(|keys| keys.wrapped_by()).unwrap_or_default();
            Err(VaultError::KeyMissing { url, wanted })
        }
        (Some(_), Some(keks)) => {
            let ring = Keyring::open(&store, &url, record.vault_id, keks).await?;
            Ok(store.with_keys(Some(Arc::new(ring))))
        }
    }
}

/// Makes the first keys of a vault that is to be, and notes them in its `record`.
///
/// They are made before `vault.json`, so that a vault that is there can be opened. Where an init was cut short
/// between the two, or goes on at the same time, its keys are taken, with the vault's id that they are bound to.
pub(super) async fn make_keys(
    store: &Store,
    config: &VaultConfig,
    keks: &[SecretKey],
    record: &mut VaultRecord,
) -> VaultResult<()> {
    let kek = keks.first().expect("a configuration that can be read names a key");
    let new = keys::first(record.vault_id, kek)?;
    let at = layout::keys(new.generation);
    let keys = if keys::create(store, &new).await? {
        new
    } else {
        let there = crate::record::read_as::<KeysRecord>(store, &at, &[ENCRYPTED_VERSION]).await?;
        there.ok_or_else(|| VaultError::malformed(&at, "it is there and is not"))?
    };
    if keys.unwrap(&at, keks)?.is_none() {
        let given = keks.iter().map(SecretKey::id).collect();
        return Err(VaultError::WrongKey { url: config.url.to_string(), wanted: keys.wrapped_by(), given });
    }
    record.version = ENCRYPTED_VERSION;
    record.vault_id = keys.vault_id;
    record.key_ids = keys.keys.iter().map(|key| key.id.to_string()).collect();
    record.encryption = Some(Scheme::current());
    Ok(())
}
