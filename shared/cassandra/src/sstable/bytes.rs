//! Reading big-endian fields from bytes that may be damaged: every length is checked against what
//! is left before it is used.

use std::io::{self, Read};

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FormatError(pub String);

impl FormatError {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// A result of reading bytes.
pub(crate) type Result<T> = std::result::Result<T, FormatError>;

/// A cursor over a slice.
#[derive(Debug, Clone)]
pub(crate) struct Bytes<'a> {
    left: &'a [u8],
}

impl<'a> Bytes<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    /// Bytes not read yet.
    pub(crate) fn left(&self) -> usize {
        self.left.len()
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, left) = self.left.split_at_checked(count).ok_or_else(|| {
            FormatError(format!("it ends {} bytes early", count.saturating_sub(self.left.len())))
        })?;
        self.left = left;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub(crate) fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// A non-negative i32, as Java writes counts and lengths.
    pub(crate) fn count(&mut self) -> Result<usize> {
        let count = self.i32()?;
        usize::try_from(count).map_err(|_| FormatError(format!("{count} is not a count")))
    }

    /// Skips `count` items of `size` bytes.
    pub(crate) fn skip(&mut self, count: usize, size: usize) -> Result<()> {
        let bytes = count.checked_mul(size).ok_or_else(|| FormatError::new("a count is absurd"))?;
        self.take(bytes).map(drop)
    }

    /// Bytes after their u16 length.
    pub(crate) fn short_bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    /// Text after its u16 length (Java's modified UTF-8, which for names is ASCII).
    pub(crate) fn short_text(&mut self) -> Result<&'a str> {
        text(self.short_bytes()?)
    }

    /// An unsigned vint: as many bytes follow the first as it has leading one bits.
    pub(crate) fn vint(&mut self) -> Result<u64> {
        let first = self.u8()?;
        let extra = first.leading_ones() as usize;
        // Eight leading ones leave no bits of the first byte, and shifting by 8 is not defined.
        let mut value = if extra >= 8 { 0 } else { u64::from(first) & (0xff >> extra) };
        for byte in self.take(extra)? {
            value = value << 8 | u64::from(*byte);
        }
        Ok(value)
    }

    /// Bytes after their vint length.
    pub(crate) fn vint_bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.vint()?;
        let length = usize::try_from(length).map_err(|_| FormatError::new("a length is absurd"))?;
        self.take(length)
    }

    /// Text after its vint length.
    pub(crate) fn vint_text(&mut self) -> Result<&'a str> {
        text(self.vint_bytes()?)
    }
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| FormatError::new("a name is not text"))
}

/// Fills a buffer of a size that has been bounded by the caller.
pub(crate) fn read_exact<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut buffer = [0; N];
    from.read_exact(&mut buffer)?;
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn vints_are_read_as_cassandra_writes_them() {
        let cases: [(&[u8], u64); 6] = [
            (&[0x00], 0),
            (&[0x7f], 127),
            (&[0x80, 0x80], 128),
            (&[0xc0, 0x40, 0x00], 0x4000),
            (&[0xfe, 1, 2, 3, 4, 5, 6, 7], 0x0001_0203_0405_0607),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], u64::MAX),
        ];
        for (bytes, value) in cases {
            assert_eq!(Bytes::new(bytes).vint(), Ok(value), "{bytes:02x?}");
        }
        assert!(Bytes::new(&[0xc0, 1]).vint().is_err());
    }

    proptest! {
        #[test]
        fn nothing_is_read_past_the_end(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            for read in [
                |b: &mut Bytes<'_>| b.vint_bytes().map(<[u8]>::len),
                |b: &mut Bytes<'_>| b.short_bytes().map(<[u8]>::len),
                |b: &mut Bytes<'_>| b.count(),
            ] {
                let mut cursor = Bytes::new(&bytes);
                let _ = read(&mut cursor);
                prop_assert!(cursor.left.len() <= bytes.len());
            }
        }
    }
}
