//! cassandra-medusa beside the nodes of a cluster of the lab, writing into the bucket that the lab's
//! configurations call the Medusa store `lab`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::process::Command;
use walkdir::WalkDir;

use crate::{
    Lab,
    process::{self, Ended},
};

/// The store's name in the lab's configurations.
pub const STORE: &str = "lab";
/// The prefix in the vault's bucket that it lies under.
const PREFIX: &str = "medusa";

/// Medusa on every node of a cluster.
#[derive(Debug)]
pub struct Medusa {
    program: PathBuf,
    /// One configuration a node.
    configs: Vec<PathBuf>,
    bucket: PathBuf,
    _folder: tempfile::TempDir,
}

impl Medusa {
    /// Of a cluster whose nodes have one data directory each, which is all that Medusa backs up. What an earlier
    /// run left in the bucket goes.
    pub async fn beside(lab: &Lab, cluster: &str) -> Result<Self> {
        let status = lab.status().await?;
        let store = &status.services.store;
        ensure!(
            store.kind == "versitygw",
            "the bucket's objects must lie as files, and this is {}",
            store.kind
        );
        let place = store.url.strip_prefix("s3://").context("not an S3 address")?;
        let bucket = place.split('/').next().unwrap_or_default();
        let endpoint = store.endpoint.as_deref().and_then(|url| url.strip_prefix("http://"));
        let (host, port) =
            endpoint.and_then(|place| place.split_once(':')).context("no address of the store")?;
        let program = PathBuf::from(lab.run(&["tool", "medusa"]).await?.stdout.trim());

        let folder = tempfile::tempdir()?;
        let secret = |name: &str| fs::read_to_string(lab.dir().join("credentials").join(name));
        let (access, key) = (secret("s3-access-key")?, secret("s3-secret-key")?);
        let key_file = folder.path().join("credentials");
        let credentials = format!(
            "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
            access.trim(),
            key.trim()
        );
        fs::write(&key_file, credentials)?;
        let mut configs = Vec::new();
        for node in lab.cluster(cluster).await?.nodes {
            ensure!(node.data_dirs.len() == 1, "Medusa backs up one data directory of a node");
            let conf =
                lab.dir().join("clusters").join(cluster).join(format!("node{}", node.index)).join("conf");
            let config = folder.path().join(format!("node{}.ini", node.index));
            let (conf, key_file) = (conf.display(), key_file.display());
            let text = format!(
                "[cassandra]\nconfig_file = {conf}/cassandra.yaml\nnodetool_executable = {conf}/nodetool\nnodetool_flags =\n\
                 resolve_ip_addresses = False\nuse_sudo = False\ncheck_running = true\n\
                 [storage]\nstorage_provider = s3_compatible\nbucket_name = {bucket}\nprefix = {PREFIX}\nfqdn = {}\n\
                 key_file = {key_file}\nhost = {host}\nport = {port}\nsecure = False\nregion = us-east-1\n\
                 concurrent_transfers = 8\nbackup_grace_period_in_days = 0\n\
                 multi_part_upload_threshold = 5MB\nmultipart_chunksize = 5MB\n[logging]\nenabled = 0\n",
                node.address
            );
            fs::write(&config, text)?;
            configs.push(config);
        }
        let bucket = store.folder.join(bucket).join(PREFIX);
        if bucket.exists() {
            fs::remove_dir_all(&bucket)?;
        }
        Ok(Self { program, configs, bucket, _folder: folder })
    }

    /// Runs it on node `node`, counted from 0.
    pub async fn run(&self, node: usize, arguments: &[&str]) -> Result<Ended> {
        let config = self.configs.get(node).with_context(|| format!("there is no node {node}"))?;
        let mut command = Command::new(&self.program);
        command.arg("--config-file").arg(config).args(arguments);
        process::run(&mut command).await?.expect(0)
    }

    /// A backup of these nodes, one after the other.
    pub async fn backup(&self, nodes: std::ops::Range<usize>, name: &str, mode: &str) -> Result<()> {
        for node in nodes {
            self.run(node, &["backup-node", "--backup-name", name, "--mode", mode]).await?;
        }
        Ok(())
    }

    /// The names of its backups, as it lists them.
    pub async fn list(&self) -> Result<BTreeSet<String>> {
        let listed = self.run(0, &["list-backups", "--show-all", "--output", "json"]).await?;
        let listed: Vec<serde_json::Value> = listed.json()?;
        listed
            .iter()
            .map(|backup| Ok(backup["name"].as_str().context("a backup without a name")?.to_owned()))
            .collect()
    }

    /// Where its objects lie as files.
    pub fn bucket(&self) -> &Path {
        &self.bucket
    }

    /// The largest object whose path is such.
    pub fn find(&self, is_such: impl Fn(&str) -> bool) -> Result<PathBuf> {
        let mut found: Vec<(u64, PathBuf)> = Vec::new();
        for entry in WalkDir::new(&self.bucket) {
            let entry = entry?;
            let path = entry.path().display().to_string();
            if entry.file_type().is_file() && is_such(&path) {
                found.push((entry.metadata()?.len(), entry.into_path()));
            }
        }
        found.sort();
        match found.pop() {
            Some((_, path)) => Ok(path),
            None => bail!("no such object in {}", self.bucket.display()),
        }
    }

    /// How many objects there are, and their bytes.
    pub fn weight(&self) -> Result<(usize, u64)> {
        let mut weight = (0, 0);
        for entry in WalkDir::new(&self.bucket) {
            let entry = entry?;
            if entry.file_type().is_file() {
                weight = (weight.0 + 1, weight.1 + entry.metadata()?.len());
            }
        }
        Ok(weight)
    }
}

/// Changes one byte in the middle of a file; done twice it is as it was.
pub fn flip(path: &Path) -> Result<()> {
    let mut body = fs::read(path)?;
    let middle = body.len() / 2;
    let byte = body.get_mut(middle).context("an empty object")?;
    *byte ^= 1;
    // In place: the server keeps what it knows of an object with its file.
    Ok(fs::write(path, body)?)
}
