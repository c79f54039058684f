//! Which ring a cluster's id stands for.
//!
//! An id is given by a person, and two rings under one id would mix their backups. So the first
//! backup binds the id to the ring's own identity; later ones must come from a ring of the same name
//! that shares a node with what was seen before. Nodes come and go one by one, so a living ring always
//! does. A ring whose machines are all lost is bound again by its owner.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use ringvault_core::{ClusterName, HostId};
use ringvault_fault::around;
use serde::{Deserialize, Serialize};

use super::Vault;
use crate::{
    error::{VaultError, VaultResult},
    layout,
    record::{self, FORMAT_VERSION},
};

/// What a ring says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingIdentity {
    /// `cluster_name` of `cassandra.yaml`.
    pub cluster_name: String,
    /// Class name of the partitioner, without its package.
    pub partitioner: String,
    /// Its members.
    pub host_ids: BTreeSet<HostId>,
}

/// `clusters/<cluster>/cluster.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterRecord {
    /// Version of the vault's format.
    pub version: u32,
    /// The id.
    pub cluster: ClusterName,
    /// The ring, with every member it was ever seen to have; without any, the id is free.
    pub ring: RingIdentity,
    /// When it was bound.
    pub bound_at: DateTime<Utc>,
}

/// Times a record is written and read again.
const TRIES: usize = 5;

impl ClusterRecord {
    /// Whether no ring has the id: its owner has freed it.
    fn is_free(&self) -> bool {
        self.ring.host_ids.is_empty()
    }
}

impl Vault {
    /// Binds the cluster's id to a ring, or checks that it is bound to this one.
    ///
    /// # Errors
    /// [`VaultError::ClusterBound`] when it is another ring's.
    pub async fn bind_cluster(&self, cluster: &ClusterName, ring: &RingIdentity) -> VaultResult<()> {
        let key = layout::cluster_identity(cluster);
        let mut bound = self.cluster_binding(cluster).await?;
        if bound.is_none() {
            if around!("vault.bind")
                .run(record::create(&self.store, &key, &new_record(cluster, ring)))
                .await?
            {
                return Ok(());
            }
            bound = self.cluster_binding(cluster).await?;
        }
        let mut bound = bound.ok_or_else(|| VaultError::malformed(&key, "it is there and is not"))?;
        // The store cannot compare and swap: what was written is read again, so that one whose id was
        // given to another ring meanwhile, or whose members were lost, mostly finds out. A member that is
        // lost all the same is added with its next backup, and by itself refuses nobody: any one will do.
        for _ in 0..TRIES {
            if bound.is_free() {
                bound = new_record(cluster, ring);
            } else if let Some(why) = difference(&bound.ring, ring) {
                return Err(VaultError::ClusterBound { cluster: cluster.clone(), why });
            } else if ring.host_ids.is_subset(&bound.ring.host_ids) {
                return Ok(());
            } else {
                bound.ring.host_ids.extend(&ring.host_ids);
            }
            around!("vault.bind-more").run(record::overwrite(&self.store, &key, &bound)).await?;
            let now = self.cluster_binding(cluster).await?;
            bound = now.ok_or_else(|| VaultError::malformed(&key, "it is there and is not"))?;
        }
        // Others keep writing; each of them is of this ring, as was just seen, and a member that is
        // missing is added with its next backup.
        Ok(())
    }

    /// Frees the cluster's id (`cluster rebind`): the next ring that claims it gets it. `false`: it is
    /// bound to none.
    pub async fn unbind_cluster(&self, cluster: &ClusterName) -> VaultResult<bool> {
        let Some(mut bound) = self.cluster_binding(cluster).await? else { return Ok(false) };
        if bound.is_free() {
            return Ok(false);
        }
        // Written over rather than deleted: whoever may write may do this. A node of the old ring that
        // is just now adding a member brings the binding back; then the owner says it again.
        bound.ring.host_ids.clear();
        let key = layout::cluster_identity(cluster);
        around!("vault.unbind").run(record::overwrite(&self.store, &key, &bound)).await?;
        Ok(true)
    }

    /// The ring that the cluster's id is bound to, if any.
    pub async fn cluster_binding(&self, cluster: &ClusterName) -> VaultResult<Option<ClusterRecord>> {
        record::read(&self.store, &layout::cluster_identity(cluster)).await
    }
}

fn new_record(cluster: &ClusterName, ring: &RingIdentity) -> ClusterRecord {
    ClusterRecord {
        version: FORMAT_VERSION,
        cluster: cluster.clone(),
        ring: ring.clone(),
        bound_at: Utc::now(),
    }
}

/// In what `found` is another ring than `bound`; `None` when it is the same.
fn difference(bound: &RingIdentity, found: &RingIdentity) -> Option<String> {
    if bound.cluster_name != found.cluster_name {
        return Some(format!(
            "it is bound to the ring {:?}, this one is called {:?}",
            bound.cluster_name, found.cluster_name
        ));
    }
    if bound.partitioner != found.partitioner {
        return Some(format!("its partitioner is {}, this one's {}", bound.partitioner, found.partitioner));
    }
    if bound.host_ids.is_disjoint(&found.host_ids) {
        return Some(format!(
            "none of this ring's {} nodes was ever seen in it ({} were)",
            found.host_ids.len(),
            bound.host_ids.len()
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn ring(name: &str, hosts: &[u128]) -> RingIdentity {
        RingIdentity {
            cluster_name: name.into(),
            partitioner: "Murmur3Partitioner".into(),
            host_ids: hosts.iter().map(|n| HostId(Uuid::from_u128(*n))).collect(),
        }
    }

    #[test]
    fn a_ring_is_known_by_its_name_and_one_common_node() {
        let bound = ring("prod", &[1, 2, 3]);
        assert_eq!(difference(&bound, &ring("prod", &[3, 4])), None);
        assert!(difference(&bound, &ring("prod", &[4, 5])).unwrap().contains("none of this ring's 2"));
        assert!(difference(&bound, &ring("test", &[1])).unwrap().contains("\"test\""));
    }
}
