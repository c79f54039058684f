//! Packs: small files end to end in one object, so that an SSTable costs the store one or two
//! requests and not eight.
//!
//! A pack has no inner structure: a manifest names each part by offset and size, and knows its digest.
//! A part is alive while an unexpired backup names it, and the pack lies in the store as long as one
//! part is alive. So that waste ends, a pack whose live bytes have fallen below half is
//! [not worth reusing](is_worth_reusing): the next backup brings its live parts again, in a new pack,
//! and the old one goes with the last backup that names it. Waste is thus bounded by what the backups
//! kept would need anyway.

mod builder;
mod census;

pub use builder::{ClosedPack, PackBuilder, PackLimits};
pub use census::{PackCensus, is_worth_reusing};
