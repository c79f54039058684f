//! The policy file: TOML, applied whole, read strictly. An unknown field is refused with its line.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{InvalidSchedule, Retention, Schedule, Window};
use crate::{
    ClusterName, PolicyName,
    cluster::RequiredCoverage,
    job::{
        BackupMode, BackupSpec, DrillSpec, JobSpec, PurgeSpec, RestoreMethod, VerifyLevel, check_lock_seconds,
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
    /// Uploads at once over the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_parallel_nodes: Option<u32>,
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
        self.rate_limit_bytes().map_err(|error| meaning(&error.to_string()))?;
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
            (self.max_parallel_nodes.is_some(), "max_parallel_nodes", backup, "backup"),
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

    /// `rate_limit` in bytes.
    pub fn rate_limit_bytes(&self) -> Result<Option<u64>, crate::size::InvalidSize> {
        self.rate_limit.as_deref().map(crate::size::parse_size).transpose()
    }

    /// The job that a fire asks for. `None` for a verify: which backup it means is decided by who
    /// knows the backups. A backup has no name yet: two policies may fire at one instant.
    pub fn job_spec(&self, name: &PolicyName) -> Option<JobSpec> {
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
                rate_limit: self.rate_limit_bytes().ok().flatten(),
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
                rate_limit: self.rate_limit_bytes().ok().flatten(),
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
mod tests {
    use super::*;

    const NIGHTLY: &str = r#"
[policy.nightly]
cluster = "orders-prod"
schedule = "0 2 * * *"
timezone = "Europe/Madrid"
action = "backup"
exclude = ["orders.cache"]
retention = { keep_last = 14, max_age = "35d" }
rpo = "24h"
rate_limit = "100MiB"
"#;

    #[test]
    fn a_policy_is_read_and_becomes_a_job() {
        let document = parse_policies(NIGHTLY).unwrap();
        let (name, policy) = document.policy.first_key_value().unwrap();
        let spec = policy.job_spec(name).unwrap();
        let JobSpec::Backup(backup) = spec else { panic!("not a backup") };
        assert_eq!((backup.name, backup.policy.as_ref()), (None, Some(name)));
        assert_eq!(backup.rate_limit, Some(100 << 20));
    }

    #[test]
    fn a_misspelt_field_is_refused_with_its_line() {
        let text = NIGHTLY.replace("timezone", "timezome");
        let error = parse_policies(&text).unwrap_err().to_string();
        assert!(error.contains("timezome") && error.contains("line 5"), "{error}");
    }

    #[test]
    fn a_field_of_another_action_is_refused_by_name() {
        let policy = |action: &str, field: &str| {
            let text =
                format!("[policy.p]\ncluster = 'c'\nschedule = '@daily'\naction = '{action}'\n{field}\n");
            parse_policies(&text).map(|_| ()).map_err(|error| error.to_string())
        };
        let keep = "retention = { keep_last = 1 }";
        for (action, field, applies) in [
            ("backup", "keyspaces = ['k']", true),
            ("verify", "keyspaces = ['k']", false),
            ("verify", "exclude = ['k.t']", false),
            ("verify", "level = 'digest'", true),
            ("backup", "level = 'digest'", false),
            ("verify", "coverage = 'one'", false),
            ("verify", "rpo = '1d'", false),
            ("verify", "window = '22:00-06:00'", true),
            ("backup", "window = '22:00-06:00'", true),
            ("verify", "retries = 3", true),
            ("verify", keep, false),
            ("backup", keep, true),
            ("drill", "keyspaces = ['k']", true),
            ("drill", "target = 'other'", true),
            ("drill", "dc_map = { a = ['b'] }", true),
            ("backup", "target = 'other'", false),
            ("verify", "dc_map = { a = ['b'] }", false),
            ("drill", keep, false),
            ("drill", "mode = 'full'", false),
            ("backup", "lock = '400d'", true),
            ("verify", "lock = '400d'", false),
        ] {
            let answer = policy(action, field);
            assert_eq!(answer.is_ok(), applies, "{action} {field}: {answer:?}");
            let name = field.split(' ').next().unwrap();
            assert!(applies || answer.unwrap_err().contains(name), "{field}");
        }
        for field in ["mode = 'full'", "tables = ['k.t']", "rate_limit = '1MiB'", "max_parallel_nodes = 1"] {
            assert!(policy("purge", &format!("{keep}\n{field}")).is_err(), "{field}");
        }
    }

    #[test]
    fn fields_that_do_not_go_together_are_refused() {
        for (from, to) in [
            ("0 2 * * *", "0 2 * *"),
            ("Europe/Madrid", "Europe/Nowhere"),
            ("\"backup\"", "\"verify\""),
            ("100MiB", "100MB"),
            ("orders.cache", "orders"),
            ("retention = {", "retention = { keep_lsat = 1, "),
            ("rpo =", "window = \"22:00\"\nrpo ="),
            ("rpo =", "level = \"digest\"\nrpo ="),
            ("rpo =", "lock = \"0s\"\nrpo ="),
            ("rpo =", "lock = \"101y\"\nrpo ="),
        ] {
            assert!(parse_policies(&NIGHTLY.replace(from, to)).is_err(), "{from} -> {to}");
        }
    }
}
