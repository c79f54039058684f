use ringvault_core::HostId;
use ringvault_vault::{
    checksum::Checksum,
    hash::Digest,
    manifest::{Component, Place, SstableEntry, SstableFacts, SstableName, TableRef},
};
use uuid::Uuid;

use super::*;

fn sstable(stage: &Path, id: u32) -> Staged {
    let component = |name: &str| Component {
        name: name.to_owned(),
        size: 1,
        checksum: Checksum::Blake3(Digest::of(b"x")),
        place: Place { key: "k".to_owned(), pack: None, zstd: None },
        file: None,
    };
    let entry = SstableEntry {
        table: TableRef {
            keyspace: "ks".to_owned(),
            table: "t".to_owned(),
            table_id: Uuid::nil(),
            data_dir: 0,
        },
        name: SstableName {
            index: None,
            version: "nb".to_owned(),
            id: id.to_string(),
            format: "big".to_owned(),
        },
        facts: SstableFacts::default(),
        components: vec![component("Data.db"), component("Statistics.db")],
    };
    let sstable = SharedSstable { source: HostId(Uuid::nil()), entry, slice: None, stream: None };
    let dir = staged_dir(stage, &sstable);
    make_dir(&dir).unwrap();
    for component in sstable.components() {
        std::fs::write(dir.join(sstable.entry.name.file_name(&component.name)), b"x").unwrap();
    }
    Staged::of(stage, &sstable).unwrap()
}

fn take(batch: &Batch, number: usize) {
    for component in ["Data.db", "Statistics.db"] {
        std::fs::remove_file(batch.dir.join(format!("nb-{number}-big-{component}"))).unwrap();
    }
}

#[test]
fn batches_are_bounded_in_number_and_bytes() {
    assert!(divide(&[]).is_empty());
    assert_eq!(divide(&[1; 65]), vec![0..32, 32..64, 64..65]);
    let huge = MAX_BYTES + 1;
    assert_eq!(divide(&[huge, 1, huge, huge]), vec![0..1, 1..2, 2..3, 3..4]);
    assert_eq!(divide(&[MAX_BYTES / 2, MAX_BYTES / 2, 1]), vec![0..2, 2..3]);
    assert_eq!(divide(&[u64::MAX, u64::MAX]), vec![0..1, 1..2]);
}

#[test]
fn what_left_the_folder_is_known_after_a_crash_between_import_and_record() {
    let root = tempfile::tempdir().unwrap();
    let stage = root.path();
    let sstables = [sstable(stage, 1), sstable(stage, 2)];
    let batch = Batch::link(stage, "a1", 1, &sstables).unwrap();
    assert_eq!(batch.fate().left.len(), 2);
    take(&batch, 1);
    drop(batch);
    let earlier = Batch::earlier(stage).unwrap();
    assert_eq!(earlier.len(), 1);
    let fate = earlier[0].fate();
    assert_eq!(fate.taken, [sstables[0].place.clone()]);
    assert_eq!(fate.left, [sstables[1].place.clone()]);
}

#[test]
fn a_crash_while_links_are_made_leaves_no_evidence() {
    let root = tempfile::tempdir().unwrap();
    let stage = root.path();
    let whole = sstable(stage, 1);
    let broken = sstable(stage, 2);
    std::fs::remove_file(broken.path_of("Data.db").unwrap()).unwrap();
    let error = Batch::link(stage, "a1", 1, &[whole, broken]).err().unwrap();
    assert_eq!(error.code, "RV-LOCAL-IO");
    assert!(Batch::earlier(stage).unwrap().is_empty());
}

#[test]
fn an_attempt_leaves_the_folders_of_an_earlier_one_alone() {
    let root = tempfile::tempdir().unwrap();
    let stage = root.path();
    let sstables = [sstable(stage, 1)];
    let first = Batch::link(stage, "a1", 1, &sstables).unwrap();
    let second = Batch::link(stage, "a2", 1, &sstables).unwrap();
    assert_ne!(first.dir, second.dir);
    take(&second, 1);
    assert_eq!(first.fate().left.len(), 1);
    second.tidy();
    assert!(!second.dir.exists() && first.dir.exists());
    assert_eq!(Batch::earlier(stage).unwrap().len(), 1);
}

#[test]
fn a_folder_that_is_gone_is_evidence_of_nothing() {
    let root = tempfile::tempdir().unwrap();
    let stage = root.path();
    let batch = Batch::link(stage, "a1", 1, &[sstable(stage, 1)]).unwrap();
    std::fs::remove_dir_all(&batch.dir).unwrap();
    assert_eq!(batch.fate().left.len(), 1);
}

#[test]
fn a_slice_without_a_partition_counts_as_taken() {
    let root = tempfile::tempdir().unwrap();
    let stage = root.path();
    let whole = sstable(stage, 1);
    let empty = Staged { place: "empty".into(), files: Vec::new(), ..whole.clone() };
    let batch = Batch::link(stage, "a1", 1, &[empty, whole.clone()]).unwrap();
    assert_eq!(batch.fate(), Fate { taken: vec!["empty".into()], left: vec![whole.place] });
    assert!(!batch.is_empty());
    let only = Batch::link(stage, "a1", 2, &[Staged { place: "x".into(), files: Vec::new(), ..whole }]);
    assert!(only.unwrap().is_empty());
}
