//! How patient the scheduler is. The defaults suit production; tests shorten them.

use std::time::Duration;

use chrono::TimeDelta;
use ringvault_core::{job::JobKind, task::RetryRules};
use serde::Deserialize;

/// `[retry]`: tasks.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryConfig {
    /// Attempts before a transient failure is final.
    pub max_attempts: u32,
    /// First backoff; doubles with each attempt.
    #[serde(with = "humantime_serde")]
    pub backoff_base: Duration,
    /// Longest backoff.
    #[serde(with = "humantime_serde")]
    pub backoff_cap: Duration,
    /// Between looks at whether a task's surroundings are mended.
    #[serde(with = "humantime_serde")]
    pub environment_interval: Duration,
    /// How long a task waits for its surroundings before it fails.
    #[serde(with = "humantime_serde")]
    pub environment_patience: Duration,
    /// Longest time between looks of a purge at the backups it waits for.
    #[serde(with = "humantime_serde")]
    pub purge_interval: Duration,
    /// How long a purge waits for backups to be sealed or dead; longer than `timing.backup_at_most`.
    #[serde(with = "humantime_serde")]
    pub purge_patience: Duration,
    /// From the offer to the worker's answer.
    #[serde(with = "humantime_serde")]
    pub dispatch_timeout: Duration,
    /// Offers of one placement before another is tried.
    pub max_dispatches: u32,
    /// From one heartbeat to the loss of the lease.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            backoff_base: Duration::from_secs(2),
            backoff_cap: Duration::from_secs(300),
            environment_interval: Duration::from_secs(15),
            environment_patience: Duration::from_secs(1800),
            purge_interval: Duration::from_secs(60),
            purge_patience: Duration::from_secs(8 * 24 * 3600),
            dispatch_timeout: Duration::from_secs(15),
            max_dispatches: 3,
            lease: Duration::from_secs(60),
        }
    }
}

impl RetryConfig {
    /// As the state machine takes it, with the attempts that a policy may ask for.
    pub fn rules(&self, max_attempts: Option<u32>) -> RetryRules {
        RetryRules {
            max_attempts: max_attempts.unwrap_or(self.max_attempts).max(1),
            backoff_base: delta(self.backoff_base),
            backoff_cap: delta(self.backoff_cap),
            environment_interval: delta(self.environment_interval),
            environment_patience: delta(self.environment_patience),
            purge_interval: delta(self.purge_interval),
            purge_patience: delta(self.purge_patience),
            dispatch_timeout: delta(self.dispatch_timeout),
            max_dispatches: self.max_dispatches.max(1),
            lease: delta(self.lease),
        }
    }
}

/// `[timing]`: jobs, workers and the scheduler's own loops.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimingConfig {
    /// Between two looks at what is due, when nothing wakes the scheduler before.
    #[serde(with = "humantime_serde")]
    pub poll: Duration,
    /// A worker not heard of for so long is given no tasks.
    #[serde(with = "humantime_serde")]
    pub worker_silence: Duration,
    /// How long a silent worker has to answer whether it is still on its task.
    #[serde(with = "humantime_serde")]
    pub ask_patience: Duration,
    /// How long a failed backup may be retried.
    #[serde(with = "humantime_serde")]
    pub retry_backup: Duration,
    /// How long a failed restore may be retried.
    #[serde(with = "humantime_serde")]
    pub retry_restore: Duration,
    /// How long any other failed job may be retried.
    #[serde(with = "humantime_serde")]
    pub retry_other: Duration,
    /// A backup that is not sealed so long after its start is given up: purges wait for it.
    #[serde(with = "humantime_serde")]
    pub backup_at_most: Duration,
    /// A job paused for longer goes on by itself.
    #[serde(with = "humantime_serde")]
    pub paused_at_most: Duration,
    /// How long a cancelled or abandoned job waits for what it left to be cleared.
    #[serde(with = "humantime_serde")]
    pub cleanup: Duration,
    /// A fire later than this counts as missed.
    #[serde(with = "humantime_serde")]
    pub misfire_grace: Duration,
    /// How long sent messages are kept for people to look at.
    #[serde(with = "humantime_serde")]
    pub keep_sent: Duration,
}

impl Default for TimingConfig {
    fn default() -> Self {
        const HOUR: u64 = 3600;
        Self {
            poll: Duration::from_millis(500),
            worker_silence: Duration::from_secs(90),
            ask_patience: Duration::from_secs(5),
            retry_backup: Duration::from_secs(HOUR),
            retry_restore: Duration::from_secs(7 * 24 * HOUR),
            retry_other: Duration::from_secs(24 * HOUR),
            backup_at_most: Duration::from_secs(7 * 24 * HOUR),
            paused_at_most: Duration::from_secs(24 * HOUR),
            cleanup: Duration::from_secs(600),
            misfire_grace: Duration::from_secs(60),
            keep_sent: Duration::from_secs(24 * HOUR),
        }
    }
}

impl TimingConfig {
    /// How long a failed job of this kind may be retried.
    pub fn retry_window(&self, kind: JobKind) -> TimeDelta {
        delta(match kind {
            JobKind::Backup => self.retry_backup,
            JobKind::Restore => self.retry_restore,
            JobKind::Verify | JobKind::Purge | JobKind::Drill | JobKind::Digest => self.retry_other,
        })
    }
}

/// A configured time as chrono has it; what is beyond its range (years without number) is cut.
pub(crate) fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
