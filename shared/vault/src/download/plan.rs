//! Which requests bring a batch of files: one for each object of its own, and for packs one for each
//! run of parts that lie near each other.

use std::collections::BTreeMap;

use super::{DownloadConfig, Downloaded, WantedFile};

/// One request, or none where everything is there already.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fetch {
    /// The files it brings, ascending by offset, none overlapping another; at least one unless
    /// nothing is fetched.
    pub(super) files: Vec<WantedFile>,
    /// What was found staged already and is only to be counted.
    pub(super) kept: Downloaded,
}

impl Fetch {
    /// Fetches nothing.
    pub(super) const fn nothing(kept: Downloaded) -> Self {
        Self { files: Vec::new(), kept }
    }

    fn of(file: WantedFile) -> Self {
        Self { files: vec![file], kept: Downloaded::default() }
    }
}

/// Plans a batch. Every file is in exactly one fetch.
pub(super) fn plan(files: Vec<WantedFile>, config: &DownloadConfig) -> Vec<Fetch> {
    let mut fetches = Vec::new();
    let mut packs: BTreeMap<String, Vec<WantedFile>> = BTreeMap::new();
    for file in files {
        if file.place.pack.is_some() && file.size > 0 {
            packs.entry(file.place.key.clone()).or_default().push(file);
        } else {
            fetches.push(Fetch::of(file));
        }
    }
    for mut parts in packs.into_values() {
        parts.sort_by_key(|part| part.place.offset());
        fetches.extend(runs(parts, config));
    }
    fetches
}

/// Cuts parts of one pack, ascending by offset, into runs.
fn runs(parts: Vec<WantedFile>, config: &DownloadConfig) -> Vec<Fetch> {
    let mut runs: Vec<Fetch> = Vec::new();
    let mut reach = (0, 0);
    for part in parts {
        let (first, end) = reach;
        let offset = part.place.offset();
        // The manifest's reader has checked that no part reaches beyond 2^63.
        let part_end = part.place.span(part.size).end;
        let joins = offset >= end
            && offset - end <= config.max_gap
            && part_end.saturating_sub(first) <= config.max_request;
        match runs.last_mut() {
            Some(run) if joins => {
                run.files.push(part);
                reach = (first, part_end);
            }
            _ => {
                runs.push(Fetch::of(part));
                reach = (offset, part_end);
            }
        }
    }
    runs
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use ringvault_core::{BackupName, HostId};

    use super::*;
    use crate::{
        checksum::Checksum,
        download::{FileOrigin, StagingFolder},
        hash::Digest,
        manifest::{PackSlot, Place},
    };

    fn part(key: &str, offset: u64, size: u64) -> WantedFile {
        let origin = FileOrigin {
            backup: BackupName::new("b").unwrap(),
            host_id: HostId::generate(),
            keyspace: "ks".into(),
            table: "t".into(),
            file: format!("{key}-{offset}"),
        };
        let pack = Some(PackSlot { offset, size: 1 << 40 });
        let to = StagingFolder::new("/s").path([origin.file.as_str()]).unwrap();
        WantedFile {
            origin,
            size,
            checksum: Checksum::Blake3(Digest::of(b"")),
            place: Place { key: key.into(), pack, zstd: None },
            to,
        }
    }

    fn config() -> DownloadConfig {
        DownloadConfig { max_gap: 10, max_request: 100, ..DownloadConfig::default() }
    }

    #[test]
    fn neighbours_come_together() {
        let parts =
            vec![part("p", 50, 10), part("q", 0, 5), part("p", 0, 30), part("p", 30, 10), part("p", 71, 9)];
        let fetches = plan(parts, &config());
        let offsets: Vec<Vec<_>> = fetches
            .iter()
            .map(|f| f.files.iter().map(|p| (p.place.key.as_str(), p.place.offset())).collect())
            .collect();
        assert_eq!(offsets, [vec![("p", 0), ("p", 30), ("p", 50)], vec![("p", 71)], vec![("q", 0)]]);
    }

    proptest! {
        #[test]
        fn every_part_is_fetched_once_and_no_request_is_too_long(
            spans in prop::collection::vec((0u64..500, 0u64..60, 0u8..3), 0..60),
        ) {
            let parts: Vec<_> = spans.iter().map(|(offset, size, key)| part(&format!("p{key}"), *offset, *size)).collect();
            let mut wanted: Vec<_> = parts.iter().map(|p| (p.place.clone(), p.size)).collect();
            let fetches = plan(parts, &config());
            for fetch in &fetches {
                let first = &fetch.files[0];
                let mut end = first.place.offset();
                for part in &fetch.files {
                    prop_assert_eq!(&part.place.key, &first.place.key);
                    prop_assert!(part.place.offset() >= end, "parts overlap");
                    prop_assert!(part.place.offset() - end <= 10);
                    end = part.place.offset() + part.size;
                }
                prop_assert!(fetch.files.len() == 1 || end - first.place.offset() <= 100);
            }
            let mut planned: Vec<_> =
                fetches.iter().flat_map(|f| &f.files).map(|p| (p.place.clone(), p.size)).collect();
            wanted.sort();
            planned.sort();
            prop_assert_eq!(planned, wanted);
        }
    }
}
