//! Sizes as people write and read them: IEC units.

/// Text that is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a size: write bytes, or a number with KiB, MiB, GiB or TiB")]
pub struct InvalidSize(pub String);

const UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Reads `100MiB`, `1.5 GiB` or `4096` as bytes.
pub fn parse_size(text: &str) -> Result<u64, InvalidSize> {
    let bad = || InvalidSize(crate::text::excerpt(text));
    let trimmed = text.trim();
    let split = trimmed.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(split);
    let factor = if unit.is_empty() {
        1
    } else {
        UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(bad)?.1
    };
    let number = number.trim();
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor).ok_or_else(bad);
    }
    let value: f64 = number.parse().map_err(|_| bad())?;
    #[allow(clippy::cast_precision_loss)] // a fraction of a unit is not meant to the byte
    let bytes = value * factor as f64;
    if !(0.0..9.0e18).contains(&bytes) {
        return Err(bad());
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // checked above
    Ok(bytes as u64)
}

/// Writes bytes as `4.12 TiB`, `38 GiB`, `812 B`: three digits.
pub fn format_size(bytes: u64) -> String {
    let (unit, factor) = UNITS.into_iter().find(|(_, factor)| bytes >= *factor).unwrap_or(("B", 1));
    #[allow(clippy::cast_precision_loss)] // three digits are shown
    let value = bytes as f64 / factor as f64;
    if factor == 1 || value >= 100.0 {
        format!("{value:.0} {unit}")
    } else if value >= 10.0 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.2} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes) in
            [("0", 0), ("4096", 4096), ("100MiB", 104_857_600), ("1.5 GiB", 1_610_612_736), ("7 b", 7)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "x", "10MB", "-1", "1e30 TiB", "99999999TiB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        for (bytes, text) in [(0, "0 B"), (812, "812 B"), (1024, "1.00 KiB"), (40_802_189_312, "38.0 GiB")] {
            assert_eq!(format_size(bytes), text);
        }
    }
}
