//! Whether all nodes have the same schema.
//!
//! A node knows the others' schema versions from gossip (`system.peers_v2`). That of a node that is
//! down stays as it last was, so agreement of all is not reached while a node is away and behind:
//! whoever can say which members are live judges them alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use ringvault_core::HostId;
use uuid::Uuid;

use super::{CqlSession, Result};
use crate::NodeErrorKind;

/// Schema versions and who has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SchemaVersions {
    /// Members by schema version. `None`: gossip has not said it yet.
    pub by_version: BTreeMap<Option<Uuid>, Vec<HostId>>,
}

impl SchemaVersions {
    /// The version that all have; `None` if they differ or one is not known.
    pub fn agreed(&self) -> Option<Uuid> {
        match self.by_version.keys().collect::<Vec<_>>()[..] {
            [version] => *version,
            _ => None,
        }
    }

    /// The version that all `live` members have. Members that are not live have no say: what is known
    /// of them is from before they went.
    pub fn agreed_among(&self, live: &BTreeSet<HostId>) -> Option<Uuid> {
        let is_live = |hosts: &&Vec<HostId>| hosts.iter().any(|host| live.contains(host));
        let said: Vec<_> = self.by_version.iter().filter(|(_, hosts)| is_live(hosts)).collect();
        match said[..] {
            [(version, _)] => *version,
            _ => None,
        }
    }
}

/// Host id, schema version.
type Row = (Option<Uuid>, Option<Uuid>);

/// How often versions are read while waiting.
const POLL: Duration = Duration::from_millis(200);

impl CqlSession {
    /// The members' schema versions as this node knows them.
    pub async fn schema_versions(&self) -> Result<SchemaVersions> {
        let operation = "read schema versions";
        let mut rows: Vec<Row> =
            self.rows(operation, "SELECT host_id, schema_version FROM system.local", ()).await?;
        let peers = "SELECT host_id, schema_version FROM system.peers_v2";
        rows.extend(self.rows::<Row>(operation, peers, ()).await?);
        let mut versions = SchemaVersions::default();
        for (host_id, version) in rows {
            if let Some(host_id) = host_id {
                versions.by_version.entry(version).or_default().push(HostId(host_id));
            }
        }
        versions.by_version.values_mut().for_each(|hosts| hosts.sort_unstable());
        Ok(versions)
    }

    /// Waits until all members have the same schema. Too late is
    /// [`NodeErrorKind::Unavailable`] and names who disagrees.
    pub async fn wait_schema_agreement(&self, timeout: Duration) -> Result<Uuid> {
        let give_up = Instant::now() + timeout;
        loop {
            let versions = self.schema_versions().await?;
            if let Some(version) = versions.agreed() {
                return Ok(version);
            }
            if Instant::now() >= give_up {
                let who: Vec<String> = versions
                    .by_version
                    .iter()
                    .map(|(version, hosts)| {
                        let version = version.map_or("unknown".to_owned(), |v| v.to_string());
                        let hosts: Vec<_> = hosts.iter().map(ToString::to_string).collect();
                        format!("{version}: {}", hosts.join(", "))
                    })
                    .collect();
                let what = format!("schema versions differ: {}", who.join("; "));
                return Err(self.error("wait for schema agreement", NodeErrorKind::Unavailable(what)));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_is_down_has_no_say() {
        let host = |n| HostId(Uuid::from_u128(n));
        let (new, old) = (Uuid::from_u128(100), Uuid::from_u128(99));
        let by_version = [(Some(new), vec![host(1), host(2)]), (Some(old), vec![host(3)])].into();
        let versions = SchemaVersions { by_version };
        assert_eq!(versions.agreed(), None);
        assert_eq!(versions.agreed_among(&[host(1), host(2)].into()), Some(new));
        assert_eq!(versions.agreed_among(&[host(1), host(3)].into()), None);
        assert_eq!(versions.agreed_among(&BTreeSet::new()), None);
        let unknown =
            SchemaVersions { by_version: [(None, vec![host(1)]), (Some(new), vec![host(2)])].into() };
        assert_eq!(unknown.agreed_among(&[host(1), host(2)].into()), None);
    }
}
