//! Tasks: what a worker is given to do, what it answers, and the state machine that fences it.

mod payload;
mod result;
mod state;

pub use payload::{
    CheckTask, DigestTask, MarkTask, NodeManifestRef, PlanRef, PurgeReportTask, ReleaseTask, RestoreTask,
    SealTask, SnapshotTask, SweepTask, TaskPayload, UploadTask, VerifyReportTask,
};
pub use result::{
    ApplyResult, AuthChanges, CheckResult, DigestResult, DownloadResult, Finding, FindingKind, FoundSealed,
    MarkResult, NodePlan, PlanResult, PreflightResult, Progress, ReportResult, SchemaResult, SealResult,
    SettleResult, SnapshotResult, StillLocked, SweepResult, TaskResult, TruncateResult, UploadResult,
    ValidateResult,
};
pub use state::{
    IllegalTaskEvent, PURGE_WAITS, RetryRules, Task, TaskEffect, TaskEvent, TaskState, backoff, transition,
};
