//! The documents of the HTTP API: what the scheduler answers and takes, and what the command line
//! reads and sends. Plain data, so both sides compile against one contract.
//!
//! The contract is only ever added to: a field is never renamed, retyped or taken away, readers
//! ignore fields they do not know, and every answer carries `schema_version`. Bodies that ask for
//! something refuse unknown fields instead, so that a misspelt option is never silently dropped.
//! Sizes are bytes, durations whole seconds, times UTC.

mod audit;
mod backup;
mod calendar;
mod catalog;
mod cluster;
mod document;
mod evidence;
mod job;
mod notify;
mod policy;
mod problem;
mod progress;
mod purge;
mod rows;
mod session;
mod status;
mod storage;
mod task;
mod token;

pub use audit::{AuditAnchor, AuditEntry};
pub use backup::{
    BackupDetail, BackupNode, BackupSummary, HoldKind, HoldRelease, HoldSet, HoldView, Verification,
};
pub use calendar::{CalendarDay, CalendarPoint, CoveredBackup, CoveredNode, NodeCoverage, RecoveryCalendar};
pub use catalog::{
    CatalogChange, CatalogCluster, CatalogNote, CatalogNoteKind, CatalogRebuild, CatalogRebuilt,
    MedusaBackup, MedusaImport, MedusaImported, MedusaOutcome,
};
pub use cluster::{
    ClusterDetail, ClusterRebind, ClusterRebound, ClusterSummary, Disk, NodeForgotten, NodeState, NodeView,
    SchemaSeen, SchemaView, TopologyView,
};
pub use document::{DEFAULT_LIMIT, Document, MAX_LIMIT, Page, SCHEMA_VERSION};
pub use evidence::{EvidenceItem, EvidenceKind};
pub use job::{
    JobAccepted, JobDetail, JobOutcome, JobResult, JobSummary, OpenJob, PurgeOutcome, RateLimit,
    RestoreOutcome, RowsOutcome,
};
pub use notify::{NoticeState, NoticeTrouble, NoticeView, NotifierView, UnknownNoticeState};
pub use policy::{FieldChange, FireState, FireView, NextFires, PolicyChange, PolicyDiff, PolicyView};
pub use problem::Problem;
pub use progress::{JobProgress, NodeProgress, StageProgress, StageState};
pub use purge::{PurgeKept, PurgePreview, PurgeRefusal, PurgeTarget};
pub use rows::{DamagedDigests, RowDigests};
pub use session::{SessionCreate, SessionView, SessionsEnded, SignInCheck, SignInWays, SignedIn, SignedInAs};
pub use status::{
    ClusterStatus, FleetStatus, Readiness, RecoveryPoint, RpoState, ServerState, ServerStatus, Servers,
};
pub use storage::{ClusterStorage, ExpiryForecast, RetentionRule, RuleForecast, StorageReport, StorePrice};
pub use task::{AttemptView, TaskView, TransitionView};
pub use token::{Role, TokenCreate, TokenCreated, TokenView, UnknownRole};
