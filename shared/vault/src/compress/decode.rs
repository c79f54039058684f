//! Decompresses, never more at once than [`STEP`], whatever the stored bytes say.

use bytes::{Buf as _, Bytes};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use zstd::{
    stream::raw::{Decoder as Zstd, InBuffer, Operation as _, OutBuffer},
    zstd_safe::DParameter,
};

use super::{CompressFault, FRAME, Tail};
use crate::store::{ByteStream, StoreError, StoreErrorKind, StoreResult};

/// Most bytes that come of one step.
const STEP: usize = 128 << 10;
/// Largest window that a frame may ask for, as a power of two: that of a frame made here is no more than its length.
const MAX_WINDOW_LOG: u32 = FRAME.ilog2();

/// Decompresses a row of frames as they come.
pub(crate) struct Decoder {
    zstd: Zstd<'static>,
    /// Plain bytes that are still to come.
    left: u64,
    expected: u64,
    /// The last step filled its room, so there may be more without anything coming.
    more: bool,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").field("left", &self.left).finish_non_exhaustive()
    }
}

fn fault(error: &std::io::Error) -> CompressFault {
    CompressFault::Zstd(error.to_string())
}

impl Decoder {
    /// Of frames that hold `plain` bytes.
    pub(crate) fn new(plain: u64) -> Result<Self, CompressFault> {
        let mut zstd = Zstd::new().map_err(|error| fault(&error))?;
        zstd.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG)).map_err(|error| fault(&error))?;
        Ok(Self { zstd, left: plain, expected: plain, more: false })
    }

    /// The next plain bytes, of what is taken from the front of `stored`; `None` once all of that is taken.
    pub(crate) fn next(&mut self, stored: &mut Bytes) -> Result<Option<Bytes>, CompressFault> {
        while self.more || !stored.is_empty() {
            // One more than may come, so that too much shows.
            let mut room = vec![0; usize::try_from(self.left).unwrap_or(STEP).saturating_add(1).min(STEP)];
            let mut input = InBuffer::around(stored);
            let mut output = OutBuffer::around(room.as_mut_slice());
            self.zstd.run(&mut input, &mut output).map_err(|error| fault(&error))?;
            let (taken, made) = (input.pos(), output.pos());
            stored.advance(taken);
            self.more = made == room.len();
            if made > 0 {
                self.left = self.left.checked_sub(made as u64).ok_or(CompressFault::Long(self.expected))?;
                room.truncate(made);
                return Ok(Some(room.into()));
            }
        }
        Ok(None)
    }

    /// Adds the next plain bytes to those of a `frame`, until all of that frame is there and agrees with its checksum:
    /// `true`. `false`: more of `stored` is needed.
    fn complete(&mut self, stored: &mut Bytes, frame: &mut Vec<u8>) -> Result<bool, CompressFault> {
        let most = usize::try_from(FRAME).unwrap_or(usize::MAX);
        while self.more || !stored.is_empty() {
            let begin = frame.len();
            frame.resize(most + 1, 0);
            let mut input = InBuffer::around(stored);
            let mut output = OutBuffer::around(&mut frame[begin..]);
            let hint = self.zstd.run(&mut input, &mut output).map_err(|error| fault(&error))?;
            let (taken, made) = (input.pos(), output.pos());
            stored.advance(taken);
            frame.truncate(begin + made);
            if frame.len() > most {
                return Err(CompressFault::Long(FRAME));
            }
            self.left = self.left.checked_sub(made as u64).ok_or(CompressFault::Long(self.expected))?;
            self.more = false;
            if hint == 0 && !frame.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether everything has come.
    pub(crate) const fn end(&self) -> Result<(), CompressFault> {
        if self.left == 0 { Ok(()) } else { Err(CompressFault::Short(self.left)) }
    }
}

/// What is damaged in an object of this key.
pub(crate) fn damaged(key: &str, fault: &CompressFault) -> StoreError {
    StoreError::new(StoreErrorKind::Integrity, "GetObject", key, fault.to_string())
}

/// The content of `plain` bytes that is stored so, its seek table included. What is not as it should be ends the stream as an
/// object of this key that is damaged (`Integrity`).
pub(crate) fn decoded(stored: ByteStream, key: &str, plain: u64) -> StoreResult<ByteStream> {
    let decoder = Decoder::new(plain).map_err(|fault| damaged(key, &fault))?;
    let state = (stored, decoder, Bytes::new(), Tail::of(plain));
    let key = key.to_owned();
    let pieces = stream::try_unfold(state, move |(mut stored, mut decoder, mut piece, mut tail)| {
        let key = key.clone();
        async move {
            loop {
                let next = decoder.next(&mut piece).map_err(|fault| damaged(&key, &fault))?;
                if let Some(plain) = next {
                    return Ok(Some((plain, (stored, decoder, piece, tail))));
                }
                match stored.try_next().await? {
                    Some(more) => {
                        tail.take(&more);
                        piece = more;
                    }
                    None => {
                        let ended = decoder.end().and_then(|()| tail.check());
                        return ended.map(|()| None).map_err(|fault| damaged(&key, &fault));
                    }
                }
            }
        }
    });
    Ok(pieces.boxed())
}

struct State {
    stored: ByteStream,
    decoder: Decoder,
    piece: Bytes,
    /// Of the frame under way.
    frame: Vec<u8>,
    /// Plain bytes before what is wanted.
    skip: u64,
    /// Plain bytes that are still wanted.
    take: u64,
}

/// Of frames that hold `plain` bytes, `take` of these behind the first `skip`. Nothing is handed out before all of its
/// frame agrees with the frame's checksum. Errors as of [`decoded`].
pub(crate) fn decoded_part(
    stored: ByteStream,
    key: &str,
    plain: u64,
    (skip, take): (u64, u64),
) -> StoreResult<ByteStream> {
    let decoder = Decoder::new(plain).map_err(|fault| damaged(key, &fault))?;
    let state = State { stored, decoder, piece: Bytes::new(), frame: Vec::new(), skip, take };
    let key = key.to_owned();
    let pieces = stream::try_unfold(state, move |mut state| {
        let key = key.clone();
        async move {
            while state.take > 0 {
                let whole = state.decoder.complete(&mut state.piece, &mut state.frame);
                if whole.map_err(|fault| damaged(&key, &fault))? {
                    let mut plain = Bytes::from(std::mem::take(&mut state.frame));
                    let skipped = usize::try_from(state.skip).unwrap_or(usize::MAX).min(plain.len());
                    plain.advance(skipped);
                    state.skip -= skipped as u64;
                    plain.truncate(usize::try_from(state.take).unwrap_or(usize::MAX));
                    state.take -= plain.len() as u64;
                    if !plain.is_empty() {
                        return Ok(Some((plain, state)));
                    }
                } else {
                    match state.stored.try_next().await? {
                        Some(piece) => state.piece = piece,
                        None => return Err(damaged(&key, &CompressFault::Short(state.take))),
                    }
                }
            }
            Ok(None)
        }
    });
    Ok(pieces.boxed())
}
