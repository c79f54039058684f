//! The keys of one vault in one process, unwrapped: what seals, opens and hashes.
//!
//! It outlives a rotation: an object under a data key that is not known yet makes it read the vault's keys again,
//! with the key-encryption keys that it was opened with. Keys are only ever added.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use futures::future::BoxFuture;
use uuid::Uuid;

use super::{
    object::{Bound, Header, ObjectCipher},
    record::{self, KeysRecord, VaultKeyUse},
    secret::{KeyId, SecretKey},
};
use crate::{
    error::{VaultError, VaultResult},
    hash::HashKey,
    layout,
    store::{Store, StoreError, StoreErrorKind, StoreResult},
};

/// The keys of an encrypted vault.
pub(crate) struct Keyring {
    vault: Uuid,
    url: String,
    /// Where the keys lie; it seals nothing itself.
    plain: Store,
    keks: Vec<SecretKey>,
    hash: HashKey,
    keys: RwLock<Arc<DataKeys>>,
}

/// One generation's data keys.
struct DataKeys {
    generation: u64,
    active: Arc<SecretKey>,
    all: Vec<Arc<SecretKey>>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keks: Vec<_> = self.keks.iter().map(SecretKey::id).collect();
        f.debug_struct("Keyring").field("vault", &self.vault).field("keks", &keks).finish_non_exhaustive()
    }
}

impl Keyring {
    /// Opens the vault's keys with `keks`.
    ///
    /// # Errors
    /// [`VaultError::WrongKey`] when none of these opens them.
    pub(crate) async fn open(
        plain: &Store,
        url: &str,
        vault: Uuid,
        keks: Vec<SecretKey>,
    ) -> VaultResult<Self> {
        let record = current(plain, url, vault).await?;
        let (keys, hash) = unlock(&record, url, &keks)?;
        let keys = RwLock::new(Arc::new(keys));
        Ok(Self { vault, url: url.to_owned(), plain: plain.clone(), keks, hash, keys })
    }

    /// Reads the vault's keys again: a data key that was made since is used from then on.
    ///
    /// # Errors
    /// [`VaultError::WrongKey`] when the vault was given another key-encryption key meanwhile.
    pub(crate) async fn refresh(&self) -> VaultResult<()> {
        let record = current(&self.plain, &self.url, self.vault).await?;
        if record.generation > self.now().generation {
            let (keys, _) = unlock(&record, &self.url, &self.keks)?;
            let mut now = self.keys.write().unwrap_or_else(PoisonError::into_inner);
            if keys.generation > now.generation {
                *now = Arc::new(keys);
            }
        }
        Ok(())
    }

    /// Boxed, because it reads from a store, which may open what it reads with a keyring.
    fn refresh_boxed(&self) -> BoxFuture<'_, VaultResult<()>> {
        Box::pin(self.refresh())
    }

    /// The key of content hashes.
    pub(crate) const fn hash(&self) -> &HashKey {
        &self.hash
    }

    /// The key-encryption keys, first the one that wraps.
    pub(crate) fn keks(&self) -> &[SecretKey] {
        &self.keks
    }

    /// For a new object at `key`, of `len` bytes.
    pub(crate) fn seal(&self, key: &str, len: u64) -> StoreResult<(ObjectCipher, Header)> {
        let sealed = ObjectCipher::create(&self.now().active, self.bound(key), len);
        sealed.map_err(|error| StoreError::new(StoreErrorKind::Device, "PutObject", key, error.to_string()))
    }

    /// For the object at `key` that begins with `head`.
    pub(crate) async fn open_object(&self, key: &str, head: &[u8]) -> StoreResult<ObjectCipher> {
        let damaged = |why: String| StoreError::new(StoreErrorKind::Integrity, "GetObject", key, why);
        let header = Header::read(head).map_err(|fault| damaged(fault.to_string()))?;
        let id = header.key_id();
        let mut secret = self.now().find(id);
        if secret.is_none() {
            self.refresh_boxed().await.map_err(|error| refused(key, error))?;
            secret = self.now().find(id);
        }
        // No key is ever taken away from a vault, so the header is to blame.
        let secret =
            secret.ok_or_else(|| damaged(format!("it names data key {id}, which this vault never had")))?;
        ObjectCipher::of(&secret, self.bound(key), &header).map_err(|fault| damaged(fault.to_string()))
    }

    fn bound<'a>(&self, key: &'a str) -> Bound<'a> {
        if layout::owner_of(key).is_ok() { Bound::Data(self.vault) } else { Bound::Place(self.vault, key) }
    }

    fn now(&self) -> Arc<DataKeys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl DataKeys {
    fn find(&self, id: KeyId) -> Option<Arc<SecretKey>> {
        self.all.iter().find(|key| key.id() == id).cloned()
    }
}

/// A failed look at the vault's keys, as a failed request for an object.
fn refused(key: &str, error: VaultError) -> StoreError {
    match error {
        VaultError::Store(error) => error,
        error => StoreError::new(StoreErrorKind::NoKey, "GetObject", key, error.to_string()),
    }
}

async fn current(store: &Store, url: &str, vault: Uuid) -> VaultResult<KeysRecord> {
    let found = record::current(store, vault).await?;
    found.ok_or_else(|| {
        VaultError::malformed(layout::KEYS, format!("{url} is encrypted, and its keys are gone"))
    })
}

fn unlock(record: &KeysRecord, url: &str, keks: &[SecretKey]) -> VaultResult<(DataKeys, HashKey)> {
    let at = layout::keys(record.generation);
    let Some(keys) = record.unwrap(&at, keks)? else {
        return Err(VaultError::WrongKey {
            url: url.to_owned(),
            wanted: record.wrapped_by(),
            given: keks.iter().map(SecretKey::id).collect(),
        });
    };
    let (data, hash): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| key.used_for == VaultKeyUse::Data);
    let all: Vec<_> = data.into_iter().map(|key| Arc::new(key.secret)).collect();
    let active = all.iter().find(|key| Some(key.id()) == record.active).cloned();
    let (Some(active), [hash]) = (active, hash.as_slice()) else {
        return Err(VaultError::malformed(&at, "it lacks the active data key or the hash key"));
    };
    let hash = HashKey::of(hash.secret.expose());
    Ok((DataKeys { generation: record.generation, active, all }, hash))
}
