//! A sealed object: a header, then blocks.
//!
//! [`shape`] says which plain bytes lie where, from the length alone, so that parts of an upload are all of
//! one size and a range is fetched without asking first. [`cipher`] derives an object's key and seals and opens
//! its blocks. [`open`] turns the store's stream into the plain one.

mod cipher;
mod open;
mod shape;

pub(crate) use cipher::{Bound, Header, ObjectCipher, open_whole, seal_whole};
pub(crate) use open::{Opened, fetch_plan, open};
pub(crate) use shape::{BLOCK, part_len, stored_size};

/// Why sealed bytes cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SealFault {
    #[error("it is not sealed: written without encryption, or its first bytes are damaged")]
    NotSealed,
    #[error("its header is not the one that was written, or it was sealed for another place")]
    Header,
    #[error("its block {0} is not what was sealed there: changed, moved, or of another object")]
    Block(u64),
    #[error("it is cut short: it ends after {found} of {expected} bytes")]
    Short { found: u64, expected: u64 },
    #[error("it goes on behind its {0} bytes")]
    Long(u64),
}
