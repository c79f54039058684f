//! The policy file: TOML, applied whole, read strictly. An unknown field is refused with its line.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{InvalidSchedule, PolicyLimits, Retention, Schedule, Window};
use crate::{
    ClusterName, PolicyName,
    cluster::RequiredCoverage,
    job::{
        BackupMode, BackupSpec, DrillSpec, JobSpec, Limits, ParallelScope, PurgeSpec, RestoreMethod,
        VerifyLevel, check_lock_seconds,
    },
    restore::DataCenterMap,
    selection::{Selection, TableName},
    toml_text::from_toml,
};

/// What a policy does when it fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PolicyAction {
    /// Takes a backup; with a `retention`, a purge follows each that succeeds.
    Backup,
    /// Verifies the newest restorable backup.
    Verify,
    /// Purges by `retention`.
    Purge,
    /// Proves that the newest restorable backup can be restored: brings it back beside everything, reads
    /// it, and drops it again.
    Drill,
}

impl PolicyAction {
    /// The word used in policy files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Verify => "verify",
            Self::Purge => "purge",
            Self::Drill => "drill",
        }
    }
}

/// What happens to instants that passed while no scheduler ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Misfire {
    /// They are gone.
    Skip,
    /// The last of them fires once.
    #[default]
    Once,
}

/// What a fire does while an earlier job of the same policy is under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// The fire is recorded as skipped.
    #[default]
    Skip,
    /// The job waits for the earlier one.
    Queue,
}

/// One policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The cluster.
    pub cluster: ClusterName,
    /// Five-field cron expression.
    pub schedule: String,
    /// IANA zone of the schedule.
    #[serde(default = "utc")]
    pub timezone: String,
    /// What it does.
    pub action: PolicyAction,
    /// Whole keyspaces; with `tables` empty too, everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keyspaces: Vec<String>,
    /// Single tables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<TableName>,
    /// Tables left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<TableName>,
    /// Reuse or not.
    #[serde(default)]
    pub mode: BackupMode,
    /// What is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// How much of the ring a backup must hold.
    #[serde(default)]
    pub coverage: RequiredCoverage,
    /// How deep a verify looks.
    #[serde(default)]
    pub level: VerifyLevel,
    /// The longest time without a good backup that the owner accepts.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::lasting")]
    #[schemars(with = "Option<String>")]
    pub rpo: Option<std::time::Duration>,
    /// The longest restore that the owner accepts.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::lasting")]
    #[schemars(with = "Option<String>")]
    pub rto: Option<std::time::Duration>,
    /// Instants missed.
    #[serde(default)]
    pub misfire: Misfire,
    /// When its jobs may work, by the clocks of `timezone`, such as `22:00-06:00`: outside they pause,
    /// and go on in the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// Attempts of each task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// An earlier job still under way.
    #[serde(default)]
    pub on_conflict: OnConflict,
    /// Bytes a second each node may upload, or download for a drill, such as `100MiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<String>,
    /// Requests a second each node may make to the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_limit: Option<u64>,
    /// The same for the nodes of single data centers, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data_centers: BTreeMap<String, PolicyLimits>,
    /// Uploads at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_parallel_nodes: Option<u32>,
    /// Among whom these are counted.
    #[serde(default, skip_serializing_if = "ParallelScope::is_cluster")]
    pub max_parallel_scope: ParallelScope,
    /// How long from its start nobody can delete a backup, such as `400d`, in a vault with locks.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::lasting")]
    #[schemars(with = "Option<String>")]
    pub lock: Option<std::time::Duration>,
    /// The cluster that a drill brings the backup to; its own where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<ClusterName>,
    /// Data centers of a drill's target by those of the backup.
    #[serde(default, skip_serializing_if = "DataCenterMap::is_empty")]
    pub dc_map: DataCenterMap,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// A whole policy file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyDocument {
    /// By name.
    #[serde(default)]
    pub policy: BTreeMap<PolicyName, Policy>,
}

/// Why a policy file was refused; nothing of it was applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyProblem {
    /// Not TOML, an unknown or misspelt field, a value of the wrong kind; names line and column.
    #[error("policy file: {0}")]
    Syntax(String),
    /// A schedule or time zone.
    #[error("policy {policy}: {source}")]
    Schedule {
        /// The policy.
        policy: PolicyName,
        /// What is wrong.
        source: InvalidSchedule,
    },
    /// Fields that do not go together.
    #[error("policy {policy}: {why}")]
    Meaning {
        /// The policy.
        policy: PolicyName,
        /// Which and why.
        why: String,
    },
}

/// Reads a policy file whole.
pub fn parse_policies(text: &str) -> Result<PolicyDocument, PolicyProblem> {
    let document: PolicyDocument =
        from_toml(text).map_err(|error| PolicyProblem::Syntax(crate::text::cause(error)))?;
    for (name, policy) in &document.policy {
        policy.check(name)?;
    }
    Ok(document)
}

impl Policy {
    /// Checks what the types cannot say.
    pub fn check(&self, name: &PolicyName) -> Result<(), PolicyProblem> {
        let meaning = |why: &str| PolicyProblem::Meaning { policy: name.clone(), why: why.into() };
        self.compiled_schedule()
            .map_err(|source| PolicyProblem::Schedule { policy: name.clone(), source })?;
        if self.action == PolicyAction::Purge && self.retention.is_none() {
            return Err(meaning("action \"purge\" needs a retention: it says what goes"));
        }
        if let Some((field, actions)) = self.field_of_another_action() {
            let action = self.action.as_str();
            return Err(meaning(&format!(
                "`{field}` means nothing for action \"{action}\": it is for {actions}"
            )));
        }
        if self.retries == Some(0) || self.max_parallel_nodes == Some(0) {
            return Err(meaning("retries and max_parallel_nodes begin with 1"));
        }
        if self.max_parallel_nodes.is_none() && !self.max_parallel_scope.is_cluster() {
            return Err(meaning(
                "max_parallel_scope says among whom max_parallel_nodes counts, which is not given",
            ));
        }
        self.limits().map_err(|why| meaning(&why))?;
        if let Some(lock) = self.lock {
            check_lock_seconds(lock.as_secs()).map_err(|why| meaning(&format!("lock {why}")))?;
        }
        Ok(())
    }

    /// The first field that says what this action does not do, with the actions that it is for.
    /// Fields with a value where nothing is said are refused when they say something else.
    fn field_of_another_action(&self) -> Option<(&'static str, &'static str)> {
        let (backup, verify) = (self.action == PolicyAction::Backup, self.action == PolicyAction::Verify);
        let drill = self.action == PolicyAction::Drill;
        let fields = [
            (!self.keyspaces.is_empty(), "keyspaces", backup || drill, "backup and drill"),
            (!self.tables.is_empty(), "tables", backup || drill, "backup and drill"),
            (!self.exclude.is_empty(), "exclude", backup || drill, "backup and drill"),
            (self.mode != BackupMode::default(), "mode", backup, "backup"),
            (self.coverage != RequiredCoverage::default(), "coverage", backup, "backup"),
            (self.rpo.is_some(), "rpo", backup, "backup"),
            (self.rate_limit.is_some(), "rate_limit", backup || drill, "backup and drill"),
            (self.request_limit.is_some(), "request_limit", backup || drill, "backup and drill"),
            (!self.data_centers.is_empty(), "data_centers", backup || drill, "backup and drill"),
            (self.max_parallel_nodes.is_some(), "max_parallel_nodes", backup, "backup"),
            (!self.max_parallel_scope.is_cluster(), "max_parallel_scope", backup, "backup"),
            (self.lock.is_some(), "lock", backup, "backup"),
            (self.level != VerifyLevel::default(), "level", verify, "verify"),
            (self.retention.is_some(), "retention", !verify && !drill, "backup and purge"),
            (self.target.is_some(), "target", drill, "drill"),
            (!self.dc_map.is_empty(), "dc_map", drill, "drill"),
        ];
        let wrong = fields.into_iter().find(|(said, _, applies, _)| *said && !applies);
        wrong.map(|(_, field, _, actions)| (field, actions))
    }

    /// Whether its jobs may work at `now`.
    pub fn may_work_at(&self, now: DateTime<Utc>) -> bool {
        // The zone was checked when the policy was applied; without one nothing is held up.
        match (self.window, self.timezone.parse::<chrono_tz::Tz>()) {
            (Some(window), Ok(zone)) => window.holds(now, zone),
            _ => true,
        }
    }

    /// The schedule, ready to ask.
    pub fn compiled_schedule(&self) -> Result<Schedule, InvalidSchedule> {
        Schedule::parse(&self.schedule, &self.timezone)
    }

    /// The job that a fire asks for. `None` for a verify: which backup it means is decided by who
    /// knows the backups. A backup has no name yet: two policies may fire at one instant.
    pub fn job_spec(&self, name: &PolicyName) -> Option<JobSpec> {
        // They were checked when the policy was applied.
        let Limits { everywhere, data_centers } = self.limits().unwrap_or_default();
        match self.action {
            PolicyAction::Backup => Some(JobSpec::Backup(BackupSpec {
                cluster: self.cluster.clone(),
                name: None,
                mode: self.mode,
                selection: self.selection(),
                dc: None,
                coverage: self.coverage,
                tags: BTreeMap::new(),
                max_parallel_nodes: self.max_parallel_nodes,
                max_parallel_scope: self.max_parallel_scope,
                rate_limit: everywhere.rate_limit,
                request_limit: everywhere.request_limit,
                data_centers,
                lock_seconds: self.lock.map(|lock| lock.as_secs()),
                policy: Some(name.clone()),
            })),
            PolicyAction::Purge => Some(JobSpec::Purge(PurgeSpec {
                cluster: self.cluster.clone(),
                backups: Vec::new(),
                retention: self.retention.clone(),
                policy: Some(name.clone()),
            })),
            // The newest restorable backup, when the job is made.
            PolicyAction::Drill => Some(JobSpec::Drill(DrillSpec {
                cluster: self.cluster.clone(),
                backup: None,
                target: self.target.clone(),
                selection: self.selection(),
                method: RestoreMethod::Auto,
                rate_limit: everywhere.rate_limit,
                request_limit: everywhere.request_limit,
                data_centers,
                dc_map: self.dc_map.clone(),
                policy: Some(name.clone()),
            })),
            PolicyAction::Verify => None,
        }
    }

    /// The tables it is about.
    pub fn selection(&self) -> Selection {
        Selection {
            keyspaces: self.keyspaces.clone(),
            tables: self.tables.clone(),
            exclude: self.exclude.clone(),
        }
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
