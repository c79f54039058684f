//! The keys of an encrypted vault as they lie in it: `vault.json` says that it is encrypted, `keys/<n>.json`,
//! each created once, holds the keys of generation `n`, wrapped. The highest generation counts.
//!
//! **Why no key is lost.** A generation holds every key of the one before, is created with `If-None-Match`, and
//! its place is never freed: of two rotations at the same time one comes first, and the other learns it and
//! begins again from there. Until it is created nothing has changed, from then on everything has. What is then
//! written over the generations before, so that no wrapping under a former key-encryption key stays, is a help to
//! secrecy only, and the next rotation makes up for it.

use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;
use ringvault_fault::around;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    object::{BLOCK, Bound, open_whole, seal_whole},
    secret::{KEY_LEN, KeyId, NoRandomness, SecretKey},
};
use crate::{
    error::{VaultError, VaultResult},
    layout, record,
    store::Store,
};

/// Version of the format of encrypted vaults, which a release that knows none refuses.
pub(crate) const ENCRYPTED_VERSION: u32 = 2;

/// How objects are sealed; `vault.json` says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheme {
    /// The cipher of blocks.
    pub cipher: String,
    /// How an object's key is derived.
    pub kdf: String,
    /// Bytes of a block as it is stored.
    pub block: u64,
}

impl Scheme {
    /// The one that this release writes and reads.
    pub(crate) fn current() -> Self {
        Self { cipher: "AES-256-GCM".into(), kdf: "HKDF-SHA256".into(), block: BLOCK }
    }
}

/// What a key of a vault is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VaultKeyUse {
    /// Sealing objects.
    Data,
    /// Hashing contents and names. The vault has one, for ever: what is known by content would be unknown by
    /// another.
    Hash,
}

/// One key of a vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultKey {
    /// Its id.
    pub id: KeyId,
    /// What it is for.
    #[serde(rename = "use")]
    pub used_for: VaultKeyUse,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// The key, sealed under each key-encryption key that opens the vault.
    pub wrapped: Vec<Wrapped>,
}

/// A key, sealed under a key-encryption key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrapped {
    /// The key-encryption key.
    pub by: KeyId,
    /// A sealed object in hex.
    pub sealed: String,
}

/// `keys/<n>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysRecord {
    /// Version of the vault's format: 2.
    pub version: u32,
    /// The vault.
    pub vault_id: Uuid,
    /// Counted from 1.
    pub generation: u64,
    /// The run that wrote it: after a lost answer it knows its own.
    pub written_by: Uuid,
    /// When.
    pub written_at: DateTime<Utc>,
    /// The data key that new objects are sealed under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<KeyId>,
    /// Every key that the vault ever had; none once a later generation stands in its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<VaultKey>,
    /// The generation after it; what it held is gone from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<u64>,
}

/// A vault's keys, unwrapped.
#[derive(Debug)]
pub(crate) struct UnwrappedKey {
    pub(crate) secret: SecretKey,
    pub(crate) used_for: VaultKeyUse,
    pub(crate) created_at: DateTime<Utc>,
}

impl UnwrappedKey {
    pub(crate) fn generate(used_for: VaultKeyUse) -> Result<Self, NoRandomness> {
        Ok(Self { secret: SecretKey::generate()?, used_for, created_at: Utc::now() })
    }

    /// Wraps it under each of `keks`.
    pub(crate) fn wrap(&self, vault: Uuid, keks: &[&SecretKey]) -> Result<VaultKey, NoRandomness> {
        let wrap = |kek: &&SecretKey| {
            let place = place(self.used_for, self.secret.id());
            let sealed = seal_whole(kek, Bound::Place(vault, &place), self.secret.expose())?;
            Ok(Wrapped { by: kek.id(), sealed: hex::encode(sealed) })
        };
        let wrapped = keks.iter().map(wrap).collect::<Result<_, _>>()?;
        let (id, used_for, created_at) = (self.secret.id(), self.used_for, self.created_at);
        Ok(VaultKey { id, used_for, created_at, wrapped })
    }
}

/// What a wrapped key is bound to.
fn place(used_for: VaultKeyUse, id: KeyId) -> String {
    let word = match used_for {
        VaultKeyUse::Data => "data",
        VaultKeyUse::Hash => "hash",
    };
    format!("vault key {word} {id}")
}

impl KeysRecord {
    /// The key-encryption keys that open all of it.
    pub fn wrapped_by(&self) -> Vec<KeyId> {
        let Some(first) = self.keys.first() else { return Vec::new() };
        let opens_all = |id: &KeyId| self.keys.iter().all(|key| key.wrapped.iter().any(|w| w.by == *id));
        first.wrapped.iter().map(|wrapped| wrapped.by).filter(opens_all).collect()
    }

    /// Opens every key with one of `keks`. `None`: none of them opens all of it.
    pub(crate) fn unwrap(&self, at: &str, keks: &[SecretKey]) -> VaultResult<Option<Vec<UnwrappedKey>>> {
        let ids = self.wrapped_by();
        let Some(kek) = keks.iter().find(|kek| ids.contains(&kek.id())) else { return Ok(None) };
        let open = |key: &VaultKey| {
            let bad = |why: &str| VaultError::malformed(at, format!("key {}: {why}", key.id));
            let wrapped = key.wrapped.iter().find(|wrapped| wrapped.by == kek.id());
            let sealed = wrapped.and_then(|wrapped| hex::decode(&wrapped.sealed).ok());
            let sealed = sealed.ok_or_else(|| bad("it is not wrapped as it should be"))?;
            let bound = place(key.used_for, key.id);
            let plain = open_whole(kek, Bound::Place(self.vault_id, &bound), &sealed)
                .map_err(|fault| bad(&fault.to_string()))?;
            let bytes: &[u8; KEY_LEN] =
                plain.as_slice().try_into().map_err(|_| bad("it is not of 256 bits"))?;
            let secret = SecretKey::new(bytes);
            if secret.id() != key.id {
                return Err(bad("it is another key"));
            }
            Ok(UnwrappedKey { secret, used_for: key.used_for, created_at: key.created_at })
        };
        self.keys.iter().map(open).collect::<VaultResult<_>>().map(Some)
    }
}

/// Times the generations are listed anew because another came meanwhile.
const TRIES: usize = 5;

/// Every generation's number, ascending.
pub(crate) async fn generations(store: &Store) -> VaultResult<Vec<u64>> {
    let mut found = Vec::new();
    let mut objects = store.list(layout::KEYS);
    while let Some(object) = objects.try_next().await? {
        found.extend(layout::keys_generation(&object.key));
    }
    found.sort_unstable();
    Ok(found)
}

/// One generation.
pub(crate) async fn read_generation(store: &Store, vault: Uuid, n: u64) -> VaultResult<Option<KeysRecord>> {
    let key = layout::keys(n);
    let Some(found) = record::read_as::<KeysRecord>(store, &key, &[ENCRYPTED_VERSION]).await? else {
        return Ok(None);
    };
    if (found.vault_id, found.generation) != (vault, n) {
        let why = format!("it is generation {} of vault {}", found.generation, found.vault_id);
        return Err(VaultError::malformed(&key, why));
    }
    Ok(Some(found))
}

/// The generation that counts; `None` where an init was cut short.
pub(crate) async fn current(store: &Store, vault: Uuid) -> VaultResult<Option<KeysRecord>> {
    for _ in 0..TRIES {
        let Some(last) = generations(store).await?.pop() else { return Ok(None) };
        match read_generation(store, vault, last).await? {
            Some(found) if found.superseded_by.is_none() => return Ok(Some(found)),
            // Another came between listing and reading.
            _ => {}
        }
    }
    Err(VaultError::malformed(layout::KEYS, "the last generation says that there is a later one"))
}

/// Creates a generation; `false`: another has its number.
pub(crate) async fn create(store: &Store, new: &KeysRecord) -> VaultResult<bool> {
    let key = layout::keys(new.generation);
    if around!("vault.keys").run(record::create(store, &key, new)).await? {
        return Ok(true);
    }
    // It may be this very one, from a try whose answer was lost.
    let there = record::read_as::<KeysRecord>(store, &key, &[ENCRYPTED_VERSION]).await?;
    Ok(there.is_some_and(|there| there.written_by == new.written_by))
}

/// The first generation of a vault: a data key and the hash key.
pub(crate) fn first(vault: Uuid, kek: &SecretKey) -> VaultResult<KeysRecord> {
    let data = UnwrappedKey::generate(VaultKeyUse::Data)?;
    let hash = UnwrappedKey::generate(VaultKeyUse::Hash)?;
    Ok(KeysRecord {
        version: ENCRYPTED_VERSION,
        vault_id: vault,
        generation: 1,
        written_by: Uuid::new_v4(),
        written_at: Utc::now(),
        active: Some(data.secret.id()),
        keys: vec![data.wrap(vault, &[kek])?, hash.wrap(vault, &[kek])?],
        superseded_by: None,
    })
}
