//! Whether a store does what a vault rests on, found out by trying.

mod beyond;

use bytes::Bytes;
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{VaultRecord, unlock};
use crate::{
    config::VaultConfig,
    error::VaultError,
    layout,
    store::{PutIfAbsent, Store, StoreError, StoreResult},
};

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// What: `write`, `write once`, `write race`, `read`, `read range`, `list`, `multipart`,
    /// `abandoned uploads`, `clock`, `versions`, `lock`, `delete`, `identity`, and where keys are configured or
    /// wanted `encryption`.
    pub name: String,
    /// Whether it went as a vault needs it.
    pub ok: bool,
    /// What was seen.
    pub detail: String,
    /// What that means for who runs the vault, where it is not plain: a choice or a duty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub means: Option<String>,
    /// The store's own failure, where it was one.
    #[serde(skip)]
    pub(crate) cause: Option<StoreError>,
}

impl Probe {
    fn new(name: &str, seen: StoreResult<Result<&str, String>>) -> Self {
        let (ok, detail, cause) = match seen {
            Ok(Ok(detail)) => (true, detail.to_owned(), None),
            Ok(Err(detail)) => (false, detail, None),
            Err(error) => (false, error.to_string(), Some(error)),
        };
        Self { name: name.to_owned(), ok, detail, means: None, cause }
    }

    /// What was seen, and is neither right nor wrong.
    fn seen(name: &str, detail: &str) -> Self {
        Self { name: name.to_owned(), ok: true, detail: detail.to_owned(), means: None, cause: None }
    }

    fn meaning(self, means: &str) -> Self {
        Self { means: Some(means.to_owned()), ..self }
    }
}

const FIRST: &[u8] = b"ringvault probe: the first content";
const SECOND: &[u8] = b"ringvault probe: the second content";

/// Tries every operation under a key of its own; stops where nothing can be written.
pub(super) async fn run(store: &Store) -> Vec<Probe> {
    let folder = format!("{}{}/", layout::PROBES, Uuid::new_v4());
    let key = format!("{folder}first");
    let body = Bytes::from_static(FIRST);
    let mut probes = Vec::new();
    let mut version = None;
    let written = store.put_if_absent(&key, body).await.map(|put| match put {
        PutIfAbsent::Created(put) => {
            version = put.version_id;
            Ok("objects can be written")
        }
        PutIfAbsent::Exists => Err("a new key is said to exist".to_owned()),
    });
    let failed = written.is_err();
    probes.push(Probe::new("write", written));
    if failed {
        return probes;
    }
    let again = store.put_if_absent(&key, Bytes::from_static(SECOND)).await.map(|put| match put {
        PutIfAbsent::Exists => Ok("If-None-Match is kept to"),
        PutIfAbsent::Created(_) => {
            Err("If-None-Match is ignored: an object was written over that must not be".to_owned())
        }
    });
    probes.push(Probe::new("write once", again));
    let read = store.get(&key, 1 << 20).await.map(|body| {
        if body == FIRST { Ok("what was written is read") } else { Err("other content is read".to_owned()) }
    });
    probes.push(Probe::new("read", read));
    let range = store.get_range(&key, 10, 5).await.map(|body| {
        if body == FIRST[10..15] { Ok("ranges are read") } else { Err("another range is read".to_owned()) }
    });
    probes.push(Probe::new("read range", range));
    probes.push(Probe::new("list", listed(store, &key).await));
    let (race, parts) = (format!("{folder}race"), format!("{folder}parts"));
    probes.push(beyond::race(store, &race).await);
    probes.extend(beyond::parts(store, &folder, &parts).await);
    probes.push(beyond::clock(store, &key).await);
    probes.extend(beyond::keeping(store, version.as_deref()).await);
    probes.push(Probe::new("delete", deleted(store, &[key, race, parts]).await));
    probes
}

async fn listed(store: &Store, key: &str) -> StoreResult<Result<&'static str, String>> {
    let mut objects = store.list(layout::PROBES);
    while let Some(object) = objects.try_next().await? {
        if object.key == key {
            return Ok(if object.size == FIRST.len() as u64 {
                Ok("a list shows what was written")
            } else {
                Err(format!("a list says {} bytes where there are {}", object.size, FIRST.len()))
            });
        }
    }
    Ok(Err("a list does not show what was just written".to_owned()))
}

async fn deleted(store: &Store, keys: &[String; 3]) -> StoreResult<Result<&'static str, String>> {
    if let Some(failure) = store.delete_many(keys).await?.pop() {
        return Err(failure.error);
    }
    match store.head(&keys[0]).await {
        Err(error) if error.is_not_found() => Ok(Ok("objects can be deleted")),
        Err(error) => Err(error),
        Ok(_) => Ok(Err("a deleted object is still there".to_owned())),
    }
}

/// Whether there is a vault that can be read here.
pub(super) async fn identity(store: &Store) -> Probe {
    match VaultRecord::read(store).await {
        Ok(Some(found)) => {
            let encrypted = if found.encryption.is_some() { ", encrypted" } else { "" };
            let detail = format!("vault {}, format version {}{encrypted}", found.vault_id, found.version);
            Probe::seen("identity", &detail)
        }
        Ok(None) => Probe::new("identity", Ok(Err("there is no vault here yet".to_owned()))),
        Err(VaultError::Store(error)) => Probe::new("identity", Err(error)),
        Err(error) => Probe::new("identity", Ok(Err(error.to_string()))),
    }
}

/// Whether the configured keys open the vault; nothing to say of a plain one without any.
pub(super) async fn encryption(store: &Store, config: &VaultConfig) -> Option<Probe> {
    let found = VaultRecord::read(store).await.ok()?;
    let probe = |seen: StoreResult<Result<&str, String>>| Some(Probe::new("encryption", seen));
    let Some(found) = found else {
        // Before an init: only whether the keys can be had.
        let keys = unlock::configured(config).transpose()?;
        return probe(Ok(keys.map(|_| "the key can be read").map_err(|error| error.to_string())));
    };
    if found.encryption.is_none() && config.encryption.is_none() {
        return None;
    }
    match unlock::unlock(store.clone(), config, &found).await {
        Ok(_) => probe(Ok(Ok("the configured key opens the vault"))),
        Err(VaultError::Store(error)) => probe(Err(error)),
        Err(error) => probe(Ok(Err(error.to_string()))),
    }
}

/// Why no vault is made here: the store's own failure, or what it does wrong.
pub(super) fn refusal(config: &VaultConfig, failed: Probe) -> VaultError {
    match failed.cause {
        Some(error) => error.into(),
        None => VaultError::UnfitStore { url: config.url.to_string(), why: failed.detail },
    }
}
