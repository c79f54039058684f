//! `ringvault backup export`: a backup as plain SSTable folders that Cassandra's own tools can load,
//! from the vault alone.
//!
//! ```text
//! DIR/export.json                             what this is an export of
//! DIR/schema.cql                              the statements that make the schema, without system keyspaces
//! DIR/<host id>/<keyspace>/<table>/…          what `sstableloader` and `nodetool import` read
//! ```
//!
//! Each node has a folder of its own, because the names of SSTables repeat between nodes. Legacy
//! secondary indexes are left out: Cassandra builds them again from what is loaded. Every file is
//! checked against its manifest before it gets its name, so an export that was cut short goes on where
//! it stopped when it is asked for again.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use ringvault_core::{BackupName, ClusterName, HostId, selection::Selection};
use ringvault_vault::{
    Vault, VaultError,
    backup::{CapturedSchema, SealRecord, SealedNode},
    download::{DownloadConfig, DownloadError, Downloaded, StagingFolder, WantedFile, download},
    manifest::{Entry, ManifestFile, ManifestObjectError},
    transfer::TransferContext,
};
use serde::{Deserialize, Serialize};

use crate::{
    args::shared::{ClusterOption, SelectionArgs},
    command::vault::VaultArgs,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Facts, human},
};

mod folders;

use folders::Folders;

/// What to export, and where to.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The backup
    backup: BackupName,
    #[command(flatten)]
    cluster: ClusterOption,
    /// The folder to write to; made if it is not there
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    #[command(flatten)]
    selection: SelectionArgs,
    /// Only what this node held, by host id or address; may be given more than once
    #[arg(long = "node", value_name = "NODE")]
    nodes: Vec<String>,
    #[command(flatten)]
    vault: VaultArgs,
}

/// `export.json`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    vault: String,
    cluster: ClusterName,
    backup: BackupName,
}

/// The answer.
#[derive(Debug, Serialize)]
struct Exported {
    #[serde(flatten)]
    of: Marker,
    folder: PathBuf,
    nodes: Vec<HostId>,
    files: u64,
    bytes: u64,
    /// Of these, bytes that an earlier export had brought.
    bytes_kept: u64,
}

pub(super) async fn run(context: &Context, args: &ExportArgs) -> Outcome<Exit> {
    let vault = args.vault.open().await?;
    let seal = find(&vault, args.cluster.cluster.as_ref(), &args.backup).await?;
    let nodes = pick(&seal, &args.nodes)?;
    let marker = Marker {
        vault: vault.url().to_owned(),
        cluster: seal.start.cluster.clone(),
        backup: seal.start.backup.clone(),
    };
    claim(&args.to, &marker)?;
    let schema = vault.get_schema(&seal.schema).await?;
    write(&args.to.join("schema.cql"), &cql_of(&schema, &seal.start.backup)?)?;
    let mut sum = Downloaded::default();
    for node in &nodes {
        let done = export_node(&vault, node, &args.selection.selection(), &args.to).await?;
        sum += done;
    }
    let exported = Exported {
        of: marker,
        folder: args.to.clone(),
        nodes: nodes.iter().map(|node| node.host_id).collect(),
        files: sum.files,
        bytes: sum.bytes,
        bytes_kept: sum.bytes_kept,
    };
    context.out.document(&exported, || text(&exported))?;
    Ok(Exit::Ok)
}

/// Understands a captured schema. `None`: what the first vaults hold, CQL as it is.
pub(super) fn captured(schema: &[u8], of: &BackupName) -> Outcome<Option<CapturedSchema>> {
    if !schema.trim_ascii_start().starts_with(b"{") {
        return Ok(None);
    }
    CapturedSchema::parse(schema).map(Some).map_err(|error| {
        let what = format!("the captured schema of {of}: {error}");
        Failure::new(Exit::Failed, "RV-VAULT-DAMAGED", what)
    })
}

/// The statements of a captured schema.
fn cql_of(schema: &[u8], of: &BackupName) -> Outcome<Vec<u8>> {
    Ok(captured(schema, of)?.map_or_else(|| schema.to_owned(), |parsed| parsed.cql().into_bytes()))
}

/// The seal of the backup of this exact name; without a cluster, of the only one.
pub(super) async fn find(
    vault: &Vault,
    cluster: Option<&ClusterName>,
    backup: &BackupName,
) -> Outcome<SealRecord> {
    if let Some(cluster) = cluster {
        return Ok(vault.seal_of(cluster, backup).await?);
    }
    let mut found = Vec::new();
    for cluster in vault.clusters().await? {
        match vault.seal_of(&cluster, backup).await {
            Ok(seal) => found.push(seal),
            Err(VaultError::NoSuchBackup { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => {
            let message = format!("there is no backup {backup} in the vault {}", vault.url());
            Err(Failure::not_found(message).with_next("ringvault catalog list"))
        }
        _ => Err(Failure::usage(format!("several clusters have a backup {backup}"))
            .with_next("say which by -c CLUSTER")),
    }
}

/// The nodes asked for, or all.
fn pick<'a>(seal: &'a SealRecord, wanted: &[String]) -> Outcome<Vec<&'a SealedNode>> {
    if wanted.is_empty() {
        return Ok(seal.nodes.iter().collect());
    }
    let one = |wanted: &String| {
        let found =
            seal.nodes.iter().find(|node| node.address == *wanted || node.host_id.to_string() == *wanted);
        found.ok_or_else(|| {
            let held: Vec<&str> = seal.nodes.iter().map(|node| node.address.as_str()).collect();
            Failure::not_found(format!("the backup does not hold node {wanted}"))
                .with_next(format!("choose from {}", held.join(", ")))
        })
    };
    wanted.iter().map(one).collect()
}

/// Makes the folder this export's own. A folder with anything else in it is refused.
fn claim(folder: &Path, marker: &Marker) -> Outcome<()> {
    let shown = folder.display();
    let refuse = |cause: String| Failure::usage(format!("exporting to {shown}: {cause}"));
    std::fs::create_dir_all(folder).map_err(|error| refuse(error.to_string()))?;
    let path = folder.join("export.json");
    if let Ok(text) = std::fs::read(&path) {
        let same = serde_json::from_slice::<Marker>(&text).is_ok_and(|found| found == *marker);
        if same {
            return Ok(());
        }
    }
    let mut entries = std::fs::read_dir(folder).map_err(|error| refuse(error.to_string()))?;
    if entries.next().is_some() {
        let message = format!("{shown} is not empty and holds no export of this backup");
        return Err(
            Failure::new(Exit::Conflict, "RV-EXPORT-FOLDER", message).with_next("choose an empty folder")
        );
    }
    let text = serde_json::to_vec_pretty(marker).map_err(|error| refuse(error.to_string()))?;
    write(&path, &text)
}

fn write(path: &Path, content: &[u8]) -> Outcome<()> {
    std::fs::write(path, content).map_err(|error| {
        Failure::new(Exit::Failed, "RV-DISK", format!("writing {}: {error}", path.display()))
    })
}

/// One node's files, to `folder/<host id>`.
async fn export_node(
    vault: &Vault,
    node: &SealedNode,
    selection: &Selection,
    folder: &Path,
) -> Outcome<Downloaded> {
    let scratch = std::env::temp_dir();
    let manifest = ManifestFile::fetch(vault.store(), &node.key, Some(node.blake3), &scratch)
        .await
        .map_err(|error| unreadable(&error))?;
    let (files, bytes) = count(&manifest, selection)?;
    let transfer = TransferContext::new(vault.store().clone());
    transfer.progress.expect(files, bytes);
    let mut reader = manifest.reader().map_err(|error| unreadable(&error.into()))?;
    let header = reader.header().clone();
    let mut folders = Folders::new(StagingFolder::new(folder), node.host_id);
    let mut pending: Vec<Result<WantedFile, DownloadError>> = Vec::new();
    let wanted = std::iter::from_fn(move || {
        loop {
            if let Some(file) = pending.pop() {
                return Some(file);
            }
            let entry = match reader.next()? {
                Ok(entry) => entry,
                Err(error) => return Some(Err(error.into())),
            };
            if !is_exported(selection, &entry) {
                continue;
            }
            pending = entry
                .components()
                .iter()
                .rev()
                .map(|component| {
                    let to = folders.path(entry.table(), &entry.file_name(component))?;
                    Ok(WantedFile::new(&header, &entry, component, to))
                })
                .collect();
        }
    });
    let mut work = std::pin::pin!(download(&transfer, DownloadConfig::default(), wanted));
    let mut tick = tokio::time::interval(Duration::from_secs(30));
    tick.tick().await;
    loop {
        tokio::select! {
            done = &mut work => return done.map_err(|error| Failure::of_task(Exit::Failed, &error.to_task_error())),
            _ = tick.tick() => {
                let figures = transfer.progress.figures();
                let done = human::size_of(figures.bytes_done, figures.bytes_total);
                eprintln!("node {}: {done}, {}/{} files", node.address, figures.files_done, figures.files_total);
            }
        }
    }
}

/// Files and bytes that are exported. Reads the manifest to its end, so that one that is cut short is
/// found before anything is written.
fn count(manifest: &ManifestFile, selection: &Selection) -> Outcome<(u64, u64)> {
    let reader = manifest.reader().map_err(|error| unreadable(&error.into()))?;
    let (mut files, mut bytes) = (0, 0_u64);
    for entry in reader {
        let entry = entry.map_err(|error| unreadable(&error.into()))?;
        if is_exported(selection, &entry) {
            for component in entry.components() {
                files += 1;
                bytes = bytes.saturating_add(component.size);
            }
        }
    }
    Ok((files, bytes))
}

/// SSTables of selected tables, but not those of legacy indexes.
fn is_exported(selection: &Selection, entry: &Entry) -> bool {
    let table = entry.table();
    let of_table = match entry {
        Entry::Table(_) => false,
        Entry::Sstable(entry) => entry.name.index.is_none(),
    };
    of_table && selection.holds(&table.keyspace, &table.table)
}

pub(super) fn unreadable(error: &ManifestObjectError) -> Failure {
    Failure::of_task(Exit::Failed, &error.to_task_error())
}

fn text(exported: &Exported) -> String {
    let mut facts = Facts::default();
    facts.add("Backup", exported.of.backup.as_str());
    facts.add("Folder", exported.folder.display().to_string());
    facts.add("Nodes", exported.nodes.len().to_string());
    let files = human::count(exported.files, "file");
    facts.add("Size", format!("{}, {files}", human::size(exported.bytes)));
    facts.add("Load", "sstableloader -d HOST DIR/<host id>/<keyspace>/<table>");
    facts.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_written_as_statements() {
        let captured = br#"{"version":1,"release_version":"5.0.4","objects":[
            {"kind":"keyspace","keyspace":"ks","name":"ks","statements":["CREATE KEYSPACE ks WITH replication = {}"]},
            {"kind":"table","keyspace":"ks","name":"t","statements":["CREATE TABLE ks.t (k int PRIMARY KEY)","ALTER TABLE ks.t DROP v;"],
             "table":{"table_id":"00000000-0000-0000-0000-000000000001","columns":[],"is_counter":false}},
            {"kind":"table","keyspace":"system_auth","name":"roles","statements":["CREATE TABLE system_auth.roles (r int PRIMARY KEY)"],
             "table":{"table_id":"00000000-0000-0000-0000-000000000002","columns":[],"is_counter":false}}]}"#;
        let name: BackupName = "b1".parse().unwrap();
        let cql = String::from_utf8(cql_of(captured, &name).unwrap()).unwrap();
        let lines: Vec<&str> = cql.lines().filter(|line| !line.is_empty()).collect();
        let expected = [
            "CREATE KEYSPACE ks WITH replication = {};",
            "CREATE TABLE ks.t (k int PRIMARY KEY);",
            "ALTER TABLE ks.t DROP v;",
        ];
        assert_eq!(lines, expected);
        assert_eq!(cql_of(b"CREATE TABLE a.b (k int)", &name).unwrap(), b"CREATE TABLE a.b (k int)");
        assert_eq!(cql_of(b"{\"odd\":1}", &name).unwrap_err().exit, Exit::Failed);
    }

    #[test]
    fn a_folder_with_something_else_in_it_is_refused() {
        let folder = std::env::temp_dir().join(format!("ringvault-export-{}", uuid::Uuid::new_v4()));
        let marker = |backup: &str| Marker {
            vault: "file:///v".to_owned(),
            cluster: "c".parse().unwrap(),
            backup: backup.parse().unwrap(),
        };
        claim(&folder, &marker("a")).unwrap();
        claim(&folder, &marker("a")).unwrap();
        assert_eq!(claim(&folder, &marker("b")).unwrap_err().exit, Exit::Conflict);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
