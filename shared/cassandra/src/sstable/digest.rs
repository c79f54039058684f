//! Digest.crc32: the CRC-32 of the whole Data.db as decimal digits. It says nothing of the other
//! components.

use std::{io::Read, path::Path};

use super::{SstableError, bytes::FormatError};

/// The checksum that the file's content says.
pub fn parse_digest(content: &[u8]) -> Result<u32, FormatError> {
    std::str::from_utf8(content)
        .ok()
        .map(str::trim)
        .filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| FormatError::new("it does not hold a checksum"))
}

/// Reads a Digest.crc32.
pub fn read_digest(path: &Path) -> Result<u32, SstableError> {
    let mut content = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(64).read_to_end(&mut content))
        .map_err(|error| SstableError::io(path, error))?;
    parse_digest(&content).map_err(|error| SstableError::damaged(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_32_bit_number_is_a_checksum() {
        assert_eq!(parse_digest(b"4294967295"), Ok(u32::MAX));
        for bad in [&b""[..], b"-1", b"+1", b"4294967296", b"1x", b"\xff"] {
            assert!(parse_digest(bad).is_err(), "{bad:?}");
        }
    }
}
