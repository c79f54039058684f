//! A slice out of files in one folder into another: what a restore stages.

use std::{
    fs::File,
    io::{self, BufWriter, Read as _, Seek, SeekFrom, Write},
    path::Path,
};

use ringvault_core::cluster::TokenSet;

use super::{
    ChunkIndex, PartitionIndex, RangedRead, Result, SliceError, SliceOutput, SliceSource, Sliced, slice,
    sliced_version,
};
use crate::sstable::{Component, Descriptor, Format, FormatError, Statistics};

/// Bytes gathered before they are written.
const BUFFER: usize = 256 << 10;
/// Largest Statistics.db that is read, in bytes.
const MAX_STATISTICS: u64 = 64 << 20;
/// The one partitioner whose tokens are known here.
const MURMUR3: &str = "org.apache.cassandra.dht.Murmur3Partitioner";

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlicedFile {
    /// Which.
    pub component: Component,
    /// Bytes.
    pub size: u64,
    /// BLAKE3-256 of its content.
    pub blake3: [u8; 32],
}

/// A slice on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlicedFolder {
    /// The new `SSTable`: always BIG, with the source's id.
    pub descriptor: Descriptor,
    /// What was cut.
    pub sliced: Sliced,
    /// Its files; none where no partition was wanted.
    pub files: Vec<SlicedFile>,
}

/// Ends the name that the file for parts of an index has for a moment.
const KEPT: &str = "parts";
/// The source's files that a slice is made of, beside Data.db.
pub(super) const SOURCES: [Component; 6] = [
    Component::Statistics,
    Component::Index,
    Component::Partitions,
    Component::Rows,
    Component::CompressionInfo,
    Component::Crc,
];

impl SlicedFolder {
    /// Whether a slice is made with the help of this component, which then has to lie in the
    /// source's folder.
    pub fn needs(component: &Component) -> bool {
        SOURCES.contains(component)
    }
}

/// Cuts the partitions of `wanted` out of the `SSTable` whose index, chunk places and statistics
/// lie in `from`, and whose Data.db is read through `data`. Where `index` is given, Index.db need not lie
/// there, but Summary.db: parts of the index are then read through it. Writes into the folder `to`, which is
/// empty; content is on disk when it returns, the folder's names need not be. Blocks.
pub fn slice_folder(
    descriptor: &Descriptor,
    from: &Path,
    data: &dyn RangedRead,
    index: Option<&dyn RangedRead>,
    wanted: &TokenSet,
    to: &Path,
) -> Result<SlicedFolder> {
    let version = sliced_version(descriptor).ok_or_else(|| {
        SliceError::Unsupported(format!("SSTables of version {} are not sliced", descriptor.version))
    })?;
    let new = Descriptor { version: version.to_owned(), format: Format::Big, id: descriptor.id.clone() };
    let statistics = statistics(descriptor, from)?;
    let open = |component: &Component| {
        File::open(from.join(descriptor.file_name(component)))
            .map_err(|error| SliceError::damaged(component.clone(), FormatError(error.to_string())))
    };
    let index = match (descriptor.format, index) {
        (Format::Big, None) => PartitionIndex::Big(open(&Component::Index)?),
        (Format::Big, Some(index)) => PartitionIndex::Sampled {
            summary: open(&Component::Summary)?,
            index,
            kept: nameless(&from.join(descriptor.file_name(&Component::Index)).with_extension(KEPT))?,
        },
        (Format::Bti, _) => {
            PartitionIndex::Bti { partitions: open(&Component::Partitions)?, rows: open(&Component::Rows)? }
        }
    };
    let compressed = from.join(descriptor.file_name(&Component::CompressionInfo)).exists();
    let chunks_component = if compressed { Component::CompressionInfo } else { Component::Crc };
    let chunks = match open(&chunks_component)? {
        file if compressed => ChunkIndex::CompressionInfo(file),
        file => ChunkIndex::Crc(file),
    };
    let create = |component: &Component| Hashing::create(&to.join(new.file_name(component)));
    let mut output = SliceOutput {
        data: create(&Component::Data)?,
        index: create(&Component::Index)?,
        chunks: create(&chunks_component)?,
    };
    let source = SliceSource { index, chunks, data };
    let sliced = slice(source, wanted, &mut output)?;
    let mut files = Vec::new();
    if sliced.partitions > 0 {
        let SliceOutput { data, index, chunks } = output;
        files.push(data.finish(Component::Data)?);
        files.push(index.finish(Component::Index)?);
        files.push(chunks.finish(chunks_component.clone())?);
        let mut whole = |component: Component, content: &[u8]| -> Result<()> {
            let mut file = create(&component)?;
            file.write_all(content).map_err(SliceError::Write)?;
            files.push(file.finish(component)?);
            Ok(())
        };
        whole(Component::Statistics, &statistics)?;
        whole(Component::Digest, sliced.digest.to_string().as_bytes())?;
        let toc = [
            Component::Data,
            Component::Index,
            chunks_component,
            Component::Statistics,
            Component::Digest,
            Component::Toc,
        ];
        let lines = toc.each_ref().map(Component::as_str);
        whole(Component::Toc, (lines.join("\n") + "\n").as_bytes())?;
    }
    Ok(SlicedFolder { descriptor: new, sliced, files })
}

/// An empty file that has no name any more: it is gone when it is closed, and when the machine dies.
fn nameless(path: &Path) -> Result<File> {
    let mut options = File::options();
    let file = options.read(true).write(true).create(true).truncate(true).open(path);
    let file = file.map_err(SliceError::Write)?;
    std::fs::remove_file(path).map_err(SliceError::Write)?;
    Ok(file)
}

/// The source's Statistics.db, seen to be of tokens that are known here.
fn statistics(descriptor: &Descriptor, from: &Path) -> Result<Vec<u8>> {
    let damaged = |source| SliceError::damaged(Component::Statistics, source);
    let path = from.join(descriptor.file_name(&Component::Statistics));
    let mut content = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(MAX_STATISTICS).read_to_end(&mut content))
        .map_err(|error| damaged(FormatError(error.to_string())))?;
    let partitioner = Statistics::parse(&content, descriptor).map_err(damaged)?.partitioner;
    if partitioner != MURMUR3 {
        let partitioner = ringvault_core::text::excerpt(&partitioner);
        return Err(SliceError::Unsupported(format!(
            "its partitioner is {partitioner}, and tokens of Murmur3 alone are known"
        )));
    }
    Ok(content)
}

/// A file that is hashed while it is written, unless it was written at two places.
#[derive(Debug)]
struct Hashing {
    file: BufWriter<File>,
    hasher: blake3::Hasher,
    size: u64,
    /// The file was changed behind the hash: it has to be read again.
    is_patched: bool,
}

impl Hashing {
    fn create(path: &Path) -> Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).open(path);
        let file = BufWriter::with_capacity(BUFFER, file.map_err(SliceError::Write)?);
        Ok(Self { file, hasher: blake3::Hasher::new(), size: 0, is_patched: false })
    }

    /// On disk when it returns.
    fn finish(self, component: Component) -> Result<SlicedFile> {
        let mut file = self.file.into_inner().map_err(|error| SliceError::Write(error.into_error()))?;
        let (mut hasher, mut size) = (self.hasher, self.size);
        if self.is_patched {
            hasher = blake3::Hasher::new();
            file.rewind().map_err(SliceError::Write)?;
            size = io::copy(&mut file, &mut hasher).map_err(SliceError::Write)?;
        }
        file.sync_data().map_err(SliceError::Write)?;
        Ok(SlicedFile { component, size, blake3: *hasher.finalize().as_bytes() })
    }
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Hashing {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.is_patched = true;
        self.file.seek(to)
    }

    fn stream_position(&mut self) -> io::Result<u64> {
        if self.is_patched { self.file.stream_position() } else { Ok(self.size) }
    }
}
