//! What the node itself lists: the ids of all its tables, how long they keep deletions, and which
//! `SSTable` versions it loads.

use std::{collections::BTreeMap, time::Duration};

use ringvault_core::selection::TableName;
use uuid::Uuid;

use super::{CqlSession, Result};
use crate::NodeErrorKind;

impl CqlSession {
    /// Every table and view that has a folder on disk, the node's own included: keyspace, name, id.
    pub async fn table_ids(&self) -> Result<Vec<(String, String, Uuid)>> {
        let operation = "list the tables";
        let tables = "SELECT keyspace_name, table_name, id FROM system_schema.tables";
        let views = "SELECT keyspace_name, view_name, id FROM system_schema.views";
        let mut all: Vec<(String, String, Uuid)> = self.rows(operation, tables, ()).await?;
        all.extend(self.rows::<(String, String, Uuid)>(operation, views, ()).await?);
        all.sort();
        Ok(all)
    }

    /// How long each table keeps a deletion before it may forget it (`gc_grace_seconds`).
    pub async fn gc_grace(&self) -> Result<BTreeMap<TableName, Duration>> {
        let operation = "read the tables' gc_grace_seconds";
        let text = "SELECT keyspace_name, table_name, gc_grace_seconds FROM system_schema.tables";
        let rows: Vec<(String, String, Option<i32>)> = self.rows(operation, text, ()).await?;
        let seconds = |grace: Option<i32>| u64::try_from(grace.unwrap_or_default()).unwrap_or_default();
        Ok(rows
            .into_iter()
            .map(|(keyspace, table, grace)| {
                (TableName::new(keyspace, table), Duration::from_secs(seconds(grace)))
            })
            .collect())
    }

    /// Whether this node loads `SSTables` of `version` (`nb`, `oa`, `da`). What it does not load it
    /// skips in silence, so it must be known before.
    ///
    /// 4.x loads up to `nb`. 5.x loads `oa` only outside of `storage_compatibility_mode:
    /// CASSANDRA_4`, and `da` always (seen on 5.0.4 and 4.1.10).
    pub async fn loads_sstable_version(&self, version: &str) -> Result<bool> {
        let Some(major) = self.major_release() else {
            let what = format!("release {:?}", self.local().release_version);
            return Err(self.error("read the release", NodeErrorKind::Unsupported(what)));
        };
        Ok(match version {
            "oa" => major >= 5 && !self.is_compatible_with_4().await?,
            "da" => major >= 5,
            older => ("ma"..="nb").contains(&older),
        })
    }

    async fn is_compatible_with_4(&self) -> Result<bool> {
        let text = "SELECT value FROM system_views.settings WHERE name = 'storage_compatibility_mode'";
        let rows: Vec<(Option<String>,)> = self.rows("read the node's settings", text, ()).await?;
        Ok(rows.iter().any(|(value,)| value.as_deref() == Some("CASSANDRA_4")))
    }
}
