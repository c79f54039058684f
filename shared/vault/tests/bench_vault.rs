//! One step of a backup's life, on whatever vault and SSTables the environment names: what `bench/run vault` times
//! beside other programs and `bench/run flat` by itself, each step as a process of its own.
//!
//! - `RINGVAULT_BENCH_STEP`: `init`, `backup`, `presence`, `digest`, `download`, `delete`, `list`;
//! - `RINGVAULT_BENCH_VAULT`: a file with a vault's settings as JSON; `RINGVAULT_BENCH_STATE`: a folder for
//!   journals and temporary files;
//! - `RINGVAULT_BENCH_BACKUP`: the backup's name, and `RINGVAULT_BENCH_DATA`: a folder `<keyspace>/<table>/` with
//!   its SSTables; `RINGVAULT_BENCH_TO`: where a download goes.

mod support;
#[path = "support/world.rs"]
mod world;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::Utc;
use ringvault_core::{
    HostId, TaskError,
    job::{
        BackupMode,
        VerifyLevel::{Digest, Presence},
    },
    task::NodeManifestRef,
};
use ringvault_vault::{
    Vault,
    backup::StartRecord,
    manifest::{ManifestFile, SstableFacts, SstableName},
    upload::{SnapshotSource, SourceFile, SourceItem, SourceSstable, SourceTable, UploadConfig, upload},
};
use support::{Node, table_ref};
use uuid::Uuid;
use world::{World, job, name, schema_of};

fn given(what: &str) -> String {
    let variable = format!("RINGVAULT_BENCH_{what}");
    env::var(&variable).unwrap_or_else(|_| panic!("{variable} is not set: bench/run vault"))
}

/// A folder of SSTables, as a snapshot that is walked table by table, as a worker's is.
struct Folder(Vec<(SourceTable, PathBuf)>);

impl Folder {
    fn read(root: &Path) -> Self {
        let mut tables = Vec::new();
        for keyspace in inside(root) {
            for folder in inside(&keyspace) {
                let table = table_ref(&text(&keyspace), &text(&folder), 0);
                tables.push((SourceTable { table, files: Vec::new() }, folder));
            }
        }
        tables.sort_by_key(|(table, _)| SourceItem::Table(table.clone()).order());
        Self(tables)
    }
}

fn inside(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path())
}

fn text(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// A table and its SSTables, in order.
fn items_of(table: &SourceTable, folder: &Path) -> Vec<SourceItem> {
    let mut sstables: BTreeMap<String, Vec<SourceFile>> = BTreeMap::new();
    for path in inside(folder) {
        let file = text(&path);
        let (sstable, component) = file.rsplit_once('-').unwrap();
        let component = SourceFile { name: component.to_owned(), path };
        sstables.entry(sstable.to_owned()).or_default().push(component);
    }
    let sstables = sstables.into_iter().map(|(sstable, components)| {
        let parts: Vec<&str> = sstable.split('-').collect();
        let name = SstableName {
            index: None,
            version: parts[0].into(),
            id: parts[1].into(),
            format: parts[2].into(),
        };
        SourceItem::Sstable(SourceSstable { table: table.table.clone(), name, components })
    });
    let mut items: Vec<_> = std::iter::once(SourceItem::Table(table.clone())).chain(sstables).collect();
    items.sort_by_key(SourceItem::order);
    items
}

impl SnapshotSource for Folder {
    fn items(&self) -> Box<dyn Iterator<Item = Result<SourceItem, TaskError>> + Send + '_> {
        Box::new(self.0.iter().flat_map(|(table, folder)| items_of(table, folder).into_iter().map(Ok)))
    }

    /// Reads what a worker reads to know them, and tells nothing.
    fn facts(&self, sstable: &SourceSstable) -> Result<SstableFacts, TaskError> {
        for part in ["Statistics.db", "Summary.db"] {
            if let Some(file) = sstable.components.iter().find(|component| component.name == part) {
                fs::read(&file.path).unwrap();
            }
        }
        Ok(support::FACTS)
    }
}

async fn back_up(world: &World, state: &Path) {
    let (backup, cluster) = (name(&given("BACKUP")), world.cluster.clone());
    let start = StartRecord { started_at: Utc::now(), ..world.start(backup.as_str(), BackupMode::default()) };
    world.vault.begin_backup(&start).await.unwrap();
    let source = Folder::read(Path::new(&given("DATA")));
    let tables: Vec<&str> = source.0.iter().map(|(table, _)| table.table.table.as_str()).collect();
    let text = String::from_utf8(schema_of(&tables)).unwrap().replace("\"ks\"", "\"bench\"");
    let schema = world.vault.put_schema(&cluster, &backup, text.as_bytes()).await.unwrap();
    let mut header = world.header(0, backup.as_str(), &schema.blake3.to_string());
    header.snapshot_at = Utc::now();
    let reuse = world.vault.reuse_base(&cluster, &backup, header.host_id).await.unwrap();
    let mut request = world.lab.request(header.clone(), Arc::new(source), reuse);
    request.config = UploadConfig::default();
    state.clone_into(&mut request.scratch);
    let uploaded = Box::pin(upload(&world.lab.context(), request)).await.unwrap();
    let manifest = NodeManifestRef {
        host_id: header.host_id,
        key: uploaded.key.clone(),
        blake3: uploaded.blake3.to_string(),
        snapshot_at: header.snapshot_at,
        schema_version: header.schema_version,
    };
    let figures = world.seal(backup.as_str(), vec![manifest]).await.unwrap().figures;
    let (bytes, new, objects, read) =
        (figures.bytes, figures.bytes_new, figures.objects_new, uploaded.bytes_read);
    println!("files {} bytes {bytes} new {new} objects {objects} read {read}", figures.files);
}

async fn download(world: &World) {
    let backup = name(&given("BACKUP"));
    let seal = world.vault.seal_of(&world.cluster, &backup).await.unwrap();
    let (node, scratch) = (&seal.nodes[0], world.lab.local.path());
    let manifest =
        ManifestFile::fetch(&world.lab.store, &node.key, Some(node.blake3), scratch).await.unwrap();
    let config = ringvault_vault::download::DownloadConfig::default();
    let (done, _) = world.lab.download(&manifest, Path::new(&given("TO")), config).await;
    println!("{:?}", done.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn step() {
    let config = serde_json::from_slice(&fs::read(given("VAULT")).unwrap()).unwrap();
    let state = PathBuf::from(given("STATE"));
    if given("STEP") == "init" {
        Vault::init(&config, "ringvault").await.unwrap();
        return;
    }
    let mut world = World::of(Vault::open(&config).await.unwrap(), tempfile::tempdir_in(&state).unwrap());
    let mut node = Node::new();
    node.host = HostId(Uuid::from_u128(1));
    world.nodes.push(node);
    match given("STEP").as_str() {
        "backup" => back_up(&world, &state).await,
        "download" => download(&world).await,
        level @ ("presence" | "digest") => {
            let level = if level == "digest" { Digest } else { Presence };
            let result = world.verify(&given("BACKUP"), level, 1).await;
            assert_eq!(result.damaged, 0);
            println!("objects {} bytes {}", result.objects, result.bytes);
        }
        "delete" => {
            let (backup, purge) = (given("BACKUP"), format!("purge of {}", job(&given("BACKUP"))));
            let marked = world.condemn(&purge, &[&backup], &[]).await;
            world.sweep(marked.purge, 0, 1).await.unwrap();
            world.finish(marked.purge).await;
            println!("objects {} bytes {}", marked.objects, marked.bytes);
        }
        "list" => {
            for entry in world.vault.catalog(&world.cluster).await.unwrap() {
                println!("{} {:?}", entry.backup, entry.state());
            }
        }
        other => panic!("{other} is no step"),
    }
}
