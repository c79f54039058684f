//! What a policy owes at an instant: a pure function of its schedule and its last fire.

use chrono::{DateTime, TimeDelta, Utc};
use ringvault_core::policy::{Misfire, Schedule};

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// A job, for this instant.
    Fire(DateTime<Utc>),
    /// Nothing but a note: instants up to this one were missed, and the policy skips those.
    Missed(DateTime<Utc>),
}

/// What is due at `now` of the instants after `since`. Of several only the last matters: it fires,
/// or, being older than `grace`, is missed and fires all the same if the policy says `once`.
pub(super) fn due_fire(
    schedule: &Schedule,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
    misfire: Misfire,
    grace: TimeDelta,
) -> Option<Due> {
    let last = schedule.upcoming(since).take_while(|at| *at <= now).last()?;
    Some(match misfire {
        Misfire::Skip if now - last > grace => Due::Missed(last),
        Misfire::Skip | Misfire::Once => Due::Fire(last),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_missed_fires_once_or_not_at_all() {
        let schedule = Schedule::parse("0 * * * *", "UTC").unwrap();
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let due =
            |since, now, misfire| due_fire(&schedule, at(since), at(now), misfire, TimeDelta::minutes(1));
        let (eight, ten) = ("2026-11-23T08:00:00Z", "2026-11-23T10:00:00Z");
        for misfire in [Misfire::Skip, Misfire::Once] {
            assert_eq!(due(ten, "2026-11-23T10:59:59Z", misfire), None);
            let on_time = due("2026-11-23T09:00:00Z", "2026-11-23T10:00:30Z", misfire);
            assert_eq!(on_time, Some(Due::Fire(at(ten))));
        }
        let late = "2026-11-23T10:20:00Z";
        assert_eq!(due(eight, late, Misfire::Once), Some(Due::Fire(at(ten))));
        assert_eq!(due(eight, late, Misfire::Skip), Some(Due::Missed(at(ten))));
        assert_eq!(due(ten, late, Misfire::Once), None, "it has fired");
    }
}
