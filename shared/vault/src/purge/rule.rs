//! What a backup is to purge `n`: pure.

use crate::backup::{BackupEntry, SealPlace};

/// What a backup is to a purge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// What it names stays.
    Living,
    /// Not sealed: it counts for nothing, and is waited for if it was begun before the intent.
    Unsealed,
    /// Its folder is looked through: what no living backup names goes.
    Expired,
    /// Its folder goes whole.
    Dead,
    /// A later purge has taken it away: none of this purge's business.
    GoneLater,
}

impl Standing {
    /// Whether objects in its folder may go.
    pub const fn may_go(self) -> bool {
        matches!(self, Self::Expired | Self::Dead)
    }
}

/// What `backup` is to purge `n`.
pub fn standing(backup: &BackupEntry, n: u64) -> Standing {
    match &backup.place {
        SealPlace::Empty => Standing::Unsealed,
        SealPlace::Aborted(_) => Standing::Dead,
        SealPlace::Tombstone(stone) if stone.purge <= n => Standing::Expired,
        SealPlace::Tombstone(_) => Standing::GoneLater,
        SealPlace::Sealed(_) if backup.expired_by.is_some_and(|purge| purge <= n) => Standing::Expired,
        SealPlace::Sealed(_) => Standing::Living,
    }
}
