//! Sizes, durations and times as people read them.

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use chrono_tz::Tz;

pub(crate) use ringvault_core::size::format_size as size;

/// What stands where there is nothing to say.
pub(crate) const NONE: &str = "-";

/// A duration in its two largest units: `45s`, `14m 05s`, `6h 04m`, `27h 11m`, `9d 03h`.
/// Hours go on to 48, because a backup that is a day late is read in hours.
pub(crate) fn duration(span: Duration) -> String {
    let seconds = span.num_seconds().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    if minutes == 0 {
        format!("{seconds}s")
    } else if hours == 0 {
        format!("{minutes}m {:02}s", seconds % 60)
    } else if hours < 48 {
        format!("{hours}h {:02}m", minutes % 60)
    } else {
        format!("{days}d {:02}h", hours % 24)
    }
}

/// A duration in its largest unit alone: `45s`, `14m`, `6h`, `9d`.
pub(crate) fn rough(span: Duration) -> String {
    let seconds = span.num_seconds().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// How long ago, roughly; nothing is `-`.
pub(crate) fn ago(now: DateTime<Utc>, then: Option<DateTime<Utc>>) -> String {
    then.map_or_else(|| NONE.to_owned(), |then| rough(now - then))
}

/// An instant to the second: UTC with `Z`, another zone with its offset.
pub(crate) fn time(at: DateTime<Utc>, zone: Tz) -> String {
    if zone == Tz::UTC {
        at.to_rfc3339_opts(SecondsFormat::Secs, true)
    } else {
        at.with_timezone(&zone).to_rfc3339_opts(SecondsFormat::Secs, false)
    }
}

/// `1 node`, `3 nodes`.
pub(crate) fn count(number: impl Into<u64>, thing: &str) -> String {
    let number = number.into();
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// Done of total in percent, floored, so that 100 means all; `None` when the total is unknown.
pub(crate) fn percent(done: u64, total: u64) -> Option<u8> {
    let share = u128::from(done.min(total)) * 100;
    share.checked_div(u128::from(total)).and_then(|percent| u8::try_from(percent).ok())
}

/// `23.4/38.1 GiB`: both in the unit of the total.
pub(crate) fn size_of(done: u64, total: u64) -> String {
    let whole = size(total);
    let (number, unit) = whole.split_once(' ').unwrap_or((&whole, "B"));
    let factor: u64 = match unit {
        "TiB" => 1 << 40,
        "GiB" => 1 << 30,
        "MiB" => 1 << 20,
        "KiB" => 1 << 10,
        _ => return format!("{done}/{number} {unit}"),
    };
    let decimals = number.split_once('.').map_or(0, |(_, rest)| rest.len());
    #[allow(clippy::cast_precision_loss)] // three digits are shown
    let part = done as f64 / factor as f64;
    format!("{part:.decimals$}/{number} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_two_units_or_one() {
        let table = [
            (-3, "0s", "0s"),
            (45, "45s", "45s"),
            (845, "14m 05s", "14m"),
            (21_840, "6h 04m", "6h"),
            (97_860, "27h 11m", "27h"),
            (788_400, "9d 03h", "9d"),
        ];
        for (seconds, long, short) in table {
            let span = Duration::seconds(seconds);
            assert_eq!(duration(span), long);
            assert_eq!(rough(span), short);
        }
    }

    #[test]
    fn times_are_utc_unless_a_zone_is_asked_for() {
        let at: DateTime<Utc> = "2026-11-22T02:00:00.123Z".parse().unwrap();
        assert_eq!(time(at, Tz::UTC), "2026-11-22T02:00:00Z");
        assert_eq!(time(at, Tz::Europe__Madrid), "2026-11-22T03:00:00+01:00");
    }

    #[test]
    fn a_part_is_written_in_the_unit_of_the_whole() {
        assert_eq!(size_of(25_125_558_682, 40_909_563_494), "23.4/38.1 GiB");
        assert_eq!(size_of(512, 1024), "0.50/1.00 KiB");
        assert_eq!(size_of(3, 812), "3/812 B");
        assert_eq!(size_of(0, 0), "0/0 B");
    }

    #[test]
    fn a_hundred_percent_means_all() {
        assert_eq!(percent(999, 1000), Some(99));
        assert_eq!(percent(1000, 1000), Some(100));
        assert_eq!(percent(0, 0), None);
        assert_eq!(percent(u64::MAX, u64::MAX), Some(100));
    }
}
