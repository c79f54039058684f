//! Which tasks a stage has, and whether a job goes on after a stage: pure functions over the job's
//! specification and what its earlier stages brought.

use chrono::{DateTime, Utc};

use super::{JobSpec, StageKind};
use crate::{
    BackupName, HostId, JobId,
    cluster::{RequiredCoverage, Topology},
    job::{BackupSpec, DigestSpec, RestoreSpec},
    rows,
    task::{
        CheckTask, DigestTask, MarkTask, NodeManifestRef, PlanRef, PurgeReportTask, ReleaseTask, RestoreTask,
        SealTask, SnapshotTask, SweepTask, TaskPayload, TaskResult, UploadTask, VerifyReportTask,
    },
};

/// Where a task may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// The worker of this node.
    Node(HostId),
    /// Any live worker of the job's cluster.
    Any,
    /// Any live worker of the job's cluster that may delete from the vault.
    AnyWithDelete,
}

/// A task to insert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageTask {
    /// Where it may run.
    pub placement: Placement,
    /// What it does.
    pub payload: TaskPayload,
    /// Upload: tasks of the same group share `max_parallel_nodes`.
    pub parallel_group: String,
}

/// An ended task of an earlier stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskOutcome {
    /// Its stage.
    pub stage: StageKind,
    /// The node it was for.
    pub host_id: Option<HostId>,
    /// What it brought; `None` if it failed or was taken back.
    pub result: Option<TaskResult>,
}

/// What a stage is planned from.
#[derive(Debug, Clone)]
pub struct JobContext<'a> {
    /// The job.
    pub job: JobId,
    /// What it is asked to do.
    pub spec: &'a JobSpec,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// The ring of the job's cluster now.
    pub topology: &'a Topology,
    /// Live workers of the cluster: bounds the shards.
    pub live_workers: u32,
    /// Ended tasks of all stages so far.
    pub outcomes: &'a [TaskOutcome],
    /// Purge: the backups that it expires, decided when the stage opens.
    pub expire: &'a [BackupName],
    /// Purge: unsealed backups whose job is over for good.
    pub dead: &'a [BackupName],
    /// Seal: whether a restore of the cluster spoilt what the backup holds.
    pub tainted: bool,
}

/// A stage cannot be planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No node of the cluster (or of the data center asked for) is known.
    #[error("cluster {cluster} has no known node{}: is a worker running there?", dc.as_ref().map(|dc| format!(" in data center {dc}")).unwrap_or_default())]
    NoNodes {
        /// The cluster.
        cluster: String,
        /// The data center asked for.
        dc: Option<String>,
    },
    /// An earlier stage did not bring what this one needs: a defect.
    #[error("stage {} needs the result of {}, which is not there", stage.as_str(), needs.as_str())]
    MissingResult {
        /// The stage.
        stage: StageKind,
        /// The stage whose result is missing.
        needs: StageKind,
    },
    /// Nobody has said which backup the job is about: a defect.
    #[error("the job's backup was not filled in")]
    MissingBackup,
    /// The stage does not belong to this kind of job.
    #[error("a {kind} has no stage {stage}", stage = stage.as_str())]
    WrongStage {
        /// Kind of job.
        kind: &'static str,
        /// The stage.
        stage: StageKind,
    },
}

/// The tag of a job's snapshots on every node.
pub fn snapshot_tag(job: JobId) -> String {
    format!("ringvault-{}", job.0.simple())
}

/// The tasks of `stage`. None at all is legal: the barrier opens at once.
pub fn plan_stage(ctx: &JobContext<'_>, stage: StageKind) -> Result<Vec<StageTask>, PlanError> {
    match (ctx.spec, stage) {
        (JobSpec::Backup(spec), _) => plan_backup(ctx, spec, stage),
        (JobSpec::Verify(spec), StageKind::Check) => {
            let shards = ctx.live_workers.clamp(1, 16);
            let task = |shard| {
                TaskPayload::Check(CheckTask {
                    job: ctx.job,
                    cluster: spec.cluster.clone(),
                    backup: spec.backup.clone(),
                    level: spec.level,
                    shard,
                    shards,
                })
            };
            Ok((0..shards).map(|shard| any(task(shard))).collect())
        }
        (JobSpec::Verify(spec), StageKind::Report) => {
            let mut report = VerifyReportTask {
                job: ctx.job,
                cluster: spec.cluster.clone(),
                backup: spec.backup.clone(),
                level: spec.level,
                objects: 0,
                bytes: 0,
                damaged: 0,
            };
            for result in results(ctx, StageKind::Check) {
                if let TaskResult::Check(check) = result {
                    report.objects += check.objects;
                    report.bytes += check.bytes;
                    report.damaged += check.damaged;
                }
            }
            Ok(vec![any(TaskPayload::VerifyReport(report))])
        }
        (JobSpec::Restore(spec), _) => plan_restore_stage(ctx, spec, stage),
        (JobSpec::Drill(spec), _) => {
            let restore = spec.restore().ok_or(PlanError::MissingBackup)?;
            plan_restore_stage(ctx, &restore, stage)
        }
        (JobSpec::Digest(spec), StageKind::Digest) => plan_digest(ctx, spec),
        (JobSpec::Purge(spec), StageKind::Mark) => Ok(vec![any_with_delete(TaskPayload::Mark(MarkTask {
            job: ctx.job,
            cluster: spec.cluster.clone(),
            expire: ctx.expire.to_vec(),
            dead: ctx.dead.to_vec(),
        }))]),
        (JobSpec::Purge(spec), StageKind::Sweep | StageKind::Report) => {
            let mark = results(ctx, StageKind::Mark)
                .find_map(|result| match result {
                    TaskResult::Mark(mark) => Some(mark),
                    _ => None,
                })
                .ok_or(PlanError::MissingResult { stage, needs: StageKind::Mark })?;
            let cluster = spec.cluster.clone();
            let payloads = if stage == StageKind::Report {
                vec![TaskPayload::PurgeReport(PurgeReportTask { job: ctx.job, cluster, purge: mark.purge })]
            } else {
                let shards = sweep_shards(mark.objects, ctx.live_workers);
                (0..shards)
                    .map(|shard| {
                        TaskPayload::Sweep(SweepTask {
                            job: ctx.job,
                            cluster: cluster.clone(),
                            purge: mark.purge,
                            shard,
                            shards,
                        })
                    })
                    .collect()
            };
            Ok(payloads.into_iter().map(any_with_delete).collect())
        }
        (spec, stage) => Err(PlanError::WrongStage { kind: spec.kind().as_str(), stage }),
    }
}

/// One shard for each ten thousand objects, at most one a live worker: a shard is ten delete calls.
fn sweep_shards(objects: u64, live_workers: u32) -> u32 {
    let wanted = objects.div_ceil(10_000);
    u32::try_from(wanted).unwrap_or(u32::MAX).min(live_workers.max(1))
}

fn plan_backup(
    ctx: &JobContext<'_>,
    spec: &BackupSpec,
    stage: StageKind,
) -> Result<Vec<StageTask>, PlanError> {
    let needs = |needs| PlanError::MissingResult { stage, needs };
    let cluster = spec.cluster.clone();
    let backup = spec.name.clone().ok_or(needs(StageKind::Snapshot))?;
    match stage {
        StageKind::Snapshot => {
            let nodes: Vec<_> = ctx
                .topology
                .nodes
                .iter()
                .filter(|node| spec.dc.as_ref().is_none_or(|dc| *dc == node.dc))
                .map(|node| node.host_id)
                .collect();
            if nodes.is_empty() {
                let cluster = spec.cluster.to_string();
                return Err(PlanError::NoNodes { cluster, dc: spec.dc.clone() });
            }
            let payload = TaskPayload::Snapshot(SnapshotTask {
                job: ctx.job,
                cluster,
                backup,
                started_at: ctx.created_at,
                selection: spec.selection.clone(),
                mode: spec.mode,
                coverage: spec.coverage,
                policy: spec.policy.clone(),
                tags: spec.tags.clone(),
                lock_seconds: spec.lock_seconds,
            });
            Ok(nodes.into_iter().map(|host| on_node(host, payload.clone())).collect())
        }
        StageKind::Upload => {
            let payload = TaskPayload::Upload(UploadTask {
                job: ctx.job,
                cluster,
                backup,
                selection: spec.selection.clone(),
                mode: spec.mode,
                rate_limit: spec.rate_limit,
                lock_seconds: spec.lock_seconds,
            });
            let hosts = results(ctx, StageKind::Snapshot).filter_map(|result| match result {
                TaskResult::Snapshot(snapshot) => Some(snapshot.host_id),
                _ => None,
            });
            let group = |host| ctx.topology.node(host).map(|node| spec.max_parallel_scope.group_of(node));
            Ok(hosts
                .map(|host| StageTask {
                    parallel_group: group(host).unwrap_or_default(),
                    ..on_node(host, payload.clone())
                })
                .collect())
        }
        StageKind::Seal => {
            let nodes: Vec<NodeManifestRef> = results(ctx, StageKind::Upload)
                .filter_map(|result| match result {
                    TaskResult::Upload(upload) => Some(upload.manifest.clone()),
                    _ => None,
                })
                .collect();
            if nodes.is_empty() {
                return Err(needs(StageKind::Upload));
            }
            Ok(vec![any(TaskPayload::Seal(SealTask {
                job: ctx.job,
                cluster,
                backup,
                nodes,
                coverage: spec.coverage,
                dc: spec.dc.clone(),
                tainted: ctx.tainted,
            }))])
        }
        StageKind::Release => {
            let sealed = results(ctx, StageKind::Seal).next().is_some();
            let abort = (!sealed).then_some((cluster, backup));
            let let_go: Vec<HostId> = results(ctx, StageKind::Upload)
                .filter_map(|result| match result {
                    TaskResult::Upload(upload) if upload.snapshot_cleared => Some(upload.manifest.host_id),
                    _ => None,
                })
                .collect();
            let touched = ctx
                .outcomes
                .iter()
                .filter(|outcome| outcome.stage == StageKind::Snapshot)
                .filter_map(|outcome| outcome.host_id)
                .filter(|host| abort.is_some() || !let_go.contains(host));
            let payload = TaskPayload::Release(ReleaseTask {
                job: ctx.job,
                abort: abort.clone(),
                auth_copies: false,
                drill: false,
            });
            Ok(touched.map(|host| on_node(host, payload.clone())).collect())
        }
        stage => Err(PlanError::WrongStage { kind: "backup", stage }),
    }
}

/// A task for each node, which reads its share of the token ranges.
fn plan_digest(ctx: &JobContext<'_>, spec: &DigestSpec) -> Result<Vec<StageTask>, PlanError> {
    let shares = rows::deal(ctx.topology.nodes.iter().map(|node| node.host_id));
    if shares.is_empty() {
        return Err(PlanError::NoNodes { cluster: spec.cluster.to_string(), dc: None });
    }
    let task = |ranges| {
        TaskPayload::Digest(DigestTask {
            job: ctx.job,
            cluster: spec.cluster.clone(),
            selection: spec.selection.clone(),
            ranges,
            rows_per_second: spec.rows_per_second,
        })
    };
    Ok(shares.into_iter().map(|(host, ranges)| on_node(host, task(ranges))).collect())
}

fn plan_restore_stage(
    ctx: &JobContext<'_>,
    spec: &RestoreSpec,
    stage: StageKind,
) -> Result<Vec<StageTask>, PlanError> {
    let plan = results(ctx, StageKind::Plan).find_map(|result| match result {
        TaskResult::Plan(plan) => Some(PlanRef { key: plan.key.clone(), blake3: plan.blake3.clone()? }),
        _ => None,
    });
    let task =
        |host_id| RestoreTask { job: ctx.job, spec: spec.without_limits(), host_id, plan: plan.clone() };
    let planned_hosts = || {
        results(ctx, StageKind::Plan)
            .find_map(|result| match result {
                TaskResult::Plan(plan) => {
                    Some(plan.nodes.iter().map(|node| node.host_id).collect::<Vec<_>>())
                }
                _ => None,
            })
            .ok_or(PlanError::MissingResult { stage, needs: StageKind::Plan })
    };
    let everywhere = |make: fn(RestoreTask) -> TaskPayload| {
        Ok(planned_hosts()?.into_iter().map(|host| on_node(host, make(task(Some(host))))).collect())
    };
    match stage {
        StageKind::Plan => {
            if ctx.topology.nodes.is_empty() {
                let cluster = spec.target.to_string();
                return Err(PlanError::NoNodes { cluster, dc: None });
            }
            Ok(vec![any(TaskPayload::Plan(task(None)))])
        }
        StageKind::Schema => Ok(vec![any(TaskPayload::Schema(task(None)))]),
        StageKind::Truncate => Ok(vec![any(TaskPayload::Truncate(task(None)))]),
        StageKind::Validate => Ok(vec![any(TaskPayload::Validate(task(None)))]),
        StageKind::Preflight => everywhere(TaskPayload::Preflight),
        StageKind::Download => everywhere(TaskPayload::Download),
        StageKind::Apply => everywhere(TaskPayload::Apply),
        StageKind::Settle => everywhere(TaskPayload::Settle),
        StageKind::Release => {
            let Ok(touched) = planned_hosts() else { return Ok(Vec::new()) };
            // Copies of roles and a drill's keyspaces belong to the cluster: one node drops them. Offline
            // there are none.
            let release = |place| {
                let drops = place == 0 && !spec.plan_only && !spec.offline;
                let (auth_copies, drill) = (drops && !spec.drill, drops && spec.drill);
                TaskPayload::Release(ReleaseTask { job: ctx.job, abort: None, auth_copies, drill })
            };
            Ok(touched.into_iter().enumerate().map(|(place, host)| on_node(host, release(place))).collect())
        }
        stage => Err(PlanError::WrongStage { kind: ctx.spec.kind().as_str(), stage }),
    }
}

fn on_node(host: HostId, payload: TaskPayload) -> StageTask {
    placed(Placement::Node(host), payload)
}

fn any(payload: TaskPayload) -> StageTask {
    placed(Placement::Any, payload)
}

fn any_with_delete(payload: TaskPayload) -> StageTask {
    placed(Placement::AnyWithDelete, payload)
}

fn placed(placement: Placement, payload: TaskPayload) -> StageTask {
    StageTask { placement, payload, parallel_group: String::new() }
}

fn results<'a>(ctx: &'a JobContext<'_>, stage: StageKind) -> impl Iterator<Item = &'a TaskResult> {
    ctx.outcomes
        .iter()
        .filter(move |outcome| outcome.stage == stage)
        .filter_map(|outcome| outcome.result.as_ref())
}

/// Whether a job goes on once every task of a stage has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StageVerdict {
    /// The next stage opens.
    Pass,
    /// The job fails (and may be retried).
    Fail,
}

/// How the tasks of an ended stage ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Done.
    pub succeeded: u32,
    /// Failed for good.
    pub failed: u32,
    /// Of nodes that are gone for good: nobody waits for them.
    pub given_up: u32,
}

/// Judges an ended stage. A backup that may miss nodes goes on while any node is left, and every
/// backup goes on without a node that its owner has given up; clearing leftovers fails no job but a
/// drill, whose keyspaces must be gone; everything else needs every task.
pub fn stage_verdict(spec: &JobSpec, stage: StageKind, ended: Ended) -> StageVerdict {
    let Ended { succeeded, failed, given_up } = ended;
    let may_miss_nodes = matches!(spec, JobSpec::Backup(backup) if backup.coverage != RequiredCoverage::All);
    let pass = match stage {
        StageKind::Release => failed == 0 || !matches!(spec, JobSpec::Drill(_)),
        StageKind::Snapshot | StageKind::Upload if may_miss_nodes => succeeded > 0,
        StageKind::Snapshot | StageKind::Upload => failed == 0 && (succeeded > 0 || given_up == 0),
        _ => failed + given_up == 0,
    };
    if pass { StageVerdict::Pass } else { StageVerdict::Fail }
}
