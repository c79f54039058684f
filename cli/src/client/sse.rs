//! Server-sent events: the part of the format that a stream of JSON documents needs
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>): `data:` lines, joined by
//! line feeds, ended by an empty line; comments and other fields are skipped.

use std::time::Duration;

use futures::{Stream, StreamExt as _, stream::BoxStream};

/// No byte for this long, not even a comment: the connection is dead.
const SILENCE: Duration = Duration::from_mins(1);

/// An event longer than this is not one of ours.
const LONGEST: usize = 64 << 20;

/// The data of each event, in order.
pub(crate) struct Events {
    bytes: BoxStream<'static, Result<Vec<u8>, String>>,
    parser: Parser,
}

impl Events {
    pub(crate) fn new<B, E>(bytes: impl Stream<Item = Result<B, E>> + Send + 'static) -> Self
    where
        B: AsRef<[u8]>,
        E: std::fmt::Display,
    {
        let bytes =
            bytes.map(|chunk| chunk.map(|bytes| bytes.as_ref().to_vec()).map_err(|error| error.to_string()));
        Self { bytes: bytes.boxed(), parser: Parser::default() }
    }

    /// The next event's data; `None` when the stream has ended, for whatever reason.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(event) = self.parser.take() {
                return Some(event);
            }
            let chunk = tokio::time::timeout(SILENCE, self.bytes.next()).await.ok()??;
            self.parser.feed(&chunk.ok()?);
            if self.parser.pending.len() + self.parser.data.len() > LONGEST {
                return None;
            }
        }
    }
}

#[derive(Debug, Default)]
struct Parser {
    /// Bytes not yet made lines of.
    pending: Vec<u8>,
    /// How many of them are known to hold no line's end, so that none is looked at twice.
    seen: usize,
    /// Data of the event under way.
    data: String,
    /// Whole events.
    events: std::collections::VecDeque<String>,
}

impl Parser {
    fn feed(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        let pending = std::mem::take(&mut self.pending);
        let mut start = 0;
        let mut from = self.seen;
        while let Some(length) = pending[from..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&pending[start..from + length]);
            self.line(line.trim_end_matches('\r'));
            start = from + length + 1;
            from = start;
        }
        self.pending = if start == 0 { pending } else { pending[start..].to_vec() };
        self.seen = self.pending.len();
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            if !data.is_empty() {
                self.events.push_back(data);
            }
        } else if let Some(data) = line.strip_prefix("data:") {
            if !self.data.is_empty() {
                self.data.push('\n');
            }
            self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
        }
    }

    fn take(&mut self) -> Option<String> {
        self.events.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_event_in_small_pieces_is_read_in_time() {
        let mut parser = Parser::default();
        let piece = [b'x'; 1000];
        parser.feed(b"data:");
        for _ in 0..8_000 {
            parser.feed(&piece);
        }
        parser.feed(&b"\n".repeat(1_000_000));
        assert_eq!(parser.take().map(|event| event.len()), Some(8_000_000));
        assert_eq!(parser.take(), None);
    }

    #[test]
    fn events_are_found_wherever_the_chunks_are_cut() {
        let text = ": hello\r\nevent: progress\r\ndata: {\"a\":1,\r\ndata: \"é\":2}\r\n\r\n:\n\ndata:x\n\ndata: unfinished";
        for step in 1..text.len() {
            let mut parser = Parser::default();
            for chunk in text.as_bytes().chunks(step) {
                parser.feed(chunk);
            }
            assert_eq!(parser.take().as_deref(), Some("{\"a\":1,\n\"é\":2}"));
            assert_eq!(parser.take().as_deref(), Some("x"));
            assert_eq!(parser.take(), None, "an event without its end is none");
        }
    }
}
