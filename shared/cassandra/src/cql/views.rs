//! Waiting for what Cassandra builds by itself after data came in: views and indexes.
//!
//! A view's progress on every node stands in `system_distributed.view_build_status`, which each
//! node writes for itself; an index's only in the node's own `system."IndexInfo"` (whose column
//! `table_name` holds, for historical reasons, the keyspace).

use std::time::{Duration, Instant};

use ringvault_core::{HostId, selection::TableName};
use scylla::statement::{Consistency, Statement};
use uuid::Uuid;

use super::{CqlSession, Result};
use crate::NodeErrorKind;

/// How often progress is read while waiting.
const POLL: Duration = Duration::from_millis(500);

impl CqlSession {
    /// The members among `hosts` that have not finished building the view.
    pub async fn view_unbuilt_on(&self, view: &TableName, hosts: &[HostId]) -> Result<Vec<HostId>> {
        let operation = format!("read how far view {view} is built");
        let text = "SELECT host_id, status FROM system_distributed.view_build_status \
                    WHERE keyspace_name = ? AND view_name = ?";
        // Each node writes its row at ONE, and a replica that missed it never hears of it by a read at ONE. The
        // table has three replicas, even in a cluster of two (where QUORUM asks both) or of one.
        let ask = async |consistency| {
            let mut statement = Statement::new(text);
            statement.set_consistency(consistency);
            self.rows(&operation, statement, (&view.keyspace, &view.table)).await
        };
        let mut rows: Result<Vec<(Uuid, Option<String>)>> = ask(Consistency::All).await;
        for fewer in [Consistency::Quorum, Consistency::One] {
            if matches!(&rows, Err(error) if matches!(error.kind, NodeErrorKind::Unavailable(_))) {
                rows = ask(fewer).await;
            }
        }
        let rows = rows?;
        let is_built = |host: &HostId| {
            rows.iter().any(|(id, status)| *id == host.0 && status.as_deref() == Some("SUCCESS"))
        };
        Ok(hosts.iter().filter(|host| !is_built(host)).copied().collect())
    }

    /// Waits until all of `hosts` have built the view.
    pub async fn wait_view_built(&self, view: &TableName, hosts: &[HostId], timeout: Duration) -> Result<()> {
        let give_up = Instant::now() + timeout;
        loop {
            let unbuilt = self.view_unbuilt_on(view, hosts).await?;
            if unbuilt.is_empty() {
                return Ok(());
            }
            if Instant::now() >= give_up {
                let who: Vec<_> = unbuilt.iter().map(ToString::to_string).collect();
                let what = format!("it is not built on {}", who.join(", "));
                let operation = format!("wait for view {view}");
                return Err(self.error(&operation, NodeErrorKind::Unavailable(what)));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Whether this node has finished building the index.
    pub async fn index_is_built(&self, keyspace: &str, index: &str) -> Result<bool> {
        let operation = format!("see whether index {keyspace}.{index} is built");
        let text = "SELECT index_name FROM system.\"IndexInfo\" \
                    WHERE table_name = ? AND index_name = ?";
        let rows: Vec<(String,)> = self.rows(&operation, text, (keyspace, index)).await?;
        Ok(!rows.is_empty())
    }

    /// Waits until this node has built the index.
    pub async fn wait_index_built(&self, keyspace: &str, index: &str, timeout: Duration) -> Result<()> {
        let give_up = Instant::now() + timeout;
        while !self.index_is_built(keyspace, index).await? {
            if Instant::now() >= give_up {
                let operation = format!("wait for index {keyspace}.{index}");
                let what = "it is not built on this node".to_owned();
                return Err(self.error(&operation, NodeErrorKind::Unavailable(what)));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}
