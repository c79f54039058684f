//! Durations as people write and read them: `35d` stays `35d`.
//!
//! They are read as humantime reads them (`90m`, `1h 30m`, `2 months`). It would write 35 days as
//! `1month 4days 13h 26m 24s`; here it is one number where one is exact. For `#[serde(with = "crate::lasting")]`.

use std::time::Duration;

use serde::{Deserializer, Serializer};

/// Units, the largest first: name, seconds, and the least number that is written in it (`24h`, not `1d`). Years and
/// months are humantime's, of 365.25 and 30.44 days.
const UNITS: [(&str, u64, u64); 6] = [
    ("y", 31_557_600, 1),
    ("months", 2_630_016, 2),
    ("d", 86_400, 2),
    ("h", 3_600, 1),
    ("m", 60, 1),
    ("s", 1, 0),
];

/// A duration in words that are read as the same.
pub fn lasting(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let fits =
        |(_, unit, least): &&(&str, u64, u64)| seconds.is_multiple_of(*unit) && seconds / unit >= *least;
    match UNITS.iter().find(fits) {
        Some((name, unit, _)) if duration.subsec_nanos() == 0 => format!("{}{name}", seconds / unit),
        _ => humantime::format_duration(duration).to_string(),
    }
}

/// # Errors
/// The serializer's.
#[allow(clippy::ref_option)] // what serde calls
pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => serializer.serialize_str(&lasting(*duration)),
        None => serializer.serialize_none(),
    }
}

/// # Errors
/// Text that is no duration.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    humantime_serde::deserialize(deserializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_comes_back() {
        for text in ["35d", "400d", "24h", "36h", "2d", "90m", "1m", "1y", "7y", "6months", "0s", "61s", "8d"]
        {
            assert_eq!(lasting(humantime::parse_duration(text).unwrap()), text);
        }
        for (text, said) in [("8w", "56d"), ("1h 30m", "90m"), ("1500ms", "1s 500ms")] {
            assert_eq!(lasting(humantime::parse_duration(text).unwrap()), said);
        }
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        for seconds in (0..4_000).chain((0..40_000).map(|hours| hours * 3_600)) {
            let duration = Duration::from_secs(seconds);
            assert_eq!(humantime::parse_duration(&lasting(duration)).unwrap(), duration, "{seconds}");
        }
    }
}
