//! When a policy fires: a five-field Unix cron expression in an IANA time zone.
//!
//! The `cron` crate reads the expression and iterates *local wall time* (fed to it as if it were
//! UTC, where no hour is missing or repeated); each wall time is then mapped to an instant here: a
//! time that daylight saving skips fires once at the next valid instant, a repeated one fires at
//! the first of the two. As in Unix cron, a day matches when the day of the month *or* the day of
//! the week does if both are restricted; that is two expressions whose union is taken.

use std::str::FromStr;

use chrono::{DateTime, Duration, LocalResult, NaiveDateTime, TimeZone, Utc};
use chrono_tz::Tz;

use crate::text::{cause, excerpt};

/// A compiled schedule.
#[derive(Debug, Clone)]
pub struct Schedule {
    parts: Vec<cron::Schedule>,
    zone: Tz,
}

/// A cron expression or time zone that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSchedule {
    /// Not five fields.
    #[error("schedule {0:?} has {1} fields: write five (minute hour day-of-month month day-of-week)")]
    Fields(String, usize),
    /// A field that cannot be read.
    #[error("schedule {expression:?}: {why}")]
    Expression {
        /// The expression.
        expression: String,
        /// Which part and why.
        why: String,
    },
    /// No such zone.
    #[error("timezone {0:?} is not an IANA time zone such as Europe/Madrid")]
    Zone(String),
}

impl Schedule {
    /// Compiles `expression` (five-field Unix form, or a shorthand such as `@daily`) in `zone`.
    pub fn parse(expression: &str, zone: &str) -> Result<Self, InvalidSchedule> {
        let zone = Tz::from_str(zone).map_err(|_| InvalidSchedule::Zone(excerpt(zone)))?;
        let plain = match expression.trim() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            other => other,
        };
        let fields: Vec<&str> = plain.split_whitespace().collect();
        let &[minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(InvalidSchedule::Fields(excerpt(expression), fields.len()));
        };
        let weekday = unix_weekdays(weekday)
            .map_err(|why| InvalidSchedule::Expression { expression: excerpt(expression), why })?;
        let day_free = day.starts_with('*') || day == "?";
        let weekday_free = weekday.starts_with('*') || weekday == "?";
        let day_pairs: Vec<(&str, &str)> =
            if day_free || weekday_free { vec![(day, &weekday)] } else { vec![(day, "*"), ("*", &weekday)] };
        let parts = day_pairs
            .into_iter()
            .map(|(day, weekday)| {
                let full = format!("0 {minute} {hour} {day} {month} {weekday}");
                cron::Schedule::from_str(&full).map_err(|error| InvalidSchedule::Expression {
                    expression: excerpt(expression),
                    why: cause(error),
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { parts, zone })
    }

    /// The first instant after `after` at which it fires, if there is one in the calendar.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.upcoming(after).next()
    }

    /// The instants after `after` at which it fires, ascending, each once.
    pub fn upcoming(&self, after: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> + '_ {
        // A wall time maps to an instant at most a day later (a zone that skipped a day), so
        // looking from two days before cannot miss one.
        let wall = after.with_timezone(&self.zone).naive_local();
        let mut from = (wall - Duration::days(2)).and_utc();
        let mut last = after;
        std::iter::from_fn(move || {
            loop {
                let next = self.parts.iter().filter_map(|part| part.after(&from).next()).min()?;
                from = next;
                let instant = instant_of(next.naive_utc(), self.zone)?;
                if instant > last {
                    last = instant;
                    return Some(instant);
                }
            }
        })
    }
}

/// The instant of a local wall time: the first of two, or the first valid one after a gap.
fn instant_of(wall: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    const LONGEST_GAP_MINUTES: i64 = 25 * 60;
    (0..LONGEST_GAP_MINUTES).find_map(|minutes| {
        match zone.from_local_datetime(&(wall + Duration::minutes(minutes))) {
            LocalResult::Single(instant) | LocalResult::Ambiguous(instant, _) => {
                Some(instant.with_timezone(&Utc))
            }
            LocalResult::None => None,
        }
    })
}

/// Rewrites Unix weekdays (0 or 7 is Sunday) to the `cron` crate's (1 is Sunday), as a list of
/// single days, so that ranges such as `5-7` or `6-1` and steps cannot be misread.
fn unix_weekdays(field: &str) -> Result<String, String> {
    if field == "*" || field == "?" {
        return Ok(field.to_owned());
    }
    let bad = |part: &str| format!("{:?} is not a day of the week (0-7, SUN-SAT)", excerpt(part));
    let day = |text: &str| -> Result<u32, String> {
        const NAMES: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
        if let Some(index) = NAMES.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            return u32::try_from(index).map_err(|_| bad(text));
        }
        text.parse().ok().filter(|day| *day <= 7).ok_or_else(|| bad(text))
    };
    let mut days = [false; 7];
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => {
                (range, step.parse::<usize>().ok().filter(|s| *s > 0).ok_or_else(|| bad(part))?)
            }
            None => (part, 1),
        };
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (day(first)?, day(last)?),
            None if range == "*" => (0, 6),
            None if part.contains('/') => (day(range)?, 6),
            None => (day(range)?, day(range)?),
        };
        let last = if last < first { last + 7 } else { last };
        for day in (first..=last).step_by(step) {
            days[(day % 7) as usize] = true;
        }
    }
    let list: Vec<String> =
        (1..=7).zip(days).filter(|(_, on)| *on).map(|(day, _): (u32, _)| day.to_string()).collect();
    Ok(list.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fires(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let after = after.parse::<DateTime<Utc>>().unwrap();
        Schedule::parse(expression, zone)
            .unwrap()
            .upcoming(after)
            .take(count)
            .map(|at| at.format("%Y-%m-%dT%H:%MZ").to_string())
            .collect()
    }

    #[test]
    fn times_that_daylight_saving_skips_or_repeats_fire_once() {
        // (expression, zone, after, expected instants)
        let table: &[(&str, &str, &str, &[&str])] = &[
            // Madrid skips 02:00-03:00 on 2027-03-28: fires at 03:00 local, 01:00Z.
            (
                "30 2 * * *",
                "Europe/Madrid",
                "2027-03-26T12:00:00Z",
                &["2027-03-27T01:30Z", "2027-03-28T01:00Z", "2027-03-29T00:30Z"],
            ),
            // and repeats 02:00-03:00 on 2027-10-31: the first of the two.
            (
                "30 2 * * *",
                "Europe/Madrid",
                "2027-10-30T12:00:00Z",
                &["2027-10-31T00:30Z", "2027-11-01T01:30Z"],
            ),
            (
                "30 2 * * *",
                "America/New_York",
                "2026-03-07T12:00:00Z",
                &["2026-03-08T07:00Z", "2026-03-09T06:30Z"],
            ),
            (
                "30 1 * * *",
                "America/New_York",
                "2026-10-31T12:00:00Z",
                &["2026-11-01T05:30Z", "2026-11-02T06:30Z"],
            ),
            // Lord Howe moves by half an hour.
            (
                "15 2 * * *",
                "Australia/Lord_Howe",
                "2026-10-02T20:00:00Z",
                &["2026-10-03T15:30Z", "2026-10-04T15:15Z"],
            ),
            // Samoa skipped 2011-12-30 altogether: its noon falls on the next valid instant.
            (
                "0 12 * * *",
                "Pacific/Apia",
                "2011-12-29T12:00:00Z",
                &["2011-12-29T22:00Z", "2011-12-30T10:00Z", "2011-12-30T22:00Z"],
            ),
            // Kolkata has no daylight saving and half an hour's offset.
            ("0 0 * * *", "Asia/Kolkata", "2026-11-22T00:00:00Z", &["2026-11-22T18:30Z"]),
            // An hourly schedule over a gap neither doubles nor misses the hour after it.
            (
                "0 * * * *",
                "Europe/Madrid",
                "2027-03-28T00:00:00Z",
                &["2027-03-28T01:00Z", "2027-03-28T02:00Z"],
            ),
        ];
        for (expression, zone, after, expected) in table {
            assert_eq!(fires(expression, zone, after, expected.len()), *expected, "{zone} {after}");
        }
    }

    #[test]
    fn weekdays_count_as_unix_counts_them() {
        // 2026-11-22 is a Sunday.
        for sunday in ["0", "7", "SUN", "sun"] {
            assert_eq!(
                fires(&format!("0 3 * * {sunday}"), "UTC", "2026-11-21T12:00:00Z", 1),
                ["2026-11-22T03:00Z"]
            );
        }
        assert_eq!(
            fires("0 3 * * 5-7", "UTC", "2026-11-18T12:00:00Z", 4),
            ["2026-11-20T03:00Z", "2026-11-21T03:00Z", "2026-11-22T03:00Z", "2026-11-27T03:00Z"]
        );
        assert_eq!(
            fires("0 3 * * 1-5/2", "UTC", "2026-11-22T12:00:00Z", 3),
            ["2026-11-23T03:00Z", "2026-11-25T03:00Z", "2026-11-27T03:00Z"]
        );
    }

    #[test]
    fn day_of_month_or_day_of_week_when_both_are_given() {
        assert_eq!(
            fires("0 0 1 * 1", "UTC", "2026-11-23T00:00:00Z", 3),
            ["2026-11-30T00:00Z", "2026-12-01T00:00Z", "2026-12-07T00:00Z"]
        );
    }

    #[test]
    fn over_ten_years_every_day_fires_once_in_every_zone() {
        for zone in ["Europe/Madrid", "America/Sao_Paulo", "Africa/Casablanca", "Asia/Tehran"] {
            let schedule = Schedule::parse("30 2 * * *", zone).unwrap();
            let start = "2026-01-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap();
            let days = 3652;
            let end = start + Duration::days(days);
            let count = schedule.upcoming(start).take_while(|at| *at <= end).count();
            assert_eq!(i64::try_from(count).unwrap(), days, "{zone}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_the_reason() {
        assert!(matches!(Schedule::parse("* * *", "UTC"), Err(InvalidSchedule::Fields(_, 3))));
        assert!(matches!(Schedule::parse("0 0 * * *", "Mars/X"), Err(InvalidSchedule::Zone(_))));
        // A step longer than the week names its first day.
        assert_eq!(
            fires(&format!("0 3 * * 1/{}", u32::MAX), "UTC", "2026-11-22T12:00:00Z", 2),
            ["2026-11-23T03:00Z", "2026-11-30T03:00Z"]
        );
        for bad in ["61 * * * *", "0 0 * * 8", "0 0 * * MOO", "0 0 32 * *"] {
            assert!(Schedule::parse(bad, "UTC").is_err(), "{bad}");
        }
        let never = Schedule::parse("0 0 30 2 *", "UTC").unwrap();
        assert_eq!(never.next_after(Utc::now()), None);
    }
}
