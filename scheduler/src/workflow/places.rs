//! In which data centers the workers of jobs are that are limited by data center. For others nobody asks.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use ringvault_core::WorkerId;
use ringvault_state::{PgConnection, StateResult, jobs::JobRow, registry::workers};

/// What is known of them. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(Arc<HashMap<WorkerId, String>>);

impl Places {
    /// Of the workers of these jobs' clusters.
    pub(super) async fn of(
        conn: &mut PgConnection,
        jobs: impl IntoIterator<Item = &JobRow>,
    ) -> StateResult<Self> {
        let clusters: BTreeSet<_> =
            jobs.into_iter().filter(|job| is_by_data_center(job)).map(JobRow::cluster).cloned().collect();
        if clusters.is_empty() {
            return Ok(Self::default());
        }
        let clusters: Vec<_> = clusters.into_iter().collect();
        Ok(Self(Arc::new(workers::data_centers(conn, &clusters).await?)))
    }

    /// The data center of this worker's node, if it is known and counts for anything.
    pub(super) fn data_center_of(&self, worker: WorkerId) -> Option<&str> {
        self.0.get(&worker).map(String::as_str)
    }
}

fn is_by_data_center(job: &JobRow) -> bool {
    !job.said.data_centers.is_empty() || !job.spec.limits().data_centers.is_empty()
}
