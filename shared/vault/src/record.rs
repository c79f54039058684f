//! Records: the small JSON objects that are the vault's truth.
//!
//! Each begins with the version of its format, which is read before anything else; a newer one is
//! refused by name rather than misread. Unknown fields are let be: a later release may add some
//! without a new version.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    error::{VaultError, VaultResult},
    store::{PutIfAbsent, Store},
};

/// Version of the vault's format that is written here.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// Largest record accepted, in bytes: a seal with the topology of a ring of a million tokens fits.
const MAX_RECORD: u64 = 128 << 20;

#[derive(Deserialize)]
struct VersionField {
    version: u32,
}

/// Reads a record; `None` where there is none.
pub(crate) async fn read<T: DeserializeOwned>(store: &Store, key: &str) -> VaultResult<Option<T>> {
    read_as(store, key, &[FORMAT_VERSION]).await
}

/// Reads a record that may be of any of these versions.
pub(crate) async fn read_as<T: DeserializeOwned>(
    store: &Store,
    key: &str,
    versions: &[u32],
) -> VaultResult<Option<T>> {
    match store.get(key, MAX_RECORD).await {
        Ok(body) => parse_as(key, &body, versions).map(Some),
        Err(error) if error.is_not_found() => Ok(None),
        // The store says that it is not what was stored: this record's damage, nobody else's.
        Err(error) if error.is_damage() => Err(VaultError::malformed(key, error)),
        Err(error) => Err(error.into()),
    }
}

/// Understands a record's bytes. `key` names it in errors.
pub fn parse<T: DeserializeOwned>(key: &str, body: &[u8]) -> VaultResult<T> {
    parse_as(key, body, &[FORMAT_VERSION])
}

fn parse_as<T: DeserializeOwned>(key: &str, body: &[u8], versions: &[u32]) -> VaultResult<T> {
    let VersionField { version } = serde_json::from_slice(body).map_err(|e| VaultError::malformed(key, e))?;
    if !versions.contains(&version) {
        let known = versions.iter().copied().max().unwrap_or_default();
        return Err(VaultError::UnsupportedVersion { key: key.to_owned(), found: version, known });
    }
    serde_json::from_slice(body).map_err(|e| VaultError::malformed(key, e))
}

/// Creates a record where none is. `false`: there is one, which may be the caller's own from an
/// attempt whose answer was lost.
pub(crate) async fn create<T: Serialize>(store: &Store, key: &str, record: &T) -> VaultResult<bool> {
    let created = store.put_if_absent(key, encode(key, record)?).await?;
    Ok(matches!(created, PutIfAbsent::Created(_)))
}

/// Writes a record over what was there.
pub(crate) async fn overwrite<T: Serialize>(store: &Store, key: &str, record: &T) -> VaultResult<()> {
    store.put(key, encode(key, record)?).await?;
    Ok(())
}

fn encode<T: Serialize>(key: &str, record: &T) -> VaultResult<bytes::Bytes> {
    let mut body = serde_json::to_vec_pretty(record).map_err(|e| VaultError::malformed(key, e))?;
    body.push(b'\n');
    Ok(body.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_version_is_refused_before_it_is_misread() {
        let newer = br#"{"version":2,"odd":true}"#;
        let error = parse::<serde_json::Value>("k", newer).unwrap_err();
        assert!(matches!(error, VaultError::UnsupportedVersion { found: 2, .. }));
        assert!(matches!(parse::<serde_json::Value>("k", b"{"), Err(VaultError::Malformed { .. })));
    }
}
