//! What the vault is told of a deployment's audit log: number and hash of its last entry, now and
//! then, in objects that are never written over. Whoever can write the database can write the log
//! anew, and is found out by these.

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use ringvault_core::api::AuditAnchor;
use ringvault_fault::around;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    error::{VaultError, VaultResult},
    identity::Vault,
    layout,
    record::{self, FORMAT_VERSION},
};

/// `audit/<chain>/<seq>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct AnchorRecord {
    version: u32,
    #[serde(flatten)]
    anchor: AuditAnchor,
}

impl Vault {
    /// Tells of an entry. Told twice, the first telling stays.
    pub async fn put_audit_anchor(
        &self,
        chain: Uuid,
        seq: u64,
        hash: &str,
        at: DateTime<Utc>,
    ) -> VaultResult<()> {
        self.check_owner().await?;
        let anchor = AuditAnchor { chain, seq, hash: hash.to_owned(), at };
        let record = AnchorRecord { version: FORMAT_VERSION, anchor };
        let key = layout::audit_anchor(chain, seq);
        around!("vault.audit-anchor").run(record::create(self.store(), &key, &record)).await?;
        Ok(())
    }

    /// What was told of a chain after the entry `after`, in order, at most `limit`.
    pub async fn audit_anchors(
        &self,
        chain: Uuid,
        after: u64,
        limit: usize,
    ) -> VaultResult<Vec<AuditAnchor>> {
        let folder = layout::audit_folder(chain);
        let mut objects = self.store().list(&folder);
        let mut keys = Vec::new();
        while let Some(object) = objects.try_next().await? {
            if layout::audit_seq(&object.key).is_some_and(|seq| seq > after) {
                keys.push(object.key);
            }
        }
        keys.sort_unstable();
        let mut anchors = Vec::new();
        for key in keys.into_iter().take(limit) {
            let Some(AnchorRecord { anchor, .. }) = record::read(self.store(), &key).await? else { continue };
            if layout::audit_anchor(anchor.chain, anchor.seq) != key {
                return Err(VaultError::malformed(&key, "it tells of another entry"));
            }
            anchors.push(anchor);
        }
        Ok(anchors)
    }
}
