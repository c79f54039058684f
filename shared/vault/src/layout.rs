//! Where everything lies in a vault, format version 1. The one place that builds or reads a key.
//!
//! Keys are relative to the vault's root: the store adds bucket and prefix, so a vault can be copied
//! to another place as it is. Every variable part is a checked name, an id or a number, so no key
//! can leave its folder; keys read from a manifest go through [`check_key`] and [`owner_of`] first.
//! No key is a folder of another key: some stores refuse that.

use ringvault_core::{BackupName, ClusterName, HostId, JobId, text::excerpt};
use uuid::Uuid;

/// The vault's identity.
pub const VAULT: &str = "vault.json";
/// The one deployment that writes here.
pub const OWNER: &str = "owner.json";
/// The folder of an encrypted vault's keys, ending with `/`.
pub const KEYS: &str = "keys/";
/// What is told of the deployments' audit logs, ending with `/`.
pub const AUDIT: &str = "audit/";
/// Keys that begin so lie in no vault, but in a Medusa bucket that the configuration names; ends with `/`.
pub const MEDUSA: &str = "medusa/";
/// What `vault init` and `vault check` try the store with; deleted afterwards.
pub const PROBES: &str = "probes/";
/// Every cluster's folder lies below this.
pub const CLUSTERS: &str = "clusters/";

/// Longest key accepted, in bytes: S3's own limit, less room for a prefix.
pub const MAX_KEY_LEN: usize = 900;

/// Generation `n` of an encrypted vault's keys. Padded, so that keys list in order.
pub fn keys(n: u64) -> String {
    format!("{KEYS}{n:08}.json")
}

/// The generation in a key, if it is one.
pub(crate) fn keys_generation(key: &str) -> Option<u64> {
    let digits = key.strip_prefix(KEYS)?.strip_suffix(".json")?;
    let all_digits = digits.len() >= 8 && digits.bytes().all(|b| b.is_ascii_digit());
    if all_digits { digits.parse().ok() } else { None }
}

/// Whether the object at `key` is sealed in an encrypted vault: all that is of a cluster. What says whose the
/// vault is and how it is opened is not.
pub(crate) fn is_sealed(key: &str) -> bool {
    key.starts_with(CLUSTERS)
}

/// A cluster's folder, ending with `/`.
pub fn cluster_folder(cluster: &ClusterName) -> String {
    format!("{CLUSTERS}{cluster}/")
}

/// Which ring a cluster's id is bound to.
pub fn cluster_identity(cluster: &ClusterName) -> String {
    format!("{CLUSTERS}{cluster}/cluster.json")
}

/// The folder of a cluster's backups, ending with `/`.
pub fn backups_folder(cluster: &ClusterName) -> String {
    format!("{CLUSTERS}{cluster}/backups/")
}

/// A backup's folder, ending with `/`.
pub fn backup_folder(cluster: &ClusterName, backup: &BackupName) -> String {
    format!("{CLUSTERS}{cluster}/backups/{backup}/")
}

/// Written first: the backup exists, and from when.
pub fn start(cluster: &ClusterName, backup: &BackupName) -> String {
    format!("{CLUSTERS}{cluster}/backups/{backup}/start.json")
}

/// The seal, an abort marker, or a tombstone. Its place is never freed.
pub fn seal(cluster: &ClusterName, backup: &BackupName) -> String {
    format!("{CLUSTERS}{cluster}/backups/{backup}/backup.json")
}

/// The schema as CQL and the topology, as captured with the backup; named by hash in the seal.
pub fn schema(cluster: &ClusterName, backup: &BackupName, hash: &str) -> String {
    format!("{CLUSTERS}{cluster}/backups/{backup}/schema/{hash}.json.zst")
}

/// The folder of the objects a backup brought, ending with `/`.
pub fn data_folder(cluster: &ClusterName, backup: &BackupName) -> String {
    format!("{CLUSTERS}{cluster}/backups/{backup}/data/")
}

/// An object a backup brought; `name` is made by the uploader: segments that begin with a letter or
/// digit, joined by `/`.
pub fn data(cluster: &ClusterName, backup: &BackupName, name: &str) -> String {
    format!("{CLUSTERS}{cluster}/backups/{backup}/data/{name}")
}

/// The folder of a backup's node manifests, ending with `/`.
pub fn manifests_folder(cluster: &ClusterName, backup: &BackupName) -> String {
    format!("{CLUSTERS}{cluster}/backups/{backup}/nodes/")
}

/// A node's manifest, by the epoch of the task that wrote it: a late worker overwrites nothing.
pub fn manifest(cluster: &ClusterName, backup: &BackupName, host: HostId, epoch: u64) -> String {
    format!("{CLUSTERS}{cluster}/backups/{backup}/nodes/{host}.{epoch}.jsonl.zst")
}

/// The folder of a backup's index, ending with `/`.
pub fn index_folder(cluster: &ClusterName, backup: &BackupName) -> String {
    format!("{CLUSTERS}{cluster}/backups/{backup}/index/")
}

/// One shard of a backup's index.
pub fn index_shard(cluster: &ClusterName, backup: &BackupName, shard: u32) -> String {
    format!("{CLUSTERS}{cluster}/backups/{backup}/index/{shard:02x}")
}

/// The folder of a cluster's purges, ending with `/`.
pub fn purges_folder(cluster: &ClusterName) -> String {
    format!("{CLUSTERS}{cluster}/purges/")
}

/// The intent of purge `n`. Padded, so that keys list in order.
pub fn purge_intent(cluster: &ClusterName, n: u64) -> String {
    format!("{CLUSTERS}{cluster}/purges/{n:08}.json")
}

/// The number in an intent's key, if it is one.
pub fn purge_number(key: &str) -> Option<u64> {
    let digits = key.rsplit('/').next()?.strip_suffix(".json")?;
    let all_digits = digits.len() >= 8 && digits.bytes().all(|b| b.is_ascii_digit());
    if all_digits { digits.parse().ok() } else { None }
}

/// Whom purge `n` waits for.
pub fn purge_waits(cluster: &ClusterName, n: u64) -> String {
    format!("{CLUSTERS}{cluster}/purges/{n:08}.waits.json")
}

/// What purge `n` takes away.
pub fn condemned(cluster: &ClusterName, n: u64) -> String {
    format!("{CLUSTERS}{cluster}/purges/{n:08}.condemned.jsonl.zst")
}

/// What purge `n` came to.
pub fn purge_result(cluster: &ClusterName, n: u64) -> String {
    format!("{CLUSTERS}{cluster}/purges/{n:08}.result.json")
}

/// The folder of keys that a verify found damaged, ending with `/`.
pub fn bad_folder(cluster: &ClusterName) -> String {
    format!("{CLUSTERS}{cluster}/bad/")
}

/// The marker of one damaged content, named by a hash of key and place.
pub fn bad(cluster: &ClusterName, digest: &str) -> String {
    format!("{CLUSTERS}{cluster}/bad/{digest}.json")
}

/// The folder of what was told of an audit log, ending with `/`.
pub fn audit_folder(chain: Uuid) -> String {
    format!("{AUDIT}{chain}/")
}

/// Number and hash of an entry of an audit log. Padded, so that keys list in order.
pub fn audit_anchor(chain: Uuid, seq: u64) -> String {
    format!("{AUDIT}{chain}/{seq:020}.json")
}

/// The number in such a key, if it is one.
pub(crate) fn audit_seq(key: &str) -> Option<u64> {
    let digits = last_segment(key).strip_suffix(".json")?;
    if digits.len() == 20 { digits.parse().ok() } else { None }
}

/// The report of one verify.
pub fn verification(cluster: &ClusterName, backup: &BackupName, job: JobId) -> String {
    format!("{CLUSTERS}{cluster}/verifications/{backup}/{job}.json")
}

/// The folder of the findings of a verify's shards, ending with `/`.
pub fn verification_shards(cluster: &ClusterName, backup: &BackupName, job: JobId) -> String {
    format!("{CLUSTERS}{cluster}/verifications/{backup}/{job}.shards/")
}

/// The folder of a backup's verify reports, ending with `/`; the shards' lists lie in folders below it.
pub fn verifications_folder(cluster: &ClusterName, backup: &BackupName) -> String {
    format!("{CLUSTERS}{cluster}/verifications/{backup}/")
}

/// The folder of a backup's holds, ending with `/`.
pub fn holds_folder(cluster: &ClusterName, backup: &BackupName) -> String {
    format!("{CLUSTERS}{cluster}/holds/{backup}/")
}

/// A hold of a backup, named by a hash of its name, which is free text.
pub fn hold(cluster: &ClusterName, backup: &BackupName, digest: &str) -> String {
    format!("{CLUSTERS}{cluster}/holds/{backup}/{digest}.json")
}

/// The findings of one shard of a verify.
pub fn verification_shard(cluster: &ClusterName, backup: &BackupName, job: JobId, shard: u32) -> String {
    format!("{CLUSTERS}{cluster}/verifications/{backup}/{job}.shards/{shard:05}.jsonl.zst")
}

/// How a restore into `target` is done, as the attempt `epoch` of its `plan` decided it.
pub fn restore_plan(target: &ClusterName, job: JobId, epoch: u32) -> String {
    format!("{CLUSTERS}{target}/restores/{job}.{epoch}.json")
}

/// Where a restore's plan lay before attempts had plans of their own; only read.
pub fn old_restore_plan(target: &ClusterName, job: JobId) -> String {
    format!("{CLUSTERS}{target}/restores/{job}.json")
}

/// The views that the restored tables of `target` had before the restore dropped the first of them.
pub fn restore_views(target: &ClusterName, job: JobId) -> String {
    format!("{CLUSTERS}{target}/restores/{job}.views.json")
}

/// That a table of `target` is emptied, or was, by a restore: created before it is.
pub fn restore_truncated(target: &ClusterName, job: JobId, table: &str) -> String {
    format!("{CLUSTERS}{target}/restores/{job}/truncated/{table}.json")
}

/// That a restore has begun to load data into `target`.
pub fn restore_loading(target: &ClusterName, job: JobId) -> String {
    format!("{CLUSTERS}{target}/restores/{job}/loading.json")
}

/// That the roles and grants which a restore brings to `target` are in place.
pub fn restore_auth(target: &ClusterName, job: JobId) -> String {
    format!("{CLUSTERS}{target}/restores/{job}/auth.json")
}

/// Why a key was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key:?} is not a key of a vault: {why}")]
pub struct InvalidKey {
    /// As given, or an excerpt of it.
    pub key: String,
    /// Which rule it breaks.
    pub why: &'static str,
}

/// Checks a key from outside: relative, without empty, hidden, `.` or `..` segments, printable ASCII
/// without `\`.
pub fn check_key(key: &str) -> Result<(), InvalidKey> {
    let refuse = |why| Err(InvalidKey { key: excerpt(key), why });
    if key.is_empty() || key.len() > MAX_KEY_LEN {
        return refuse("it is empty or too long");
    }
    if !key.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') {
        return refuse("only printable ASCII without spaces and '\\' is allowed");
    }
    for segment in key.split('/') {
        if segment.is_empty() {
            return refuse("it has an empty segment");
        }
        if segment.starts_with('.') {
            return refuse("a segment begins with '.'");
        }
    }
    Ok(())
}

/// Whether `name` can be that of a Medusa store: 1 to 64 lower-case letters, digits, `_` and `-`.
pub fn is_medusa_name(name: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
    (1..=64).contains(&name.len()) && name.bytes().all(is_allowed)
}

/// The key of what lies at `path` of a Medusa store.
pub fn medusa(store: &str, path: &str) -> String {
    format!("{MEDUSA}{store}/{path}")
}

/// The Medusa store that a key lies in, and the path there; `None`: it lies in the vault. The path is relative,
/// of printable ASCII; other than in a vault a segment may begin with `.` (the folders of indexes do) but is
/// neither `.` nor `..`.
pub fn medusa_path(key: &str) -> Result<Option<(&str, &str)>, InvalidKey> {
    let Some(rest) = key.strip_prefix(MEDUSA) else { return Ok(None) };
    let refuse = |why| Err(InvalidKey { key: excerpt(key), why });
    let Some((store, path)) = rest.split_once('/').filter(|(store, _)| is_medusa_name(store)) else {
        return refuse("it names no Medusa store");
    };
    if path.is_empty() || key.len() > MAX_KEY_LEN {
        return refuse("it is empty or too long");
    }
    if !path.bytes().all(|b| (b.is_ascii_graphic() || b == b' ') && b != b'\\') {
        return refuse("only printable ASCII without '\\' is allowed");
    }
    if path.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return refuse("it has an empty, '.' or '..' segment");
    }
    Ok(Some((store, path)))
}

/// The folder of a Medusa store that an object lies in with all others of its node and kind of backup, ending
/// with `/`: `<node>/data/` of differential backups, `<node>/<backup>/data/` of full ones.
pub fn medusa_data_folder(key: &str) -> Option<String> {
    let (store, path) = medusa_path(key).ok()??;
    let begin = path.find("/data/")?;
    Some(medusa(store, &path[..begin + "/data/".len()]))
}

/// The cluster and backup in whose `data/` folder an object lies. A manifest may name such keys
/// only, and those of a Medusa store where the backup was imported.
pub fn owner_of(key: &str) -> Result<(ClusterName, BackupName), InvalidKey> {
    check_key(key)?;
    let refuse = || InvalidKey { key: key.to_owned(), why: "it lies in no backup's data folder" };
    let rest = key.strip_prefix(CLUSTERS).ok_or_else(refuse)?;
    let mut parts = rest.splitn(5, '/');
    let mut next = || parts.next().ok_or_else(refuse);
    let cluster = ClusterName::new(next()?).map_err(|_| refuse())?;
    if next()? != "backups" {
        return Err(refuse());
    }
    let backup = BackupName::new(next()?).map_err(|_| refuse())?;
    if next()? != "data" {
        return Err(refuse());
    }
    next()?;
    Ok((cluster, backup))
}

/// Whether an object of this key holds data of a backup, and not a record of the vault.
pub(crate) fn holds_data(key: &str) -> bool {
    owner_of(key).is_ok()
}

/// Whether the object at `key` is locked where the vault asks for locks: all of a backup, and what a vault cannot
/// be opened without. Records of purges, holds, verifies and restores are not needed to restore a backup.
pub(crate) fn is_locked(key: &str) -> bool {
    let of_a_backup = || key.strip_prefix(CLUSTERS)?.split_once('/')?.1.strip_prefix("backups/");
    key == VAULT || key.starts_with(KEYS) || of_a_backup().is_some()
}

/// Whether the object at `key` is a record of a purge: what says that backups expire.
pub(crate) fn is_of_purge(key: &str) -> bool {
    let of_cluster = key.strip_prefix(CLUSTERS).and_then(|rest| rest.split_once('/'));
    of_cluster.is_some_and(|(_, rest)| rest.starts_with("purges/"))
}

/// The names directly below `folder` in a list of folders.
pub(crate) fn last_segment(folder: &str) -> &str {
    folder.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_restore_needs_is_locked() {
        let locked = ["vault.json", "keys/00000001.json", "clusters/c/backups/b/backup.json"];
        assert!(locked.into_iter().all(is_locked) && is_locked("clusters/backups/backups/b/data/h.1/x"));
        let not = ["owner.json", "probes/x", "clusters/c/purges/00000001.json", "clusters/backups/holds/b/x"];
        assert!(!not.into_iter().any(is_locked));
    }

    fn names() -> (ClusterName, BackupName) {
        (ClusterName::new("orders").unwrap(), BackupName::new("b1").unwrap())
    }

    #[test]
    fn an_object_knows_the_backup_that_brought_it() {
        let (cluster, backup) = names();
        let key = data(&cluster, &backup, "aa/bb");
        assert_eq!(owner_of(&key).unwrap(), (cluster.clone(), backup.clone()));
        for bad in [
            start(&cluster, &backup),
            seal(&cluster, &backup),
            VAULT.to_owned(),
            "clusters/orders/backups/b1/data".to_owned(),
            "clusters/orders/backups/b1/data/".to_owned(),
            "clusters/orders/backups/../../x/data/y".to_owned(),
            "clusters/orders/backups/b1/data/../../../x".to_owned(),
            "/clusters/orders/backups/b1/data/x".to_owned(),
            "clusters/orders/backups/b1/data/a\\b".to_owned(),
            "clusters/orders/backups/b1/data/a\n".to_owned(),
        ] {
            assert!(owner_of(&bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn what_lies_in_a_medusa_store_is_told_from_what_lies_in_the_vault() {
        let key = "medusa/old/node1/data/ks/t-1/.idx/nb-1-big-Data.db";
        assert_eq!(medusa_path(key).unwrap().unwrap().0, "old");
        assert_eq!(medusa_data_folder(key).unwrap(), "medusa/old/node1/data/");
        assert_eq!(medusa_data_folder("medusa/old/n/b/data/k/t/x").unwrap(), "medusa/old/n/b/data/");
        assert!(owner_of(key).is_err() && !holds_data(key) && !is_locked(key) && !is_sealed(key));
        assert_eq!(medusa_path("clusters/c/backups/b/data/x").unwrap(), None);
        for bad in [
            "medusa/old/../x",
            "medusa/old/a//b",
            "medusa/OLD/a",
            "medusa/old/",
            "medusa/old",
            "medusa/o/a\n",
        ] {
            assert!(medusa_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn purge_intents_list_in_order_and_are_told_from_their_lists() {
        let (cluster, _) = names();
        assert!(purge_intent(&cluster, 9) < purge_intent(&cluster, 10));
        assert_eq!(purge_number(&purge_intent(&cluster, 12)), Some(12));
        assert_eq!(purge_number(&condemned(&cluster, 12)), None);
        assert_eq!(purge_number(&purge_result(&cluster, 12)), None);
        assert_eq!(purge_number(&purge_waits(&cluster, 12)), None);
    }

    #[test]
    fn a_name_that_begins_like_another_has_a_folder_of_its_own() {
        let (cluster, backup) = names();
        let longer = BackupName::new("b10").unwrap();
        assert!(!start(&cluster, &longer).starts_with(&backup_folder(&cluster, &backup)));
    }
}
