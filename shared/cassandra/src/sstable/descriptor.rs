//! Names of `SSTable` files: `<version>-<id>-<format>-<component>`, such as
//! `nb-3h5r_0nlt_2jb1c2e7sgwt0z787f-big-Data.db` or `oa-17-big-SAI+aa+price_idx+TermsData.db`.
//!
//! Source: `org.apache.cassandra.io.sstable.Descriptor` and `SSTableId` of 4.0 to 5.0. Names of 3.x
//! and before with another shape are not `SSTables` here.

use std::{cmp::Ordering, fmt};

use serde::{Deserialize, Serialize};

/// The on-disk format, which decides what the components are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Index.db and Summary.db.
    Big,
    /// Trie-indexed: Partitions.db and Rows.db.
    Bti,
}

impl Format {
    /// As it stands in a file name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Big => "big",
            Self::Bti => "bti",
        }
    }
}

/// What tells the `SSTables` of one table on one node apart. Sequential ids repeat between a table,
/// its index folders and other nodes, so an id alone never names an `SSTable`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SstableId {
    /// A counter.
    Sequence(u64),
    /// A time UUID in Cassandra's base 36 (4.1 and newer), 28 characters.
    Uuid(String),
}

impl SstableId {
    /// Reads an id as Cassandra writes it; `None` if it would be written otherwise.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit) {
            let number = text.parse().ok()?;
            let canonical = text == "0" || !text.starts_with('0');
            return canonical.then_some(Self::Sequence(number));
        }
        let is_uuid = bytes.len() == 28
            && bytes.iter().enumerate().all(|(at, byte)| match at {
                4 | 9 => *byte == b'_',
                _ => byte.is_ascii_digit() || byte.is_ascii_lowercase(),
            });
        is_uuid.then(|| Self::Uuid(text.to_owned()))
    }
}

impl fmt::Display for SstableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sequence(number) => number.fmt(f),
            Self::Uuid(text) => f.write_str(text),
        }
    }
}

impl From<SstableId> for String {
    fn from(id: SstableId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for SstableId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is not an SSTable id"))
    }
}

/// By age: sequences by number, then UUIDs, whose text sorts by time.
impl Ord for SstableId {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Sequence(a), Self::Sequence(b)) => a.cmp(b),
            (Self::Uuid(a), Self::Uuid(b)) => a.cmp(b),
            (Self::Sequence(_), Self::Uuid(_)) => Ordering::Less,
            (Self::Uuid(_), Self::Sequence(_)) => Ordering::Greater,
        }
    }
}

impl PartialOrd for SstableId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// One `SSTable` of a folder: what all its files' names begin with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Descriptor {
    /// Id.
    pub id: SstableId,
    /// Two lower-case letters: `me` (3.11), `nb` (4.0 to 5.0), `oa`, `da` (5.0).
    pub version: String,
    /// Format.
    pub format: Format,
}

impl Descriptor {
    /// Takes a file name apart. `None` for anything that is not an `SSTable`'s component:
    /// temporary files, manifests, names that would leave the folder.
    pub fn parse_file_name(name: &str) -> Option<(Self, Component)> {
        let mut parts = name.splitn(4, '-');
        let (version, id, format, component) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if version.len() != 2 || !version.bytes().all(|b| b.is_ascii_lowercase()) {
            return None;
        }
        let format = match format {
            "big" => Format::Big,
            "bti" => Format::Bti,
            _ => return None,
        };
        let descriptor = Self { id: SstableId::parse(id)?, version: version.to_owned(), format };
        Some((descriptor, Component::parse(component)?))
    }

    /// The name of one of its files.
    pub fn file_name(&self, component: &Component) -> String {
        format!("{self}-{component}")
    }

    /// Whether the readers of this crate know the layout of this version's components.
    pub fn has_known_layout(&self) -> bool {
        match self.format {
            Format::Big => matches!(self.version.as_str(), "na" | "nb" | "oa"),
            Format::Bti => self.version == "da",
        }
    }
}

impl fmt::Display for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.version, self.id, self.format.as_str())
    }
}

/// One of an `SSTable`'s files, by the last part of its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// Rows.
    Data,
    /// Partition index (BIG).
    Index,
    /// Sample of the partition index (BIG).
    Summary,
    /// Bloom filter.
    Filter,
    /// Statistics and serialization header.
    Statistics,
    /// Chunk offsets of a compressed Data.db.
    CompressionInfo,
    /// Chunk checksums of an uncompressed Data.db.
    Crc,
    /// Checksum of the whole Data.db.
    Digest,
    /// List of components.
    Toc,
    /// Partition index (BTI).
    Partitions,
    /// Row index (BTI).
    Rows,
    /// Anything else: files of secondary indexes.
    Other(String),
}

const NAMED: [(Component, &str); 11] = [
    (Component::Data, "Data.db"),
    (Component::Index, "Index.db"),
    (Component::Summary, "Summary.db"),
    (Component::Filter, "Filter.db"),
    (Component::Statistics, "Statistics.db"),
    (Component::CompressionInfo, "CompressionInfo.db"),
    (Component::Crc, "CRC.db"),
    (Component::Digest, "Digest.crc32"),
    (Component::Toc, "TOC.txt"),
    (Component::Partitions, "Partitions.db"),
    (Component::Rows, "Rows.db"),
];

impl Component {
    /// Reads the last part of a file name; `None` if Cassandra writes no such name.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some((component, _)) = NAMED.iter().find(|(_, name)| *name == text) {
            return Some(component.clone());
        }
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'+' | b'-');
        let valid = text.len() <= 250
            && text.bytes().all(is_plain)
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.contains('.')
            && text.rsplit('.').next() != Some("tmp");
        valid.then(|| Self::Other(text.to_owned()))
    }

    /// As it stands in a file name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(text) => text,
            named => NAMED.iter().find(|(c, _)| c == named).map_or("", |(_, name)| name),
        }
    }

    /// Whether it belongs to a storage-attached index; such files are not imported but rebuilt.
    pub fn is_sai(&self) -> bool {
        matches!(self, Self::Other(name) if name.starts_with("SAI+"))
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_all_formats_are_taken_apart_and_put_together() {
        for name in [
            "nb-1-big-Data.db",
            "nb-3h5r_0nls_0bse22e7sgwt0z787f-big-CompressionInfo.db",
            "oa-12-big-CRC.db",
            "da-3-bti-Partitions.db",
            "me-7-big-TOC.txt",
            "nb-3h5r_0nls_0bse22e7sgwt0z787f-big-SAI+aa+sai1+TermsData.db",
            "nb-3-big-SAI+aa+a-b+Meta.db",
            "nb-3-big-SI_idx.db",
        ] {
            let (descriptor, component) = Descriptor::parse_file_name(name).expect(name);
            assert_eq!(descriptor.file_name(&component), name);
        }
    }

    #[test]
    fn only_data_db_is_the_data() {
        let (_, component) = Descriptor::parse_file_name("nb-1-big-SAI+aa+x+TermsData.db").unwrap();
        assert!(component != Component::Data && component.is_sai());
    }

    #[test]
    fn what_cassandra_would_not_write_is_no_sstable() {
        for name in [
            "manifest.json",
            "schema.cql",
            "nb-1-big",
            "nb-1-big-",
            "nb--big-Data.db",
            "nb-01-big-Data.db",
            "nb-1-big-../x.db",
            "nb-1-big-a/b.db",
            "nb-1-odd-Data.db",
            "NB-1-big-Data.db",
            "nbx-1-big-Data.db",
            "nb-99999999999999999999-big-Data.db",
            "nb-3H5R_0nls_0bse22e7sgwt0z787f-big-Data.db",
            "nb-1-big-Data.db.tmp",
            "nb-1-big-.db",
            "nb_txn_write_a3.log",
            "nb-1-big-\u{e9}.db",
        ] {
            assert_eq!(Descriptor::parse_file_name(name), None, "{name}");
        }
    }

    #[test]
    fn ids_sort_by_age() {
        let id = |text| SstableId::parse(text).unwrap();
        assert!(id("9") < id("10"));
        assert!(id("10") < id("3h5r_0nls_0bse22e7sgwt0z787f"));
        assert!(id("3h5r_0nls_0bse22e7sgwt0z787f") < id("3h5r_0nlt_0bse22e7sgwt0z787f"));
    }

    proptest! {
        #[test]
        fn what_is_parsed_is_written_again(name in "[a-z]{0,3}-?[0-9a-z_]{0,29}-(big|bti|x)-[ -~]{0,20}") {
            if let Some((descriptor, component)) = Descriptor::parse_file_name(&name) {
                prop_assert_eq!(descriptor.file_name(&component), name.clone());
                prop_assert!(!name.contains('/') && !name.contains('\0'));
            }
        }
    }
}
