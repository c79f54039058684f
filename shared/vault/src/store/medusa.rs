//! Medusa stores: buckets that lie beside the vault and are only ever read.
//!
//! A key that begins with `medusa/<name>/` is looked for in the store that the configuration gives this
//! name. **Nothing writes there:** every method of [`Store`] that changes something asks
//! [`Store::may_write`] first, and that refuses such a key, whatever its caller believed.

use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt as _, TryStreamExt as _};

use super::{
    ByteStream, Kind, ObjectInfo, ObjectStream, Store, StoreError, StoreErrorKind, StoreRequests, StoreResult,
};
use crate::{config::VaultConfig, error::VaultError, layout, throttle::Throttle};

/// The stores by name.
pub(super) type MedusaStores = Arc<BTreeMap<String, Kind>>;

/// Opens those that the configuration names; their requests are counted with the vault's.
pub(super) async fn open(config: &VaultConfig, requests: &StoreRequests) -> Result<MedusaStores, VaultError> {
    let mut stores = BTreeMap::new();
    for (name, medusa) in &config.medusa {
        stores.insert(name.clone(), Kind::open(medusa, true, requests).await?);
    }
    Ok(Arc::new(stores))
}

/// The same stores; each request keeps to `limit`.
pub(super) fn limited(stores: &MedusaStores, limit: &Throttle) -> Result<MedusaStores, VaultError> {
    let limited = stores.iter().map(|(name, store)| Ok((name.clone(), store.limited(limit)?)));
    Ok(Arc::new(limited.collect::<Result<_, VaultError>>()?))
}

impl Store {
    /// The names of the Medusa stores that are configured.
    pub fn medusa_names(&self) -> impl Iterator<Item = &str> {
        self.2.keys().map(String::as_str)
    }

    /// The store that a key lies in and its path there; `None`: it lies in the vault.
    fn medusa_of<'a>(
        &self,
        key: &'a str,
        operation: &'static str,
    ) -> StoreResult<Option<(&Kind, &'a str, &'a str)>> {
        let invalid = |why: String| StoreError::new(StoreErrorKind::Invalid, operation, key, why);
        let Some((name, path)) = layout::medusa_path(key).map_err(|error| invalid(error.why.to_owned()))?
        else {
            return Ok(None);
        };
        let store = self.2.get(name).ok_or_else(|| {
            invalid(format!(
                "no [vault.medusa.{name}] is configured here: add the one that the backup was imported from"
            ))
        })?;
        Ok(Some((store, name, path)))
    }

    /// Refuses to change what is not the vault's.
    pub(super) fn is_ours(key: &str, operation: &'static str) -> StoreResult<()> {
        if !key.starts_with(layout::MEDUSA) {
            return Ok(());
        }
        let why = "it belongs to Medusa: nothing is written or deleted there";
        Err(StoreError::new(StoreErrorKind::Invalid, operation, key, why))
    }

    pub(super) async fn get_medusa(
        &self,
        key: &str,
        range: Option<std::ops::Range<u64>>,
    ) -> StoreResult<Option<ByteStream>> {
        let Some((store, name, path)) = self.medusa_of(key, "GetObject")? else { return Ok(None) };
        let body = store.get_stream(path, range).await.map_err(|error| renamed(error, name))?;
        let name = name.to_owned();
        Ok(Some(body.map_err(move |error| renamed(error, &name)).boxed()))
    }

    pub(super) async fn head_medusa(&self, key: &str) -> StoreResult<Option<ObjectInfo>> {
        let Some((store, name, path)) = self.medusa_of(key, "HeadObject")? else { return Ok(None) };
        let found = store.head(path).await.map_err(|error| renamed(error, name))?;
        Ok(Some(ObjectInfo { key: key.to_owned(), ..found }))
    }

    pub(super) fn list_medusa(&self, folder: &str) -> Option<ObjectStream> {
        let name = folder.trim_end_matches('/');
        let root = name.strip_prefix(layout::MEDUSA).filter(|rest| layout::is_medusa_name(rest));
        let found = match root {
            Some(root) => match self.2.get(root) {
                Some(store) => Ok(Some((store, root, ""))),
                // For the words of the refusal.
                None => self.medusa_of(&layout::medusa(root, "x"), "ListObjectsV2").map(|_| None),
            },
            None => self.medusa_of(name, "ListObjectsV2"),
        };
        let (store, name, path) = match found {
            Ok(found) => found?,
            Err(error) => return Some(futures::stream::once(async { Err(error) }).boxed()),
        };
        let path = if path.is_empty() { String::new() } else { format!("{path}/") };
        let name = name.to_owned();
        let listed = store.list(&path).map(move |object| match object {
            Ok(object) => Ok(ObjectInfo { key: layout::medusa(&name, &object.key), ..object }),
            Err(error) => Err(renamed(error, &name)),
        });
        Some(listed.boxed())
    }

    /// Whether the store encrypts the object at a key of a Medusa store under a key of its own, so that its
    /// tag is not an MD5 of its content.
    pub(crate) async fn has_opaque_tag(&self, key: &str) -> StoreResult<bool> {
        match self.medusa_of(key, "HeadObject")? {
            Some((Kind::S3(store), name, path)) => {
                Box::pin(store.is_kms_encrypted(path)).await.map_err(|error| renamed(error, name))
            }
            _ => Ok(false),
        }
    }
}

/// An error of a Medusa store, with the key as the vault has it.
fn renamed(mut error: StoreError, name: &str) -> StoreError {
    error.key = layout::medusa(name, &error.key);
    error
}
