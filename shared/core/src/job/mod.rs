//! Jobs: what they are asked to do, the stages they go through, and the state machine that every
//! one of them follows.

mod limits;
mod parallel;
mod plan;
#[cfg(test)]
mod plan_tests;
mod spec;
mod stage;
mod state;

pub use limits::{DataCenterLimits, Limits, NodeLimits};
pub use parallel::{ParallelRoom, ParallelScope};
pub use plan::{
    Ended, JobContext, Placement, PlanError, StageTask, StageVerdict, TaskOutcome, plan_stage, snapshot_tag,
    stage_verdict,
};
pub use spec::{
    BackupMode, BackupSpec, DigestSpec, DrillSpec, JobSpec, LONGEST_LOCK_SECONDS, PurgeSpec, RestoreMethod,
    RestoreSpec, VerifyLevel, VerifySpec, check_lock_seconds,
};
pub use stage::{JobKind, StageKind, stages_of};
pub use state::{IllegalTransition, Job, JobEffect, JobEvent, JobState, transition};

#[cfg(test)]
mod control_tests;
