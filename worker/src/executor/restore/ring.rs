//! The ring is looked at again before each step that changes something.
//!
//! A member that is joining, leaving or moving is as bad as a change that is over: what is imported
//! meanwhile does not reach the ranges that are on their way.

use ringvault_cassandra::control::NodeInfo;
use ringvault_core::{TaskError, restore::ring_changes};

use super::record::RestorePlan;
use crate::executor::Executor;

impl Executor {
    /// Refuses to go on when the ring or the replication is not what the restore was planned for.
    pub(super) async fn refuse_changed_ring(&self, plan: &RestorePlan) -> Result<(), TaskError> {
        let info = self.node.control().node_info().await?;
        let changes = self.ring_problems(plan, &info).await?;
        if changes.is_empty() {
            return Ok(());
        }
        Err(TaskError::permanent(
            "RV-RING-CHANGED",
            format!(
                "the ring of {} is not what this restore was planned for: {}. Nothing more was changed",
                plan.spec.target,
                changes.join("; ")
            ),
        )
        .with_next("plan again: ringvault job abandon JOB, then ringvault restore run"))
    }

    /// What is otherwise than planned, as this node sees it.
    pub(super) async fn ring_problems(
        &self,
        plan: &RestorePlan,
        info: &NodeInfo,
    ) -> Result<Vec<String>, TaskError> {
        let now = self.node.cql().await?.topology().await?;
        let mut problems = ring_changes(&plan.target, &now, &plan.keyspaces);
        problems.extend(ring_motion(info));
        Ok(problems)
    }
}

/// What is moving in the ring, in words.
pub(super) fn ring_motion(info: &NodeInfo) -> Vec<String> {
    let mut problems = Vec::new();
    if info.operation_mode != "NORMAL" {
        problems.push(format!("node {} is in mode {}, not NORMAL", info.host_id, info.operation_mode));
    }
    if info.in_motion > 0 {
        problems.push(format!("{} nodes are joining, leaving or moving: wait for them", info.in_motion));
    }
    problems
}
