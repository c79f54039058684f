//! The store of an encrypted vault: whatever range, whatever parts, what comes is what was put or an error.

mod support;
#[path = "support/world.rs"]
mod world;

use std::fs;

use bytes::Bytes;
use futures::TryStreamExt as _;
use ringvault_vault::{
    Store, StoreError, StoreErrorKind,
    store::{MIN_PART, PutIfAbsent},
};
use support::content;
use world::World;

const DATA: &str = "clusters/c/backups/b/data/x";
const BLOCK: u64 = 65_536;
/// Plain bytes of the first block, and of each other.
const FIRST: u64 = BLOCK - 104;
const OTHER: u64 = BLOCK - 16;

async fn world() -> (World, Store) {
    let (world, _) = World::encrypted(0).await;
    let store = world.vault.store().clone();
    (world, store)
}

/// Offsets at which something may go wrong, up to and behind `len`.
fn edges(len: u64) -> Vec<u64> {
    let mut edges = vec![0, 1, 87, 88, 89, len.saturating_sub(1), len, len + 1, len + BLOCK];
    for block in 0..=len / OTHER + 1 {
        let at = FIRST + block * OTHER;
        edges.extend([at - 1, at, at + 1]);
    }
    edges.retain(|at| *at <= len + BLOCK);
    edges.sort_unstable();
    edges.dedup();
    edges
}

#[tokio::test]
async fn every_range_is_a_range_of_the_content() {
    let (_world, store) = world().await;
    for len in [0, 1, 5000, FIRST - 1, FIRST, FIRST + 1, FIRST + OTHER, FIRST + 2 * OTHER + 77] {
        let body = content("range", usize::try_from(len).unwrap());
        store.put(DATA, body.clone().into()).await.unwrap();
        assert_eq!(store.get(DATA, u64::MAX).await.unwrap(), body);
        assert_eq!(store.head(DATA).await.unwrap().size, store.stored_size(DATA, len));
        for from in edges(len) {
            for to in edges(len).into_iter().filter(|to| *to > from) {
                let read = async {
                    let pieces: Vec<Bytes> =
                        store.get_stream(DATA, Some(from..to)).await?.try_collect().await?;
                    Ok::<_, StoreError>(pieces.concat())
                }
                .await;
                if from >= len {
                    assert_eq!(read.unwrap_err().kind, StoreErrorKind::Integrity, "{len}: {from}..{to}");
                } else {
                    let expected =
                        &body[usize::try_from(from).unwrap()..usize::try_from(to.min(len)).unwrap()];
                    assert!(read.unwrap() == expected, "{len}: {from}..{to}");
                }
            }
        }
        assert!(store.get_range(DATA, 0, len + 1).await.is_err());
    }
}

#[tokio::test]
async fn a_range_of_a_changed_or_shortened_object_is_an_error_if_it_reaches_there() {
    let (world, store) = world().await;
    let len = FIRST + 3 * OTHER;
    let body = content("harm", usize::try_from(len).unwrap());
    store.put(DATA, body.clone().into()).await.unwrap();
    let path = world.lab.local.path().join("vault").join(DATA);
    let sound = fs::read(&path).unwrap();
    let mut changed = sound.clone();
    changed[usize::try_from(2 * BLOCK + 5).unwrap()] ^= 1;
    fs::write(&path, &changed).unwrap();
    let ok = |from: u64, len: u64| {
        let store = store.clone();
        async move { store.get_range(DATA, from, len).await.map_err(|error| error.kind) }
    };
    let second = FIRST + OTHER;
    assert!(ok(0, second).await.is_ok() && ok(second + OTHER, OTHER).await.is_ok());
    for (from, len) in [(second - 1, 2), (second, 1), (second + OTHER - 1, 1), (0, len)] {
        assert_eq!(ok(from, len).await, Err(StoreErrorKind::Integrity), "{from} {len}");
    }
    for cut in [1, 16, BLOCK, 2 * BLOCK, 4 * BLOCK - 90, 4 * BLOCK - 10] {
        fs::write(&path, &sound[..sound.len() - usize::try_from(cut).unwrap()]).unwrap();
        for (from, len) in [(len - 1, 1), (0, len), (second, len - second)] {
            assert_eq!(ok(from, len).await, Err(StoreErrorKind::Integrity), "cut {cut}: {from} {len}");
        }
    }
    fs::write(&path, [sound.clone(), b"more".to_vec()].concat()).unwrap();
    assert_eq!(ok(0, len).await.map(drop), Ok(()), "a range says nothing of what lies behind");
    let whole = store.get(DATA, u64::MAX).await;
    assert_eq!(whole.unwrap_err().kind, StoreErrorKind::Integrity);
}

#[tokio::test]
async fn parts_in_any_order_make_the_object_and_none_is_sealed_twice() {
    let (_world, store) = world().await;
    let part = MIN_PART + 1;
    let size = 2 * MIN_PART + 300_000;
    let body = Bytes::from(content("parts", usize::try_from(size).unwrap()));
    let upload = store.begin_multipart(DATA, part, size).await.unwrap();
    let first = usize::try_from(upload.part_len(1)).unwrap();
    let second = first + usize::try_from(upload.part_len(2)).unwrap();
    assert!(first < second - first, "the header takes some of the first");
    let wrong = upload.part(2, body.slice(first..second - 1)).await.unwrap_err();
    assert_eq!(wrong.kind, StoreErrorKind::Invalid, "{wrong}");
    upload.part(3, body.slice(second..)).await.unwrap();
    upload.part(1, body.slice(..first)).await.unwrap();
    upload.part(2, body.slice(first..second)).await.unwrap();
    let again = upload.part(2, body.slice(first..second)).await.unwrap_err();
    assert!(again.to_string().contains("sealed already"), "{again}");
    assert_eq!(upload.part(4, Bytes::new()).await.unwrap_err().kind, StoreErrorKind::Invalid);
    upload.finish(size).await.unwrap();
    assert!(store.get(DATA, u64::MAX).await.unwrap() == body);
    assert_eq!(store.head(DATA).await.unwrap().size, store.stored_size(DATA, size));
    for from in [0, MIN_PART - 70_000, MIN_PART, size - 9] {
        let len = 70_000.min(size - from);
        let expected = body.slice(usize::try_from(from).unwrap()..usize::try_from(from + len).unwrap());
        assert!(store.get_range(DATA, from, len).await.unwrap() == expected, "{from}");
    }
    // Data may be copied within the store, a record may not.
    let other = "clusters/c/backups/b2/data/y";
    store.copy(DATA, other).await.unwrap();
    assert!(store.get(other, u64::MAX).await.unwrap() == body);
    let (from, to) = ("clusters/c/backups/b/start.json", "clusters/c/backups/b2/start.json");
    assert!(matches!(store.put_if_absent(from, "{}".into()).await.unwrap(), PutIfAbsent::Created(_)));
    assert_eq!(store.put_if_absent(from, "{}".into()).await.unwrap(), PutIfAbsent::Exists);
    store.copy(from, to).await.unwrap();
    assert_eq!(store.get(to, 100).await.unwrap_err().kind, StoreErrorKind::Integrity);
}
