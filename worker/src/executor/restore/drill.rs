//! What a drill leaves: nothing. Its keyspaces are dropped, without the snapshots that Cassandra takes of
//! what is dropped.

use ringvault_cassandra::schema::{CreateOptions, ObjectKind, SchemaObject};
use ringvault_core::{JobId, TaskError, restore::drill_prefix, selection::TableName};
use ringvault_fault::point;
use tracing::{info, warn};

use crate::executor::Executor;

impl Executor {
    /// Drops the keyspaces that the drill `job` made. How many there were.
    pub(in crate::executor) async fn drop_drill_keyspaces(&self, job: JobId) -> Result<u64, TaskError> {
        let cql = self.node.cql().await?;
        let prefix = drill_prefix(job);
        let schema = cql.schema().await?;
        let made: Vec<&SchemaObject> =
            schema.objects.iter().filter(|object| object.keyspace.starts_with(&prefix)).collect();
        if made.is_empty() {
            return Ok(0);
        }
        for object in &made {
            let is_view = match object.kind {
                ObjectKind::Table => false,
                ObjectKind::View => true,
                _ => continue,
            };
            let table = TableName::new(&object.keyspace, &object.name);
            if !cql.forgo_auto_snapshot(&table, is_view).await? {
                warn!(%job, %table, "Cassandra may keep a snapshot of what is dropped");
            }
        }
        let agreement = CreateOptions::default().agreement_timeout;
        // A node that hears of this and of the drop at once takes the snapshot all the same.
        if let Err(error) = cql.wait_schema_agreement(agreement).await {
            warn!(%job, %error, "a node that is behind may keep a snapshot of what is dropped");
        }
        let mut dropped = 0;
        for keyspace in made.iter().filter(|object| object.kind == ObjectKind::Keyspace) {
            let name = &keyspace.keyspace;
            point!("release.drop-drill.before").hit().await?;
            cql.drop_keyspace(name).await?;
            point!("release.drop-drill.after").hit().await?;
            info!(%job, keyspace = name, "a drill's keyspace is dropped");
            dropped += 1;
        }
        // Done is said when every node that is up knows; one that is not hears of it when it comes back.
        if let Err(error) = cql.wait_schema_agreement(agreement).await {
            warn!(%job, %error, "not every node knows yet that a drill's keyspaces are dropped");
        }
        Ok(dropped)
    }
}
