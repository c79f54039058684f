//! Sealing on the way to the store, and opening on the way from it.

use std::{
    collections::HashSet,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;
use tokio::task::spawn_blocking;

use super::{ByteStream, Store, StoreError, StoreErrorKind, StoreResult};
use crate::{
    crypt::{
        keyring::Keyring,
        object::{self, BLOCK, Header, ObjectCipher, Opened},
    },
    hash::HashKey,
    layout,
    piece::Piece,
};

/// Bodies of more bytes are sealed on a thread that may be busy.
const INLINE: usize = 128 << 10;

impl Store {
    /// The same store, with the keys of the vault in it.
    pub(crate) fn with_keys(mut self, keys: Option<Arc<Keyring>>) -> Self {
        self.1 = keys;
        self
    }

    /// The keys of the vault in it, if it is encrypted.
    pub(crate) fn keyring(&self) -> Option<&Keyring> {
        self.1.as_deref()
    }

    /// What contents are hashed with.
    pub fn hash_key(&self) -> HashKey {
        self.1.as_ref().map(|keys| keys.hash().clone()).unwrap_or_default()
    }

    /// Bytes that a content of `len` bytes has in the store under `key`: what a list and a head say.
    pub fn stored_size(&self, key: &str, len: u64) -> u64 {
        if self.sealing(key).is_some() { object::stored_size(len) } else { len }
    }

    /// Whether what is read at `key` is authenticated, every part of it.
    pub fn is_authentic(&self, key: &str) -> bool {
        self.sealing(key).is_some()
    }

    /// The keys, where objects at `key` are sealed.
    pub(super) fn sealing(&self, key: &str) -> Option<&Arc<Keyring>> {
        self.1.as_ref().filter(|_| layout::is_sealed(key))
    }

    /// A body as it is stored.
    pub(super) async fn seal(&self, key: &str, body: Bytes) -> StoreResult<Bytes> {
        let Some(keys) = self.sealing(key) else { return Ok(body) };
        let (cipher, header) = keys.seal(key, body.len() as u64)?;
        seal_blocks(Arc::new(cipher), Some(header), 0, body, key).await
    }

    /// Reads a sealed object, or bytes `range` of its content. Where these do not begin in its first block, the
    /// header is asked for at the same time.
    pub(super) async fn get_sealed(
        &self,
        keys: &Keyring,
        key: &str,
        range: Option<Range<u64>>,
    ) -> StoreResult<ByteStream> {
        if range.as_ref().is_some_and(Range::is_empty) {
            return Ok(Box::pin(futures::stream::empty()));
        }
        let plan = range.as_ref().map(object::fetch_plan);
        let (head, rest) = match plan {
            Some((stored, false)) => {
                let header = self.get_stored(key, Some(0..Header::LEN as u64));
                let (mut header, blocks) = tokio::try_join!(header, self.get_stored(key, Some(stored)))?;
                (take_header(&mut header).await?, blocks)
            }
            Some((stored, true)) => {
                let mut all = self.get_stored(key, Some(stored)).await?;
                (take_header(&mut all).await?, all)
            }
            None => {
                let mut all = self.get_stored(key, None).await?;
                (take_header(&mut all).await?, all)
            }
        };
        let mut head = head;
        let header = head.split_to(head.len().min(Header::LEN));
        let cipher = Arc::new(keys.open_object(key, &header).await?);
        object::open(Opened { key: key.to_owned(), cipher, head, rest }, range)
    }
}

/// Reads until the header is there, or the end.
async fn take_header(pieces: &mut ByteStream) -> StoreResult<BytesMut> {
    let mut head = BytesMut::new();
    while head.len() < Header::LEN {
        let Some(piece) = pieces.try_next().await? else { break };
        head.extend_from_slice(&piece);
    }
    Ok(head)
}

async fn seal_blocks(
    cipher: Arc<ObjectCipher>,
    header: Option<Header>,
    first: u64,
    body: Bytes,
    key: &str,
) -> StoreResult<Bytes> {
    let large = body.len() > INLINE;
    let seal = move || {
        // Tags and the header: less than a byte in two thousand.
        let mut out = Piece::with_room(body.len() + body.len() / 2048 + 256)?;
        out.push(header.as_ref().map(Header::as_bytes).unwrap_or_default())?;
        out.fill_with(|room| cipher.seal(first, &body, room));
        Ok(out.share())
    };
    let no_memory =
        |error: std::io::Error| StoreError::new(StoreErrorKind::Other, "PutObject", key, error.to_string());
    if !large {
        return seal().map_err(no_memory);
    }
    let sealed = spawn_blocking(seal).await;
    let sealed =
        sealed.map_err(|e| StoreError::new(StoreErrorKind::Other, "PutObject", key, e.to_string()))?;
    sealed.map_err(no_memory)
}

/// How a content is cut into the parts of an upload.
#[derive(Debug)]
pub(super) struct Parts {
    stored: u64,
    sealing: Option<Sealing>,
}

#[derive(Debug)]
struct Sealing {
    key: String,
    cipher: Arc<ObjectCipher>,
    header: Header,
    /// Parts that were sealed. Another content under the same number would be another under the same nonces.
    sent: Mutex<HashSet<u32>>,
}

impl Parts {
    /// Of a content of `size` bytes, in parts of `part_size` bytes as they are stored, up to a whole number of blocks.
    pub(super) fn of(keys: Option<&Arc<Keyring>>, key: &str, part_size: u64, size: u64) -> StoreResult<Self> {
        let Some(keys) = keys else { return Ok(Self::in_the_clear(part_size)) };
        let (cipher, header) = keys.seal(key, size)?;
        let sealing =
            Sealing { key: key.to_owned(), cipher: Arc::new(cipher), header, sent: Mutex::default() };
        Ok(Self { stored: part_size.next_multiple_of(BLOCK), sealing: Some(sealing) })
    }

    /// Of a content that is not sealed.
    pub(super) const fn in_the_clear(part_size: u64) -> Self {
        Self { stored: part_size, sealing: None }
    }

    /// Whether they are sealed.
    pub(super) const fn are_sealed(&self) -> bool {
        self.sealing.is_some()
    }

    /// Bytes of each part but the last, as it is stored.
    pub(super) const fn stored(&self) -> u64 {
        self.stored
    }

    /// Plain bytes of part `number`, if it is not the last.
    pub(super) const fn len(&self, number: u32) -> u64 {
        if self.sealing.is_some() { object::part_len(number, self.stored) } else { self.stored }
    }

    /// Bytes that a content of `size` bytes has once it is stored.
    pub(super) const fn stored_size(&self, size: u64) -> u64 {
        if self.sealing.is_some() { object::stored_size(size) } else { size }
    }

    /// A part as it is stored.
    pub(super) async fn seal(&self, number: u32, body: Bytes) -> StoreResult<Bytes> {
        let Some(sealing) = &self.sealing else { return Ok(body) };
        let refuse = |why: String| StoreError::new(StoreErrorKind::Invalid, "UploadPart", &sealing.key, why);
        let len = sealing.cipher.len();
        let before = match number {
            0 => return Err(refuse("parts are counted from 1".to_owned())),
            1 => 0,
            _ => self.len(1).saturating_add(u64::from(number - 2).saturating_mul(self.len(2))),
        };
        let expected = self.len(number).min(len.saturating_sub(before));
        if body.len() as u64 != expected || (expected == 0 && number > 1) {
            return Err(refuse(format!("part {number} has {} bytes, {expected} are expected", body.len())));
        }
        if !sealing.sent.lock().unwrap_or_else(PoisonError::into_inner).insert(number) {
            return Err(refuse(format!("part {number} was sealed already: begin the upload anew")));
        }
        let header = (number == 1).then(|| sealing.header.clone());
        let first = u64::from(number - 1) * (self.stored / BLOCK);
        seal_blocks(Arc::clone(&sealing.cipher), header, first, body, &sealing.key).await
    }
}
