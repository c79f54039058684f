//! Decompresses, never more at once than [`STEP`], whatever the stored bytes say.

use bytes::{Buf as _, Bytes};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use zstd::{
    stream::raw::{Decoder as Zstd, InBuffer, Operation as _, OutBuffer},
    zstd_safe::DParameter,
};

use super::{CompressFault, FRAME};
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

    /// Whether everything has come.
    pub(crate) const fn end(&self) -> Result<(), CompressFault> {
        if self.left == 0 { Ok(()) } else { Err(CompressFault::Short(self.left)) }
    }
}

struct State {
    stored: ByteStream,
    decoder: Decoder,
    piece: Bytes,
    /// Plain bytes before what is wanted.
    skip: u64,
    /// Plain bytes that are still wanted.
    take: u64,
    /// Whether what comes behind them is read too.
    whole: bool,
}

/// Plain bytes of frames that hold `plain` bytes: `take` of them behind the first `skip`. What is not as it should be ends the
/// stream as an object of this key that is damaged (`Integrity`).
pub(crate) fn decoded(
    stored: ByteStream,
    key: &str,
    plain: u64,
    (skip, take): (u64, u64),
) -> StoreResult<ByteStream> {
    let damaged = |key: &str, fault: &CompressFault| {
        StoreError::new(StoreErrorKind::Integrity, "GetObject", key, fault.to_string())
    };
    let decoder = Decoder::new(plain).map_err(|fault| damaged(key, &fault))?;
    let whole = skip == 0 && take == plain;
    let state = State { stored, decoder, piece: Bytes::new(), skip, take, whole };
    let key = key.to_owned();
    let pieces = stream::try_unfold(state, move |mut state| {
        let key = key.clone();
        async move {
            loop {
                if state.take == 0 && !state.whole {
                    return Ok(None);
                }
                match state.decoder.next(&mut state.piece).map_err(|fault| damaged(&key, &fault))? {
                    Some(mut plain) => {
                        let skipped = usize::try_from(state.skip).unwrap_or(usize::MAX).min(plain.len());
                        plain.advance(skipped);
                        state.skip -= skipped as u64;
                        plain.truncate(usize::try_from(state.take).unwrap_or(usize::MAX));
                        state.take -= plain.len() as u64;
                        if !plain.is_empty() {
                            return Ok(Some((plain, state)));
                        }
                    }
                    None => match state.stored.try_next().await? {
                        Some(piece) => state.piece = piece,
                        None if state.take == 0 => return Ok(None),
                        None => return Err(damaged(&key, &CompressFault::Short(state.take))),
                    },
                }
            }
        }
    });
    Ok(pieces.boxed())
}
