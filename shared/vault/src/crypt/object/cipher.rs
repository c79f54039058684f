//! The key of one object, and its blocks.
//!
//! Header, 88 bytes: `RVLTENC1`; id of the key it was sealed under (8); length of the content (8, big endian);
//! salt (32); commitment (32). From that key, salt and info, HKDF-SHA256 gives 64 bytes: the object's AES-256-GCM
//! key, and the commitment, which is compared before a block is opened. The info is `ringvault object v1`, a zero
//! byte, the vault's id (16), header and length again (24), and what the object is bound to: `d` for data, or
//! `k` and its place. A block's nonce is its number in 96 bits, big endian; there is no additional data, the
//! key being bound to all there is to say.
//!
//! The commitment makes sure that an object opens under one key only, and tells a header that was changed from a
//! block that was.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    constant_time,
};
use bytes::{Bytes, BytesMut};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    SealFault,
    shape::{HEADER_LEN, TAG, blocks, plain_len, plain_start, stored_size},
};
use crate::crypt::secret::{KeyId, NoRandomness, SecretKey, derive, fill_random};

const MAGIC: &[u8; 8] = b"RVLTENC1";
const INFO: &[u8] = b"ringvault object v1\0";
/// Magic, key id and length.
const BOUND: usize = 24;
const SALT: usize = 32;

/// What an object is bound to besides its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound<'a> {
    /// Data of this vault, wherever it lies.
    Data(Uuid),
    /// A record of this vault at this place.
    Place(Uuid, &'a str),
}

/// The first bytes of a sealed object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    bytes: [u8; HEADER_LEN],
}

impl Header {
    /// Bytes of a header.
    pub(crate) const LEN: usize = HEADER_LEN;

    /// Reads the beginning of an object. Nothing in it is to be trusted before
    /// [`ObjectCipher::of`] has agreed.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, SealFault> {
        let bytes = bytes.get(..Self::LEN).and_then(|bytes| bytes.try_into().ok());
        match bytes.map(|bytes| Self { bytes }) {
            Some(header) if header.bytes.starts_with(MAGIC) => Ok(header),
            _ => Err(SealFault::NotSealed),
        }
    }

    /// The key that the object was sealed under.
    pub(crate) fn key_id(&self) -> KeyId {
        KeyId::from_bytes(self.field(8))
    }

    /// Bytes of the content.
    pub(crate) fn len(&self) -> u64 {
        u64::from_be_bytes(self.field(16))
    }

    pub(crate) const fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut field = [0; N];
        field.copy_from_slice(&self.bytes[at..at + N]);
        field
    }
}

/// Seals and opens the blocks of one object.
pub(crate) struct ObjectCipher {
    key: LessSafeKey,
    len: u64,
}

impl std::fmt::Debug for ObjectCipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ObjectCipher({} bytes)", self.len)
    }
}

impl ObjectCipher {
    /// For a new object of `len` bytes, with a salt that is drawn for it.
    pub(crate) fn create(
        secret: &SecretKey,
        bound: Bound<'_>,
        len: u64,
    ) -> Result<(Self, Header), NoRandomness> {
        let mut bytes = [0; Header::LEN];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..16].copy_from_slice(secret.id().as_bytes());
        bytes[16..BOUND].copy_from_slice(&len.to_be_bytes());
        fill_random(&mut bytes[BOUND..BOUND + SALT])?;
        let derived = derived(secret, bound, &bytes);
        bytes[BOUND + SALT..].copy_from_slice(&derived[32..]);
        Ok((Self::from_key(&derived, len), Header { bytes }))
    }

    /// For the object that begins with `header`, and is bound to that.
    pub(crate) fn of(secret: &SecretKey, bound: Bound<'_>, header: &Header) -> Result<Self, SealFault> {
        let derived = derived(secret, bound, &header.bytes);
        constant_time::verify_slices_are_equal(&derived[32..], &header.bytes[BOUND + SALT..])
            .map_err(|_| SealFault::Header)?;
        Ok(Self::from_key(&derived, header.len()))
    }

    fn from_key(derived: &Zeroizing<[u8; 64]>, len: u64) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, &derived[..32]).expect("AES-256 takes 32 bytes");
        Self { key: LessSafeKey::new(key), len }
    }

    /// Bytes of the content.
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// Seals the blocks from `first` on, whose plain bytes are `plain`, into the beginning of `out`, which has room for
    /// them and their tags. Returns how many bytes they are.
    pub(crate) fn seal(&self, first: u64, mut plain: &[u8], out: &mut [u8]) -> usize {
        let (mut block, mut end) = (first, 0);
        loop {
            let len = usize::try_from(plain_len(block, self.len)).unwrap_or(usize::MAX).min(plain.len());
            let (content, rest) = plain.split_at(len);
            let (sealed, behind) = out[end..].split_at_mut(len);
            sealed.copy_from_slice(content);
            let tag = self.key.seal_in_place_separate_tag(nonce(block), Aad::empty(), sealed);
            // It refuses only more than 64 GiB at once.
            let tag = tag.expect("a block is of 64 KiB");
            behind[..tag.as_ref().len()].copy_from_slice(tag.as_ref());
            end += len + tag.as_ref().len();
            plain = rest;
            block += 1;
            if plain.is_empty() {
                return end;
            }
        }
    }

    /// Opens a block in its place; `sealed` ends with its tag. What is left of it is plain.
    pub(crate) fn open(&self, block: u64, sealed: &mut BytesMut) -> Result<(), SealFault> {
        let opened = self.key.open_in_place(nonce(block), Aad::empty(), sealed);
        let len = opened.map_err(|_| SealFault::Block(block))?.len();
        sealed.truncate(len);
        Ok(())
    }
}

fn derived(secret: &SecretKey, bound: Bound<'_>, header: &[u8; Header::LEN]) -> Zeroizing<[u8; 64]> {
    let (vault, kind, place) = match bound {
        Bound::Data(vault) => (vault, b"d", ""),
        Bound::Place(vault, place) => (vault, b"k", place),
    };
    let info = [INFO, vault.as_bytes().as_slice(), &header[..BOUND], kind, place.as_bytes()];
    derive(secret.expose(), &header[BOUND..BOUND + SALT], &info)
}

fn nonce(block: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&block.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

/// Seals a content that is in memory.
pub(crate) fn seal_whole(secret: &SecretKey, bound: Bound<'_>, plain: &[u8]) -> Result<Bytes, NoRandomness> {
    let len = plain.len() as u64;
    let (cipher, header) = ObjectCipher::create(secret, bound, len)?;
    let mut out = vec![0; usize::try_from(stored_size(len)).unwrap_or_default()];
    let (head, blocks) = out.split_at_mut(header.as_bytes().len());
    head.copy_from_slice(header.as_bytes());
    cipher.seal(0, plain, blocks);
    Ok(out.into())
}

/// Opens an object that is in memory.
pub(crate) fn open_whole(
    secret: &SecretKey,
    bound: Bound<'_>,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealFault> {
    let header = Header::read(sealed)?;
    if header.key_id() != secret.id() {
        return Err(SealFault::Header);
    }
    let cipher = ObjectCipher::of(secret, bound, &header)?;
    let (found, expected) = (sealed.len() as u64, stored_size(header.len()));
    if found < expected {
        return Err(SealFault::Short { found, expected });
    }
    if found > expected {
        return Err(SealFault::Long(expected));
    }
    let mut plain = Zeroizing::new(Vec::with_capacity(sealed.len()));
    let mut rest = &sealed[Header::LEN..];
    for block in 0..blocks(header.len()) {
        debug_assert_eq!(plain.len() as u64, plain_start(block));
        let len = usize::try_from(plain_len(block, header.len()) + TAG).unwrap_or(usize::MAX);
        let (sealed, behind) = rest.split_at(len.min(rest.len()));
        let mut sealed = BytesMut::from(sealed);
        cipher.open(block, &mut sealed)?;
        plain.extend_from_slice(&sealed);
        rest = behind;
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::crypt::object::shape::BLOCK;

    fn key(seed: u8) -> SecretKey {
        SecretKey::new(&[seed; 32])
    }

    fn data() -> Bound<'static> {
        Bound::Data(Uuid::from_u128(1))
    }

    fn content(len: usize) -> Vec<u8> {
        (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_sealed_opens_and_no_changed_byte_does(
            len in prop_oneof![0..300usize, 65_400..65_600usize, 130_900..131_200usize],
            at in any::<prop::sample::Index>(),
            bit in 0..8u8,
        ) {
            let plain = content(len);
            let sealed = seal_whole(&key(1), data(), &plain).unwrap();
            prop_assert_eq!(sealed.len() as u64, stored_size(len as u64));
            prop_assert_eq!(&*open_whole(&key(1), data(), &sealed).unwrap(), &plain);
            let mut changed = sealed.to_vec();
            changed[at.index(sealed.len())] ^= 1 << bit;
            prop_assert!(open_whole(&key(1), data(), &changed).is_err());
            prop_assert!(open_whole(&key(1), data(), &sealed[..at.index(sealed.len())]).is_err());
            let mut longer = sealed.to_vec();
            longer.push(0);
            prop_assert!(open_whole(&key(1), data(), &longer).is_err());
        }
    }

    #[test]
    fn it_opens_under_its_own_key_in_its_own_vault_and_at_its_own_place_only() {
        let vault = Uuid::from_u128(1);
        let here = Bound::Place(vault, "clusters/c/a");
        let sealed = seal_whole(&key(1), here, b"record").unwrap();
        assert_eq!(&open_whole(&key(1), here, &sealed).unwrap()[..], b"record");
        for (key, bound) in [
            (key(2), here),
            (key(1), Bound::Place(vault, "clusters/c/b")),
            (key(1), Bound::Place(Uuid::from_u128(2), "clusters/c/a")),
            (key(1), Bound::Data(vault)),
        ] {
            assert_eq!(open_whole(&key, bound, &sealed), Err(SealFault::Header), "{bound:?}");
        }
        assert_eq!(open_whole(&key(1), here, b"{\"plain\": true}"), Err(SealFault::NotSealed));
    }

    #[test]
    fn blocks_that_change_places_or_come_from_another_object_are_found() {
        let plain = content(4 * 65_536);
        let blocks = |seed: u8| seal_whole(&key(seed), data(), &plain).unwrap().to_vec();
        let (one, other) = (blocks(1), blocks(1));
        assert_ne!(one, other, "every object has a salt of its own");
        let block = |n: usize| n * usize::try_from(BLOCK).unwrap()..(n + 1) * usize::try_from(BLOCK).unwrap();
        let mut swapped = one.clone();
        swapped.copy_within(block(2), block(1).start);
        swapped[block(2)].copy_from_slice(&one[block(1)]);
        assert_eq!(open_whole(&key(1), data(), &swapped), Err(SealFault::Block(1)));
        let mut mixed = one;
        mixed[block(2)].copy_from_slice(&other[block(2)]);
        assert_eq!(open_whole(&key(1), data(), &mixed), Err(SealFault::Block(2)));
    }

    /// Frozen: what was once sealed must open for ever.
    #[test]
    fn an_object_of_the_first_release_opens() {
        let sealed = hex::decode(include_str!("../../../fixtures/sealed-object.hex").trim()).unwrap();
        let bound = Bound::Place(Uuid::from_u128(7), "clusters/c/backups/b/start.json");
        assert_eq!(&open_whole(&key(9), bound, &sealed).unwrap()[..], b"{\"frozen\": true}\n");
    }
}
