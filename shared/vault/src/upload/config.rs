//! How an upload divides its work.

use serde::{Deserialize, Serialize};

use super::UploadError;
use crate::{
    pack::PackLimits,
    store::{MAX_PARTS, MIN_PART},
};

const MIB: u64 = 1 << 20;

/// Settings of the upload. Memory held at a time: about `parallel_parts × part_size`, plus one pack and
/// one run of small files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UploadConfig {
    /// Objects sent at the same time.
    pub parallel_files: usize,
    /// Parts of [`part_size`](Self::part_size) held in memory at the same time, over all objects.
    pub parallel_parts: u32,
    /// Bytes of a part of a large object. Larger for a file that would need more parts than a store
    /// takes; fewer parts are then held.
    pub part_size: u64,
    /// Files of fewer bytes go into packs.
    pub pack_threshold: u64,
    /// Bytes of a pack.
    pub pack_size: u64,
    /// Whether what shrinks by an eighth or more is stored compressed (zstd). Never what Cassandra has compressed.
    pub compression: bool,
}

impl Default for UploadConfig {
    fn default() -> Self {
        Self {
            parallel_files: 4,
            parallel_parts: 4,
            part_size: 8 * MIB,
            pack_threshold: MIB,
            pack_size: 16 * MIB,
            compression: true,
        }
    }
}

impl UploadConfig {
    /// Checks that an upload can work with these.
    pub fn check(&self) -> Result<(), UploadError> {
        let rules = [
            (self.parallel_files > 0, "parallel_files must not be 0"),
            (self.parallel_parts > 0, "parallel_parts must not be 0"),
            (self.part_size >= MIN_PART, "part_size must be 5 MiB or more"),
            (self.part_size <= 1024 * MIB, "part_size must be 1 GiB or less"),
            (self.pack_size <= 1024 * MIB, "pack_size must be 1 GiB or less"),
            (self.pack_threshold <= self.pack_size, "pack_threshold must not exceed pack_size"),
        ];
        match rules.iter().find(|(kept, _)| !kept) {
            Some((_, rule)) => Err(UploadError::Config(rule)),
            None => Ok(()),
        }
    }

    /// Bytes of each part but the last of a file of `size` bytes: whole MiB, so that at most
    /// [`MAX_PARTS`] are needed.
    pub(super) fn part_size_for(&self, size: u64) -> u64 {
        let least = size.div_ceil(u64::from(MAX_PARTS)).next_multiple_of(MIB);
        self.part_size.max(least)
    }

    /// Units of [`Self::memory_permits`] that a piece of `bytes` bytes takes: never more than there
    /// are, so that no piece waits for ever.
    pub(super) fn permits_for(&self, bytes: u64) -> u32 {
        let units = u32::try_from(bytes.div_ceil(MIB)).unwrap_or(u32::MAX);
        units.clamp(1, self.memory_permits())
    }

    /// Memory for pieces on their way, in MiB.
    pub(super) fn memory_permits(&self) -> u32 {
        let mib = u32::try_from(self.part_size / MIB).unwrap_or(u32::MAX);
        mib.max(1).saturating_mul(self.parallel_parts)
    }

    /// When packs are closed.
    pub(super) fn pack_limits(&self) -> PackLimits {
        let bytes = usize::try_from(self.pack_size).unwrap_or(usize::MAX);
        PackLimits { bytes, ..PackLimits::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_needs_more_parts_than_a_store_takes() {
        let config = UploadConfig::default();
        for size in [0, 17 * MIB, 78 << 30, 79 << 30, 1 << 40, 40 << 40] {
            let part = config.part_size_for(size);
            assert!(size.div_ceil(part) <= u64::from(MAX_PARTS) && part >= config.part_size);
            assert!(config.permits_for(part) <= config.memory_permits());
        }
        assert_eq!(config.part_size_for(50 << 30), config.part_size);
    }

    #[test]
    fn senseless_settings_are_refused() {
        UploadConfig::default().check().unwrap();
        let bad = UploadConfig { part_size: 1, ..UploadConfig::default() };
        assert!(bad.check().is_err());
        let bad = UploadConfig { parallel_files: 0, ..UploadConfig::default() };
        assert!(bad.check().is_err());
    }
}
