use super::*;
use crate::identity::write_durably;

fn record(dir: &Path, of: Digest, files: &[(&str, &[u8])]) -> SliceRecord {
    let folder = dir.join(SLICE);
    make_dir(&folder).unwrap();
    let (sstable, _) = Descriptor::parse_file_name("oa-7-big-Data.db").unwrap();
    let mut record = SliceRecord {
        version: VERSION,
        of,
        sstable,
        partitions: 3,
        files: Vec::new(),
        fetched: 9,
        requests: 1,
    };
    for (name, content) in files {
        let file =
            SliceFile { name: (*name).to_owned(), size: content.len() as u64, blake3: Digest::of(content) };
        std::fs::write(folder.join(record.file_name(&file)), content).unwrap();
        record.files.push(file);
    }
    write_durably(&folder.join(RECORD), &serde_json::to_string(&record).unwrap()).unwrap();
    record
}

#[test]
fn a_slice_is_known_again_only_as_it_was_made() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    let of = Digest::of(b"of this");
    assert_eq!(SliceRecord::verified(dir, of), None);
    let made = record(dir, of, &[("Data.db", b"data"), ("Index.db", b"index")]);
    assert_eq!(SliceRecord::verified(dir, of), Some(made));
    assert_eq!(SliceRecord::verified(dir, Digest::of(b"of other tokens")), None);
    let staged = SliceRecord::staged("place".to_owned(), dir).unwrap();
    assert_eq!((staged.version.as_str(), staged.bytes, staged.partitions), ("oa", 9, Some(3)));
    assert_eq!(staged.path_of("Index.db"), Some(dir.join("slice/oa-7-big-Index.db")));
    std::fs::write(dir.join("slice/oa-7-big-Data.db"), b"dada").unwrap();
    assert_eq!(SliceRecord::verified(dir, of), None, "a changed byte");
    std::fs::remove_file(dir.join("slice/oa-7-big-Data.db")).unwrap();
    assert_eq!(SliceRecord::verified(dir, of), None, "a lost file");
}

#[test]
fn no_name_in_a_record_leads_elsewhere() {
    for name in ["../../x", "x/Data.db", "SAI+aa+GroupComplete.db", ""] {
        let root = tempfile::tempdir().unwrap();
        let of = Digest::of(b"x");
        let mut made = record(root.path(), of, &[("Data.db", b"data")]);
        made.files[0].name = name.to_owned();
        let text = serde_json::to_string(&made).unwrap();
        write_durably(&root.path().join(SLICE).join(RECORD), &text).unwrap();
        assert_eq!(SliceRecord::verified(root.path(), of), None, "{name}");
        assert!(SliceRecord::staged("p".to_owned(), root.path()).is_err(), "{name}");
    }
}
