//! Slices of an SSTable in a real vault, whose index is large enough to be read in parts.

use std::{collections::BTreeMap, fs::Permissions, os::unix::fs::PermissionsExt as _};

use bytes::Bytes;
use ringvault_cassandra::sstable::murmur3_token;
use ringvault_core::{
    HostId,
    cluster::{Token, TokenRange},
};
use ringvault_vault::{
    EncryptionConfig, Store, Vault, VaultConfig,
    checksum::Checksum,
    crypt::SecretKey,
    manifest::{Place, SstableEntry, SstableFacts, SstableName, TableRef},
};
use tempfile::TempDir;
use url::Url;

use super::*;

const PARTITIONS: u32 = 12_000;
const INTERVAL: usize = 128;

/// The files of an uncompressed SSTable, by component. `promoted`: bytes of the promoted index that every
/// hundredth partition has.
fn sstable(promoted: u8) -> BTreeMap<&'static str, Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = (0..PARTITIONS).map(|n| [&n.to_be_bytes()[..], &[7; 96]].concat()).collect();
    keys.sort_by_key(|key| (murmur3_token(key), key.clone()));
    let (mut data, mut index, mut offsets, mut samples) = (vec![], vec![], vec![], vec![]);
    let count = u32::try_from(keys.len().div_ceil(INTERVAL)).unwrap();
    for (n, key) in keys.iter().enumerate() {
        if n % INTERVAL == 0 {
            offsets.extend((4 * count + u32::try_from(samples.len()).unwrap()).to_le_bytes());
            samples.extend_from_slice(key);
            samples.extend((index.len() as u64).to_le_bytes());
        }
        let head = [&u16::try_from(key.len()).unwrap().to_be_bytes()[..], key].concat();
        index.extend_from_slice(&head);
        // A position as a number of five bytes.
        index.push(0xf0);
        index.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        let promoted = if n % 100 == 0 { promoted } else { 0 };
        index.push(promoted);
        index.extend(vec![9; promoted.into()]);
        data.extend(head);
        data.extend([5; 20]);
        data.push(1);
    }
    let chunk = 1_u32 << 16;
    let sums = data.chunks(1 << 16).flat_map(|chunk| crc32fast::hash(chunk).to_be_bytes());
    let sums: Vec<u8> = chunk.to_be_bytes().into_iter().chain(sums).collect();
    let (interval, memory) = (u32::try_from(INTERVAL).unwrap(), (offsets.len() + samples.len()) as u64);
    let mut summary = [interval.to_be_bytes(), count.to_be_bytes()].concat();
    summary.extend(memory.to_be_bytes());
    summary.extend([128_u32.to_be_bytes(), count.to_be_bytes()].concat());
    summary.extend([offsets, samples].concat());
    for key in [&keys[0], &keys[keys.len() - 1]] {
        summary.extend(u32::try_from(key.len()).unwrap().to_be_bytes());
        summary.extend_from_slice(key);
    }
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/cassandra/fixtures");
    let statistics = std::fs::read(fixtures.join("nb/raw/nb-1-big-Statistics.db")).unwrap();
    assert!(index.len() > 1 << 20, "it is large: {}", index.len());
    [
        ("Data.db", data),
        ("Index.db", index),
        ("Summary.db", summary),
        ("CRC.db", sums),
        ("Statistics.db", statistics),
    ]
    .into()
}

/// A vault in a folder, with the SSTable in it, and a stage.
struct World {
    root: TempDir,
    store: Store,
    sstable: SharedSstable,
}

impl World {
    async fn new(is_encrypted: bool, files: &BTreeMap<&'static str, Vec<u8>>) -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut config = VaultConfig::at(Url::from_directory_path(root.path().join("vault")).unwrap());
        if is_encrypted {
            let key = root.path().join("key");
            std::fs::write(&key, SecretKey::generate().unwrap().to_text().as_bytes()).unwrap();
            std::fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
            config.encryption = Some(EncryptionConfig::of_file(key));
        }
        let store = Vault::init(&config, "tests").await.unwrap().store().clone();
        let mut components = Vec::new();
        for (name, content) in files {
            let place = Place { key: format!("clusters/c/backups/b/data/{name}"), pack: None, zstd: None };
            store.put(&place.key, Bytes::from(content.clone())).await.unwrap();
            let checksum = Checksum::Blake3(store.hash_key().digest(content));
            let size = content.len() as u64;
            components.push(Component { name: (*name).to_owned(), size, checksum, place, file: None });
        }
        let wanted = TokenRange::new(Token(i64::MAX / 3), Token(i64::MAX / 2));
        let table = TableRef { keyspace: "k".into(), table: "t".into(), table_id: Uuid::nil(), data_dir: 0 };
        let name = SstableName { index: None, version: "nb".into(), id: "1".into(), format: "big".into() };
        let entry = SstableEntry { table, name, facts: SstableFacts::default(), components };
        let slice = Some(Arc::new([wanted].into_iter().collect()));
        Self {
            root,
            store,
            sstable: SharedSstable { source: HostId(Uuid::nil()), entry, slice, stream: None },
        }
    }

    /// The slice in a stage of this name.
    async fn cut(&self, stage: &str) -> Result<(SliceRecord, Downloaded), TaskError> {
        let stage = self.root.path().join(stage);
        let dir = crate::executor::restore::batch::staged_dir(&stage, &self.sstable);
        make_dir(&dir).unwrap();
        let cutter = Cutter {
            backup: &BackupName::new("b").unwrap(),
            sstable: &self.sstable,
            folder: StagingFolder::new(&stage),
            transfer: TransferContext::new(self.store.clone()),
            dir: dir.clone(),
            wanted: Arc::clone(self.sstable.slice.as_ref().unwrap()),
            of: Digest::of(b"this"),
        };
        let made = cutter.make().await?;
        assert!(!dir.join(SOURCE).exists(), "what it was made of takes no room");
        Ok(made)
    }

    /// The slice that is made without a summary: by the whole index.
    async fn cut_by_the_whole(&mut self) -> (SliceRecord, Downloaded) {
        let all = self.sstable.entry.components.clone();
        self.sstable.entry.components.retain(|component| component.name != "Summary.db");
        let made = self.cut("whole").await.unwrap();
        self.sstable.entry.components = all;
        made
    }

    fn size(&self, name: &str) -> u64 {
        self.sstable.entry.components.iter().find(|component| component.name == name).unwrap().size
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_large_index_parts_are_fetched() {
    for is_encrypted in [false, true] {
        let mut world = World::new(is_encrypted, &sstable(0)).await;
        let (whole, all) = world.cut_by_the_whole().await;
        let (record, fetched) = world.cut("parts").await.unwrap();
        assert_eq!((record.partitions, &record.files), (whole.partitions, &whole.files));
        assert_eq!(fetched.bytes + world.size("Index.db"), all.bytes + world.size("Summary.db"));
        let of_index = record.fetched - whole.fetched;
        // A twelfth of the tokens, and a sample's interval at each end.
        let most = world.size("Index.db") / 12 + 3 * 128 * 110;
        assert!((1..most).contains(&of_index), "{of_index} of {}", world.size("Index.db"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_parts_cannot_tell_the_whole_index_does() {
    let sound = sstable(0);
    let mut lying = sound.clone();
    // Every sample but the first is of another key, at another place.
    let summary = lying.get_mut("Summary.db").unwrap();
    let (second, keys) = (24 + 4 * 94 + 108, summary.len() - 2 * 104);
    for byte in &mut summary[second..keys] {
        *byte ^= 1;
    }
    for (files, is_encrypted, is_in_parts) in
        [(lying, false, false), (sstable(40), false, false), (sstable(40), true, true), (sound, false, true)]
    {
        let mut world = World::new(is_encrypted, &files).await;
        let (whole, _) = world.cut_by_the_whole().await;
        let (record, fetched) = world.cut("parts").await.unwrap();
        assert_eq!((record.partitions, &record.files), (whole.partitions, &whole.files));
        assert_eq!(fetched.bytes < world.size("Index.db"), is_in_parts, "{fetched:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_index_is_named() {
    let world = World::new(false, &sstable(0)).await;
    let path = world.root.path().join("vault/clusters/c/backups/b/data/Index.db");
    let mut index = std::fs::read(&path).unwrap();
    for byte in &mut index {
        *byte ^= 1;
    }
    std::fs::write(&path, index).unwrap();
    let error = world.cut("stage").await.unwrap_err();
    assert!(error.code == "RV-DIGEST" && error.message.contains("Index.db"), "{error:?}");
}

#[test]
fn what_an_attempt_left_unfinished_goes() {
    let root = tempfile::tempdir().unwrap();
    for name in ["slice-1.part", "slice", "source"] {
        make_dir(&root.path().join(name)).unwrap();
    }
    remove_unfinished(root.path()).unwrap();
    let mut left: Vec<_> =
        std::fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["slice", "source"]);
}
