//! The records of a backup: seal, manifests, schema, index.

use std::{collections::BTreeSet, sync::Arc};

use ringvault_core::{
    HostId,
    task::{CheckTask, Finding, FindingKind},
};

use crate::{
    backup::{SealRecord, SealedNode},
    error::{VaultError, VaultResult},
    hash::Digest,
    identity::Vault,
    layout,
    manifest::ManifestFile,
};

/// Largest shard of an index that is read, in bytes.
const MAX_INDEX_SHARD: u64 = 512 << 20;

/// What can be checked further, and what is wrong with the rest.
pub(super) struct Opened {
    /// The manifests that are as the seal names them, with their nodes.
    pub(super) manifests: Arc<Vec<(HostId, ManifestFile)>>,
    /// The `data/` folders that the backup's objects lie in.
    pub(super) folders: BTreeSet<String>,
    /// Damaged records; only shard 0 reports them, so that each is found once.
    pub(super) findings: Vec<Finding>,
}

impl Vault {
    pub(super) async fn open_records(&self, task: &CheckTask) -> VaultResult<Opened> {
        let mut opened = Opened { manifests: Arc::default(), folders: BTreeSet::new(), findings: Vec::new() };
        let seal = match self.seal_of(&task.cluster, &task.backup).await {
            Ok(seal) => seal,
            Err(error) if is_damage(&error) => {
                let key = layout::seal(&task.cluster, &task.backup);
                opened.report(task, None, key, error.to_string());
                return Ok(opened);
            }
            Err(error) => return Err(error),
        };
        let mut manifests = Vec::new();
        for node in &seal.nodes {
            match self.open_manifest(node).await {
                Ok(manifest) => manifests.push((node.host_id, manifest)),
                Err(error) if is_damage(&error) => {
                    opened.report(task, Some(node.host_id), node.key.clone(), error.to_string());
                }
                Err(error) => return Err(error),
            }
            let folders = node.reuses.iter().map(|backup| layout::data_folder(&task.cluster, backup));
            opened.folders.extend(folders);
        }
        opened.manifests = Arc::new(manifests);
        if task.shard == 0 {
            self.check_schema_and_index(task, &seal, &mut opened).await?;
        }
        Ok(opened)
    }

    /// Fetches a manifest and reads it to its end.
    pub(super) async fn open_manifest(&self, node: &SealedNode) -> VaultResult<ManifestFile> {
        let manifest =
            ManifestFile::fetch(self.store(), &node.key, Some(node.blake3), self.scratch()).await?;
        let mut reader = manifest.reader()?;
        let read = tokio::task::spawn_blocking(move || {
            while reader.next_entry()?.is_some() {}
            Ok::<_, VaultError>(())
        });
        read.await.map_err(|e| VaultError::Internal(e.to_string()))??;
        Ok(manifest)
    }

    async fn check_schema_and_index(
        &self,
        task: &CheckTask,
        seal: &SealRecord,
        opened: &mut Opened,
    ) -> VaultResult<()> {
        match self.get_schema(&seal.schema).await {
            Ok(_) => {}
            Err(error) if is_damage(&error) => {
                opened.report(task, None, seal.schema.key.clone(), error.to_string());
            }
            Err(error) => return Err(error),
        }
        for (number, expected) in (0..).zip(&seal.index.shards) {
            let key = layout::index_shard(&task.cluster, &task.backup, number);
            let found = self.store().get(&key, MAX_INDEX_SHARD).await.map(|body| Digest::of(&body));
            match found.map_err(VaultError::from) {
                Ok(found) if found == *expected => {}
                Ok(_) => opened.report(task, None, key, "it is not what the seal names".to_owned()),
                Err(error) if is_damage(&error) => opened.report(task, None, key, error.to_string()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Opened {
    fn report(&mut self, task: &CheckTask, host_id: Option<HostId>, key: String, detail: String) {
        if task.shard == 0 {
            self.findings.push(Finding {
                kind: FindingKind::Record,
                backup: task.backup.clone(),
                host_id,
                table: None,
                file: None,
                key,
                detail,
            });
        }
    }
}

/// Whether an error says that a record is damaged, and not that it could not be read.
pub(super) fn is_damage(error: &VaultError) -> bool {
    match error {
        VaultError::Malformed { .. } | VaultError::Manifest(_) | VaultError::ForbiddenKey { .. } => true,
        VaultError::Store(error) => super::damage::kind_of(error).is_some(),
        _ => false,
    }
}
