//! Purges: how objects leave the vault, and why none leaves that a backup still needs.
//!
//! **The protocol.** A backup (1) creates its `start.json`, (2) then reads the purge intents, and
//! (3) reuses only what a sealed backup names that none of them expires. Purge `n` (1) creates its
//! intent, (2) then reads the starts, and waits until each that was not sealed is sealed or dead,
//! (3) condemns, (4) deletes what it condemned, (5) turns the expired seals into tombstones.
//!
//! **What is condemned.** Of the objects in the `data/` folders of the backups that purges up to `n`
//! expire, and of dead backups: those that no living backup names. Living is every other sealed
//! backup, those that later purges expire too. That is also all that the expired backups alone name:
//! a backup names objects of its own folder, and objects of folders of backups that were sealed
//! before it; an object in the folder of a living backup is named by that one, which brought it. So
//! the expired manifests need not be read, their damage does not matter, and what a worker left
//! behind that no manifest names goes too.
//!
//! **Why nothing needed goes.** Let a backup B name an object X that purge `n` condemns. B is not
//! living when `n` reads the seals, so B was not sealed then. If `n` saw B's start, it waited for B's
//! seal. If it did not, B's start came after `n`'s intent, so B read that intent, and reused X from a
//! sealed backup S that no purge up to `n` expires. If S is living for `n`, X is not condemned. If S
//! was sealed only after `n` read the seals, the same holds of S in B's place, and so on back to the
//! folder that X lies in, which is not one of those that `n` lists. If S is a tombstone already, of a
//! later purge, that purge waited for B; so B was sealed before the tombstone, and `n`, which reads
//! the seals once more whenever it meets a new tombstone, has read B's seal.
//!
//! A backup whose records are damaged counts as living, and every manifest in its folder counts: it has
//! been sealed, or is dead, or its start is damaged and it is waited for; in each case what it may name
//! stays.

mod finish;
mod intent;
mod list;
mod mark;
mod rule;
mod survey;
mod sweep;

use ringvault_core::{BackupName, task::MarkResult};

pub use finish::PurgeRecord;
pub use list::check_condemned;
pub use rule::{Standing, standing};
pub use survey::PurgePreview;

/// The number of a purge that had nothing to do, and has no intent; intents are counted from 1.
pub const NOTHING: u64 = 0;

/// What became of a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MarkOutcome {
    /// The intent stands; backups that were running then are neither sealed nor dead yet. To be
    /// tried again.
    Waiting {
        /// The purge's number.
        purge: u64,
        /// The backups.
        on: Vec<BackupName>,
    },
    /// What goes is written down.
    Condemned(MarkResult),
}
