//! The object store as files: looking at what lies there, and damaging it behind everybody's back.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use walkdir::WalkDir;

use crate::Lab;

/// The vault's folder.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    /// Where the server keeps uploads in parts that are not finished.
    uploads: Option<PathBuf>,
}

/// An object.
#[derive(Debug, Clone)]
pub struct Object {
    /// Its key in the vault.
    pub key: String,
    /// Bytes.
    pub size: u64,
}

impl Store {
    /// Of a lab whose store keeps an object as a file of the same name: versitygw or a folder.
    pub async fn of(lab: &Lab) -> Result<Self> {
        let store = lab.status().await?.services.store;
        match store.kind.as_str() {
            "folder" => Ok(Self { root: store.folder, uploads: None }),
            "versitygw" => {
                let path = store.url.strip_prefix("s3://").context("not an S3 address")?;
                let bucket = path.split('/').next().unwrap_or_default();
                let uploads = store.folder.join(bucket).join(".sgwtmp/multipart");
                Ok(Self { root: store.folder.join(path), uploads: Some(uploads) })
            }
            other => bail!("{other} does not keep objects as files of their own"),
        }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Objects below a folder of the vault, the largest first.
    pub fn objects(&self, folder: &str) -> Result<Vec<Object>> {
        let mut found = Vec::new();
        let below = self.root.join(folder);
        if !below.exists() {
            return Ok(found);
        }
        for entry in WalkDir::new(&below) {
            let entry = entry?;
            if entry.file_type().is_file() {
                let key = entry.path().strip_prefix(&self.root)?.display().to_string();
                found.push(Object { key, size: entry.metadata()?.len() });
            }
        }
        found.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.key.cmp(&b.key)));
        Ok(found)
    }

    /// The objects that a backup brought.
    pub fn data(&self, cluster: &str, backup: &str) -> Result<Vec<Object>> {
        self.objects(&format!("clusters/{cluster}/backups/{backup}/data"))
    }

    /// Parts of uploads that are under way, or were left.
    pub fn open_uploads(&self) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in self.uploads.iter().filter(|folder| folder.exists()).flat_map(WalkDir::new) {
            match entry {
                Ok(entry) if entry.file_type().is_file() => found.push(entry.into_path()),
                // It was finished while we looked.
                Err(error) if error.io_error().is_some_and(|e| e.kind() == std::io::ErrorKind::NotFound) => {}
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(found)
    }

    /// An object's content.
    pub fn read(&self, key: &str) -> Result<Vec<u8>> {
        let path = self.root.join(key);
        fs::read(&path).with_context(|| path.display().to_string())
    }

    /// Gives an object that is there another content, as if it had been stored so: in a new file, for
    /// the old one carries the server's checksum.
    pub fn write(&self, key: &str, content: &[u8]) -> Result<()> {
        let path = self.root.join(key);
        let replaced = fs::remove_file(&path).and_then(|()| fs::write(&path, content));
        replaced.with_context(|| path.display().to_string())
    }

    /// Turns one bit over in the middle.
    pub fn flip(&self, object: &Object) -> Result<()> {
        let mut file = self.open(object)?;
        let middle = object.size / 2;
        let mut byte = [0];
        file.seek(SeekFrom::Start(middle))?;
        file.read_exact(&mut byte)?;
        byte[0] ^= 1;
        file.seek(SeekFrom::Start(middle))?;
        file.write_all(&byte)?;
        Ok(())
    }

    /// Cuts the last byte off.
    pub fn cut(&self, object: &Object) -> Result<()> {
        ensure!(object.size > 0, "{} is empty", object.key);
        Ok(self.open(object)?.set_len(object.size - 1)?)
    }

    /// Takes the object away.
    pub fn remove(&self, object: &Object) -> Result<()> {
        let path = self.path(object);
        fs::remove_file(&path).with_context(|| path.display().to_string())
    }

    fn open(&self, object: &Object) -> Result<File> {
        let path = self.path(object);
        let file = File::options().read(true).write(true).open(&path);
        file.with_context(|| path.display().to_string())
    }

    fn path(&self, object: &Object) -> PathBuf {
        self.root.join(Path::new(&object.key))
    }
}
