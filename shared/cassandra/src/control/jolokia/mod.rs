//! JMX over HTTP, by the Jolokia agent in the node's JVM.
//!
//! Jolokia answers HTTP 200 to nearly everything; success is the `status` member of the JSON. The
//! URL must end in a slash (404 without one).

pub mod answer;
mod call;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use ringvault_core::{HostId, selection::TableName};
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use self::call::{Patience, chain};
use super::{
    ControlTimeouts, ImportOptions, ImportOutcome, NodeInfo, Result, SnapshotScope,
    import::{is_importable_dir, skipped_dir},
    is_valid_tag,
};
use crate::{Credentials, NodeError, NodeErrorKind, error::quote};

const STORAGE_SERVICE: &str = "org.apache.cassandra.db:type=StorageService";
const SNITCH: &str = "org.apache.cassandra.db:type=EndpointSnitchInfo";

/// Where a node's Jolokia agent listens.
#[derive(Debug, Clone)]
pub struct JolokiaConfig {
    /// Such as `http://127.0.0.1:8778/jolokia/`.
    pub url: Url,
    /// HTTP basic authentication, if the agent wants it.
    pub credentials: Option<Credentials>,
    /// How long to wait.
    pub timeouts: ControlTimeouts,
}

/// A node's Jolokia agent.
#[derive(Debug, Clone)]
pub struct Jolokia {
    url: Url,
    address: String,
    credentials: Option<Credentials>,
    timeouts: ControlTimeouts,
    client: reqwest::Client,
}

impl Jolokia {
    /// Prepares to speak to the agent; nothing is sent yet.
    pub fn new(config: JolokiaConfig) -> Result<Self> {
        let mut url = config.url;
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let address = url.to_string();
        let client = reqwest::Client::builder()
            .connect_timeout(config.timeouts.connect)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| NodeError {
                node: address.clone(),
                operation: "set up an HTTP client".to_owned(),
                kind: NodeErrorKind::Refused(chain(&error)),
            })?;
        let (credentials, timeouts) = (config.credentials, config.timeouts);
        Ok(Self { url, address, credentials, timeouts, client })
    }

    /// The agent's URL.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub(super) async fn host_id(&self) -> Result<HostId> {
        Ok(self.node_info().await?.host_id)
    }

    pub(super) async fn node_info(&self) -> Result<NodeInfo> {
        let operation = "ask for the node's identity";
        let identity = json!([
            "LocalHostId",
            "ClusterName",
            "PartitionerName",
            "ReleaseVersion",
            "OperationMode",
            "Tokens",
            "AllDataFileLocations",
            "JoiningNodes",
            "LeavingNodes",
            "MovingNodes",
        ]);
        let place = json!(["Datacenter", "Rack"]);
        let (service, place) = futures::try_join!(
            self.read(operation, STORAGE_SERVICE, &identity),
            self.read(operation, SNITCH, &place),
        )?;
        answer::node_info(&service, &place).map_err(|kind| self.error(operation, kind))
    }

    pub(super) async fn live_members(&self) -> Result<BTreeSet<HostId>> {
        let operation = "ask which nodes are up";
        let attributes = json!(["LiveNodesWithPort", "EndpointWithPortToHostId"]);
        let answer = self.read(operation, STORAGE_SERVICE, &attributes).await?;
        answer::live_members(&answer).ok_or_else(|| self.failed(operation, "its answer is not understood"))
    }

    pub(super) async fn flush(&self, keyspaces: &[String]) -> Result<()> {
        for keyspace in keyspaces {
            let operation = format!("flush {keyspace}");
            let arguments = json!([keyspace, []]);
            let method = "forceKeyspaceFlush(java.lang.String,[Ljava.lang.String;)";
            self.exec(&operation, method, &arguments, Patience::Work).await?;
        }
        Ok(())
    }

    pub(super) async fn take_snapshot(
        &self,
        tag: &str,
        scope: &SnapshotScope,
        skip_flush: bool,
    ) -> Result<()> {
        let operation = format!("take snapshot {tag} of {}", scope.describe());
        self.check_tag(&operation, tag)?;
        if scope.names_nothing() {
            return Ok(());
        }
        let options = json!({"skipFlush": skip_flush.to_string()});
        let arguments = json!([tag, options, scope.entities()]);
        let method = "takeSnapshot(java.lang.String,java.util.Map,[Ljava.lang.String;)";
        self.exec(&operation, method, &arguments, Patience::Work).await.map(drop)
    }

    pub(super) async fn clear_snapshot(&self, tag: &str) -> Result<()> {
        let operation = format!("clear snapshot {tag}");
        self.check_tag(&operation, tag)?;
        let method = "clearSnapshot(java.lang.String,[Ljava.lang.String;)";
        self.exec(&operation, method, &json!([tag, []]), Patience::Work).await.map(drop)
    }

    /// Only the outermost level is asked for: below it Jolokia meets the null expiration time of a
    /// snapshot as a map's key and breaks off in the middle of its answer (2.2.9).
    pub(super) async fn list_snapshots(&self) -> Result<Vec<String>> {
        let operation = "list snapshots";
        let request = json!({
            "type": "read", "mbean": STORAGE_SERVICE, "attribute": "SnapshotDetails",
            "config": {"maxDepth": 1},
        });
        let value = self.call(operation, &request, Patience::Question).await?;
        let tags = value.as_object().ok_or_else(|| self.failed(operation, "not an object"))?;
        let mut tags: Vec<String> = tags.keys().cloned().collect();
        tags.sort_unstable();
        Ok(tags)
    }

    #[expect(clippy::unused_async, reason = "the same shape as nodetool's")]
    pub(super) async fn import(
        &self,
        table: &TableName,
        _dirs: &[PathBuf],
        _options: ImportOptions,
    ) -> Result<ImportOutcome> {
        let why = "Jolokia cannot pass a java.util.Set, which importNewSSTables takes. \
                   Next: configure nodetool for this worker";
        Err(self.unsupported(&format!("import into {table}"), why))
    }

    pub(super) async fn load_new_sstables(&self, table: &TableName) -> Result<()> {
        let operation = format!("load new SSTables of {table}");
        let method = "loadNewSSTables(java.lang.String,java.lang.String)";
        let arguments = json!([table.keyspace, table.table]);
        self.exec(&operation, method, &arguments, Patience::Work).await.map(drop)
    }

    pub(super) async fn bulk_load(&self, dir: &Path) -> Result<Uuid> {
        let operation = format!("stream the SSTables in {}", dir.display());
        let Some(path) = dir.to_str().filter(|_| is_importable_dir(dir)) else {
            return Err(self.error(&operation, NodeErrorKind::Refused(skipped_dir(dir))));
        };
        // The files are opened before it answers, and their indexes gone through.
        let method = "bulkLoadAsync(java.lang.String)";
        let plan = self.exec(&operation, method, &json!([path]), Patience::Work).await?;
        let id = plan.as_str().and_then(|text| text.parse().ok());
        id.ok_or_else(|| {
            self.failed(&operation, &format!("{} is no stream plan's id", quote(&plan.to_string())))
        })
    }

    pub(super) async fn cleanup(&self, keyspace: &str, tables: &[String]) -> Result<()> {
        let operation = format!("clean up {keyspace} {}", tables.join(" "));
        let method = "forceKeyspaceCleanup(int,java.lang.String,[Ljava.lang.String;)";
        let arguments = json!([0, keyspace, tables]);
        match self.exec(&operation, method, &arguments, Patience::Work).await?.as_i64() {
            Some(0) => Ok(()),
            status => Err(self.failed(&operation, &format!("it was aborted (status {status:?})"))),
        }
    }

    pub(super) async fn refresh_size_estimates(&self) -> Result<()> {
        let operation = "refresh size estimates";
        self.exec(operation, "refreshSizeEstimates()", &json!([]), Patience::Work).await.map(drop)
    }

    pub(super) async fn estimated_partitions(&self, table: &TableName) -> Result<u64> {
        self.table_metric(table, "EstimatedPartitionCount").await
    }

    pub(super) async fn live_sstables(&self, table: &TableName) -> Result<u64> {
        self.table_metric(table, "LiveSSTableCount").await
    }

    async fn table_metric(&self, table: &TableName, metric: &str) -> Result<u64> {
        let operation = format!("read {metric} of {table}");
        let mbean = format!(
            "org.apache.cassandra.metrics:type=Table,keyspace={},scope={},name={metric}",
            table.keyspace, table.table
        );
        let value = self.read(&operation, &mbean, &json!("Value")).await?;
        value
            .as_u64()
            .ok_or_else(|| self.failed(&operation, &format!("{} is not a count", quote(&value.to_string()))))
    }

    async fn read(&self, operation: &str, mbean: &str, attribute: &Value) -> Result<Value> {
        let request = json!({"type": "read", "mbean": mbean, "attribute": attribute});
        self.call(operation, &request, Patience::Question).await
    }

    async fn exec(
        &self,
        operation: &str,
        method: &str,
        arguments: &Value,
        patience: Patience,
    ) -> Result<Value> {
        let request = json!({
            "type": "exec", "mbean": STORAGE_SERVICE, "operation": method, "arguments": arguments,
        });
        self.call(operation, &request, patience).await
    }

    fn check_tag(&self, operation: &str, tag: &str) -> Result<()> {
        if is_valid_tag(tag) {
            return Ok(());
        }
        let kind = NodeErrorKind::Refused(format!("{tag:?} cannot name a snapshot"));
        Err(self.error(operation, kind))
    }

    fn failed(&self, operation: &str, what: &str) -> NodeError {
        self.error(operation, NodeErrorKind::Failed(what.to_owned()))
    }

    fn unsupported(&self, operation: &str, what: &str) -> NodeError {
        self.error(operation, NodeErrorKind::Unsupported(what.to_owned()))
    }

    fn error(&self, operation: &str, kind: NodeErrorKind) -> NodeError {
        NodeError { node: self.address.clone(), operation: operation.to_owned(), kind }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_gets_its_slash() {
        let config = JolokiaConfig {
            url: Url::parse("http://127.0.0.1:1/jolokia").unwrap(),
            credentials: None,
            timeouts: ControlTimeouts::default(),
        };
        assert_eq!(Jolokia::new(config).unwrap().address(), "http://127.0.0.1:1/jolokia/");
    }
}
