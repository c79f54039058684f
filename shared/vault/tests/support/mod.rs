//! A node's data folder with real files and hard-linked snapshots, and a vault's store to bring them to.

#![allow(dead_code, unreachable_pub)] // a module of several test binaries, each uses its part

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use ringvault_core::{
    BackupName, ClusterName, HostId, JobId, TaskError,
    cluster::{Token, Topology},
};
use ringvault_vault::{
    Store, VaultConfig, VaultResult,
    download::{DownloadConfig, DownloadError, Downloaded, StagingFolder, WantedFile, download},
    hash::Digest,
    journal::UploadJournal,
    manifest::{Entry, Header, ManifestFile, Place, SstableFacts, SstableName, TableRef, VERSION},
    transfer::TransferContext,
    upload::{
        ContentIndex, ReuseBase, SnapshotSource, SourceFile, SourceItem, SourceSstable, SourceTable,
        UploadConfig, UploadError, UploadRequest, Uploaded, upload,
    },
};
use tempfile::TempDir;
use uuid::Uuid;

/// Copies a folder with all that is below it, over what is there.
pub fn copy_folder(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.unwrap();
        let target = to.join(entry.path().strip_prefix(from).unwrap());
        if entry.file_type().is_dir() {
            fs::create_dir_all(target).unwrap();
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Small enough that a test meets packs, puts and parts.
pub fn config() -> UploadConfig {
    UploadConfig {
        parallel_files: 3,
        parallel_parts: 2,
        part_size: 5 << 20,
        pack_threshold: 10_000,
        pack_size: 100_000,
        compression: true,
    }
}

/// `len` bytes that no other seed has.
pub fn content(seed: &str, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// `len` bytes that shrink to two fifths, and that no other seed has.
pub fn text(seed: &str, len: usize) -> Vec<u8> {
    content(seed, len).into_iter().map(|byte| b'0' + (byte & 7)).collect()
}

/// An SSTable with its components.
type LiveSstable = (SstableName, Vec<String>);

/// A node: live files, from which snapshots are linked.
pub struct Node {
    pub folder: TempDir,
    pub host: HostId,
    tables: Vec<(TableRef, Vec<LiveSstable>)>,
    snapshots: usize,
}

impl Node {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            host: HostId::generate(),
            tables: Vec::new(),
            snapshots: 0,
        }
    }

    /// A node with tables whose names begin alike, two data directories, a legacy index with the file
    /// names of its table, an empty table, and files of every way to the vault.
    pub fn with_data() -> Self {
        let mut node = Self::new();
        node.table("ks", "t", 0);
        node.sstable(
            "ks",
            "t",
            0,
            None,
            "1",
            &[("Data.db", 12 << 20), ("Statistics.db", 5000), ("TOC.txt", 92)],
        );
        node.sstable(
            "ks",
            "t",
            0,
            Some("by_name"),
            "1",
            &[("Data.db", 20_000), ("Index.db", 300), ("Rows.db", 0)],
        );
        node.sstable("ks", "t", 0, None, "3gvu_0ab5_18chars", &[("Data.db", 9_999), ("Digest.crc32", 10)]);
        node.table("ks", "t", 1);
        node.sstable("ks", "t", 1, None, "2", &[("Data.db", 10_000), ("Filter.db", 60)]);
        node.table("ks", "t1", 0);
        node.sstable("ks", "t1", 0, None, "1", &[("Data.db", 50_000), ("SAI+aa+by_v+TermsData.db", 700)]);
        node.table("ks", "empty", 0);
        node.table("ks1", "t", 0);
        node.sstable("ks1", "t", 0, None, "1", &[("Data.db", 700), ("Index.db", 40)]);
        node
    }

    pub fn table(&mut self, keyspace: &str, table: &str, data_dir: u32) {
        self.tables.push((table_ref(keyspace, table, data_dir), Vec::new()));
    }

    pub fn sstable(
        &mut self,
        keyspace: &str,
        table: &str,
        data_dir: u32,
        index: Option<&str>,
        id: &str,
        components: &[(&str, usize)],
    ) {
        let table = table_ref(keyspace, table, data_dir);
        let name = SstableName {
            index: index.map(str::to_owned),
            version: "nb".into(),
            id: id.into(),
            format: "big".into(),
        };
        for (component, len) in components {
            let path = self.live(&table, &name, component);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let relative = path.strip_prefix(self.folder.path()).unwrap().display().to_string();
            fs::write(&path, content(&relative, *len)).unwrap();
        }
        let names = components.iter().map(|(name, _)| (*name).to_owned()).collect();
        self.tables.iter_mut().find(|(t, _)| *t == table).unwrap().1.push((name, names));
    }

    /// The live file of a component.
    pub fn live(&self, table: &TableRef, name: &SstableName, component: &str) -> PathBuf {
        let folder = self.folder.path().join("live").join(table_path(table));
        let folder = name.index.as_ref().map_or(folder.clone(), |index| folder.join(format!(".{index}")));
        folder.join(name.file_name(component))
    }

    /// Replaces a component's content by rename, as Cassandra does.
    pub fn rewrite(&self, keyspace: &str, table: &str, id: &str, component: &str, content: &[u8]) {
        let table = table_ref(keyspace, table, 0);
        let name = SstableName { index: None, version: "nb".into(), id: id.into(), format: "big".into() };
        let path = self.live(&table, &name, component);
        assert!(path.exists());
        let new = path.with_extension("new");
        fs::write(&new, content).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// Links every file into a new snapshot.
    pub fn snapshot(&mut self) -> Snapshot {
        self.snapshots += 1;
        let root = self.folder.path().join(format!("snapshot-{}", self.snapshots));
        let mut items = Vec::new();
        for (table, sstables) in &self.tables {
            items.push(SourceItem::Table(SourceTable { table: table.clone(), files: Vec::new() }));
            for (name, components) in sstables {
                let file = |component: &String| {
                    let live = self.live(table, name, component);
                    let path = root.join(live.strip_prefix(self.folder.path().join("live")).unwrap());
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::hard_link(live, &path).unwrap();
                    SourceFile { name: component.clone(), path }
                };
                let components = components.iter().map(file).collect();
                items.push(SourceItem::Sstable(SourceSstable {
                    table: table.clone(),
                    name: name.clone(),
                    components,
                }));
            }
        }
        items.sort_by_key(SourceItem::order);
        Snapshot { items, facts_read: AtomicUsize::new(0) }
    }
}

pub fn table_ref(keyspace: &str, table: &str, data_dir: u32) -> TableRef {
    let mut id = [0; 16];
    id.copy_from_slice(&Digest::of(format!("{keyspace}.{table}").as_bytes()).as_bytes()[..16]);
    TableRef { keyspace: keyspace.into(), table: table.into(), table_id: Uuid::from_bytes(id), data_dir }
}

fn table_path(table: &TableRef) -> PathBuf {
    format!("{}/{}/{}-{}", table.data_dir, table.keyspace, table.table, table.table_id.simple()).into()
}

/// A snapshot as an upload takes it.
pub struct Snapshot {
    pub items: Vec<SourceItem>,
    pub facts_read: AtomicUsize,
}

impl Snapshot {
    /// Every file, in order.
    pub fn files(&self) -> impl Iterator<Item = &SourceFile> {
        self.items.iter().flat_map(|item| match item {
            SourceItem::Table(table) => &table.files,
            SourceItem::Sstable(sstable) => &sstable.components,
        })
    }

    pub fn bytes(&self) -> u64 {
        self.files().map(|file| file.path.metadata().unwrap().len()).sum()
    }
}

/// What the tests' SSTables "hold".
pub const FACTS: SstableFacts = SstableFacts {
    first_token: Some(Token(-7)),
    last_token: Some(Token(9)),
    partitions: Some(3),
    rows: None,
};

impl SnapshotSource for Snapshot {
    fn items(&self) -> Box<dyn Iterator<Item = Result<SourceItem, TaskError>> + Send + '_> {
        Box::new(self.items.iter().cloned().map(Ok))
    }

    fn facts(&self, _: &SourceSstable) -> Result<SstableFacts, TaskError> {
        self.facts_read.fetch_add(1, Ordering::Relaxed);
        Ok(FACTS)
    }
}

/// A store with a scratch folder and a journal folder on this machine.
pub struct Lab {
    pub store: Store,
    pub local: TempDir,
    pub cluster: ClusterName,
}

impl Lab {
    pub async fn on_folder() -> Self {
        let local = tempfile::tempdir().unwrap();
        let root = local.path().join("vault");
        fs::create_dir(&root).unwrap();
        let config = VaultConfig::at(url::Url::from_directory_path(root).unwrap());
        Self::new(Store::open(&config).await.unwrap(), local)
    }

    pub fn new(store: Store, local: TempDir) -> Self {
        Self { store, local, cluster: ClusterName::new("orders").unwrap() }
    }

    pub fn context(&self) -> TransferContext {
        TransferContext::new(self.store.clone())
    }

    pub fn header(&self, node: &Node, backup: &str, epoch: u64) -> Header {
        Header {
            version: VERSION,
            cluster: self.cluster.clone(),
            backup: BackupName::new(backup).unwrap(),
            job: JobId(Uuid::nil()),
            epoch,
            host_id: node.host,
            address: "10.0.0.1".into(),
            dc: "dc1".into(),
            rack: "r1".into(),
            tokens: vec![Token(0)],
            cassandra_version: "5.0.4".into(),
            partitioner: "org.apache.cassandra.dht.Murmur3Partitioner".into(),
            schema_version: "v".into(),
            schema_hash: "h".into(),
            objects_hash: None,
            snapshot_at: chrono::DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
            topology: Topology::default(),
            bases: std::collections::BTreeSet::new(),
            locked_for: None,
        }
    }

    pub fn journal_path(&self, backup: &str) -> PathBuf {
        self.local.path().join(format!("{backup}.journal"))
    }

    pub fn request(
        &self,
        header: Header,
        source: Arc<dyn SnapshotSource>,
        reuse: ReuseBase,
    ) -> UploadRequest {
        let path = self.journal_path(header.backup.as_str());
        let journal = UploadJournal::open(&path, &header.cluster, &header.backup).unwrap();
        UploadRequest {
            header,
            source,
            reuse,
            journal,
            scratch: self.local.path().to_owned(),
            config: config(),
        }
    }

    /// Uploads a snapshot of `node` with a context of its own; returns the context for its counters.
    pub async fn upload(
        &self,
        node: &mut Node,
        backup: &str,
        reuse: ReuseBase,
    ) -> (Result<Uploaded, UploadError>, TransferContext, Arc<Snapshot>) {
        let snapshot = Arc::new(node.snapshot());
        let context = self.context();
        let request = self.request(self.header(node, backup, 1), snapshot.clone(), reuse);
        (upload(&context, request).await, context, snapshot)
    }

    pub async fn manifest(&self, uploaded: &Uploaded) -> ManifestFile {
        ManifestFile::fetch(&self.store, &uploaded.key, Some(uploaded.blake3), self.local.path())
            .await
            .unwrap()
    }

    /// Downloads all that a manifest names to `to`, as `<ks>/<table>/<dir>/[index/]<file>`.
    pub async fn download(
        &self,
        manifest: &ManifestFile,
        to: &Path,
        config: DownloadConfig,
    ) -> (Result<Downloaded, DownloadError>, TransferContext) {
        let context = self.context();
        let staging = StagingFolder::new(to);
        let wanted: Vec<_> = wanted(manifest, &staging).into_iter().map(Ok).collect();
        (download(&context, config, wanted.into_iter()).await, context)
    }
}

/// No reserve: test machines may have little room.
pub fn download_config() -> DownloadConfig {
    DownloadConfig { disk_reserve: 0, max_gap: 500, ..DownloadConfig::default() }
}

/// Every file that a manifest names.
pub fn wanted(manifest: &ManifestFile, staging: &StagingFolder) -> Vec<WantedFile> {
    let mut reader = manifest.reader().unwrap();
    let header = reader.header().clone();
    let mut wanted = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        for component in entry.components() {
            let to =
                staging.path(staged_names(&entry, &entry.file_name(component)).iter().map(String::as_str));
            wanted.push(WantedFile::new(&header, &entry, component, to.unwrap()));
        }
    }
    wanted
}

fn staged_names(entry: &Entry, file: &str) -> Vec<String> {
    let table = entry.table();
    let mut names = vec![table.keyspace.clone(), table.table.clone(), table.data_dir.to_string()];
    if let Entry::Sstable(sstable) = entry
        && let Some(index) = &sstable.name.index
    {
        names.push(format!(".{index}"));
    }
    names.push(file.to_owned());
    names
}

/// Asserts that `staged` holds exactly the files of the snapshot.
pub fn assert_same_files(snapshot: &Snapshot, staged: &Path) {
    let mut expected = HashMap::new();
    for item in &snapshot.items {
        let SourceItem::Sstable(sstable) = item else { continue };
        for file in &sstable.components {
            let mut path = staged.join(&sstable.table.keyspace).join(&sstable.table.table);
            path.push(sstable.table.data_dir.to_string());
            path.extend(sstable.name.index.as_ref().map(|index| format!(".{index}")));
            path.push(sstable.name.file_name(&file.name));
            expected.insert(path, fs::read(&file.path).unwrap());
        }
    }
    let found: HashMap<_, _> = walkdir::WalkDir::new(staged)
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| (entry.path().to_owned(), fs::read(entry.path()).unwrap()))
        .collect();
    assert_eq!(found.len(), expected.len(), "{:?}", found.keys());
    for (path, content) in expected {
        assert!(found.get(&path) == Some(&content), "{} differs or is missing", path.display());
    }
}

/// An index over one manifest.
#[derive(Default)]
pub struct TestIndex(HashMap<(u64, Digest), Place>);

impl TestIndex {
    pub fn of(manifest: &ManifestFile) -> Self {
        let mut index = HashMap::new();
        for entry in manifest.reader().unwrap().map(Result::unwrap) {
            for component in entry.components() {
                index.insert((component.size, component.checksum.blake3().unwrap()), component.place.clone());
            }
        }
        Self(index)
    }
}

#[async_trait]
impl ContentIndex for TestIndex {
    async fn has_size(&self, size: u64) -> VaultResult<bool> {
        Ok(self.0.keys().any(|(known, _)| *known == size))
    }

    async fn find(&self, size: u64, blake3: Digest) -> VaultResult<Option<Place>> {
        Ok(self.0.get(&(size, blake3)).cloned())
    }
}
