//! What would keep the node from streaming, found before anything is changed: a stream of nothing is begun and
//! looked for. So Cassandra itself says whether it may read the stage, whether it may be asked at all, and
//! whether it tells what becomes of a stream.

use std::{path::Path, time::Duration};

use ringvault_cassandra::{NodeErrorKind, cql::CqlSession};
use ringvault_core::{ErrorClass, TaskError, selection::TableName};
use tracing::warn;

use crate::{
    executor::restore::record::RestorePlan,
    executor::{Executor, workspace::make_dir},
};

/// Looks for the stream of nothing, and between them.
const LOOKS: usize = 20;
const PAUSE: Duration = Duration::from_millis(250);

impl Executor {
    /// Why a stream would fail, whatever the files.
    pub(in crate::executor::restore) async fn stream_problem(
        &self,
        plan: &RestorePlan,
        cql: &CqlSession,
        stage: &Path,
    ) -> Result<Option<String>, TaskError> {
        // Its keyspace must be there: the loader asks who owns what of it.
        let there = cql.table_ids().await?;
        let always = TableName::new("system_distributed", "repair_history");
        let targets = plan.targets();
        let is_there =
            |table: &&TableName| there.iter().any(|(k, t, _)| *k == table.keyspace && *t == table.table);
        let table = targets.iter().find(is_there).unwrap_or(&always);
        let dir = stage.join("probe").join(&table.keyspace).join(&table.table);
        make_dir(&dir)?;
        let begun = self.node.control().bulk_load(&dir).await;
        if let Err(error) = tokio::fs::remove_dir_all(stage.join("probe")).await {
            warn!(%error, "the empty folder of the stream's probe stays");
        }
        let address = self.node.address();
        let id = match begun {
            Ok(id) => id,
            Err(error) if matches!(error.kind, NodeErrorKind::Timeout(_)) => return Err(error.into()),
            Err(error) => {
                return Ok(Some(format!(
                    "node {address} cannot stream from {}: {error}. Cassandra's user must be able to read and enter it: run the worker as that user, or set worker.stage_dir",
                    stage.display()
                )));
            }
        };
        for _ in 0..LOOKS {
            match cql.stream_state(id).await {
                Ok(Some(_)) => return Ok(None),
                Ok(None) => tokio::time::sleep(PAUSE).await,
                Err(error) if error.class() == ErrorClass::Permanent => {
                    return Ok(Some(format!(
                        "node {address} does not tell what becomes of a stream: {error}. The worker's role must be able to read system_views.streaming, which Cassandra has since 4.1"
                    )));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(format!(
            "node {address} does not tell what becomes of a stream: set streaming_stats_enabled: true in its cassandra.yaml"
        )))
    }
}
