//! What each node brought to a backup whose tasks are forgotten, from its seal.

use ringvault_core::{BackupName, ClusterName, api::BackupNode};
use ringvault_vault::backup::{SealPlace, SealedNode};

use crate::Context;

/// The nodes of a sealed backup, by address; none where the seal is gone or cannot be read now: they are
/// an addition to what is answered, and no reason to answer nothing.
pub async fn nodes_of_seal(ctx: &Context, cluster: &ClusterName, backup: &BackupName) -> Vec<BackupNode> {
    match ctx.vault.seal_place(cluster, backup).await {
        Ok(SealPlace::Sealed(seal)) => {
            let mut nodes: Vec<BackupNode> = seal.nodes.into_iter().map(node).collect();
            nodes.sort_by(|a, b| (&a.address, a.host_id).cmp(&(&b.address, b.host_id)));
            nodes
        }
        Ok(_) => Vec::new(),
        Err(error) => {
            tracing::warn!(%cluster, %backup, %error, "the backup's nodes are not known");
            Vec::new()
        }
    }
}

fn node(sealed: SealedNode) -> BackupNode {
    BackupNode {
        host_id: sealed.host_id,
        address: sealed.address,
        held: true,
        snapshot_at: Some(sealed.snapshot_at),
        manifest: Some(sealed.key),
        schema_version: Some(sealed.schema_version),
        sstables: sealed.figures.sstables,
        files: sealed.figures.files,
        bytes: sealed.figures.bytes,
        // A seal knows it of the whole backup alone.
        bytes_new: 0,
    }
}
