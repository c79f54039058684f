//! Statistics.db: what an `SSTable` holds, as counted when it was written.
//!
//! Layout: i32 n; u32 CRC of it; n × (i32 kind, i32 place); u32 CRC continued over these; at each
//! place a part, followed by the u32 CRC of it. Kinds: 0 validation, 1 compaction, 2 stats, 3 header.
//! Source: `MetadataSerializer`, `StatsMetadata.StatsMetadataSerializer`, `SerializationHeader`.

use std::{fs::File, io::Read};

use uuid::Uuid;

use super::{
    Component, Descriptor, SstableError, SstableFiles,
    bytes::{Bytes, FormatError, Result},
};

/// Largest file that is read, in bytes; real ones have some ten KiB.
const MAX_FILE: u64 = 64 << 20;

/// Most clustering columns: a bound counts its values in two bytes.
const MAX_TYPES: u64 = u16::MAX as u64;

const VALIDATION: i32 = 0;
const STATS: i32 = 2;
const HEADER: i32 = 3;

/// What an `SSTable` says it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statistics {
    /// Class name of the partitioner.
    pub partitioner: String,
    /// Class name of the partition key's type, with its parts.
    pub key_type: String,
    /// Partitions, by the histogram of their sizes.
    pub partitions: u64,
    /// Rows, where the version's layout lets them be reached (see [`Self::originating_host`]).
    pub rows: Option<u64>,
    /// Whether compaction may drop any of it: it holds deletions, or what expires.
    pub can_shrink: bool,
    /// Smallest write timestamp, in microseconds by convention.
    pub min_timestamp: i64,
    /// Largest write timestamp.
    pub max_timestamp: i64,
    /// Compaction level.
    pub level: u32,
    /// When it was repaired, in milliseconds since 1970; 0: not repaired.
    pub repaired_at: i64,
    /// The repair session it is part of.
    pub pending_repair: Option<Uuid>,
    /// The node that wrote it first. Like `rows`, absent when a clustering type is not known here,
    /// because its bounds stand before it without their lengths.
    pub originating_host: Option<Uuid>,
}

/// Reads the Statistics.db of an `SSTable`.
pub fn read_statistics(sstable: &SstableFiles) -> std::result::Result<Statistics, SstableError> {
    let name = || sstable.descriptor.to_string();
    if !sstable.descriptor.has_known_layout() {
        return Err(SstableError::Unknown(name()));
    }
    let file = sstable
        .file(&Component::Statistics)
        .ok_or_else(|| SstableError::Missing { sstable: name(), missing: "Statistics.db" })?;
    let mut content = Vec::new();
    File::open(&file.path)
        .and_then(|opened| opened.take(MAX_FILE + 1).read_to_end(&mut content))
        .map_err(|error| SstableError::io(&file.path, error))?;
    Statistics::parse(&content, &sstable.descriptor).map_err(|error| SstableError::damaged(&file.path, error))
}

impl Statistics {
    /// Reads a whole Statistics.db. Each part's checksum is checked, so a flipped bit is an error.
    pub fn parse(content: &[u8], descriptor: &Descriptor) -> Result<Self> {
        if content.len() as u64 > MAX_FILE {
            return Err(FormatError(format!("it is larger than {MAX_FILE} bytes")));
        }
        let parts = Parts::parse(content)?;
        let partitioner = Bytes::new(parts.get(VALIDATION)?).short_text()?.to_owned();
        let mut header = Bytes::new(parts.get(HEADER)?);
        for _ in 0..3 {
            header.vint()?;
        }
        let key_type = header.vint_text()?.to_owned();
        let is_nb = descriptor.version.as_str() < "oa" && descriptor.version != "da";
        let stats = Stats::parse(parts.get(STATS)?, is_nb)?;
        Ok(Self {
            partitioner,
            key_type,
            partitions: stats.partitions,
            rows: stats.tail.map(|tail| tail.rows),
            can_shrink: stats.can_shrink,
            min_timestamp: stats.min_timestamp,
            max_timestamp: stats.max_timestamp,
            level: stats.level,
            repaired_at: stats.repaired_at,
            pending_repair: stats.tail.and_then(|tail| tail.pending_repair),
            originating_host: stats.tail.and_then(|tail| tail.originating_host),
        })
    }
}

/// The parts of the file, by kind.
struct Parts<'a> {
    parts: Vec<(i32, &'a [u8])>,
}

impl<'a> Parts<'a> {
    fn parse(content: &'a [u8]) -> Result<Self> {
        let mut bytes = Bytes::new(content);
        let count = bytes.count()?;
        let mut crc = crc32fast::Hasher::new();
        crc.update(content.get(..4).unwrap_or_default());
        check("its head", bytes.u32()?, crc.clone().finalize())?;
        if count > 16 {
            return Err(FormatError(format!("it has {count} parts")));
        }
        let mut places = Vec::new();
        for _ in 0..count {
            let kind = bytes.i32()?;
            let place = bytes.count()?;
            places.push((place, kind));
        }
        crc.update(content.get(8..8 + count * 8).unwrap_or_default());
        check("its table of parts", bytes.u32()?, crc.finalize())?;

        places.sort_unstable();
        let ends = places.iter().skip(1).map(|(place, _)| *place).chain([content.len()]);
        let mut parts = Vec::new();
        for ((start, kind), end) in places.iter().zip(ends) {
            let part = content
                .get(*start..end)
                .and_then(|part| part.split_last_chunk::<4>())
                .ok_or_else(|| FormatError(format!("part {kind} lies outside of it")))?;
            let (body, crc) = part;
            check(&format!("part {kind}"), u32::from_be_bytes(*crc), crc32fast::hash(body))?;
            parts.push((*kind, body));
        }
        Ok(Self { parts })
    }

    fn get(&self, kind: i32) -> Result<&'a [u8]> {
        self.parts
            .iter()
            .find(|(other, _)| *other == kind)
            .map(|(_, body)| *body)
            .ok_or_else(|| FormatError(format!("part {kind} is missing")))
    }
}

fn check(what: &str, said: u32, is: u32) -> Result<()> {
    if said == is {
        return Ok(());
    }
    Err(FormatError(format!("{what} has checksum {is:08x} and should have {said:08x}")))
}

struct Stats {
    partitions: u64,
    can_shrink: bool,
    min_timestamp: i64,
    max_timestamp: i64,
    level: u32,
    repaired_at: i64,
    tail: Option<Tail>,
}

/// What stands behind the clustering bounds.
#[derive(Clone, Copy)]
struct Tail {
    rows: u64,
    pending_repair: Option<Uuid>,
    originating_host: Option<Uuid>,
}

impl Stats {
    fn parse(body: &[u8], is_nb: bool) -> Result<Self> {
        let mut bytes = Bytes::new(body);
        let mut partitions = 0_u64;
        for _ in 0..bytes.count()? {
            bytes.i64()?;
            let count =
                u64::try_from(bytes.i64()?).map_err(|_| FormatError::new("a histogram counts backwards"))?;
            partitions = partitions.saturating_add(count);
        }
        let cells = bytes.count()?;
        bytes.skip(cells, 16)?;
        bytes.skip(1, 12)?; // commit log's upper bound
        let (min_timestamp, max_timestamp) = (bytes.i64()?, bytes.i64()?);
        bytes.skip(4, 4)?; // local deletion times, TTLs
        bytes.skip(1, 8)?; // compression ratio
        bytes.skip(1, 4)?; // most bins of the tombstone histogram
        // Bins of the times at which something may be dropped: deletions and cells with a TTL.
        let tombstones = bytes.count()?;
        bytes.skip(tombstones, if is_nb { 16 } else { 12 })?;
        let level = u32::try_from(bytes.i32()?).map_err(|_| FormatError::new("its level is negative"))?;
        let repaired_at = bytes.i64()?;
        let bounds_are_known = if is_nb { skip_nb_bounds(&mut bytes)? } else { skip_oa_bounds(&mut bytes)? };
        let tail = if bounds_are_known { Some(Tail::parse(&mut bytes)?) } else { None };
        let can_shrink = tombstones > 0;
        Ok(Self { partitions, can_shrink, min_timestamp, max_timestamp, level, repaired_at, tail })
    }
}

impl Tail {
    fn parse(bytes: &mut Bytes<'_>) -> Result<Self> {
        bytes.u8()?; // legacy counters
        bytes.i64()?; // columns set
        let rows =
            u64::try_from(bytes.i64()?).map_err(|_| FormatError::new("its number of rows is negative"))?;
        bytes.skip(1, 12)?; // commit log's lower bound
        let intervals = bytes.count()?;
        bytes.skip(intervals, 24)?;
        let pending_repair = optional_uuid(bytes)?;
        bytes.u8()?; // transient
        let originating_host = optional_uuid(bytes)?;
        Ok(Self { rows, pending_repair, originating_host })
    }
}

fn optional_uuid(bytes: &mut Bytes<'_>) -> Result<Option<Uuid>> {
    match bytes.u8()? {
        0 => Ok(None),
        1 => Ok(Uuid::from_slice(bytes.take(16)?).ok()),
        odd => Err(FormatError(format!("{odd} is neither yes nor no"))),
    }
}

/// `nb`: smallest, then largest clustering values: i32 count of u16-length values.
fn skip_nb_bounds(bytes: &mut Bytes<'_>) -> Result<bool> {
    for _ in 0..2 {
        for _ in 0..bytes.count()? {
            bytes.short_bytes()?;
        }
    }
    Ok(true)
}

/// `oa`, `da`: the clustering types' names, then two bounds: u8 kind, u16 count, and, if there are
/// any, a vint with two bits a value (nonzero: null or empty, no bytes), then the values: those of
/// a fixed size bare, others after their vint length. `false` if a type's size is not known.
fn skip_oa_bounds(bytes: &mut Bytes<'_>) -> Result<bool> {
    let mut sizes = Vec::new();
    let types = bytes.vint()?;
    if types > MAX_TYPES {
        return Err(FormatError(format!("it has {types} clustering columns")));
    }
    for _ in 0..types {
        sizes.push(fixed_size(bytes.vint_text()?));
    }
    for _ in 0..2 {
        bytes.u8()?;
        let count = usize::from(bytes.u16()?);
        for first in (0..count).step_by(32) {
            // 32 values share one header.
            let header = bytes.vint()?;
            for place in first..count.min(first + 32) {
                if header >> ((place - first) * 2) & 0b11 != 0 {
                    continue;
                }
                match sizes.get(place) {
                    Some(Size::Fixed(size)) => bytes.skip(1, *size)?,
                    Some(Size::Variable) => bytes.vint_bytes().map(drop)?,
                    Some(Size::NotKnown) => return Ok(false),
                    None => return Err(FormatError::new("a bound has more values than types")),
                }
            }
        }
    }
    Ok(true)
}

/// How a clustering value is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    Fixed(usize),
    Variable,
    NotKnown,
}

/// A class name without Cassandra's own package.
fn bare(class: &str) -> &str {
    class.strip_prefix("org.apache.cassandra.db.marshal.").unwrap_or(class)
}

/// `AbstractType.valueLengthIfFixed` of the types that can be clustering columns.
fn fixed_size(class: &str) -> Size {
    let mut class = bare(class);
    while let Some(inner) = class.strip_prefix("ReversedType(").and_then(|c| c.strip_suffix(')')) {
        class = bare(inner);
    }
    match class {
        "BooleanType" => Size::Fixed(1),
        "FloatType" | "Int32Type" => Size::Fixed(4),
        "DateType" | "DoubleType" | "LongType" | "TimestampType" => Size::Fixed(8),
        "LexicalUUIDType" | "TimeUUIDType" | "UUIDType" => Size::Fixed(16),
        "EmptyType" => Size::Fixed(0),
        "AsciiType" | "ByteType" | "BytesType" | "DecimalType" | "DurationType" | "InetAddressType"
        | "IntegerType" | "ShortType" | "SimpleDateType" | "TimeType" | "UTF8Type" => Size::Variable,
        _ if ["FrozenType(", "ListType(", "MapType(", "SetType(", "TupleType(", "UserType("]
            .iter()
            .any(|multi| class.starts_with(multi)) =>
        {
            Size::Variable
        }
        _ => Size::NotKnown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_that_is_turned_round_is_known_however_often() {
        let turned =
            |times, inner: &str| format!("{}{inner}{}", "ReversedType(".repeat(times), ")".repeat(times));
        assert_eq!(fixed_size(&turned(1, "org.apache.cassandra.db.marshal.LongType")), Size::Fixed(8));
        // A file of the largest size accepted has room for millions: each took a frame of the stack.
        assert_eq!(fixed_size(&turned(500_000, "X")), Size::NotKnown);
    }

    #[test]
    fn more_clustering_columns_than_a_bound_can_count_are_refused() {
        let mut many = vec![0xc1, 0, 0];
        many.resize(1 << 17, 0);
        assert!(skip_oa_bounds(&mut Bytes::new(&many)).unwrap_err().0.contains("65536 clustering columns"));
    }
}
