//! Which files of an SSTable a slice is made of, and which of them are fetched whole.

use ringvault_cassandra::sstable::{self, slice::SlicedFolder};
use ringvault_core::restore::SstableSizes;
use ringvault_vault::manifest::{Component, SstableEntry};

use super::share::restored_components;

pub(super) const INDEX: &str = "Index.db";
const SUMMARY: &str = "Summary.db";
/// An Index.db of fewer bytes comes whole: it lies in a pack, from where it comes with the other small files, and
/// its parts would save less than the requests for them cost.
const LARGE_INDEX: u64 = 1 << 20;

/// How a slice takes a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sliced {
    /// As the file that it is.
    Whole,
    /// Parts of it.
    Parts,
    /// Not at all.
    Left,
}

/// How a slice of `entry` takes this component of it. Of a large Index.db parts will do where there is a
/// summary that says which.
pub(super) fn how_sliced(entry: &SstableEntry, component: &Component) -> Sliced {
    let size_of = |name: &str| {
        let found = entry.components.iter().find(|component| component.name == name);
        found.map(|component| component.size)
    };
    let has_large_index =
        size_of(INDEX).is_some_and(|size| size >= LARGE_INDEX) && size_of(SUMMARY).is_some();
    match component.name.as_str() {
        "Data.db" => Sliced::Parts,
        INDEX if has_large_index => Sliced::Parts,
        SUMMARY if has_large_index => Sliced::Whole,
        _ if is_source(component) => Sliced::Whole,
        _ => Sliced::Left,
    }
}

/// Whether a slice is made of a component, beside Data.db.
pub(super) fn is_source(component: &Component) -> bool {
    sstable::Component::parse(&component.name).is_some_and(|component| SlicedFolder::needs(&component))
}

/// What an SSTable's files weigh in a slice.
pub(super) fn sizes(entry: &SstableEntry) -> SstableSizes {
    let mut sizes = SstableSizes::default();
    for component in restored_components(entry) {
        let kind = match (component.name.as_str(), how_sliced(entry, component)) {
            ("Data.db", _) => &mut sizes.data,
            (_, Sliced::Parts) => &mut sizes.index,
            (_, Sliced::Whole) => &mut sizes.whole,
            (_, Sliced::Left) => &mut sizes.rest,
        };
        *kind = kind.saturating_add(component.size);
    }
    sizes
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ringvault_core::{HostId, cluster::TokenSet};
    use ringvault_vault::{
        checksum::Checksum,
        hash::Digest,
        manifest::{Place, SstableFacts, SstableName, TableRef},
    };
    use uuid::Uuid;

    use super::{super::share::SharedSstable, *};

    #[test]
    fn a_large_index_is_taken_in_parts_where_a_summary_tells_which() {
        let taken = |files: &[(&str, u64)]| {
            let table =
                TableRef { keyspace: "k".into(), table: "t".into(), table_id: Uuid::nil(), data_dir: 0 };
            let name =
                SstableName { index: None, version: "nb".into(), id: "1".into(), format: "big".into() };
            let facts = SstableFacts::default();
            let component = |(name, size): &(&str, u64)| Component {
                name: (*name).to_owned(),
                size: *size,
                checksum: Checksum::Blake3(Digest::of(b"")),
                place: Place { key: (*name).to_owned(), pack: None, zstd: None },
                file: None,
            };
            let components = files.iter().map(component).collect();
            let entry = SstableEntry { table, name, facts, components };
            let sizes = sizes(&entry);
            let slice = Some(Arc::new(TokenSet::full()));
            let shared = SharedSstable { source: HostId(Uuid::nil()), entry, slice, stream: None };
            let whole: Vec<_> = shared.components().map(|component| component.name.clone()).collect();
            (sizes, whole.join(" "), shared.index_in_parts().is_some(), shared.parts_share())
        };
        let big = |index, summary: &[(&'static str, u64)]| {
            let files = [("Data.db", 1 << 30), ("Filter.db", 3), ("Index.db", index), ("Statistics.db", 5)];
            taken(&[&files[..], summary].concat())
        };
        let sizes = |index, whole, rest| SstableSizes { data: 1 << 30, index, whole, rest };
        let (summary, large) = ([("Summary.db", 7)], LARGE_INDEX);
        let in_parts = (sizes(large, 12, 3), "Statistics.db Summary.db".into(), true, (1 << 30) + large);
        assert_eq!(big(large, &summary), in_parts);
        let with_index = "Index.db Statistics.db";
        assert_eq!(big(large, &[]), (sizes(0, large + 5, 3), with_index.into(), false, 1 << 30));
        assert_eq!(big(9, &summary), (sizes(0, 14, 10), with_index.into(), false, 1 << 30));
        let bti = [("Data.db", 1 << 30), ("Partitions.db", large), ("Rows.db", large), ("Filter.db", 1)];
        let tries = (sizes(0, 2 * large, 1), "Partitions.db Rows.db".into(), false, 1 << 30);
        assert_eq!(taken(&bti), tries);
    }
}
