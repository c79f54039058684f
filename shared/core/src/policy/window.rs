//! When jobs of a policy may work: a daily span of local time, such as `22:00-06:00`.
//!
//! Whether an instant is inside is asked of its local wall time alone, which every instant has exactly
//! one of; so nothing is ambiguous when clocks are set forward or back: an hour that comes twice is
//! inside or outside both times, one that is skipped never comes.

use std::{fmt, str::FromStr};

use chrono::{DateTime, NaiveTime, Utc};
use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A daily span. Its end does not belong to it; an end that is not after the start is on the next day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Window {
    from: NaiveTime,
    until: NaiveTime,
}

/// The text is not a window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("window {0:?} is not HH:MM-HH:MM, such as 22:00-06:00, with two different times")]
pub struct InvalidWindow(pub String);

impl Window {
    /// Whether `at` is inside, by the clocks of `zone`.
    pub fn holds(self, at: DateTime<Utc>, zone: Tz) -> bool {
        let wall = at.with_timezone(&zone).time();
        if self.from < self.until {
            self.from <= wall && wall < self.until
        } else {
            self.from <= wall || wall < self.until
        }
    }
}

impl FromStr for Window {
    type Err = InvalidWindow;
    fn from_str(text: &str) -> Result<Self, InvalidWindow> {
        let invalid = || InvalidWindow(crate::text::excerpt(text));
        let time = |text: &str| {
            // chrono would take 7:5 too, and any white space.
            let is_digit = |(at, byte): (usize, u8)| at == 2 || byte.is_ascii_digit();
            let is_plain = text.len() == 5 && text.bytes().enumerate().all(is_digit);
            is_plain.then(|| NaiveTime::parse_from_str(text, "%H:%M").ok()).flatten()
        };
        let (from, until) = text.split_once('-').ok_or_else(invalid)?;
        let (from, until) = (time(from).ok_or_else(invalid)?, time(until).ok_or_else(invalid)?);
        if from == until { Err(invalid()) } else { Ok(Self { from, until }) }
    }
}

impl TryFrom<String> for Window {
    type Error = InvalidWindow;
    fn try_from(text: String) -> Result<Self, InvalidWindow> {
        text.parse()
    }
}

impl From<Window> for String {
    fn from(window: Window) -> Self {
        window.to_string()
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.from.format("%H:%M"), self.until.format("%H:%M"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_read_as_it_is_written() {
        for text in ["22:00-06:00", "00:00-23:59", "08:30-08:31"] {
            assert_eq!(text.parse::<Window>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "22:00",
            "22-06",
            "22:00-24:00",
            "22:00-22:00",
            "7:00-08:00",
            "22:00-06:00:00",
            "\u{c}2:00-06:00",
            "a-b",
        ] {
            assert!(bad.parse::<Window>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_instant_is_inside_by_the_local_clock() {
        // (window, zone, instant, inside)
        let table = [
            ("22:00-06:00", "UTC", "2026-11-23T22:00:00Z", true),
            ("22:00-06:00", "UTC", "2026-11-23T05:59:59Z", true),
            ("22:00-06:00", "UTC", "2026-11-23T06:00:00Z", false),
            ("22:00-06:00", "UTC", "2026-11-23T21:59:59Z", false),
            ("08:00-18:00", "UTC", "2026-11-23T08:00:00Z", true),
            ("08:00-18:00", "UTC", "2026-11-23T18:00:00Z", false),
            ("00:00-06:00", "Asia/Kolkata", "2026-11-22T18:30:00Z", true),
            ("00:00-06:00", "Asia/Kolkata", "2026-11-22T18:29:59Z", false),
            // Madrid skips 02:00-03:00 on 2027-03-28: the window loses that hour, and ends at 04:00 local.
            ("01:00-04:00", "Europe/Madrid", "2027-03-28T00:59:59Z", true),
            ("01:00-04:00", "Europe/Madrid", "2027-03-28T01:00:00Z", true),
            ("01:00-04:00", "Europe/Madrid", "2027-03-28T02:00:00Z", false),
            // A window that lies in the skipped hour does not come that day.
            ("02:00-03:00", "Europe/Madrid", "2027-03-28T00:59:59Z", false),
            ("02:00-03:00", "Europe/Madrid", "2027-03-28T01:00:00Z", false),
            // and repeats 02:00-03:00 on 2027-10-31: inside both times.
            ("02:00-03:00", "Europe/Madrid", "2027-10-31T00:30:00Z", true),
            ("02:00-03:00", "Europe/Madrid", "2027-10-31T01:30:00Z", true),
            ("02:00-03:00", "Europe/Madrid", "2027-10-31T02:00:00Z", false),
            ("03:00-02:30", "Europe/Madrid", "2027-10-31T00:45:00Z", false),
            ("03:00-02:30", "Europe/Madrid", "2027-10-31T01:15:00Z", true),
        ];
        for (window, zone, at, inside) in table {
            let (parsed, zone_): (Window, Tz) = (window.parse().unwrap(), zone.parse().unwrap());
            assert_eq!(parsed.holds(at.parse().unwrap(), zone_), inside, "{window} {zone} {at}");
        }
    }
}
