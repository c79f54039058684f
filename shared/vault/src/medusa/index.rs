//! Medusa's index: which backups there are, of which nodes, from when.
//!
//! `index/backup_index/<backup>/` holds `tokenmap_<node>.json` and `schema_<node>.cql` from a node's start on,
//! `started_<node>_<seconds>.timestamp`, `differential_<node>` for what was no full backup, and once the node is
//! done `manifest_<node>.json` and `finished_<node>_<seconds>.timestamp`. As Medusa itself does, a node counts
//! once its token map is there.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;

use crate::{error::VaultResult, identity::Vault, layout};

/// Where the index lies.
const INDEX: &str = "index/backup_index/";

/// A node's part of a backup, as the index says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MedusaNode {
    has_tokenmap: bool,
    /// When it began.
    pub started: Option<DateTime<Utc>>,
    /// When it was done; `None`: it is not, or never will be.
    pub finished: Option<DateTime<Utc>>,
    /// Its objects lie together with those of other differential backups.
    pub differential: bool,
}

/// A backup of Medusa's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MedusaBackup {
    /// Its name.
    pub name: String,
    /// Its nodes, by the name that Medusa gives them.
    pub nodes: BTreeMap<String, MedusaNode>,
}

impl MedusaBackup {
    /// When its first node began.
    pub fn started(&self) -> Option<DateTime<Utc>> {
        self.nodes.values().filter_map(|node| node.started).min()
    }

    /// Whether some node has begun and is not done.
    pub fn has_unfinished(&self) -> bool {
        self.nodes.values().any(|node| node.finished.is_none())
    }
}

/// All that an index lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MedusaIndex {
    /// The backups, the oldest first.
    pub backups: Vec<MedusaBackup>,
    /// Objects in the index that are none of its own.
    pub strange: Vec<String>,
}

/// What an object of the index says.
#[derive(Debug, PartialEq, Eq)]
enum Mark {
    Tokenmap,
    Started(DateTime<Utc>),
    Finished(DateTime<Utc>),
    Differential,
    /// Schemas and manifests are read from the backup's own folder.
    Copy,
}

impl Vault {
    /// Reads the index of the Medusa store of this name in the configuration: one request for a thousand objects,
    /// of which there are five a node and backup.
    pub async fn medusa_backups(&self, store: &str) -> VaultResult<MedusaIndex> {
        let folder = layout::medusa(store, INDEX);
        let mut objects = self.store().list(&folder);
        let mut keys = Vec::new();
        while let Some(object) = objects.try_next().await? {
            keys.push(object.key.strip_prefix(&folder).unwrap_or(&object.key).to_owned());
        }
        Ok(read_index(keys))
    }
}

fn read_index(paths: Vec<String>) -> MedusaIndex {
    let mut backups: BTreeMap<String, BTreeMap<String, MedusaNode>> = BTreeMap::new();
    let mut strange = Vec::new();
    for path in paths {
        let parsed = path.split_once('/').and_then(|(backup, file)| Some((backup, read_mark(file)?)));
        let Some((backup, (node, mark))) = parsed else {
            strange.push(path);
            continue;
        };
        let node = backups.entry(backup.to_owned()).or_default().entry(node.to_owned()).or_default();
        match mark {
            Mark::Tokenmap => node.has_tokenmap = true,
            Mark::Started(at) => node.started = Some(at),
            Mark::Finished(at) => node.finished = Some(at),
            Mark::Differential => node.differential = true,
            Mark::Copy => {}
        }
    }
    let mut backups: Vec<MedusaBackup> = backups
        .into_iter()
        .map(|(name, mut nodes)| {
            nodes.retain(|_, node| node.has_tokenmap && node.started.is_some());
            MedusaBackup { name, nodes }
        })
        .filter(|backup| !backup.nodes.is_empty())
        .collect();
    backups.sort_by_key(|backup| (backup.started(), backup.name.clone()));
    MedusaIndex { backups, strange }
}

/// Takes a file's name in the index apart: of which node, and what it says.
fn read_mark(file: &str) -> Option<(&str, Mark)> {
    let timed = |prefix: &str| {
        let (node, seconds) = file.strip_prefix(prefix)?.strip_suffix(".timestamp")?.rsplit_once('_')?;
        Some((node, DateTime::from_timestamp(seconds.parse().ok()?, 0)?))
    };
    let (node, mark) = if let Some((node, at)) = timed("started_") {
        (node, Mark::Started(at))
    } else if let Some((node, at)) = timed("finished_") {
        (node, Mark::Finished(at))
    } else if let Some(rest) = file.strip_prefix("tokenmap_") {
        (rest.strip_suffix(".json")?, Mark::Tokenmap)
    } else if let Some(rest) = file.strip_prefix("manifest_") {
        (rest.strip_suffix(".json")?, Mark::Copy)
    } else if let Some(rest) = file.strip_prefix("schema_") {
        (rest.strip_suffix(".cql")?, Mark::Copy)
    } else {
        // The older word is Medusa's of before 0.8.
        let rest = file.strip_prefix("differential_").or_else(|| file.strip_prefix("incremental_"))?;
        (rest, Mark::Differential)
    };
    (!node.is_empty() && !node.contains('/')).then_some((node, mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_read_as_medusa_writes_it() {
        let paths = [
            "b2/tokenmap_n_1.example.json",
            "b2/schema_n_1.example.cql",
            "b2/started_n_1.example_1795732220.timestamp",
            "b2/finished_n_1.example_1795732229.timestamp",
            "b2/manifest_n_1.example.json",
            "b2/differential_n_1.example",
            "b1/tokenmap_a.json",
            "b1/started_a_1795732000.timestamp",
            "b1/tokenmap_b.json",
            "b1/started_b_1795732001.timestamp",
            "b1/finished_b_1795732002.timestamp",
            "gone/schema_a.cql",
            "b1/odd",
            "README",
        ];
        let index = read_index(paths.map(str::to_owned).to_vec());
        assert_eq!(index.strange, ["b1/odd", "README"]);
        let names: Vec<_> = index.backups.iter().map(|backup| backup.name.as_str()).collect();
        assert_eq!(names, ["b1", "b2"], "by their time, and what is only in part there is none");
        assert!(index.backups[0].has_unfinished() && !index.backups[1].has_unfinished());
        let node = &index.backups[1].nodes["n_1.example"];
        assert!(node.differential && node.finished.unwrap() > node.started.unwrap());
    }
}
