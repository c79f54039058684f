//! Immutability: how long an S3 bucket with Object Lock keeps what is written from being deleted.

use std::time::Duration;

use chrono::TimeDelta;
use ringvault_core::{job::LONGEST_LOCK_SECONDS, lasting::lasting};
use serde::{Deserialize, Serialize};

use super::{Checksums, ConfigError, VaultConfig};

/// The part of the period that locks are set longer than needed, where nothing else is said.
const AHEAD: u32 = 4;

/// Who may end a lock before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockMode {
    /// Whoever has the right `s3:BypassGovernanceRetention`, which Ringvault never uses.
    Governance,
    /// Nobody, the account's owner neither.
    Compliance,
}

impl LockMode {
    /// As in settings and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Governance => "governance",
            Self::Compliance => "compliance",
        }
    }
}

/// `[vault.lock]`: what is brought to the vault is locked, and what a backup names stays so for `period` from
/// the backup's start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockConfig {
    /// Who may end a lock before its time.
    pub mode: LockMode,
    /// For how long from its start nobody can delete a backup.
    #[serde(with = "humantime_serde")]
    pub period: Duration,
    /// How much longer than a backup needs it each lock is set. A later backup that reuses an object renews its
    /// lock only when that is used up: a request an object each `ahead`, rather than each backup. The price is
    /// that what a purge takes may stay for so much longer. A quarter of the period where nothing is set.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "humantime_serde")]
    pub ahead: Option<Duration>,
}

impl LockConfig {
    /// For how long from its start a backup is locked.
    pub fn period(&self) -> TimeDelta {
        TimeDelta::from_std(self.period).unwrap_or(TimeDelta::MAX)
    }

    /// For how long a lock is set that is set now.
    pub fn set_for(&self) -> TimeDelta {
        let longest = Duration::from_secs(LONGEST_LOCK_SECONDS);
        TimeDelta::from_std(self.period.saturating_add(self.ahead()).min(longest)).unwrap_or(TimeDelta::MAX)
    }

    /// How much longer than needed a lock is set.
    fn ahead(&self) -> Duration {
        self.ahead.unwrap_or(self.period / AHEAD)
    }

    /// The locks of a backup that asks to be locked for so many seconds: never for less than every backup.
    pub(crate) fn for_backup(&self, seconds: Option<u64>) -> Self {
        let asked = Duration::from_secs(seconds.unwrap_or_default());
        Self { period: self.period.max(asked), ahead: Some(self.ahead()), ..self.clone() }
    }

    pub(super) fn check(&self, of: &VaultConfig) -> Result<(), ConfigError> {
        let unusable = |setting, value: Duration, why: &str| {
            let value = lasting(value);
            Err(ConfigError::Unusable { setting, value, why: why.to_owned() })
        };
        if self.period < Duration::from_secs(1) {
            return unusable("lock.period", self.period, "a lock lasts a second at least");
        }
        if self.period.saturating_add(self.ahead()) > Duration::from_secs(LONGEST_LOCK_SECONDS) {
            return unusable(
                "lock.period",
                self.period,
                "with ahead it is longer than the 100 years that S3 knows",
            );
        }
        if of.checksums == Checksums::WhenRequired {
            let why =
                "an object with a lock must come with its checksum: leave it out where [vault.lock] is set";
            return Err(ConfigError::Unusable {
                setting: "checksums",
                value: "when_required".to_owned(),
                why: why.to_owned(),
            });
        }
        Ok(())
    }
}
