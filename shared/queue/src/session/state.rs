//! What a session is doing, for readiness and status.

use chrono::{DateTime, SecondsFormat, Utc};

use super::Problem;

/// What a session is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionState {
    /// Its first connection is being made.
    Connecting {
        /// Since when.
        since: DateTime<Utc>,
    },
    /// It works.
    Connected {
        /// Since when.
        since: DateTime<Utc>,
    },
    /// It is connected, but the broker takes no messages (memory or disk alarm).
    Blocked {
        /// Since when.
        since: DateTime<Utc>,
        /// The broker's words.
        because: String,
    },
    /// It does not work and tries again.
    Reconnecting {
        /// Since when it has not worked.
        since: DateTime<Utc>,
        /// Tries that failed since then.
        attempts: u32,
        /// What failed last.
        because: Problem,
    },
    /// It was closed.
    Closed,
}

impl SessionState {
    /// Whether messages flow.
    pub const fn is_connected(&self) -> bool {
        matches!(self, Self::Connected { .. })
    }

    /// What keeps it from working.
    pub const fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Reconnecting { because, .. } => Some(because),
            _ => None,
        }
    }

    /// The state after one more failure.
    pub(super) fn after(&self, problem: Problem, now: DateTime<Utc>) -> Self {
        let (since, attempts) = match self {
            Self::Reconnecting { since, attempts, .. } => (*since, attempts.saturating_add(1)),
            Self::Connecting { since } => (*since, 1),
            Self::Connected { .. } | Self::Blocked { .. } | Self::Closed => (now, 1),
        };
        Self::Reconnecting { since, attempts, because: problem }
    }
}

impl std::fmt::Display for SessionState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = |at: &DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        match self {
            Self::Connecting { since } => write!(f, "connecting since {}", time(since)),
            Self::Connected { since } => write!(f, "connected since {}", time(since)),
            Self::Blocked { since, because } => {
                write!(f, "blocked by the broker since {}: {because}", time(since))
            }
            Self::Reconnecting { since, attempts, because } => {
                write!(f, "reconnecting since {} ({attempts} tries): {because}", time(since))
            }
            Self::Closed => f.write_str("closed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    #[test]
    fn an_outage_lasts_from_its_first_failure_and_shows_its_last() {
        let at = |second| Utc.with_ymd_and_hms(2026, 11, 22, 2, 0, second).unwrap();
        let lost = |cause: &str| Problem::Lost { cause: cause.to_owned() };
        let connected = SessionState::Connected { since: at(0) };
        let first = connected.after(lost("reset"), at(10));
        let second = first.after(lost("refused"), at(20));
        assert_eq!(
            second.to_string(),
            "reconnecting since 2026-11-22T02:00:10Z (2 tries): the connection was lost: refused"
        );
        assert_eq!(second.problem(), Some(&lost("refused")));
        let never = SessionState::Connecting { since: at(5) }.after(lost("x"), at(9));
        assert!(matches!(never, SessionState::Reconnecting { since, .. } if since == at(5)));
    }
}
