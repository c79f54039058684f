//! Lines of compressed lists that come from the vault: read one by one, none longer than is sensible, with
//! no more memory for the decompressor than is sensible either; so a list that lies cannot fill the memory.

use std::io::{self, BufRead, BufReader, Read};

/// Largest window a frame may ask the decompressor for, as a power of two: 8 MiB.
const MAX_WINDOW_LOG: u32 = 23;
/// Longest line of a list, in bytes: a key and a few numbers.
const MAX_LINE: u64 = 64 << 10;

/// A decompressor that takes no more memory than is sensible, whatever a frame asks for.
pub(crate) fn decoder<R: Read>(compressed: R) -> io::Result<zstd::Decoder<'static, BufReader<R>>> {
    let mut decoder = zstd::Decoder::new(compressed)?;
    decoder.window_log_max(MAX_WINDOW_LOG)?;
    Ok(decoder)
}

/// The lines of a zstd frame, as far as `limit` plain bytes.
pub(crate) struct Lines<R: Read> {
    plain: io::Take<BufReader<zstd::Decoder<'static, BufReader<R>>>>,
    buffer: Vec<u8>,
}

impl<R: Read> Lines<R> {
    pub(crate) fn of(compressed: R, limit: u64) -> io::Result<Self> {
        Ok(Self { plain: BufReader::new(decoder(compressed)?).take(limit), buffer: Vec::new() })
    }

    /// The next line, without its end; `None` behind the last one.
    pub(crate) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.buffer.clear();
        (&mut self.plain).take(MAX_LINE).read_until(b'\n', &mut self.buffer)?;
        match self.buffer.split_last() {
            None => Ok(None),
            Some((b'\n', line)) => Ok(Some(line)),
            Some(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long or cut short")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_one_by_one_and_endless_ones_are_refused() {
        let packed = |text: &[u8]| zstd::encode_all(text, 3).unwrap();
        let text = packed(b"a\n\nb\n");
        let mut lines = Lines::of(&text[..], 100).unwrap();
        assert_eq!(lines.next().unwrap(), Some(&b"a"[..]));
        assert_eq!(lines.next().unwrap(), Some(&b""[..]));
        assert_eq!(lines.next().unwrap(), Some(&b"b"[..]));
        assert_eq!(lines.next().unwrap(), None);
        for bad in [packed(b"cut short"), packed(&vec![b'x'; 1 << 20])] {
            assert!(Lines::of(&bad[..], u64::MAX).unwrap().next().is_err());
        }
        let long = packed(&b"0123456789\n".repeat(20));
        let mut lines = Lines::of(&long[..], 105).unwrap();
        assert!((0..20).any(|_| lines.next().is_err()), "the limit cuts a line");
    }
}
